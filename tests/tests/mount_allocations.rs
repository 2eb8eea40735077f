//! In the steady state no request costs an allocation, from the device to the filesystem and back: counted by the
//! allocator of this process, over a whole session on a real mount.
//!
//! There are no other tests in this program, since the count is that of the whole process.
#![forbid(unsafe_code)]

use std::alloc::System;
use std::fs::File;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use fusewire::mount::MountOptions;
use fusewire::reply::Dirent;
use fusewire::{
    Attr, Channel, Context, Errno, FileHandle, FileType, Filesystem, Name, NodeId, OpenedFlags, SessionConfig, Workers,
    op, reply, sink,
};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::sys::uio::{pread, pwrite};
use nix::unistd::{Pid, Whence, lseek};
use rustix::fs::RawDir;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A directory with one file, of which the kernel may believe nothing for any time.
struct Plain;

const FILE: NodeId = NodeId(2);

fn attr(node: NodeId) -> Attr {
    if node != FILE {
        return Attr::new(1, FileType::DIRECTORY, 0o755);
    }
    let mut attr = Attr::new(2, FileType::REGULAR, 0o644);
    attr.size = 4096;
    attr
}

impl Filesystem for Plain {
    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        if op.name.as_bytes() != b"file" {
            return Err(Errno::ENOENT);
        }
        Ok(reply::Entry::new(FILE, attr(FILE), Duration::ZERO))
    }

    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        Ok(reply::Attributes::new(attr(op.node), Duration::ZERO))
    }

    fn open(&self, _: &Context<'_>, _: op::Open) -> Result<reply::Opened, Errno> {
        Ok(reply::Opened::new(FileHandle(1)).with_flags(OpenedFlags::DIRECT_IO))
    }

    fn read(&self, _: &Context<'_>, _: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        out.put(&[7; 4096]);
        Ok(())
    }

    fn write(&self, _: &Context<'_>, op: op::Write<'_>) -> Result<reply::Written, Errno> {
        Ok(reply::Written { size: u32::try_from(op.data.len()).map_err(|_| Errno::EFBIG)? })
    }

    fn opendir(&self, _: &Context<'_>, _: op::Opendir) -> Result<reply::Opened, Errno> {
        Ok(reply::Opened::new(FileHandle(2)))
    }

    fn readdir(&self, _: &Context<'_>, op: op::Readdir, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
        let name = Name::new(b"file").map_err(|_| Errno::EIO)?;
        for offset in op.offset + 1..100 {
            if out.push(&Dirent::new(2, offset, FileType::REGULAR, name)).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Calls that make one request or a few, and allocate nothing themselves.
type Call = fn(&Path, &File, &File);

const CALLS: &[(&str, Call)] = &[
    ("getattr", |_, file, _| assert_eq!(nix::sys::stat::fstat(file).expect("asking").st_size, 4096)),
    ("lookup", |path, _, _| assert_eq!(nix::sys::stat::stat(path).expect("looking").st_ino, 2)),
    ("read", |_, file, _| assert_eq!(pread(file, &mut [0; 4096], 0), Ok(4096))),
    ("write", |_, file, _| assert_eq!(pwrite(file, &[1; 4096], 0), Ok(4096))),
    ("readdir", |_, _, root| {
        lseek(root, 0, Whence::SeekSet).expect("going back");
        let mut room = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(root, &mut room);
        let mut count = 0;
        while let Some(entry) = entries.next() {
            entry.expect("an entry");
            count += 1;
        }
        assert_eq!(count, 99);
    }),
];

#[test]
fn no_request_allocates_in_the_steady_state() {
    count(SessionConfig::default().workers(Workers::single()));
}

mod io_uring {
    use super::*;

    #[test]
    fn no_request_allocates_in_the_steady_state() {
        count(SessionConfig::default().channel(Channel::Ring));
    }
}

/// Requests over a mount of its own, and what they allocate.
fn count(config: SessionConfig) {
    // The count is that of the whole process.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock();
    let directory = tempfile::tempdir().expect("a directory");
    let options = MountOptions::new().subtype("plain");
    let mounted = fusewire::mount(Plain, directory.path(), &options, config).expect("mounting");
    // The first request from a CPU brings its queue a worker; callers that are moved would bring one at any time.
    stay_on_this_cpu();
    let path = directory.path().join("file");
    let file = File::options().read(true).write(true).open(&path).expect("opening");
    let root = File::open(directory.path()).expect("opening");
    for (what, call) in CALLS {
        // What is needed once may be allocated, which ends: a request that allocates would do so in each of the runs.
        let run = |_| {
            let region = Region::new(ALLOCATOR);
            (0..500).for_each(|_| call(&path, &file, &root));
            let change = region.change();
            [change.allocations, change.reallocations, change.deallocations]
        };
        let found: Vec<_> = (0..6).map(run).take_while(|counts| *counts != [0; 3]).collect();
        assert!(found.len() < 6, "{what}: each run allocates: {found:?}");
    }
    // The counter counts.
    let region = Region::new(ALLOCATOR);
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(region.change().allocations, 1);
    drop((file, root));
    drop(mounted);
}

fn stay_on_this_cpu() {
    let mut here = CpuSet::new();
    here.set(sched_getcpu().expect("asking for the CPU")).expect("naming the CPU");
    sched_setaffinity(Pid::from_raw(0), &here).expect("staying on the CPU");
}
