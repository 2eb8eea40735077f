//! A session: one connection, from `INIT` to its end, served by one handler.
//!
//! What is mounted where, and how the file descriptor came about, is not known here.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fusewire_proto::init::InitError;
use fusewire_proto::{Errno, Negotiated};

use crate::handler::Handler;
use crate::notifier::Notifier;
use crate::transport::{Transport, Workers, serve};

mod handshake;
mod running;
mod service;

pub(crate) use running::Start;
pub use running::{Running, SessionEnd};
pub use service::Connection;

/// How a session is run. The default suits most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionConfig {
    /// How many threads may serve it.
    pub workers: Workers,
}

impl SessionConfig {
    /// The same with these workers.
    #[must_use]
    pub fn workers(self, workers: Workers) -> Self {
        Self { workers, ..self }
    }
}

/// Why a session came to nothing, or to a bad end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Kernel and filesystem could not agree.
    #[error("negotiating with the kernel: {0}")]
    Init(#[from] InitError),
    /// The filesystem did not want to.
    #[error("starting the filesystem: {0}")]
    Refused(Errno),
    /// The first request made no sense.
    #[error("waiting for the first request: {0}")]
    Handshake(String),
    /// The connection was over before it was opened.
    #[error("waiting for the first request: the connection was closed")]
    Closed,
    /// Requests could not be received, or the first not answered.
    #[error("serving {transport}: {source}")]
    Transport {
        /// What the transport is called.
        transport: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("starting the thread of the session: {0}")]
    Thread(io::Error),
    /// The thread of the session panicked, which is a fault of this library.
    #[error("the session ended with a panic")]
    Panicked,
}

/// A connection that is not open yet, and what is to serve it.
pub struct Session<H> {
    transport: Arc<dyn Transport>,
    handler: H,
    config: SessionConfig,
}

impl<H: Handler> Session<H> {
    /// A session of `handler` over `transport`. Nothing is received yet.
    #[must_use]
    pub fn new(transport: impl Transport + 'static, handler: H, config: SessionConfig) -> Self {
        Self { transport: Arc::new(transport), handler, config }
    }

    /// Receives `INIT` and answers it; then the connection is open.
    ///
    /// # Errors
    /// The kernel is too old, something that is required cannot be had, or receiving fails. `INIT` is answered with an error
    /// then, so that whoever mounts does not wait.
    pub fn open(self) -> Result<Open<H>, SessionError> {
        let Self { transport, handler, config } = self;
        let failed = |source| SessionError::Transport { transport: transport.name(), source };
        let (negotiated, reply) = handshake::handshake(&*transport, &handler)?;
        let notifier = Notifier::new(Arc::downgrade(&transport), negotiated);
        // Before the answer: as soon as the kernel has it, requests may come.
        handler.ready(&negotiated, &notifier);
        transport.send(&reply).map_err(failed)?;
        tracing::debug!(?negotiated, "the connection is open");
        let connection = Connection::new(handler, negotiated).over(Arc::downgrade(&transport));
        Ok(Open { transport, connection, config, notifier, stop: Arc::default() })
    }
}

impl<H> fmt::Debug for Session<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("transport", &self.transport.name()).finish_non_exhaustive()
    }
}

/// A connection that is open, and what serves it.
pub struct Open<H> {
    transport: Arc<dyn Transport>,
    connection: Connection<H>,
    config: SessionConfig,
    notifier: Notifier,
    stop: Arc<AtomicBool>,
}

impl<H: Handler> Open<H> {
    /// What was agreed.
    #[must_use]
    pub fn negotiated(&self) -> &Negotiated {
        self.connection.negotiated()
    }

    /// Tells the kernel things.
    #[must_use]
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Serves requests until the connection ends, in this thread and as many others as it takes.
    ///
    /// # Errors
    /// Receiving failed. An end of the connection, orderly or not, is no error.
    pub fn serve(self) -> Result<(), SessionError> {
        let Self { transport, connection, config, notifier: _, stop } = self;
        let result = serve(&*transport, &connection, connection.slots(), &stop, config.workers);
        connection.close();
        result.map_err(|source| SessionError::Transport { transport: transport.name(), source })
    }
}

impl<H> fmt::Debug for Open<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("transport", &self.transport.name()).finish_non_exhaustive()
    }
}
