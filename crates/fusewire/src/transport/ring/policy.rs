//! Who is to serve a request that comes to the reserve, and who is blocked: pure functions of what was seen.
//!
//! A worker that is merely at work comes to the next request soon, and serves many with one system call; another thread
//! would only be one more to switch to. And which requests are better served on another CPU, and on which. There are no threads
//! and no clocks here.

use std::time::{Duration, Instant};

/// What a worker does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// It waits for a request.
    Waiting,
    /// It is at a request, and runs or may run.
    Running,
    /// It is at a request, and waits for something else, or has been at it for long.
    Blocked,
}

/// Which worker to leave a request to, by its place; `None`: to a new one. They are looked at only until that is clear.
pub(super) fn choose(workers: impl Iterator<Item = Doing>) -> Option<usize> {
    let mut running = None;
    for (place, doing) in workers.enumerate() {
        match doing {
            Doing::Waiting => return Some(place),
            Doing::Running => running = running.or(Some(place)),
            Doing::Blocked => {}
        }
    }
    running
}

/// Ticks at one and the same request after which a worker counts as blocked, though it runs.
const LONG: u32 = 4;

/// For how long a worker has been at the same request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Still {
    served: u64,
    ticks: u32,
}

impl Still {
    /// A tick has passed. Whether the worker is at the same request as at the last tick.
    pub(super) fn tick(&mut self, at_work: bool, served: u64) -> bool {
        let same = at_work && self.served == served;
        self.ticks = if same { self.ticks.saturating_add(1) } else { 0 };
        self.served = served;
        // The first tick that sees a request may come right after it.
        self.ticks > 1
    }

    /// Whether that is as good as blocked.
    pub(super) fn is_long(&self) -> bool {
        self.ticks >= LONG
    }
}

/// Ticks of nothing at all, before nobody looks any more.
const QUIET: u32 = 16;

/// Whether ticks are needed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ticking {
    served: u64,
    quiet: u32,
}

impl Ticking {
    /// A tick has passed. Whether there is to be another: requests were `served`, or a worker is `stuck` while others may come to it.
    pub(super) fn goes_on(&mut self, served: u64, stuck: bool) -> bool {
        let idle = self.served == served && !stuck;
        self.served = served;
        self.quiet = if idle { self.quiet + 1 } else { 0 };
        if self.quiet < QUIET {
            return true;
        }
        self.quiet = 0;
        false
    }
}

/// How much there is to do for a request, as far as it matters where that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// A page or a few, or nothing but an answer.
    Small,
    /// Many pages for the page cache: its reader goes on meanwhile, if it has a CPU.
    Bulk,
}

/// For how long the queue of a CPU must have had nothing to do before that CPU gets the work of another.
const QUIET_FOR: Duration = Duration::from_millis(1);

/// Since when the queue of a CPU has had nothing to do, as far as is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quiet {
    seen: Option<(u64, Instant)>,
}

impl Quiet {
    /// So many requests were served there by `now`. Whether it has been quiet for long enough.
    pub(super) fn look(&mut self, served: u64, now: Instant) -> bool {
        match self.seen {
            Some((before, since)) if before == served => now.saturating_duration_since(since) >= QUIET_FOR,
            _ => {
                self.seen = Some((served, now));
                false
            }
        }
    }

    /// So many requests were served there by `now`. Whether there were any since the last look.
    pub(super) fn is_disturbed(&mut self, served: u64, now: Instant) -> bool {
        let before = self.seen.replace((served, now));
        before.is_some_and(|(before, _)| before != served)
    }
}

/// Small requests in a row, after which an entry that is away goes home.
const LONE: u32 = 3;

/// Whether entries that are away stay there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stay {
    small: u32,
}

impl Stay {
    /// A request was served away, on a CPU whose own callers were seen at work or not. Whether its entry stays.
    pub(super) fn stays(&mut self, load: Load, disturbed: bool) -> bool {
        if disturbed {
            return false;
        }
        self.small = if load == Load::Small { self.small.saturating_add(1) } else { 0 };
        self.small < LONE
    }
}

/// A CPU, as far as it matters who helps whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cpu {
    pub(super) number: u16,
    /// The CPUs of its core, itself among them.
    pub(super) core: Vec<u16>,
    /// The CPUs of each of its caches, the smallest first.
    pub(super) caches: Vec<Vec<u16>>,
}

