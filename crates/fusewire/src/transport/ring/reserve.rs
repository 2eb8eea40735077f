//! Entries in reserve: for each queue some that nobody has served as yet, so that a request finds one though all handlers block.
//!
//! The kernel uses the entry first that came back last, so these are used only when the workers of a queue are at work. A
//! request that comes here is left to a worker that comes to it soon, whose entry it is from then on; if all are blocked, to a
//! new one. Nothing here ever blocks. An entry that is offered later would not do: the kernel takes requests that wait to an
//! entry that was answered, not to one that is new (`fs/fuse/dev_uring.c fuse_uring_do_register()`).
//!
//! A worker may still block while others come to its entries, so it is looked at now and then, and what is stuck is taken
//! from it. Only a handler that waits uninterruptibly, as for a disk, keeps the kernel from handing that out.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use fusewire_proto::uring::identify_entry;

use super::away::Place;
use super::cpus;
use super::entry::{Entry, Ids};
use super::policy::{self, Ticking};
use super::postponed::{Mail, Mailbox};
use super::queue::{Member, Queue};
use super::submit::{Event, Submitter, Work};
use super::worker::{self, Post, Shared};
use super::{Mailboxes, Staff};
use crate::handler::Manner;
use crate::transport::{Answer, schedule};

/// How many entries of a queue wait in reserve: so many requests that come at once, on the same CPU, find one.
const RESERVE: usize = 32;
/// How many entries a queue may have at most: so many requests may be under way for a CPU.
const MOST: usize = 1024;
/// How often workers are looked at while requests come.
const TICK: Duration = Duration::from_millis(4);

/// Who hands out what comes to the reserve.
pub(super) struct Reserve<'s, 'e> {
    scope: &'s Scope<'s, 'e>,
    shared: Shared<'s>,
    /// In the order of their CPUs.
    queues: &'s [Queue],
    mailboxes: &'s Mailboxes,
    staff: Staff,
    /// Where it is told of the end, of requests that could not be served, and of the first after a quiet time.
    mailbox: Arc<Mailbox>,
    /// Whether workers have entries that others may have to wait for.
    crowded: bool,
    threads: Vec<ScopedJoinHandle<'s, ()>>,
}

impl<'s, 'e> Reserve<'s, 'e> {
    pub(super) fn new(
        scope: &'s Scope<'s, 'e>,
        shared: Shared<'s>,
        queues: &'s [Queue],
        mailboxes: &'s Mailboxes,
        staff: Staff,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        Self { scope, shared, queues, mailboxes, staff, mailbox, crowded: false, threads: Vec::new() }
    }

    /// Offers entries for all queues, says so, and hands out the requests that come to them, until the end.
    ///
    /// # Errors
    /// The kernel makes no ring, or did not take an entry. It serves through `/dev/fuse` then.
    pub(super) fn run(mut self, tell: &dyn Fn()) -> io::Result<()> {
        let result = self.serve(tell);
        for thread in self.threads {
            // Entries go when no thread is left in whose name the kernel writes to them. One that panicked is gone, too.
            let _ = thread.join();
        }
        result
    }

    fn serve(&mut self, tell: &dyn Fn()) -> io::Result<()> {
        let mailbox = Arc::clone(&self.mailbox);
        let room = RESERVE * self.queues.len();
        let mut ring = Submitter::new(self.shared.device, mailbox.bell(), room, Work::WhenAsked, self.shared.kept)?;
        ring.until_open(|| self.shared.closing.load(Ordering::SeqCst))?;
        ring.listen()?;
        self.open(&mut ring)?;
        tell();
        let (mut failed, mut ticking, mut next) = (Vec::new(), Ticking::default(), None);
        loop {
            match next.filter(|_| self.crowded) {
                None => ring.wait()?,
                Some(next) => ring.wait_for(Instant::saturating_duration_since(&next, Instant::now()))?,
            }
            let mut rung = false;
            while let Some(event) = ring.reap() {
                match event {
                    Event::Request(entry) => {
                        let Some(queue) = self.queue(entry.queue()) else { continue };
                        self.hand_over(&mut ring, queue, entry)?;
                        self.offer(&mut ring, queue)?;
                    }
                    Event::Over => {}
                    Event::Refused(error) => return Err(error),
                    Event::Bell => rung = true,
                }
            }
            if rung {
                mailbox.empty(&mut failed);
                for item in failed.drain(..) {
                    self.sort(&mut ring, item)?;
                }
                self.send_helpers();
                if self.shared.closing.load(Ordering::SeqCst) {
                    return ring.flush();
                }
                ring.listen()?;
            }
            next = self.look(&mut ring, &mut ticking, next)?;
        }
    }

