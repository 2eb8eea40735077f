//! FUSE over io_uring: requests that come to a ring of the caller's own CPU, and are answered where they lie.
//!
//! `/dev/fuse` stays in use beside it: for `INIT`, `FORGET`, `INTERRUPT`, notifications, and everything until the rings are
//! up. What a worker does with its ring is in `worker`, when a queue gets another one in `reserve`, the memory of an entry
//! in `entry`, and the ring itself in `submit`. Answers that come later find their entries through `postponed`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fusewire_proto::{BackingId, InitFlags, Negotiated, ReplyHeader, Unique};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::context::Slots;
use crate::transport::device::Got;
use crate::transport::{Device, Received, RequestBuffer, Service, Transport, Workers};

mod away;
mod cpus;
mod entry;
mod policy;
mod postponed;
mod queue;
mod reserve;
mod submit;
mod watch;
mod worker;

use postponed::{Mailbox, Postponed};
use queue::Queue;
use reserve::Reserve;
use submit::Kept;
use watch::Watch;
use worker::Shared;

/// A connection through rings, with a device beside them.
#[derive(Debug)]
pub struct Ring {
    device: Device,
    /// All that are possible.
    cpus: Vec<u16>,
    /// How many workers there may be.
    most: usize,
    /// The kernel has agreed: requests come through rings as soon as there are some.
    agreed: AtomicBool,
    closing: AtomicBool,
    /// Readable once readers of the device are to stop.
    closed: EventFd,
    mailboxes: Mailboxes,
    postponed: Postponed,
    kept: Kept,
}

/// Why requests cannot come through rings: what an administrator, or whoever mounts, can do something about.
///
/// # Errors
/// One line.
pub(crate) fn check(workers: Workers) -> io::Result<()> {
    enabled()?;
    submit::probe().map_err(|error| {
        let why = match error.raw_os_error() {
            Some(libc::EPERM) => "; kernel.io_uring_disabled or a system call filter forbids it",
            _ => "",
        };
        io::Error::new(error.kind(), format!("making an io_uring: {error}{why}"))
    })?;
    room(&cpus::possible()?, workers).map(drop)
}

/// Whether the module lets FUSE use rings. The kernel would not offer it in `INIT` otherwise.
fn enabled() -> io::Result<()> {
    let path = "/sys/module/fuse/parameters/enable_uring";
    let value = std::fs::read_to_string(path)
        .map_err(|error| io::Error::new(error.kind(), format!("reading {path}: {error}; it takes Linux 6.14")))?;
    if matches!(value.trim(), "Y" | "1") {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("{path} is {}; root may write Y to it", value.trim())))
}

/// How many of `workers` may have rings.
fn room(cpus: &[u16], workers: Workers) -> io::Result<usize> {
    let most = workers.with_rings();
    let least = cpus.len();
    if most < least {
        let problem = format!("serving {least} possible CPUs takes {least} threads with rings; {most} are allowed");
        return Err(io::Error::other(problem));
    }
    Ok(most)
}

