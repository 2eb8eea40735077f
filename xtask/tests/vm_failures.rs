//! What `cargo xtask vm` says where it cannot run: one line that names the cause, and nothing left behind. No guest is
//! booted, so that this runs everywhere; what goes wrong in a guest is in the suite of the virtual machine itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A machine with few programs: those of `PATH`, cargo and what is named here.
struct Machine {
    programs: tempfile::TempDir,
    target: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { programs: tempfile::tempdir().unwrap(), target: tempfile::tempdir().unwrap() };
        let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        symlink(cargo, machine.programs.path().join("cargo")).unwrap();
        machine
    }

    /// A program that fails when it is run.
    fn with(self, program: &str) -> Self {
        let file = self.programs.path().join(program);
        fs::write(&file, "#!/bin/false\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Runs the command, which must fail with one line. Gives the line.
    fn vm(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .arg("vm")
            .args(arguments)
            .env("PATH", self.programs.path())
            .env("CARGO_TARGET_DIR", self.target.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        let left: Vec<PathBuf> = walk(self.target.path());
        assert!(left.is_empty(), "it left {left:?}");
        said.trim_end().to_owned()
    }
}

/// Every file below a directory.
fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// A kernel as a package brings it, with modules of these names.
fn kernel(modules: &[&str]) -> (tempfile::TempDir, String) {
    const RELEASE: &str = "6.1.0-0-test";
    let tree = tempfile::tempdir().unwrap();
    // The header says that the release is at 0x500.
    let mut image = vec![0; 0x202];
    image.extend(b"HdrS");
    image.resize(0x20e, 0);
    image.extend(0x300_u16.to_le_bytes());
    image.resize(0x500, 0);
    image.extend(RELEASE.as_bytes());
    image.push(0);
    let (boot, below) = (tree.path().join("boot"), tree.path().join("lib/modules").join(RELEASE));
    fs::create_dir_all(&boot).unwrap();
    fs::create_dir_all(&below).unwrap();
    fs::write(below.join("modules.builtin"), "kernel/fs/ext4/ext4.ko\n").unwrap();
    for module in modules {
        fs::write(below.join(format!("{module}.ko")), "\0depends=\0").unwrap();
    }
    let file = boot.join(format!("vmlinuz-{RELEASE}"));
    fs::write(&file, image).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (tree, file)
}

const QEMU: &str = "qemu-system-x86_64";

#[test]
fn missing_emulator_is_said_with_what_to_install() {
    let said = Machine::new().vm(&["--smoke"]);
    assert_eq!(
        said,
        "error: starting a guest: qemu-system-x86_64 is missing; to mend: apt-get install qemu-system-x86"
    );
}

#[test]
fn kernel_that_is_not_there_is_said() {
    let machine = Machine::new().with(QEMU);
    let said = machine.vm(&["--kernel", "/nowhere/vmlinuz"]);
    assert_eq!(said, "error: finding the kernel /nowhere/vmlinuz: no such file, and no package named linux-image-*");
    let said = machine.vm(&["--kernel", "linux-image-6.1"]);
    assert_eq!(said, "error: getting the package linux-image-6.1: this machine has no apt-get");
}

#[test]
fn file_that_is_no_kernel_is_said() {
    let (_tree, file) = kernel(&[]);
    fs::write(&file, "text").unwrap();
    let said = Machine::new().with(QEMU).vm(&["--kernel", &file]);
    assert!(said.ends_with("is no bootable x86 kernel: it has no boot header"), "{said}");
}

#[test]
fn kernel_without_its_modules_is_said() {
    let (tree, file) = kernel(&[]);
    fs::remove_dir_all(tree.path().join("lib")).unwrap();
    let said = Machine::new().with(QEMU).vm(&["--kernel", &file]);
    assert!(said.ends_with("its modules are not in /lib/modules/6.1.0-0-test"), "{said}");
}

#[test]
fn kernel_without_fuse_is_said() {
    let (_tree, file) = kernel(&["loop"]);
    let said = Machine::new().with(QEMU).vm(&["--kernel", &file]);
    assert!(said.starts_with("error: kernel 6.1.0-0-test: there is no fuse: "), "{said}");
}

#[test]
fn matrix_without_debians_tools_is_said() {
    let said = Machine::new().with(QEMU).vm(&["--matrix"]);
    assert_eq!(said, "error: asking for Debian's packages: this machine has no apt-get");
}
