//! What the scheduler says of a thread of this process.
//!
//! A worker that is long at a request is blocked, or has just not had its turn on a busy machine. Another worker helps in
//! the first case only.

use std::fs;

use nix::unistd::Pid;

/// Whether `thread` runs, or would if a CPU were free. `false` if that cannot be told: `/proc` is not there.
pub(super) fn is_runnable(thread: Pid) -> bool {
    let stat = fs::read(format!("/proc/self/task/{thread}/stat"));
    stat.is_ok_and(|stat| state(&stat) == Some(b'R'))
}

/// The state in a line of `/proc/PID/stat`: the first word behind the name, which may hold anything (proc_pid_stat(5)).
fn state(stat: &[u8]) -> Option<u8> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(end + 2).copied()
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
