//! Sessions of `fusewire` in memory: how a filesystem that implements its traits is tested.
//!
//! Two ways: served by the session's own threads over queues, as it is over `/dev/fuse`; or directly, by a function call in
//! the thread that asks, which is fast, but serves nothing that blocks until another request comes.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use fusewire::session::Connection;
use fusewire::transport::{Received, ReplyBuffer, RequestBuffer, Service, Transport, respond};
use fusewire::{Context, Handler, Notifier, Reply, Session, SessionConfig, Slot, Wishes};
use fusewire_proto::{Errno, Negotiated, Request, op};

use crate::inside::Inside;
use crate::kernel::Config;
use crate::running::{Refused, Running};
use crate::vfs::Mount;
use crate::wire::{MemoryEnd, Outbox};

impl Transport for MemoryEnd {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn receive<'b>(&self, buffer: &'b mut RequestBuffer) -> io::Result<Received<'b>> {
        let room = buffer.room();
        Ok(match Self::receive(self, room)? {
            Some(length) => Received::Request(room.get(..length).unwrap_or(&[])),
            None => Received::End,
        })
    }

    fn has_pending(&self) -> bool {
        Self::has_pending(self)
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        Self::send(self, message)
    }

    fn close(&self) {
        Self::close(self);
    }
}

impl Mount {
    /// Mounts a filesystem of `fusewire`, served by a session in threads of its own, on the newest kernel.
    ///
    /// # Errors
    /// A thread cannot be made, or the filesystem refuses `INIT`.
    pub fn of(filesystem: impl Handler + 'static) -> Result<Self, Refused> {
        Self::of_with(filesystem, Config::default())
    }

    /// As [`of`](Self::of), on a kernel of your choice: an older one, or one that offers less.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_with(filesystem: impl Handler + 'static, config: Config) -> Result<Self, Refused> {
        Self::new(Running::session(filesystem, SessionConfig::default())?, config)
    }
}

impl Running {
    /// A session over queues in memory, in threads of its own.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub fn session(handler: impl Handler + 'static, config: SessionConfig) -> io::Result<Self> {
        let observed = Observed::new(handler);
        let inside = Arc::clone(&observed.inside);
        let running = Self::in_memory(move |end| {
            let inside = Arc::clone(&observed.inside);
            match Session::new(end, observed, config).open() {
                // How it ends shows at the other end.
                Ok(open) => drop(open.serve()),
                Err(error) => inside.note_refusal(error.to_string()),
            }
        })?;
        Ok(running.with_inside(inside))
    }

    /// A filesystem that is served in the thread that asks, by the part of a session that is between the transport and the
    /// filesystem. The fastest way, but not for requests that wait for other requests, nor for answers that come later.
    pub fn session_direct(handler: impl Handler + 'static) -> Self {
        let observed = Observed::new(handler);
        let inside = Arc::clone(&observed.inside);
        let daemon = DirectSession { observed, open: OnceLock::new(), workers: Mutex::default() };
        Self::direct(move |request, outbox| daemon.handle(request, outbox)).with_inside(inside)
    }
}

/// A handler at which is looked before it is told of its end.
struct Observed<H> {
    handler: Arc<H>,
    inside: Arc<Inside>,
}

impl<H> Observed<H> {
    fn new(handler: H) -> Self {
        Self { handler: Arc::new(handler), inside: Arc::default() }
    }
}

impl<H> Clone for Observed<H> {
    fn clone(&self) -> Self {
        Self { handler: Arc::clone(&self.handler), inside: Arc::clone(&self.inside) }
    }
}

impl<H: Handler> Handler for Observed<H> {
    fn init(&self, offer: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
        self.handler.init(offer, wishes)
    }

    fn ready(&self, negotiated: &Negotiated, notifier: &Notifier) {
        self.handler.ready(negotiated, notifier);
    }

    fn destroy(&self) {
        self.inside.note_end();
        self.handler.destroy();
    }

    fn handle(&self, cx: &Context<'_>, request: Request<'_>, reply: Reply<'_>) {
        self.handler.handle(cx, request, reply);
    }
}

/// A session without a transport.
struct DirectSession<H: Handler> {
    observed: Observed<H>,
    open: OnceLock<OpenSession<H>>,
    /// What those who are at work now do not use.
    workers: Mutex<Vec<Worker>>,
}

struct OpenSession<H: Handler> {
    connection: Connection<Observed<H>>,
    /// Keeps the notifier of the filesystem alive.
    _handshake: fusewire::session::Open<Observed<H>>,
}

struct Worker {
    slot: Slot,
    reply: ReplyBuffer,
}

impl<H: Handler + 'static> DirectSession<H> {
    fn handle(&self, request: &[u8], outbox: &Outbox) {
        let Some(open) = self.open.get() else {
            self.open(request, outbox);
            return;
        };
        let spare = self.workers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut worker =
            spare.unwrap_or_else(|| Worker { slot: Slot::default(), reply: ReplyBuffer::new(open.connection.room()) });
        if let Some(reply) = respond(&open.connection, &worker.slot, request, &mut worker.reply) {
            outbox.send(reply);
        }
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    }

    /// Negotiates, as a session does over its transport.
    fn open(&self, request: &[u8], outbox: &Outbox) {
        let transport = Handshake { request: Mutex::new(Some(request.to_vec())), outbox: outbox.clone() };
        let session = Session::new(transport, self.observed.clone(), SessionConfig::default());
        match session.open() {
            Ok(handshake) => {
                let negotiated: Negotiated = *handshake.negotiated();
                let connection = Connection::new(self.observed.clone(), negotiated);
                // Nobody else has set it: the kernel sends nothing beside INIT.
                let _ = self.open.set(OpenSession { connection, _handshake: handshake });
            }
            // That was answered, and the next request may be another INIT.
            Err(error) => self.observed.inside.note_refusal(error.to_string()),
        }
    }
}

impl<H: Handler> Drop for DirectSession<H> {
    fn drop(&mut self) {
        if let Some(open) = self.open.get() {
            open.connection.close();
        }
    }
}

/// Brings one request, and takes replies and notifications.
struct Handshake {
    request: Mutex<Option<Vec<u8>>>,
    outbox: Outbox,
}

impl Transport for Handshake {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn receive<'b>(&self, buffer: &'b mut RequestBuffer) -> io::Result<Received<'b>> {
        let Some(request) = self.request.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(Received::End);
        };
        let room = buffer.room().get_mut(..request.len());
        Ok(room.map_or(Received::End, |room| {
            room.copy_from_slice(&request);
            Received::Request(room)
        }))
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        self.outbox.send(message);
        Ok(())
    }
}
