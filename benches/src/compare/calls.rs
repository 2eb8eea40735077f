//! The system calls of a server, counted by strace: how many an operation. They slow it down, so nothing else is measured then.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::compare::cell::Cell;
use crate::compare::measure;
use crate::compare::server::Server;
use crate::load::f64_of;

/// How long strace may take to see all threads.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(2);

/// Counts what a server calls while a client works; `None` if it has no process.
///
/// # Errors
/// strace is missing or may not, or the client fails.
pub(super) fn count(
    server: &Server,
    cell: &Cell,
    time: Duration,
    scratch: &Path,
) -> Result<Option<BTreeMap<String, f64>>> {
    let Some(process) = server.process() else { return Ok(None) };
    let file = scratch.join("strace");
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-p", &process.to_string(), "-o"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("running strace (Debian: apt install strace)")?;
    let done = attached(process, &mut strace).and_then(|()| measure::work(server, cell, time));
    let pid = Pid::from_raw(i32::try_from(strace.id()).context("strace's process id")?);
    // That it has ended by itself shows in what it has written.
    let _ = kill(pid, Signal::SIGINT);
    strace.wait().context("waiting for strace")?;
    let (done, _) = done?;
    let table = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let calls = read(&table).into_iter().map(|(name, count)| (name, f64_of(count) / f64_of(done.operations.max(1))));
    Ok(Some(calls.collect()))
}

/// Waits until every thread of a process is watched.
fn attached(process: u32, strace: &mut Child) -> Result<()> {
    let start = Instant::now();
    loop {
        let watched = |task: &i32| {
            let status = fs::read_to_string(format!("/proc/{process}/task/{task}/status")).unwrap_or_default();
            !status.lines().any(|line| line == "TracerPid:\t0")
        };
        if measure::tasks(process)?.iter().all(watched) {
            return Ok(());
        }
        if strace.try_wait().context("waiting for strace")?.is_some() || start.elapsed() > PATIENCE {
            bail!("strace does not attach: it may not trace here");
        }
        std::thread::sleep(PAUSE);
    }
}

/// What strace's table says: names, and how often each was called.
fn read(table: &str) -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let count = words.nth(3)?.parse().ok()?;
        Some((words.next_back()?.to_owned(), count))
    };
    table.lines().filter_map(row).filter(|(name, _)| name != "total").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_strace_is_read() {
        let table = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           6       100         1 read
 40.00    0.000400           4        99           writev
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           5       199         1 total
";
        let expected = [(String::from("read"), 100), (String::from("writev"), 99)];
        assert_eq!(read(table), BTreeMap::from(expected));
    }
}
