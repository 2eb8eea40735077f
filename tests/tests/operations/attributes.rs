//! Operations on attributes: asking, changing, checking access; and the numbers of the whole filesystem.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use fusewire::mount::MountOptions;
use fusewire::op::{SetTime, Setattr};
use fusewire::{AccessMask, Gid, InitFlags, NodeId, Opcode, Request, SessionConfig, StatxMask, Timestamp, Uid};
use fusewire_tests::{Config, Stage, Tree, is, saw};
use nix::sys::stat::{UtimensatFlags, fstat, stat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{AccessFlags, Whence, access, lseek};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

#[test]
pub(crate) fn getattr_brings_the_handle_where_the_kernel_has_one() {
    let stage = Stage::new(Config::forgetful());
    stat(stage.root()).unwrap();
    saw!(stage.log(), Getattr { node: NodeId::ROOT, handle: None });
    let file = File::options().read(true).open(stage.path("file")).unwrap();
    fstat(&file).unwrap();
    saw!(stage.log(), Getattr { node: Tree::FILE, handle: None });
    // Seeking to the end asks where that is.
    lseek(&file, 0, Whence::SeekEnd).unwrap();
    let asked = stage.log().last("Getattr");
    nix::unistd::close(file).unwrap();
    let flushed = stage.log().last("Flush");
    let Request::Flush(flushed) = flushed.request() else { unreachable!() };
    is!(asked, Getattr { node: Tree::FILE, handle: Some(flushed.handle) });
}

/// What to call, and what of a request for `file` that changes.
type Change = (&'static str, fn(&Path), fn(&mut Setattr));

const CHANGES: &[Change] = &[
    (
        "chmod",
        |path| fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap(),
        |op| op.mode = Some(libc::S_IFREG | 0o640),
    ),
    (
        "chown to both",
        |path| chown(path, Some(7), Some(8)).unwrap(),
        |op| (op.uid, op.gid) = (Some(Uid(7)), Some(Gid(8))),
    ),
    ("chown to a user", |path| chown(path, Some(7), None).unwrap(), |op| op.uid = Some(Uid(7))),
    ("chown to a group", |path| chown(path, None, Some(8)).unwrap(), |op| op.gid = Some(Gid(8))),
    ("truncate", |path| nix::unistd::truncate(path, 3).unwrap(), |op| op.size = Some(3)),
    (
        "utimensat with times",
        |path| set_times(path, TimeSpec::new(-5, 6), TimeSpec::new(7, 8)),
        |op| {
            op.atime = Some(SetTime::At(Timestamp::new(-5, 6)));
            op.mtime = Some(SetTime::At(Timestamp::new(7, 8)));
        },
    ),
    (
        "utimensat with the present",
        |path| set_times(path, TimeSpec::UTIME_NOW, TimeSpec::UTIME_NOW),
        |op| (op.atime, op.mtime) = (Some(SetTime::Now), Some(SetTime::Now)),
    ),
    (
        "utimensat with one time",
        |path| set_times(path, TimeSpec::UTIME_OMIT, TimeSpec::new(7, 8)),
        |op| op.mtime = Some(SetTime::At(Timestamp::new(7, 8))),
    ),
    (
        "utimensat with one present",
        |path| set_times(path, TimeSpec::UTIME_NOW, TimeSpec::UTIME_OMIT),
        |op| op.atime = Some(SetTime::Now),
    ),
];

fn set_times(path: &Path, atime: TimeSpec, mtime: TimeSpec) {
    utimensat(nix::fcntl::AT_FDCWD, path, &atime, &mtime, UtimensatFlags::FollowSymlink).unwrap();
}

#[test]
pub(crate) fn setattr_brings_just_what_changes() {
    for (what, call, change) in CHANGES {
        let stage = Stage::new(Config::default());
        call(&stage.path("file"));
        let mut expected = Setattr::new(Tree::FILE);
        change(&mut expected);
        let recorded = stage.log().last("Setattr");
        let Request::Setattr(mut op) = recorded.request() else { unreachable!() };
        // Who truncates comes along.
        assert_eq!(op.lock_owner.take().is_some(), op.size.is_some(), "{what}");
        assert_eq!(op, expected, "{what}");
        assert_eq!(stage.log().count(Opcode::SETATTR), 1, "{what}");
    }
}

#[test]
fn ftruncate_brings_the_handle() {
    let stage = Stage::new(Config::default());
    let file = File::options().write(true).open(stage.path("file")).unwrap();
    file.set_len(5).unwrap();
    let op = saw!(stage.log(), Setattr { node: Tree::FILE, size: Some(5), mode: None });
    let Request::Setattr(op) = op.request() else { unreachable!() };
    assert!(op.handle.is_some(), "{op:?}");
}

#[test]
fn writer_clears_suid_only_where_the_filesystem_says_that_it_will() {
    for (flags, asked) in [(InitFlags::HANDLE_KILLPRIV_V2, true), (InitFlags::empty(), false)] {
        let stage = Stage::new(Config::require(flags));
        chown(stage.path("file"), Some(7), None).unwrap();
        let op = stage.log().last("Setattr");
        is!(op, Setattr { uid: Some(Uid(7)), kill_suidgid: asked });
    }
}

#[test]
fn kernel_keeps_the_times_with_the_writeback_cache() {
    let stage = Stage::new(Config::require(InitFlags::WRITEBACK_CACHE));
    fs::set_permissions(stage.path("file"), Permissions::from_mode(0o600)).unwrap();
    let op = stage.log().last("Setattr");
    let Request::Setattr(op) = op.request() else { unreachable!() };
    assert!(op.mode.is_some() && op.ctime.is_some(), "{op:?}");
}

#[test]
pub(crate) fn statx_comes_when_the_birth_time_is_asked_for() {
    let stage = Stage::new(Config::default());
    let path = stage.path("file");
    statx(CWD, &path, AtFlags::empty(), StatxFlags::BASIC_STATS).unwrap();
    assert_eq!(stage.log().count(Opcode::STATX), 0);
    let found = statx(CWD, &path, AtFlags::empty(), StatxFlags::BTIME | StatxFlags::SIZE).unwrap();
    let op = saw!(stage.log(), Statx { node: Tree::FILE, handle: None, flags: 0 });
    let Request::Statx(op) = op.request() else { unreachable!() };
    assert!(op.mask.contains(StatxMask::BTIME), "{op:?}");
    assert_eq!((found.stx_btime.tv_sec, found.stx_btime.tv_nsec), (1_000_000_000, 5));
}

#[test]
pub(crate) fn access_brings_its_mask_unless_the_kernel_checks() {
    let stage = Stage::new(Config::default());
    for (flags, mask) in [
        (AccessFlags::R_OK | AccessFlags::W_OK, AccessMask::READ | AccessMask::WRITE),
        (AccessFlags::R_OK, AccessMask::READ),
        (AccessFlags::F_OK, AccessMask::empty()),
    ] {
        access(&stage.path("file"), flags).unwrap();
        saw!(stage.log(), Access { node: Tree::FILE, mask: mask });
    }
    let options = MountOptions::new().default_permissions();
    let stage = Stage::with(Config::default(), &options, SessionConfig::default());
    access(&stage.path("file"), AccessFlags::R_OK).unwrap();
    assert_eq!(stage.log().count(Opcode::ACCESS), 0);
}

#[test]
pub(crate) fn statfs_shows_what_the_filesystem_says() {
    let stage = Stage::new(Config::default());
    let found = nix::sys::statfs::statfs(&stage.path("dir")).unwrap();
    saw!(stage.log(), Statfs { node: Tree::DIR });
    assert_eq!((found.blocks(), found.blocks_free(), found.files()), (1000, 600, 50));
}
