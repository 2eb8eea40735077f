//! How requests come in and replies go out: the trait, and what a transport calls for each request.
//!
//! A transport moves bytes. What is in them is the business of the [`Service`]; which threads move them, that of the pool.

use std::io;
use std::os::fd::BorrowedFd;

use fusewire_proto::{BackingId, Errno, Incoming, InitFlags, Negotiated, Opcode, ReplyHeader, Unique, op};

mod buffer;
mod device;
mod following;
mod policy;
mod pool;
mod ring;
mod schedule;

pub use buffer::{ReplyBuffer, RequestBuffer};
pub use device::Device;
pub use pool::Workers;
pub(crate) use pool::{report, send, serve};
pub use ring::Ring;
pub(crate) use ring::check as check_rings;

use crate::context::{Slot, Slots};
use crate::handler::Manner;

/// A way to and from the kernel, or whoever plays it. Whole messages, in both directions, from any thread.
///
/// A session runs over any transport. This one brings two requests that were written down, and keeps the replies:
///
/// ```
/// use std::collections::VecDeque;
/// use std::io;
/// use std::sync::{Arc, Mutex};
/// use fusewire::transport::{Received, RequestBuffer, Transport};
/// use fusewire::{Negotiated, NodeId, RequestHeader, Session, SessionConfig, Unique, encode_request, op};
/// # use std::time::Duration;
/// # use fusewire::{Attr, Context, Errno, FileType, Filesystem, reply};
/// # struct Empty;
/// # impl Filesystem for Empty {
/// #     fn getattr(&self, _: &Context<'_>, _: op::Getattr) -> Result<reply::Attributes, Errno> {
/// #         Ok(reply::Attributes::new(Attr::new(1, FileType::DIRECTORY, 0o755), Duration::MAX))
/// #     }
/// # }
///
/// struct Tape {
///     requests: Mutex<VecDeque<Vec<u8>>>,
///     replies: Arc<Mutex<Vec<Vec<u8>>>>,
/// }
///
/// impl Transport for Tape {
///     fn name(&self) -> &'static str {
///         "tape"
///     }
///
///     fn receive<'b>(&self, buffer: &'b mut RequestBuffer) -> io::Result<Received<'b>> {
///         let Some(request) = self.requests.lock().unwrap().pop_front() else { return Ok(Received::End) };
///         let place = &mut buffer.room()[..request.len()];
///         place.copy_from_slice(&request);
///         Ok(Received::Request(place))
///     }
///
///     fn send(&self, message: &[u8]) -> io::Result<()> {
///         self.replies.lock().unwrap().push(message.to_vec());
///         Ok(())
///     }
/// }
///
/// let negotiated = Negotiated::default();
/// let init = encode_request(&RequestHeader::new(Unique(2)), &op::Init::default(), &negotiated)?;
/// let getattr = encode_request(&RequestHeader::new(Unique(4)), &op::Getattr::new(NodeId::ROOT), &negotiated)?;
/// let replies = Arc::default();
/// let tape = Tape { requests: Mutex::new([init, getattr].into()), replies: Arc::clone(&replies) };
/// Session::new(tape, Empty, SessionConfig::default()).open()?.serve()?;
/// assert_eq!(replies.lock().unwrap().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Transport: Send + Sync {
    /// What it is called in logs.
    fn name(&self) -> &'static str;

    /// Waits for a request and puts it into `buffer`.
    ///
    /// # Errors
    /// What makes going on impossible. The end of the connection is not an error.
    fn receive<'b>(&self, buffer: &'b mut RequestBuffer) -> io::Result<Received<'b>>;

    /// Whether a request waits to be received, as far as that can be told without waiting.
    fn has_pending(&self) -> bool {
        false
    }

    /// Whether the `pid` of a request is a thread of this machine that waits for the reply. Then a worker may go to the CPU of its
    /// callers.
    fn has_local_callers(&self) -> bool {
        false
    }

    /// Sends a whole reply or notification.
    ///
    /// # Errors
    /// `ENOENT` if nobody waits for the reply any more, or the kernel does not know what the notification names; `ENODEV` if
    /// the connection is over.
    fn send(&self, message: &[u8]) -> io::Result<()>;

    /// Sends a whole reply whose header and body lie in different places.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    fn send_parts(&self, header: &[u8], body: &[u8]) -> io::Result<()> {
        self.send(&[header, body].concat())
    }

    /// Registers a file that the kernel reads and writes itself, with the capability `PASSTHROUGH`.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the transport does not lead to the kernel; those of `FUSE_DEV_IOC_BACKING_OPEN`.
    fn open_backing(&self, _file: BorrowedFd<'_>) -> io::Result<BackingId> {
        Err(Errno::EOPNOTSUPP.into())
    }

    /// Takes a registration back. Files that are open with it go on.
    ///
    /// # Errors
    /// `ENOENT` if there is no such file; as for [`open_backing`](Self::open_backing).
    fn close_backing(&self, _backing: BackingId) -> io::Result<()> {
        Err(Errno::EOPNOTSUPP.into())
    }

    /// Capabilities of the connection that this transport brings with it; they are asked for.
    fn offers(&self) -> InitFlags {
        InitFlags::empty()
    }

    /// Gets ready for a connection on which `negotiated` was agreed. Called once, before `INIT` is answered.
    ///
    /// # Errors
    /// What makes going on impossible.
    fn prepare(&self, negotiated: &Negotiated) -> io::Result<()> {
        let _ = negotiated;
        Ok(())
    }

    /// The handler of `unique`, which has not returned, is going to answer it later, with [`send`](Self::send). Told only of
    /// requests that do not come through [`receive`](Self::receive).
    fn postpone(&self, unique: Unique) {
        let _ = unique;
    }

    /// Serves requests that do not come through [`receive`](Self::receive), until the connection ends. Called once, in a
    /// thread of its own, if [`offers`](Self::offers) has anything. Calls `tell` when whoever is there from then on is served.
    fn serve_beside(&self, service: &dyn Service, slots: &Slots, negotiated: &Negotiated, tell: &dyn Fn()) {
        let _ = (service, slots, negotiated, tell);
    }

    /// Makes waiting receivers return, if the transport can. The connection is not used after that.
    fn close(&self) {}
}

