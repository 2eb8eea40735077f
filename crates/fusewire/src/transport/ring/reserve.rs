//! Entries in reserve: for each queue some that nobody has served as yet, so that a request finds one though all handlers block.
//!
//! The kernel uses the entry first that came back last, so these are used only when the workers of a queue are at work. A
//! request that comes here is handed to a worker, and nothing here ever blocks. An entry that is offered later would not
//! do: the kernel takes requests that wait to an entry that was answered, not to one that is new
//! (`fs/fuse/dev_uring.c fuse_uring_do_register()`).

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use fusewire_proto::uring::identify_entry;

use super::entry::{Entry, Ids};
use super::postponed::Mailbox;
use super::queue::Queue;
use super::submit::{Event, Submitter};
use super::worker::{self, Shared};
use super::{Mailboxes, Staff};
use crate::handler::Manner;
use crate::transport::Answer;

/// How many entries of a queue wait in reserve: so many requests that come at once, on the same CPU, find one.
const RESERVE: usize = 32;
/// How many entries a queue may have at most: so many requests may be under way for a CPU.
const MOST: usize = 1024;

/// Who hands out what comes to the reserve.
pub(super) struct Reserve<'s, 'e> {
    pub(super) scope: &'s Scope<'s, 'e>,
    pub(super) shared: Shared<'s>,
    /// In the order of their CPUs.
    pub(super) queues: &'s [Queue],
    pub(super) mailboxes: &'s Mailboxes,
    pub(super) staff: Staff,
    /// Where it is told of the end, and of requests that could not be served.
    pub(super) mailbox: Arc<Mailbox>,
}

impl<'s> Reserve<'s, '_> {
    /// Offers entries for all queues, and hands out the requests that come to them, until the end.
    ///
    /// # Errors
    /// The kernel makes no ring, or did not take an entry. It serves through `/dev/fuse` then.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let mailbox = Arc::clone(&self.mailbox);
        let mut ring = Submitter::new(self.shared.device, mailbox.bell(), RESERVE * self.queues.len())?;
        ring.listen()?;
        for queue in self.queues {
            for _ in 0..RESERVE {
                self.offer(&mut ring, queue)?;
            }
        }
        let mut failed = Vec::new();
        loop {
            ring.wait()?;
            let mut rung = false;
            while let Some(event) = ring.reap() {
                match event {
                    Event::Request(entry) => self.hand_over(&mut ring, entry)?,
                    Event::TooEarly(entry) => {
                        std::thread::yield_now();
                        ring.register(entry)?;
                    }
                    Event::Over => {}
                    Event::Refused(error) => return Err(error),
                    Event::Bell => rung = true,
                }
            }
            if rung {
                mailbox.empty(&mut failed);
                for (entry, ids) in failed.drain(..) {
                    ring.commit(entry, ids.commit)?;
                }
                if self.shared.closing.load(Ordering::SeqCst) {
                    return ring.flush();
                }
                ring.listen()?;
            }
        }
    }

    /// One more entry for `queue`, if it may have one.
    fn offer(&self, ring: &mut Submitter<'_>, queue: &Queue) -> io::Result<()> {
        if !queue.add_entry(MOST) {
            return Ok(());
        }
        ring.register(Entry::new(queue.cpu, self.shared.payload)?)
    }

    /// Gives the request in `entry` to a worker of its queue: a new one as a rule, as the others are at work.
    fn hand_over(&mut self, ring: &mut Submitter<'_>, entry: Entry) -> io::Result<()> {
        let place = self.queues.binary_search_by_key(&entry.queue(), |queue| queue.cpu);
        let Some(queue) = place.ok().and_then(|place| self.queues.get(place)) else { return Ok(()) };
        let one_is_enough = self.shared.service.manner() == Manner::Later;
        let left = if one_is_enough || !self.staff.may_grow(queue.has_workers()) {
            queue.leave_to_workers(entry)
        } else {
            Some(entry)
        };
        if let Some((error, entry)) = left.and_then(|entry| self.recruit(queue, entry).err()) {
            tracing::error!(%error, cpu = queue.cpu, "starting a worker with a ring");
            if let Some(entry) = queue.leave_to_workers(entry) {
                let (entry, ids) = refused(entry);
                return ring.commit(entry, ids.commit);
            }
        }
        self.offer(ring, queue)
    }

    /// Starts a worker for `queue`, with the request in `entry` to begin with.
    fn recruit(&mut self, queue: &'s Queue, entry: Entry) -> Result<(), (io::Error, Entry)> {
        let mailbox = match Mailbox::new() {
            Ok(mailbox) => Arc::new(mailbox),
            Err(error) => return Err((error, entry)),
        };
        if !self.mailboxes.add(&mailbox) {
            // The end has come: nobody waits for the answer.
            return Ok(());
        }
        // The thread takes it from there, if there is one.
        let first = Arc::new(Mutex::new(Some(entry)));
        let take = |first: &Mutex<Option<Entry>>| first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (shared, report) = (self.shared, Arc::clone(&self.mailbox));
        let (first_there, mailbox_there) = (Arc::clone(&first), Arc::clone(&mailbox));
        let work = move || {
            let Some(entry) = take(&first_there) else { return };
            let Err((error, unanswered)) = worker::run(shared, queue, &mailbox_there, entry) else { return };
            queue.leave(&mailbox_there);
            tracing::error!(%error, cpu = queue.cpu, "serving a ring");
            if let Some(entry) = unanswered {
                let (entry, ids) = refused(entry);
                report.deliver(entry, ids);
            }
        };
        self.staff.grow(queue.has_workers());
        queue.join(Arc::clone(&mailbox));
        let name = format!("fusewire-ring{}", queue.cpu);
        let Err(error) = std::thread::Builder::new().name(name).spawn_scoped(self.scope, work) else { return Ok(()) };
        queue.leave(&mailbox);
        match take(&first) {
            Some(entry) => Err((error, entry)),
            None => Ok(()),
        }
    }
}

/// The request in `entry` answered with an error.
fn refused(mut entry: Entry) -> (Entry, Ids) {
    let (commit, unique, _) = identify_entry(entry.parts().header);
    let ids = Ids { commit, unique };
    entry.finish(ids, Answer::Nothing);
    (entry, ids)
}
