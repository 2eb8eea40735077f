//! The queue of a CPU as user space sees it: its workers, and requests that wait for one of them.
//!
//! The kernel gives a request to an entry of its caller's CPU and to no other. How entries come and go is not known here.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nix::unistd::{Pid, gettid};

use super::away::Away;
use super::entry::Entry;
use super::policy::{self, Doing};
use super::postponed::{Mail, Mailbox};
use super::submit::{Offered, Rescued, Submitter};
use crate::context::Slot;
use crate::transport::schedule;

/// One of those who serve a queue.
#[derive(Debug)]
pub(super) struct Member {
    /// Where it is told things.
    pub(super) mailbox: Arc<Mailbox>,
    seat: OnceLock<Seat>,
    /// What the last ticks saw.
    still: Mutex<policy::Still>,
}

/// What others see of a member that has begun.
#[derive(Debug)]
struct Seat {
    thread: Pid,
    slot: Arc<Slot>,
    offered: Arc<Offered>,
}

impl Member {
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { mailbox, seat: OnceLock::new(), still: Mutex::default() }
    }

    /// This thread is the member from now on, with this slot and this ring.
    pub(super) fn sit_down(&self, slot: Arc<Slot>, offered: Arc<Offered>) {
        // Once, by the one thread that is started for it.
        let _ = self.seat.set(Seat { thread: gettid(), slot, offered });
    }

    /// What it is doing at the moment.
    pub(super) fn doing(&self) -> Doing {
        match self.seat.get() {
            None => Doing::Running,
            Some(seat) if !seat.slot.is_at_work() => Doing::Waiting,
            Some(_) if self.still().is_long() => Doing::Blocked,
            Some(seat) if schedule::is_runnable(seat.thread) => Doing::Running,
            Some(_) => Doing::Blocked,
        }
    }

    fn still(&self) -> MutexGuard<'_, policy::Still> {
        self.still.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A tick has passed. Whether it is at the same request as at the last one, and blocked.
    pub(super) fn is_stuck(&self) -> bool {
        let Some(seat) = self.seat.get() else { return false };
        let same = self.still().tick(seat.slot.is_at_work(), seat.slot.served());
        same && self.doing() == Doing::Blocked
    }

    /// Whether it is at a request.
    pub(super) fn is_at_work(&self) -> bool {
        self.seat.get().is_some_and(|seat| seat.slot.is_at_work())
    }

    /// Whether it is at no request, and has been given none.
    pub(super) fn is_free(&self) -> bool {
        !self.is_at_work() && self.mailbox.is_empty()
    }

    /// How many requests it has served.
    pub(super) fn served(&self) -> u64 {
        self.seat.get().map_or(0, |seat| seat.slot.served())
    }

    /// Whether others may have to wait for the request that it is at.
    pub(super) fn holds_others(&self) -> bool {
        self.seat.get().is_some_and(|seat| seat.offered.count() > 0) || !self.mailbox.is_empty()
    }

    /// The requests and answers that came to it while it is blocked.
    pub(super) fn rescue(&self, by: &mut Submitter<'_>) -> io::Result<Vec<Mail>> {
        let Some(seat) = self.seat.get() else { return Ok(Vec::new()) };
        let Rescued { requests, bell } = seat.offered.rescue();
        if bell {
            by.repeat_bell(&seat.offered)?;
        }
        let mut mail = self.mailbox.take_all();
        mail.extend(requests.into_iter().map(Mail::Request));
        Ok(mail)
    }
}

/// Those who serve a queue, the latest last.
type Members = Arc<[Arc<Member>]>;

/// What is known of a queue.
#[derive(Debug)]
pub(super) struct Queue {
    /// The number of its CPU, which is its own.
    pub(super) cpu: u16,
    /// Its worker on another CPU.
    pub(super) away: Away,
    /// All entries there are, wherever they are.
    entries: AtomicUsize,
    /// Those who serve it. Who looks at them takes the list as it is, and allocates nothing.
    members: Mutex<Members>,
    /// Entries with requests that no worker has taken yet.
    waiting: Mutex<VecDeque<Entry>>,
    /// How many these are, so that workers need not take the lock.
    count: AtomicUsize,
}

