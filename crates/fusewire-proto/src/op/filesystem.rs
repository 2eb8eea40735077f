//! Operations on the connection and on the filesystem as a whole.
//!
//! What `INIT` agrees on is computed in [`init`](crate::init).

use zerocopy::{FromZeros, IntoBytes};

use crate::abi;
use crate::codec::{Args, DecodeError, EncodeError, RequestWriter, length_usize};
use crate::flags::CuseInitFlags;
use crate::ids::{NodeId, NotifyUnique, Unique};
use crate::init::{InitFlags, NEWEST_MINOR, Negotiated};
use crate::op::{Operation, operation};
use crate::opcode::Opcode;

/// Bytes of `INIT` before the kernel had a second flag word: up to 7.35.
const OLD_INIT: usize = 16;

/// Opens the connection, and agrees on a version and on capabilities.
///
/// Sent once, by mounting. No other request is sent before it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Init {
    /// The major version that the kernel speaks; always 7.
    pub major: u32,
    /// The minor version that the kernel speaks.
    pub minor: u32,
    /// The longest read-ahead that the kernel would do, in bytes.
    pub max_readahead: u32,
    /// What the kernel offers.
    pub flags: InitFlags,
}

impl Init {
    /// An offer of 7.`minor` with these capabilities.
    #[must_use]
    pub fn new(minor: u32, flags: InitFlags) -> Self {
        Self { major: abi::FUSE_KERNEL_VERSION, minor, max_readahead: 128 << 10, flags }
    }
}

impl Default for Init {
    fn default() -> Self {
        Self::new(NEWEST_MINOR, InitFlags::empty())
    }
}

impl<'a> Operation<'a> for Init {
    fn opcode(&self) -> Opcode {
        Opcode::INIT
    }

    fn node(&self) -> NodeId {
        NodeId(0)
    }

    fn decode(_: Unique, _: NodeId, args: &mut Args<'a>, _: &Negotiated) -> Result<Self, DecodeError> {
        let [major, minor, max_readahead, low]: [u32; 4] = args.fixed("fuse_init_in")?;
        let mut flags = InitFlags::from_bits_retain(u64::from(low));
        // Only then does the second word mean anything, and only then must it be there.
        if flags.contains(InitFlags::INIT_EXT) {
            let high: u32 = args.fixed("fuse_init_in.flags2")?;
            flags |= InitFlags::from_bits_retain(u64::from(high) << 32);
        }
        Ok(Self { major, minor, max_readahead, flags })
    }

    fn encode(&self, _: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
        let (low, high) = halves(self.flags);
        let mut raw = abi::fuse_init_in::new_zeroed();
        raw.major = self.major;
        raw.minor = self.minor;
        raw.max_readahead = self.max_readahead;
        raw.flags = low;
        raw.flags2 = if self.flags.contains(InitFlags::INIT_EXT) { high } else { 0 };
        let is_old = self.minor < 36 && !self.flags.contains(InitFlags::INIT_EXT);
        let length = if is_old { OLD_INIT } else { size_of::<abi::fuse_init_in>() };
        out.fixed(raw.as_bytes().get(..length).unwrap_or(&[]));
        Ok(())
    }
}

/// The two words that carry the flags.
pub(crate) fn halves(flags: InitFlags) -> (u32, u32) {
    let bits = flags.bits();
    let low = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    let high = u32::try_from(bits >> 32).unwrap_or(u32::MAX);
    (low, high)
}

operation! {
    /// The filesystem is unmounted; nothing follows. Sent for `fuseblk` and virtio-fs mounts only
    /// (`fs/fuse/inode.c fuse_conn_destroy()`); others just see the connection end.
    Destroy = DESTROY {
        /// Always 0.
        node node;
    }
}

operation! {
    /// Asks for the numbers of the whole filesystem: its size, what is free, the longest name.
    ///
    /// Sent by statfs(2), and so by df(1).
    Statfs = STATFS {
        /// The node through which it is asked.
        node node;
    }
}