impl Ring {
    /// Rings for the connection of `device`, if this kernel has what they need, served by no more than so many workers.
    ///
    /// # Errors
    /// Why not.
    pub fn new(device: Device, workers: Workers) -> io::Result<Self> {
        check(workers)?;
        let cpus = cpus::possible()?;
        let most = room(&cpus, workers)?;
        let closed = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self {
            device,
            cpus,
            most,
            agreed: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            closed,
            mailboxes: Mailboxes::default(),
            postponed: Postponed::default(),
            kept: Kept::default(),
        })
    }

    /// Waits, without a limit, until there is something to receive or the end has come.
    fn wait(&self) -> io::Result<()> {
        let wanted = PollFlags::POLLIN;
        let mut polled = [PollFd::new(self.device.as_fd(), wanted), PollFd::new(self.closed.as_fd(), wanted)];
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl Transport for Ring {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn offers(&self) -> InitFlags {
        InitFlags::OVER_IO_URING
    }

    fn prepare(&self, negotiated: &Negotiated) -> io::Result<()> {
        if negotiated.has(InitFlags::OVER_IO_URING) {
            // A reader that waited in the kernel could not be told of the end: no request would come there to wake it.
            self.device.never_wait()?;
            self.agreed.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    fn receive<'b>(&self, buffer: &'b mut RequestBuffer) -> io::Result<Received<'b>> {
        if !self.agreed.load(Ordering::Relaxed) {
            return self.device.receive(buffer);
        }
        let room = buffer.room();
        loop {
            if self.closing.load(Ordering::SeqCst) {
                return Ok(Received::End);
            }
            match self.device.take(room)? {
                Got::Request(length) => return Ok(Received::Request(room.get(..length).unwrap_or(&[]))),
                Got::Nothing => self.wait()?,
                Got::End => return Ok(Received::End),
            }
        }
    }

    fn has_pending(&self) -> bool {
        self.device.has_pending()
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        if let Ok((ReplyHeader { unique, .. }, _)) = ReplyHeader::decode(message)
            && self.postponed.answer(unique, message)
        {
            return Ok(());
        }
        self.device.send(message)
    }

    fn send_parts(&self, header: &[u8], body: &[u8]) -> io::Result<()> {
        self.device.send_parts(header, body)
    }

    fn postpone(&self, unique: Unique) {
        self.postponed.announce(unique);
    }

    fn open_backing(&self, file: BorrowedFd<'_>) -> io::Result<BackingId> {
        self.device.open_backing(file)
    }

    fn close_backing(&self, id: BackingId) -> io::Result<()> {
        self.device.close_backing(id)
    }

    fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.mailboxes.close();
        // It only has to become readable, and is never read.
        let _ = self.closed.write(1);
        self.device.close();
    }

    fn serve_beside(&self, service: &dyn Service, slots: &Slots, negotiated: &Negotiated, tell: &dyn Fn()) {
        if !self.agreed.load(Ordering::SeqCst) {
            return;
        }
        let mailbox = match Mailbox::new() {
            Ok(mailbox) => Arc::new(mailbox),
            Err(error) => {
                tracing::warn!(%error, "making an event for rings; requests come through /dev/fuse");
                return;
            }
        };
        let watch = Watch::new(Arc::clone(&mailbox));
        let shared = Shared {
            device: self.device.as_fd(),
            service,
            slots,
            postponed: &self.postponed,
            kept: &self.kept,
            watch: &watch,
            closing: &self.closing,
            payload: service.room().max(usize::try_from(negotiated.max_data()).unwrap_or(0)),
        };
        let queues: Vec<Queue> = self.cpus.iter().copied().map(Queue::new).collect();
        let served = std::thread::scope(|scope| {
            if !self.mailboxes.add(&mailbox) {
                return Ok(());
            }
            let staff = Staff { spare: self.most.saturating_sub(queues.len()), warned: false };
            let (queues, mailboxes) = (&queues[..], &self.mailboxes);
            Reserve::new(scope, shared, queues, mailboxes, staff, mailbox).run(tell)
        });
        if let Err(error) = served {
            tracing::warn!(%error, "serving rings; requests come through /dev/fuse");
        }
    }
}

/// How many workers there may still be.
#[derive(Debug)]
struct Staff {
    /// Besides the first of each queue.
    spare: usize,
    warned: bool,
}

impl Staff {
    /// Whether a queue that has workers, or none, may have another.
    fn may_grow(&mut self, has_workers: bool) -> bool {
        if has_workers && self.spare == 0 && !std::mem::replace(&mut self.warned, true) {
            tracing::warn!("as many threads as there may be are at requests; others wait for them");
        }
        !has_workers || self.spare > 0
    }

    /// There is one more worker.
    fn grow(&mut self, has_workers: bool) {
        if has_workers {
            self.spare = self.spare.saturating_sub(1);
        }
    }
}

/// Where all who have rings are told of the end.
#[derive(Debug, Default)]
struct Mailboxes {
    state: Mutex<(End, Vec<Arc<Mailbox>>)>,
}

/// Whether the end has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    Closed,
}

impl Mailboxes {
    fn state(&self) -> MutexGuard<'_, (End, Vec<Arc<Mailbox>>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, unless the end has come.
    fn add(&self, mailbox: &Arc<Mailbox>) -> bool {
        let (end, all) = &mut *self.state();
        let open = *end == End::Open;
        if open {
            all.push(Arc::clone(mailbox));
        }
        open
    }

    /// Tells all of them that the end has come.
    fn close(&self) {
        let (end, all) = &mut *self.state();
        *end = End::Closed;
        all.iter().for_each(|mailbox| mailbox.ring());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_may_have_a_worker_and_some_may_have_more() {
        let mut staff = Staff { spare: 1, warned: false };
        assert!(staff.may_grow(false) && staff.may_grow(true));
        staff.grow(false);
        assert!(staff.may_grow(true));
        staff.grow(true);
        assert!(staff.may_grow(false) && !staff.may_grow(true));
    }

    #[test]
    fn rings_need_a_thread_for_each_possible_cpu() {
        let message = |workers| room(&[0, 1, 2], workers).map_err(|error| error.to_string());
        assert_eq!(message(Workers::at_most(4)), Ok(3));
        assert!(message(Workers::at_most(3)).unwrap_err().contains("3 possible CPUs"));
        assert!(message(Workers::single()).is_err());
    }
}
