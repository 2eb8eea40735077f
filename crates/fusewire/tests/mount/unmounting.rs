//! Unmounting takes away the mount that was made, once, and nothing else.

use std::fs;

use fusewire::mount::{MountMethod, MountOptions, Unmount, UnmountError};
use nix::mount::{MntFlags, umount, umount2};

use crate::stage::{Stage, listed, mount, served};

const METHODS: [MountMethod; 3] = [MountMethod::NewApi, MountMethod::Mount2, MountMethod::Fusermount];

#[test]
fn dropping_the_guard_unmounts() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        for method in METHODS {
            let mounted = mount(&at, &MountOptions::new().method(method)).unwrap();
            assert!(served(&at));
            assert_eq!(mounted.daemon_end(), Some(libc::ENODEV));
            assert_eq!(listed(&at), None);
        }
    });
}

#[test]
fn a_busy_mount_is_unmounted_lazily_only() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let mut mounted = mount(&at, &MountOptions::new()).unwrap();
        let root = mounted.guard.root().unwrap();
        let error = mounted.guard.unmount(Unmount::Plain).unwrap_err();
        assert!(matches!(error, UnmountError::Busy { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            format!(
                "unmounting {}: Device or resource busy (os error 16); close what uses it, or unmount lazily",
                at.display()
            )
        );
        assert!(served(&at));
        mounted.guard.unmount(Unmount::Lazy).unwrap();
        assert_eq!(listed(&at), None);
        assert!(!mounted.daemon.is_finished());
        drop(root);
        assert_eq!(mounted.daemon_end(), Some(libc::ENODEV));
    });
}

#[test]
fn dropping_the_guard_of_a_busy_mount_unmounts_lazily() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let mounted = mount(&at, &MountOptions::new()).unwrap();
        let root = mounted.guard.root().unwrap();
        drop(mounted.guard);
        assert_eq!(listed(&at), None);
        drop(root);
        mounted.daemon.join().unwrap();
    });
}

#[test]
fn a_foreign_mount_at_the_same_place_is_left_alone() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        for method in METHODS {
            let mut mounted = mount(&at, &MountOptions::new().method(method)).unwrap();
            umount(&at).unwrap();
            stage.mount_tmpfs(&at);
            mounted.guard.unmount(Unmount::Plain).unwrap();
            drop(mounted);
            assert_eq!(listed(&at).unwrap().2, "foreign", "{method:?}");
            umount(&at).unwrap();
        }
    });
}

#[test]
fn the_next_mount_of_the_same_filesystem_is_left_alone() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let options = MountOptions::new().source("same");
        let mut first = mount(&at, &options).unwrap();
        umount(&at).unwrap();
        let second = mount(&at, &options).unwrap();
        first.guard.unmount(Unmount::Plain).unwrap();
        drop(first);
        assert!(served(&at));
        assert_eq!(second.daemon_end(), Some(libc::ENODEV));
    });
}

#[test]
fn a_mount_on_top_is_named_and_left_alone() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let mut mounted = mount(&at, &MountOptions::new()).unwrap();
        stage.mount_tmpfs(&at);
        let error = mounted.guard.unmount(Unmount::Lazy).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("unmounting {}: foreign is mounted over it; unmount that first", at.display())
        );
        assert_eq!(mounted.guard.root().unwrap_err().raw_os_error(), Some(libc::ENOENT));
        umount(&at).unwrap();
        assert!(served(&at));
        mounted.guard.unmount(Unmount::Plain).unwrap();
        assert_eq!(listed(&at), None);
    });
}

#[test]
fn an_aborted_connection_is_still_unmounted() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let mut mounted = mount(&at, &MountOptions::new()).unwrap();
        let root = mounted.guard.root().unwrap();
        // A forced unmount of a busy mount aborts the connection and leaves the mount.
        assert!(umount2(&at, MntFlags::MNT_FORCE).is_err());
        drop(root);
        assert_eq!(fs::metadata(&at).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
        mounted.guard.unmount(Unmount::Plain).unwrap();
        assert_eq!(listed(&at), None);
    });
}

#[test]
fn a_removed_mountpoint_of_a_gone_mount_is_no_error() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let mut mounted = mount(&at, &MountOptions::new()).unwrap();
        umount(&at).unwrap();
        fs::remove_dir(&at).unwrap();
        mounted.guard.unmount(Unmount::Plain).unwrap();
    });
}
