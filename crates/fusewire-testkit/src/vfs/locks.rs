//! Locks of open files: those that the daemon decides about, and those that the kernel keeps itself.
//!
//! The daemon is asked about POSIX locks if `POSIX_LOCKS` is negotiated, about flock(2) locks if `FLOCK_LOCKS` is.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fusewire_proto::op::{self, FileLock, LockKind};
use fusewire_proto::{Errno, InitFlags, LockFlags, LockOwner, NodeId};

use crate::kernel::{Kernel, Ticket};
use crate::vfs::File;

/// A range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first byte.
    pub start: u64,
    /// The last byte.
    pub end: u64,
}

/// The last byte of a range that goes to the end of the file: 2^63 - 1 (`linux/fs.h OFFSET_MAX`).
const END: u64 = i64::MAX.cast_unsigned();

impl Range {
    /// The whole file, however long it gets.
    #[must_use]
    pub const fn all() -> Self {
        Self { start: 0, end: END }
    }

    /// `length` bytes, at least one, from `start` on.
    #[must_use]
    pub const fn of(start: u64, length: u64) -> Self {
        Self { start, end: start.saturating_add(length.saturating_sub(1)) }
    }

    fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// Locks that the kernel keeps itself.
#[derive(Debug, Default)]
pub(super) struct Table {
    held: Mutex<HashMap<NodeId, Vec<Held>>>,
    /// Rings when a lock is given back.
    bell: Condvar,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    owner: LockOwner,
    range: Range,
    kind: LockKind,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Vec<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock that is in the way.
    fn conflict(held: &[Held], wanted: Held) -> Option<Held> {
        held.iter()
            .find(|other| {
                other.owner != wanted.owner
                    && other.range.overlaps(wanted.range)
                    && (other.kind == LockKind::WRITE || wanted.kind == LockKind::WRITE)
            })
            .copied()
    }

    fn test(&self, node: NodeId, wanted: Held) -> Option<Held> {
        self.lock().get(&node).and_then(|held| Self::conflict(held, wanted))
    }

    fn set(&self, node: NodeId, wanted: Held, until: Option<Instant>) -> Result<(), Errno> {
        let mut table = self.lock();
        while table.get(&node).is_some_and(|held| Self::conflict(held, wanted).is_some()) {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match left {
                Some(left) if !left.is_zero() => {
                    table = self.bell.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                Some(_) => return Err(Errno::ETIMEDOUT),
                None => return Err(Errno::EAGAIN),
            }
        }
        let held = table.entry(node).or_default();
        cut(held, wanted.owner, wanted.range);
        held.push(wanted);
        Ok(())
    }

    pub(super) fn unlock(&self, node: NodeId, owner: LockOwner, range: Range) {
        let mut table = self.lock();
        if let Some(held) = table.get_mut(&node) {
            cut(held, owner, range);
            if held.is_empty() {
                table.remove(&node);
            }
            self.bell.notify_all();
        }
    }
}

/// Takes a range out of an owner's locks.
fn cut(held: &mut Vec<Held>, owner: LockOwner, range: Range) {
    let mut rest = Vec::new();
    held.retain(|lock| {
        if lock.owner != owner || !lock.range.overlaps(range) {
            return true;
        }
        if lock.range.start < range.start {
            rest.push(Held { range: Range { start: lock.range.start, end: range.start - 1 }, ..*lock });
        }
        if lock.range.end > range.end {
            rest.push(Held { range: Range { start: range.end + 1, end: lock.range.end }, ..*lock });
        }
        false
    });
    held.append(&mut rest);
}

/// A wait for a lock that goes on until the lock is free or the wait is interrupted.
#[must_use = "somebody has to wait for the answer"]
#[derive(Debug)]
pub struct Blocked {
    kernel: Kernel,
    ticket: Ticket,
}

impl Blocked {
    /// The process got a signal: asks the daemon to end the wait.
    ///
    /// # Errors
    /// `ENOTCONN` if the connection is over.
    pub fn interrupt(&self) -> Result<(), Errno> {
        self.kernel.interrupt(&self.ticket)
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// What the daemon says: `EINTR` after an interrupt.
    pub fn wait(self) -> Result<(), Errno> {
        self.kernel.wait(self.ticket).map(|_| ())
    }
}

impl File {
    fn request(&self, range: Range, kind: LockKind) -> FileLock {
        FileLock { start: range.start, end: range.end, kind, pid: self.mount.caller.pid }
    }

