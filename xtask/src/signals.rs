//! The signals that ask this program to end, held back while it has something to end first. What to do about one is the
//! holder's affair.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that are held back until this is dropped. Programs that are started meanwhile inherit that.
pub(crate) struct Signals {
    before: SigSet,
    pending: SignalFd,
}

/// Lets every signal through again, in a program whose parent holds some back.
pub(crate) fn let_through() -> Result<()> {
    SigSet::all().thread_unblock().context("letting signals through")
}

impl Signals {
    /// Holds back what asks to end: Ctrl-C, a `kill`, a terminal that is closed.
    pub(crate) fn hold() -> Result<Self> {
        Self::hold_these(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])
    }

    /// The same, and what tells that a child has ended.
    pub(crate) fn hold_with_ends() -> Result<Self> {
        Self::hold_these(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD])
    }

    fn hold_these(signals: &[Signal]) -> Result<Self> {
        let signals: SigSet = signals.iter().copied().collect();
        let before = SigSet::thread_get_mask().context("reading the signal mask")?;
        signals.thread_block().context("holding back signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let pending = SignalFd::with_flags(&signals, flags).context("opening a signalfd")?;
        Ok(Self { before, pending })
    }

    /// A signal that came, without waiting for one.
    pub(crate) fn heard(&self) -> Result<Option<Signal>> {
        let Some(signal) = self.pending.read_signal().context("reading a signal")? else { return Ok(None) };
        let number = i32::try_from(signal.ssi_signo).context("reading a signal")?;
        Signal::try_from(number).map(Some).context("reading a signal")
    }

    /// The next signal, for which it waits for `patience` at most.
    pub(crate) fn wait(&self, patience: Duration) -> Result<Option<Signal>> {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], timeout).context("waiting for a signal")?;
        self.heard()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pending.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // A mask that was valid is valid.
        let _ = self.before.thread_set_mask();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_is_heard_by_its_holder() {
        let signals = Signals::hold().unwrap();
        assert_eq!(signals.wait(Duration::from_millis(1)).unwrap(), None);
        nix::sys::signal::raise(Signal::SIGTERM).unwrap();
        assert_eq!(signals.wait(Duration::from_secs(20)).unwrap(), Some(Signal::SIGTERM));
        assert_eq!(signals.heard().unwrap(), None);
    }
}
