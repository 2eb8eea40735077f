//! A decoded request, whichever operation it is; made from the table.
//!
//! The operations themselves are in [`op`](crate::op).

use alloc::vec::Vec;

use zerocopy::IntoBytes;

use crate::abi;
use crate::codec::{DecodeError, EncodeError, RequestWriter, length_u32};
use crate::ext::Extensions;
use crate::for_each_opcode;
use crate::header::{Incoming, RequestHeader};
use crate::ids::NodeId;
use crate::init::Negotiated;
use crate::op::{self, Operation};
use crate::opcode::Opcode;

macro_rules! requests {
    ($(($kernel:ident, $name:ident, $op:ident $(<$lt:lifetime>)?, $method:ident, $since:literal,
        $answer:ident $reply:ident, $lookup:ident, $enosys:ident, $doc:literal);)*) => {
        /// What the kernel asks. Names and data are borrowed from the bytes that came.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Request<'a> {
            $(
                #[doc = $doc]
                $op(op::$op $(<$lt>)?),
            )*
        }

        impl<'a> Request<'a> {
            /// Decodes the arguments of a request, and the extensions that came with it.
            ///
            /// # Errors
            /// The opcode is not known, the bytes are too few, or a name or number in them is not allowed.
            #[inline]
            pub fn decode(
                negotiated: &Negotiated,
                incoming: &Incoming<'a>,
            ) -> Result<(Self, Extensions<'a>), DecodeError> {
                let mut args = incoming.args;
                let request = match incoming.opcode {
                    $(Opcode::$name => {
                        Self::$op(op::$op::decode(incoming.header.unique, incoming.node, &mut args, negotiated)?)
                    })*
                    unknown => return Err(DecodeError::UnknownOpcode(unknown)),
                };
                let extensions = if negotiated.has_bare_security_context() && request.creates() {
                    Extensions::decode_bare(args.rest())?
                } else {
                    Extensions::decode(incoming.extensions)?
                };
                Ok((request, extensions))
            }

            /// Which operation it is.
            #[must_use]
            pub fn opcode(&self) -> Opcode {
                match self {
                    $(Self::$op(_) => Opcode::$name,)*
                }
            }

            /// Which node it is about; 0 where there is none.
            #[must_use]
            pub fn node(&self) -> NodeId {
                match self {
                    $(Self::$op(op) => op.node(),)*
                }
            }

            /// How many bytes of reply the caller has room for, where the request says so.
            #[must_use]
            pub fn reply_limit(&self) -> Option<u32> {
                match self {
                    $(Self::$op(op) => op.reply_limit(),)*
                }
            }

            /// Encodes the arguments.
            ///
            /// # Errors
            /// A part is too long for the 32 bits of its length.
            pub fn encode(&self, negotiated: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
                match self {
                    $(Self::$op(op) => op.encode(negotiated, out),)*
                }
            }
        }

        $(
            impl<'a> From<op::$op $(<$lt>)?> for Request<'a> {
                fn from(op: op::$op $(<$lt>)?) -> Self {
                    Self::$op(op)
                }
            }
        )*
    };
}

for_each_opcode!(requests);

impl Request<'_> {
    /// Whether it makes a new inode: only then do a security context and groups come along.
    #[must_use]
    pub fn creates(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Mkdir(_) | Self::Mknod(_) | Self::Symlink(_) | Self::Tmpfile(_))
    }
}

/// Encodes a whole request without extensions, as `/dev/fuse` delivers it.
///
/// # Errors
/// A part is too long for the 32 bits of its length.
pub fn encode_request<'a>(
    header: &RequestHeader,
    op: &impl Operation<'a>,
    negotiated: &Negotiated,
) -> Result<Vec<u8>, EncodeError> {
    let mut args = RequestWriter::default();
    op.encode(negotiated, &mut args)?;
    join(header, op.opcode(), op.node(), &args, 0)
}

impl Request<'_> {
    /// Encodes the whole request with its extensions, as `/dev/fuse` delivers it.
    ///
    /// # Errors
    /// A part is too long for the bits of its length.
    pub fn encode_with(
        &self,
        header: &RequestHeader,
        extensions: &Extensions<'_>,
        negotiated: &Negotiated,
    ) -> Result<Vec<u8>, EncodeError> {
        let mut args = RequestWriter::default();
        self.encode(negotiated, &mut args)?;
        let before = args.length();
        let bare = negotiated.has_bare_security_context() && self.creates();
        extensions.encode(bare, &mut args)?;
        let length = if bare { 0 } else { args.length() - before };
        join(header, self.opcode(), self.node(), &args, length)
    }
}

fn join(
    header: &RequestHeader,
    opcode: Opcode,
    node: NodeId,
    args: &RequestWriter,
    extensions: usize,
) -> Result<Vec<u8>, EncodeError> {
    let length = size_of::<abi::fuse_in_header>() + args.length();
    let raw = abi::fuse_in_header {
        len: length_u32(length, "the request")?,
        opcode: opcode.0,
        unique: header.unique.0,
        nodeid: node.0,
        uid: header.uid.map_or(abi::FUSE_INVALID_UIDGID, |uid| uid.0),
        gid: header.gid.map_or(abi::FUSE_INVALID_UIDGID, |gid| gid.0),
        pid: header.pid.0,
        total_extlen: u16::try_from(extensions / 8).map_err(|_| EncodeError::TooLong { what: "the extensions" })?,
        padding: 0,
    };
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(raw.as_bytes());
    bytes.extend_from_slice(args.as_bytes());
    Ok(bytes)
}
