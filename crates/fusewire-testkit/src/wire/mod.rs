//! How requests reach a daemon and answers come back: the trait, and three ways to do it.
//!
//! A wire moves whole messages and knows nothing of what is in them; that is the business of the
//! [`Kernel`](crate::kernel::Kernel).

use std::io;
use std::time::Duration;

mod direct;
mod memory;
mod socket;

pub use direct::{Direct, Outbox};
pub use memory::{Memory, MemoryEnd, memory};
pub use socket::Socket;

/// A way between the kernel's side and a daemon: whole messages, in both directions, from any thread.
pub trait Wire: Send + Sync {
    /// Delivers a request.
    ///
    /// # Errors
    /// The daemon has closed its end (`EPIPE` or the like), or the message is longer than the wire can carry.
    fn send(&self, request: &[u8]) -> io::Result<()>;

    /// Takes the next message of the daemon into `buffer`, and waits for it no longer than `patience`; zero does not wait.
    ///
    /// # Errors
    /// What makes going on impossible. That the daemon has closed its end is not an error.
    fn receive(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Received>;

    /// Ends the connection, as unmounting does: the daemon finds the end behind what was sent. What it still has to say can
    /// be received.
    fn close(&self);

    /// Whether all that the daemon is going to answer is there as soon as [`send`](Self::send) has returned. Then nobody
    /// waits for an answer, and a request that blocks would block the sender.
    fn is_direct(&self) -> bool {
        false
    }
}

/// What [`Wire::receive`] brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message of this length. If that is longer than the buffer, the buffer holds its beginning.
    Message(usize),
    /// Nothing came in time.
    Quiet,
    /// The daemon has closed its end.
    End,
}

impl<W: Wire + ?Sized> Wire for Box<W> {
    fn send(&self, request: &[u8]) -> io::Result<()> {
        (**self).send(request)
    }

    fn receive(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Received> {
        (**self).receive(buffer, patience)
    }

    fn close(&self) {
        (**self).close();
    }

    fn is_direct(&self) -> bool {
        (**self).is_direct()
    }
}
