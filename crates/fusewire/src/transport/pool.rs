//! The workers that serve a transport: one takes requests, one watches, more join when that is not enough.
//!
//! A worker reads a request, serves it and sends the reply, all in one thread: nothing is handed over, so a request costs two
//! system calls and no wake-up but the kernel's own. When a handler blocks, the thread that watches reads instead. When to
//! do so is decided in the module `policy`; here are the threads.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::Duration;

use nix::unistd::{Pid, gettid};

use crate::context::{Slot, Slots};
use crate::transport::following::{Callers, Follower};
use crate::transport::policy::{Decision, Policy, Seen};
use crate::transport::{Received, ReplyBuffer, RequestBuffer, Service, Transport, respond};

/// The shortest time between two looks of the watch, while something happens.
const TICK: Duration = Duration::from_millis(2);

/// How many threads may serve a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    most: usize,
}

impl Default for Workers {
    /// As many as are needed: each request that blocks, such as a wait for a lock, holds one.
    fn default() -> Self {
        Self { most: 256 }
    }
}

impl Workers {
    /// A single thread: one request after the other. A handler that waits for another request then waits for ever.
    #[must_use]
    pub const fn single() -> Self {
        Self { most: 1 }
    }

    /// How many of them may have rings, where requests come through io_uring. The others are for what still comes through
    /// `/dev/fuse`.
    pub(super) fn with_rings(self) -> usize {
        self.most - self.beside_rings().most
    }

    /// How many of them are for `/dev/fuse`, where requests come through io_uring.
    pub(crate) fn beside_rings(self) -> Self {
        Self::at_most((self.most / 8).max(1))
    }

    /// No more than `most` threads, and at least one.
    #[must_use]
    pub const fn at_most(most: usize) -> Self {
        Self { most: if most == 0 { 1 } else { most } }
    }
}

/// Who does what.
#[derive(Debug)]
struct Roster {
    threads: usize,
    readers: Vec<Pid>,
    parked: usize,
    watched: bool,
    failure: Option<io::Error>,
    /// What whoever watches has seen, and those who watched before.
    policy: Policy,
    follower: Follower,
}

struct Pool<'p> {
    transport: &'p dyn Transport,
    service: &'p dyn Service,
    slots: &'p Slots,
    stop: &'p AtomicBool,
    most: usize,
    cpus: usize,
    roster: Mutex<Roster>,
    /// Wakes the watch, and those who are parked.
    bell: Condvar,
    ended: AtomicBool,
    watch_sleeps: AtomicBool,
    /// How many readers are to stop reading.
    superfluous: AtomicUsize,
    /// Whether no more than one reads.
    alone: AtomicBool,
    callers: Callers,
}

/// Serves `transport` until the connection ends, `stop` is set (looked at after each request), or receiving fails.
///
/// # Errors
/// What the transport could not go on with.
pub(crate) fn serve(
    transport: &dyn Transport,
    service: &dyn Service,
    slots: &Slots,
    stop: &AtomicBool,
    workers: Workers,
) -> io::Result<()> {
    let pool = Pool {
        transport,
        service,
        slots,
        stop,
        most: workers.most,
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        roster: Mutex::new(Roster {
            threads: 1,
            readers: Vec::new(),
            parked: 0,
            watched: false,
            failure: None,
            policy: Policy::default(),
            follower: Follower::new(transport.has_local_callers()),
        }),
        bell: Condvar::new(),
        ended: AtomicBool::new(false),
        watch_sleeps: AtomicBool::new(false),
        superfluous: AtomicUsize::new(0),
        alone: AtomicBool::new(true),
        callers: Callers::default(),
    };
    std::thread::scope(|scope| pool.work(scope));
    let roster = pool.roster.into_inner().unwrap_or_else(PoisonError::into_inner);
    roster.failure.map_or(Ok(()), Err)
}

