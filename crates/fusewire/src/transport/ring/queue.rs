//! The queue of a CPU as user space sees it: its workers, and requests that wait for one of them.
//!
//! The kernel gives a request to an entry of its caller's CPU and to no other. How entries come and go is not known here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::Entry;
use super::postponed::Mailbox;

/// What is known of a queue.
#[derive(Debug)]
pub(super) struct Queue {
    /// The number of its CPU, which is its own.
    pub(super) cpu: u16,
    /// All entries there are, wherever they are.
    entries: AtomicUsize,
    /// Where its workers are told things, one for each.
    workers: Mutex<Vec<Arc<Mailbox>>>,
    /// Entries with requests that no worker has taken yet.
    waiting: Mutex<VecDeque<Entry>>,
    /// How many these are, so that workers need not take the lock.
    count: AtomicUsize,
}

impl Queue {
    pub(super) fn new(cpu: u16) -> Self {
        Self {
            cpu,
            entries: AtomicUsize::new(0),
            workers: Mutex::default(),
            waiting: Mutex::default(),
            count: AtomicUsize::new(0),
        }
    }

    /// Counts a new entry, unless there are `most` already.
    pub(super) fn add_entry(&self, most: usize) -> bool {
        let more = |entries| (entries < most).then_some(entries + 1);
        self.entries.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    fn workers(&self) -> MutexGuard<'_, Vec<Arc<Mailbox>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_workers(&self) -> bool {
        !self.workers().is_empty()
    }

    /// A worker begins.
    pub(super) fn join(&self, mailbox: Arc<Mailbox>) {
        self.workers().push(mailbox);
    }

    /// A worker could not begin.
    pub(super) fn leave(&self, mailbox: &Arc<Mailbox>) {
        self.workers().retain(|other| !Arc::ptr_eq(other, mailbox));
    }

    /// Leaves a request to whichever worker is free first. Gives it back if there is no worker.
    pub(super) fn leave_to_workers(&self, entry: Entry) -> Option<Entry> {
        let workers = self.workers();
        if workers.is_empty() {
            return Some(entry);
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back(entry);
        self.count.store(waiting.len(), Ordering::SeqCst);
        drop(waiting);
        workers.iter().for_each(|mailbox| mailbox.ring());
        None
    }

    /// Takes a request that was left to the workers.
    pub(super) fn take(&self) -> Option<Entry> {
        if self.count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
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
        let entry = queue.leave_to_workers(Entry::new(3, 4096).unwrap()).unwrap();
        let mailbox = Arc::new(Mailbox::new().unwrap());
        queue.join(Arc::clone(&mailbox));
        assert!(queue.take().is_none() && queue.leave_to_workers(entry).is_none());
        assert_eq!(queue.take().map(|entry| entry.queue()), Some(3));
        assert!(queue.take().is_none());
        queue.leave(&mailbox);
        assert!(!queue.has_workers());
    }
}
