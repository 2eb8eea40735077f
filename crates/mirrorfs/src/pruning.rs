//! Asking the kernel to forget what it does not use, where every inode that it remembers takes a descriptor.
//!
//! A thread of its own does it: a handler that waited for it would keep the kernel from answering. Kernels before 6.18
//! cannot be asked; there the limit of descriptors is the limit of what can be looked up at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fusewire::{InodeTable, NodeId, Notifier};
use rustix::io;

use crate::inode::{Inode, Key};

/// Nodes that are named in one message.
const AT_A_TIME: usize = 1024;
/// How often something that needs a descriptor is tried again, and after how long.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(5);

/// The first protocol minor with the message that asks the kernel to forget.
const SINCE: u32 = 45;

/// Has the kernel forget inodes.
#[derive(Debug)]
pub(crate) struct Pruner {
    shared: Arc<Shared>,
    /// What the kernel may be asked about, and how; nothing if it cannot be asked.
    means: OnceLock<(Arc<InodeTable<Key, Inode>>, Notifier)>,
    /// Started when it is needed first.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// How many inodes may be held before the kernel is asked.
    budget: usize,
    /// How many there must be for it to be asked again.
    next: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Asked,
    Ending,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pruner {
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            shared: Arc::default(),
            means: OnceLock::new(),
            thread: Mutex::default(),
            budget,
            next: AtomicUsize::new(budget),
        }
    }

    /// The connection is open.
    pub(crate) fn ready(&self, inodes: &Arc<InodeTable<Key, Inode>>, minor: u32, notifier: &Notifier) {
        if minor >= SINCE {
            // There is one session.
            let _ = self.means.set((Arc::clone(inodes), notifier.clone()));
        }
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        *self.shared.state() = State::Ending;
        self.shared.changed.notify_all();
        let thread = self.thread().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that has the kernel forget panicked");
        }
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many inodes are held now.
    #[inline]
    pub(crate) fn held(&self, held: usize) {
        if held > self.next.load(Ordering::Relaxed) {
            // If nothing can be forgotten, asking again for each inode would help nobody.
            self.next.store(held + self.budget / 4 + 1, Ordering::Relaxed);
            self.ask();
        } else if held < self.budget / 2 {
            self.next.store(self.budget, Ordering::Relaxed);
        }
    }

    /// Asks the kernel, if it can be asked; returns whether.
    fn ask(&self) -> bool {
        let Some((inodes, notifier)) = self.means.get() else {
            return false;
        };
        let mut state = self.shared.state();
        if *state == State::Ending {
            return false;
        }
        *state = State::Asked;
        drop(state);
        self.shared.changed.notify_all();
        let mut thread = self.thread();
        if thread.is_none() {
            let (shared, inodes, notifier) = (Arc::clone(&self.shared), Arc::clone(inodes), notifier.clone());
            let work = move || prune(&shared, &inodes, &notifier);
            *thread = std::thread::Builder::new().name(String::from("mirrorfs-prune")).spawn(work).ok();
        }
        thread.is_some()
    }

    /// Calls `act`, which takes a descriptor; if there is none left, has the kernel forget something and tries again.
    ///
    /// # Errors
    /// Those of `act`.
    pub(crate) fn make_room<R>(&self, mut act: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        for _ in 0..TRIES {
            match act() {
                Err(io::Errno::MFILE | io::Errno::NFILE) if self.ask() => std::thread::sleep(PAUSE),
                done => return done,
            }
        }
        act()
    }
}

/// What the thread does.
fn prune(shared: &Shared, inodes: &InodeTable<Key, Inode>, notifier: &Notifier) {
    loop {
        let mut state = shared.state();
        while *state == State::Idle {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if *state == State::Ending {
            return;
        }
        *state = State::Idle;
        drop(state);
        let mut nodes: Vec<NodeId> = Vec::new();
        inodes.for_each(|node, _| nodes.push(node));
        tracing::debug!(count = nodes.len(), "asking the kernel to forget what it does not use");
        for some in nodes.chunks(AT_A_TIME) {
            if let Err(error) = notifier.prune(some) {
                tracing::debug!(%error, "asking the kernel to forget");
                break;
            }
        }
    }
}