operation! {
    /// Brings the whole filesystem to stable storage. Sent by virtio-fs only.
    Syncfs = SYNCFS {
        /// The root of the superblock.
        node node;
        fixed fuse_syncfs_in {}
    }
}

operation! {
    /// The caller of the request `target` got a signal. Answer that request with `EINTR`, or finish it.
    ///
    /// Sent when a signal arrives for a process that waits for an answer. No reply is expected; `EAGAIN` asks the kernel to send
    /// it again later, and `ENOSYS` never to do so.
    Interrupt = INTERRUPT {
        /// Always 0.
        node node;
        fixed fuse_interrupt_in {
            /// The request whose caller is concerned.
            target: Unique = unique;
        }
    }
}

/// Brings the cached data that a retrieve notification asked for. There is no reply.
///
/// Sent by the kernel after `Notifier::retrieve`, once for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotifyReply<'a> {
    /// The file.
    pub node: NodeId,
    /// Which notification is answered. It stands where other requests have their own number.
    pub notify_unique: NotifyUnique,
    /// Where the data begin.
    pub offset: u64,
    /// The data; fewer than asked for if the cache has no more in one run.
    pub data: &'a [u8],
}

impl<'a> NotifyReply<'a> {
    /// The answer to `notify_unique`. The header must carry the same number.
    #[must_use]
    pub fn new(node: NodeId, notify_unique: NotifyUnique, offset: u64, data: &'a [u8]) -> Self {
        Self { node, notify_unique, offset, data }
    }
}

impl<'a> Operation<'a> for NotifyReply<'a> {
    fn opcode(&self) -> Opcode {
        Opcode::NOTIFY_REPLY
    }

    fn node(&self) -> NodeId {
        self.node
    }

    fn decode(unique: Unique, node: NodeId, args: &mut Args<'a>, _: &Negotiated) -> Result<Self, DecodeError> {
        let raw: abi::fuse_notify_retrieve_in = args.fixed("fuse_notify_retrieve_in")?;
        Ok(Self {
            node,
            notify_unique: NotifyUnique(unique.0),
            offset: raw.offset,
            data: args.data("data", length_usize(raw.size))?,
        })
    }

    fn encode(&self, _: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
        let mut raw = abi::fuse_notify_retrieve_in::new_zeroed();
        raw.offset = self.offset;
        raw.size = crate::codec::length_u32(self.data.len(), "data")?;
        out.fixed(&raw);
        out.payload(self.data);
        Ok(())
    }
}

/// Opens the connection of a character device in user space (CUSE), and says what the device is called.
///
/// Sent once, to whoever opens `/dev/cuse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CuseInit {
    /// The major version that the kernel speaks; always 7.
    pub major: u32,
    /// The minor version that the kernel speaks.
    pub minor: u32,
    /// What the kernel offers.
    pub flags: CuseInitFlags,
}

impl CuseInit {
    /// An offer of 7.`minor`.
    #[must_use]
    pub fn new(minor: u32, flags: CuseInitFlags) -> Self {
        Self { major: abi::FUSE_KERNEL_VERSION, minor, flags }
    }
}

impl<'a> Operation<'a> for CuseInit {
    fn opcode(&self) -> Opcode {
        Opcode::CUSE_INIT
    }

    fn node(&self) -> NodeId {
        NodeId(0)
    }

    fn decode(_: Unique, _: NodeId, args: &mut Args<'a>, _: &Negotiated) -> Result<Self, DecodeError> {
        let raw: abi::cuse_init_in = args.fixed("cuse_init_in")?;
        Ok(Self { major: raw.major, minor: raw.minor, flags: CuseInitFlags::from_bits_retain(raw.flags) })
    }

    fn encode(&self, _: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
        out.fixed(&abi::cuse_init_in { major: self.major, minor: self.minor, unused: 0, flags: self.flags.bits() });
        Ok(())
    }
}
