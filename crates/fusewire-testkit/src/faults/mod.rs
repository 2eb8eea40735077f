//! The fault schedule: everything that a kernel does at the worst moment, and what only an enemy does, all from a seed.
//!
//! One thread drives it. What is sent, and in which order, follows from the seed and from what the daemon answers; answers are
//! taken in in the order of the requests, whatever the order in which they come. So a seed that fails fails again: exactly,
//! over a [direct](crate::wire::Direct) wire; as far as the daemon's own threads allow, over the others.

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use bitflags::bitflags;
use fusewire_proto::op::{FileLock, LockKind};
use fusewire_proto::{
    Errno, FileHandle, Incoming, InitFlags, LockOwner, NodeId, Opcode, Pid, Request, Unique, abi, op,
};

use crate::kernel::{Caller, Config, Draft, Hostile, Kernel};
use crate::laws::LawBook;
use crate::running::{Connection, Running};

pub(crate) mod chance;
mod world;

use chance::Chance;
use world::World;

bitflags! {
    /// What may happen.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Faults: u32 {
        /// Requests of different callers arrive in another order than they were made.
        const REORDER = 1;
        /// `INTERRUPT` comes before, right behind, or after the answer to its request.
        const INTERRUPT = 1 << 1;
        /// A node is forgotten while it is looked up.
        const FORGET_RACE = 1 << 2;
        /// A request waits for a lock, and is interrupted or let go.
        const BLOCK = 1 << 3;
        /// The connection ends in the middle of everything.
        const ABORT = 1 << 4;
        /// A request comes that a predecessor of the daemon has read and not answered. Since 7.40.
        const RESEND = 1 << 5;
        /// A request comes twice under the same number. No kernel does that.
        const DUPLICATE = 1 << 6;
        /// Opcodes, and targets of interrupts, that do not exist.
        const UNKNOWN = 1 << 7;
        /// Requests that are cut off or shorter than a header, and headers that lie about the length. No kernel does that.
        const MALFORMED = 1 << 8;
    }
}

impl Faults {
    /// What a kernel does.
    pub const LEGAL: Self = Self::REORDER
        .union(Self::INTERRUPT)
        .union(Self::FORGET_RACE)
        .union(Self::BLOCK)
        .union(Self::ABORT)
        .union(Self::RESEND);
}

/// A seed that broke a law, or a daemon that was lost on the way.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What went wrong, with the exchange.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the fault schedule fails with seed {0}; to replay it alone, set {SEED}={0}", self.seed)?;
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

/// The environment variable that names the only seed to run.
const SEED: &str = "FUSEWIRE_SEED";

/// Runs the schedule of each seed against a daemon of its own, on all CPUs, and panics with the lowest seed that fails.
///
/// With the environment variable `FUSEWIRE_SEED`, only that seed is run.
///
/// # Panics
/// A seed fails.
#[expect(clippy::panic, reason = "a broken law fails the test: that is what this crate is for")]
pub fn check(seeds: Range<u64>, faults: Faults, start: impl Fn() -> Running + Sync) -> LawBook {
    let book = Mutex::new(LawBook::default());
    let failure = first_failure(seeds, |seed| {
        run(seed, faults, &start).map(|found| book.lock().unwrap_or_else(PoisonError::into_inner).absorb(&found))
    });
    match failure {
        None => book.into_inner().unwrap_or_else(PoisonError::into_inner),
        Some(failure) => panic!("{failure}"),
    }
}

/// As [`check`], for daemons that are known to break a law: returns what was checked and broken with all seeds.
///
/// # Panics
/// A daemon refuses `INIT` or ends by itself.
#[expect(clippy::panic, reason = "a daemon that is lost fails the test: that is what this crate is for")]
pub fn survey(seeds: Range<u64>, faults: Faults, start: impl Fn() -> Running + Sync) -> LawBook {
    let book = Mutex::new(LawBook::default());
    let failure = first_failure(seeds, |seed| {
        let (found, end) = play(seed, faults, &Config::default(), start());
        book.lock().unwrap_or_else(PoisonError::into_inner).absorb(&found);
        end.map_err(|what| Failure { seed, what })
    });
    match failure {
        None => book.into_inner().unwrap_or_else(PoisonError::into_inner),
        Some(failure) => panic!("{failure}"),
    }
}

