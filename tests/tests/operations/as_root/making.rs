//! Making files with what only root may give them: groups of others, device numbers.

use std::fs;
use std::os::unix::fs::MetadataExt;

use fusewire::{Gid, InitFlags};
use fusewire_tests::{Config, Stage, saw};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::name;

#[test]
fn groups_come_along_if_the_directory_has_one_that_is_not_the_callers_own() {
    const GROUP: u32 = 4242;
    let groups = [rustix::thread::Gid::from_raw(GROUP)];
    for (flags, expected) in [(InitFlags::CREATE_SUPP_GROUP, vec![Gid(GROUP)]), (InitFlags::empty(), Vec::new())] {
        let stage = Stage::new(Config::require(flags));
        std::os::unix::fs::chown(stage.path("dir"), None, Some(GROUP)).unwrap();
        let path = stage.path("dir/new");
        let caller = std::thread::spawn(move || {
            // Of this thread only.
            rustix::thread::set_thread_groups(&groups).unwrap();
            fs::create_dir(path).unwrap();
        });
        caller.join().unwrap();
        assert_eq!(stage.log().last("Mkdir").groups, expected, "{flags:?}");
    }
}

#[test]
fn mknod_brings_the_device() {
    let stage = Stage::new(Config::default());
    let mode = Mode::from_bits_truncate(0o600);
    mknod(&stage.path("null"), SFlag::S_IFCHR, mode, makedev(1, 3)).unwrap();
    saw!(stage.log(), Mknod { name: name("null"), mode: libc::S_IFCHR | 0o600, rdev: 0x103 });
    assert_eq!(fs::metadata(stage.path("null")).unwrap().rdev(), makedev(1, 3));
}
