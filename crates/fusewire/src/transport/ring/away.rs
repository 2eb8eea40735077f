//! Serving a request on another CPU than its caller's: which ones, and when an entry comes back.
//!
//! A worker on the caller's own CPU answers without waking another CPU, but while it works the caller stands still. That is the
//! wrong way round for data that the page cache is filled with: reading ahead is worth something only if the caller goes on
//! meanwhile. So a queue may have a worker on another CPU. The kernel gives the next request to the entry that was answered last,
//! wherever that was, so what follows goes there by itself, until the entry is sent home. What is decided is in `policy`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use fusewire_proto::uring::peek_read;

use super::entry::Entry;
use super::policy::{Load, Quiet, Stay};
use super::queue::{Member, Queue};
use super::watch::Watch;
use crate::transport::may_be_read_ahead;

/// The worker of a queue on another CPU, if there is to be one.
#[derive(Debug, Default)]
pub(super) struct Away {
    wanted: AtomicBool,
    there: OnceLock<(u16, Arc<Member>)>,
}

impl Away {
    /// The worker, once it has a ring, and its CPU.
    pub(super) fn there(&self) -> Option<&(u16, Arc<Member>)> {
        self.there.get()
    }

    /// `member`, on this CPU, has a ring from now on.
    pub(super) fn begin(&self, cpu: u16, member: Arc<Member>) {
        // Once, by the one thread that is started for it.
        let _ = self.there.set((cpu, member));
    }

    /// Whether somebody has asked for it since this was looked at last.
    pub(super) fn take_wish(&self) -> bool {
        self.wanted.load(Ordering::SeqCst) && self.wanted.swap(false, Ordering::SeqCst)
    }
}

/// Where a worker is, and what it does with requests because of that.
#[derive(Debug)]
pub(super) enum Place<'j> {
    /// On the CPU of its queue.
    Home {
        away: &'j Away,
        queues: &'j [Queue],
        /// For how long the queue of the other CPU has been quiet.
        quiet: Quiet,
        asked: bool,
    },
    /// On another one.
    Away {
        home: &'j Queue,
        stay: Stay,
        /// The queue of the CPU that it is on, and whether that has callers of its own.
        host: Option<&'j Queue>,
        quiet: Quiet,
    },
}

impl<'j> Place<'j> {
    /// At home in `queue`, one of `queues`.
    pub(super) fn home(queue: &'j Queue, queues: &'j [Queue]) -> Self {
        Self::Home { away: &queue.away, queues, quiet: Quiet::default(), asked: false }
    }

    /// Away from `home`, on the CPU of one of `queues`.
    pub(super) fn away(home: &'j Queue, cpu: u16, queues: &'j [Queue]) -> Self {
        let host = queues.iter().find(|queue| queue.cpu == cpu);
        Self::Away { home, stay: Stay::default(), host, quiet: Quiet::default() }
    }

    /// Who is to serve the request in `entry` instead of this worker, if anybody. `watch` starts whoever is missing.
    pub(super) fn instead(&mut self, entry: &mut Entry, watch: &Watch) -> Option<&'j Arc<Member>> {
        let Self::Home { away, queues, quiet, asked } = self else { return None };
        if load(entry) == Load::Small {
            return None;
        }
        let Some((cpu, member)) = away.there() else {
            if !std::mem::replace(asked, true) {
                away.wanted.store(true, Ordering::SeqCst);
                watch.call();
            }
            return None;
        };
        let served = queues.iter().find(|queue| queue.cpu == *cpu).map_or(0, Queue::served);
        (quiet.look(served, Instant::now()) && member.is_free()).then_some(member)
    }

    /// Who is to have the entry after the request in it was served here, if anybody else.
    pub(super) fn next_home(&mut self, load: Load) -> Option<Arc<Member>> {
        let Self::Away { home, stay, host, quiet } = self else { return None };
        let disturbed = host.is_some_and(|host| quiet.is_disturbed(host.served(), Instant::now()));
        if stay.stays(load, disturbed) { None } else { home.members().first().cloned() }
    }

    /// How much there is to do for the request in `entry`, if that matters here.
    pub(super) fn load(&self, entry: &mut Entry) -> Load {
        if let Self::Away { .. } = self { load(entry) } else { Load::Small }
    }
}

fn load(entry: &mut Entry) -> Load {
    let ahead = peek_read(entry.parts().header).is_some_and(|read| may_be_read_ahead(&read));
    if ahead { Load::Bulk } else { Load::Small }
}
