//! Reading and writing the bytes of messages: the two slices of a request, the fields of a struct, the errors.
//!
//! What a message means is not known here; that is in [`op`](crate::op) and [`reply`](crate::reply).

use alloc::vec::Vec;
use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::name::{LinkTarget, Name, XattrName};
use crate::opcode::Opcode;

/// Why bytes are not the message that they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// There are fewer bytes than the message needs.
    Truncated {
        /// The part that did not fit, in the kernel's spelling where it has one.
        what: &'static str,
        /// Bytes that it needs.
        needed: usize,
        /// Bytes that were there.
        found: usize,
    },
    /// The length in the header is not the number of bytes that came.
    Length {
        /// What the header says, in bytes.
        header: usize,
        /// How many came.
        found: usize,
    },
    /// A name or path that the protocol does not allow: empty, without its NUL, with a slash.
    Name {
        /// The part that is wrong.
        what: &'static str,
    },
    /// A number that the protocol does not allow there.
    Value {
        /// The field, in the kernel's spelling.
        what: &'static str,
        /// What was in it.
        value: u64,
    },
    /// An opcode that this version does not know.
    UnknownOpcode(Opcode),
    /// A code of a notification that this version does not know.
    UnknownNotification(i32),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { what, needed, found } => {
                write!(f, "{what} is cut short: {found} of {needed} bytes")
            }
            Self::Length { header, found } => {
                write!(f, "the header promises {header} bytes, {found} came")
            }
            Self::Name { what } => write!(f, "{what} is not a valid name"),
            Self::Value { what, value } => write!(f, "{what} has the impossible value {value}"),
            Self::UnknownOpcode(opcode) => write!(f, "opcode {} is not known", opcode.0),
            Self::UnknownNotification(code) => write!(f, "notification {code} is not known"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Why a message cannot be put into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// It does not fit in the room that there is, or in the 32 bits that hold its length.
    TooLong {
        /// The part that is too long.
        what: &'static str,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { what } => write!(f, "{what} is too long to be sent"),
        }
    }
}

impl core::error::Error for EncodeError {}

/// A field of a struct of the header that has a type of its own here. Every bit pattern is a value.
pub(crate) trait WireField<Raw>: Copy {
    fn from_wire(raw: Raw) -> Self;
    fn to_wire(self) -> Raw;
}

macro_rules! plain_fields {
    ($($raw:ty),*) => {$(
        impl WireField<$raw> for $raw {
            fn from_wire(raw: $raw) -> Self {
                raw
            }

            fn to_wire(self) -> $raw {
                self
            }
        }
    )*};
}

macro_rules! id_fields {
    ($($name:ident: $raw:ty),*) => {$(
        impl WireField<$raw> for crate::ids::$name {
            fn from_wire(raw: $raw) -> Self {
                Self(raw)
            }

            fn to_wire(self) -> $raw {
                self.0
            }
        }
    )*};
}

plain_fields!(u16, u32, u64, i32, i64);
id_fields!(
    NodeId: u64, Generation: u64, FileHandle: u64, Unique: u64, LockOwner: u64, PollHandle: u64, NotifyUnique: u64,
    BackingId: i32, Uid: u32, Gid: u32, Pid: u32
);

/// The arguments of a request, as a transport delivers them.
///
/// `/dev/fuse` delivers one run of bytes. A ring delivers the fixed struct and the rest apart; the area for the struct is
/// larger than the struct, so its end says nothing.
#[derive(Clone, Copy, Debug)]
pub enum Args<'a> {
    /// The fixed struct, directly followed by names and data.
    Joined(&'a [u8]),
    /// The fixed struct and the rest apart.
    Split {
        /// Begins with the fixed struct of the operation, if it has one.
        op_in: &'a [u8],
        /// Names and data.
        payload: &'a [u8],
    },
}

impl<'a> Args<'a> {
    /// Takes the fixed struct from the front.
    pub(crate) fn fixed<T>(&mut self, what: &'static str) -> Result<T, DecodeError>
    where
        T: FromBytes + KnownLayout + Immutable,
    {
        let from = match self {
            Self::Joined(bytes) => bytes,
            Self::Split { op_in, .. } => op_in,
        };
        let (value, rest) = T::read_from_prefix(from).map_err(|_| DecodeError::Truncated {
            what,
            needed: size_of::<T>(),
            found: from.len(),
        })?;
        *from = rest;
        Ok(value)
    }

    fn payload(&mut self) -> &mut &'a [u8] {
        match self {
            Self::Joined(bytes) => bytes,
            Self::Split { payload, .. } => payload,
        }
    }

