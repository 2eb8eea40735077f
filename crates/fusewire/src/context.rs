//! Who asks: the circumstances of a request, and whether its caller has given up.
//!
//! What is asked is in the operation; this is what every operation has beside.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::task::Poll;

use fusewire_proto::ext::{Extensions, SecurityContext};
use fusewire_proto::{Gid, Negotiated, Pid, RequestHeader, Uid, Unique};

use crate::caller;
use crate::transport::Transport;

/// The circumstances of a request.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    header: RequestHeader,
    extensions: Extensions<'a>,
    negotiated: &'a Negotiated,
    slot: &'a Slot,
    transport: Option<&'a Weak<dyn Transport>>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        header: RequestHeader,
        extensions: Extensions<'a>,
        negotiated: &'a Negotiated,
        slot: &'a Slot,
    ) -> Self {
        Self { header, extensions, negotiated, slot, transport: None }
    }

    /// The same; a sink may send over `transport` what it is lent.
    pub(crate) fn over(self, transport: Option<&'a Weak<dyn Transport>>) -> Self {
        Self { transport, ..self }
    }

    /// How a sink sends what it is lent.
    pub(crate) fn transport(&self) -> Option<&'a Weak<dyn Transport>> {
        self.transport
    }

    /// Circumstances of your own making, to call a filesystem's methods directly. `slot` stands for the worker.
    #[must_use]
    pub fn detached(header: RequestHeader, negotiated: &'a Negotiated, slot: &'a Slot) -> Self {
        Self::new(header, Extensions::default(), negotiated, slot)
    }

    /// The number of the request.
    #[must_use]
    pub fn unique(&self) -> Unique {
        self.header.unique
    }

    /// The user id that access checks are made with (fsuid). `None` on an idmapped mount, except when something is created.
    #[must_use]
    pub fn uid(&self) -> Option<Uid> {
        self.header.uid
    }

    /// The group id that access checks are made with (fsgid). `None` as for [`uid`](Self::uid).
    #[must_use]
    pub fn gid(&self) -> Option<Gid> {
        self.header.gid
    }

    /// The process that asks; 0 if it is in a pid namespace that the mount cannot see, or the kernel itself.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.header.pid
    }

    /// Groups of the caller that came along with a request that makes an inode, with `CREATE_SUPP_GROUP`.
    pub fn groups(&self) -> impl Iterator<Item = Gid> + use<'a> {
        self.extensions.groups()
    }

    /// The supplementary groups of the caller, as `/proc` tells them now: reading that costs more than most operations, so ask only
    /// when the answer depends on it. None if the caller is gone or cannot be seen from here.
    #[must_use]
    pub fn supplementary_groups(&self) -> Vec<Gid> {
        caller::supplementary_groups(self.pid())
    }

    /// Security contexts that came along with a request that makes an inode, with `SECURITY_CTX`.
    pub fn security_contexts(&self) -> impl Iterator<Item = SecurityContext<'a>> + use<'a> {
        self.extensions.security_contexts()
    }

    /// What was negotiated for the connection.
    #[must_use]
    pub fn negotiated(&self) -> &'a Negotiated {
        self.negotiated
    }

    /// Whether the caller has given up: it got a signal, and waits only for an answer to be let go. `EINTR` is the right
    /// one, if nothing was done yet.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.slot.interrupted.load(Ordering::SeqCst) == self.header.unique.0
    }

    /// Waits until the caller gives up, as a future: for `async` code to select on.
    pub fn interrupted(&self) -> impl Future<Output = ()> + Send + use<'a> {
        let cx = *self;
        std::future::poll_fn(move |task| {
            let waker = task.waker().clone();
            *cx.slot.wake() = Some(Arc::new(move || waker.wake_by_ref()));
            // Either the interrupt finds the waker, or it is seen here.
            if cx.is_interrupted() { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    pub(crate) fn header(&self) -> &RequestHeader {
        &self.header
    }

    pub(crate) fn extensions(&self) -> &Extensions<'a> {
        &self.extensions
    }

    /// Runs `wait`, which blocks; when the caller gives up meanwhile, `wake` is called from another thread to end the
    /// blocking. If the caller has given up before, it is called first. It may be called more than once.
    ///
    /// `wake` must not block: it sets off a condition variable, an event or a signal.
    pub fn on_interrupt<R>(&self, wake: Arc<dyn Fn() + Send + Sync>, wait: impl FnOnce() -> R) -> R {
        *self.slot.wake() = Some(Arc::clone(&wake));
        // Either the interrupt finds the call to make, or it is seen here.
        if self.is_interrupted() {
            wake();
        }
        let result = wait();
        *self.slot.wake() = None;
        result
    }
}

/// Who is at a request: a worker, or whoever took it along to answer later. Knows whether the caller has given up.
#[derive(Default)]
pub struct Slot {
    kind: Kind,
    /// The request being served; 0: none.
    current: AtomicU64,
    /// The last request of this worker that was interrupted.
    interrupted: AtomicU64,
    served: AtomicU64,
    wake: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

/// What kind of a slot it is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    /// A worker of the pool.
    Pool,
    /// A worker with a ring.
    Ring,
    /// A request that was taken along to be answered later; or one that a test makes.
    #[default]
    Alone,
}

/// A request has arrived and its number is not read yet.
const ARRIVED: u64 = u64::MAX;

impl Slot {
    /// A request has arrived: this worker is at work from now on.
    pub(crate) fn arrived(&self) {
        self.current.store(ARRIVED, Ordering::SeqCst);
    }

    /// Whether what this worker is at came through a ring, and is answered there.
    pub(crate) fn has_ring(&self) -> bool {
        self.kind == Kind::Ring
    }

    /// Whether its worker is at a request.
    pub(crate) fn is_at_work(&self) -> bool {
        self.current.load(Ordering::SeqCst) != 0
    }

    /// How many requests were served.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// From now on an interrupt of `unique` finds this worker. One that comes too early is sent again.
    pub(crate) fn begin(&self, unique: Unique) {
        self.current.store(unique.0, Ordering::Release);
    }

    /// The request is served.
    pub(crate) fn end(&self) {
        self.current.store(0, Ordering::Release);
        // Only this worker writes it.
        self.served.store(self.served.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    fn wake(&self) -> MutexGuard<'_, Option<Arc<dyn Fn() + Send + Sync>>> {
        self.wake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn interrupt(&self, target: Unique) -> Outcome {
        if self.current.load(Ordering::SeqCst) != target.0 {
            return Outcome::NotFound;
        }
        self.interrupted.store(target.0, Ordering::SeqCst);
        let wake = self.wake().clone();
        // If the worker has gone on to another request meanwhile, the call is not for it.
        if let Some(wake) = wake.filter(|_| self.current.load(Ordering::SeqCst) == target.0) {
            wake();
        }
        Outcome::Delivered
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("current", &self.current).finish_non_exhaustive()
    }
}

/// What became of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The request knows.
    Delivered,
    /// Nobody is at such a request (yet, or any more).
    NotFound,
}

/// All slots of a session.
#[derive(Debug, Default)]
pub struct Slots {
    all: RwLock<Vec<Arc<Slot>>>,
    early: Early,
}

/// Interrupts of requests that nobody was at. One through `/dev/fuse` is sent again until somebody is. Those of requests in
/// rings are not, so they are kept for a while; numbers of requests are never used again.
#[derive(Debug, Default)]
struct Early {
    any: AtomicBool,
    targets: Mutex<VecDeque<Unique>>,
}

/// How many of them are kept. Most are of requests that were answered meanwhile.
const EARLY: usize = 64;

impl Early {
    fn targets(&self) -> MutexGuard<'_, VecDeque<Unique>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, target: Unique) {
        let mut targets = self.targets();
        if targets.len() == EARLY {
            targets.pop_front();
        }
        targets.push_back(target);
        self.any.store(true, Ordering::SeqCst);
    }

    /// Whether `unique` was interrupted before; that is known once.
    fn take(&self, unique: Unique) -> bool {
        if !self.any.load(Ordering::SeqCst) {
            return false;
        }
        let mut targets = self.targets();
        let place = targets.iter().position(|target| *target == unique);
        let found = place.and_then(|place| targets.remove(place)).is_some();
        self.any.store(!targets.is_empty(), Ordering::SeqCst);
        found
    }
}

impl Slots {
    /// A slot for a worker.
    pub(crate) fn add_worker(&self) -> Arc<Slot> {
        self.add(Slot { kind: Kind::Pool, ..Slot::default() })
    }

    /// A slot for a worker with a ring.
    pub(crate) fn add_ring(&self) -> Arc<Slot> {
        self.add(Slot { kind: Kind::Ring, ..Slot::default() })
    }

    /// A slot for a request that is answered later, and that a worker is at now. What the worker was told holds for it.
    pub(crate) fn add_deferred(&self, unique: Unique) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        slot.begin(unique);
        // Interrupts hold the lock for reading: each is either seen here, or sees the new slot.
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let told = |slot: &Arc<Slot>| {
            slot.current.load(Ordering::SeqCst) == unique.0 && slot.interrupted.load(Ordering::SeqCst) == unique.0
        };
        if all.iter().any(told) {
            slot.interrupted.store(unique.0, Ordering::SeqCst);
        }
        all.push(Arc::clone(&slot));
        slot
    }

    fn add(&self, slot: Slot) -> Arc<Slot> {
        let slot = Arc::new(slot);
        self.all.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&slot));
        slot
    }

    pub(crate) fn remove(&self, slot: &Arc<Slot>) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| !Arc::ptr_eq(other, slot));
    }

    /// The worker of `slot`, which has a ring, is at `unique` from now on.
    pub(crate) fn begin_in_ring(&self, slot: &Slot, unique: Unique) {
        slot.current.store(unique.0, Ordering::SeqCst);
        // Either the interrupt finds the worker, or it is found here.
        if self.early.take(unique) {
            slot.interrupted.store(unique.0, Ordering::SeqCst);
        }
    }

    /// Tells the request `target` that its caller has given up; or keeps it in mind, if there may be requests in rings.
    pub(crate) fn interrupt(&self, target: Unique) -> Outcome {
        let outcome = self.find(target);
        if outcome == Outcome::Delivered || !self.have_rings() {
            return outcome;
        }
        self.early.keep(target);
        self.find(target)
    }

    /// Tells every request that is under way that its caller has given up.
    pub(crate) fn interrupt_all(&self) {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        for slot in &*all {
            match slot.current.load(Ordering::SeqCst) {
                0 | ARRIVED => {}
                unique => {
                    slot.interrupt(Unique(unique));
                }
            }
        }
    }

    fn have_rings(&self) -> bool {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|slot| slot.has_ring())
    }

    /// Tells all who are at it, since the worker may be about to leave it to somebody who answers later.
    fn find(&self, target: Unique) -> Outcome {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let delivered = all.iter().filter(|slot| slot.interrupt(target) == Outcome::Delivered).count();
        if delivered > 0 { Outcome::Delivered } else { Outcome::NotFound }
    }

    /// How many workers are at a request, and how many requests were served by those there are.
    pub(crate) fn activity(&self) -> (usize, u64) {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let workers = || all.iter().filter(|slot| slot.kind == Kind::Pool);
        let at_work = workers().filter(|slot| slot.is_at_work()).count();
        let served = workers().fold(0_u64, |sum, slot| sum.wrapping_add(slot.served()));
        (at_work, served)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a request that is taken along knows that it was interrupted, when `act` is done to it and to the worker's slots.
    fn taken_along_knows(act: impl FnOnce(&Slots, &dyn Fn() -> Arc<Slot>) -> Arc<Slot>) -> bool {
        let (slots, unique, negotiated) = (Slots::default(), Unique(8), Negotiated::default());
        slots.add_worker().begin(unique);
        let slot = act(&slots, &|| slots.add_deferred(unique));
        Context::detached(RequestHeader::new(unique), &negotiated, &slot).is_interrupted()
    }

    #[test]
    fn regression_interrupt_reaches_a_request_before_and_after_it_is_taken_along() {
        assert!(taken_along_knows(|slots, take_along| {
            assert_eq!(slots.interrupt(Unique(8)), Outcome::Delivered);
            take_along()
        }));
        assert!(taken_along_knows(|slots, take_along| {
            let slot = take_along();
            assert_eq!(slots.interrupt(Unique(8)), Outcome::Delivered);
            slot
        }));
        assert!(!taken_along_knows(|slots, take_along| {
            assert_eq!(slots.interrupt(Unique(6)), Outcome::NotFound);
            take_along()
        }));
    }
}
