//! One measurement: a client at work, and what the server used meanwhile, as the kernel tells.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::unistd::{Pid, getuid};

use crate::compare::cell::{Cell, Placement, Session};
use crate::compare::peers::Peer;
use crate::compare::results::{Sample, Switches};
use crate::compare::server::{Server, beside};
use crate::load::{Done, f64_of};

/// How long a server that has mounted is left alone before its memory is looked at.
const SETTLED: Duration = Duration::from_millis(50);

/// Leaves the mounts of the machine alone: what is mounted from now on goes with this process and its children.
pub(super) fn enter_private_namespace() -> Result<()> {
    ensure!(getuid().is_root(), "comparing servers: needs root, to mount and to pin");
    unshare(CloneFlags::CLONE_NEWNS).context("making a mount namespace")?;
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).context("making the mounts private")
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    nanoseconds: u64,
    voluntary: u64,
    involuntary: u64,
}

impl Usage {
    /// Of all threads that there are now.
    fn of(process: u32) -> Result<Self> {
        let mut usage = Self::default();
        for task in tasks(process)? {
            let file = format!("/proc/{process}/task/{task}");
            // A thread that ends meanwhile is not worth more.
            let Ok(schedstat) = fs::read_to_string(format!("{file}/schedstat")) else { continue };
            let status = fs::read_to_string(format!("{file}/status")).unwrap_or_default();
            usage.nanoseconds += schedstat.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
            usage.voluntary += number(&status, "voluntary_ctxt_switches").unwrap_or(0);
            usage.involuntary += number(&status, "nonvoluntary_ctxt_switches").unwrap_or(0);
        }
        Ok(usage)
    }

    fn since(self, before: Self) -> Self {
        Self {
            nanoseconds: self.nanoseconds.saturating_sub(before.nanoseconds),
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            involuntary: self.involuntary.saturating_sub(before.involuntary),
        }
    }
}

/// The number in a line as `VmRSS:\t 7 kB` of a file in `/proc`.
fn number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

pub(super) fn tasks(process: u32) -> Result<Vec<i32>> {
    let directory = format!("/proc/{process}/task");
    let list = fs::read_dir(&directory).with_context(|| format!("listing {directory}"))?;
    Ok(list.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// Puts all threads of a process on one CPU, or lets them go.
fn place(process: u32, placement: Placement) -> Result<()> {
    let all = sched_getaffinity(Pid::from_raw(0)).context("asking for the CPUs")?;
    let mut set = all;
    if placement == Placement::Pinned {
        set = CpuSet::new();
        let first = (0..CpuSet::count()).find(|cpu| all.is_set(*cpu).unwrap_or(false)).unwrap_or(0);
        set.set(first).context("choosing a CPU")?;
    }
    for task in tasks(process)? {
        match sched_setaffinity(Pid::from_raw(task), &set) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(error) => bail!("placing thread {task}: {error}"),
        }
    }
    Ok(())
}

/// Measures a server once.
pub(super) fn sample(server: &Server, cell: &Cell, time: Duration) -> Result<Sample> {
    let (done, used) = work(server, cell, time)?;
    // Without an operation there is nothing that it could have cost.
    let used = used.filter(|_| done.operations > 0);
    let each = |count: u64| f64_of(count) / f64_of(done.operations);
    Ok(Sample {
        rate: done.rate,
        cpu: used.map(|used| each(used.nanoseconds) / 1000.0),
        switches: used.map(|used| Switches { voluntary: each(used.voluntary), involuntary: each(used.involuntary) }),
        resident: None,
    })
}

/// Starts a server and ends it.
pub(super) fn start(peer: &'static Peer, scratch: &Path) -> Result<Sample> {
    let server = Server::start(peer, scratch)?;
    // It may still have something to do when its mount is there.
    std::thread::sleep(SETTLED);
    let resident = server.process().map(|process| -> Result<f64> {
        let file = format!("/proc/{process}/status");
        let status = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
        let resident = number(&status, "VmRSS").with_context(|| format!("reading {file}: no VmRSS"))?;
        Ok(f64_of(resident) / 1024.0)
    });
    let seconds = server.started_in.as_secs_f64();
    Ok(Sample { rate: 1.0 / seconds, resident: resident.transpose()?, ..Sample::default() })
}

/// Has a client work; returns what it got done and what the server used.
pub(super) fn work(server: &Server, cell: &Cell, time: Duration) -> Result<(Done, Option<Usage>)> {
    if let Some(process) = server.movable() {
        place(process, cell.placement)?;
    }
    let mut command = Command::new(beside("load")?);
    command.arg(cell.workload.name()).arg(&server.directory);
    command.args(["--threads", &cell.threads.to_string(), "--milliseconds", &time.as_millis().to_string()]);
    if cell.session == Session::Other {
        command.arg("--new-session");
    }
    let mut client =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("starting load")?;
    let mut input = client.stdin.take().context("starting load: no input")?;
    let mut lines = BufReader::new(client.stdout.take().context("starting load: no output")?).lines();
    let ready = lines.next().transpose()?;
    if ready.as_deref() != Some("ready") {
        let output = client.wait_with_output()?;
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{}", words.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    place(client.id(), cell.placement)?;
    let before = server.process().map(Usage::of).transpose()?;
    input.write_all(b"go\n").context("starting the client")?;
    let line = lines.next().transpose()?;
    let after = server.process().map(Usage::of).transpose()?;
    let output = client.wait_with_output()?;
    let Some(line) = line else {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{}", words.split_whitespace().collect::<Vec<_>>().join(" "));
    };
    let done: Done = serde_json::from_str(&line).context("reading what load says")?;
    Ok((done, after.zip(before).map(|(after, before)| after.since(before))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let status = "VmRSS:\t    5480 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(number(status, "VmRSS"), Some(5480));
        assert_eq!(number(status, "voluntary_ctxt_switches"), Some(7));
        assert_eq!(number(status, "nonvoluntary_ctxt_switches"), Some(9));
        assert_eq!(number(status, "VmSwap"), None);
    }
}
