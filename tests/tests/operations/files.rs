//! Reading, writing and closing open files: directly, through the page cache, and mapped.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};

use fusewire::{FsyncFlags, InitFlags, LockOwner, Opcode, OpenedFlags, ReadFlags, Request, WriteFlags, op};
use fusewire_tests::{Config, Stage, Tree, is, saw};
use nix::fcntl::{FcntlArg, fcntl};

use crate::raw;

fn open(stage: &Stage) -> File {
    File::options().read(true).write(true).open(stage.path("file")).unwrap()
}

/// The last write, without its data.
fn written(stage: &Stage) -> (op::Write<'static>, Vec<u8>) {
    let recorded = stage.log().last("Write");
    let Request::Write(op) = recorded.request() else { unreachable!() };
    let mut bare = op::Write::new(op.node, op.handle, op.offset, &[]);
    (bare.lock_owner, bare.write_flags, bare.flags) = (op.lock_owner, op.write_flags, op.flags);
    (bare, op.data.to_vec())
}

#[test]
pub(crate) fn direct_reads_and_writes_come_as_they_are() {
    let stage = Stage::new(Config::opened(OpenedFlags::DIRECT_IO));
    let file = open(&stage);
    let mut bytes = [0; 6];
    file.read_exact_at(&mut bytes, 7).unwrap();
    assert_eq!(&bytes, b"bytes ");
    let read = saw!(stage.log(), Read { node: Tree::FILE, offset: 7, size: 6, read_flags: ReadFlags::empty() });
    file.write_all_at(b"BYTES", 7).unwrap();
    let (op, data) = written(&stage);
    // Writing takes set-user-ID away, unless root writes.
    let flags = if nix::unistd::geteuid().is_root() { WriteFlags::empty() } else { WriteFlags::KILL_SUIDGID };
    assert_eq!((op.node, op.offset, op.write_flags, data), (Tree::FILE, 7, flags, b"BYTES".to_vec()));
    // Both say who would own a lock, and through which open file.
    let Request::Read(read) = read.request() else { unreachable!() };
    assert_eq!((read.lock_owner, read.handle), (op.lock_owner, op.handle));
    assert!(op.lock_owner.is_some());
    assert!(op.flags.contains(libc::O_RDWR), "{op:?}");
}

#[test]
fn cached_reads_come_in_pages_and_cached_writes_at_once() {
    let stage = Stage::new(Config::default());
    let file = open(&stage);
    let mut bytes = [0; 6];
    file.read_exact_at(&mut bytes, 7).unwrap();
    let read = saw!(stage.log(), Read { node: Tree::FILE, offset: 0 });
    let Request::Read(read) = read.request() else { unreachable!() };
    assert_eq!((read.size % 4096, read.lock_owner), (0, None));
    file.write_all_at(b"BYTES", 7).unwrap();
    let (op, data) = written(&stage);
    assert_eq!((op.node, op.offset, data), (Tree::FILE, 7, b"BYTES".to_vec()));
    assert!(!op.write_flags.contains(WriteFlags::CACHE), "{op:?}");
}

#[test]
fn appended_data_come_with_an_absolute_offset() {
    let stage = Stage::new(Config::default());
    let mut file = File::options().append(true).open(stage.path("file")).unwrap();
    file.write_all(b"!").unwrap();
    let (op, data) = written(&stage);
    assert_eq!((op.offset, data), (20, b"!".to_vec()));
    assert!(op.flags.contains(libc::O_APPEND), "{op:?}");
}

#[test]
fn long_reads_and_writes_come_in_requests_of_the_negotiated_size() {
    let stage = Stage::new(Config::opened(OpenedFlags::DIRECT_IO));
    let file = open(&stage);
    let most = 1_usize << 20;
    // Memory that begins on a page: what does not takes part of one more.
    let mut memory = vec![7_u8; most + 1 + 4096];
    let start = memory.as_ptr().align_offset(4096);
    let bytes = &mut memory[start..=start + most];
    file.write_all_at(bytes, 0).unwrap();
    let sizes: Vec<_> = stage.log().all(Opcode::WRITE).iter().map(|one| length_of(&one.request())).collect();
    assert_eq!(sizes, [most, 1]);
    bytes.fill(0);
    file.read_exact_at(bytes, 0).unwrap();
    let sizes: Vec<_> = stage.log().all(Opcode::READ).iter().map(|one| length_of(&one.request())).collect();
    assert_eq!(sizes, [most, 1]);
    assert!(bytes.iter().all(|byte| *byte == 7));
}

