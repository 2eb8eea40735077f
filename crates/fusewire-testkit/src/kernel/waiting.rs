//! Receiving: who waits for an answer takes in whatever comes, for all who wait, and does what it asks for.
//!
//! What a message means is judged in `inbox`.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fusewire_proto::op;
use fusewire_proto::{Errno, NodeId, Opcode, RequestHeader, Unique, encode_request};

use crate::kernel::state::{Errand, State};
use crate::kernel::{Answer, Caller, Draft, Heard, Kernel, Ticket};
use crate::laws::Law;
use crate::wire::Received;

/// The time after which somebody who waits looks whether it is his turn to receive.
const TURN: Duration = Duration::from_millis(1);

impl Kernel {
    /// Waits for the answer to a draft that was delivered.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn wait_for(&self, draft: &Draft) -> Result<Answer, Errno> {
        self.wait(Ticket { unique: draft.unique })
    }

    /// Waits for the answer to a request.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn wait(&self, ticket: Ticket) -> Result<Answer, Errno> {
        let mut deadline = None;
        let mut state = self.lock();
        loop {
            let unique = state.current(ticket.unique);
            if let Some(outcome) = state.take_outcome(unique) {
                self.uphold(state);
                return outcome;
            }
            if state.ended {
                state.pending.remove(&unique);
                return Err(Errno::ECONNABORTED);
            }
            if let Some(errand) = state.errands.pop() {
                drop(state);
                self.run(errand);
                state = self.lock();
                continue;
            }
            let left = if self.is_direct() {
                Duration::ZERO
            } else {
                let patience = self.shared.config.patience;
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + patience);
                deadline.saturating_duration_since(Instant::now())
            };
            if left.is_zero() && !self.is_direct() {
                return self.lost(state, unique);
            }
            let quiet;
            (state, quiet) = self.listen(state, left);
            // With a direct wire, what has not come by now never comes.
            if quiet && self.is_direct() && state.is_owed(unique) {
                return self.lost(state, unique);
            }
        }
    }

    /// Receives one message, or waits until whoever receives has stopped. `true` if nothing came.
    pub(super) fn listen<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        patience: Duration,
    ) -> (MutexGuard<'s, State>, bool) {
        if state.receiving {
            state.waiting += 1;
            let (mut state, _) =
                self.shared.bell.wait_timeout(state, patience.max(TURN)).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
            return (state, false);
        }
        state.receiving = true;
        drop(state);
        let mut room = self.shared.room.lock().unwrap_or_else(PoisonError::into_inner);
        let received = self.shared.wire.receive(&mut room, patience);
        let mut state = self.lock();
        state.receiving = false;
        let mut quiet = false;
        match received {
            Ok(Received::Message(length)) => state.hear(&room, length),
            Ok(Received::Quiet) => quiet = true,
            Ok(Received::End) | Err(_) => state.ended = true,
        }
        // Ringing is a system call.
        if state.waiting > 0 {
            self.shared.bell.notify_all();
        }
        (state, quiet)
    }

    /// No answer came in time.
    fn lost(&self, mut state: MutexGuard<'_, State>, unique: Unique) -> Result<Answer, Errno> {
        if let Some(pending) = state.pending.remove(&unique) {
            let law = if pending.interrupted { Law::InterruptEndsWait } else { Law::AnswersEveryRequest };
            state.book.check(law, Err(format!("no answer to {} #{unique}", pending.opcode)));
            // One fault is one violation, even if the answer comes after all.
            state.tolerated.insert(unique);
        }
        self.uphold(state);
        Err(Errno::ETIMEDOUT)
    }

    /// Takes in all that has come, and does what it asks for, without waiting.
    pub fn catch_up(&self) {
        let mut state = self.lock();
        loop {
            if let Some(errand) = state.errands.pop() {
                drop(state);
                self.run(errand);
                state = self.lock();
                continue;
            }
            if state.ended || state.receiving {
                break;
            }
            let quiet;
            (state, quiet) = self.listen(state, Duration::ZERO);
            if quiet {
                break;
            }
        }
        self.uphold(state);
    }

    fn run(&self, errand: Errand) {
        // An error means that the connection is over, which shows soon enough.
        let _ = match errand {
            // The cache holds nothing: the answer is empty.
            Errand::Retrieve { node, notify_unique, offset } => self
                .draft_as(&Caller::default(), op::NotifyReply::new(node, notify_unique, offset, &[]))
                .and_then(|draft| self.deliver(&draft)),
            Errand::Resend => {
                self.resend();
                Ok(())
            }
            Errand::InterruptAgain(target) => {
                std::thread::yield_now();
                self.interrupt_unique(target)
            }
        };
    }

    /// The caller of this request got a signal: sends `INTERRUPT`. If the daemon answers `EAGAIN`, it is sent again while the
    /// request is waited for.
    ///
    /// # Errors
    /// `ENOTCONN` if the connection is over.
    pub fn interrupt(&self, ticket: &Ticket) -> Result<(), Errno> {
        self.interrupt_unique(ticket.unique)
    }

    /// Sends `INTERRUPT` for a request that is under way, was answered, or was never sent.
    ///
    /// # Errors
    /// `ENOTCONN` if the connection is over.
    pub fn interrupt_unique(&self, target: Unique) -> Result<(), Errno> {
        let mut state = self.lock();
        if state.no_interrupts {
            return Ok(());
        }
        if let Some(pending) = state.pending.get_mut(&target) {
            pending.interrupted = true;
        }
        let header = RequestHeader::new(Unique(target.0 | 1));
        let bytes = encode_request(&header, &op::Interrupt::new(NodeId(0), target), &state.negotiated)
            .map_err(|_| Errno::EIO)?;
        *state.sent.entry(Opcode::INTERRUPT).or_default() += 1;
        state.exchange.sent(&bytes);
        drop(state);
        self.transmit(&bytes)
    }

    /// Every request under way goes out again with bit 63 of its number set, which is the number that the answer must carry:
    /// what the kernel does when a daemon sends the notification `RESEND` (`fs/fuse/dev.c fuse_resend()`).
    pub fn resend(&self) {
        let mut state = self.lock();
        let again = state.mark_resent();
        for bytes in &again {
            state.exchange.sent(bytes);
        }
        drop(state);
        for bytes in &again {
            if self.transmit(bytes).is_err() {
                break;
            }
        }
    }

    /// What the daemon has told unasked since the last call. Takes in what has come first.
    pub fn notifications(&self) -> Vec<Heard> {
        self.catch_up();
        std::mem::take(&mut self.lock().notifications)
    }

    /// As [`notifications`](Self::notifications), of what was taken in already.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        let mut state = self.lock();
        if state.notifications.is_empty() { Vec::new() } else { std::mem::take(&mut state.notifications) }
    }
}