impl Queue {
    pub(super) fn new(cpu: u16) -> Self {
        Self {
            cpu,
            away: Away::default(),
            entries: AtomicUsize::new(0),
            members: Mutex::new(Arc::new([])),
            waiting: Mutex::default(),
            count: AtomicUsize::new(0),
        }
    }

    /// Counts a new entry, unless there are `most` already.
    pub(super) fn add_entry(&self, most: usize) -> bool {
        let more = |entries| (entries < most).then_some(entries + 1);
        self.entries.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    fn members_now(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who serve it at the moment.
    pub(super) fn members(&self) -> Members {
        Arc::clone(&self.members_now())
    }

    /// How many requests of its callers were served, wherever.
    pub(super) fn served(&self) -> u64 {
        let (members, away) = (self.members(), self.away.there());
        let all = members.iter().chain(away.map(|(_, member)| member));
        all.fold(0, |sum, member| sum.wrapping_add(member.served()))
    }

    /// Whether anybody is at a request of it.
    pub(super) fn is_at_work(&self) -> bool {
        let away = self.away.there().is_some_and(|(_, member)| member.is_at_work());
        away || self.members().iter().any(|member| member.is_at_work())
    }

    pub(super) fn has_workers(&self) -> bool {
        !self.members_now().is_empty()
    }

    /// A worker begins.
    pub(super) fn join(&self, member: Arc<Member>) {
        let mut members = self.members_now();
        *members = members.iter().cloned().chain([member]).collect();
    }

    /// A worker could not begin.
    pub(super) fn leave(&self, member: &Arc<Member>) {
        let mut members = self.members_now();
        *members = members.iter().filter(|other| !Arc::ptr_eq(other, member)).cloned().collect();
    }

    /// Leaves a request to one of its workers: one that will come to it soon, as far as can be told. Gives it back if all
    /// are blocked, and `whoever` is not enough.
    pub(super) fn leave_to_workers(&self, entry: Entry, whoever: bool) -> Option<Entry> {
        let members = self.members();
        // The latest first: those before it were blocked when it began.
        let chosen = policy::choose(members.iter().rev().map(|member| member.doing()));
        let chosen = chosen.and_then(|place| members.iter().rev().nth(place));
        let Some(member) = chosen.or_else(|| members.last().filter(|_| whoever)) else { return Some(entry) };
        let mut waiting = self.waiting();
        waiting.push_back(entry);
        self.count.store(waiting.len(), Ordering::SeqCst);
        drop(waiting);
        member.mailbox.ring();
        None
    }

    /// How many requests no worker has taken yet.
    pub(super) fn left(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request that was left to the workers.
    pub(super) fn take(&self) -> Option<Entry> {
        if self.left() == 0 {
            return None;
        }
        let mut waiting = self.waiting();
        let entry = waiting.pop_front();
        self.count.store(waiting.len(), Ordering::SeqCst);
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_bounded() {
        let queue = Queue::new(0);
        assert_eq!([2, 2, 2].map(|most| queue.add_entry(most)), [true, true, false]);
    }

    #[test]
    fn requests_wait_for_workers_if_there_are_some() {
        let queue = Queue::new(3);
        let entry = queue.leave_to_workers(Entry::new(3, 4096).unwrap(), true).unwrap();
        let member = Arc::new(Member::new(Arc::new(Mailbox::new().unwrap())));
        queue.join(Arc::clone(&member));
        assert!(queue.take().is_none() && queue.leave_to_workers(entry, false).is_none());
        assert_eq!(queue.take().map(|entry| entry.queue()), Some(3));
        assert!(queue.take().is_none());
        queue.leave(&member);
        assert!(!queue.has_workers());
    }
}
