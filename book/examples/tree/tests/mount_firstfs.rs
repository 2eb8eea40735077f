//! The command, mounted: what ordinary programs see.

// ANCHOR: mounted
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The filesystem, mounted on a directory of its own. Unmounted on drop, also when a test fails.
struct Mounted(PathBuf);

impl Mounted {
    fn new(name: &str) -> Self {
        let mountpoint = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&mountpoint).expect("making the mountpoint");
        let status = Command::new(env!("CARGO_BIN_EXE_firstfs")).arg(&mountpoint).status().expect("starting firstfs");
        assert!(status.success());
        Self(mountpoint)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let status = Command::new("fusermount3").args(["-u", "-z"]).arg(&self.0).status();
        assert!(status.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn trees_are_copied_moved_and_removed() {
    let mounted = Mounted::new("trees");
    let root = &mounted.0;
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b/file"), "text").unwrap();
    fs::rename(root.join("a/b"), root.join("c")).unwrap();
    assert_eq!(fs::read_to_string(root.join("c/file")).unwrap(), "text");
    assert_eq!(fs::read_dir(root.join("a")).unwrap().count(), 0);
    fs::remove_dir_all(root.join("c")).unwrap();
    assert!(!root.join("c").exists());
}
// ANCHOR_END: mounted
