//! Sessions of `fusewire` in memory: how a filesystem that implements its traits is tested.
//!
//! Two ways: served by the session's own threads over queues, as it is over `/dev/fuse`; or directly, by a function call in
//! the thread that asks, which is fast, but serves nothing that blocks until another request comes.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use fusewire::session::Connection;
use fusewire::transport::{Received, ReplyBuffer, RequestBuffer, Service, Transport, respond};
use fusewire::{Filesystem, Handler, Session, SessionConfig, Slot};
use fusewire_proto::{Errno, Negotiated};

use crate::kernel::Config;
use crate::running::Running;
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
    /// Mounts a filesystem of `fusewire`, served by a session in threads of its own.
    ///
    /// # Errors
    /// `EAGAIN` or the like if a thread cannot be made; what the filesystem refuses `INIT` with.
    pub fn of(filesystem: impl Handler + 'static) -> Result<Self, Errno> {
        let running = Running::session(filesystem, SessionConfig::default()).map_err(Errno::from)?;
        Self::new(running, Config::default())
    }
}

impl Running {
    /// A session over queues in memory, in threads of its own.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub fn session(handler: impl Handler + 'static, config: SessionConfig) -> io::Result<Self> {
        Self::in_memory(move |end| {
            // That it ends is what matters here; why it did not begin, INIT was answered with.
            let _ = Session::new(end, handler, config).open().and_then(|open| open.serve());
        })
    }

    /// A filesystem that is served in the thread that asks, by the part of a session that is between the transport and the
    /// filesystem.
    pub fn session_direct(filesystem: impl Filesystem + 'static) -> Self {
        let daemon =
            DirectSession { filesystem: Arc::new(filesystem), open: OnceLock::new(), workers: Mutex::default() };
        Self::direct(move |request, outbox| daemon.handle(request, outbox))
    }
}

/// A session without a transport.
struct DirectSession<F: Filesystem> {
    filesystem: Arc<F>,
    open: OnceLock<OpenSession<F>>,
    /// What those who are at work now do not use.
    workers: Mutex<Vec<Worker>>,
}

struct OpenSession<F: Filesystem> {
    connection: Connection<Arc<F>>,
    /// Keeps the notifier of the filesystem alive.
    _handshake: fusewire::session::Open<Arc<F>>,
}

struct Worker {
    slot: Slot,
    reply: ReplyBuffer,
}

impl<F: Filesystem + 'static> DirectSession<F> {
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
        let session = Session::new(transport, Arc::clone(&self.filesystem), SessionConfig::default());
        // If it is refused, that was answered, and the next request may be another INIT.
        if let Ok(handshake) = session.open() {
            let negotiated: Negotiated = *handshake.negotiated();
            let connection = Connection::new(Arc::clone(&self.filesystem), negotiated);
            // Nobody else has set it: the kernel sends nothing beside INIT.
            let _ = self.open.set(OpenSession { connection, _handshake: handshake });
        }
    }
}

impl<F: Filesystem> Drop for DirectSession<F> {
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
