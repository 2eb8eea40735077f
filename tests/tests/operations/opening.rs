//! Opening and making files: the flags of open(2), and what the flags of the answer do.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use fusewire::{InitFlags, NodeId, Opcode, OpenRequestFlags, OpenedFlags, Request};
use fusewire_tests::{Config, Stage, Tree, is, saw};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};

use crate::name;

#[test]
pub(crate) fn open_brings_its_flags() {
    let cases: &[(i32, i32)] = &[
        (libc::O_RDONLY, libc::O_RDONLY),
        (libc::O_WRONLY | libc::O_APPEND, libc::O_WRONLY | libc::O_APPEND),
        (libc::O_RDWR | libc::O_SYNC | libc::O_NONBLOCK, libc::O_RDWR | libc::O_SYNC | libc::O_NONBLOCK),
        // Not sent: what only matters to the kernel.
        (libc::O_RDWR | libc::O_CREAT | libc::O_NOCTTY, libc::O_RDWR),
        (libc::O_WRONLY | libc::O_TRUNC, libc::O_WRONLY | libc::O_TRUNC),
    ];
    for (flags, expected) in cases {
        let stage = Stage::new(Config::require(InitFlags::ATOMIC_O_TRUNC));
        fs::metadata(stage.path("file")).unwrap();
        open(&stage, *flags);
        let op = saw!(stage.log(), Open { node: Tree::FILE });
        let Request::Open(op) = op.request() else { unreachable!() };
        // The kernel adds O_LARGEFILE, which has no name here, for programs of 64 bits.
        let large = 0o100_000;
        assert_eq!(op.flags.to_libc() & !large, *expected, "{flags:o}");
    }
}

fn open(stage: &Stage, flags: i32) -> File {
    let flags = nix::fcntl::OFlag::from_bits_retain(flags);
    File::from(nix::fcntl::open(&stage.path("file"), flags, Mode::S_IRWXU).unwrap())
}

#[test]
fn truncating_open_is_one_request_only_if_the_filesystem_truncates() {
    for (require, setattrs) in [(InitFlags::ATOMIC_O_TRUNC, 0), (InitFlags::empty(), 1)] {
        let stage = Stage::new(Config::require(require));
        fs::metadata(stage.path("file")).unwrap();
        drop(open(&stage, libc::O_WRONLY | libc::O_TRUNC));
        let op = stage.log().last("Open");
        let Request::Open(op) = op.request() else { unreachable!() };
        assert_eq!(op.flags.contains(libc::O_TRUNC), setattrs == 0);
        assert_eq!(stage.log().count(Opcode::SETATTR), setattrs);
        if setattrs == 1 {
            saw!(stage.log(), Setattr { node: Tree::FILE, size: Some(0) });
        }
        assert_eq!(stage.fs.inner().content(Tree::FILE), Some(Vec::new()));
    }
}

#[test]
fn truncating_open_asks_to_clear_suid_where_the_filesystem_says_that_it_will() {
    for (flags, expected) in [
        (InitFlags::HANDLE_KILLPRIV_V2, OpenRequestFlags::KILL_SUIDGID),
        (InitFlags::empty(), OpenRequestFlags::empty()),
    ] {
        let stage = Stage::new(Config::require(flags | InitFlags::ATOMIC_O_TRUNC));
        fs::set_permissions(stage.path("file"), std::os::unix::fs::PermissionsExt::from_mode(0o4777)).unwrap();
        let path = stage.path("file");
        // Who may keep the bits is not asked to lose them: this thread gives that up.
        let caller = std::thread::spawn(move || {
            crate::raw::give_up_suid();
            File::options().write(true).truncate(true).open(path).unwrap();
        });
        caller.join().unwrap();
        saw!(stage.log(), Open { node: Tree::FILE, open_flags: expected });
    }
}

#[test]
pub(crate) fn create_brings_mode_flags_and_umask() {
    // The mask is this thread's own from here on.
    unshare(CloneFlags::CLONE_FS).unwrap();
    umask(Mode::from_bits_truncate(0o027));
    for (config, permissions) in [(Config::default(), 0o640), (Config::require(InitFlags::DONT_MASK), 0o666)] {
        let stage = Stage::new(config);
        let file = File::options().write(true).create_new(true).mode(0o666).open(stage.path("dir/new")).unwrap();
        let op = stage.log().last("Create");
        is!(op, Create { parent: Tree::DIR, name: name("new"), mode: libc::S_IFREG | permissions, umask: 0o027 });
        let Request::Create(op) = op.request() else { unreachable!() };
        assert!(op.flags.contains(libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY), "{op:?}");
        assert_eq!(stage.log().count(Opcode::OPEN), 0);
        drop(file);
    }
    umask(Mode::from_bits_truncate(0o022));
}

#[test]
fn pages_stay_valid_over_an_open_only_with_keep_cache() {
    for (opened, reads) in [(OpenedFlags::KEEP_CACHE, 1), (OpenedFlags::empty(), 2)] {
        let stage = Stage::new(Config::opened(opened));
        for _ in 0..2 {
            let mut file = File::open(stage.path("file")).unwrap();
            let mut text = [0; 5];
            file.read_exact(&mut text).unwrap();
        }
        assert_eq!(stage.log().count(Opcode::READ), reads, "{opened:?}");
    }
}

#[test]
fn closing_flushes_unless_the_answer_says_not_to() {
    for (opened, flushes) in [(OpenedFlags::NOFLUSH, 0), (OpenedFlags::empty(), 1)] {
        let stage = Stage::new(Config::opened(opened));
        drop(File::open(stage.path("file")).unwrap());
        stage.log().wait_for(Opcode::RELEASE, 1);
        assert_eq!(stage.log().count(Opcode::FLUSH), flushes, "{opened:?}");
    }
}

#[test]
fn streams_cannot_be_seeked() {
    let outcome = |result: io::Result<usize>| result.err().and_then(|error| error.raw_os_error());
    for (opened, seek, at) in [
        (OpenedFlags::empty(), None, None),
        (OpenedFlags::NONSEEKABLE, Some(libc::ESPIPE), Some(libc::ESPIPE)),
        (OpenedFlags::STREAM, Some(libc::ESPIPE), Some(libc::ESPIPE)),
    ] {
        let stage = Stage::new(Config::opened(opened | OpenedFlags::DIRECT_IO));
        let mut file = File::open(stage.path("file")).unwrap();
        let mut byte = [0; 1];
        file.read_exact(&mut byte).unwrap();
        let sought = nix::unistd::lseek(&file, 1, nix::unistd::Whence::SeekSet).err().map(|errno| errno as i32);
        assert_eq!(sought, seek, "{opened:?}");
        assert_eq!(outcome(file.read_at(&mut byte, 3)), at, "{opened:?}");
    }
}

#[test]
fn exclusive_create_of_a_name_that_came_up_meanwhile_fails() {
    let stage = Stage::new(Config { negative: Some(fusewire_tests::HOUR), ..Config::default() });
    assert!(fs::metadata(stage.path("late")).is_err());
    stage.fs.fail(Opcode::CREATE, fusewire::Errno::EEXIST);
    let error = File::create_new(stage.path("late")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    saw!(stage.log(), Create { parent: NodeId::ROOT, name: name("late") });
}