fn length_of(request: &Request<'_>) -> usize {
    match request {
        Request::Write(op) => op.data.len(),
        Request::Read(op) => usize::try_from(op.size).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn writer_asks_to_clear_suid_where_the_filesystem_says_that_it_will() {
    for (capability, asked) in [(InitFlags::HANDLE_KILLPRIV_V2, true), (InitFlags::empty(), false)] {
        let stage = Stage::new(Config::require(capability));
        fs::set_permissions(stage.path("file"), Permissions::from_mode(0o4777)).unwrap();
        let file = open(&stage);
        let writer = std::thread::spawn(move || {
            raw::give_up_suid();
            file.write_all_at(b"x", 0).unwrap();
        });
        writer.join().unwrap();
        assert_eq!(written(&stage).0.write_flags.contains(WriteFlags::KILL_SUIDGID), asked);
    }
}

#[test]
fn mapped_writes_come_from_the_page_cache() {
    let stage = Stage::new(Config::default());
    let file = open(&stage);
    raw::write_mapped(&file, b'T');
    let (op, data) = written(&stage);
    assert!(op.write_flags.contains(WriteFlags::CACHE), "{op:?}");
    assert_eq!((op.node, op.offset, op.lock_owner), (Tree::FILE, 0, None));
    assert_eq!(data, b"Twenty bytes of text");
}

#[test]
fn writeback_cache_gathers_writes() {
    let stage = Stage::new(Config::require(InitFlags::WRITEBACK_CACHE));
    let file = open(&stage);
    for (offset, byte) in (0..).zip(b"TWENTY") {
        file.write_all_at(&[*byte], offset).unwrap();
    }
    file.sync_all().unwrap();
    let (op, data) = written(&stage);
    assert!(op.write_flags.contains(WriteFlags::CACHE), "{op:?}");
    assert_eq!(data, b"TWENTY bytes of text");
    let asked = stage.log().asked();
    let position = |method| asked.iter().position(|asked| *asked == method);
    assert_eq!(stage.log().count(Opcode::WRITE), 1);
    assert!(position("write") < position("fsync"), "{asked:?}");
}

#[test]
pub(crate) fn fsync_says_whether_data_are_enough() {
    let stage = Stage::new(Config::default());
    let file = open(&stage);
    file.sync_all().unwrap();
    saw!(stage.log(), Fsync { node: Tree::FILE, fsync_flags: FsyncFlags::empty() });
    file.sync_data().unwrap();
    saw!(stage.log(), Fsync { node: Tree::FILE, fsync_flags: FsyncFlags::FDATASYNC });
}

#[test]
pub(crate) fn flush_comes_for_each_close_and_release_once() {
    let stage = Stage::new(Config::require(InitFlags::POSIX_LOCKS));
    let file = open(&stage);
    fcntl(&file, FcntlArg::F_SETLK(&crate::locks::whole(libc::F_WRLCK))).unwrap();
    let lock = stage.log().last("Setlk");
    let Request::Setlk(lock) = lock.request() else { unreachable!() };
    for closed in 1..=2 {
        drop(file.try_clone().unwrap());
        // Whoever locked through any descriptor of the file loses the lock with the first that is closed.
        let op = stage.log().wait_for(Opcode::FLUSH, closed);
        is!(op, Flush { node: Tree::FILE, handle: lock.handle, lock_owner: lock.owner });
    }
    assert_eq!(stage.log().count(Opcode::RELEASE), 0);
    drop(file);
    saw!(stage.log(), Release { node: Tree::FILE, handle: lock.handle });
    assert_eq!((stage.log().count(Opcode::FLUSH), stage.log().count(Opcode::RELEASE)), (3, 1));
    assert_ne!(lock.owner, LockOwner(0));
}

#[test]
fn error_of_a_flush_reaches_the_caller_of_close() {
    let stage = Stage::new(Config::default());
    let file = open(&stage);
    stage.fs.fail(Opcode::FLUSH, fusewire::Errno::EDQUOT);
    assert_eq!(nix::unistd::close(file), Err(nix::errno::Errno::EDQUOT));
}
