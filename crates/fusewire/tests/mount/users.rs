//! Mounts of ordinary users: through the setuid helper, and without it in a user namespace.

use std::fs;
use std::path::Path;
use std::time::Instant;

use fusewire::mount::{MountMethod, MountOptions, Unmount};

use crate::stage::{PATIENCE, Stage, USER, Who, argument, listed, mount, served};

pub(crate) const SCENARIOS: &[(&str, fn())] = &[
    ("mount_as_user", mount_as_user),
    ("mount_for_others", mount_for_others),
    ("mount_in_user_namespace", mount_in_user_namespace),
    ("leak_nothing", leak_nothing),
];

#[test]
fn an_ordinary_user_mounts_through_the_helper() {
    Stage::run(|stage| {
        stage.device_mode(0o666);
        let at = stage.users_directory("mnt");
        stage.run_child("mount_as_user", Who::User, &[&at]);
        assert_eq!(listed(&at), None);
    });
}

fn mount_as_user() {
    let at = argument(0);
    let options = MountOptions::new().subtype("test,fs").source(r"a,b\c").default_permissions();
    let mut mounted = mount(&at, &options).unwrap();
    assert_eq!(mounted.guard.method(), MountMethod::Fusermount);
    assert!(served(&at));
    let (generic, fstype, source, own) = listed(&at).unwrap();
    assert_eq!((fstype.as_str(), source.as_str()), ("fuse.test,fs", r"a,b\134c"));
    assert!(generic.starts_with("rw,nosuid,nodev"), "{generic}");
    assert_eq!(own, format!("rw,user_id={USER},group_id={USER},default_permissions"));

    let root = mounted.guard.root().unwrap();
    let busy = mounted.guard.unmount(Unmount::Plain).unwrap_err().to_string();
    assert!(busy.contains("fusermount3: exit status: 1: "), "{busy}");
    assert!(served(&at));
    drop(root);
    mounted.guard.unmount(Unmount::Plain).unwrap();
    assert_eq!(listed(&at), None);
    mounted.guard.unmount(Unmount::Plain).unwrap();
    assert_eq!(mounted.daemon_end(), Some(libc::ENODEV));
}

#[test]
fn an_ordinary_user_lets_others_in_where_that_is_allowed() {
    Stage::run(|stage| {
        stage.device_mode(0o666);
        let config = stage.file("fuse.conf", "user_allow_other\n");
        stage.replace("/etc/fuse.conf", &config);
        let at = stage.users_directory("mnt");
        stage.run_child("mount_for_others", Who::User, &[&at]);
    });
}

fn mount_for_others() {
    let at = argument(0);
    let _mounted = mount(&at, &MountOptions::new().allow_other()).unwrap();
    assert!(listed(&at).unwrap().3.contains("allow_other"));
}

#[test]
fn a_user_namespace_needs_no_helper() {
    Stage::run(|stage| {
        stage.device_mode(0o666);
        stage.replace("/usr/bin/fusermount3", Path::new("/dev/null"));
        let at = stage.users_directory("mnt");
        stage.run_child("mount_in_user_namespace", Who::UserNamespace, &[&at]);
    });
}

fn mount_in_user_namespace() {
    let at = argument(0);
    for options in [
        MountOptions::new(),
        MountOptions::new().auto_unmount().allow_other(),
        MountOptions::new().method(MountMethod::Mount2),
    ] {
        let mut mounted = mount(&at, &options).unwrap();
        assert_ne!(mounted.guard.method(), MountMethod::Fusermount);
        assert!(served(&at));
        mounted.guard.unmount(Unmount::Plain).unwrap();
        assert_eq!(listed(&at), None);
    }
}

#[test]
fn rounds_of_mounting_leak_nothing() {
    Stage::run(|stage| {
        stage.device_mode(0o666);
        let at = stage.users_directory("mnt");
        for who in [Who::Root, Who::User] {
            stage.run_child("leak_nothing", who, &[&at]);
        }
    });
}

fn leak_nothing() {
    let at = argument(0);
    let count = |place: &str| fs::read_dir(place).unwrap().count();
    let round = || {
        let mounted = mount(&at, &MountOptions::new().auto_unmount()).unwrap();
        assert_eq!(mounted.daemon_end(), Some(libc::ENODEV));
    };
    round();
    // Files stay as many as after the first round; threads are the two of this test. One that was joined is listed for a
    // moment longer.
    let files = count("/proc/self/fd");
    for _ in 0..50 {
        round();
    }
    assert_eq!(count("/proc/self/fd"), files);
    let end = Instant::now() + PATIENCE;
    while count("/proc/self/task") > 2 {
        assert!(Instant::now() < end, "{} threads", count("/proc/self/task"));
        std::thread::yield_now();
    }
    assert_eq!(listed(&at), None);
    let children = format!("/proc/self/task/{}/children", nix::unistd::gettid());
    assert_eq!(fs::read_to_string(children).unwrap(), "");
}
