//! Who is to serve a request that comes to the reserve, and who is blocked: pure functions of what was seen.
//!
//! A worker that is merely at work comes to the next request soon, and serves many with one system call; another thread
//! would only be one more to switch to. There are no threads and no clocks here.

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

#[cfg(test)]
mod tests {
    use super::*;

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