    /// Offers the first entries of all queues.
    ///
    /// The kernel begins to use rings when each queue has an entry (`fs/fuse/dev_uring.c fuse_uring_do_register()`), and lets all go that
    /// have waited for that. A caller for whom there is no entry yet would have to wait until another is answered. So the entries of
    /// the last queue are offered in one go from its own CPU, where no caller can run meanwhile.
    fn open(&self, ring: &mut Submitter<'_>) -> io::Result<()> {
        let Some((last, others)) = self.queues.split_last() else { return Ok(()) };
        let offer = |ring: &mut Submitter<'_>, queue| (0..RESERVE).try_for_each(|_| self.offer(ring, queue));
        others.iter().try_for_each(|queue| offer(ring, queue))?;
        ring.flush()?;
        offer(ring, last)?;
        schedule::on(last.cpu.into(), || ring.flush())
    }

    /// Looks at the workers, if it is time to. Says when to do so next, if ever.
    fn look(
        &mut self,
        ring: &mut Submitter<'_>,
        ticking: &mut Ticking,
        next: Option<Instant>,
    ) -> io::Result<Option<Instant>> {
        if !self.crowded || self.shared.watch.sleeps() {
            return Ok(None);
        }
        let now = Instant::now();
        if next.is_some_and(|next| now < next) {
            return Ok(next);
        }
        let (mut served, mut stuck) = (0_u64, false);
        for queue in self.queues {
            let (members, away) = (queue.members(), queue.away.there());
            for member in members.iter().chain(away.map(|(_, member)| member)) {
                served = served.wrapping_add(member.served());
                if member.is_stuck() && member.holds_others() {
                    stuck = true;
                    for item in member.rescue(ring)? {
                        self.sort(ring, item)?;
                    }
                }
            }
            // What was left to a worker that has blocked since.
            for _ in 0..queue.left() {
                let Some(entry) = queue.take() else { break };
                self.hand_over(ring, queue, entry)?;
            }
        }
        if ticking.goes_on(served, stuck) {
            return Ok(Some(now + TICK));
        }
        self.shared.watch.sleep();
        if self.queues.iter().any(Queue::is_at_work) {
            self.shared.watch.stay_awake();
            return Ok(Some(now + TICK));
        }
        Ok(None)
    }

    /// One more entry for `queue`, if it may have one.
    fn offer(&self, ring: &mut Submitter<'_>, queue: &Queue) -> io::Result<()> {
        if !queue.add_entry(MOST) {
            return Ok(());
        }
        ring.register(Entry::new(queue.cpu, self.shared.payload)?)
    }

    /// What was meant for a worker: answers go out, requests go to another.
    fn sort(&mut self, ring: &mut Submitter<'_>, item: Mail) -> io::Result<()> {
        match item {
            Mail::Answered(entry, ids) => ring.commit(entry, ids.commit),
            Mail::Request(entry) => match self.queue(entry.queue()) {
                Some(queue) => self.hand_over(ring, queue, entry),
                None => Ok(()),
            },
        }
    }

    /// Starts workers on other CPUs than their queue's, where somebody has asked for that.
    fn send_helpers(&mut self) {
        for queue in self.queues {
            if !queue.away.take_wish() || !self.staff.may_grow(true) {
                continue;
            }
            let cpus = cpus::topology();
            let helped = cpus.iter().find(|cpu| cpu.number == queue.cpu);
            let Some(cpu) = helped.and_then(|helped| policy::helper(helped, &cpus)) else { continue };
            let post = Post { queue, place: Place::away(queue, cpu, self.queues), cpu, first: None };
            self.crowded |= self.shared.service.manner() != Manner::NeverBlocks;
            if let Err((error, _)) = self.start(post) {
                tracing::warn!(%error, cpu, "starting a worker on another CPU than its queue's");
            }
        }
    }

