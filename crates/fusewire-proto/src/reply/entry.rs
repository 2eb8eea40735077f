//! Replies that name a node, describe it or open it.
//!
//! How long the kernel may believe an answer is part of it: zero means that it asks again each time.

use core::time::Duration;

use zerocopy::FromZeros;

use crate::abi;
use crate::attr::{Attr, AttrFlags, StatxAttr, StatxMask, Timestamp};
use crate::codec::{DecodeError, EncodeError, read_struct, read_whole};
use crate::flags::OpenedFlags;
use crate::ids::{BackingId, FileHandle, Generation, Gid, NodeId, Uid};
use crate::init::Negotiated;
use crate::reply::{ReplyBody, ReplyWriter};

/// The answer to everything that looks up or makes a node.
///
/// Sending it adds one to the lookup count of `node`; the daemon must keep the node until `FORGET` has taken all back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The node; 0 makes it a negative entry: there is no such name, and the kernel may remember that.
    pub node: NodeId,
    /// Tells apart nodes that had this id at different times; matters to NFS servers.
    pub generation: Generation,
    /// The attributes.
    pub attr: Attr,
    /// How long the name may be believed to mean this node.
    pub entry_timeout: Duration,
    /// How long the attributes may be believed.
    pub attr_timeout: Duration,
}

impl Entry {
    /// An entry whose name and attributes may be believed for `timeout`.
    #[must_use]
    pub fn new(node: NodeId, attr: Attr, timeout: Duration) -> Self {
        Self { node, generation: Generation(0), attr, entry_timeout: timeout, attr_timeout: timeout }
    }

    /// A negative entry: the name is not there, and that may be believed for `timeout`.
    #[must_use]
    pub fn negative(timeout: Duration) -> Self {
        Self { entry_timeout: timeout, ..Self::default() }
    }

    /// Whether it says that the name is not there.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.node == NodeId(0)
    }

    pub(crate) fn to_abi(self, negotiated: &Negotiated) -> abi::fuse_entry_out {
        abi::fuse_entry_out {
            nodeid: self.node.0,
            generation: self.generation.0,
            entry_valid: self.entry_timeout.as_secs(),
            attr_valid: self.attr_timeout.as_secs(),
            entry_valid_nsec: self.entry_timeout.subsec_nanos(),
            attr_valid_nsec: self.attr_timeout.subsec_nanos(),
            attr: attr_out(self.attr, negotiated),
        }
    }

    pub(crate) fn from_abi(raw: &abi::fuse_entry_out, negotiated: &Negotiated) -> Self {
        Self {
            node: NodeId(raw.nodeid),
            generation: Generation(raw.generation),
            attr: attr_in(&raw.attr, negotiated),
            entry_timeout: timeout(raw.entry_valid, raw.entry_valid_nsec),
            attr_timeout: timeout(raw.attr_valid, raw.attr_valid_nsec),
        }
    }
}

/// Nanoseconds of a second and more count as the last one, as `fs/fuse/dir.c fuse_time_to_jiffies()` has it.
fn timeout(seconds: u64, nanoseconds: u32) -> Duration {
    Duration::new(seconds, nanoseconds.min(999_999_999))
}

/// Before 7.32 there were no flags, and the word was padding.
fn attr_out(mut attr: Attr, negotiated: &Negotiated) -> abi::fuse_attr {
    if negotiated.minor < 32 {
        attr.flags = AttrFlags::empty();
    }
    attr.to_abi()
}

fn attr_in(raw: &abi::fuse_attr, negotiated: &Negotiated) -> Attr {
    let mut attr = Attr::from_abi(raw);
    if negotiated.minor < 32 {
        attr.flags = AttrFlags::empty();
    }
    attr
}

impl<'a> ReplyBody<'a> for Entry {
    fn encode(&self, negotiated: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        out.put(&self.to_abi(negotiated))
    }

    fn decode(negotiated: &Negotiated, _: Option<u32>, body: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(Self::from_abi(&read_whole(body, "fuse_entry_out")?, negotiated))
    }
}

/// The answer to `GETATTR` and `SETATTR`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attributes {
    /// The attributes.
    pub attr: Attr,
    /// How long they may be believed.
    pub timeout: Duration,
}

impl Attributes {
    /// Attributes that may be believed for `timeout`.
    #[must_use]
    pub fn new(attr: Attr, timeout: Duration) -> Self {
        Self { attr, timeout }
    }
}

impl<'a> ReplyBody<'a> for Attributes {
    fn encode(&self, negotiated: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        out.put(&abi::fuse_attr_out {
            attr_valid: self.timeout.as_secs(),
            attr_valid_nsec: self.timeout.subsec_nanos(),
            dummy: 0,
            attr: attr_out(self.attr, negotiated),
        })
    }

    fn decode(negotiated: &Negotiated, _: Option<u32>, body: &'a [u8]) -> Result<Self, DecodeError> {
        let raw: abi::fuse_attr_out = read_whole(body, "fuse_attr_out")?;
        Ok(Self { attr: attr_in(&raw.attr, negotiated), timeout: timeout(raw.attr_valid, raw.attr_valid_nsec) })
    }
}

/// The answer to `OPEN` and `OPENDIR`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// What comes with every operation on it.
    pub handle: FileHandle,
    /// How the kernel treats it; without [`OpenedFlags::PASSTHROUGH`], which is `backing`.
    pub flags: OpenedFlags,
    /// The file that reads and writes go to. Since 7.40.
    pub backing: Option<BackingId>,
}

