//! Flag words of single operations. Bits that this version does not know are kept, in both directions.
//!
//! The negotiated capabilities are in [`init`](crate::init), the flags of open(2) in [`OpenFlags`](crate::OpenFlags).

use bitflags::bitflags;

use crate::abi;
use crate::codec::WireField;

/// Declares flag words and how they look on the wire.
macro_rules! flag_words {
    ($($(#[$($doc:tt)*])* $name:ident: $raw:ty { $($(#[$($flag_doc:tt)*])* $flag:ident = $value:expr,)* })*) => {$(
        bitflags! {
            $(#[$($doc)*])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
            pub struct $name: $raw {
                $($(#[$($flag_doc)*])* const $flag = $value;)*
                const _ = !0;
            }
        }

        impl WireField<$raw> for $name {
            fn from_wire(raw: $raw) -> Self {
                Self::from_bits_retain(raw)
            }

            fn to_wire(self) -> $raw {
                self.bits()
            }
        }
    )*};
}

flag_words! {
    /// What the daemon says of a file or directory that it opened (`fuse_open_out.open_flags`).
    OpenedFlags: u32 {
        /// Reads and writes go to the daemon, past the page cache.
        DIRECT_IO = abi::FOPEN_DIRECT_IO,
        /// What the page cache holds of this inode stays valid.
        KEEP_CACHE = abi::FOPEN_KEEP_CACHE,
        /// The file cannot be seeked.
        NONSEEKABLE = abi::FOPEN_NONSEEKABLE,
        /// The kernel may cache the entries of this directory. Since 7.28.
        CACHE_DIR = abi::FOPEN_CACHE_DIR,
        /// The file is a stream: no position at all. Since 7.31.
        STREAM = abi::FOPEN_STREAM,
        /// Closing sends no `FLUSH`, unless the write-back cache is on. Since 7.36.
        NOFLUSH = abi::FOPEN_NOFLUSH,
        /// Direct writes to one inode may come at the same time. Since 7.36.
        PARALLEL_DIRECT_WRITES = abi::FOPEN_PARALLEL_DIRECT_WRITES,
        /// Reads and writes go to the backing file. Since 7.40.
        PASSTHROUGH = abi::FOPEN_PASSTHROUGH,
    }
    /// What the kernel asks along with an open or create (`fuse_open_in.open_flags`). Since 7.33.
    OpenRequestFlags: u32 {
        /// The file is truncated: clear suid and sgid as truncation does.
        KILL_SUIDGID = abi::FUSE_OPEN_KILL_SUIDGID,
    }
    /// Flags of `READ`.
    ReadFlags: u32 {
        /// `lock_owner` is valid.
        LOCKOWNER = abi::FUSE_READ_LOCKOWNER,
    }
    /// Flags of `WRITE`.
    WriteFlags: u32 {
        /// The data come from the page cache: the file handle is a guess, the writer is unknown.
        CACHE = abi::FUSE_WRITE_CACHE,
        /// `lock_owner` is valid.
        LOCKOWNER = abi::FUSE_WRITE_LOCKOWNER,
        /// Clear suid, sgid and capabilities. Since 7.31.
        KILL_SUIDGID = abi::FUSE_WRITE_KILL_SUIDGID,
    }
    /// Flags of `RELEASE`.
    ReleaseFlags: u32 {
        /// Do what `FLUSH` does, too.
        FLUSH = abi::FUSE_RELEASE_FLUSH,
        /// The flock(2) lock of this handle goes.
        FLOCK_UNLOCK = abi::FUSE_RELEASE_FLOCK_UNLOCK,
    }
    /// Flags of `FSYNC` and `FSYNCDIR`.
    FsyncFlags: u32 {
        /// As fdatasync(2): only what is needed to read the data again.
        FDATASYNC = abi::FUSE_FSYNC_FDATASYNC,
    }
    /// Flags of `GETATTR` and `STATX`, as the wire has them.
    GetattrFlags: u32 {
        /// The file handle is valid.
        FH = abi::FUSE_GETATTR_FH,
    }
    /// Which fields of a `SETATTR` are meant, as the wire has them.
    SetattrValid: u32 {
        /// The permission bits.
        MODE = abi::FATTR_MODE,
        /// The owner.
        UID = abi::FATTR_UID,
        /// The group.
        GID = abi::FATTR_GID,
        /// The size.
        SIZE = abi::FATTR_SIZE,
        /// The time of the last access.
        ATIME = abi::FATTR_ATIME,
        /// The time of the last change of data.
        MTIME = abi::FATTR_MTIME,
        /// The file handle.
        FH = abi::FATTR_FH,
        /// The time of the last access is now.
        ATIME_NOW = abi::FATTR_ATIME_NOW,
        /// The time of the last change of data is now.
        MTIME_NOW = abi::FATTR_MTIME_NOW,
        /// The lock owner.
        LOCKOWNER = abi::FATTR_LOCKOWNER,
        /// The time of the last change of anything.
        CTIME = abi::FATTR_CTIME,
        /// Clear suid and sgid. Since 7.31.
        KILL_SUIDGID = abi::FATTR_KILL_SUIDGID,
    }
    /// Flags of the lock operations.
    LockFlags: u32 {
        /// The lock is one of flock(2), for the whole file.
        FLOCK = abi::FUSE_LK_FLOCK,
    }
    /// Flags of `IOCTL`, in both directions.
    IoctlFlags: u32 {
        /// A 32-bit program on a 64-bit kernel.
        COMPAT = abi::FUSE_IOCTL_COMPAT,
        /// Sizes are not taken from the command number (CUSE only).
        UNRESTRICTED = abi::FUSE_IOCTL_UNRESTRICTED,
        /// Ask again with these memory areas (reply to an unrestricted ioctl).
        RETRY = abi::FUSE_IOCTL_RETRY,
        /// A 32-bit ioctl.
        BITS32 = abi::FUSE_IOCTL_32BIT,
        /// The file is a directory.
        DIR = abi::FUSE_IOCTL_DIR,
        /// A program with the x32 ABI.
        COMPAT_X32 = abi::FUSE_IOCTL_COMPAT_X32,
    }
    /// Flags of `POLL`.
    PollFlags: u32 {
        /// Somebody waits: send `NOTIFY_POLL` when the file becomes ready.
        SCHEDULE_NOTIFY = abi::FUSE_POLL_SCHEDULE_NOTIFY,
    }
    /// Events of poll(2).
    PollEvents: u32 {
        /// Data can be read.
        IN = bits(libc::POLLIN),
        /// Urgent data can be read.
        PRI = bits(libc::POLLPRI),
        /// Data can be written.
        OUT = bits(libc::POLLOUT),
        /// An error.
        ERR = bits(libc::POLLERR),
        /// The other side hung up.
        HUP = bits(libc::POLLHUP),
        /// Normal data can be read.
        RDNORM = bits(libc::POLLRDNORM),
        /// Normal data can be written.
        WRNORM = bits(libc::POLLWRNORM),
    }
    /// Flags of setxattr(2).
    XattrFlags: u32 {
        /// Fail with `EEXIST` if it is there.
        CREATE = number(libc::XATTR_CREATE),
        /// Fail with `ENODATA` if it is not there.
        REPLACE = number(libc::XATTR_REPLACE),
    }
    /// What the kernel asks along with a `SETXATTR`. Since 7.33, if `SETXATTR_EXT` is negotiated.
    SetxattrFlags: u32 {
        /// The POSIX ACL that is set takes the sgid bit away.
        ACL_KILL_SGID = abi::FUSE_SETXATTR_ACL_KILL_SGID,
    }
    /// Flags of renameat2(2).
    RenameFlags: u32 {
        /// Fail with `EEXIST` if the new name is there.
        NOREPLACE = libc::RENAME_NOREPLACE,
        /// Exchange the two.
        EXCHANGE = libc::RENAME_EXCHANGE,
        /// Leave a whiteout where the old name was.
        WHITEOUT = libc::RENAME_WHITEOUT,
    }
    /// The mode of fallocate(2).
    FallocateMode: u32 {
        /// The size of the file stays.
        KEEP_SIZE = number(libc::FALLOC_FL_KEEP_SIZE),
        /// Make a hole.
        PUNCH_HOLE = number(libc::FALLOC_FL_PUNCH_HOLE),
        /// Take the range out; what follows moves down.
        COLLAPSE_RANGE = number(libc::FALLOC_FL_COLLAPSE_RANGE),
        /// The range reads as zeros.
        ZERO_RANGE = number(libc::FALLOC_FL_ZERO_RANGE),
        /// Put a hole in; what follows moves up.
        INSERT_RANGE = number(libc::FALLOC_FL_INSERT_RANGE),
        /// Blocks shared with another file become the file's own.
        UNSHARE_RANGE = number(libc::FALLOC_FL_UNSHARE_RANGE),
    }
    /// The mask of access(2); empty asks whether the file exists.
    AccessMask: u32 {
        /// Execute, or search.
        EXECUTE = number(libc::X_OK),
        /// Write.
        WRITE = number(libc::W_OK),
        /// Read.
        READ = number(libc::R_OK),
    }
    /// Flags of an entry invalidation.
    InvalEntryFlags: u32 {
        /// The entry is only marked as stale, and not dropped. Since 7.38.
        EXPIRE_ONLY = abi::FUSE_EXPIRE_ONLY,
    }
    /// Flags of `SETUPMAPPING`.
    MappingFlags: u64 {
        /// The mapping is written through.
        WRITE = abi::FUSE_SETUPMAPPING_FLAG_WRITE as u64,
        /// The mapping is read through.
        READ = abi::FUSE_SETUPMAPPING_FLAG_READ as u64,
    }
    /// Flags in the two INIT messages of CUSE.
    CuseInitFlags: u32 {
        /// Ioctls may name any memory of the caller.
        UNRESTRICTED_IOCTL = abi::CUSE_UNRESTRICTED_IOCTL,
    }
}

/// A non-negative constant of libc as a flag word.
const fn number(constant: i32) -> u32 {
    assert!(constant >= 0);
    constant.unsigned_abs()
}

/// An event of poll(2) as a flag word.
const fn bits(event: i16) -> u32 {
    assert!(event >= 0);
    event.unsigned_abs() as u32
}