/// Which CPU helps `of` out: another core, by the nearest cache that both share, and the next in number of those, so that not all
/// are helped by the same. The other CPUs of its own core come last: they have nothing to give while it works.
pub(super) fn helper(of: &Cpu, all: &[Cpu]) -> Option<u16> {
    let shared = |other: u16| of.caches.iter().position(|cache| cache.contains(&other)).unwrap_or(of.caches.len());
    let others = all.iter().map(|cpu| cpu.number).filter(|other| *other != of.number);
    others.min_by_key(|other| (of.core.contains(other), shared(*other), other.wrapping_sub(of.number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_free_for_others_when_its_own_queue_was_quiet_for_a_while() {
        let (mut quiet, start) = (Quiet::default(), Instant::now());
        let at = |microseconds| start + Duration::from_micros(microseconds);
        assert!(!quiet.look(7, at(0)));
        assert!(!quiet.look(7, at(999)));
        assert!(quiet.look(7, at(1000)));
        assert!(!quiet.look(8, at(5000)));
        assert!(quiet.look(8, at(6000)));
        let mut quiet = Quiet::default();
        let disturbed =
            [(8, 0), (8, 100), (9, 200), (9, 300)].map(|(served, time)| quiet.is_disturbed(served, at(time)));
        assert_eq!(disturbed, [false, false, true, false]);
    }

    #[test]
    fn entries_go_home_after_small_requests_only() {
        let mut stay = Stay::default();
        let seen = [Load::Bulk, Load::Small, Load::Small, Load::Bulk, Load::Small, Load::Small];
        assert_eq!(seen.map(|load| stay.stays(load, false)), [true; 6]);
        assert!(!stay.stays(Load::Small, false) && !stay.stays(Load::Small, false));
        assert!(stay.stays(Load::Bulk, false));
        assert!(!stay.stays(Load::Bulk, true));
    }

    /// So many CPUs: `threads` a core, numbered as Linux does, the second threads after all first ones; `near` cores share a cache.
    fn machine(cores: u16, threads: u16, near: u16) -> Vec<Cpu> {
        let all = |wanted: &dyn Fn(u16) -> bool| (0..cores * threads).filter(|cpu| wanted(*cpu)).collect::<Vec<_>>();
        let cpu = |number: u16| {
            let core = all(&|other| other % cores == number % cores);
            let cache = all(&|other| other % cores / near == number % cores / near);
            Cpu { number, core: core.clone(), caches: vec![core.clone(), core, cache] }
        };
        (0..cores * threads).map(cpu).collect()
    }

    #[test]
    fn helpers_are_other_cores_at_the_same_cache_and_each_helps_one() {
        for (cores, threads, near) in [(32, 2, 8), (64, 1, 16), (2, 1, 2), (4, 2, 4)] {
            let cpus = machine(cores, threads, near);
            let mut helped = vec![0; cpus.len()];
            for cpu in &cpus {
                let other = helper(cpu, &cpus).unwrap();
                assert!(!cpu.core.contains(&other) && cpu.caches[2].contains(&other), "{} {other}", cpu.number);
                helped[usize::from(other)] += 1;
            }
            assert!(helped.iter().all(|times| *times <= near), "{helped:?}");
        }
    }

    #[test]
    fn helper_is_whoever_there_is() {
        let siblings = machine(1, 2, 1);
        assert_eq!(helper(&siblings[0], &siblings), Some(1));
        let far = machine(4, 1, 1);
        assert_eq!(far.iter().map(|cpu| helper(cpu, &far)).collect::<Vec<_>>(), [Some(1), Some(2), Some(3), Some(0)]);
        assert_eq!(helper(&siblings[0], &siblings[..1]), None);
    }

    #[test]
    fn who_waits_is_asked_before_who_runs_and_nobody_who_is_blocked() {
        use Doing::{Blocked, Running, Waiting};
        let choose = |workers: &[Doing]| choose(workers.iter().copied());
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&[Blocked, Blocked]), None);
        assert_eq!(choose(&[Blocked, Running, Running]), Some(1));
        assert_eq!(choose(&[Running, Blocked, Waiting, Waiting]), Some(2));
    }

    #[test]
    fn workers_are_looked_at_only_until_one_is_found() {
        let mut looks = 0;
        let many = (0..100).map(|_| Doing::Waiting).inspect(|_| looks += 1);
        assert_eq!(choose(many), Some(0));
        assert_eq!(looks, 1);
    }

    #[test]
    fn long_at_one_request_is_as_good_as_blocked() {
        let mut still = Still::default();
        let seen: Vec<bool> = (0..6).map(|_| still.tick(true, 7)).collect();
        assert_eq!(seen, [false, false, true, true, true, true]);
        assert!(still.is_long());
        assert!(!still.tick(true, 8) && !still.is_long());
        assert!(!still.tick(false, 8) && !still.is_long());
    }

    #[test]
    fn ticks_end_when_nothing_happens_and_go_on_while_somebody_is_stuck() {
        let mut ticking = Ticking::default();
        assert!((0..1000).all(|tick| ticking.goes_on(tick + 1, false)));
        assert!((0..1000).all(|_| ticking.goes_on(5, true)));
        let ticks = (1..100).find(|_| !ticking.goes_on(5, false));
        assert_eq!(ticks, Some(QUIET));
    }
}