impl Opened {
    /// This handle, with no flags.
    #[must_use]
    pub fn new(handle: FileHandle) -> Self {
        Self { handle, ..Self::default() }
    }

    /// The same with these flags, too.
    #[must_use]
    pub fn with_flags(self, flags: OpenedFlags) -> Self {
        Self { flags: self.flags | flags, ..self }
    }

    fn to_abi(self, negotiated: &Negotiated) -> abi::fuse_open_out {
        let backing = self.backing.filter(|_| negotiated.minor >= 40);
        let mut flags = self.flags;
        flags.set(OpenedFlags::PASSTHROUGH, backing.is_some());
        abi::fuse_open_out { fh: self.handle.0, open_flags: flags.bits(), backing_id: backing.unwrap_or_default().0 }
    }

    fn from_abi(raw: &abi::fuse_open_out, negotiated: &Negotiated) -> Self {
        let flags = OpenedFlags::from_bits_retain(raw.open_flags);
        let is_backed = negotiated.minor >= 40 && flags.contains(OpenedFlags::PASSTHROUGH);
        Self {
            handle: FileHandle(raw.fh),
            flags: flags - OpenedFlags::PASSTHROUGH,
            backing: is_backed.then_some(BackingId(raw.backing_id)),
        }
    }
}

impl<'a> ReplyBody<'a> for Opened {
    fn encode(&self, negotiated: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        out.put(&self.to_abi(negotiated))
    }

    fn decode(negotiated: &Negotiated, _: Option<u32>, body: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(Self::from_abi(&read_whole(body, "fuse_open_out")?, negotiated))
    }
}

/// The answer to `CREATE` and `TMPFILE`: both of the above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Created {
    /// The new node.
    pub entry: Entry,
    /// The open file.
    pub opened: Opened,
}

impl Created {
    /// A node that was made and opened.
    #[must_use]
    pub fn new(entry: Entry, opened: Opened) -> Self {
        Self { entry, opened }
    }
}

impl<'a> ReplyBody<'a> for Created {
    fn encode(&self, negotiated: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        self.entry.encode(negotiated, out)?;
        self.opened.encode(negotiated, out)
    }

    fn decode(negotiated: &Negotiated, _: Option<u32>, mut body: &'a [u8]) -> Result<Self, DecodeError> {
        let entry = Entry::from_abi(&read_struct(&mut body, "fuse_entry_out")?, negotiated);
        Ok(Self { entry, opened: Opened::from_abi(&read_whole(body, "fuse_open_out")?, negotiated) })
    }
}

/// The answer to `STATX`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatxReply {
    /// The attributes.
    pub attr: StatxAttr,
    /// How long they may be believed.
    pub timeout: Duration,
}

impl StatxReply {
    /// Attributes that may be believed for `timeout`.
    #[must_use]
    pub fn new(attr: StatxAttr, timeout: Duration) -> Self {
        Self { attr, timeout }
    }
}

fn sx_time(time: Timestamp) -> abi::fuse_sx_time {
    abi::fuse_sx_time { tv_sec: time.seconds, tv_nsec: time.nanoseconds, __reserved: 0 }
}

fn from_sx_time(raw: abi::fuse_sx_time) -> Timestamp {
    Timestamp::new(raw.tv_sec, raw.tv_nsec)
}

impl<'a> ReplyBody<'a> for StatxReply {
    fn encode(&self, _: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        let mut raw = abi::fuse_statx_out::new_zeroed();
        raw.attr_valid = self.timeout.as_secs();
        raw.attr_valid_nsec = self.timeout.subsec_nanos();
        let (stat, attr) = (&mut raw.stat, &self.attr);
        stat.mask = attr.mask.bits();
        stat.blksize = attr.blksize;
        stat.attributes = attr.attributes;
        stat.attributes_mask = attr.attributes_mask;
        stat.nlink = attr.nlink;
        stat.uid = attr.uid.0;
        stat.gid = attr.gid.0;
        stat.mode = attr.mode;
        stat.ino = attr.ino;
        stat.size = attr.size;
        stat.blocks = attr.blocks;
        stat.atime = sx_time(attr.atime);
        stat.btime = sx_time(attr.btime);
        stat.ctime = sx_time(attr.ctime);
        stat.mtime = sx_time(attr.mtime);
        (stat.rdev_major, stat.rdev_minor) = attr.rdev;
        (stat.dev_major, stat.dev_minor) = attr.dev;
        out.put(&raw)
    }

    fn decode(_: &Negotiated, _: Option<u32>, body: &'a [u8]) -> Result<Self, DecodeError> {
        let raw: abi::fuse_statx_out = read_whole(body, "fuse_statx_out")?;
        let stat = raw.stat;
        let attr = StatxAttr {
            mask: StatxMask::from_bits_retain(stat.mask),
            blksize: stat.blksize,
            attributes: stat.attributes,
            attributes_mask: stat.attributes_mask,
            nlink: stat.nlink,
            uid: Uid(stat.uid),
            gid: Gid(stat.gid),
            mode: stat.mode,
            ino: stat.ino,
            size: stat.size,
            blocks: stat.blocks,
            atime: from_sx_time(stat.atime),
            btime: from_sx_time(stat.btime),
            ctime: from_sx_time(stat.ctime),
            mtime: from_sx_time(stat.mtime),
            rdev: (stat.rdev_major, stat.rdev_minor),
            dev: (stat.dev_major, stat.dev_minor),
        };
        Ok(Self { attr, timeout: timeout(raw.attr_valid, raw.attr_valid_nsec) })
    }
}
