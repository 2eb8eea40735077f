//! The numbers that identify things on the wire, each a type of its own.
//!
//! What a number means is decided by whoever gave it out: the kernel (unique, lock owner, poll handle), or the daemon (node
//! id, generation, file handle). None of these types checks anything.

use core::fmt;

use crate::abi;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($raw:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $raw);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// What the protocol calls `nodeid`: the daemon's name for an inode, valid while its lookup count is above zero.
    ///
    /// It is not the inode number that `stat` shows; that one is [`Attr::ino`](crate::Attr::ino).
    NodeId(u64);
    /// Tells apart two inodes that had the same node id at different times.
    Generation(u64);
    /// What the protocol calls `fh`: the daemon's name for an open file or directory.
    FileHandle(u64);
    /// Identifies a request while it is under way. The kernel steps it by two; bit 0 marks an interrupt.
    Unique(u64);
    /// Who owns a lock: opaque, equal for all file descriptors that share one table of open files.
    LockOwner(u64);
    /// The kernel's name for a poll that wants a wake-up.
    PollHandle(u64);
    /// The daemon's name for a retrieve notification; it comes back in the `NOTIFY_REPLY` that answers it.
    NotifyUnique(u64);
    /// The number that the kernel gave for a backing file (`FUSE_DEV_IOC_BACKING_OPEN`).
    BackingId(i32);
    /// A user id.
    Uid(u32);
    /// A group id.
    Gid(u32);
    /// A process id, as seen from the pid namespace of the mount; 0 when the caller is outside of it, or is the kernel itself.
    Pid(u32);
}

impl NodeId {
    /// The root of the filesystem. Its lookup count never falls to zero while it is mounted.
    pub const ROOT: Self = Self(abi::FUSE_ROOT_ID);
}

impl Unique {
    /// Whether this is a request that was sent before and not answered (bit 63, protocol 7.40).
    #[must_use]
    pub fn is_resend(self) -> bool {
        self.0 & abi::FUSE_UNIQUE_RESEND != 0
    }

    /// The number without the mark of a resent request.
    #[must_use]
    pub fn without_resend(self) -> Self {
        Self(self.0 & !abi::FUSE_UNIQUE_RESEND)
    }
}

/// Reads an id that is all ones on the wire when the caller's id has no mapping (idmapped mounts, protocol 7.41).
pub(crate) fn mapped_id(raw: u32) -> Option<u32> {
    (raw != abi::FUSE_INVALID_UIDGID).then_some(raw)
}
