//! When the pool of workers grows and shrinks: a pure function of what was seen at the last ticks.
//!
//! Idle readers cost: the kernel wakes them in turn, and each wake-up moves the work to another CPU. So one reads as long as
//! that is enough. Whether one more would help when there is always something to do cannot be told beforehand: requests that
//! nobody waits for, such as `RELEASE` and `FORGET`, look the same. So it is tried, and the rates before and with it are
//! compared; and later, whether one less would do. There are no threads and no clocks here.

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

/// For how long a reader more or less is tried, in shortest ticks.
const TRIAL: u32 = 16;
/// What part of its share a further reader must bring: `n + 1` readers must serve as many requests as `n + 1 / WORTH` would.
const WORTH: u64 = 4;
/// After a trial that changed nothing, how long there is none, in shortest ticks; each time twice as long, up to the second.
const REST: (u32, u32) = (256, 4096);

/// What was seen at the ticks before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    served: u64,
    calm: u32,
    quiet: u32,
    busy: u32,
    /// For how long they have been so, in shortest ticks.
    busy_time: u64,
    slack: u32,
    /// Requests served when all readers began to be at work without a pause.
    busy_since: u64,
    trial: Option<Trial>,
    /// How long there is to be no trial.
    rest: u32,
    /// How long there is to be none after the next that changes nothing.
    next_rest: u32,
    /// Whether the next is with one reader less, if both can be tried.
    less_next: bool,
    /// Requests served in `BUSY` shortest ticks before the last one.
    tried_at: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            served: 0,
            calm: 0,
            quiet: 0,
            busy: 0,
            busy_time: 0,
            slack: 0,
            busy_since: 0,
            trial: None,
            rest: 0,
            next_rest: REST.0,
            less_next: false,
            tried_at: 0,
        }
    }
}

/// One reader more, or one less, for a while.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// How many there are on the side with fewer.
    fewer: u64,
    /// Whether that is the trial, and not what was before.
    less: bool,
    /// Requests served in `BUSY` shortest ticks before.
    before: u64,
    /// Requests served when it began.
    from: u64,
    /// How long it has lasted, in shortest ticks.
    time: u32,
}

impl Trial {
    /// Requests served in `BUSY` shortest ticks during it, if so many are served by now.
    fn during(&self, served: u64) -> u64 {
        served.wrapping_sub(self.from).saturating_mul(u64::from(BUSY)) / u64::from(self.time.max(1))
    }

