//! Operations on attributes: ask and change.
//!
//! Extended attributes have a module of their own.

use zerocopy::FromZeros;

use crate::abi;
use crate::attr::{StatxMask, Timestamp};
use crate::codec::{Args, DecodeError, EncodeError, RequestWriter};
use crate::flags::{GetattrFlags, SetattrValid};
use crate::ids::{FileHandle, Gid, LockOwner, NodeId, Uid, Unique};
use crate::init::Negotiated;
use crate::op::Operation;
use crate::opcode::Opcode;

/// Asks for the attributes of `node`.
///
/// Sent by stat(2) and many others when the attribute timeout has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Getattr {
    /// The node.
    pub node: NodeId,
    /// The open file through which it is asked, if the kernel has one.
    pub handle: Option<FileHandle>,
}

impl Getattr {
    /// Asks about `node`, through no open file.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self { node, handle: None }
    }
}

impl<'a> Operation<'a> for Getattr {
    fn opcode(&self) -> Opcode {
        Opcode::GETATTR
    }

    fn node(&self) -> NodeId {
        self.node
    }

    fn decode(_: Unique, node: NodeId, args: &mut Args<'a>, _: &Negotiated) -> Result<Self, DecodeError> {
        let raw: abi::fuse_getattr_in = args.fixed("fuse_getattr_in")?;
        Ok(Self { node, handle: handle_in(raw.getattr_flags, raw.fh) })
    }

    fn encode(&self, _: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
        let (getattr_flags, fh) = handle_out(self.handle);
        out.fixed(&abi::fuse_getattr_in { getattr_flags, dummy: 0, fh });
        Ok(())
    }
}

fn handle_in(flags: u32, fh: u64) -> Option<FileHandle> {
    GetattrFlags::from_bits_retain(flags).contains(GetattrFlags::FH).then_some(FileHandle(fh))
}

fn handle_out(handle: Option<FileHandle>) -> (u32, u64) {
    handle.map_or((0, 0), |handle| (GetattrFlags::FH.bits(), handle.0))
}

/// Asks for the attributes that only statx(2) has: the time of creation. Since 7.39.
///
/// Sent only when that is asked for; `ENOSYS` is remembered, and `GETATTR` serves from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statx {
    /// The node.
    pub node: NodeId,
    /// The open file through which it is asked, if the kernel has one.
    pub handle: Option<FileHandle>,
    /// `AT_STATX_*` flags of the call.
    pub flags: u32,
    /// The fields that are asked for.
    pub mask: StatxMask,
}

impl Statx {
    /// Asks for these fields of `node`, through no open file.
    #[must_use]
    pub fn new(node: NodeId, mask: StatxMask) -> Self {
        Self { node, handle: None, flags: 0, mask }
    }
}

impl<'a> Operation<'a> for Statx {
    fn opcode(&self) -> Opcode {
        Opcode::STATX
    }

    fn node(&self) -> NodeId {
        self.node
    }

    fn decode(_: Unique, node: NodeId, args: &mut Args<'a>, _: &Negotiated) -> Result<Self, DecodeError> {
        let raw: abi::fuse_statx_in = args.fixed("fuse_statx_in")?;
        Ok(Self {
            node,
            handle: handle_in(raw.getattr_flags, raw.fh),
            flags: raw.sx_flags,
            mask: StatxMask::from_bits_retain(raw.sx_mask),
        })
    }

    fn encode(&self, _: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
        let (getattr_flags, fh) = handle_out(self.handle);
        out.fixed(&abi::fuse_statx_in {
            getattr_flags,
            reserved: 0,
            fh,
            sx_flags: self.flags,
            sx_mask: self.mask.bits(),
        });
        Ok(())
    }
}

/// The new value of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The time of the filesystem's clock.
    Now,
    /// This time.
    At(Timestamp),
}

/// Changes attributes of `node`: those that are not `None`. The answer has all of them, as they are afterwards.
///
/// Sent by chmod(2), chown(2), truncate(2), utimensat(2), and open(2) with `O_TRUNC` unless `ATOMIC_O_TRUNC` is negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setattr {
    /// The node.
    pub node: NodeId,
    /// The permission bits (with the type).
    pub mode: Option<u32>,
    /// The owner.
    pub uid: Option<Uid>,
    /// The group.
    pub gid: Option<Gid>,
    /// The size in bytes.
    pub size: Option<u64>,
    /// The time of the last access.
    pub atime: Option<SetTime>,
    /// The time of the last change of data.
    pub mtime: Option<SetTime>,
    /// The time of the last change of anything; with the write-back cache, the kernel keeps it.
    pub ctime: Option<Timestamp>,
    /// The open file through which it is changed (ftruncate(2)).
    pub handle: Option<FileHandle>,
    /// Who would own a mandatory lock.
    pub lock_owner: Option<LockOwner>,
    /// Clear suid and sgid, because owner or size change. Only with `HANDLE_KILLPRIV_V2`.
    pub kill_suidgid: bool,
}

