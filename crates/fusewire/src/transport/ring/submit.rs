//! A ring of io_uring, and the entries that the kernel has through it.
//!
//! An entry goes in by value and comes back by value: while the kernel may write to its memory, nobody can reach it. What
//! is done with a request is not known here.
#![expect(unsafe_code, reason = "submissions name memory that must stay as it is until they complete")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fusewire_proto::uring::{Command, CommandArgs};
use io_uring::squeue::{Entry128, Flags};
use io_uring::{IoUring, cqueue, opcode, types};

use super::entry::Entry;

type Kernel = IoUring<Entry128, cqueue::Entry>;

/// Marks the completion that comes when the bell rings; entries are marked with their place.
const BELL: u64 = u64::MAX;
/// How often it is asked whether the connection takes entries.
const ASK_AGAIN: Duration = Duration::from_micros(100);

/// A ring of the thread that made it: it submits, and waits. Others may only [`rescue`](Offered::rescue) what is stuck in it, if its
/// work is done [at any time](Work::AtAnyTime).
pub(super) struct Submitter<'d> {
    offered: Arc<Offered>,
    device: BorrowedFd<'d>,
    bell: BorrowedFd<'d>,
}

/// The entries that the kernel has through a ring.
///
/// The kernel writes into them in the context of the thread that submitted them, whenever that enters or leaves the kernel,
/// blocked or not (`fs/fuse/dev_uring.c fuse_uring_send_in_task()`, which copies nothing when that thread is gone). So this is
/// dropped when the threads that submitted have been joined, and then their memory is ours again, whatever is still to be
/// cancelled.
pub(super) struct Offered {
    /// Before `entries`: closed before their memory goes.
    kernel: Kernel,
    entries: Mutex<Places>,
}

/// All that a session has offered, kept until no thread is left that submitted any of it.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Vec<Arc<Offered>>>);

impl Kept {
    fn add(&self, offered: &Arc<Offered>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(offered));
    }
}

/// The entries, at the places that their submissions are marked with.
#[derive(Default)]
struct Places {
    taken: Vec<Option<Entry>>,
    free: Vec<usize>,
}

/// What came back.
#[derive(Debug)]
pub(super) enum Event {
    /// An entry that holds a request.
    Request(Entry),
    /// An entry was taken back: the connection is over, or the request that was answered is gone.
    Over,
    /// An entry that the kernel refused. It has turned to `/dev/fuse` then.
    Refused(io::Error),
    /// The bell rings.
    Bell,
}

/// When the kernel does the work of a ring, such as bringing requests to its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// When the thread that submits waits for the ring. That costs the least, and shuts away what arrives while a handler blocks.
    WhenAsked,
    /// When that thread is in the kernel for any reason.
    AtAnyTime,
}

/// A ring with room for so many submissions at a time.
fn kernel(submissions: u32, completions: u32, work: Work) -> io::Result<Kernel> {
    let mut builder = IoUring::builder();
    match work {
        Work::WhenAsked => builder.setup_single_issuer().setup_defer_taskrun(),
        Work::AtAnyTime => builder.setup_coop_taskrun(),
    };
    builder.setup_cqsize(completions);
    builder.build(submissions)
}

/// Whether this kernel makes such rings, for this process.
pub(super) fn probe() -> io::Result<()> {
    kernel(1, 2, Work::WhenAsked).map(drop)
}

impl<'d> Submitter<'d> {
    /// A ring for `entries` entries or more, which go to `kept` in the end.
    ///
    /// # Errors
    /// Those of io_uring_setup(2).
    pub(super) fn new(
        device: BorrowedFd<'d>,
        bell: BorrowedFd<'d>,
        entries: usize,
        work: Work,
        kept: &Kept,
    ) -> io::Result<Self> {
        // Submissions are taken at once when they are too many; completions that are too many are kept by the kernel.
        let submissions = u32::try_from(entries.saturating_add(1).clamp(2, 64)).unwrap_or(64).next_power_of_two();
        let kernel = kernel(submissions, 4 * submissions, work)?;
        let offered = Arc::new(Offered { kernel, entries: Mutex::default() });
        kept.add(&offered);
        Ok(Self { offered, device, bell })
    }

    /// What the kernel has through this ring.
    pub(super) fn offered(&self) -> &Arc<Offered> {
        &self.offered
    }

