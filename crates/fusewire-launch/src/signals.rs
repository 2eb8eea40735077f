//! The signals that end a command: blocked in every thread, and waited for in one.
//!
//! What is done about them is not known here.

use std::fs;
use std::io;
use std::thread;

use nix::sys::signal::{SigSet, Signal};

/// Blocks SIGINT, SIGTERM and SIGHUP in this thread and those that it starts from now on, and calls `tell` for each that
/// comes, from a thread of its own. SIGHUP is left alone where it is ignored, as under nohup(1).
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn watch(tell: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
    let mut signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    if !is_ignored(Signal::SIGHUP) {
        signals.add(Signal::SIGHUP);
    }
    signals.thread_block()?;
    let wait = move || {
        // Waiting fails only for signals that do not exist.
        while let Ok(signal) = signals.wait() {
            tell(signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(())
}

/// Whether the process ignores `signal`. Without `/proc`, it is taken not to.
fn is_ignored(signal: Signal) -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, signal))
}

/// Reads the line `SigIgn` of `/proc/PID/status`: a bit for each signal, in hexadecimal.
fn ignores(status: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0);
    let bit = u32::try_from(i32::from(signal as i16)).unwrap_or(0).saturating_sub(1);
    mask.checked_shr(bit).is_some_and(|shifted| shifted & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status = "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        assert!(ignores(status, Signal::SIGHUP));
        assert!(ignores(status, Signal::SIGPIPE));
        assert!(!ignores(status, Signal::SIGINT));
        assert!(!ignores("", Signal::SIGHUP));
    }
}
