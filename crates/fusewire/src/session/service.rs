//! An open connection: what happens to each request between its bytes and the filesystem.
//!
//! Where the bytes come from is the transport's business, which method serves a request that of dispatch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use fusewire_proto::{DecodeError, Errno, Incoming, Negotiated, NodeId, Opcode, Request, abi};

use crate::context::{Context, Outcome, Slot, Slots};
use crate::handler::{Handler, Later, Manner, Reply};
use crate::notifier::Serving;
use crate::transport::{Answer, Service, Transport};

/// Room that every reply has, whatever was negotiated: the longest attribute value, and a long directory listing.
const LEAST_ROOM: usize = 128 << 10;

/// A connection after `INIT`: what answers, and what was agreed.
#[derive(Debug)]
pub struct Connection<H> {
    handler: H,
    negotiated: Negotiated,
    slots: Arc<Slots>,
    later: Option<Later>,
    malformed: AtomicU64,
    destroyed: AtomicBool,
}

impl<H: Handler> Connection<H> {
    /// A connection on which `negotiated` was agreed already. Without a transport, nothing can be answered later.
    #[must_use]
    pub fn new(handler: H, negotiated: Negotiated) -> Self {
        let destroyed = AtomicBool::new(false);
        let slots = Arc::default();
        Self { handler, negotiated, slots, later: None, malformed: AtomicU64::new(0), destroyed }
    }

    /// The same; what is answered later goes over `transport`.
    pub(super) fn over(self, transport: Weak<dyn Transport>) -> Self {
        let later = Some(Later { transport, slots: Arc::clone(&self.slots) });
        Self { later, ..self }
    }

    /// What was agreed.
    #[must_use]
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// What answers.
    #[must_use]
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// How many requests came whose bytes made no sense.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// What the workers of this connection are at.
    #[must_use]
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    pub(super) fn shared_slots(&self) -> Arc<Slots> {
        Arc::clone(&self.slots)
    }

    /// The connection is over; the filesystem is told, once.
    pub fn close(&self) {
        let first = !self.destroyed.swap(true, Ordering::SeqCst);
        if first && catch_unwind(AssertUnwindSafe(|| self.handler.destroy())).is_err() {
            tracing::error!("the filesystem panicked in destroy");
        }
    }

    /// What the session answers itself, without the filesystem.
    fn answer_itself(&self, request: &Request<'_>) -> Option<Answer> {
        match request {
            Request::Interrupt(op) => Some(match self.slots.interrupt(op.target) {
                Outcome::Delivered => Answer::Nothing,
                // Not here yet, or answered already: in the first case the kernel sends it again, in the second it forgets
                // about it (fs/fuse/dev.c fuse_dev_do_write()).
                Outcome::NotFound => Answer::Error(Errno::EAGAIN),
            }),
            Request::Destroy(_) => {
                self.close();
                Some(Answer::Body(0))
            }
            Request::Init(_) | Request::CuseInit(_) => Some(Answer::Error(Errno::EIO)),
            _ => None,
        }
    }
}

impl<H: Handler> Service for Connection<H> {
    fn serve(&self, slot: &Slot, incoming: &Incoming<'_>, room: &mut [u8]) -> Answer {
        let (request, extensions) = match Request::decode(&self.negotiated, incoming) {
            Ok(decoded) => decoded,
            Err(error) => return self.refuse(incoming.opcode, error),
        };
        let header = &incoming.header;
        tracing::debug!(unique = header.unique.0, pid = header.pid.0, uid = header.uid.map(|uid| uid.0), ?request);
        if let Some(answer) = self.answer_itself(&request) {
            return answer;
        }
        // What is lent to a request in a ring is copied: the reply is in the entry.
        let transport = self.later.as_ref().filter(|_| !slot.has_ring()).map(|later| &later.transport);
        let cx = Context::new(*header, extensions, &self.negotiated, slot).over(transport);
        let _serving = Serving::nodes(request.node(), second_node(&request));
        let mut answer = None;
        let token = (header.unique, incoming.opcode);
        let reply = Reply::new(token, &self.negotiated, room, &mut answer, (self.later.as_ref(), slot));
        let handled = catch_unwind(AssertUnwindSafe(|| self.handler.handle(&cx, request, reply)));
        let answer = answer.unwrap_or_else(|| {
            let why =
                if handled.is_err() { "the filesystem panicked" } else { "a request was dropped without an answer" };
            tracing::error!(opcode = %incoming.opcode, unique = header.unique.0, "{why}");
            error_for(incoming.opcode)
        });
        tracing::debug!(unique = header.unique.0, ?answer);
        answer
    }

    /// Never `ENOSYS` for an opcode that is known: the kernel may remember that for the whole connection.
    fn refuse(&self, opcode: Opcode, error: DecodeError) -> Answer {
        if let DecodeError::UnknownOpcode(_) = error {
            tracing::debug!(opcode = opcode.0, "an unknown operation");
            return Answer::Error(Errno::ENOSYS);
        }
        self.malformed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%opcode, %error, "a malformed request");
        error_for(opcode)
    }

    fn room(&self) -> usize {
        usize::try_from(self.negotiated.max_data()).unwrap_or(LEAST_ROOM).max(LEAST_ROOM)
    }

    fn manner(&self) -> Manner {
        self.handler.manner()
    }

    fn longest_request(&self) -> usize {
        // Beside the data of a WRITE or SETXATTR: headers, names, extensions (fs/fuse/dev.c fuse_dev_do_read()).
        self.room() + abi::FUSE_MIN_READ_BUFFER
    }
}

/// `EIO`, if the operation gets a reply at all.
fn error_for(opcode: Opcode) -> Answer {
    if opcode.wants_reply() { Answer::Error(Errno::EIO) } else { Answer::Nothing }
}

/// The other node that an operation is about; 0 if there is none.
fn second_node(request: &Request<'_>) -> NodeId {
    match request {
        Request::Rename(op) => op.new_parent,
        Request::Rename2(op) => op.new_parent,
        Request::Link(op) => op.old,
        Request::CopyFileRange(op) => op.out_node,
        Request::CopyFileRange64(op) => op.out_node,
        _ => NodeId(0),
    }
}
