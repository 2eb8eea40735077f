//! Keeps a reader of `/dev/fuse` that reads alone on the CPU of whoever calls, where that makes a request cheaper.
//!
//! Left to itself, the scheduler settles caller and reader on two CPUs, and wakes both of them for each request. How callers are
//! made to stay where they are is told in `schedule`; here the reader is taken to where they are. That is done by the watch: the
//! reader's own time counts. What callers do not wait for, such as reading ahead, is better done on another CPU. And where more
//! call at a time than there are CPUs, none is idle: a reader with a large share of one would only serve fewer requests between
//! two sleeps. What to do is a pure function of what was seen.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use fusewire_proto::op::{self, Operation};
use fusewire_proto::{Incoming, Negotiated, Opcode};
use nix::sched::CpuSet;
use nix::unistd::Pid;

use super::{BULK, may_be_read_ahead, schedule};

/// How often in a row a caller may have left the CPU where it was followed to, until it is left alone.
const MISSES: u32 = 8;
/// For how many looks: at first, and at most.
const REST: (u32, u32) = (16, 128);

/// Callers come in turn if one follows on another so often, as a part of all requests.
const IN_TURN: u32 = 4;
/// How many callers are told apart. So many are as good as more than there are CPUs.
const TOLD_APART: usize = 5;

/// A caller that does not stay costs two wake-ups of another CPU a request, until the next look.
const SHARE: schedule::Share = schedule::NINEFOLD;

/// What to do after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Stay,
    Follow(usize),
    Leave,
}

/// What was seen before.
#[derive(Clone, Copy, Debug)]
struct Course {
    on: Option<usize>,
    misses: u32,
    /// How many looks are left out.
    rest: u32,
    /// How many are to be after the next time that a caller does not stay.
    next_rest: u32,
}

impl Default for Course {
    fn default() -> Self {
        Self { on: None, misses: 0, rest: 0, next_rest: REST.0 }
    }
}

impl Course {
    /// Whether this look is left out.
    fn rests(&mut self) -> bool {
        let rests = self.rest > 0;
        self.rest = self.rest.saturating_sub(1);
        rests
    }

    /// Decides after a look that found the caller there, or nobody to follow.
    fn decide(&mut self, caller: Option<usize>) -> Step {
        let Some(caller) = caller else { return self.leave() };
        match self.on {
            Some(cpu) if cpu == caller => {
                (self.misses, self.next_rest) = (0, REST.0);
                return Step::Stay;
            }
            Some(_) => self.misses += 1,
            None => self.misses = 0,
        }
        if self.misses >= MISSES {
            self.rest = self.next_rest;
            self.next_rest = (2 * self.next_rest).min(REST.1);
            return self.leave();
        }
        self.on = Some(caller);
        Step::Follow(caller)
    }

    fn leave(&mut self) -> Step {
        if self.on.take().is_some() { Step::Leave } else { Step::Stay }
    }
}

/// What the reader tells of its callers.
#[derive(Debug, Default)]
pub(super) struct Callers {
    last: AtomicU32,
    all: [AtomicU32; TOLD_APART],
    requests: AtomicU32,
    /// Requests whose caller was not that of the one before.
    changes: AtomicU32,
    reads_ahead: AtomicBool,
}

impl Callers {
    /// `request` was answered with so many bytes.
    pub(super) fn served(&self, request: &[u8], reply: usize) {
        let Ok(incoming) = Incoming::parse(request) else { return };
        let (pid, last) = (incoming.header.pid.0, self.last.load(Ordering::Relaxed));
        if pid != last && pid != 0 {
            self.last.store(pid, Ordering::Relaxed);
            add(&self.changes, u32::from(last != 0));
            let mut places = self.all.iter().map(|place| (place, place.load(Ordering::Relaxed)));
            if let Some((place, 0)) = places.find(|(_, there)| [0, pid].contains(there)) {
                place.store(pid, Ordering::Relaxed);
            }
        }
        add(&self.requests, 1);
        if reply >= BULK && read(incoming).is_some_and(|read| may_be_read_ahead(&read)) {
            self.reads_ahead.store(true, Ordering::Relaxed);
        }
    }