/// Runs each seed, on all CPUs, until one fails; returns the lowest that has failed then.
fn first_failure(seeds: Range<u64>, run: impl Fn(u64) -> Result<(), Failure> + Sync) -> Option<Failure> {
    let seeds = match std::env::var(SEED).ok().and_then(|seed| seed.parse::<u64>().ok()) {
        Some(seed) => seed..seed.saturating_add(1),
        None => seeds,
    };
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(None::<Failure>);
    let failed_now = || failed.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) || failed_now().is_some() {
                return;
            }
            if let Err(failure) = run(seed) {
                let mut lowest = failed_now();
                if lowest.as_ref().is_none_or(|lowest| failure.seed < lowest.seed) {
                    *lowest = Some(failure);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the schedule of one seed. Returns what was checked.
///
/// # Errors
/// A law is broken, or the daemon refuses `INIT` or ends by itself.
pub fn run(seed: u64, faults: Faults, start: impl Fn() -> Running) -> Result<LawBook, Failure> {
    let (book, end) = play(seed, faults, &Config::default(), start());
    let violation = book.violations().first().map(ToString::to_string);
    match violation.or(end.err()) {
        None => Ok(book),
        Some(what) => Err(Failure { seed, what }),
    }
}

/// Runs the schedule of one seed. Returns what was checked and broken, and how it ended if that was too early.
pub(crate) fn play(seed: u64, faults: Faults, config: &Config, daemon: Running) -> (LawBook, Result<(), String>) {
    let mut chance = Chance::new(seed);
    let minor = 31 + u32::try_from(chance.below(15)).unwrap_or(0);
    let config = Config::of_minor(minor).lenient().with_patience(config.patience);
    let connection = daemon.connect_without_init(config);
    if let Err(errno) = connection.kernel().init() {
        return (connection.abort(), Err(format!("INIT of 7.{minor} is refused with {errno:?}")));
    }
    Schedule { chance, faults, world: World::default(), connection }.play()
}

/// A schedule in progress.
struct Schedule {
    chance: Chance,
    faults: Faults,
    world: World,
    connection: Connection,
}

/// A request that is about to be delivered.
struct Planned {
    request: Request<'static>,
    draft: Draft,
}

/// When an interrupt comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Never,
    Before,
    During,
    After,
}

impl Schedule {
    fn kernel(&self) -> &Kernel {
        self.connection.kernel()
    }

    fn may(&mut self, fault: Faults, once_in: u64) -> bool {
        self.faults.contains(fault) && self.chance.once_in(once_in)
    }

    fn play(mut self) -> (LawBook, Result<(), String>) {
        let rounds = 4 + self.chance.below(8);
        for _ in 0..rounds {
            match self.round() {
                Ok(()) => {}
                Err(Errno::ENOTCONN | Errno::ECONNABORTED) => {
                    return (self.connection.abort(), Err(String::from("the daemon has ended by itself")));
                }
                Err(_) => {}
            }
            if !self.kernel().is_lawful() {
                return (self.connection.abort(), Ok(()));
            }
        }
        if self.may(Faults::ABORT, 4) {
            let requests = self.requests();
            for planned in self.drafts(requests) {
                let _ = self.kernel().deliver(&planned.draft);
            }
            return (self.connection.abort(), Ok(()));
        }
        (self.connection.unmount(), Ok(()))
    }

    /// A few requests at a time, with what goes wrong with them; then what is given back.
    fn round(&mut self) -> Result<(), Errno> {
        let mut requests = self.requests();
        let forgets = self.forgets(&mut requests);
        let releases = self.releases(&requests);
        let mut planned = self.drafts(requests);
        if self.faults.contains(Faults::REORDER) {
            self.chance.shuffle(&mut planned);
        }
        let mut moments = Vec::new();
        for (at, planned) in planned.iter_mut().enumerate() {
            if self.kernel().negotiated().minor >= 40 && self.may(Faults::RESEND, 16) {
                planned.draft = planned.draft.clone().as_resent();
            }
            let moment = self.moment();
            moments.push(moment);
            if moment == Moment::Before {
                self.kernel().interrupt_unique(planned.draft.unique())?;
            }
            self.kernel().deliver(&planned.draft)?;
            if moment == Moment::During {
                self.kernel().interrupt_unique(planned.draft.unique())?;
            }
            if self.may(Faults::DUPLICATE, 16) {
                self.kernel().deliver(&planned.draft)?;
            }
            if let Some((node, count)) = forgets.get(at) {
                self.kernel().forget(*node, *count)?;
            }
            self.provoke(planned)?;
        }
        // In the order of the numbers, which is the order in which they were made.
        let mut order: Vec<(&Planned, Moment)> = planned.iter().zip(moments).collect();
        order.sort_by_key(|(planned, _)| planned.draft.unique().without_resend());
        let negotiated = self.connection.kernel().negotiated();
        for (planned, moment) in order {
            let outcome = self.connection.kernel().wait_for(&planned.draft);
            match outcome {
                Ok(answer) => self.world.learn(&planned.request, &answer, &negotiated),
                Err(errno @ (Errno::ENOTCONN | Errno::ECONNABORTED)) => return Err(errno),
                Err(_) => {}
            }
            if moment == Moment::After {
                self.connection.kernel().interrupt_unique(planned.draft.unique())?;
            }
        }
        let kernel = self.connection.kernel().clone();
        self.world.nodes.retain(|known| kernel.lookups(known.node) > 0);
        self.give_back(releases)?;
        if self.may(Faults::BLOCK, 3) {
            self.block()?;
        }
        Ok(())
    }

    fn moment(&mut self) -> Moment {
        if !self.may(Faults::INTERRUPT, 6) {
            return Moment::Never;
        }
        match self.chance.below(3) {
            0 => Moment::Before,
            1 => Moment::During,
            _ => Moment::After,
        }
    }

    fn requests(&mut self) -> Vec<Request<'static>> {
        let negotiated = self.kernel().negotiated();
        let count = 1 + self.chance.below(6);
        (0..count).map(|_| self.world.request(&mut self.chance, &negotiated)).collect()
    }

    fn drafts(&mut self, requests: Vec<Request<'static>>) -> Vec<Planned> {
        let kernel = self.connection.kernel();
        let mut planned = Vec::new();
        for request in requests {
            if let Ok(draft) = kernel.draft_as(&Caller::default(), request) {
                planned.push(Planned { request, draft });
            }
        }
        planned
    }

    /// Nodes that nothing in `requests` uses, to be forgotten while requests are under way that look them up again, which are
    /// added.
    fn forgets(&mut self, requests: &mut Vec<Request<'static>>) -> Vec<(NodeId, u64)> {
        if !self.may(Faults::FORGET_RACE, 2) {
            return Vec::new();
        }
        let used = |node: NodeId| requests.iter().any(|request| world::nodes_of(request).contains(&node));
        let kernel = self.connection.kernel();
        let mut idle: Vec<world::Known> = self
            .world
            .nodes
            .iter()
            .filter(|known| !used(known.node) && !self.world.is_open(known.node))
            .copied()
            .collect();
        self.chance.shuffle(&mut idle);
        idle.truncate(2);
        let kept = |dir: NodeId| !idle.iter().any(|known| known.node == dir) && self.world.knows(dir);
        let again = idle.iter().filter(|known| kept(known.dir));
        requests.extend(again.map(|known| Request::from(op::Lookup::new(known.dir, known.name))));
        idle.iter().map(|known| (known.node, kernel.lookups(known.node))).collect()
    }

    /// Handles that nothing in `requests` uses.
    fn releases(&mut self, requests: &[Request<'static>]) -> Vec<world::Open> {
        let used = |handle: FileHandle| requests.iter().any(|request| world::handle_of(request) == Some(handle));
        let idle: Vec<world::Open> = self.world.handles.iter().filter(|open| !used(open.handle)).copied().collect();
        idle.into_iter().filter(|_| self.chance.once_in(4)).collect()
    }

    fn give_back(&mut self, releases: Vec<world::Open>) -> Result<(), Errno> {
        for open in releases {
            let Some(at) = self.world.handles.iter().position(|other| *other == open) else { continue };
            self.world.handles.swap_remove(at);
            let kernel = self.connection.kernel();
            let outcome = if open.is_dir {
                kernel.call(op::Releasedir::new(open.node, open.handle))
            } else {
                kernel.call(op::Release::new(open.node, open.handle))
            };
            // Nobody looks at the answer.
            if let Err(errno @ (Errno::ENOTCONN | Errno::ECONNABORTED)) = outcome {
                return Err(errno);
            }
        }
        Ok(())
    }

    /// What only an enemy sends.
    fn provoke(&mut self, planned: &Planned) -> Result<(), Errno> {
        if self.may(Faults::UNKNOWN, 16) {
            let strange = Unique(0x4000_0000 + 2 * self.chance.below(1000));
            self.kernel().interrupt_unique(strange)?;
        }
        if self.may(Faults::UNKNOWN, 16) {
            let opcode = Opcode(10_000 + u32::try_from(self.chance.below(1000)).unwrap_or(0));
            let ticket = self.kernel().deliver_request(opcode, &[1, 2, 3, 4], Hostile::UnknownOpcode)?;
            // The refusal is judged when it comes.
            let _ = self.kernel().wait(ticket);
        }
        if self.may(Faults::MALFORMED, 12) {
            self.cut_off(planned)?;
        }
        if self.may(Faults::MALFORMED, 24) {
            let most = u64::try_from(size_of::<abi::fuse_in_header>()).unwrap_or(0);
            let length = usize::try_from(1 + self.chance.below(most - 1)).unwrap_or(1);
            let bytes = planned.draft.bytes().get(..length).unwrap_or(&[]).to_vec();
            self.kernel().deliver_bytes(bytes, Hostile::Garbage)?;
        }
        Ok(())
    }

    /// A copy of the request under another number, cut off somewhere behind the header.
    fn cut_off(&mut self, planned: &Planned) -> Result<(), Errno> {
        let header = size_of::<abi::fuse_in_header>();
        let Ok(copy) = self.kernel().draft_as(&Caller::default(), planned.request) else { return Ok(()) };
        let whole = copy.bytes();
        let cut = header + usize::try_from(self.chance.below(len(whole) - len_of(header))).unwrap_or(0);
        let mut bytes = whole.get(..cut).unwrap_or(whole).to_vec();
        if let Some(length) = bytes.first_chunk_mut::<4>() {
            *length = u32::try_from(cut).unwrap_or(u32::MAX).to_ne_bytes();
        }
        let negotiated = self.kernel().negotiated();
        let understood = Incoming::parse(&bytes).is_ok_and(|incoming| Request::decode(&negotiated, &incoming).is_ok());
        if understood {
            return Ok(());
        }
        if let Some(ticket) = self.kernel().deliver_bytes(bytes, Hostile::Malformed)? {
            // The refusal is judged when it comes.
            let _ = self.kernel().wait(ticket);
        }
        Ok(())
    }

    /// One caller holds a lock, another waits for it, and is interrupted, let go, or left alone until the end.
    fn block(&mut self) -> Result<(), Errno> {
        let kernel = self.kernel().clone();
        if kernel.is_direct() || !kernel.negotiated().has(InitFlags::POSIX_LOCKS) {
            return Ok(());
        }
        let files: Vec<world::Open> = self.world.handles.iter().filter(|open| !open.is_dir).copied().collect();
        let Some(open) = self.chance.pick(&files).copied() else { return Ok(()) };
        let lock = |kind| FileLock { start: 1 << 40, end: 1 << 41, kind, pid: Pid(1) };
        let set = |owner, kind| op::Setlk::new(open.node, open.handle, LockOwner(owner), lock(kind));
        if kernel.call(set(101, LockKind::WRITE)).is_err() {
            return Ok(());
        }
        let wait = op::Setlkw::new(open.node, open.handle, LockOwner(102), lock(LockKind::WRITE));
        let waiting = kernel.submit(wait)?;
        let interrupted = self.chance.once_in(2);
        if interrupted {
            kernel.interrupt(&waiting)?;
        } else {
            kernel.call(set(101, LockKind::UNLOCK))?;
        }
        let outcome = kernel.wait(waiting);
        let _ = kernel.call(set(if interrupted { 101 } else { 102 }, LockKind::UNLOCK));
        outcome.map(|_| ()).or(Ok(()))
    }
}

fn len(bytes: &[u8]) -> u64 {
    len_of(bytes.len())
}

fn len_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
