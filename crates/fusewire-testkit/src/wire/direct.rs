//! No queue and no thread: a request is served by a function call, in the thread that sends it.
//!
//! The fastest wire, and one on which the order of all that happens is the order of the sender. Nothing that blocks until
//! another request comes can be served this way.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::wire::{Received, Wire};

/// Serves each request by calling `H`.
#[derive(Debug)]
pub struct Direct<H> {
    /// `None` after the end.
    handler: RwLock<Option<H>>,
    replies: Outbox,
}

#[derive(Debug, Default)]
struct Replies {
    messages: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

/// Where a handler puts what it answers. Clones are the same one, for what is told unasked or later.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    replies: Arc<Mutex<Replies>>,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Replies> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a reply or a notification.
    pub fn send(&self, message: &[u8]) {
        let mut replies = self.lock();
        let mut buffer = replies.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(message);
        replies.messages.push_back(buffer);
    }
}

impl<H: Fn(&[u8], &Outbox) + Send + Sync> Direct<H> {
    /// A wire to `handler`, which is called for each request, and dropped at the end of the connection.
    pub fn new(handler: H) -> Self {
        Self { handler: RwLock::new(Some(handler)), replies: Outbox::default() }
    }
}

impl<H: Fn(&[u8], &Outbox) + Send + Sync> Wire for Direct<H> {
    fn send(&self, request: &[u8]) -> io::Result<()> {
        let handler = self.handler.read().unwrap_or_else(PoisonError::into_inner);
        let handler = handler.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::EPIPE))?;
        handler(request, &self.replies);
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8], _: Duration) -> io::Result<Received> {
        let mut replies = self.replies.lock();
        let Some(message) = replies.messages.pop_front() else {
            drop(replies);
            let over = self.handler.read().unwrap_or_else(PoisonError::into_inner).is_none();
            return Ok(if over { Received::End } else { Received::Quiet });
        };
        let length = message.len();
        let fits = length.min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..fits), message.get(..fits)) {
            to.copy_from_slice(from);
        }
        replies.spare.push(message);
        Ok(Received::Message(length))
    }

    fn close(&self) {
        self.handler.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn is_direct(&self) -> bool {
        true
    }
}
