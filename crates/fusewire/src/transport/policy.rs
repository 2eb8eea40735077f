//! When the pool of workers grows and shrinks: a pure function of what was seen at the last ticks.
//!
//! Idle readers cost: the kernel wakes them in turn, and each wake-up moves the work to another CPU. So one reads as long as
//! that is enough. There are no threads and no clocks here.

/// What a tick of the watch saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Workers that take requests.
    pub(super) readers: usize,
    /// How many of them were waiting for one.
    pub(super) waiting: usize,
    /// Requests served so far, by all of them.
    pub(super) served: u64,
    /// Whether a request waits to be received. Looked at only when nobody was waiting.
    pub(super) pending: bool,
}

/// What the watch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Look again at the next tick.
    Watch,
    /// Nothing happens: look again only when a worker says that something does.
    Sleep,
    /// Read, too.
    Grow,
    /// One reader too many.
    Shrink,
}

/// Ticks of nothing at all, before the watch sleeps.
const QUIET: u32 = 16;
/// Ticks with all readers at work and more to do, before there is one more.
const BUSY: u32 = 8;
/// What the signs of a reader too many must add up to, before there is one less.
const SLACK: u32 = 64;

/// Ticks without a sign that a reader is missing, before they get longer: a tick takes time from the readers.
const CALM: u32 = 8;
/// How much longer they get at most. A first request that blocks holds the others up for one such tick.
const LONGEST: u32 = 4;

/// What was seen at the ticks before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Policy {
    served: u64,
    calm: u32,
    quiet: u32,
    busy: u32,
    slack: u32,
}

impl Policy {
    /// How long the next tick is to be, as a multiple of the shortest.
    pub(super) fn stretch(&self) -> u32 {
        match self.calm / CALM {
            0 => 1,
            1 => 2,
            _ => LONGEST,
        }
    }

    /// Decides after a tick. `cpus` is how many readers can work at the same time.
    pub(super) fn decide(&mut self, seen: Seen, cpus: usize) -> Decision {
        let progress = seen.served != self.served;
        self.served = seen.served;
        let calm = seen.waiting > 0 || progress && !seen.pending;
        self.calm = if calm { self.calm.saturating_add(1) } else { 0 };
        if seen.waiting > 0 {
            self.busy = 0;
            self.quiet = if progress { 0 } else { self.quiet + 1 };
            // One caller at a time never keeps two readers busy; two callers often do. The more wait, the clearer the sign.
            self.slack = match u32::try_from(seen.waiting) {
                Ok(1) => self.slack.saturating_sub(1),
                waiting => self.slack.saturating_add(waiting.unwrap_or(SLACK)),
            };
            if self.slack >= SLACK {
                self.slack = 0;
                return Decision::Shrink;
            }
            if self.quiet >= QUIET {
                self.quiet = 0;
                return Decision::Sleep;
            }
            return Decision::Watch;
        }
        (self.quiet, self.slack) = (0, 0);
        if !progress {
            // All of them have been at the same requests for a whole tick: they are blocked.
            self.busy = 0;
            return Decision::Grow;
        }
        self.busy = if seen.pending { self.busy + 1 } else { 0 };
        if self.busy >= BUSY && seen.readers < cpus {
            self.busy = 0;
            return Decision::Grow;
        }
        Decision::Watch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(policy: &mut Policy, ticks: u32, seen: impl Fn(u64) -> Seen) -> Vec<Decision> {
        (1..=u64::from(ticks)).map(|tick| policy.decide(seen(tick), 2)).collect()
    }

    #[test]
    fn one_reader_that_keeps_up_stays_alone() {
        let steady = |tick| Seen { readers: 1, waiting: 1, served: tick * 100, pending: false };
        assert!(run(&mut Policy::default(), 1000, steady).iter().all(|decision| *decision == Decision::Watch));
    }

    #[test]
    fn ticks_get_longer_while_readers_keep_up_and_short_again_when_they_do_not() {
        let mut policy = Policy::default();
        assert_eq!(policy.stretch(), 1);
        run(&mut policy, 1000, |tick| Seen { readers: 1, waiting: 1, served: tick * 100, pending: false });
        assert_eq!(policy.stretch(), LONGEST);
        policy.decide(Seen { readers: 1, waiting: 0, served: 7, pending: true }, 2);
        assert_eq!(policy.stretch(), 1);
        run(&mut policy, 1000, |tick| Seen { readers: 1, waiting: 0, served: 7 + tick, pending: false });
        assert_eq!(policy.stretch(), LONGEST);
        policy.decide(Seen { readers: 1, waiting: 0, served: 1007, pending: false }, 2);
        assert_eq!(policy.stretch(), 1);
    }

    #[test]
    fn many_readers_that_wait_go_soon() {
        // After many were blocked at a time; the ticks are up to 8 ms long.
        let mut readers = 66_usize;
        let mut policy = Policy::default();
        let ticks = (1..10_000).find(|tick| {
            let seen = Seen { readers, waiting: readers, served: *tick, pending: false };
            readers -= usize::from(policy.decide(seen, 2) == Decision::Shrink);
            readers == 1
        });
        assert!(ticks.is_some_and(|ticks| ticks < 350), "{ticks:?}");
    }

    #[test]
    fn blocked_readers_bring_another_at_once() {
        let mut policy = Policy::default();
        policy.decide(Seen { readers: 1, waiting: 0, served: 7, pending: false }, 2);
        let stuck = Seen { readers: 1, waiting: 0, served: 7, pending: false };
        assert_eq!(policy.decide(stuck, 2), Decision::Grow);
    }

    #[test]
    fn busy_readers_bring_another_only_if_work_waits_and_a_cpu_is_free() {
        let loaded = |pending, readers| move |tick| Seen { readers, waiting: 0, served: tick * 100, pending };
        let grows = |seen: &dyn Fn(u64) -> Seen| run(&mut Policy::default(), 100, seen).contains(&Decision::Grow);
        assert!(grows(&loaded(true, 1)));
        assert!(!grows(&loaded(false, 1)));
        assert!(!grows(&loaded(true, 2)));
    }

    #[test]
    fn a_second_reader_without_work_is_sent_away() {
        let mut policy = Policy::default();
        let decisions = run(&mut policy, 200, |tick| Seen {
            readers: 2,
            waiting: if tick % 3 == 0 { 1 } else { 2 },
            served: tick,
            pending: false,
        });
        assert!(decisions.contains(&Decision::Shrink));
        let both_needed =
            |tick| Seen { readers: 2, waiting: usize::try_from(tick % 3).unwrap(), served: tick, pending: false };
        assert!(!run(&mut policy, 200, both_needed).contains(&Decision::Shrink));
    }

    #[test]
    fn nothing_to_do_lets_the_watch_sleep_however_many_wait() {
        for waiting in 1..3 {
            let idle = |_| Seen { readers: waiting, waiting, served: 5, pending: false };
            assert!(run(&mut Policy::default(), QUIET + 1, idle).contains(&Decision::Sleep));
        }
    }
}
