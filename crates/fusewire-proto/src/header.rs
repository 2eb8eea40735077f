//! The headers: who asks for what, and the first step of decoding a request.
//!
//! The arguments behind the header stay bytes here; [`Request::decode`](crate::Request::decode) takes them on.

use zerocopy::{FromBytes, IntoBytes};

use crate::abi;
use crate::codec::{Args, DecodeError, length_usize};
use crate::errno::Errno;
use crate::ids::{Gid, NodeId, Pid, Uid, Unique, mapped_id};
use crate::opcode::Opcode;

/// Who asks, and under which number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestHeader {
    /// The number that the reply must carry.
    pub unique: Unique,
    /// The user id of the caller for access checks (fsuid); `None` on an idmapped mount, except for creating operations.
    pub uid: Option<Uid>,
    /// The group id of the caller for access checks (fsgid); `None` as for `uid`.
    pub gid: Option<Gid>,
    /// The process that calls.
    pub pid: Pid,
}

impl RequestHeader {
    /// A header of a request by root, with process id 0.
    #[must_use]
    pub fn new(unique: Unique) -> Self {
        Self { unique, uid: Some(Uid(0)), gid: Some(Gid(0)), pid: Pid(0) }
    }
}

/// A request that has arrived: the header is read, the arguments are still bytes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Incoming<'a> {
    /// Who asks.
    pub header: RequestHeader,
    /// For what.
    pub opcode: Opcode,
    /// About which node; 0 where there is none.
    pub node: NodeId,
    /// The arguments, without extensions.
    pub args: Args<'a>,
    /// The extensions at the end of the request, since 7.38.
    pub extensions: &'a [u8],
}

/// Length of the header of a request, in bytes.
const HEADER: usize = size_of::<abi::fuse_in_header>();

impl<'a> Incoming<'a> {
    /// Reads the header of a request as `/dev/fuse` delivers it.
    ///
    /// # Errors
    /// The bytes are fewer than a header, not as many as the header says, or fewer than its extensions.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (raw, args) = split_header(bytes)?;
        let header = length_usize(raw.len);
        if header != bytes.len() {
            return Err(DecodeError::Length { header, found: bytes.len() });
        }
        let (args, extensions) = split_extensions(&raw, args)?;
        Ok(Self::new(&raw, Args::Joined(args), extensions))
    }

    /// Reads the header of a request as a ring delivers it, in three parts.
    ///
    /// # Errors
    /// The bytes are fewer than a header, or the payload is shorter than the extensions.
    pub fn from_ring(in_out: &'a [u8], op_in: &'a [u8], payload: &'a [u8]) -> Result<Self, DecodeError> {
        let (raw, _) = split_header(in_out)?;
        let (payload, extensions) = split_extensions(&raw, payload)?;
        Ok(Self::new(&raw, Args::Split { op_in, payload }, extensions))
    }

    fn new(raw: &abi::fuse_in_header, args: Args<'a>, extensions: &'a [u8]) -> Self {
        Self {
            header: RequestHeader {
                unique: Unique(raw.unique),
                uid: mapped_id(raw.uid).map(Uid),
                gid: mapped_id(raw.gid).map(Gid),
                pid: Pid(raw.pid),
            },
            opcode: Opcode(raw.opcode),
            node: NodeId(raw.nodeid),
            args,
            extensions,
        }
    }

    /// The number and opcode of a request whose bytes [`parse`](Self::parse) refused, if at least the header is there.
    #[must_use]
    pub fn identify(bytes: &[u8]) -> Option<(Unique, Opcode)> {
        let (raw, _) = split_header(bytes).ok()?;
        Some((Unique(raw.unique), Opcode(raw.opcode)))
    }
}

fn split_header(bytes: &[u8]) -> Result<(abi::fuse_in_header, &[u8]), DecodeError> {
    abi::fuse_in_header::read_from_prefix(bytes).map_err(|_| DecodeError::Truncated {
        what: "fuse_in_header",
        needed: HEADER,
        found: bytes.len(),
    })
}

/// Extensions are the last bytes; their length is counted in units of eight.
fn split_extensions<'a>(raw: &abi::fuse_in_header, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), DecodeError> {
    let needed = usize::from(raw.total_extlen) * 8;
    let start = bytes.len().checked_sub(needed).ok_or(DecodeError::Truncated {
        what: "the extensions",
        needed,
        found: bytes.len(),
    })?;
    bytes.split_at_checked(start).ok_or(DecodeError::Truncated { what: "the extensions", needed, found: bytes.len() })
}

/// The header of a reply: to which request, and whether it went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyHeader {
    /// The number of the request that is answered.
    pub unique: Unique,
    /// The error, or `None` for success. An error has no body.
    pub error: Option<Errno>,
}

impl ReplyHeader {
    /// Length of the header, in bytes.
    pub const LENGTH: usize = size_of::<abi::fuse_out_header>();

    /// The header of an answer to `unique`.
    #[must_use]
    pub fn new(unique: Unique, error: Option<Errno>) -> Self {
        Self { unique, error }
    }

    /// The bytes of the header in front of a body of `body` bytes. On the wire the error is negative.
    ///
    /// A body that does not fit into 32 bits of length saturates; no transport has room for one.
    #[must_use]
    pub fn encode(self, body: usize) -> [u8; Self::LENGTH] {
        let len = u32::try_from(Self::LENGTH.saturating_add(body)).unwrap_or(u32::MAX);
        let error = self.error.map_or(0, |error| -error.raw());
        let raw = abi::fuse_out_header { len, error, unique: self.unique.0 };
        let mut bytes = [0; Self::LENGTH];
        bytes.copy_from_slice(raw.as_bytes());
        bytes
    }

    /// Reads the header of a reply; what follows is its body.
    ///
    /// # Errors
    /// There are fewer bytes than a header, the length in it is not the number of bytes, or the error is positive or out of
    /// range.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let (raw, body) = abi::fuse_out_header::read_from_prefix(bytes).map_err(|_| DecodeError::Truncated {
            what: "fuse_out_header",
            needed: Self::LENGTH,
            found: bytes.len(),
        })?;
        let header = length_usize(raw.len);
        if header != bytes.len() {
            return Err(DecodeError::Length { header, found: bytes.len() });
        }
        let error = match raw.error {
            0 => None,
            number => Some(number.checked_neg().and_then(Errno::from_raw).ok_or(DecodeError::Value {
                what: "fuse_out_header.error",
                value: u64::from(number.cast_unsigned()),
            })?),
        };
        Ok((Self { unique: Unique(raw.unique), error }, body))
    }
}
