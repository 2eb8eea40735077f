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
///
/// A wire around another one sees what passes. This one counts requests:
///
/// ```
/// use std::io;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use std::time::Duration;
/// use fusewire_testkit::wire::{Received, Wire};
/// use fusewire_testkit::{Running, kernel::Config};
/// # use fusewire::{Attr, Context, Errno, FileType, Filesystem, op, reply};
/// # struct Empty;
/// # impl Filesystem for Empty {
/// #     fn getattr(&self, _: &Context<'_>, _: op::Getattr) -> Result<reply::Attributes, Errno> {
/// #         Ok(reply::Attributes::new(Attr::new(1, FileType::DIRECTORY, 0o755), Duration::MAX))
/// #     }
/// # }
///
/// struct Counting {
///     inner: Box<dyn Wire>,
///     requests: Arc<AtomicU64>,
/// }
///
/// impl Wire for Counting {
///     fn send(&self, request: &[u8]) -> io::Result<()> {
///         self.requests.fetch_add(1, Relaxed);
///         self.inner.send(request)
///     }
///
///     fn receive(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Received> {
///         self.inner.receive(buffer, patience)
///     }
///
///     fn close(&self) {
///         self.inner.close();
///     }
///
///     fn is_direct(&self) -> bool {
///         self.inner.is_direct()
///     }
/// }
///
/// let requests = Arc::new(AtomicU64::new(0));
/// let counted = Arc::clone(&requests);
/// let running = Running::session_direct(Empty).through(|inner| Box::new(Counting { inner, requests: counted }));
/// running.connect(Config::default())?.unmount();
/// assert!(requests.load(Relaxed) >= 1); // INIT
/// # Ok::<(), Errno>(())
/// ```
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
