//! The mount without a mount: what programs see, and what the daemon is asked.

mod support;

use std::time::Duration;

use fusewire::op::{LockKind, Whence};
use fusewire::{AccessMask, Errno, FallocateMode, FileType, RenameFlags, StatxMask, XattrFlags};
use fusewire_testkit::Mount;
use fusewire_testkit::kernel::{Caller, Config};
use fusewire_testkit::vfs::{Change, Range};
use support::{Flaw, direct, mounted, threaded};

#[test]
fn files_are_made_written_read_and_removed() {
    let k = mounted();
    k.mkdir("/a", 0o755).unwrap();
    let file = k.open("/a/b", libc::O_RDWR | libc::O_CREAT).unwrap();
    assert_eq!(file.pwrite(0, b"hello, world"), Ok(12));
    assert_eq!(file.pread(7, 100).unwrap(), b"world");
    assert_eq!(file.stat().unwrap().size, 12);
    file.change(Change::size(5)).unwrap();
    file.close().unwrap();
    assert_eq!(k.read("/a/b").unwrap(), b"hello");
    assert_eq!(k.rmdir("/a"), Err(Errno::ENOTEMPTY));
    k.unlink("/a/b").unwrap();
    k.rmdir("/a").unwrap();
    assert_eq!(k.stat("/a"), Err(Errno::ENOENT));
    assert!(k.unmount().violations().is_empty());
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let k = mounted();
    k.write("/f", b"data").unwrap();
    let file = k.open("/f", libc::O_RDONLY).unwrap();
    k.unlink("/f").unwrap();
    assert_eq!(k.stat("/f"), Err(Errno::ENOENT));
    assert_eq!(file.pread(0, 10).unwrap(), b"data");
    drop(file);
    k.unmount();
}

