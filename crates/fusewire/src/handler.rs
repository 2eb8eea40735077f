//! The one-method base of all kinds of filesystems: a request, and a token to answer it with, now or later.
//!
//! Most authors implement [`Filesystem`] and never see this. It is for those who answer from elsewhere: an event loop, a
//! network, another process.

use std::sync::{Arc, Weak};

use fusewire_proto::init::Wishes;
use fusewire_proto::reply::{MAX_FIXED_BODY, Reply as AnyReply, ReplyWriter};
use fusewire_proto::{Errno, Negotiated, Opcode, ReplyHeader, Request, Unique, op};

use crate::context::{Context, Slot, Slots};
use crate::dispatch::dispatch;
use crate::filesystem::Filesystem;
use crate::notifier::Notifier;
use crate::transport::{Answer, Transport, send};

/// When a handler answers, which decides how requests can be brought to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Manner {
    /// Before it returns, and it may block until then. So does every [`Filesystem`] that does not say otherwise.
    AtOnce,
    /// At once, or later from elsewhere, and it never blocks: it waits for no disk, no network and no other request, at most for
    /// a lock that is held for a moment. Other requests may have to wait until it returns. So does [`Async`](crate::Async), and a
    /// filesystem in memory can.
    NeverBlocks,
    /// It blocks for some and answers others later. Its requests come through `/dev/fuse`.
    #[default]
    Either,
}

/// What answers requests, at once or later. Every [`Filesystem`] is one.
///
/// Here, lookups are answered by another thread, while the session goes on:
///
/// ```
/// use std::sync::mpsc;
/// use fusewire::init::Wishes;
/// use fusewire::{Context, Deferred, Errno, Handler, Negotiated, Notifier, Reply, Request, op};
///
/// struct Elsewhere {
///     lookups: mpsc::Sender<Deferred>,
/// }
///
/// impl Handler for Elsewhere {
///     fn init(&self, _: &op::Init, _: &mut Wishes) -> Result<(), Errno> {
///         Ok(())
///     }
///
///     fn ready(&self, _: &Negotiated, _: &Notifier) {}
///
///     fn destroy(&self) {}
///
///     fn handle(&self, _: &Context<'_>, request: Request<'_>, reply: Reply<'_>) {
///         match request {
///             // A reply that nobody takes answers `EIO` when it is dropped.
///             Request::Lookup(_) => drop(reply.later().map(|later| self.lookups.send(later))),
///             _ => reply.error(Errno::ENOSYS),
///         }
///     }
/// }
///
/// let (lookups, waiting) = mpsc::channel::<Deferred>();
/// let answering = std::thread::spawn(move || waiting.into_iter().for_each(|later| later.error(Errno::ENOENT)));
/// let handler = Elsewhere { lookups }; // fusewire::mount(handler, ...)
/// # drop(handler);
/// # answering.join().unwrap();
/// ```
pub trait Handler: Send + Sync {
    /// Chooses what to ask of the kernel; see [`Filesystem::init`].
    ///
    /// # Errors
    /// Makes mounting fail.
    fn init(&self, offer: &op::Init, wishes: &mut Wishes) -> Result<(), Errno>;

    /// The connection is open; see [`Filesystem::ready`].
    fn ready(&self, negotiated: &Negotiated, notifier: &Notifier);

    /// The connection is over; see [`Filesystem::destroy`].
    fn destroy(&self);

    /// When it answers.
    fn manner(&self) -> Manner {
        Manner::default()
    }

    /// Answers `request` through `reply`, or keeps [`Reply::later`] of it to do so.
    ///
    /// `request` borrows from a buffer that is used again when this returns.
    fn handle(&self, cx: &Context<'_>, request: Request<'_>, reply: Reply<'_>);
}

impl<F: Filesystem> Handler for F {
    fn init(&self, offer: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
        Filesystem::init(self, offer, wishes)
    }

    fn ready(&self, negotiated: &Negotiated, notifier: &Notifier) {
        Filesystem::ready(self, negotiated, notifier);
    }

    fn destroy(&self) {
        Filesystem::destroy(self);
    }

    fn manner(&self) -> Manner {
        Filesystem::manner(self)
    }

    #[inline]
    fn handle(&self, cx: &Context<'_>, request: Request<'_>, reply: Reply<'_>) {
        reply.fill(|room| dispatch(self, cx, request, cx.negotiated(), room));
    }
}

/// Where answers go that come later.
#[derive(Clone, Debug)]
pub(crate) struct Later {
    pub(crate) transport: Weak<dyn Transport>,
    pub(crate) slots: Arc<Slots>,
}

/// The right, and the duty, to answer a request. Dropped without an answer, it answers `EIO`, and says so in the log.
#[derive(Debug)]
pub struct Reply<'r> {
    unique: Unique,
    opcode: Opcode,
    negotiated: &'r Negotiated,
    room: &'r mut [u8],
    answer: &'r mut Option<Answer>,
    later: Option<&'r Later>,
    slot: &'r Slot,
}

