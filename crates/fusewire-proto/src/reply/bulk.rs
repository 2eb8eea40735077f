//! Replies that carry bytes of any length: data, attribute values, the memory of an ioctl.
//!
//! A daemon fills such a reply in place and has no need of these types; they describe it, and read it back.

use crate::abi;
use crate::codec::{DecodeError, EncodeError, WireField, length_usize, read_struct, read_whole};
use crate::flags::IoctlFlags;
use crate::init::Negotiated;
use crate::reply::{ReplyBody, ReplyWriter, within};

/// The answer to `READ` and `READLINK`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data<'a> {
    /// The data; no more than were asked for.
    pub bytes: &'a [u8],
}

impl<'a> ReplyBody<'a> for Data<'a> {
    fn encode(&self, _: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        out.put_bytes(self.bytes)
    }

    fn decode(_: &Negotiated, limit: Option<u32>, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        within(limit, bytes)?;
        Ok(Self { bytes })
    }
}

/// The answer to `GETXATTR` and `LISTXATTR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Xattr<'a> {
    /// To a request with size 0: how long the value or the list is, in bytes.
    Size(u32),
    /// To all others: the value, or the names with a NUL behind each.
    Value(&'a [u8]),
}

impl<'a> ReplyBody<'a> for Xattr<'a> {
    fn encode(&self, _: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Size(size) => out.put(&abi::fuse_getxattr_out { size: *size, padding: 0 }),
            Self::Value(bytes) => out.put_bytes(bytes),
        }
    }

    fn decode(_: &Negotiated, limit: Option<u32>, body: &'a [u8]) -> Result<Self, DecodeError> {
        if limit == Some(0) {
            let raw: abi::fuse_getxattr_out = read_whole(body, "fuse_getxattr_out")?;
            return Ok(Self::Size(raw.size));
        }
        within(limit, body)?;
        Ok(Self::Value(body))
    }
}

/// The answer to `IOCTL`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ioctl<'a> {
    /// What ioctl(2) returns to the caller.
    pub result: i32,
    /// `RETRY` asks for the memory areas that `data` names.
    pub flags: IoctlFlags,
    /// How many areas to read, with `RETRY`.
    pub in_areas: u32,
    /// How many areas to write, with `RETRY`.
    pub out_areas: u32,
    /// What goes into the caller's memory; with `RETRY`, the areas as `fuse_ioctl_iovec`.
    pub data: &'a [u8],
}

impl<'a> ReplyBody<'a> for Ioctl<'a> {
    fn encode(&self, _: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        out.put(&abi::fuse_ioctl_out {
            result: self.result,
            flags: self.flags.bits(),
            in_iovs: self.in_areas,
            out_iovs: self.out_areas,
        })?;
        out.put_bytes(self.data)
    }

    fn decode(_: &Negotiated, limit: Option<u32>, mut body: &'a [u8]) -> Result<Self, DecodeError> {
        let raw: abi::fuse_ioctl_out = read_struct(&mut body, "fuse_ioctl_out")?;
        let flags = IoctlFlags::from_wire(raw.flags);
        if flags.contains(IoctlFlags::RETRY) {
            let areas = length_usize(raw.in_iovs).saturating_add(length_usize(raw.out_iovs));
            let needed = areas.saturating_mul(size_of::<abi::fuse_ioctl_iovec>());
            if areas > abi::FUSE_IOCTL_MAX_IOV || needed != body.len() {
                return Err(DecodeError::Length { header: needed, found: body.len() });
            }
        } else {
            within(limit, body)?;
        }
        Ok(Self { result: raw.result, flags, in_areas: raw.in_iovs, out_areas: raw.out_iovs, data: body })
    }
}
