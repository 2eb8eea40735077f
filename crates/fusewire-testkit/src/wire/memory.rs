//! Two queues in memory: no file descriptor, no system call unless somebody has to wait.
//!
//! A daemon takes part through [`MemoryEnd`]; a session needs a transport of a few lines around it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::wire::{Received, Wire};

/// A pair: the kernel's end, and the daemon's.
#[must_use]
pub fn memory() -> (Memory, MemoryEnd) {
    let requests = Arc::new(Queue::default());
    let replies = Arc::new(Queue::default());
    let kernel = Memory { requests: Arc::clone(&requests), replies: Arc::clone(&replies) };
    (kernel, MemoryEnd { requests, replies })
}

/// The kernel's end of two queues in memory.
#[derive(Debug)]
pub struct Memory {
    requests: Arc<Queue>,
    replies: Arc<Queue>,
}

/// The daemon's end of two queues in memory. Dropping it closes the connection.
#[derive(Debug)]
pub struct MemoryEnd {
    requests: Arc<Queue>,
    replies: Arc<Queue>,
}

/// Messages of one direction. Their buffers are used again.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    /// Rings when a message or the end has come.
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    waiting: usize,
    /// Nothing more comes.
    ended: bool,
    /// Nobody takes anything any more.
    deserted: bool,
}

/// How many buffers are kept for later messages.
const SPARE: usize = 64;

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, message: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        if state.ended || state.deserted {
            return Err(io::Error::from_raw_os_error(libc::EPIPE));
        }
        let mut buffer = state.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(message);
        state.messages.push_back(buffer);
        if state.waiting > 0 {
            self.bell.notify_one();
        }
        Ok(())
    }

    /// `None` waits for as long as it takes.
    fn take(&self, into: &mut [u8], patience: Option<Duration>) -> Received {
        let deadline = patience.filter(|patience| !patience.is_zero()).map(|patience| Instant::now() + patience);
        let mut state = self.lock();
        loop {
            if let Some(message) = state.messages.pop_front() {
                let length = message.len();
                let fits = length.min(into.len());
                if let (Some(to), Some(from)) = (into.get_mut(..fits), message.get(..fits)) {
                    to.copy_from_slice(from);
                }
                if state.spare.len() < SPARE {
                    state.spare.push(message);
                }
                return Received::Message(length);
            }
            if state.ended {
                return Received::End;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state.waiting += 1;
            state = match (patience, left) {
                (None, _) => self.bell.wait(state).unwrap_or_else(PoisonError::into_inner),
                (Some(_), Some(left)) if !left.is_zero() => {
                    self.bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                (Some(_), _) => {
                    state.waiting -= 1;
                    return Received::Quiet;
                }
            };
            state.waiting -= 1;
        }
    }

    /// The sender is done.
    fn end(&self) {
        self.lock().ended = true;
        self.bell.notify_all();
    }

    /// The receiver is gone.
    fn desert(&self) {
        self.lock().deserted = true;
    }
}

impl Wire for Memory {
    fn send(&self, request: &[u8]) -> io::Result<()> {
        self.requests.put(request)
    }

    fn receive(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Received> {
        Ok(self.replies.take(buffer, Some(patience)))
    }

    fn close(&self) {
        self.requests.end();
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.requests.end();
        self.replies.desert();
    }
}

impl MemoryEnd {
    /// Waits for a request and puts it into `buffer`; returns its length. `None` is the end of the connection.
    ///
    /// # Errors
    /// `EMSGSIZE` if the buffer is too short; the request is lost then.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.requests.take(buffer, None) {
            Received::Message(length) if length > buffer.len() => Err(io::Error::from_raw_os_error(libc::EMSGSIZE)),
            Received::Message(length) => Ok(Some(length)),
            Received::Quiet | Received::End => Ok(None),
        }
    }

    /// Whether a request waits to be received.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.requests.lock().messages.is_empty()
    }

    /// Sends a reply or a notification.
    ///
    /// # Errors
    /// `EPIPE` if the connection is over.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        self.replies.put(message)
    }

    /// Ends the connection from this side; waiting receivers return.
    pub fn close(&self) {
        self.requests.end();
        self.replies.end();
    }
}

impl Drop for MemoryEnd {
    fn drop(&mut self) {
        self.replies.end();
        self.requests.desert();
    }
}