impl<'r> Reply<'r> {
    pub(crate) fn new(
        (unique, opcode): (Unique, Opcode),
        negotiated: &'r Negotiated,
        room: &'r mut [u8],
        answer: &'r mut Option<Answer>,
        (later, slot): (Option<&'r Later>, &'r Slot),
    ) -> Self {
        Self { unique, opcode, negotiated, room, answer, later, slot }
    }

    /// Answers with a reply of fixed form. It must be of the kind that the operation has.
    pub fn send<'a>(self, reply: impl Into<AnyReply<'a>>) {
        let reply = reply.into();
        let negotiated = self.negotiated;
        self.fill(|room| encode(&reply, negotiated, room));
    }

    /// Answers with an error.
    pub fn error(self, errno: Errno) {
        self.fill(|_| Err(errno));
    }

    /// Answers with what `fill` leaves in the room for the body, which holds what earlier replies left.
    #[inline]
    pub fn fill(self, fill: impl FnOnce(&mut [u8]) -> Result<Answer, Errno>) {
        let answer = fill(self.room).unwrap_or_else(Answer::Error);
        *self.answer = Some(if self.opcode.wants_reply() { answer } else { Answer::Nothing });
    }

    /// Takes the duty along, to answer from wherever and whenever. `None` if the session has no transport; then `EIO` is
    /// answered.
    #[must_use]
    pub fn later(self) -> Option<Deferred> {
        let later = self.later?.clone();
        if self.slot.has_ring() {
            later.transport.upgrade()?.postpone(self.unique);
        }
        let slot = later.slots.add_deferred(self.unique);
        // Nothing goes out now.
        *self.answer = Some(Answer::Nothing);
        let (unique, opcode, negotiated) = (self.unique, self.opcode, *self.negotiated);
        Some(Deferred { unique, opcode, negotiated, later, slot, answered: false })
    }
}

/// Encodes a reply of fixed form.
fn encode(reply: &AnyReply<'_>, negotiated: &Negotiated, room: &mut [u8]) -> Result<Answer, Errno> {
    let mut out = ReplyWriter::new(room);
    reply.encode(negotiated, &mut out).map_err(|_| Errno::EIO)?;
    Ok(Answer::Body(out.length()))
}

/// The duty to answer a request that its handler has left. It can be sent to another thread. Dropped without an answer, it
/// answers `EIO`, and says so in the log.
#[derive(Debug)]
pub struct Deferred {
    unique: Unique,
    opcode: Opcode,
    negotiated: Negotiated,
    later: Later,
    slot: Arc<Slot>,
    answered: bool,
}

impl Deferred {
    /// What was negotiated for the connection.
    #[must_use]
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// What learns that the caller has given up; for a [`Context`] of its own.
    #[must_use]
    pub fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Answers with a reply of fixed form. It must be of the kind that the operation has.
    pub fn send<'a>(self, reply: impl Into<AnyReply<'a>>) {
        let reply = reply.into();
        let negotiated = self.negotiated;
        self.fill(MAX_FIXED_BODY, |room| encode(&reply, &negotiated, room));
    }

    /// Answers with an error.
    pub fn error(self, errno: Errno) {
        self.fill(0, |_| Err(errno));
    }

    /// Answers with what `fill` leaves in `room` bytes of room for the body.
    pub fn fill(mut self, room: usize, fill: impl FnOnce(&mut [u8]) -> Result<Answer, Errno>) {
        let mut message = vec![0; ReplyHeader::LENGTH + room];
        let body = message.get_mut(ReplyHeader::LENGTH..).unwrap_or(&mut []);
        let answer = fill(body).unwrap_or_else(Answer::Error);
        self.finish(answer, message);
    }

    /// Sends `message`, which has room for the header in front of the body; or nothing, if that is the answer.
    pub(crate) fn finish(&mut self, answer: Answer, mut message: Vec<u8>) {
        self.answered = true;
        self.slot.end();
        self.later.slots.remove(&self.slot);
        let (error, body) = match answer {
            Answer::Body(body) => (None, body),
            Answer::Error(errno) => (Some(errno), 0),
            Answer::Nothing => return,
        };
        if !self.opcode.wants_reply() {
            return;
        }
        message.truncate(ReplyHeader::LENGTH + body);
        if let Some(place) = message.first_chunk_mut() {
            *place = ReplyHeader::new(self.unique, error).encode(body);
        }
        // Without a transport the connection is over, and nobody waits.
        if let Some(transport) = self.later.transport.upgrade() {
            send(&*transport, &message);
        }
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        if !self.answered {
            tracing::error!(opcode = %self.opcode, unique = self.unique.0, "a request was dropped without an answer");
            self.finish(Answer::Error(Errno::EIO), vec![0; ReplyHeader::LENGTH]);
        }
    }
}
