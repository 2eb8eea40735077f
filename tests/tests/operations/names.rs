//! Operations on names: looking up, making, moving and removing them, and forgetting.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use fusewire::mount::MountOptions;
use fusewire::{Gid, InitFlags, LinkTarget, NodeId, Opcode, OpenFlags, Pid, RenameFlags, SessionConfig, Uid, Workers};
use fusewire_tests::{Config, HOUR, Stage, Tree, eventually, is, saw};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use rustix::fs::{AtFlags, CWD, linkat, renameat_with};

use crate::name;

#[test]
pub(crate) fn lookup_brings_parent_and_name() {
    let stage = Stage::new(Config::default());
    fs::metadata(stage.path("dir/inner")).unwrap();
    let first = &stage.log().all(Opcode::LOOKUP)[0];
    is!(first, Lookup { parent: NodeId::ROOT, name: name("dir") });
    let second = saw!(stage.log(), Lookup { parent: Tree::DIR, name: name("inner") });
    let thread = u32::try_from(nix::unistd::gettid().as_raw()).unwrap();
    let (uid, gid) = (Uid(nix::unistd::geteuid().as_raw()), Gid(nix::unistd::getegid().as_raw()));
    assert_eq!(second.caller(), (Some(uid), Some(gid), Pid(thread)));
}

#[test]
fn name_that_may_be_believed_is_not_looked_up_again() {
    for (config, lookups) in [(Config::default(), 1), (Config::forgetful(), 2)] {
        let stage = Stage::new(config);
        for _ in 0..2 {
            fs::metadata(stage.path("file")).unwrap();
        }
        assert_eq!(stage.log().count(Opcode::LOOKUP), lookups, "{config:?}");
    }
}

#[test]
fn missing_name_is_remembered_only_as_a_negative_entry() {
    for (negative, lookups) in [(None, 2), (Some(Duration::ZERO), 2), (Some(HOUR), 1)] {
        let stage = Stage::new(Config { negative, ..Config::default() });
        for _ in 0..2 {
            assert_eq!(fs::metadata(stage.path("nothing")).unwrap_err().raw_os_error(), Some(libc::ENOENT));
        }
        assert_eq!(stage.log().count(Opcode::LOOKUP), lookups, "{negative:?}");
    }
}

#[test]
pub(crate) fn forget_gives_back_every_lookup() {
    let stage = Stage::new(Config::forgetful());
    for _ in 0..3 {
        fs::metadata(stage.path("file")).unwrap();
    }
    fs::remove_file(stage.path("file")).unwrap();
    // Removing looks it up once more.
    let lookups = stage.log().count(Opcode::LOOKUP) as u64;
    saw!(stage.log(), Forget { node: Tree::FILE, nlookup: lookups });
    assert!(lookups >= 3);
}

#[test]
pub(crate) fn forgets_that_pile_up_come_in_a_batch() {
    let session = SessionConfig::default().workers(Workers::single());
    let stage = Stage::with(Config::default(), &MountOptions::new(), session);
    fs::create_dir(stage.path("many")).unwrap();
    let mut nodes: BTreeMap<u64, u64> = (0..64)
        .map(|number| {
            let path = stage.path(&format!("many/{number}"));
            nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
            (path.metadata().unwrap().ino(), 1)
        })
        .collect();
    nodes.insert(stage.path("many").metadata().unwrap().ino(), 1);

    // The only worker is held while the kernel drops all of them.
    stage.fs.hold(Opcode::STATFS);
    let root = stage.root().to_owned();
    let caller = std::thread::spawn(move || nix::sys::statfs::statfs(&root).unwrap());
    stage.log().wait_for(Opcode::STATFS, 1);
    stage.notifier().inval_entry(NodeId::ROOT, name("many")).unwrap();
    stage.fs.let_go(Opcode::STATFS);
    caller.join().unwrap();

    stage.log().wait_for(Opcode::BATCH_FORGET, 1);
    let forgotten = || {
        let mut all = BTreeMap::new();
        for batch in stage.log().all(Opcode::BATCH_FORGET) {
            let fusewire::Request::BatchForget(op) = batch.request() else { unreachable!() };
            for one in op.forgets.iter() {
                *all.entry(one.node.0).or_default() += one.nlookup;
            }
        }
        for single in stage.log().all(Opcode::FORGET) {
            let fusewire::Request::Forget(op) = single.request() else { unreachable!() };
            *all.entry(op.node.0).or_default() += op.nlookup;
        }
        all
    };
    eventually("all 65 nodes are forgotten", || forgotten() == nodes);
}

#[test]
pub(crate) fn mkdir_brings_mode_and_umask() {
    // The mask is this thread's own from here on.
    unshare(CloneFlags::CLONE_FS).unwrap();
    umask(Mode::from_bits_truncate(0o027));
    for (config, mode) in [(Config::default(), 0o750), (Config::require(InitFlags::DONT_MASK), 0o777)] {
        let stage = Stage::new(config);
        fs::create_dir(stage.path("dir/new")).unwrap();
        saw!(stage.log(), Mkdir { parent: Tree::DIR, name: name("new"), mode: mode, umask: 0o027 });
    }
    umask(Mode::from_bits_truncate(0o022));
}

