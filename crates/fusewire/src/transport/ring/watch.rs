//! Whether anybody looks at the workers of rings, and how one of them wakes who does.
//!
//! Whoever looks sleeps when nothing happens, and is woken by the first request. What is looked at is in `reserve`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::postponed::Mailbox;

/// Who looks at the workers now and then.
#[derive(Debug)]
pub(super) struct Watch {
    sleeps: AtomicBool,
    mailbox: Arc<Mailbox>,
}

impl Watch {
    /// One that is told of requests through `mailbox`. It needs no waking as yet: there is nothing to look at.
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { sleeps: AtomicBool::new(false), mailbox }
    }

    /// From now on requests wake it. Who was at one before must be looked for after this.
    pub(super) fn sleep(&self) {
        self.sleeps.store(true, Ordering::SeqCst);
    }

    /// Whether it waits to be woken.
    pub(super) fn sleeps(&self) -> bool {
        self.sleeps.load(Ordering::SeqCst)
    }

    /// It looks again, whatever happens.
    pub(super) fn stay_awake(&self) {
        self.sleeps.store(false, Ordering::SeqCst);
    }

    /// Has it come at once.
    pub(super) fn call(&self) {
        self.mailbox.ring();
    }

    /// A worker is at a request.
    pub(super) fn wake(&self) {
        if self.sleeps.load(Ordering::SeqCst) && self.sleeps.swap(false, Ordering::SeqCst) {
            self.mailbox.ring();
        }
    }
}
