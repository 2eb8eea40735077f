//! As an ordinary user: through the setuid helper, and without it in a user namespace.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::stage::{Daemon, GREETING, Stage, USER, mount_line, succeeds};

/// The file's text as the user sees it: root may not look.
fn greeting(mountpoint: &std::path::Path) -> String {
    let mut cat = Command::new("cat");
    let output = cat.arg(mountpoint.join("hello.txt")).uid(USER).gid(USER).current_dir("/").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn fusermount_mounts_and_unmounts() {
    Stage::run(|stage| {
        let mountpoint = stage.users_directory("m");
        succeeds(stage.hellofs_as_user().arg(&mountpoint));
        assert_eq!(greeting(&mountpoint), GREETING);
        assert!(File::open(mountpoint.join("hello.txt")).is_err(), "root must not see a user's mount");
        let daemon = Daemon::of(&mountpoint);
        succeeds(Command::new("fusermount3").arg("-u").arg(&mountpoint).uid(USER).gid(USER).current_dir("/"));
        daemon.ends_well();
        assert_eq!(mount_line(&mountpoint), None);
    });
}

#[test]
fn signal_unmounts() {
    Stage::run(|stage| {
        let mountpoint = stage.users_directory("m");
        succeeds(stage.hellofs_as_user().arg(&mountpoint));
        let daemon = Daemon::of(&mountpoint);
        daemon.signal(Signal::SIGTERM);
        daemon.ends_well();
        assert_eq!(mount_line(&mountpoint), None);
    });
}

mod user_namespace {
    use super::*;

    #[test]
    fn needs_no_helper() {
        Stage::run(|stage| {
            let mountpoint = stage.users_directory("m");
            let script = "\"$0\" \"$1\" && cat \"$1/hello.txt\" && umount \"$1\"";
            let mut unshare = Command::new("unshare");
            unshare.args(["-Urm", "sh", "-c", script]).arg(stage.program()).arg(&mountpoint);
            let output = unshare.uid(USER).gid(USER).current_dir("/").output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{}", crate::stage::told(&output));
            assert_eq!(output.stdout, GREETING.as_bytes());
        });
    }
}
