//! Operations on open directories.
//!
//! The entries that are answered are in the module of replies.

use crate::attr::OpenFlags;
use crate::flags::{FsyncFlags, OpenRequestFlags, ReadFlags, ReleaseFlags};
use crate::ids::{FileHandle, LockOwner};
use crate::op::operation;

operation! {
    /// Opens a directory. The handle in the answer comes with every operation on it, until `RELEASEDIR`.
    ///
    /// Sent by opendir(3), that is, by open(2) of a directory. `ENOSYS` is remembered if `NO_OPENDIR_SUPPORT` is offered:
    /// directories then need no handle, and the kernel caches their entries.
    Opendir = OPENDIR {
        /// The directory.
        node node;
        fixed fuse_open_in {
            /// The flags of open(2).
            flags: OpenFlags = flags;
        }
        also {
            /// What is asked along with it. Since 7.33.
            open_flags: OpenRequestFlags = open_flags since 33;
        }
    }
}

operation! {
    alike {
        /// The directory.
        node node;
        fixed fuse_read_in {
            /// The open directory.
            handle: FileHandle = fh;
            /// Where to go on: the offset of the last entry that was returned, or 0.
            offset: u64 = offset;
            /// Bytes of room for entries.
            size: u32 = size;
        }
        also {
            /// What else is valid.
            read_flags: ReadFlags = read_flags;
            /// Of no use for directories.
            lock_owner: LockOwner = lock_owner;
            /// The flags that the directory is open with.
            flags: OpenFlags = flags;
        }
        limit size;
    }
    /// Lists names of an open directory, from the entry behind `offset` on. An empty answer means that there are no more.
    ///
    /// Sent by readdir(3), that is, by getdents64(2), as often as it takes to reach the end.
    Readdir = READDIR;
    /// Lists names of an open directory as `READDIR` does, and looks each one up: adds one to the lookup count of each node
    /// that is returned, `.` and `..` excepted.
    ///
    /// Sent if `DO_READDIRPLUS` is negotiated; with `READDIRPLUS_AUTO`, for the first entries and after a lookup in the
    /// directory.
    Readdirplus = READDIRPLUS;
}

operation! {
    /// The last reference to an open directory is gone, and its handle is free. Nobody looks at the answer.
    ///
    /// Sent once for each handle, when the last descriptor is closed, also by the end of a process.
    Releasedir = RELEASEDIR {
        /// The directory.
        node node;
        fixed fuse_release_in {
            /// The handle that goes.
            handle: FileHandle = fh;
        }
        also {
            /// The flags that the directory was open with.
            flags: OpenFlags = flags;
            /// What to do along with it.
            release_flags: ReleaseFlags = release_flags;
            /// Who owned flock(2) locks through this handle.
            lock_owner: LockOwner = lock_owner;
        }
    }
}

operation! {
    /// Brings the entries of a directory to stable storage.
    ///
    /// Sent by fsync(2) and fdatasync(2) of a directory. `ENOSYS` is remembered, and these calls succeed from then on.
    Fsyncdir = FSYNCDIR {
        /// The directory.
        node node;
        fixed fuse_fsync_in {
            /// The open directory.
            handle: FileHandle = fh;
        }
        also {
            /// How much of it.
            fsync_flags: FsyncFlags = fsync_flags;
        }
    }
}
