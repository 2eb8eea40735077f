//! Locks that the filesystem decides about: POSIX locks, locks of open files, flock(2) locks.

use std::fs::File;
use std::io;

use fusewire::op::{FileLock, LockKind};
use fusewire::{InitFlags, LockFlags, Opcode, ReleaseFlags, Request};
use fusewire_tests::{Config, Stage, Tree, is, saw};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// A lock of the whole file, for fcntl(2).
pub(crate) fn whole(kind: i32) -> libc::flock {
    range(kind, 0, 0)
}

fn range(kind: i32, start: i64, length: i64) -> libc::flock {
    let (l_type, l_whence) = (i16::try_from(kind).unwrap(), i16::try_from(libc::SEEK_SET).unwrap());
    libc::flock { l_type, l_whence, l_start: start, l_len: length, l_pid: 0 }
}

fn open(stage: &Stage) -> File {
    File::options().read(true).write(true).open(stage.path("file")).unwrap()
}

fn locking() -> Stage {
    Stage::new(Config::require(InitFlags::POSIX_LOCKS | InitFlags::FLOCK_LOCKS))
}

/// The last end of a range that reaches to the end of any file.
const END: u64 = i64::MAX.cast_unsigned();

#[test]
pub(crate) fn posix_locks_bring_range_owner_and_kind() {
    let stage = locking();
    let file = open(&stage);
    let pid = fusewire::Pid(std::process::id());
    let lock = |start, end, kind| FileLock { start, end, kind, pid };
    fcntl(&file, FcntlArg::F_SETLK(&range(libc::F_WRLCK, 3, 4))).unwrap();
    let set = saw!(stage.log(), Setlk { node: Tree::FILE, flags: LockFlags::empty() });
    is!(set, Setlk { lock: lock(3, 6, LockKind::WRITE) });
    let Request::Setlk(set) = set.request() else { unreachable!() };

    fcntl(&file, FcntlArg::F_SETLK(&whole(libc::F_RDLCK))).unwrap();
    saw!(stage.log(), Setlk { owner: set.owner, handle: set.handle, lock: lock(0, END, LockKind::READ) });

    // The lock of an open file has another owner, so the other is in its way.
    let mut asked = whole(libc::F_WRLCK);
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut asked)).unwrap();
    let get = stage.log().last("Getlk");
    let Request::Getlk(get) = get.request() else { unreachable!() };
    assert_eq!((get.node, get.lock.start, get.lock.end, get.lock.kind), (Tree::FILE, 0, END, LockKind::WRITE));
    assert_ne!(get.owner, set.owner);
    assert_eq!(i32::from(asked.l_type), libc::F_WRLCK);
    let mut asked = whole(libc::F_WRLCK);
    fcntl(&file, FcntlArg::F_GETLK(&mut asked)).unwrap();
    saw!(stage.log(), Getlk { owner: set.owner });
    assert_eq!(i32::from(asked.l_type), libc::F_UNLCK);

    assert_eq!(fcntl(&file, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))), Err(Errno::EAGAIN));
    saw!(stage.log(), Setlk { owner: get.owner });
    fcntl(&file, FcntlArg::F_SETLK(&whole(libc::F_UNLCK))).unwrap();
    let unlock = saw!(stage.log(), Setlk { owner: set.owner });
    let Request::Setlk(unlock) = unlock.request() else { unreachable!() };
    assert_eq!(unlock.lock.kind, LockKind::UNLOCK);
}

#[test]
pub(crate) fn blocking_lock_waits_for_the_holder() {
    let stage = locking();
    let (first, second) = (open(&stage), open(&stage));
    fcntl(&first, FcntlArg::F_OFD_SETLKW(&whole(libc::F_WRLCK))).unwrap();
    let waiter = std::thread::spawn(move || fcntl(&second, FcntlArg::F_OFD_SETLKW(&whole(libc::F_WRLCK))));
    let waiting = stage.log().wait_for(Opcode::SETLKW, 2);
    is!(waiting, Setlkw { node: Tree::FILE });
    // Others are served meanwhile.
    std::fs::read_dir(stage.root()).unwrap();
    assert!(!waiter.is_finished());
    fcntl(&first, FcntlArg::F_OFD_SETLK(&whole(libc::F_UNLCK))).unwrap();
    waiter.join().unwrap().unwrap();
}

#[test]
fn interrupted_lock_gives_eintr() {
    let stage = locking();
    let (first, second) = (open(&stage), open(&stage));
    fcntl(&first, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))).unwrap();
    let waiter = std::thread::spawn(move || fcntl(&second, FcntlArg::F_OFD_SETLKW(&whole(libc::F_WRLCK))));
    stage.log().wait_for(Opcode::SETLKW, 1);
    crate::raw::interrupt(&waiter);
    assert_eq!(waiter.join().unwrap(), Err(Errno::EINTR));
}

#[test]
fn flock_comes_with_its_flag_and_goes_with_the_file() {
    let stage = locking();
    let (first, second) = (open(&stage), open(&stage));
    first.lock().unwrap();
    let op = saw!(stage.log(), Setlkw { node: Tree::FILE, flags: LockFlags::FLOCK });
    let Request::Setlkw(op) = op.request() else { unreachable!() };
    assert_eq!((op.lock.kind, op.lock.start, op.lock.end), (LockKind::WRITE, 0, END));
    assert!(second.try_lock().is_err());
    saw!(stage.log(), Setlk { flags: LockFlags::FLOCK });
    drop(first);
    let released = stage.log().last("Release");
    is!(released, Release { handle: op.handle, release_flags: ReleaseFlags::FLOCK_UNLOCK, lock_owner: op.owner });
    // Nobody waits for the answer to a release, so whoever wants the lock does.
    second.lock().unwrap();
}

#[test]
fn kernel_keeps_the_locks_itself_unless_asked_not_to() {
    let stage = Stage::new(Config::default());
    let (first, second) = (open(&stage), open(&stage));
    first.lock().unwrap();
    assert_eq!(second.try_lock().map_err(io::Error::from).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    fcntl(&first, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))).unwrap();
    assert_eq!(fcntl(&second, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))), Err(Errno::EAGAIN));
    for opcode in [Opcode::GETLK, Opcode::SETLK, Opcode::SETLKW] {
        assert_eq!(stage.log().count(opcode), 0, "{opcode}");
    }
}
