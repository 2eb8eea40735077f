//! What `cargo xtask test` does on a machine without FUSE: it runs what can run, says of the rest what is missing and how to
//! mend it, and fails if something failed that could run. `/dev/fuse` is hidden in a mount namespace of the test's own; in
//! the place of cargo stands a program that says of one case how it ended.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// What programs use of `/dev`, whatever they do.
const DEVICES: &[&str] = &["null", "urandom", "zero"];

/// Leaves this thread, and what it starts, with a `/dev` that has no `fuse`. The files for it come from `machine`.
fn hide_the_device(machine: &Path) {
    let none = None::<&str>;
    let bind = |from: &Path, to: &Path| mount(Some(from), to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).unwrap();
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none).unwrap();
    let devices = machine.join("dev");
    fs::create_dir(&devices).unwrap();
    for name in DEVICES {
        let place = devices.join(name);
        File::create(&place).unwrap();
        bind(&Path::new("/dev").join(name), &place);
    }
    bind(&devices, Path::new("/dev"));
}

/// Runs every suite with this cargo alone: there is no helper to mount with, and no emulator.
fn run(machine: &Path, cargo: &str) -> Output {
    let programs = machine.join("bin");
    fs::create_dir(&programs).unwrap();
    let file = programs.join("cargo");
    fs::write(&file, cargo).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("test")
        .env_remove("CI")
        .env_remove("FUSEWIRE_XTASK_INSIDE")
        .env("PATH", &programs)
        .output()
        .unwrap()
}

/// A cargo whose only case ends like this.
fn cargo(outcome: &str, status: u8) -> String {
    format!(
        "#!/bin/sh\n\
         case \"$*\" in\n\
         metadata*) echo '{{\"target_directory\": \"/nonexistent\"}}';;\n\
         *--lib*) echo 'test a ... {outcome}'; exit {status};;\n\
         esac\n"
    )
}

mod as_root {
    use super::*;

    /// Gives the exit status and all that is said.
    fn without_fuse(cargo: &str) -> (Option<i32>, String) {
        let machine = tempfile::tempdir().unwrap();
        let said = std::thread::scope(|scope| {
            let run = || {
                hide_the_device(machine.path());
                run(machine.path(), cargo)
            };
            scope.spawn(run).join().unwrap()
        });
        (said.status.code(), String::from_utf8_lossy(&said.stdout).into_owned())
    }

    #[test]
    fn what_can_run_runs_and_the_rest_is_told() {
        let (status, said) = without_fuse(&cargo("ok", 0));
        for (suite, mend) in [
            ("mount", "start it with --device /dev/fuse"),
            ("mount-dev", "start it with --device /dev/fuse"),
            ("vm", "apt-get install qemu-system-x86"),
            ("posix", "start it with --device /dev/fuse"),
        ] {
            let line = format!("skipped {suite}: the whole suite {suite}: ");
            let reason = said.lines().find_map(|text| text.strip_prefix(&line)).unwrap_or_else(|| panic!("{said}"));
            assert!(reason.contains("to mend: ") && reason.contains(mend), "{reason}");
        }
        assert!(said.ends_with("\n1 passed, 0 failed, 5 skipped\n"), "{said}");
        assert_eq!(status, Some(0));
    }

    #[test]
    fn what_could_run_and_failed_fails() {
        let (status, said) = without_fuse(&cargo("FAILED", 101));
        assert!(said.contains("FAILED unit: a: "), "{said}");
        assert!(said.ends_with("\n0 passed, 1 failed, 5 skipped\n"), "{said}");
        assert_eq!(status, Some(1));
    }
}
