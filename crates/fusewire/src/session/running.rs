//! A session that is served by threads of its own: to be waited for, and stopped.
//!
//! What the threads do is in the session itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::context::Slots;
use crate::handler::Handler;
use crate::notifier::Notifier;
use crate::session::{Session, SessionError};
use crate::transport::Transport;

impl<H: Handler + 'static> Session<H> {
    /// Opens and serves the connection in threads of its own.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn spawn(self) -> Result<Running, SessionError> {
        self.spawn_after(|| Start::Now)
    }

    /// As [`spawn`](Self::spawn), after waiting for a word to start.
    pub(crate) fn spawn_after(self, wait: impl FnOnce() -> Start + Send + 'static) -> Result<Running, SessionError> {
        let stop: Arc<AtomicBool> = Arc::default();
        let progress: Arc<Progress> = Arc::default();
        let transport = Arc::downgrade(&self.transport);
        let (stop_there, progress_there) = (Arc::clone(&stop), Arc::clone(&progress));
        let thread = std::thread::Builder::new()
            .name(String::from("fusewire-session"))
            .spawn(move || {
                // Whoever waits is told even if something panics.
                let _closing = Closing(&progress_there);
                if wait() == Start::Never {
                    return Err(SessionError::Closed);
                }
                let mut open = self.open()?;
                open.stop = stop_there;
                let (notifier, slots) = (open.notifier.clone(), open.connection.shared_slots());
                open.serve_and(|| progress_there.set(Phase::Open(notifier.clone(), Arc::clone(&slots))))
            })
            .map_err(SessionError::Thread)?;
        Ok(Running { thread: Some(thread), progress, stop, transport })
    }
}

/// Whether to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Receive.
    Now,
    /// There is nothing to receive from.
    Never,
}

/// How far a session has come.
#[derive(Debug, Default)]
struct Progress {
    phase: Mutex<Phase>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Opening,
    Open(Notifier, Arc<Slots>),
    Closed,
}

impl Progress {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase) {
        *self.phase() = phase;
        self.changed.notify_all();
    }

    /// Whether it is closed before so much time has passed.
    fn wait_closed_for(&self, time: Duration) -> bool {
        let open = |phase: &mut Phase| !matches!(phase, Phase::Closed);
        let waited = self.changed.wait_timeout_while(self.phase(), time, open);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn wait_closed(&self) {
        let mut phase = self.phase();
        while !matches!(&*phase, Phase::Closed) {
            phase = self.changed.wait(phase).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The notifier, once the connection is open; `None` if it is closed by then.
    fn wait_open(&self) -> Option<Notifier> {
        let mut phase = self.phase();
        loop {
            match &*phase {
                Phase::Opening => phase = self.changed.wait(phase).unwrap_or_else(PoisonError::into_inner),
                Phase::Open(notifier, _) => return Some(notifier.clone()),
                Phase::Closed => return None,
            }
        }
    }
}

/// Says, when it goes, that the session is over.
struct Closing<'a>(&'a Progress);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.set(Phase::Closed);
    }
}

/// A session that is served by threads of its own. Dropping it leaves them to serve until the connection ends.
#[derive(Debug)]
pub struct Running {
    thread: Option<JoinHandle<Result<(), SessionError>>>,
    progress: Arc<Progress>,
    stop: Arc<AtomicBool>,
    transport: Weak<dyn Transport>,
}

impl Running {
    /// Waits until the connection is open.
    ///
    /// # Errors
    /// Why it could not be opened. Nothing is served then.
    pub fn wait_open(&mut self) -> Result<Notifier, SessionError> {
        match self.progress.wait_open() {
            Some(notifier) => Ok(notifier),
            None => Err(self.wait().err().unwrap_or(SessionError::Closed)),
        }
    }

    /// Something to wait with for the end of the session, in any thread, that leaves this at hand.
    #[must_use]
    pub fn session_end(&self) -> SessionEnd {
        SessionEnd { progress: Arc::clone(&self.progress) }
    }

    /// Whether the session is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until the session is over. A second call has nothing to say.
    ///
    /// # Errors
    /// Why it came to a bad end.
    pub fn wait(&mut self) -> Result<(), SessionError> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(SessionError::Panicked),
            None => Ok(()),
        }
    }

    /// As [`wait`](Self::wait), but no longer than `time`: `None` if it is not over then.
    pub(crate) fn wait_for(&mut self, time: Duration) -> Option<Result<(), SessionError>> {
        self.progress.wait_closed_for(time).then(|| self.wait())
    }

    /// Tells all requests that are under way that their callers have given up.
    pub(crate) fn interrupt(&self) {
        let slots = if let Phase::Open(_, slots) = &*self.progress.phase() { Some(Arc::clone(slots)) } else { None };
        if let Some(slots) = slots {
            slots.interrupt_all();
        }
    }

    /// Asks the session to stop. Over a socket or io_uring it does so at once; a worker that waits in `/dev/fuse` stops after its next
    /// request.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(transport) = self.transport.upgrade() {
            transport.close();
        }
    }
}

/// Waits for the end of a session, and has no other part in it: holding one keeps nothing alive.
#[derive(Clone, Debug)]
pub struct SessionEnd {
    progress: Arc<Progress>,
}

impl SessionEnd {
    /// Returns when nothing is served any more. How it ended, [`Running::wait`] tells.
    pub fn wait(&self) {
        self.progress.wait_closed();
    }
}