#[test]
pub(crate) fn mknod_brings_the_type() {
    let stage = Stage::new(Config::default());
    nix::unistd::mkfifo(&stage.path("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
    saw!(stage.log(), Mknod { parent: NodeId::ROOT, name: name("fifo"), mode: libc::S_IFIFO | 0o600, rdev: 0 });
    let _listener = UnixListener::bind(stage.path("socket")).unwrap();
    let socket = saw!(stage.log(), Mknod { name: name("socket"), rdev: 0 });
    let fusewire::Request::Mknod(op) = socket.request() else { unreachable!() };
    assert_eq!(op.mode & libc::S_IFMT, libc::S_IFSOCK);
}

#[test]
pub(crate) fn symlink_is_made_and_read() {
    let stage = Stage::new(Config::default());
    std::os::unix::fs::symlink("../some where", stage.path("dir/new")).unwrap();
    let target = LinkTarget::new(b"../some where").unwrap();
    saw!(stage.log(), Symlink { parent: Tree::DIR, name: name("new"), target: target });
    assert_eq!(fs::read_link(stage.path("link")).unwrap().to_str(), Some("file"));
    saw!(stage.log(), Readlink { node: Tree::LINK });
}

#[test]
fn link_targets_are_asked_for_once_if_they_may_be_cached() {
    for (flags, times) in [(InitFlags::CACHE_SYMLINKS, 1), (InitFlags::empty(), 2)] {
        let stage = Stage::new(Config::require(flags));
        for _ in 0..2 {
            fs::read_link(stage.path("link")).unwrap();
        }
        assert_eq!(stage.log().count(Opcode::READLINK), times, "{flags:?}");
    }
}

#[test]
pub(crate) fn unlink_and_rmdir_bring_the_name() {
    let stage = Stage::new(Config::default());
    fs::remove_file(stage.path("dir/inner")).unwrap();
    saw!(stage.log(), Unlink { parent: Tree::DIR, name: name("inner") });
    fs::remove_dir(stage.path("dir")).unwrap();
    saw!(stage.log(), Rmdir { parent: NodeId::ROOT, name: name("dir") });
}

#[test]
pub(crate) fn rename_brings_both_places_and_flags() {
    let cases = [
        (RenameFlags::NOREPLACE, "new", true),
        (RenameFlags::EXCHANGE, "dir/inner", true),
        (RenameFlags::WHITEOUT, "new", true),
        (RenameFlags::empty(), "dir/inner", false),
    ];
    for (flags, target, second) in cases {
        let stage = Stage::new(Config::default());
        let native = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
        renameat_with(CWD, stage.path("file"), CWD, stage.path(target), native).unwrap();
        let (new_parent, new_name) =
            if target == "new" { (NodeId::ROOT, name("new")) } else { (Tree::DIR, name("inner")) };
        if second {
            let op = stage.log().last("Rename2");
            is!(op, Rename2 { parent: NodeId::ROOT, name: name("file"), new_parent: new_parent });
            is!(op, Rename2 { new_name: new_name, flags: flags });
        } else {
            let op = stage.log().last("Rename");
            is!(op, Rename { parent: NodeId::ROOT, name: name("file"), new_parent: new_parent, new_name: new_name });
        }
        let moved = fs::metadata(stage.path(target)).unwrap().ino();
        assert_eq!(moved, Tree::FILE.0, "{flags:?}");
    }
}

#[test]
pub(crate) fn links_bring_both_nodes() {
    let stage = Stage::new(Config::default());
    fs::hard_link(stage.path("file"), stage.path("dir/second")).unwrap();
    saw!(stage.log(), Link { new_parent: Tree::DIR, old: Tree::FILE, new_name: name("second") });
    assert_eq!(fs::metadata(stage.path("file")).unwrap().nlink(), 2);
}

#[test]
pub(crate) fn tmpfile_has_no_name_until_it_is_linked() {
    let stage = Stage::new(Config::default());
    let file = File::options().write(true).custom_flags(libc::O_TMPFILE).mode(0o640).open(stage.path("dir")).unwrap();
    let op = saw!(stage.log(), Tmpfile { parent: Tree::DIR, mode: libc::S_IFREG | 0o640 });
    let fusewire::Request::Tmpfile(op) = op.request() else { unreachable!() };
    assert!(op.flags.contains(libc::O_TMPFILE) && op.flags.access() == OpenFlags(1).access(), "{op:?}");
    let node = NodeId(file.metadata().unwrap().ino());
    linkat(&file, "", CWD, stage.path("named"), AtFlags::EMPTY_PATH).unwrap();
    saw!(stage.log(), Link { new_parent: NodeId::ROOT, old: node, new_name: name("named") });
}
