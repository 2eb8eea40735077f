//! Operations on locks: POSIX locks if `POSIX_LOCKS` is negotiated, flock(2) locks if `FLOCK_LOCKS` is.
//!
//! Without those capabilities the kernel keeps the locks itself, and none of these arrive.

use crate::abi;
use crate::codec::{Args, DecodeError, EncodeError, RequestWriter, WireField};
use crate::flags::LockFlags;
use crate::ids::{FileHandle, LockOwner, NodeId, Pid, Unique};
use crate::init::Negotiated;
use crate::op::Operation;
use crate::opcode::Opcode;

/// What a lock is for. Open: other numbers can be held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LockKind(pub u32);

impl LockKind {
    /// Shared: `F_RDLCK`.
    pub const READ: Self = Self::from_libc(libc::F_RDLCK);
    /// Exclusive: `F_WRLCK`.
    pub const WRITE: Self = Self::from_libc(libc::F_WRLCK);
    /// None: `F_UNLCK`.
    pub const UNLOCK: Self = Self::from_libc(libc::F_UNLCK);

    const fn from_libc(kind: i32) -> Self {
        Self(kind.cast_unsigned())
    }
}

/// A range of a file, and how it is locked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileLock {
    /// The first byte.
    pub start: u64,
    /// The last byte; `i64::MAX` is the end of the file, however far it goes.
    pub end: u64,
    /// What the lock is for.
    pub kind: LockKind,
    /// The process that holds it. On a `GETLK` reply, as the reader's pid namespace sees it.
    pub pid: Pid,
}

impl FileLock {
    pub(crate) fn from_abi(raw: abi::fuse_file_lock) -> Self {
        Self { start: raw.start, end: raw.end, kind: LockKind(raw.r#type), pid: Pid(raw.pid) }
    }

    pub(crate) fn to_abi(self) -> abi::fuse_file_lock {
        abi::fuse_file_lock { start: self.start, end: self.end, r#type: self.kind.0, pid: self.pid.0 }
    }
}

macro_rules! lock_operations {
    ($($(#[$doc:meta])* $name:ident = $opcode:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            /// The node.
            pub node: NodeId,
            /// The open file through which it is asked.
            pub handle: FileHandle,
            /// Who asks: equal owners never stand in each other's way.
            pub owner: LockOwner,
            /// The range and the kind of lock.
            pub lock: FileLock,
            /// Which kind of lock it is.
            pub flags: LockFlags,
        }

        impl $name {
            /// The operation with these arguments, for a POSIX lock.
            #[must_use]
            pub fn new(node: NodeId, handle: FileHandle, owner: LockOwner, lock: FileLock) -> Self {
                Self { node, handle, owner, lock, flags: LockFlags::empty() }
            }
        }

        impl<'a> Operation<'a> for $name {
            fn opcode(&self) -> Opcode {
                Opcode::$opcode
            }

            fn node(&self) -> NodeId {
                self.node
            }

            fn decode(_: Unique, node: NodeId, args: &mut Args<'a>, _: &Negotiated) -> Result<Self, DecodeError> {
                let raw: abi::fuse_lk_in = args.fixed("fuse_lk_in")?;
                Ok(Self {
                    node,
                    handle: FileHandle(raw.fh),
                    owner: LockOwner(raw.owner),
                    lock: FileLock::from_abi(raw.lk),
                    flags: WireField::from_wire(raw.lk_flags),
                })
            }

            fn encode(&self, _: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
                out.fixed(&abi::fuse_lk_in {
                    fh: self.handle.0,
                    owner: self.owner.0,
                    lk: self.lock.to_abi(),
                    lk_flags: self.flags.bits(),
                    padding: 0,
                });
                Ok(())
            }
        }
    )*};
}

lock_operations! {
    /// Asks which lock is in the way of this one. The answer is that lock, or this one with the kind `UNLOCK`.
    ///
    /// Sent by fcntl(2) with `F_GETLK`, if `POSIX_LOCKS` is negotiated; otherwise the kernel keeps locks itself.
    Getlk = GETLK;
    /// Takes a lock, or gives it back (kind `UNLOCK`), without waiting: `EAGAIN` if another one is in the way.
    ///
    /// Sent by fcntl(2) with `F_SETLK`, if `POSIX_LOCKS` is negotiated, and by flock(2) with `LOCK_NB`, if `FLOCK_LOCKS` is.
    Setlk = SETLK;
    /// Takes a lock and waits for it. A signal to the caller arrives as an interrupt; answer `EINTR` then.
    ///
    /// Sent by fcntl(2) with `F_SETLKW`, if `POSIX_LOCKS` is negotiated, and by flock(2), if `FLOCK_LOCKS` is.
    Setlkw = SETLKW;
}
