//! The answers that open a connection.
//!
//! They are computed by [`negotiate`](crate::init::negotiate).

use zerocopy::{FromZeros, IntoBytes};

use crate::abi;
use crate::codec::{DecodeError, EncodeError, read_struct, read_whole};
use crate::flags::CuseInitFlags;
use crate::init::{InitFlags, NEWEST_MINOR, Negotiated};
use crate::op::halves;
use crate::reply::{ReplyBody, ReplyWriter};

/// The answer to `INIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Init {
    /// The major version; 7.
    pub major: u32,
    /// The minor version that is spoken from now on.
    pub minor: u32,
    /// The longest read-ahead, in bytes.
    pub max_readahead: u32,
    /// The capabilities that are taken.
    pub flags: InitFlags,
    /// How many background requests the kernel sends at a time.
    pub max_background: u16,
    /// From how many on the filesystem counts as congested.
    pub congestion_threshold: u16,
    /// The longest write, in bytes.
    pub max_write: u32,
    /// The unit of times, in nanoseconds.
    pub time_gran: u32,
    /// The most pages of data in a request, with `MAX_PAGES`.
    pub max_pages: u16,
    /// The alignment of mappings as a power of two, with `MAP_ALIGNMENT` (virtio-fs).
    pub map_alignment: u16,
    /// How many filesystems may be stacked, with `PASSTHROUGH`.
    pub max_stack_depth: u32,
    /// Seconds after which the kernel gives the connection up, with `REQUEST_TIMEOUT`.
    pub request_timeout: u16,
}

impl Init {
    /// The answer that says what was agreed.
    #[must_use]
    pub fn new(negotiated: &Negotiated) -> Self {
        Self {
            major: abi::FUSE_KERNEL_VERSION,
            minor: negotiated.minor,
            max_readahead: negotiated.max_readahead,
            flags: negotiated.flags,
            max_background: negotiated.max_background,
            congestion_threshold: negotiated.congestion_threshold,
            max_write: negotiated.max_write,
            time_gran: negotiated.time_gran,
            max_pages: negotiated.max_pages,
            map_alignment: 0,
            max_stack_depth: negotiated.max_stack_depth,
            request_timeout: negotiated.request_timeout,
        }
    }

    /// The answer to a kernel of a newer major: ours, with which it asks again.
    #[must_use]
    pub fn refusing_major() -> Self {
        Self::new(&Negotiated { minor: NEWEST_MINOR, ..Negotiated::default() })
    }
}

/// The kernel takes an answer that is cut short, as daemons of before 7.23 send it, and holds the rest to be zero
/// (`fs/fuse/inode.c fuse_new_init()`); so does this decoder.
impl<'a> ReplyBody<'a> for Init {
    fn encode(&self, _: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        let (low, high) = halves(self.flags);
        out.put(&abi::fuse_init_out {
            major: self.major,
            minor: self.minor,
            max_readahead: self.max_readahead,
            flags: low,
            max_background: self.max_background,
            congestion_threshold: self.congestion_threshold,
            max_write: self.max_write,
            time_gran: self.time_gran,
            max_pages: self.max_pages,
            map_alignment: self.map_alignment,
            flags2: if self.flags.contains(InitFlags::INIT_EXT) { high } else { 0 },
            max_stack_depth: self.max_stack_depth,
            request_timeout: self.request_timeout,
            unused: [0; 11],
        })
    }

    fn decode(_: &Negotiated, _: Option<u32>, body: &'a [u8]) -> Result<Self, DecodeError> {
        let what = "fuse_init_out";
        let mut whole = [0; size_of::<abi::fuse_init_out>()];
        if body.len() < abi::FUSE_COMPAT_22_INIT_OUT_SIZE {
            return Err(DecodeError::Truncated { what, needed: whole.len(), found: body.len() });
        }
        let too_long = DecodeError::Length { header: whole.len(), found: body.len() };
        whole.get_mut(..body.len()).ok_or(too_long)?.copy_from_slice(body);
        let raw: abi::fuse_init_out = read_whole(&whole, what)?;
        let mut flags = InitFlags::from_bits_retain(u64::from(raw.flags));
        if flags.contains(InitFlags::INIT_EXT) {
            flags |= InitFlags::from_bits_retain(u64::from(raw.flags2) << 32);
        }
        Ok(Self {
            major: raw.major,
            minor: raw.minor,
            max_readahead: raw.max_readahead,
            flags,
            max_background: raw.max_background,
            congestion_threshold: raw.congestion_threshold,
            max_write: raw.max_write,
            time_gran: raw.time_gran,
            max_pages: raw.max_pages,
            map_alignment: raw.map_alignment,
            max_stack_depth: raw.max_stack_depth,
            request_timeout: raw.request_timeout,
        })
    }
}

/// The answer to `CUSE_INIT`: which device is to appear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CuseInit<'a> {
    /// The major version; 7.
    pub major: u32,
    /// The minor version that is spoken from now on.
    pub minor: u32,
    /// The capabilities that are taken.
    pub flags: CuseInitFlags,
    /// The longest read, in bytes.
    pub max_read: u32,
    /// The longest write, in bytes.
    pub max_write: u32,
    /// The major number of the device; 0 lets the kernel choose.
    pub dev_major: u32,
    /// The minor number of the device.
    pub dev_minor: u32,
    /// Lines such as `DEVNAME=name`, each ended by a NUL; at most 4,096 bytes.
    pub info: &'a [u8],
}

impl<'a> CuseInit<'a> {
    /// A device with this information, whose numbers the kernel chooses.
    #[must_use]
    pub fn new(info: &'a [u8]) -> Self {
        Self {
            major: abi::FUSE_KERNEL_VERSION,
            minor: NEWEST_MINOR,
            flags: CuseInitFlags::empty(),
            max_read: 128 << 10,
            max_write: 128 << 10,
            dev_major: 0,
            dev_minor: 0,
            info,
        }
    }
}

impl<'a> ReplyBody<'a> for CuseInit<'a> {
    fn encode(&self, _: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        if self.info.len() > abi::CUSE_INIT_INFO_MAX {
            return Err(EncodeError::TooLong { what: "the device information" });
        }
        let mut raw = abi::cuse_init_out::new_zeroed();
        raw.major = self.major;
        raw.minor = self.minor;
        raw.flags = self.flags.bits();
        raw.max_read = self.max_read;
        raw.max_write = self.max_write;
        raw.dev_major = self.dev_major;
        raw.dev_minor = self.dev_minor;
        out.put_bytes(raw.as_bytes())?;
        out.put_bytes(self.info)
    }

    fn decode(_: &Negotiated, _: Option<u32>, mut body: &'a [u8]) -> Result<Self, DecodeError> {
        let raw: abi::cuse_init_out = read_struct(&mut body, "cuse_init_out")?;
        if body.len() > abi::CUSE_INIT_INFO_MAX {
            return Err(DecodeError::Length { header: abi::CUSE_INIT_INFO_MAX, found: body.len() });
        }
        Ok(Self {
            major: raw.major,
            minor: raw.minor,
            flags: CuseInitFlags::from_bits_retain(raw.flags),
            max_read: raw.max_read,
            max_write: raw.max_write,
            dev_major: raw.dev_major,
            dev_minor: raw.dev_minor,
            info: body,
        })
    }
}
