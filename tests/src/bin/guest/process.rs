//! Runs a case as a process with a time limit. What it says goes to a file, so that nobody has to read while it runs.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

/// The exit status by which a case of this program says that it cannot run here.
pub(crate) const SKIPPED: u8 = 77;

const OUTPUT: &str = "/run/output";

/// How a process ended.
#[derive(Debug)]
pub(crate) enum End {
    Exited(i32),
    Killed(Signal),
    /// It was killed because its time was up.
    TimedOut,
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) end: End,
    pub(crate) time: Duration,
    /// What it wrote to standard output and standard error.
    pub(crate) output: String,
}

/// Runs a command in a process group of its own.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Ended> {
    let output = File::create(OUTPUT).with_context(|| format!("creating {OUTPUT}"))?;
    let errors = output.try_clone().context("sharing the output file")?;
    let start = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let pid = Pid::from_raw(i32::try_from(child.id()).context("reading a process id")?);
    let ended_in_time = wait_for_end(pid, limit)?;
    let time = start.elapsed();
    if !ended_in_time {
        tell_where_it_hangs(pid);
        let _ = killpg(pid, Signal::SIGKILL);
        if !wait_for_end(pid, Duration::from_secs(5))? {
            // Nothing but aborting what it waits for helps; the caller does so, and reaps it as an orphan.
            return Ok(Ended { end: End::TimedOut, time, output: read_output() });
        }
    }
    let status = waitpid(pid, None).context("waiting for a case")?;
    let end = match status {
        _ if !ended_in_time => End::TimedOut,
        WaitStatus::Signaled(_, signal, _) => End::Killed(signal),
        WaitStatus::Exited(_, code) => End::Exited(code),
        _ => End::Exited(-1),
    };
    Ok(Ended { end, time, output: read_output() })
}

fn read_output() -> String {
    fs::read(OUTPUT).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn wait_for_end(pid: Pid, limit: Duration) -> Result<bool> {
    let raw = rustix::process::Pid::from_raw(pid.as_raw()).context("a process id is never 0")?;
    let process = pidfd_open(raw, PidfdFlags::empty()).context("opening a pidfd")?;
    let timeout = PollTimeout::try_from(limit).context("converting a time limit")?;
    let mut asked = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut asked, timeout).context("waiting for a case")? > 0)
}

/// Adds to the output what each thread of the process waits for in the kernel.
fn tell_where_it_hangs(pid: Pid) {
    use std::io::Write;
    let Ok(mut output) = File::options().append(true).open(OUTPUT) else { return };
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return };
    for thread in threads.flatten() {
        let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let stack = fs::read_to_string(thread.path().join("stack")).unwrap_or_default();
        let _ = writeln!(output, "thread {} waits in:\n{}", name.trim_end(), stack.trim_end());
    }
}

/// Takes the exit status of every process that ended and was left to process 1.
pub(crate) fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}