impl Pool<'_> {
    /// The life of a worker: read when it is its turn, watch or wait otherwise.
    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let slot = self.slots.add_worker();
        while self.wait_for_turn(scope) {
            match self.read(&slot) {
                Ok(Leave::Superfluous) => {
                    let mut roster = self.roster();
                    self.change_readers(&mut roster, |readers| readers.retain(|reader| *reader != gettid()));
                    if roster.parked > 0 {
                        roster.threads -= 1;
                        break;
                    }
                }
                Ok(Leave::End) => self.end(None),
                Err(error) => self.end(Some(error)),
            }
        }
        self.slots.remove(&slot);
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_readers(&self, roster: &mut Roster, change: impl FnOnce(&mut Vec<Pid>)) {
        roster.follower.leave();
        change(&mut roster.readers);
        self.alone.store(roster.readers.len() < 2, Ordering::Relaxed);
    }

    fn end(&self, failure: Option<io::Error>) {
        // Nobody waits for answers any more, unless it is we who stop.
        if !self.stop.load(Ordering::SeqCst) {
            self.slots.interrupt_all();
        }
        let mut roster = self.roster();
        self.ended.store(true, Ordering::SeqCst);
        // Now, while the reader is sure to be there, which is this thread. It may go on with something else.
        roster.follower.leave();
        if roster.failure.is_none() {
            roster.failure = failure;
        }
        self.bell.notify_all();
    }

    /// Waits until this worker is to read. `false` at the end.
    fn wait_for_turn<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) -> bool {
        let mut roster = self.roster();
        loop {
            if self.ended.load(Ordering::SeqCst) {
                return false;
            }
            if roster.readers.is_empty() {
                self.change_readers(&mut roster, |readers| readers.push(gettid()));
                self.replace_watch(&mut roster, scope);
                return true;
            }
            if !roster.watched {
                roster.watched = true;
                roster = self.watch(roster);
                roster.watched = false;
                if self.ended.load(Ordering::SeqCst) {
                    return false;
                }
                self.change_readers(&mut roster, |readers| readers.push(gettid()));
                self.replace_watch(&mut roster, scope);
                return true;
            }
            roster.parked += 1;
            roster = self.bell.wait(roster).unwrap_or_else(PoisonError::into_inner);
            roster.parked -= 1;
        }
    }

    /// Sees to it that somebody watches now that this worker reads: one who is parked, or a new one.
    fn replace_watch<'scope>(&'scope self, roster: &mut Roster, scope: &'scope Scope<'scope, '_>) {
        if roster.watched || roster.threads >= self.most {
            return;
        }
        if roster.parked > 0 {
            self.bell.notify_all();
            return;
        }
        let spawned = std::thread::Builder::new()
            .name(String::from("fusewire-worker"))
            .spawn_scoped(scope, move || self.work(scope));
        match spawned {
            Ok(_) => roster.threads += 1,
            Err(error) => tracing::warn!(%error, "starting a worker; going on with those there are"),
        }
    }

    /// Watches the readers until one more is needed, or the end.
    fn watch<'g>(&'g self, mut roster: MutexGuard<'g, Roster>) -> MutexGuard<'g, Roster> {
        while !self.ended.load(Ordering::SeqCst) {
            let stretch = roster.policy.stretch();
            // A full tick, whatever else the bell rings for: less time would look like a blocked reader.
            roster = self
                .bell
                .wait_timeout_while(roster, TICK * stretch, |_| !self.ended.load(Ordering::SeqCst))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            let seen = self.see(&roster);
            match roster.policy.decide(seen, self.cpus) {
                Decision::Watch => {
                    if let [reader] = *roster.readers
                        && !self.ended.load(Ordering::SeqCst)
                    {
                        roster.follower.look(reader, &self.callers);
                    }
                }
                Decision::Grow => break,
                Decision::Shrink => self.superfluous.store(1, Ordering::Relaxed),
                Decision::Sleep => {
                    roster.follower.leave();
                    self.watch_sleeps.store(true, Ordering::SeqCst);
                    // A worker that took a request before it could see this is seen here.
                    let seen = self.see(&roster);
                    while seen.waiting > 0
                        && self.watch_sleeps.load(Ordering::SeqCst)
                        && !self.ended.load(Ordering::SeqCst)
                    {
                        roster = self.bell.wait(roster).unwrap_or_else(PoisonError::into_inner);
                    }
                    self.watch_sleeps.store(false, Ordering::SeqCst);
                }
            }
        }
        roster
    }

    fn see(&self, roster: &Roster) -> Seen {
        let (at_work, served) = self.slots.activity();
        let waiting = roster.readers.len().saturating_sub(at_work);
        let pending = waiting == 0 && self.transport.has_pending();
        Seen { readers: roster.readers.len(), waiting, served, pending }
    }

    /// Takes requests until this worker is to stop.
    fn read(&self, slot: &Arc<Slot>) -> io::Result<Leave> {
        let mut request = RequestBuffer::new(self.service.longest_request());
        let mut reply = ReplyBuffer::new(self.service.room());
        loop {
            let Received::Request(bytes) = self.transport.receive(&mut request)? else {
                return Ok(Leave::End);
            };
            slot.arrived();
            if self.watch_sleeps.load(Ordering::SeqCst) {
                let _roster = self.roster();
                self.watch_sleeps.store(false, Ordering::SeqCst);
                self.bell.notify_all();
            }
            if let Some(message) = respond(self.service, slot, bytes, &mut reply) {
                send(self.transport, message);
                if self.alone.load(Ordering::Relaxed) {
                    self.callers.served(bytes, message.len());
                }
            }
            if self.stop.load(Ordering::Relaxed) || self.ended.load(Ordering::Relaxed) {
                return Ok(Leave::End);
            }
            if self.superfluous.load(Ordering::Relaxed) > 0 && self.superfluous.swap(0, Ordering::Relaxed) > 0 {
                return Ok(Leave::Superfluous);
            }
        }
    }
}

/// Why a reader stops reading.
enum Leave {
    /// The connection is over, or the session is to stop.
    End,
    /// The others are enough.
    Superfluous,
}

/// Sends a reply. That nobody waits for it any more, or that the connection is over, is no fault.
pub(crate) fn send(transport: &dyn Transport, message: &[u8]) {
    report(transport.send(message), message.len());
}

/// Logs what became of a reply of `length` bytes, if it is worth it.
pub(crate) fn report(outcome: io::Result<()>, length: usize) {
    if let Err(error) = outcome {
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::EPIPE | libc::ECONNABORTED | libc::ENOTCONN) => {}
            _ => tracing::error!(%error, length, "sending a reply"),
        }
    }
}
