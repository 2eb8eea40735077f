//! Requests of rings that are answered later: where their entries wait, and how the answer finds its entry.
//!
//! An answer may be there before the worker has put the entry away. Nothing here talks to the kernel.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fusewire_proto::Unique;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::entry::{Entry, Ids};

/// Where a worker is told that something waits for it: answered entries, or the end.
#[derive(Debug)]
pub(super) struct Mailbox {
    bell: EventFd,
    mail: Mutex<Vec<Mail>>,
}

/// What a worker is given by others.
#[derive(Debug)]
pub(super) enum Mail {
    /// An entry that holds its answer.
    Answered(Entry, Ids),
    /// An entry that holds a request.
    Request(Entry),
}

impl Mailbox {
    /// # Errors
    /// Those of eventfd(2).
    pub(super) fn new() -> io::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { bell, mail: Mutex::default() })
    }

    /// Becomes readable when the bell rings.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Rings the bell.
    pub(super) fn ring(&self) {
        // It fails when it has rung very often, and then it rings.
        let _ = self.bell.write(1);
    }

    fn mail(&self) -> MutexGuard<'_, Vec<Mail>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thing more, and the bell rings.
    pub(super) fn deliver(&self, item: Mail) {
        let mut mail = self.mail();
        mail.push(item);
        if mail.len() == 1 {
            self.ring();
        }
    }

    /// Silences the bell, and moves what was delivered into `mail`.
    pub(super) fn empty(&self, mail: &mut Vec<Mail>) {
        let _ = self.bell.read();
        mail.append(&mut self.mail());
    }

    /// Takes what was delivered, for somebody who does not look.
    pub(super) fn take_all(&self) -> Vec<Mail> {
        std::mem::take(&mut *self.mail())
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.mail().is_empty()
    }
}

/// How far a postponed request is.
#[derive(Debug)]
enum State {
    /// Its handler has said that it answers later, and has not returned.
    Announced,
    /// It is answered, with this message, and its handler has not returned.
    Answered(Vec<u8>),
    /// It waits for its answer, and goes to this worker with it.
    Waiting(Entry, Ids, Arc<Mailbox>),
}

/// The requests of all rings of a session that are answered later.
#[derive(Debug, Default)]
pub(super) struct Postponed {
    states: Mutex<HashMap<u64, State>>,
    /// How many there are, so that others need not take the lock.
    count: AtomicUsize,
}

impl Postponed {
    fn states(&self) -> MutexGuard<'_, HashMap<u64, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handler that `unique` was given to is going to answer it later.
    pub(super) fn announce(&self, unique: Unique) {
        let mut states = self.states();
        states.insert(unique.0, State::Announced);
        self.count.store(states.len(), Ordering::SeqCst);
    }

    /// The handler has returned without an answer. Gives the entry back if there is nothing to wait for: it was answered
    /// meanwhile, and holds the reply, or never will be, and holds `EIO`.
    pub(super) fn put_away(&self, mut entry: Entry, ids: Ids, mailbox: &Arc<Mailbox>) -> Option<Entry> {
        let mut states = self.states();
        match states.remove(&ids.unique.0) {
            Some(State::Announced) => {
                states.insert(ids.unique.0, State::Waiting(entry, ids, Arc::clone(mailbox)));
                None
            }
            other => {
                self.count.store(states.len(), Ordering::SeqCst);
                drop(states);
                match other {
                    Some(State::Answered(message)) => entry.finish_with(ids, &message),
                    _ => entry.finish(ids, crate::transport::Answer::Nothing),
                }
                Some(entry)
            }
        }
    }

    /// Takes `message`, a whole reply, to the entry of its request. `false` if it is not the reply to one of these.
    pub(super) fn answer(&self, unique: Unique, message: &[u8]) -> bool {
        if self.count.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let mut states = self.states();
        match states.remove(&unique.0) {
            None => false,
            Some(State::Waiting(mut entry, ids, mailbox)) => {
                self.count.store(states.len(), Ordering::SeqCst);
                drop(states);
                entry.finish_with(ids, message);
                mailbox.deliver(Mail::Answered(entry, ids));
                true
            }
            Some(State::Announced | State::Answered(_)) => {
                states.insert(unique.0, State::Answered(message.to_vec()));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fusewire_proto::ReplyHeader;

    use super::*;

    const IDS: Ids = Ids { commit: 8, unique: Unique(8) };

    fn message(body: &[u8]) -> Vec<u8> {
        [&ReplyHeader::new(IDS.unique, None).encode(body.len())[..], body].concat()
    }

    fn entry() -> Entry {
        Entry::new(0, 4096).unwrap()
    }

    #[test]
    fn answer_goes_to_the_worker_that_put_the_entry_away() {
        let (postponed, mailbox) = (Postponed::default(), Arc::new(Mailbox::new().unwrap()));
        postponed.announce(IDS.unique);
        assert!(postponed.put_away(entry(), IDS, &mailbox).is_none());
        assert!(!postponed.answer(Unique(10), &message(b"another")));
        assert!(postponed.answer(IDS.unique, &message(b"late")));
        let mut delivered = Vec::new();
        mailbox.empty(&mut delivered);
        let Some(Mail::Answered(mut entry, ids)) = delivered.pop() else { panic!("no answer") };
        assert_eq!((ids, entry.parts().payload.get(..4)), (IDS, Some(&b"late"[..])));
        assert!(!postponed.answer(IDS.unique, &message(b"again")));
    }

    #[test]
    fn answer_before_the_handler_returns_stays_with_its_entry() {
        let (postponed, mailbox) = (Postponed::default(), Arc::new(Mailbox::new().unwrap()));
        postponed.announce(IDS.unique);
        assert!(postponed.answer(IDS.unique, &message(b"soon")));
        let mut entry = postponed.put_away(entry(), IDS, &mailbox).unwrap();
        assert_eq!(entry.parts().payload.get(..4), Some(&b"soon"[..]));
    }

    #[test]
    fn request_that_nobody_answers_is_an_error() {
        let (postponed, mailbox) = (Postponed::default(), Arc::new(Mailbox::new().unwrap()));
        let mut entry = postponed.put_away(entry(), IDS, &mailbox).unwrap();
        assert_eq!(entry.parts().header.get(4..8), Some(&(-libc::EIO).to_ne_bytes()[..]));
    }
}
