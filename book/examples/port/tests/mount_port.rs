//! Both programs do the same.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A program that serves in the foreground; unmounted on drop.
struct Mounted<'a> {
    mountpoint: &'a Path,
    child: Child,
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("fusermount3").args(["-u", "-z"]).arg(self.mountpoint).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
        let _ = self.child.wait();
    }
}

/// Mounts, works, and returns what was seen.
fn work(program: &str, words: &[&str], name: &str) -> Vec<String> {
    let mountpoint = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&mountpoint).expect("making the mountpoint");
    let child = Command::new(program).args(words).arg(&mountpoint).spawn().expect("starting the program");
    let started = Instant::now();
    let is_mounted = || {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("reading the table of mounts");
        mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|point| Path::new(point) == mountpoint))
    };
    while !is_mounted() {
        assert!(started.elapsed() < Duration::from_secs(60), "{program} does not mount");
        std::thread::yield_now();
    }
    let mounted = Mounted { mountpoint: &mountpoint, child };
    let root = mounted.mountpoint;
    let mut seen = Vec::new();
    fs::write(root.join("a"), "one").expect("writing");
    fs::write(root.join("b"), "two two").expect("writing");
    fs::write(root.join("b"), "three").expect("writing once more");
    fs::remove_file(root.join("a")).expect("removing");
    seen.push(format!("{:?}", fs::read_to_string(root.join("b"))));
    seen.push(format!("{:?}", fs::read_to_string(root.join("a")).map_err(|error| error.raw_os_error())));
    let file = fs::OpenOptions::new().write(true).open(root.join("b")).expect("opening");
    file.set_len(2).expect("truncating");
    seen.push(format!("{:?}", fs::metadata(root.join("b")).map(|meta| meta.len())));
    let names = fs::read_dir(root).expect("listing");
    seen.extend(names.map(|entry| format!("{:?}", entry.expect("listing").file_name())));
    seen
}

#[test]
fn port_does_what_the_original_does() {
    let before = work(env!("CARGO_BIN_EXE_port-before"), &[], "before");
    let after = work(env!("CARGO_BIN_EXE_port-after"), &["-f"], "after");
    assert_eq!(before, after);
    assert_eq!(before, ["Ok(\"three\")", "Err(Some(2))", "Ok(2)", "\"b\""]);
}