impl Setattr {
    /// Changes nothing yet.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            mode: None,
            uid: None,
            gid: None,
            size: None,
            atime: None,
            mtime: None,
            ctime: None,
            handle: None,
            lock_owner: None,
            kill_suidgid: false,
        }
    }
}

impl<'a> Operation<'a> for Setattr {
    fn opcode(&self) -> Opcode {
        Opcode::SETATTR
    }

    fn node(&self) -> NodeId {
        self.node
    }

    fn decode(_: Unique, node: NodeId, args: &mut Args<'a>, _: &Negotiated) -> Result<Self, DecodeError> {
        let raw: abi::fuse_setattr_in = args.fixed("fuse_setattr_in")?;
        let valid = SetattrValid::from_bits_retain(raw.valid);
        let has = |flag| valid.contains(flag);
        let time = |set, now, seconds, nanoseconds| match (has(set), has(now)) {
            (_, true) => Some(SetTime::Now),
            (true, false) => Some(SetTime::At(Timestamp::from_wire(seconds, nanoseconds))),
            (false, false) => None,
        };
        Ok(Self {
            node,
            mode: has(SetattrValid::MODE).then_some(raw.mode),
            uid: has(SetattrValid::UID).then_some(Uid(raw.uid)),
            gid: has(SetattrValid::GID).then_some(Gid(raw.gid)),
            size: has(SetattrValid::SIZE).then_some(raw.size),
            atime: time(SetattrValid::ATIME, SetattrValid::ATIME_NOW, raw.atime, raw.atimensec),
            mtime: time(SetattrValid::MTIME, SetattrValid::MTIME_NOW, raw.mtime, raw.mtimensec),
            ctime: has(SetattrValid::CTIME).then_some(Timestamp::from_wire(raw.ctime, raw.ctimensec)),
            handle: has(SetattrValid::FH).then_some(FileHandle(raw.fh)),
            lock_owner: has(SetattrValid::LOCKOWNER).then_some(LockOwner(raw.lock_owner)),
            kill_suidgid: has(SetattrValid::KILL_SUIDGID),
        })
    }

    fn encode(&self, _: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
        let mut raw = abi::fuse_setattr_in::new_zeroed();
        let mut valid = SetattrValid::empty();
        valid.set(SetattrValid::MODE, self.mode.is_some());
        valid.set(SetattrValid::UID, self.uid.is_some());
        valid.set(SetattrValid::GID, self.gid.is_some());
        valid.set(SetattrValid::SIZE, self.size.is_some());
        valid.set(SetattrValid::ATIME, self.atime.is_some());
        valid.set(SetattrValid::ATIME_NOW, self.atime == Some(SetTime::Now));
        valid.set(SetattrValid::MTIME, self.mtime.is_some());
        valid.set(SetattrValid::MTIME_NOW, self.mtime == Some(SetTime::Now));
        valid.set(SetattrValid::CTIME, self.ctime.is_some());
        valid.set(SetattrValid::FH, self.handle.is_some());
        valid.set(SetattrValid::LOCKOWNER, self.lock_owner.is_some());
        valid.set(SetattrValid::KILL_SUIDGID, self.kill_suidgid);
        raw.valid = valid.bits();
        raw.mode = self.mode.unwrap_or_default();
        raw.uid = self.uid.unwrap_or_default().0;
        raw.gid = self.gid.unwrap_or_default().0;
        raw.size = self.size.unwrap_or_default();
        if let Some(SetTime::At(time)) = self.atime {
            (raw.atime, raw.atimensec) = (time.wire_seconds(), time.nanoseconds);
        }
        if let Some(SetTime::At(time)) = self.mtime {
            (raw.mtime, raw.mtimensec) = (time.wire_seconds(), time.nanoseconds);
        }
        if let Some(time) = self.ctime {
            (raw.ctime, raw.ctimensec) = (time.wire_seconds(), time.nanoseconds);
        }
        raw.fh = self.handle.unwrap_or_default().0;
        raw.lock_owner = self.lock_owner.unwrap_or_default().0;
        out.fixed(&raw);
        Ok(())
    }
}