    /// Takes `length` bytes of data.
    pub(crate) fn data(&mut self, what: &'static str, length: usize) -> Result<&'a [u8], DecodeError> {
        let from = self.payload();
        let found = from.len();
        let (data, rest) =
            from.split_at_checked(length).ok_or(DecodeError::Truncated { what, needed: length, found })?;
        *from = rest;
        Ok(data)
    }

    /// Takes bytes up to a NUL, and the NUL.
    fn until_nul(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let from = self.payload();
        let length = from.iter().position(|byte| *byte == 0).ok_or(DecodeError::Truncated {
            what,
            needed: from.len() + 1,
            found: from.len(),
        })?;
        let string = self.data(what, length)?;
        self.data(what, 1)?;
        Ok(string)
    }

    /// Takes everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(self.payload())
    }
}

/// What follows the fixed struct of a request: a name, a path, data.
pub(crate) trait Tail<'a>: Sized {
    fn take(args: &mut Args<'a>, what: &'static str) -> Result<Self, DecodeError>;
    fn put(&self, out: &mut RequestWriter);
}

macro_rules! string_tails {
    ($($name:ident),*) => {$(
        impl<'a> Tail<'a> for &'a $name {
            fn take(args: &mut Args<'a>, what: &'static str) -> Result<Self, DecodeError> {
                $name::new(args.until_nul(what)?).map_err(|_| DecodeError::Name { what })
            }

            fn put(&self, out: &mut RequestWriter) {
                out.payload(self.as_bytes());
                out.payload(&[0]);
            }
        }
    )*};
}

string_tails!(Name, XattrName, LinkTarget);

/// Collects a request that is being encoded; [`encode_request`](crate::encode_request) does so for you.
///
/// It remembers where the fixed struct ends, so that what was written can be sent in one run or, as a ring does, in two.
#[derive(Clone, Debug, Default)]
pub struct RequestWriter {
    bytes: Vec<u8>,
    fixed_length: usize,
}

impl RequestWriter {
    /// Appends the fixed struct. Called once, before any payload.
    pub(crate) fn fixed(&mut self, value: &(impl IntoBytes + Immutable + ?Sized)) {
        self.bytes.extend_from_slice(value.as_bytes());
        self.fixed_length = self.bytes.len();
    }

    /// Appends names or data.
    pub(crate) fn payload(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// How many bytes there are.
    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// All of it in one run.
    #[must_use]
    pub fn joined(&self) -> Args<'_> {
        Args::Joined(&self.bytes)
    }

    /// The fixed struct and the rest apart.
    #[must_use]
    pub fn split(&self) -> Args<'_> {
        let (op_in, payload) = self.bytes.split_at_checked(self.fixed_length).unwrap_or((&[], &self.bytes));
        Args::Split { op_in, payload }
    }

    /// All of it in one run, as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a fixed struct from the front of a reply or notification.
pub(crate) fn read_struct<T>(bytes: &mut &[u8], what: &'static str) -> Result<T, DecodeError>
where
    T: FromBytes + KnownLayout + Immutable,
{
    let (value, rest) = T::read_from_prefix(bytes).map_err(|_| DecodeError::Truncated {
        what,
        needed: size_of::<T>(),
        found: bytes.len(),
    })?;
    *bytes = rest;
    Ok(value)
}

/// Reads a fixed struct that is all there is. The kernel refuses a reply that is longer, too
/// (`fs/fuse/dev.c fuse_copy_out_args()`).
pub(crate) fn read_whole<T>(mut bytes: &[u8], what: &'static str) -> Result<T, DecodeError>
where
    T: FromBytes + KnownLayout + Immutable,
{
    let found = bytes.len();
    let value = read_struct(&mut bytes, what)?;
    if bytes.is_empty() { Ok(value) } else { Err(DecodeError::Length { header: size_of::<T>(), found }) }
}

/// A length as the 32 bits that the protocol has for it.
pub(crate) fn length_u32(length: usize, what: &'static str) -> Result<u32, EncodeError> {
    u32::try_from(length).map_err(|_| EncodeError::TooLong { what })
}

/// A length from the wire as a size of memory.
pub(crate) fn length_usize(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