    /// What came in since the last look.
    fn take(&self, cpus: usize) -> Last {
        let last = self.last.swap(0, Ordering::Relaxed);
        let (requests, changes) = (self.requests.swap(0, Ordering::Relaxed), self.changes.swap(0, Ordering::Relaxed));
        let callers = self.all.iter().filter(|place| place.swap(0, Ordering::Relaxed) != 0).count();
        if self.reads_ahead.swap(false, Ordering::Relaxed) {
            return Last::ReadAhead;
        }
        match i32::try_from(last) {
            Ok(0) | Err(_) => Last::Nothing,
            Ok(_) if callers > cpus.min(TOLD_APART - 1) && changes >= requests / IN_TURN => Last::Many,
            Ok(pid) => Last::Caller(Pid::from_raw(pid)),
        }
    }
}

/// What a reader's requests were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// There were none, or none that anybody waits for.
    Nothing,
    /// Some that nobody may have waited for.
    ReadAhead,
    /// Those of more threads than there are CPUs, in turn.
    Many,
    /// The last was that of a thread.
    Caller(Pid),
}

/// Counts, where nobody else does but for whoever looks now and then.
fn add(count: &AtomicU32, more: u32) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

fn read(mut incoming: Incoming<'_>) -> Option<op::Read> {
    if incoming.opcode != Opcode::READ {
        return None;
    }
    op::Read::decode(incoming.header.unique, incoming.node, &mut incoming.args, &Negotiated::default()).ok()
}

/// Who takes the reader along.
#[derive(Debug)]
pub(super) struct Follower {
    course: Course,
    /// Whether there is somebody to follow, and it helps.
    able: bool,
    taken: Option<Taken>,
}

/// A reader that was taken along.
#[derive(Clone, Copy, Debug)]
struct Taken {
    reader: Pid,
    /// Where it may be otherwise.
    home: CpuSet,
    cpu: usize,
}

impl Follower {
    /// For readers whose callers are threads of this machine, or are not.
    pub(super) fn new(callers_are_here: bool) -> Self {
        Self { course: Course::default(), able: callers_are_here, taken: None }
    }

    /// Looks for the callers of the only reader.
    pub(super) fn look(&mut self, reader: Pid, callers: &Callers) {
        if !self.able || self.course.rests() {
            return;
        }
        let allowed = schedule::allowed(reader);
        if let Some(taken) = self.taken
            && allowed != schedule::only(taken.cpu)
        {
            // Somebody else has a say in where it is.
            self.taken = Some(Taken { home: allowed, ..taken });
            self.leave();
        }
        let home = self.taken.map_or(allowed, |taken| taken.home);
        let cpus = schedule::count(&home);
        if cpus < 2 {
            return;
        }
        let cpu = match callers.take(cpus) {
            Last::Nothing => return,
            Last::ReadAhead | Last::Many => None,
            Last::Caller(caller) => schedule::cpu_of(caller).filter(|cpu| home.is_set(*cpu) == Ok(true)),
        };
        match self.course.decide(cpu) {
            Step::Stay => {}
            Step::Follow(cpu) => {
                self.taken = Some(Taken { reader, home, cpu });
                if !schedule::serve_callers_there(reader, SHARE) || !schedule::stay_on(reader, cpu) {
                    // They would not stay.
                    self.leave();
                    self.able = false;
                }
            }
            Step::Leave => self.leave(),
        }
    }

