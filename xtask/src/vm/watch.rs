//! Listens to a guest: its events, its silence, its end, and the signals that ask this program to end. It judges nothing.

use std::collections::VecDeque;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::event::Event;
use crate::signals::Signals;

/// What was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Event(Event),
    /// Nothing for as long as was asked.
    Silence,
    /// The guest's port is closed: it has ended.
    End,
    /// Somebody wants this program to end.
    Signal(Signal),
}

/// Turns what a guest writes into events.
pub(super) struct Listener<'a> {
    port: ChildStdout,
    signals: &'a Signals,
    bytes: Vec<u8>,
    events: VecDeque<Event>,
}

impl<'a> Listener<'a> {
    /// Listens to a port.
    pub(super) fn new(port: ChildStdout, signals: &'a Signals) -> Self {
        Self { port, signals, bytes: Vec::new(), events: VecDeque::new() }
    }

    /// Waits for the next thing, `patience` at most.
    pub(super) fn next(&mut self, patience: Duration) -> Result<Heard> {
        let end = Instant::now() + patience;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Heard::Event(event));
            }
            let left = end.saturating_duration_since(Instant::now());
            // A poll takes up to 2^31 ms; nobody waits that long.
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut asked = [
                PollFd::new(self.port.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            if poll(&mut asked, timeout).context("waiting for the guest")? == 0 {
                return Ok(Heard::Silence);
            }
            if let Some(signal) = self.signals.heard()? {
                return Ok(Heard::Signal(signal));
            }
            let [port, _] = asked;
            if port.any() == Some(true) && !self.receive()? {
                return Ok(Heard::End);
            }
        }
    }

    /// Reads once; false at the end. What has no newline at the end is no event.
    fn receive(&mut self) -> Result<bool> {
        let mut chunk = [0; 4096];
        let length = self.port.read(&mut chunk).context("reading from the guest")?;
        self.bytes.extend(chunk.get(..length).unwrap_or_default());
        while let Some(at) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=at).collect();
            self.events.extend(Event::parse(&String::from_utf8_lossy(&line)));
        }
        Ok(length > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn guest(script: &str) -> (Child, ChildStdout) {
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let port = child.stdout.take().unwrap();
        (child, port)
    }

    #[test]
    fn events_then_the_end_are_heard() {
        let (mut child, port) = guest(r"printf '@ok\ta\t1\nnoise\n@en'; printf 'd\n@cut'");
        let signals = Signals::hold().unwrap();
        let mut listener = Listener::new(port, &signals);
        let long = Duration::from_secs(20);
        let passed = Event::Passed { name: "a".into(), time: Duration::from_millis(1) };
        assert_eq!(listener.next(long).unwrap(), Heard::Event(passed));
        assert_eq!(listener.next(long).unwrap(), Heard::Event(Event::Ended));
        assert_eq!(listener.next(long).unwrap(), Heard::End);
        child.wait().unwrap();
    }

    #[test]
    fn silence_and_signals_are_heard() {
        let (mut child, port) = guest("exec sleep 60");
        let signals = Signals::hold().unwrap();
        let mut listener = Listener::new(port, &signals);
        assert_eq!(listener.next(Duration::from_millis(20)).unwrap(), Heard::Silence);
        nix::sys::signal::raise(Signal::SIGTERM).unwrap();
        assert_eq!(listener.next(Duration::from_secs(20)).unwrap(), Heard::Signal(Signal::SIGTERM));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