    /// Gives the request in `entry` to a worker of `queue`: a new one if those there are are blocked.
    fn hand_over(&mut self, ring: &mut Submitter<'_>, queue: &'s Queue, entry: Entry) -> io::Result<()> {
        let one_is_enough = self.shared.service.manner() == Manner::NeverBlocks;
        let whoever = one_is_enough || !self.staff.may_grow(queue.has_workers());
        let left = queue.leave_to_workers(entry, whoever);
        self.crowded |= left.is_none() && !one_is_enough;
        if let Some((error, entry)) = left.and_then(|entry| self.recruit(queue, entry).err()) {
            tracing::error!(%error, cpu = queue.cpu, "starting a worker with a ring");
            if let Some(entry) = queue.leave_to_workers(entry, true) {
                let (entry, ids) = refused(entry);
                return ring.commit(entry, ids.commit);
            }
            self.crowded |= !one_is_enough;
        }
        Ok(())
    }

    /// The queue of a CPU.
    fn queue(&self, cpu: u16) -> Option<&'s Queue> {
        let place = self.queues.binary_search_by_key(&cpu, |queue| queue.cpu);
        self.queues.get(place.ok()?)
    }

    /// Starts a worker for `queue`, with the request in `entry` to begin with.
    fn recruit(&mut self, queue: &'s Queue, entry: Entry) -> Result<(), (io::Error, Entry)> {
        let place = Place::home(queue, self.queues);
        let post = Post { queue, place, cpu: queue.cpu, first: Some(entry) };
        self.start(post).or_else(|(error, entry)| entry.map_or(Ok(()), |entry| Err((error, entry))))
    }

    /// Starts a worker. If there is no thread for it, its first request comes back.
    fn start(&mut self, post: Post<'s>) -> Result<(), (io::Error, Option<Entry>)> {
        let mailbox = match Mailbox::new() {
            Ok(mailbox) => Arc::new(mailbox),
            Err(error) => return Err((error, post.first)),
        };
        if !self.mailboxes.add(&mailbox) {
            // The end has come: nobody waits for the answer.
            return Ok(());
        }
        let (queue, cpu, at_home) = (post.queue, post.cpu, post.first.is_some());
        // The thread takes it from there, if there is one.
        let member = Arc::new(Member::new(mailbox));
        let post = Arc::new(Mutex::new(Some(post)));
        let take = |post: &Mutex<Option<Post<'s>>>| post.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (shared, report) = (self.shared, Arc::clone(&self.mailbox));
        let (post_there, member_there) = (Arc::clone(&post), Arc::clone(&member));
        let work = move || {
            let Some(post) = take(&post_there) else { return };
            let Err((error, unanswered)) = worker::run(shared, post, &member_there) else { return };
            queue.leave(&member_there);
            tracing::error!(%error, cpu, "serving a ring");
            if let Some(entry) = unanswered {
                let (entry, ids) = refused(entry);
                report.deliver(Mail::Answered(entry, ids));
            }
        };
        self.staff.grow(queue.has_workers());
        if at_home {
            queue.join(Arc::clone(&member));
        }
        let name = if at_home { format!("fusewire-ring{cpu}") } else { format!("fusewire-away{}", queue.cpu) };
        let error = match std::thread::Builder::new().name(name).spawn_scoped(self.scope, work) {
            Ok(thread) => {
                self.threads.push(thread);
                return Ok(());
            }
            Err(error) => error,
        };
        queue.leave(&member);
        Err((error, take(&post).and_then(|post| post.first)))
    }
}

/// The request in `entry` answered with an error.
fn refused(mut entry: Entry) -> (Entry, Ids) {
    let (commit, unique, _) = identify_entry(entry.parts().header);
    let ids = Ids { commit, unique };
    entry.finish(ids, Answer::Nothing);
    (entry, ids)
}
