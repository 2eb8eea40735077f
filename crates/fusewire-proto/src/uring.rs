//! FUSE over io_uring (since 7.42): what a ring entry holds, and the command that goes with it.
//!
//! The ring itself, its memory and its system calls are the business of a transport.

use zerocopy::IntoBytes;

use crate::abi;
use crate::codec::{DecodeError, length_usize, read_struct};
use crate::header::Incoming;
use crate::ids::Unique;
use crate::init::Negotiated;
use crate::op::{self, Operation};
use crate::opcode::Opcode;

/// Size of the header that the kernel fills in for an entry, in bytes.
pub const HEADER_SIZE: usize = size_of::<abi::fuse_uring_req_header>();

/// What an entry asks of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command(pub u32);

impl Command {
    /// Nothing: the kernel refuses it. A connection that cannot take commands yet says `EAGAIN` first.
    pub const INVALID: Self = Self(abi::FUSE_IO_URING_CMD_INVALID);
    /// Offers an entry for requests.
    pub const REGISTER: Self = Self(abi::FUSE_IO_URING_CMD_REGISTER);
    /// Sends the reply that the entry holds, and offers it again.
    pub const COMMIT_AND_FETCH: Self = Self(abi::FUSE_IO_URING_CMD_COMMIT_AND_FETCH);
}

/// The command's own part of a submission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandArgs {
    /// No flag is defined yet.
    pub flags: u64,
    /// Which request is answered: what the request had as its own.
    pub commit_id: u64,
    /// The queue: the number of a CPU.
    pub queue: u16,
}

impl CommandArgs {
    /// Length of the encoded form, in bytes.
    pub const LENGTH: usize = size_of::<abi::fuse_uring_cmd_req>();

    /// The bytes for the command area of a 128-byte submission.
    #[must_use]
    pub fn encode(self) -> [u8; Self::LENGTH] {
        let raw =
            abi::fuse_uring_cmd_req { flags: self.flags, commit_id: self.commit_id, qid: self.queue, padding: [0; 6] };
        let mut bytes = [0; Self::LENGTH];
        bytes.copy_from_slice(raw.as_bytes());
        bytes
    }

    /// Reads them back.
    ///
    /// # Errors
    /// There are too few bytes.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let raw: abi::fuse_uring_cmd_req = read_struct(&mut bytes, "fuse_uring_cmd_req")?;
        Ok(Self { flags: raw.flags, commit_id: raw.commit_id, queue: raw.qid })
    }
}

/// What the kernel says of an entry beside the request in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryHeader {
    /// No flag is defined yet.
    pub flags: u64,
    /// Goes into the [`CommandArgs`] of the answer.
    pub commit_id: u64,
    /// How many bytes of the payload are used: by the request, or by the reply.
    pub payload_size: u32,
}

impl EntryHeader {
    /// Reads it from the header of an entry.
    ///
    /// # Errors
    /// The header is cut short.
    pub fn decode(header: &[u8]) -> Result<Self, DecodeError> {
        let mut bytes = header.get(ENTRY..).unwrap_or_default();
        let raw: abi::fuse_uring_ent_in_out = read_struct(&mut bytes, "fuse_uring_req_header")?;
        Ok(Self { flags: raw.flags, commit_id: raw.commit_id, payload_size: raw.payload_sz })
    }
}

/// Where in the header the fixed struct of the request is, and where the [`EntryHeader`].
const OP_IN: usize = abi::FUSE_URING_IN_OUT_HEADER_SZ;
const ENTRY: usize = OP_IN + abi::FUSE_URING_OP_IN_OUT_SZ;
const _: () = assert!(HEADER_SIZE == ENTRY + size_of::<abi::fuse_uring_ent_in_out>());

/// Takes apart an entry that holds a request.
///
/// # Errors
/// The header is cut short, or says more than the payload has.
pub fn decode_entry<'a>(header: &'a [u8], payload: &'a [u8]) -> Result<(EntryHeader, Incoming<'a>), DecodeError> {
    let entry = EntryHeader::decode(header)?;
    let (in_out, op_in) = header.get(..ENTRY).and_then(|parts| parts.split_at_checked(OP_IN)).unwrap_or_default();
    let size = length_usize(entry.payload_size);
    let payload = payload.get(..size).ok_or(DecodeError::Truncated {
        what: "the payload",
        needed: size,
        found: payload.len(),
    })?;
    Ok((entry, Incoming::from_ring(in_out, op_in, payload)?))
}

/// What an entry is answered by, even if the rest of it makes no sense: its `commit_id`, and number and opcode of its request.
/// All are 0 if there are too few bytes.
#[must_use]
pub fn identify_entry(header: &[u8]) -> (u64, Unique, Opcode) {
    let (unique, opcode) = Incoming::identify(header).unwrap_or((Unique(0), Opcode(0)));
    (EntryHeader::decode(header).map_or(0, |entry| entry.commit_id), unique, opcode)
}

/// The `READ` that an entry holds, if it holds one: for whoever decides where it is served.
#[must_use]
pub fn peek_read(header: &[u8]) -> Option<op::Read> {
    let (_, opcode) = Incoming::identify(header)?;
    if opcode != Opcode::READ {
        return None;
    }
    // It has no names, so the payload is not needed.
    let (in_out, op_in) = header.get(..ENTRY)?.split_at_checked(OP_IN)?;
    let incoming = Incoming::from_ring(in_out, op_in, &[]).ok()?;
    let mut args = incoming.args;
    op::Read::decode(incoming.header.unique, incoming.node, &mut args, &Negotiated::default()).ok()
}

/// Fills in the header of an entry: what the kernel does for a request, or the daemon for a reply.
///
/// `in_out` is the header of the request or reply, `op_in` the fixed struct of a request (empty for a reply). Bytes behind them stay
/// as they were.
///
/// # Errors
/// The header is cut short, or a part is longer than its place.
pub fn encode_entry(header: &mut [u8], in_out: &[u8], op_in: &[u8], entry: EntryHeader) -> Result<(), DecodeError> {
    let raw = abi::fuse_uring_ent_in_out {
        flags: entry.flags,
        commit_id: entry.commit_id,
        payload_sz: entry.payload_size,
        padding: 0,
        reserved: 0,
    };
    let parts =
        [(0..OP_IN, in_out, "in_out"), (OP_IN..ENTRY, op_in, "op_in"), (ENTRY..HEADER_SIZE, raw.as_bytes(), "entry")];
    for (place, bytes, what) in parts {
        let place = header.get_mut(place).unwrap_or_default();
        let truncated = DecodeError::Truncated { what, needed: bytes.len(), found: place.len() };
        place.get_mut(..bytes.len()).ok_or(truncated)?.copy_from_slice(bytes);
    }
    Ok(())
}
