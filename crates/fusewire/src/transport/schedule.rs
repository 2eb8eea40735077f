//! What the scheduler says of threads, and what it is told of ours.
//!
//! A worker that is long at a request is blocked, or has just not had its turn on a busy machine. Another worker helps in
//! the first case only.
//!
//! A request costs least if its caller and its worker stay on one CPU: to wake a thread on an idle CPU takes as long as ten
//! requests. Since Linux 6.12, who goes to sleep after more than its share of a CPU is kept in the queue of that CPU for a
//! while (`DELAY_DEQUEUE` in kernel/sched/features.h); for everybody else, the kernel looks for an idle CPU at wake-up. So that
//! callers stay, they must have had more than their share, however long the handler takes: the share of the worker has to be
//! large. That takes the right to lower a nice value (`CAP_SYS_NICE`, or the limit `RLIMIT_NICE`), and callers in the scheduler's
//! own group of the worker, which is that of its login session (sched(7), autogroup).
#![expect(unsafe_code, reason = "scheduling has no safe wrapper")]

use std::ffi::CStr;
use std::fmt;
use std::io::{self, Write};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};

/// How much of a CPU a worker has, compared with a caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    nice: i32,
    /// How long it would like to run at a time, in nanoseconds. A larger share alone would give it each next turn, too, before other
    /// callers have asked for something.
    slice: u64,
}

/// Three times that of a caller. Whoever stays on one CPU in any case pays for it: a few per cent of a request that does nothing.
pub(super) const THREEFOLD: Share = Share { nice: -5, slice: 10_000_000 };
/// Nine times that of a caller.
pub(super) const NINEFOLD: Share = Share { nice: -10, slice: 30_000_000 };

/// Whether `thread` runs, or would if a CPU were free. `false` if that cannot be told: `/proc` is not there.
pub(super) fn is_runnable(thread: Pid) -> bool {
    read(&mut [0; LINE], format_args!("/proc/self/task/{thread}/stat")).and_then(state) == Some(b'R')
}

/// The CPU that a thread of any process runs on, or ran on last. `None` if that cannot be told.
pub(super) fn cpu_of(thread: Pid) -> Option<usize> {
    read(&mut [0; LINE], format_args!("/proc/{thread}/stat")).and_then(cpu)
}

/// More bytes than a line of `/proc/PID/stat` has up to its 39th word.
const LINE: usize = 1024;

/// Reads the beginning of a file, without allocating anything.
fn read<'l>(line: &'l mut [u8; LINE], path: fmt::Arguments<'_>) -> Option<&'l [u8]> {
    let mut name = [0; 64];
    // The last byte stays 0.
    name.get_mut(..63)?.write_fmt(path).ok()?;
    let file =
        rustix::fs::open(CStr::from_bytes_until_nul(&name).ok()?, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let length = rustix::io::read(file.ok()?, &mut *line).ok()?;
    line.get(..length)
}

/// This thread, for system calls that name one.
pub(super) const THIS: Pid = Pid::from_raw(0);

/// Keeps a thread on a CPU. One that is not online, or not ours to use, keeps nobody: then the thread stays where it may.
pub(super) fn stay_on(thread: Pid, cpu: usize) -> bool {
    let pinned = sched_setaffinity(thread, &only(cpu));
    if let Err(error) = pinned {
        tracing::debug!(%error, cpu, "keeping a worker on a CPU");
    }
    pinned.is_ok()
}

/// The set of this CPU; of none, if there cannot be such a CPU.
pub(super) fn only(cpu: usize) -> CpuSet {
    let mut set = CpuSet::new();
    if set.set(cpu).is_err() {
        tracing::debug!(cpu, "more CPUs than a set has room for");
    }
    set
}

/// How many CPUs are in a set.
pub(super) fn count(set: &CpuSet) -> usize {
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).count()
}

/// The CPUs that a thread may run on.
pub(super) fn allowed(thread: Pid) -> CpuSet {
    sched_getaffinity(thread).unwrap_or_default()
}

/// Lets a thread run on these CPUs.
pub(super) fn stay_within(thread: Pid, cpus: &CpuSet) {
    if let Err(error) = sched_setaffinity(thread, cpus) {
        tracing::debug!(%error, "going where it may again");
    }
}

/// Does something on a CPU, if this thread may run there.
pub(super) fn on<R>(cpu: usize, act: impl FnOnce() -> R) -> R {
    let before = allowed(THIS);
    stay_on(THIS, cpu);
    let result = act();
    stay_within(THIS, &before);
    result
}

/// Makes a thread a worker for callers on its own CPU: it need not run at once when it is woken, so that they fill its queue
/// first, and it has this share, unless somebody has chosen another policy (chrt(1)) or nice value. Whether its share is larger than
/// that of a caller.
pub(super) fn serve_callers_there(thread: Pid, share: Share) -> bool {
    if !matches!(policy(thread), libc::SCHED_OTHER | libc::SCHED_BATCH) {
        return false;
    }
    let chosen = nice(thread);
    let larger = || set(thread, libc::SCHED_BATCH, share.nice, share.slice);
    let as_it_is = || set(thread, libc::SCHED_BATCH, chosen, 0);
    let done = if chosen == 0 { larger().or_else(|_| as_it_is()) } else { as_it_is() };
    if let Err(error) = done {
        tracing::debug!(%error, "choosing how to share a CPU with callers");
    }
    nice(thread) < 0
}