/// What [`Transport::receive`] brings.
#[derive(Debug)]
pub enum Received<'b> {
    /// A request.
    Request(&'b [u8]),
    /// The connection is over: unmounted, aborted, or the other side is gone.
    End,
}

/// From how many bytes on it pays that a caller goes on while its file is read ahead on another CPU.
const BULK: usize = 64 << 10;

/// Whether that is a long read into the page cache. The caller may not be waiting for it.
fn may_be_read_ahead(read: &op::Read) -> bool {
    usize::try_from(read.size).is_ok_and(|size| size >= BULK) && !read.flags.contains(libc::O_DIRECT)
}

/// What answers requests: the session, as transports see it. [`Connection`](crate::session::Connection) is one.
///
/// ```
/// use fusewire::session::Connection;
/// use fusewire::transport::{ReplyBuffer, Service, respond};
/// use fusewire::{Negotiated, NodeId, RequestHeader, Slot, Unique, encode_request, op};
/// # use std::time::Duration;
/// # use fusewire::{Attr, Context, Errno, FileType, Filesystem, reply};
/// # struct Empty;
/// # impl Filesystem for Empty {
/// #     fn getattr(&self, _: &Context<'_>, _: op::Getattr) -> Result<reply::Attributes, Errno> {
/// #         Ok(reply::Attributes::new(Attr::new(1, FileType::DIRECTORY, 0o755), Duration::MAX))
/// #     }
/// # }
///
/// let negotiated = Negotiated::default();
/// let service = Connection::new(Empty, negotiated);
/// let request = encode_request(&RequestHeader::new(Unique(2)), &op::Getattr::new(NodeId::ROOT), &negotiated)?;
/// let mut buffer = ReplyBuffer::new(service.room());
/// let reply = respond(&service, &Slot::default(), &request, &mut buffer).expect("GETATTR is answered");
/// assert_eq!(reply.len(), 16 + 104); // the header, and `fuse_attr_out`
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Service: Send + Sync {
    /// Serves a request. A reply's body goes into `room`; `slot` is the calling worker's own.
    fn serve(&self, slot: &Slot, incoming: &Incoming<'_>, room: &mut [u8]) -> Answer;

    /// Says what to answer to bytes that are not a request.
    fn refuse(&self, opcode: Opcode, error: fusewire_proto::DecodeError) -> Answer;

    /// How many bytes of body a reply may have at most.
    fn room(&self) -> usize;

    /// How long a request may be at most, in bytes.
    fn longest_request(&self) -> usize;

    /// When requests are answered.
    fn manner(&self) -> Manner;
}

/// What goes back for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: the request gets no reply.
    Nothing,
    /// An error.
    Error(Errno),
    /// Success, with this many bytes of body in the room that was given.
    Body(usize),
}

impl Answer {
    /// Puts the header in front of the body. `None` if nothing is to be sent.
    fn finish(self, unique: Unique, buffer: &mut ReplyBuffer) -> Option<&[u8]> {
        let (error, body) = match self {
            Self::Nothing => return None,
            Self::Error(errno) => (Some(errno), 0),
            Self::Body(length) => (None, length),
        };
        Some(buffer.message(&ReplyHeader::new(unique, error).encode(body), body))
    }
}

/// Serves the request in `bytes` and leaves the whole reply in `buffer`; `None` if there is none to send.
///
/// This is all that happens between receiving and sending, whatever moves the bytes.
pub fn respond<'b>(service: &dyn Service, slot: &Slot, bytes: &[u8], buffer: &'b mut ReplyBuffer) -> Option<&'b [u8]> {
    let (unique, answer) = match Incoming::parse(bytes) {
        Ok(incoming) => {
            let unique = incoming.header.unique;
            slot.begin(unique);
            (Some(unique), service.serve(slot, &incoming, buffer.room()))
        }
        Err(error) => match Incoming::identify(bytes) {
            Some((unique, opcode)) => (Some(unique), service.refuse(opcode, error)),
            None => (None, Answer::Nothing),
        },
    };
    slot.end();
    answer.finish(unique?, buffer)
}
