//! Attributes: from the structures of the system calls to those of the protocol, and changing them.
//!
//! How long the kernel may believe them is decided elsewhere.

use std::os::fd::{AsFd, BorrowedFd};

use fusewire::op::{SetTime, Setattr};
use fusewire::{Attr, FileType, Gid, StatxAttr, StatxMask, Timestamp, Uid, reply};
use rustix::fs::{
    AtFlags, Mode, OFlags, Stat, StatVfs, Statx, StatxTimestamp, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, chmodat,
    chownat, ftruncate, futimens, utimensat,
};
use rustix::io;

use crate::reopen::{LinkPath, Reopener};

/// The permission bits of a mode, with suid, sgid and sticky.
const PERMISSIONS: u32 = 0o7777;

/// Attributes as stat(2) has them. `ino` is what is to be shown as the inode number.
pub(crate) fn attr(stat: &Stat, ino: u64) -> Attr {
    let mut attr = Attr::new(ino, FileType::from_mode(stat.st_mode), stat.st_mode & PERMISSIONS);
    attr.size = u64::try_from(stat.st_size).unwrap_or(0);
    attr.blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
    attr.atime = timestamp(stat.st_atime, stat.st_atime_nsec);
    attr.mtime = timestamp(stat.st_mtime, stat.st_mtime_nsec);
    attr.ctime = timestamp(stat.st_ctime, stat.st_ctime_nsec);
    attr.nlink = u32::try_from(stat.st_nlink).unwrap_or(u32::MAX);
    attr.uid = Uid(stat.st_uid);
    attr.gid = Gid(stat.st_gid);
    attr.rdev = device_number(stat.st_rdev);
    attr.blksize = u32::try_from(stat.st_blksize).unwrap_or(4096);
    attr
}

fn timestamp(seconds: i64, nanoseconds: u64) -> Timestamp {
    Timestamp::new(seconds, u32::try_from(nanoseconds).unwrap_or(0))
}

/// A device number of user space in the kernel's 32 bits: the same bits, as far as major numbers go.
fn device_number(rdev: u64) -> u32 {
    u32::try_from(rdev & u64::from(u32::MAX)).unwrap_or(0)
}

/// Attributes as statx(2) has them.
pub(crate) fn statx_attr(found: &Statx, ino: u64) -> StatxAttr {
    let time = |time: &StatxTimestamp| Timestamp::new(time.tv_sec, time.tv_nsec);
    let mut attr = StatxAttr::default();
    attr.mask = StatxMask::from_bits_retain(found.stx_mask);
    attr.blksize = found.stx_blksize;
    attr.attributes = found.stx_attributes.bits();
    attr.attributes_mask = found.stx_attributes_mask.bits();
    attr.nlink = found.stx_nlink;
    attr.uid = Uid(found.stx_uid);
    attr.gid = Gid(found.stx_gid);
    attr.mode = found.stx_mode;
    attr.ino = ino;
    attr.size = found.stx_size;
    attr.blocks = found.stx_blocks;
    attr.atime = time(&found.stx_atime);
    attr.btime = time(&found.stx_btime);
    attr.ctime = time(&found.stx_ctime);
    attr.mtime = time(&found.stx_mtime);
    attr.rdev = (found.stx_rdev_major, found.stx_rdev_minor);
    attr.dev = (found.stx_dev_major, found.stx_dev_minor);
    attr
}

/// The numbers of a whole filesystem.
pub(crate) fn statfs(found: &StatVfs) -> reply::Statfs {
    let mut statfs = reply::Statfs::unknown();
    statfs.blocks = found.f_blocks;
    statfs.bfree = found.f_bfree;
    statfs.bavail = found.f_bavail;
    statfs.files = found.f_files;
    statfs.ffree = found.f_ffree;
    statfs.bsize = u32::try_from(found.f_bsize).unwrap_or(u32::MAX);
    statfs.frsize = u32::try_from(found.f_frsize).unwrap_or(u32::MAX);
    statfs.namelen = u32::try_from(found.f_namemax).unwrap_or(u32::MAX);
    statfs
}

/// Changes what `op` says, in the order of the kernel's filesystems: owner, mode, size, times. A change of the owner takes
/// suid and sgid away, and a change of the size sets times.
///
/// `place` holds the inode, `file` is the open file that the change is made through, if it is one that can be written.
///
/// # Errors
/// Those of the system calls. What was changed before stays so, and doing it all again is all right.
pub(crate) fn change(
    reopener: &Reopener,
    place: BorrowedFd<'_>,
    file: Option<BorrowedFd<'_>>,
    op: &Setattr,
) -> io::Result<()> {
    if op.uid.is_some() || op.gid.is_some() {
        let (uid, gid) =
            (op.uid.map(|uid| rustix::fs::Uid::from_raw(uid.0)), op.gid.map(|gid| rustix::fs::Gid::from_raw(gid.0)));
        chownat(place, c"", uid, gid, AtFlags::EMPTY_PATH)?;
    }
    if let Some(mode) = op.mode {
        let mode = Mode::from_bits_truncate(mode & PERMISSIONS);
        reopener.with_link(place, |directory, link| chmodat(directory, link, mode, AtFlags::empty()))?;
    }
    if let Some(size) = op.size {
        match file {
            Some(file) => ftruncate(file, size)?,
            // Of truncate(2) or of open(2) with `O_TRUNC`, which the kernel does not tell apart. The second sets the times of an empty
            // file, too.
            None if size == 0 => drop(reopener.open(place, OFlags::WRONLY | OFlags::TRUNC)?),
            None => truncate(place, size)?,
        }
    }
    if op.atime.is_some() || op.mtime.is_some() {
        let times = Timestamps { last_access: timespec(op.atime), last_modification: timespec(op.mtime) };
        match file {
            Some(file) => futimens(file, &times)?,
            None => set_times(reopener, place, &times)?,
        }
    }
    Ok(())
}

/// Takes the times out of a change: a change of them alone.
pub(crate) fn take_times(op: &mut Setattr) -> Option<Setattr> {
    let mut times = Setattr::new(op.node);
    (times.atime, times.mtime) = (op.atime.take(), op.mtime.take());
    op.ctime = None;
    (times.atime.is_some() || times.mtime.is_some()).then_some(times)
}

fn truncate(place: BorrowedFd<'_>, size: u64) -> io::Result<()> {
    let size = i64::try_from(size).map_err(|_| io::Errno::FBIG)?;
    let done = nix::unistd::truncate(LinkPath::of(place).as_c_str(), size).map_err(std::io::Error::from);
    done.map_err(|error| io::Errno::from_io_error(&error).unwrap_or(io::Errno::IO))
}

fn set_times(reopener: &Reopener, place: BorrowedFd<'_>, times: &Timestamps) -> io::Result<()> {
    match utimensat(place.as_fd(), c"", times, AtFlags::EMPTY_PATH) {
        // Before Linux 5.8.
        Err(io::Errno::INVAL) => {
            reopener.with_link(place, |directory, link| utimensat(directory, link, times, AtFlags::empty()))
        }
        done => done,
    }
}

fn timespec(time: Option<SetTime>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(SetTime::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(SetTime::At(time)) => Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) },
    }
}