    /// Lets the reader be where it may be again.
    pub(super) fn leave(&mut self) {
        self.course.leave();
        if let Some(taken) = self.taken.take() {
            schedule::stay_within(taken.reader, &taken.home);
            schedule::serve_callers_anywhere(taken.reader, SHARE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many looks at a caller that is on `cpu(number of the look)`: how many were not left out, and what was done.
    fn run(looks: u32, cpu: impl Fn(u32) -> Option<usize>) -> (u32, Vec<Step>) {
        let mut course = Course::default();
        let mut taken = 0;
        let mut steps = Vec::new();
        for number in 0..looks {
            if !course.rests() {
                taken += 1;
                steps.push(course.decide(cpu(number)));
            }
        }
        steps.retain(|step| *step != Step::Stay);
        (taken, steps)
    }

    #[test]
    fn caller_that_stays_is_followed_once() {
        assert_eq!(run(100, |_| Some(3)), (100, vec![Step::Follow(3)]));
    }

    #[test]
    fn caller_that_moves_is_followed() {
        let moved = |number| Some(if number < 50 { 0 } else { 1 });
        assert_eq!(run(100, moved).1, [Step::Follow(0), Step::Follow(1)]);
    }

    #[test]
    fn caller_that_never_stays_is_left_alone_longer_and_longer() {
        let on = std::cell::Cell::new(0);
        let (taken, steps) = run(100_000, |_| {
            on.set(1 - on.get());
            Some(on.get())
        });
        let follows = usize::try_from(MISSES).unwrap();
        assert!(steps[..follows].iter().all(|step| matches!(step, Step::Follow(_))));
        assert_eq!(steps[follows], Step::Leave);
        assert!((5_000..10_000).contains(&taken), "it is tried again now and then: {taken}");
    }

    #[test]
    fn caller_that_cannot_be_found_is_not_followed() {
        assert_eq!(run(100, |_| None).1, []);
        assert_eq!(run(100, |number| (number < 50).then_some(1)).1, [Step::Follow(1), Step::Leave]);
    }

    /// A read of so many bytes by this caller is served.
    fn read_by(callers: &Callers, pid: u32, flags: i32, size: u32) {
        let mut read = op::Read::new(fusewire_proto::NodeId(2), fusewire_proto::FileHandle(1), 0, size);
        read.flags = fusewire_proto::OpenFlags::from_libc(flags);
        let mut header = fusewire_proto::RequestHeader::new(fusewire_proto::Unique(2));
        header.pid = fusewire_proto::Pid(pid);
        let request = fusewire_proto::encode_request(&header, &read, &Negotiated::default()).expect("a request");
        callers.served(&request, usize::try_from(size).unwrap());
    }

    #[test]
    fn who_reads_ahead_is_not_followed() {
        let callers = Callers::default();
        assert_eq!(callers.take(2), Last::Nothing);
        let read = |flags: i32, size: u32| {
            read_by(&callers, 77, flags, size);
            callers.take(2)
        };
        let caller = Last::Caller(Pid::from_raw(77));
        assert_eq!(read(libc::O_RDONLY, 4096), caller);
        assert_eq!(read(libc::O_RDONLY, 128 << 10), Last::ReadAhead);
        assert_eq!(read(libc::O_RDONLY | libc::O_DIRECT, 128 << 10), caller);
    }

    #[test]
    fn many_who_call_in_turn_are_not_followed() {
        let callers = Callers::default();
        let take = |cpus, pids: &[u32]| {
            pids.iter().for_each(|pid| read_by(&callers, *pid, libc::O_RDONLY, 1));
            callers.take(cpus)
        };
        let caller = |pid| Last::Caller(Pid::from_raw(pid));
        assert_eq!(take(2, &[7, 8, 9, 7, 8, 9]), Last::Many);
        assert_eq!(take(3, &[7, 8, 9, 7, 8, 9]), caller(9));
        assert_eq!(take(64, &[1, 2, 3, 4, 5, 6, 1]), Last::Many);
        assert_eq!(take(2, &[7, 8, 7, 8]), caller(8));
        // One program after the other, and requests that nobody makes.
        assert_eq!(take(2, &[7, 7, 7, 7, 7, 0, 7, 0, 8, 8, 8, 8, 8, 9, 9, 9, 9]), caller(9));
        assert_eq!(take(2, &[0]), Last::Nothing);
    }
}
