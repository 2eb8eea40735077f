//! A program made with libfuse, given a socket as `/dev/fd/0`, and what it breaks.
//!
//! Its source is an example that Debian's libfuse3-dev brings along. Without that package or a compiler there is nothing to
//! examine: the test says so, and fails where the environment variable `CI` is set.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fusewire_testkit::kernel::Config;
use fusewire_testkit::{Mount, Running, report};

const SOURCE: &str = "/usr/share/doc/libfuse3-dev/examples/hello.c";

/// Compiles the example; the reason if it cannot be done.
fn compile(into: &Path) -> Result<PathBuf, String> {
    if !Path::new(SOURCE).exists() {
        return Err(format!("{SOURCE} is not there: install libfuse3-dev"));
    }
    let flags = Command::new("pkg-config").args(["--cflags", "--libs", "fuse3"]).output();
    let flags = flags.map_err(|error| format!("running pkg-config: {error}"))?;
    let flags = String::from_utf8(flags.stdout).unwrap();
    let program = into.join("hello");
    let mut compiler = Command::new("cc");
    compiler.arg(SOURCE).arg("-o").arg(&program).args(flags.split_whitespace()).stderr(Stdio::null());
    match compiler.status() {
        Ok(status) if status.success() => Ok(program),
        Ok(status) => Err(format!("compiling {SOURCE}: {status}")),
        Err(error) => Err(format!("running cc: {error}")),
    }
}

#[test]
fn a_program_of_libfuse_is_driven_without_a_mount() {
    let dir = tempfile::tempdir().unwrap();
    let program = match compile(dir.path()) {
        Ok(program) => program,
        Err(reason) => {
            assert!(std::env::var_os("CI").is_none(), "{reason}");
            println!("skipped: {reason}");
            return;
        }
    };
    let hello = || {
        let mut command = Command::new(&program);
        Running::program(command.args(["-f", "/dev/fd/0"]).stderr(Stdio::null())).unwrap()
    };
    let k = Mount::new(hello(), Config::default()).unwrap();
    assert_eq!(k.read("/hello").unwrap(), b"Hello World!\n");
    assert_eq!(k.names("/").unwrap(), ["hello"]);
    assert!(k.unmount().violations().is_empty());

    let report = report::examine("hello.c, libfuse 3", hello);
    println!("{report}");
    // Requests are not checked at all, so that some that are cut off are answered with what an earlier one has left in the
    // buffer, and others end the program. A kernel does not send such.
    assert_eq!(report.broken(), ["malformed-is-eio"]);
    let ended: Vec<&str> = report.ended().into_iter().map(|(chapter, _)| chapter).collect();
    assert_eq!(ended, ["malformed operations", "faults that only an enemy makes"]);
}
