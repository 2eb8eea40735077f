//! Open files: with which flags they are opened in the source, and how they are written.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use fusewire::{Backing, OpenFlags, WriteFlags, op};
use rustix::fs::OFlags;
use rustix::io::{self, ReadWriteFlags, pwrite, pwritev2};

use crate::reopen::Reopener;

/// What the kernel adds to the flags when a file is opened to be executed (`__FMODE_EXEC`, `include/linux/fs.h`).
const FOR_EXECUTION: i32 = 0x20;

/// Whether a file is opened to be executed: that takes no right to read it.
pub(crate) fn for_execution(flags: OpenFlags) -> bool {
    flags.contains(FOR_EXECUTION)
}

/// The flags to open a file of the source with.
///
/// Appending is left out, and done by each write that is meant to: pages of a mapping are written through any file that is
/// open for writing, at their place. What makes and finds the file is not part of it either.
pub(crate) fn source_flags(flags: OpenFlags) -> OFlags {
    let dropped = libc::O_CREAT
        | libc::O_EXCL
        | libc::O_NOCTTY
        | libc::O_NOFOLLOW
        | libc::O_APPEND
        | libc::O_ASYNC
        | FOR_EXECUTION;
    OFlags::from_bits_retain((flags.to_libc() & !dropped).cast_unsigned()) | OFlags::CLOEXEC
}

/// The same for a kernel that gathers writes: it reads what it writes only in part.
pub(crate) fn readable(flags: OFlags) -> OFlags {
    if flags & OFlags::RWMODE == OFlags::WRONLY { (flags - OFlags::RWMODE) | OFlags::RDWR } else { flags }
}

/// An open file of the source.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: OwnedFd,
    flags: OFlags,
    /// Held as long as the file is open: all files that are open on an inode must have the same.
    pub(crate) backing: Option<Arc<Backing>>,
}

impl OpenFile {
    pub(crate) fn new(file: OwnedFd, flags: OFlags) -> Self {
        Self { file, flags, backing: None }
    }

    /// The file, if it can be written.
    pub(crate) fn writable(&self) -> Option<BorrowedFd<'_>> {
        (self.flags & OFlags::RWMODE != OFlags::RDONLY).then(|| self.file.as_fd())
    }

    /// Writes all of the data; fewer only if the source refuses the rest.
    ///
    /// # Errors
    /// Those of pwrite(2), if nothing was written before.
    pub(crate) fn write(&self, reopener: &Reopener, op: &op::Write<'_>) -> io::Result<usize> {
        let cached = op.write_flags.contains(WriteFlags::CACHE);
        if op.flags.contains(libc::O_APPEND) && !cached {
            // At the end that the file has now, whoever else appends.
            return write_all(op.data, |data, _| {
                pwritev2(&self.file, &[IoSlice::new(data)], op.offset, ReadWriteFlags::APPEND)
            });
        }
        let at = |file: BorrowedFd<'_>| write_all(op.data, |data, done| pwrite(file, data, op.offset + done));
        match at(self.file.as_fd()) {
            // The last page of a file is not a whole block, which only a direct write minds.
            Err(io::Errno::INVAL) if cached && self.flags.contains(OFlags::DIRECT) => {
                at(reopener.open(self.file.as_fd(), OFlags::WRONLY)?.as_fd())
            }
            done => done,
        }
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Calls `write` with what is left of `data`, and how much was written, until nothing is left.
fn write_all(data: &[u8], mut write: impl FnMut(&[u8], u64) -> io::Result<usize>) -> io::Result<usize> {
    let mut done: usize = 0;
    loop {
        let rest = data.get(done..).unwrap_or(&[]);
        match write(rest, u64::try_from(done).unwrap_or(u64::MAX)) {
            Ok(length) => done += length,
            Err(io::Errno::INTR) => continue,
            Err(error) if done == 0 => return Err(error),
            Err(_) => return Ok(done),
        }
        if done >= data.len() {
            return Ok(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_is_written_until_the_source_refuses() {
        let mut calls = Vec::new();
        let half = |data: &[u8], done: u64| {
            calls.push((data.len(), done));
            if done >= 6 { Err(io::Errno::NOSPC) } else { Ok(data.len().div_ceil(2)) }
        };
        assert_eq!(write_all(&[0; 10], half), Ok(8));
        assert_eq!(calls, [(10, 0), (5, 5), (2, 8)]);
        assert_eq!(write_all(&[0; 10], |_, _| Err(io::Errno::NOSPC)), Err(io::Errno::NOSPC));
    }

    #[test]
    fn flags_that_find_the_file_or_append_are_left_out() {
        let asked =
            OpenFlags::from_libc(libc::O_WRONLY | libc::O_APPEND | libc::O_EXCL | libc::O_TRUNC | FOR_EXECUTION);
        let flags = source_flags(asked);
        assert_eq!(flags, OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC);
        assert_eq!(readable(flags), OFlags::RDWR | OFlags::TRUNC | OFlags::CLOEXEC);
        assert!(for_execution(asked));
    }
}