/// Takes that back.
pub(super) fn serve_callers_anywhere(thread: Pid, share: Share) {
    let nice = nice(thread);
    let nice = if nice == share.nice { 0 } else { nice };
    if let Err(error) = set(thread, libc::SCHED_OTHER, nice, 0) {
        tracing::debug!(%error, "sharing CPUs as others do again");
    }
}

fn policy(thread: Pid) -> libc::c_int {
    // SAFETY: there are no pointers.
    unsafe { libc::sched_getscheduler(thread.as_raw()) & !libc::SCHED_RESET_ON_FORK }
}

fn nice(thread: Pid) -> i32 {
    // SAFETY: there are no pointers.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, thread.as_raw().cast_unsigned()) }
}

/// Sets policy, nice value and slice of a thread, and that none of it passes on to those it starts (sched_setattr(2)).
fn set(thread: Pid, policy: libc::c_int, nice: i32, slice: u64) -> io::Result<()> {
    let attributes = libc::sched_attr {
        size: u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(0),
        sched_policy: policy.cast_unsigned(),
        sched_flags: u64::from(libc::SCHED_FLAG_RESET_ON_FORK.cast_unsigned()),
        sched_nice: nice,
        sched_priority: 0,
        // Before 6.12, no slice can be chosen, and this is ignored.
        sched_runtime: slice,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the pointer is to a live value of the size that is in it, which the call only reads.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, thread.as_raw(), &raw const attributes, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The state in a line of `/proc/PID/stat`: the first word behind the name, which may hold anything (proc_pid_stat(5)).
fn state(stat: &[u8]) -> Option<u8> {
    words(stat)?.next()?.first().copied()
}

/// The CPU in such a line: its 39th word, of which the name is the second.
fn cpu(stat: &[u8]) -> Option<usize> {
    str::from_utf8(words(stat)?.nth(36)?).ok()?.parse().ok()
}

/// The words behind the name.
fn words(stat: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    Some(stat.get(end + 2..)?.split(|byte| *byte == b' '))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use nix::unistd::gettid;

    use super::*;

    #[test]
    fn states_are_found_behind_any_name() {
        assert_eq!(state(b"12 (fusewire) S 1 2"), Some(b'S'));
        assert_eq!(state(b"12 (a) R (b) D 1 2"), Some(b'D'));
        assert_eq!(state(b""), None);
        let words: Vec<String> = (3..53).map(|number| number.to_string()).collect();
        assert_eq!(cpu(format!("12 (a) b) {}", words.join(" ")).as_bytes()), Some(39));
        assert_eq!(cpu(b"12 (a) R 1 2"), None);
    }

    #[test]
    fn threads_are_kept_where_they_are_found() {
        let before = allowed(THIS);
        let cpu = (0..CpuSet::count()).rev().find(|cpu| before.is_set(*cpu) == Ok(true)).expect("a CPU");
        std::thread::spawn(move || {
            assert!(stay_on(THIS, cpu));
            assert_eq!(cpu_of(gettid()), Some(cpu));
            assert!(!stay_on(THIS, CpuSet::count() - 1), "there is no such CPU");
            assert_eq!(cpu_of(gettid()), Some(cpu));
        });
        assert_eq!(allowed(THIS), before);
        assert_eq!(cpu_of(Pid::from_raw(0)), None);
    }

    #[test]
    fn chosen_policy_is_left_alone() {
        let worker = || {
            set(THIS, libc::SCHED_IDLE, 0, 0).unwrap();
            assert!(!serve_callers_there(THIS, THREEFOLD));
            assert_eq!(policy(THIS), libc::SCHED_IDLE);
        };
        std::thread::spawn(worker).join().unwrap();
    }

    #[test]
    fn larger_share_is_given_back_and_not_passed_on() {
        let worker = || {
            let usual = nice(THIS);
            let larger = serve_callers_there(THIS, NINEFOLD);
            assert_eq!(larger, nice(THIS) < 0);
            assert!(nice(THIS) == usual || (usual, nice(THIS)) == (0, NINEFOLD.nice));
            assert!(std::thread::spawn(|| nice(THIS)).join().unwrap() >= 0);
            serve_callers_anywhere(THIS, NINEFOLD);
            assert_eq!(nice(THIS), usual);
        };
        std::thread::spawn(worker).join().unwrap();
    }

    #[test]
    fn who_runs_is_runnable_and_who_waits_is_not() {
        assert!(is_runnable(gettid()));
        assert!(!is_runnable(Pid::from_raw(0)));
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let waiter = std::thread::spawn(move || {
            tell.send(gettid()).unwrap();
            let _ = ended.recv();
        });
        let thread = told.recv().unwrap();
        let blocked = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            !is_runnable(thread)
        });
        assert!(blocked);
        drop(end);
        waiter.join().unwrap();
    }
}
