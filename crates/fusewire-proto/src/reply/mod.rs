//! What the daemon answers: one struct a kind of reply, and [`Reply`], whichever it is.
//!
//! A reply is a body behind a [`ReplyHeader`](crate::ReplyHeader); an error has no body. Bulk data (reads, directory
//! entries, attribute values) are written in place by whoever has them, and only borrowed here.

use core::fmt::Debug;

use zerocopy::{Immutable, IntoBytes};

use crate::codec::{DecodeError, EncodeError, length_usize};
use crate::for_each_opcode;
use crate::init::Negotiated;
use crate::opcode::Opcode;

mod bulk;
mod connection;
mod directory;
mod entry;
mod small;

pub use bulk::*;
pub use connection::*;
pub use directory::*;
pub use entry::*;
pub use small::*;

/// The longest body of a reply of fixed form, in bytes: that of `STATX`.
pub const MAX_FIXED_BODY: usize = size_of::<crate::abi::fuse_statx_out>();

/// A kind of reply.
///
/// ```
/// use fusewire_proto::Negotiated;
/// use fusewire_proto::reply::{ReplyBody, ReplyWriter, Written};
///
/// let (negotiated, mut room) = (Negotiated::default(), [0; 64]);
/// let mut out = ReplyWriter::new(&mut room);
/// Written { size: 4096 }.encode(&negotiated, &mut out)?;
/// let length = out.length();
/// let read = Written::decode(&negotiated, None, room.get(..length).unwrap_or_default())?;
/// assert_eq!(read, Written { size: 4096 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ReplyBody<'a>: Copy + Debug + PartialEq {
    /// Appends the body in its wire form.
    ///
    /// # Errors
    /// There is not enough room.
    fn encode(&self, negotiated: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError>;

    /// Reads the body back. `limit` is what the request said of the room for it.
    ///
    /// # Errors
    /// The bytes are too few, or too many for `limit`, or a number in them is not allowed.
    fn decode(negotiated: &Negotiated, limit: Option<u32>, body: &'a [u8]) -> Result<Self, DecodeError>;
}

/// A place for the body of a reply: the room there is, and how much of it is used.
#[derive(Debug)]
pub struct ReplyWriter<'b> {
    room: &'b mut [u8],
    length: usize,
}

impl<'b> ReplyWriter<'b> {
    /// A body that may fill `room`.
    #[must_use]
    pub fn new(room: &'b mut [u8]) -> Self {
        Self { room, length: 0 }
    }

    /// How many bytes were written.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// How many more bytes there is room for.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.room.len() - self.length
    }

    /// The bytes that were written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.room.get(..self.length).unwrap_or(&[])
    }

    /// The room that is left, to be filled in place; then [`advance`](Self::advance).
    pub fn spare(&mut self) -> &mut [u8] {
        self.room.get_mut(self.length..).unwrap_or(&mut [])
    }

    /// Counts `length` bytes of [`spare`](Self::spare) as written; no more than there are.
    pub fn advance(&mut self, length: usize) {
        self.length += length.min(self.remaining());
    }

    /// Takes back everything behind the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// They do not fit; then nothing is written.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.spare().get_mut(..bytes.len()).ok_or(EncodeError::TooLong { what: "the reply" })?.copy_from_slice(bytes);
        self.length += bytes.len();
        Ok(())
    }

    /// Appends a struct of the header.
    pub(crate) fn put(&mut self, value: &(impl IntoBytes + Immutable)) -> Result<(), EncodeError> {
        self.put_bytes(value.as_bytes())
    }
}

/// Refuses a body that is longer than the caller has room for.
fn within(limit: Option<u32>, body: &[u8]) -> Result<(), DecodeError> {
    match limit.map(length_usize) {
        Some(limit) if body.len() > limit => Err(DecodeError::Length { header: limit, found: body.len() }),
        _ => Ok(()),
    }
}

macro_rules! replies {
    ($(($kernel:ident, $name:ident, $op:ident $(<$lt:lifetime>)?, $method:ident, $since:literal,
        $answer:ident $reply:ident, $lookup:ident, $enosys:ident, $doc:literal);)*) => {
        impl<'a> Reply<'a> {
            /// Reads the body of a successful reply to an operation. `limit` is what the request said of the room for it
            /// ([`Request::reply_limit`](crate::Request::reply_limit)).
            ///
            /// # Errors
            /// The opcode is not known or gets no reply, or the body is not one that answers it.
            pub fn decode(
                negotiated: &Negotiated,
                opcode: Opcode,
                limit: Option<u32>,
                body: &'a [u8],
            ) -> Result<Self, DecodeError> {
                match opcode {
                    $(Opcode::$name => {
                        <$reply as ReplyBody<'a>>::decode(negotiated, limit, body).map(Self::$reply)
                    })*
                    unknown => Err(DecodeError::UnknownOpcode(unknown)),
                }
            }
        }
    };
}

macro_rules! reply_kinds {
    ($($(#[$doc:meta])* $kind:ident $(<$lt:lifetime>)?;)*) => {
        /// What the daemon answers, whichever kind it is.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Reply<'a> {
            $($(#[$doc])* $kind($kind $(<$lt>)?),)*
        }

        impl Reply<'_> {
            /// Appends the body in its wire form.
            ///
            /// # Errors
            /// There is not enough room.
            pub fn encode(&self, negotiated: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
                match self {
                    $(Self::$kind(body) => body.encode(negotiated, out),)*
                }
            }
        }

        $(
            impl<'a> From<$kind $(<$lt>)?> for Reply<'a> {
                fn from(body: $kind $(<$lt>)?) -> Self {
                    Self::$kind(body)
                }
            }
        )*
    };
}

reply_kinds! {
    /// There is none.
    Nothing;
    /// An entry of a directory.
    Entry;
    /// Attributes.
    Attributes;
    /// An empty body.
    Done;
    /// Data.
    Data<'a>;
    /// A handle.
    Opened;
    /// An entry and a handle.
    Created;
    /// How much was written.
    Written;
    /// How much was copied.
    Copied;
    /// The numbers of the filesystem.
    Statfs;
    /// An extended attribute, or a list of names, or how long either is.
    Xattr<'a>;
    /// The outcome of the negotiation.
    Init;
    /// Directory entries.
    DirEntries<'a>;
    /// Directory entries with attributes.
    DirEntriesPlus<'a>;
    /// A lock.
    Lock;
    /// A block.
    Block;
    /// The answer to an ioctl.
    Ioctl<'a>;
    /// Events.
    Polled;
    /// A position.
    Offset;
    /// Attributes of statx.
    StatxReply;
    /// The outcome of the negotiation for a character device.
    CuseInit<'a>;
}

for_each_opcode!(replies);
