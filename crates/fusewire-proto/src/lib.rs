//! The FUSE wire protocol, 7.31 to 7.45: every message of it, decoded and encoded, in both directions.
//!
//! A daemon decodes [`Request`]s and encodes replies; something that plays the kernel encodes requests and decodes
//! replies. Both sides use the same types, so one side is the test of the other. The crate does no I/O, reads no clock, has
//! no unsafe code and needs only `alloc`: bytes come in, values go out.
//!
//! | module | what is in it |
//! |---|---|
//! | [`opcode`] | the table: one row an opcode, from which all else is derived |
//! | [`op`] | one struct an operation: what the kernel asks |
//! | [`reply`] | one struct a kind of reply: what the daemon answers |
//! | [`notify`] | what the daemon tells the kernel unasked |
//! | [`init`] | the negotiation, as a pure function |
//! | [`ext`] | extensions of a request: security context, supplementary groups |
//! | [`uring`] | the structures of FUSE over io_uring |
//! | [`abi`] | `linux/fuse.h` itself, in the kernel's spelling, with its layout as data |
//!
//! ```
//! use fusewire_proto::{Incoming, Name, Negotiated, NodeId, Request, RequestHeader, Unique, op};
//!
//! let negotiated = Negotiated::default();
//! let sent = op::Lookup::new(NodeId::ROOT, Name::new(b"etc")?);
//! let bytes = fusewire_proto::encode_request(&RequestHeader::new(Unique(2)), &sent, &negotiated)?;
//!
//! let incoming = Incoming::parse(&bytes)?;
//! let (request, _extensions) = Request::decode(&negotiated, &incoming)?;
//! assert_eq!(request, Request::Lookup(sent));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod abi;
mod attr;
mod codec;
mod errno;
pub mod ext;
mod flags;
mod header;
mod ids;
pub mod init;
mod name;
pub mod notify;
pub mod op;
pub mod opcode;
pub mod reply;
mod request;
pub mod uring;

pub use attr::{Access, Attr, AttrFlags, FileType, OpenFlags, Statfs, StatxAttr, StatxMask, Timestamp};
pub use codec::{Args, DecodeError, EncodeError, RequestWriter};
pub use errno::Errno;
pub use flags::*;
pub use header::{Incoming, ReplyHeader, RequestHeader};
pub use ids::{BackingId, FileHandle, Generation, Gid, LockOwner, NodeId, NotifyUnique, Pid, PollHandle, Uid, Unique};
pub use init::{InitFlags, Negotiated};
pub use name::{InvalidBytes, LinkTarget, Name, XattrName};
pub use notify::Notification;
pub use opcode::Opcode;
pub use request::{Request, encode_request};

/// The README's examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