    /// Takes a POSIX lock, or gives it back (kind `UNLOCK`), without waiting, as fcntl(2) with `F_SETLK`.
    ///
    /// # Errors
    /// `EAGAIN` if another process has a lock in the way; what the daemon says.
    pub fn lock(&self, range: Range, kind: LockKind) -> Result<(), Errno> {
        let owner = self.mount.owner;
        if self.mount.has(InitFlags::POSIX_LOCKS) {
            let request = op::Setlk::new(self.pin.node, self.fh(), owner, self.request(range, kind));
            return self.mount.ask(request).map(|_| ());
        }
        self.local(owner, range, kind, None)
    }

    /// Takes a POSIX lock and waits for it, as fcntl(2) with `F_SETLKW`.
    ///
    /// # Errors
    /// What the daemon says. `ETIMEDOUT` after the patience of the kernel's configuration.
    pub fn lock_wait(&self, range: Range, kind: LockKind) -> Result<(), Errno> {
        let owner = self.mount.owner;
        if self.mount.has(InitFlags::POSIX_LOCKS) {
            return self.begin_lock(range, kind)?.wait();
        }
        self.local(owner, range, kind, Some(Instant::now() + self.mount.kernel().config().patience))
    }

    /// Begins to wait for a POSIX lock; the answer is waited for later. Needs `POSIX_LOCKS`.
    ///
    /// # Errors
    /// `ENOTCONN` if the connection is over; `EOPNOTSUPP` if the kernel keeps the locks.
    pub fn begin_lock(&self, range: Range, kind: LockKind) -> Result<Blocked, Errno> {
        if !self.mount.has(InitFlags::POSIX_LOCKS) {
            return Err(Errno::EOPNOTSUPP);
        }
        let request = op::Setlkw::new(self.pin.node, self.fh(), self.mount.owner, self.request(range, kind));
        let kernel = self.mount.kernel().clone();
        let ticket = kernel.submit_as(&self.mount.caller, request)?;
        Ok(Blocked { kernel, ticket })
    }

    /// The lock that is in the way of this one, as fcntl(2) with `F_GETLK`.
    ///
    /// # Errors
    /// What the daemon says.
    pub fn test_lock(&self, range: Range, kind: LockKind) -> Result<Option<FileLock>, Errno> {
        let owner = self.mount.owner;
        if self.mount.has(InitFlags::POSIX_LOCKS) {
            let request = op::Getlk::new(self.pin.node, self.fh(), owner, self.request(range, kind));
            let lock = self.mount.ask(request)?.lock()?.lock;
            return Ok((lock.kind != LockKind::UNLOCK).then_some(lock));
        }
        let found = self.mount.inner.locks.test(self.pin.node, Held { owner, range, kind });
        Ok(found.map(|held| self.request(held.range, held.kind)))
    }

    /// Takes a lock for the whole open file, or gives it back (kind `UNLOCK`), without waiting, as flock(2) with `LOCK_NB`.
    ///
    /// # Errors
    /// `EAGAIN` if another open file has a lock in the way; what the daemon says.
    pub fn flock(&self, kind: LockKind) -> Result<(), Errno> {
        if self.mount.has(InitFlags::FLOCK_LOCKS) {
            self.flocked.store(true, Ordering::Relaxed);
            let lock = self.request(Range::all(), kind);
            let mut request = op::Setlk::new(self.pin.node, self.fh(), self.flock_owner, lock);
            request.flags = LockFlags::FLOCK;
            return self.mount.ask(request).map(|_| ());
        }
        self.local(self.flock_owner, Range::all(), kind, None)
    }

    /// A lock that the kernel keeps itself.
    fn local(&self, owner: LockOwner, range: Range, kind: LockKind, until: Option<Instant>) -> Result<(), Errno> {
        let locks = &self.mount.inner.locks;
        if kind == LockKind::UNLOCK {
            locks.unlock(self.pin.node, owner, range);
            return Ok(());
        }
        locks.set(self.pin.node, Held { owner, range, kind }, until)
    }
}