    /// Waits until the connection takes entries, or `given_up`. There must be none as yet.
    ///
    /// That may be milliseconds after `INIT` was answered. Entries that are offered before are not refused: the kernel takes them
    /// some time later, one after the other, from a thread of its own (`fs/fuse/dev_uring.c fuse_uring_cmd()`).
    pub(super) fn until_open(&mut self, given_up: impl Fn() -> bool) -> io::Result<()> {
        while !given_up() {
            let none = Command::INVALID;
            let ask = opcode::UringCmd80::new(types::Fd(self.device.as_raw_fd()), none.0).build().user_data(BELL);
            self.push(&ask)?;
            let answer = loop {
                self.wait()?;
                if let Some(answer) = self.offered.next(&mut self.offered.places()) {
                    break answer;
                }
            };
            if -answer.result() != libc::EAGAIN {
                break;
            }
            std::thread::sleep(ASK_AGAIN);
        }
        Ok(())
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
        let place = self.offered.places().put(entry);
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

    /// Has the bell of another ring ring again, which it did when nobody of that ring looked.
    pub(super) fn repeat_bell(&mut self, other: &Offered) -> io::Result<()> {
        let message = opcode::MsgRingData::new(types::Fd(other.kernel.as_raw_fd()), 0, BELL, None).build();
        self.push(&Entry128::from(message.flags(Flags::SKIP_SUCCESS)))
    }

    fn push(&mut self, submission: &Entry128) -> io::Result<()> {
        loop {
            // SAFETY: the queue is filled through `&mut self` alone, so it is not borrowed anywhere else.
            let mut queue = unsafe { self.offered.kernel.submission_shared() };
            // SAFETY: the memory that a submission names belongs to an entry that is in `entries` and is not touched there
            // until its completion is reaped, and the descriptors are borrowed for longer than the thread submits.
            if unsafe { queue.push(submission) }.is_ok() {
                return Ok(());
            }
            drop(queue);
            self.flush()?;
        }
    }

    /// Hands over what was submitted, without waiting for anything.
    pub(super) fn flush(&self) -> io::Result<()> {
        entered(self.offered.kernel.submit())
    }

    /// Hands over what was submitted, and waits until there is something to reap.
    pub(super) fn wait(&self) -> io::Result<()> {
        entered(self.offered.kernel.submit_and_wait(1))
    }

    /// As [`wait`](Self::wait), but no longer than `time`.
    pub(super) fn wait_for(&self, time: Duration) -> io::Result<()> {
        let time = types::Timespec::from(time);
        let arguments = types::SubmitArgs::new().timespec(&time);
        entered(self.offered.kernel.submitter().submit_with_args(1, &arguments))
    }

    /// The next thing that came back, without waiting.
    pub(super) fn reap(&mut self) -> Option<Event> {
        self.offered.reap()
    }
}

impl std::fmt::Debug for Offered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offered").field("entries", &self.count()).finish_non_exhaustive()
    }
}

impl Offered {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many entries there are.
    pub(super) fn count(&self) -> usize {
        let places = self.places();
        places.taken.len() - places.free.len()
    }

    /// The next completion, for whoever has the lock.
    fn next(&self, _: &mut Places) -> Option<cqueue::Entry> {
        // SAFETY: the queue of completions is borrowed here only, and `Places` are behind a lock.
        unsafe { self.kernel.completion_shared() }.next()
    }

    fn reap(&self) -> Option<Event> {
        let mut places = self.places();
        let completion = self.next(&mut places)?;
        let (mark, result) = (completion.user_data(), completion.result());
        let place = usize::try_from(mark).ok().filter(|_| mark != BELL);
        let Some(entry) = place.and_then(|place| places.take(place)) else {
            return Some(Event::Bell);
        };
        Some(match -result {
            0 => Event::Request(entry),
            libc::ENOTCONN | libc::ECANCELED | libc::ENODEV | libc::ECONNABORTED | libc::ENOENT => Event::Over,
            error => Event::Refused(io::Error::from_raw_os_error(error)),
        })
    }

    /// Does for a thread that is blocked what it would do next: hands over the replies that it has submitted, and takes the
    /// requests that came to it.
    pub(super) fn rescue(&self) -> Rescued {
        // The kernel lets one thread submit at a time. What fails here is for the owner to see.
        let _ = entered(self.kernel.submit());
        let mut rescued = Rescued { requests: Vec::new(), bell: false };
        while let Some(event) = self.reap() {
            match event {
                Event::Request(entry) => rescued.requests.push(entry),
                Event::Bell => rescued.bell = true,
                // The entry is of no more use.
                Event::Over | Event::Refused(_) => {}
            }
        }
        rescued
    }
}

/// What was stuck in a ring.
#[derive(Debug)]
pub(super) struct Rescued {
    pub(super) requests: Vec<Entry>,
    /// The bell had rung: it has to be [`repeated`](Submitter::repeat_bell).
    pub(super) bell: bool,
}

impl Places {
    fn put(&mut self, entry: Entry) -> usize {
        let place = self.free.pop().unwrap_or(self.taken.len());
        match self.taken.get_mut(place) {
            Some(taken) => *taken = Some(entry),
            None => self.taken.push(Some(entry)),
        }
        place
    }

    fn take(&mut self, place: usize) -> Option<Entry> {
        let entry = self.taken.get_mut(place)?.take()?;
        self.free.push(place);
        Some(entry)
    }
}

/// What entering the ring came to. Being short of something, or interrupted, passes.
fn entered(outcome: io::Result<usize>) -> io::Result<()> {
    match outcome {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM | libc::ETIME) => Ok(()),
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
