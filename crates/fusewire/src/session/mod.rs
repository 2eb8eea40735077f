//! A session: one connection, from `INIT` to its end, served by one handler.
//!
//! What is mounted where, and how the file descriptor came about, is not known here.

use std::fmt;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};
use std::thread::ScopedJoinHandle;

use fusewire_proto::init::InitError;
use fusewire_proto::{Errno, InitFlags, Negotiated};

use crate::handler::Handler;
use crate::notifier::Notifier;
use crate::transport::{Device, Ring, Transport, Workers, serve};

mod channel;
mod handshake;
mod running;
mod service;

pub use channel::Channel;
pub(crate) use channel::{Chosen, Origin, choose};
pub(crate) use running::Start;
pub use running::{Running, SessionEnd};
pub use service::Connection;

/// How a session is run. The default suits most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionConfig {
    /// How many threads may serve it.
    pub workers: Workers,
    /// How requests come in.
    pub channel: Channel,
}

impl SessionConfig {
    /// The same with these workers.
    #[must_use]
    pub fn workers(self, workers: Workers) -> Self {
        Self { workers, ..self }
    }

    /// The same with requests coming in this way.
    #[must_use]
    pub fn channel(self, channel: Channel) -> Self {
        Self { channel, ..self }
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
    /// io_uring was asked for, and cannot be had.
    #[error("using io_uring: {0}")]
    NoRing(String),
    /// Handlers did not return when the session was to end. They are left to themselves, and nobody waits for their answers.
    #[error("waiting for the end: the filesystem is still at a request")]
    Stuck,
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
    /// What was chosen, if there was a choice.
    chosen: Option<Chosen>,
}

impl<H: Handler> Session<H> {
    /// A session of `handler` over `transport`. Nothing is received yet.
    #[must_use]
    pub fn new(transport: impl Transport + 'static, handler: H, config: SessionConfig) -> Self {
        Self { transport: Arc::new(transport), handler, config, chosen: None }
    }

    /// A session over a device, by the channel that `config` says.
    ///
    /// # Errors
    /// [`Channel::Ring`] cannot be had.
    pub fn over_device(device: Device, handler: H, config: SessionConfig) -> Result<Self, SessionError> {
        let chosen = choose(config, handler.manner())?;
        Self::over_chosen(device, handler, config, chosen)
    }

    /// As [`over_device`](Self::over_device), when it was chosen before.
    pub(crate) fn over_chosen(
        device: Device,
        handler: H,
        config: SessionConfig,
        chosen: Chosen,
    ) -> Result<Self, SessionError> {
        let session = match &chosen {
            Chosen::Device(_) => Self::new(device, handler, config),
            Chosen::Ring => {
                let ring =
                    Ring::new(device, config.workers).map_err(|error| SessionError::NoRing(error.to_string()))?;
                Self::new(ring, handler, config)
            }
        };
        Ok(Self { chosen: Some(chosen), ..session })
    }

    /// Receives `INIT` and answers it; then the connection is open.
    ///
    /// # Errors
    /// The kernel is too old, something that is required cannot be had, or receiving fails. `INIT` is answered with an error
    /// then, so that whoever mounts does not wait.
    pub fn open(self) -> Result<Open<H>, SessionError> {
        let Self { transport, handler, config, chosen } = self;
        let failed = |source| SessionError::Transport { transport: transport.name(), source };
        let (negotiated, reply) = handshake::handshake(&*transport, &handler, config.channel)?;
        transport.prepare(&negotiated).map_err(failed)?;
        let notifier = Notifier::new(Arc::downgrade(&transport), negotiated);
        // Before the answer: as soon as the kernel has it, requests may come.
        handler.ready(&negotiated, &notifier);
        transport.send(&reply).map_err(failed)?;
        tracing::debug!(?negotiated, "the connection is open");
        match chosen {
            None => {}
            Some(Chosen::Ring) if !negotiated.has(InitFlags::OVER_IO_URING) => {
                tracing::info!("requests come through /dev/fuse: kernel and filesystem did not agree on io_uring");
            }
            Some(chosen) => tracing::info!("requests come through {chosen}"),
        }
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
        self.serve_and(|| {})
    }

    /// As [`serve`](Self::serve). `tell` is called when requests find all that serves them.
    pub(crate) fn serve_and(self, tell: impl Fn() + Sync) -> Result<(), SessionError> {
        let Self { transport, connection, config, notifier: _, stop } = self;
        let slots = connection.slots();
        let result = std::thread::scope(|scope| {
            let (mut workers, mut beside) = (config.workers, None);
            if connection.negotiated().has(InitFlags::OVER_IO_URING) {
                workers = workers.beside_rings();
                beside = Some(scope.spawn(|| {
                    let told = Once::new();
                    let tell_once = || told.call_once(&tell);
                    transport.serve_beside(&connection, slots, connection.negotiated(), &tell_once);
                    tell_once();
                }));
            } else {
                tell();
            }
            let result = serve(&*transport, &connection, slots, &stop, workers);
            transport.close();
            // Until its thread is gone, not just done: the kernel may write to what it lent in its name.
            if let Some(Err(panic)) = beside.map(ScopedJoinHandle::join) {
                std::panic::resume_unwind(panic);
            }
            result
        });
        connection.close();
        result.map_err(|source| SessionError::Transport { transport: transport.name(), source })
    }
}

impl<H> fmt::Debug for Open<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("transport", &self.transport.name()).finish_non_exhaustive()
    }
}
