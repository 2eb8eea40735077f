//! A program made with libfuse, given a socket as `/dev/fd/0`.
//!
//! Its source is an example that Debian's libfuse3-dev brings along; nothing of it is here.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fusewire_testkit::Running;
use tempfile::TempDir;

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

/// A program that was compiled.
pub(crate) struct Hello {
    program: PathBuf,
    _dir: TempDir,
}

impl Hello {
    /// Compiles it.
    ///
    /// # Errors
    /// The source, the library or a compiler is missing.
    pub(crate) fn compile() -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| format!("making a directory: {error}"))?;
        compile(dir.path()).map(|program| Self { program, _dir: dir })
    }

    /// Starts it, with a socket as its standard input.
    pub(crate) fn start(&self) -> Running {
        let mut command = Command::new(&self.program);
        Running::program(command.args(["-f", "/dev/fd/0"]).stderr(Stdio::null())).unwrap()
    }
}
