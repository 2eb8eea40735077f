//! What needs the package fuse3: `fusermount3`, and `mount.fuse3`, by which mount(8) and fstab find a filesystem.

use std::path::Path;
use std::process::Command;

use crate::stage::{Daemon, GREETING, Stage, greeting, hellofs, mount_line, succeeds};

/// Puts the command where mount(8) looks for programs, in this namespace.
fn install(stage: &Stage) {
    stage.program();
    stage.replace("/usr/local/bin", &stage.path(""));
}

fn unmount(mountpoint: &Path) {
    let daemon = Daemon::of(mountpoint);
    succeeds(Command::new("umount").arg(mountpoint));
    daemon.ends_well();
    assert_eq!(mount_line(mountpoint), None);
}

#[test]
fn unmounting_by_the_helper_ends_the_daemon() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        succeeds(hellofs().arg(&mountpoint));
        let daemon = Daemon::of(&mountpoint);
        succeeds(Command::new("fusermount3").arg("-u").arg(&mountpoint));
        daemon.ends_well();
        assert_eq!(mount_line(&mountpoint), None);
    });
}

#[test]
fn mount_finds_the_type() {
    Stage::run(|stage| {
        install(stage);
        let mountpoint = stage.directory("m");
        let options = "ro,nofail,_netdev,x-systemd.automount,greeting=Hi";
        let mount = || Command::new("mount");
        succeeds(mount().args(["-t", "fuse.hellofs", "none"]).arg(&mountpoint).args(["-o", options]));
        assert_eq!(greeting(&mountpoint), "Hi\n");
        let line = mount_line(&mountpoint).unwrap();
        assert!(line.starts_with("none ") && line.contains(" fuse.hellofs ro,"), "{line}");
        unmount(&mountpoint);

        // The older way to write it, without a source and with one.
        for (source, shown) in [("hellofs#", "hellofs "), ("hellofs#there", "there ")] {
            succeeds(mount().args(["-t", "fuse", source]).arg(&mountpoint));
            let line = mount_line(&mountpoint).unwrap();
            assert!(line.starts_with(shown) && line.contains(" fuse.hellofs rw,"), "{line}");
            unmount(&mountpoint);
        }
    });
}

#[test]
fn fstab_line_mounts() {
    Stage::run(|stage| {
        install(stage);
        let mountpoint = stage.directory("m");
        let line = format!(
            "none {} fuse.hellofs greeting=Good\\040day,noauto,nofail,x-systemd.requires=network.target,_netdev 0 0\n",
            mountpoint.display()
        );
        let fstab = stage.file("fstab", &line);
        succeeds(Command::new("mount").arg("--fstab").arg(fstab).arg(&mountpoint));
        assert_eq!(greeting(&mountpoint), "Good day\n");
        unmount(&mountpoint);
    });
}

#[test]
fn refusal_reaches_the_caller_of_mount() {
    Stage::run(|stage| {
        install(stage);
        let mountpoint = stage.directory("m");
        let mut mount = Command::new("mount");
        let output =
            mount.args(["-t", "fuse.hellofs", "none"]).arg(&mountpoint).args(["-o", "bogus"]).output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said, "hellofs: reading option bogus: hellofs has no such option; see hellofs --help\n");
        assert_eq!(mount_line(&mountpoint), None);
    });
}

#[test]
fn helper_that_drops_privileges_hands_over_the_device() {
    Stage::run(|stage| {
        install(stage);
        let mountpoint = stage.directory("m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "fuse.hellofs", "none"]).arg(&mountpoint).args(["-o", "drop_privileges"]);
        succeeds(&mut mount);
        assert_eq!(greeting(&mountpoint), GREETING);
        succeeds(Command::new("umount").arg(&mountpoint));
        assert_eq!(mount_line(&mountpoint), None);
    });
}