#[test]
fn names_move_and_are_exchanged() {
    let k = mounted();
    k.write("/one", b"1").unwrap();
    k.mkdir("/dir", 0o700).unwrap();
    k.rename("/one", "/dir/uno").unwrap();
    assert_eq!(k.read("/dir/uno").unwrap(), b"1");
    assert_eq!(k.stat("/one"), Err(Errno::ENOENT));
    k.write("/two", b"2").unwrap();
    k.rename_with("/two", "/dir/uno", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(k.read("/two").unwrap(), b"1");
    assert_eq!(k.rename_with("/two", "/dir/uno", RenameFlags::NOREPLACE), Err(Errno::EEXIST));
    assert_eq!(k.rename("/dir", "/dir/uno/x"), Err(Errno::ENOTDIR));
    k.mkdir("/dir/sub", 0o700).unwrap();
    assert_eq!(k.rename("/dir", "/dir/sub/x"), Err(Errno::EINVAL));
    assert_eq!(k.rename("/dir/sub", "/dir"), Err(Errno::ENOTEMPTY));
    assert_eq!(k.rename("/two", "/dir"), Err(Errno::EISDIR));
    assert_eq!(k.names("/dir").unwrap(), ["sub", "uno"]);
    k.unmount();
}

#[test]
fn links_are_followed_and_loops_are_found() {
    let k = mounted();
    k.mkdir("/d", 0o755).unwrap();
    k.write("/d/f", b"x").unwrap();
    k.symlink("d", "/l").unwrap();
    k.symlink("/l/f", "/d/abs").unwrap();
    k.symlink("loop", "/loop").unwrap();
    assert_eq!(k.read("/l/f").unwrap(), b"x");
    assert_eq!(k.read("/l/abs").unwrap(), b"x");
    assert_eq!(k.read("/l/../d/./f").unwrap(), b"x");
    assert_eq!(k.read("/../../l/f").unwrap(), b"x");
    assert_eq!(k.stat("/loop"), Err(Errno::ELOOP));
    assert_eq!(k.readlink("/l").unwrap(), "d");
    assert_eq!(k.lstat("/l").unwrap().file_type(), FileType::SYMLINK);
    assert_eq!(k.stat("/l").unwrap().file_type(), FileType::DIRECTORY);
    assert_eq!(k.stat("/d/f/"), Err(Errno::ENOTDIR));
    assert_eq!(k.stat("/d/f/x"), Err(Errno::ENOTDIR));
    assert_eq!(k.open("/l", libc::O_RDONLY | libc::O_NOFOLLOW).unwrap_err(), Errno::ELOOP);
    k.symlink("made", "/dangling").unwrap();
    k.open("/dangling", libc::O_WRONLY | libc::O_CREAT).unwrap();
    assert!(k.stat("/made").is_ok());
    k.link("/d/f", "/hard").unwrap();
    assert_eq!(k.stat("/hard").unwrap().nlink, 2);
    assert_eq!(k.stat("/hard").unwrap().ino, k.stat("/d/f").unwrap().ino);
    k.unmount();
}

#[test]
fn large_directories_are_listed_in_parts() {
    let k = mounted();
    for number in 0..500 {
        k.write(format!("/file-{number:04}"), b"").unwrap();
    }
    let entries = k.readdir("/").unwrap();
    assert_eq!(entries.len(), 502);
    let book = k.unmount();
    assert!(book.violations().is_empty());
    assert!(book.checked(fusewire_testkit::laws::Law::DirentResume) > 0);
}

#[test]
fn entries_are_believed_until_their_time_is_up() {
    let k = mounted();
    k.write("/f", b"").unwrap();
    let lookups = |k: &Mount| k.kernel().sent(fusewire::Opcode::LOOKUP);
    k.stat("/f").unwrap();
    let before = lookups(&k);
    k.stat("/f").unwrap();
    assert_eq!(lookups(&k), before);
    k.advance(Duration::from_secs(1));
    k.stat("/f").unwrap();
    assert_eq!(lookups(&k), before + 1);
    k.drop_caches();
    k.stat("/f").unwrap();
    assert_eq!(lookups(&k), before + 2);
    k.unmount();
}

#[test]
fn attributes_change() {
    let k = mounted();
    k.write("/f", b"12345").unwrap();
    k.chmod("/f", 0o600).unwrap();
    k.change("/f", Change::owner(7, 8)).unwrap();
    k.truncate("/f", 3).unwrap();
    let attr = k.stat("/f").unwrap();
    assert_eq!((attr.mode & 0o7777, attr.uid.0, attr.gid.0, attr.size), (0o600, 7, 8, 3));
    assert_eq!(k.truncate("/", 3), Err(Errno::EISDIR));
    assert_eq!(k.access("/f", AccessMask::READ), Ok(()));
    assert_eq!(k.statx("/f", StatxMask::BTIME).unwrap().size, 3);
    assert!(k.statfs("/").unwrap().namelen > 0);
    k.unmount();
}

#[test]
fn extended_attributes_are_kept() {
    let k = mounted();
    k.write("/f", b"").unwrap();
    k.setxattr("/f", "user.one", b"1", XattrFlags::empty()).unwrap();
    k.setxattr("/f", "user.two", b"22", XattrFlags::CREATE).unwrap();
    assert_eq!(k.setxattr("/f", "user.two", b"", XattrFlags::CREATE), Err(Errno::EEXIST));
    assert_eq!(k.getxattr("/f", "user.two").unwrap(), b"22");
    assert_eq!(k.listxattr("/f").unwrap(), ["user.one", "user.two"]);
    k.removexattr("/f", "user.one").unwrap();
    assert_eq!(k.getxattr("/f", "user.one"), Err(Errno::ENODATA));
    k.unmount();
}

#[test]
fn open_files_do_more_than_read_and_write() {
    let k = mounted();
    let file = k.open("/f", libc::O_RDWR | libc::O_CREAT).unwrap();
    file.pwrite(0, vec![1; 300_000]).unwrap();
    file.fallocate(FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE, 0, 10).unwrap();
    assert_eq!(file.pread(0, 11).unwrap()[..11], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(file.seek(0, Whence::HOLE), Ok(300_000));
    assert_eq!(file.seek(300_000, Whence::DATA), Err(Errno::ENXIO));
    let copy = k.open("/g", libc::O_RDWR | libc::O_CREAT).unwrap();
    assert_eq!(file.copy_to(0, &copy, 0, 20), Ok(20));
    assert_eq!(copy.stat().unwrap().size, 20);
    let end = k.open("/g", libc::O_WRONLY | libc::O_APPEND).unwrap();
    end.pwrite(0, b"end").unwrap();
    assert_eq!(copy.pread(20, 10).unwrap(), b"end");
    assert_eq!(end.pread(0, 1), Err(Errno::EBADF));
    assert_eq!(file.ioctl(1, b"", 0), Err(Errno::ENOTTY));
    file.sync().unwrap();
    let nameless = k.open_tmpfile("/", libc::O_RDWR, 0o600).unwrap();
    nameless.pwrite(0, b"x").unwrap();
    assert_eq!(k.names("/").unwrap(), ["f", "g"]);
    drop((file, copy, end, nameless));
    k.unmount();
}

#[test]
fn locks_of_processes_stand_in_each_others_way() {
    let k = Mount::new(threaded(Flaw::None), Config::default()).unwrap();
    let other = k.process(Caller::new(1000, 1000));
    k.write("/f", b"").unwrap();
    let mine = k.open("/f", libc::O_RDWR).unwrap();
    let theirs = other.open("/f", libc::O_RDWR).unwrap();
    mine.lock(Range::of(0, 10), LockKind::WRITE).unwrap();
    assert_eq!(theirs.lock(Range::of(5, 10), LockKind::READ), Err(Errno::EAGAIN));
    assert_eq!(theirs.test_lock(Range::all(), LockKind::READ).unwrap().unwrap().end, 9);
    let blocked = theirs.begin_lock(Range::of(5, 1), LockKind::WRITE).unwrap();
    blocked.interrupt().unwrap();
    assert_eq!(blocked.wait(), Err(Errno::EINTR));
    let blocked = theirs.begin_lock(Range::of(5, 1), LockKind::WRITE).unwrap();
    mine.close().unwrap();
    assert_eq!(blocked.wait(), Ok(()));
    let mine = k.open("/f", libc::O_RDWR).unwrap();
    mine.flock(LockKind::WRITE).unwrap();
    assert_eq!(theirs.flock(LockKind::READ), Err(Errno::EAGAIN));
    drop(mine);
    assert_eq!(theirs.flock(LockKind::READ), Ok(()));
    drop(theirs);
    k.unmount();
}

#[test]
fn callers_come_at_the_same_time() {
    let k = Mount::new(threaded(Flaw::None), Config::default()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let k = &k;
            scope.spawn(move || {
                for round in 0..100 {
                    let path = format!("/{}", (thread + round) % 3);
                    let _ = k.write(&path, b"x");
                    let _ = k.read(&path);
                    let _ = k.unlink(&path);
                    let _ = k.names("/");
                }
            });
        }
    });
    assert!(k.unmount().violations().is_empty());
}

#[test]
fn every_minor_is_spoken() {
    for minor in 31..=45 {
        for daemon in [direct(Flaw::None), threaded(Flaw::None)] {
            let k = Mount::new(daemon, Config::of_minor(minor)).unwrap();
            assert_eq!(k.negotiated().minor, minor);
            k.mkdir("/d", 0o755).unwrap();
            k.write("/d/f", b"data").unwrap();
            k.setxattr("/d/f", "user.x", b"y", XattrFlags::empty()).unwrap();
            assert_eq!(k.read("/d/f").unwrap(), b"data");
            assert_eq!(k.names("/").unwrap(), ["d"]);
            k.unmount();
        }
    }
}