    /// Whether so many requests, served by now, show that the reader in question is worth it.
    fn shows_worth(&self, served: u64) -> bool {
        let (before, now) = (self.before, self.during(served));
        let (with, without) = if self.less { (before, now) } else { (now, before) };
        // with >= without * (1 + 1 / (WORTH * fewer)), in whole numbers.
        let parts = WORTH.saturating_mul(self.fewer);
        with.saturating_mul(parts) >= without.saturating_mul(parts + 1)
    }
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
        let before = std::mem::replace(&mut self.served, seen.served);
        let time = self.stretch();
        self.rest = self.rest.saturating_sub(time);
        if let Some(trial) = &mut self.trial {
            trial.time += time;
            if trial.time >= TRIAL {
                let (worth, less, during) = (trial.shows_worth(seen.served), trial.less, trial.during(seen.served));
                self.trial = None;
                (self.busy, self.slack) = (0, 0);
                if worth == less {
                    // It was better before. The other way is tried next.
                    self.rest = self.next_rest;
                    self.next_rest = (2 * self.next_rest).min(REST.1);
                    self.less_next = !less;
                    if worth {
                        return Decision::Grow;
                    } else if seen.readers > 1 {
                        return Decision::Shrink;
                    }
                } else {
                    let further = if less { seen.readers > 1 } else { seen.readers < cpus };
                    self.rest = if further { 0 } else { REST.0 };
                    (self.next_rest, self.tried_at) = (REST.0, during);
                }
            }
        }
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
            self.trial = self.trial.filter(|trial| !trial.less);
            return Decision::Grow;
        }
        if self.busy == 0 {
            (self.busy_since, self.busy_time) = (before, 0);
        }
        self.busy_time += u64::from(time);
        // The next request may just not be there yet.
        self.busy = if seen.pending { self.busy + 1 } else { self.busy.saturating_sub(1) };
        let (may_grow, may_shrink) = (seen.readers < cpus, seen.readers > 1);
        if self.busy < BUSY || self.trial.is_some() || !(may_grow || may_shrink) {
            return Decision::Watch;
        }
        let before = seen.served.wrapping_sub(self.busy_since) / self.busy_time * u64::from(BUSY);
        self.busy = 0;
        // Requests of quite another kind: what was tried before says nothing of them.
        let others = before / 2 > self.tried_at || self.tried_at / 2 > before;
        if self.rest > 0 && !others {
            return Decision::Watch;
        }
        if others {
            self.next_rest = REST.0;
        }
        let less = may_shrink && (self.less_next || !may_grow);
        let fewer = u64::try_from(seen.readers - usize::from(less)).unwrap_or(u64::MAX);
        self.trial = Some(Trial { fewer, less, before, from: seen.served, time: 0 });
        (self.less_next, self.tried_at) = (less, before);
        if less { Decision::Shrink } else { Decision::Grow }
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

    /// So many ticks with always something to do, on a machine that serves that many requests a tick with so many readers. What was
    /// decided, and how many readers there are at the end.
    fn simulate(policy: &mut Policy, ticks: u32, cpus: usize, rate: impl Fn(usize) -> u64) -> (Vec<Decision>, usize) {
        simulate_from(1, policy, ticks, cpus, rate)
    }

    fn simulate_from(
        mut readers: usize,
        policy: &mut Policy,
        ticks: u32,
        cpus: usize,
        rate: impl Fn(usize) -> u64,
    ) -> (Vec<Decision>, usize) {
        let mut served = policy.served;
        let decisions = (0..ticks).map(|_| {
            served += rate(readers) * u64::from(policy.stretch());
            let decision = policy.decide(Seen { readers, waiting: 0, served, pending: true }, cpus);
            match decision {
                Decision::Grow => readers += 1,
                Decision::Shrink => readers -= 1,
                Decision::Watch | Decision::Sleep => {}
            }
            decision
        });
        let decisions = decisions.collect();
        (decisions, readers)
    }

    #[test]
    fn a_further_reader_stays_only_if_it_brings_something() {
        let (decisions, readers) = simulate(&mut Policy::default(), 200, 2, |readers| [0, 100, 180][readers]);
        assert_eq!((decisions.iter().filter(|decision| **decision == Decision::Grow).count(), readers), (1, 2));
        let (decisions, _) = simulate(&mut Policy::default(), 10_000, 2, |readers| [0, 100, 90][readers]);
        let trials = decisions.iter().filter(|decision| **decision == Decision::Grow).count();
        // It is tried less and less often.
        assert!((5..9).contains(&trials), "{trials}");
        let ended = decisions.iter().filter(|decision| **decision == Decision::Shrink).count();
        assert!(trials - ended <= 1);
    }

    #[test]
    fn reader_that_brings_nothing_any_more_goes() {
        let mut policy = Policy::default();
        let (_, readers) = simulate(&mut policy, 200, 2, |readers| [0, 100, 180][readers]);
        let (_, readers) = simulate_from(readers, &mut policy, 1000, 2, |readers| [0, 200, 170][readers]);
        assert_eq!(readers, 1);
    }

    #[test]
    fn requests_of_another_kind_are_tried_at_once() {
        let mut policy = Policy::default();
        simulate(&mut policy, 5000, 2, |readers| [0, 1000, 1000][readers]);
        let (_, readers) = simulate(&mut policy, 50, 2, |readers| [0, 20, 40][readers]);
        assert_eq!(readers, 2);
    }

    #[test]
    fn reader_that_still_helps_is_seldom_missed() {
        let mut policy = Policy::default();
        let rate = |readers| [0, 100, 180][readers];
        let (decisions, readers) = simulate(&mut policy, 20_000, 2, rate);
        assert_eq!(readers, 2);
        assert!(decisions.iter().filter(|decision| **decision == Decision::Shrink).count() < 15);
    }

    #[test]
    fn readers_become_as_many_as_help() {
        let rate = |readers: usize| u64::try_from(readers.min(20) * 100).unwrap();
        let (_, readers) = simulate(&mut Policy::default(), 2000, 64, rate);
        assert!((20..=21).contains(&readers), "{readers}");
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
