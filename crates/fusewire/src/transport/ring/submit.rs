//! A ring of io_uring, and the entries that the kernel has through it.
//!
//! An entry goes in by value and comes back by value: while the kernel may write to its memory, nobody can reach it. What
//! is done with a request is not known here.
#![expect(unsafe_code, reason = "submissions name memory that must stay as it is until they complete")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use fusewire_proto::uring::{Command, CommandArgs};
use io_uring::squeue::Entry128;
use io_uring::{IoUring, cqueue, opcode, types};

use super::entry::Entry;

type Kernel = IoUring<Entry128, cqueue::Entry>;

/// Marks the completion that comes when the bell rings; entries are marked with their place.
const BELL: u64 = u64::MAX;

/// A ring that only the thread which made it submits to, and whose work is done when that thread asks for it.
///
/// The kernel writes into an entry only in the context of that thread, while it is inside of `io_uring_enter`
/// (`fs/fuse/dev_uring.c fuse_uring_send_in_task()`, which copies nothing when it runs elsewhere). So once the ring is
/// closed, and no thread can enter it any more, the memory is ours again, whatever is still to be cancelled.
pub(super) struct Submitter<'d> {
    /// Before `entries`: closed before their memory goes.
    kernel: Kernel,
    device: BorrowedFd<'d>,
    bell: BorrowedFd<'d>,
    /// The entries that the kernel has, at the places that their submissions are marked with.
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
}

/// What came back.
#[derive(Debug)]
pub(super) enum Event {
    /// An entry that holds a request.
    Request(Entry),
    /// An entry that the kernel did not take as yet: `INIT` is not answered.
    TooEarly(Entry),
    /// An entry was taken back: the connection is over, or the request that was answered is gone.
    Over,
    /// An entry that the kernel refused. It has turned to `/dev/fuse` then.
    Refused(io::Error),
    /// The bell rings.
    Bell,
}

/// A ring with room for so many submissions at a time.
fn kernel(submissions: u32, completions: u32) -> io::Result<Kernel> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_cqsize(completions);
    builder.build(submissions)
}

/// Whether this kernel makes such rings, for this process.
pub(super) fn probe() -> io::Result<()> {
    kernel(1, 2).map(drop)
}

impl<'d> Submitter<'d> {
    /// A ring for `entries` entries or more.
    ///
    /// # Errors
    /// Those of io_uring_setup(2).
    pub(super) fn new(device: BorrowedFd<'d>, bell: BorrowedFd<'d>, entries: usize) -> io::Result<Self> {
        // Submissions are taken at once when they are too many; completions that are too many are kept by the kernel.
        let submissions = u32::try_from(entries.saturating_add(1).clamp(2, 64)).unwrap_or(64).next_power_of_two();
        let kernel = kernel(submissions, 2 * submissions)?;
        let (entries, free) = (Vec::with_capacity(entries), Vec::with_capacity(entries));
        Ok(Self { kernel, device, bell, entries, free })
    }

    /// Offers an entry for requests.
    pub(super) fn register(&mut self, entry: Entry) -> io::Result<()> {
        self.submit(entry, Command::REGISTER, 0)
    }

    /// Sends the reply that the entry holds, and offers it again. Both happen when the ring is entered next.
    pub(super) fn commit(&mut self, entry: Entry, commit_id: u64) -> io::Result<()> {
        self.submit(entry, Command::COMMIT_AND_FETCH, commit_id)
    }

    fn submit(&mut self, entry: Entry, command: Command, commit_id: u64) -> io::Result<()> {
        let (areas, queue) = (entry.areas(), entry.queue());
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.entries.push(None);
                self.entries.len() - 1
            }
        };
        if let Some(slot) = self.entries.get_mut(place) {
            *slot = Some(entry);
        }
        let mut bytes = [0; 80];
        if let Some(start) = bytes.first_chunk_mut() {
            *start = CommandArgs { flags: 0, commit_id, queue }.encode();
        }
        let mut submission = opcode::UringCmd80::new(types::Fd(self.device.as_raw_fd()), command.0)
            .cmd(bytes)
            .addr(Some(areas))
            .build()
            .user_data(place as u64);
        set_length(&mut submission, 2);
        self.push(&submission)
    }

    /// Has the ring say, once, when the bell rings.
    pub(super) fn listen(&mut self) -> io::Result<()> {
        let events = u32::try_from(libc::POLLIN).map_err(io::Error::other)?;
        let poll = opcode::PollAdd::new(types::Fd(self.bell.as_raw_fd()), events).build().user_data(BELL);
        self.push(&Entry128::from(poll))
    }

    fn push(&mut self, submission: &Entry128) -> io::Result<()> {
        loop {
            // SAFETY: the memory that a submission names belongs to an entry that is in `entries` and is not touched there
            // until its completion is reaped, and the descriptors are borrowed for longer than the ring lives.
            if unsafe { self.kernel.submission().push(submission) }.is_ok() {
                return Ok(());
            }
            self.flush()?;
        }
    }

    /// Hands over what was submitted, without waiting for anything.
    pub(super) fn flush(&self) -> io::Result<()> {
        entered(self.kernel.submit())
    }

    /// Hands over what was submitted, and waits until there is something to reap.
    pub(super) fn wait(&self) -> io::Result<()> {
        entered(self.kernel.submit_and_wait(1))
    }

    /// The next thing that came back, without waiting.
    pub(super) fn reap(&mut self) -> Option<Event> {
        let completion = self.kernel.completion().next()?;
        let (mark, result) = (completion.user_data(), completion.result());
        let place = usize::try_from(mark).ok().filter(|_| mark != BELL);
        let Some(entry) = place.and_then(|place| self.entries.get_mut(place)?.take()) else {
            return Some(Event::Bell);
        };
        self.free.extend(place);
        Some(match -result {
            0 => Event::Request(entry),
            libc::EAGAIN => Event::TooEarly(entry),
            libc::ENOTCONN | libc::ECANCELED | libc::ENODEV | libc::ECONNABORTED | libc::ENOENT => Event::Over,
            error => Event::Refused(io::Error::from_raw_os_error(error)),
        })
    }
}

/// What entering the ring came to. Being short of something, or interrupted, passes.
fn entered(outcome: io::Result<usize>) -> io::Result<()> {
    match outcome {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => Ok(()),
            _ => Err(error),
        },
    }
}

/// The field `len` of a submission, which the builder does not set: the number of areas.
fn set_length(submission: &mut Entry128, length: u32) {
    const LEN: usize = 24;
    let start = std::ptr::from_mut(submission).cast::<u8>();
    // SAFETY: a submission is a `repr(C)` struct of 128 bytes, as `struct io_uring_sqe` of linux/io_uring.h with a command
    // behind it, and `len` is the 32-bit word at byte 24 of it; every value of it is valid.
    unsafe { start.wrapping_add(LEN).cast::<u32>().write(length) };
}
