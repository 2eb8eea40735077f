//! Checks of this runner: what goes wrong in a guest, or here, must be told and leave nothing behind. Each boots a guest in
//! which something is broken on purpose.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use super::plan::{GuestCase, Plan, What};
use super::session::{GRACE, Ran, Voice};
use super::{Bench, Boot, CASE_LIMIT, SMOKE, session, work};
use crate::test::{Case, Outcome};

/// A check, as data.
pub(super) struct RunnerCase {
    pub(super) name: &'static str,
    run: fn(&Bench<'_>) -> Result<Result<(), String>>,
}

pub(super) const ALL: &[RunnerCase] = &[
    RunnerCase { name: "broken_daemon_is_seen", run: |bench| see(bench, &DAEMON) },
    RunnerCase { name: "hanging_case_is_ended", run: |bench| see(bench, &HANG) },
    RunnerCase { name: "frozen_guest_is_ended", run: |bench| see(bench, &FREEZE) },
    RunnerCase { name: "panic_of_the_guest_is_told", run: |bench| see(bench, &PANIC) },
    RunnerCase { name: "interrupt_leaves_nothing", run: |bench| end(bench, Signal::SIGINT) },
    RunnerCase { name: "termination_leaves_nothing", run: |bench| end(bench, Signal::SIGTERM) },
    RunnerCase { name: "doctor_of_a_guest_speaks_json", run: doctor },
];

/// How a guest is broken, and what must come of it.
struct Break {
    /// What `--break` calls it.
    what: &'static str,
    /// How long its case may take.
    limit: Duration,
    /// How long it may be silent.
    patience: Duration,
    /// Part of the reason that the case must fail for.
    reason: &'static str,
    /// What must be shown.
    shown: &'static str,
}

/// A daemon that serves the wrong bytes.
const DAEMON: Break = Break {
    what: "daemon",
    limit: Duration::from_secs(CASE_LIMIT),
    patience: Duration::from_secs(CASE_LIMIT + GRACE.as_secs()),
    reason: "exit status 1",
    shown: "greeting holds",
};
/// A case that never ends.
const HANG: Break = Break {
    what: "hang",
    limit: Duration::from_secs(2),
    patience: GRACE,
    reason: "no end within 2 s",
    shown: "dmesg:",
};
/// A guest in which nothing moves any more.
const FREEZE: Break = Break {
    what: "freeze",
    limit: Duration::from_secs(2),
    patience: Duration::from_secs(5),
    reason: "the guest hung and was ended",
    shown: "guest: standing still",
};
/// A kernel that dies.
const PANIC: Break = Break {
    what: "panic",
    limit: Duration::from_secs(2),
    patience: GRACE,
    reason: "the guest's kernel panicked: sysrq triggered crash",
    shown: "Kernel panic",
};

/// How long an interrupted run may take until its guest is up, and to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a check.
pub(super) fn run(bench: &Bench<'_>, case: &RunnerCase) -> Result<Case> {
    let start = Instant::now();
    let outcome = match (case.run)(bench)? {
        Ok(()) => Outcome::Passed,
        Err(reason) => Outcome::Failed(reason),
    };
    let case = Case { name: case.name.to_owned(), outcome, time: Some(start.elapsed()) };
    session::show(&case, "");
    Ok(case)
}

/// Runs one case, which must fail for the right reason.
fn see(bench: &Bench<'_>, wrong: &Break) -> Result<Result<(), String>> {
    let name = SMOKE.first().copied().unwrap_or_default().to_owned();
    let plan = Plan {
        limit: wrong.limit,
        broken: Some(wrong.what.to_owned()),
        cases: vec![GuestCase { name: name.clone(), what: What::Own(name) }],
        ..Plan::default()
    };
    let session = bench.boot_with(Voice::Silent, &plan, Boot::default())?;
    let Ran { cases, said, .. } = session.run(&plan, wrong.patience)?;
    let told = |case: &Case| matches!(&case.outcome, Outcome::Failed(why) if why.contains(wrong.reason));
    if cases.iter().any(|case| case.outcome == Outcome::Passed) || !cases.iter().any(told) {
        return Ok(Err(format!("it was to fail with {:?}, and became {cases:?}; it said: {said}", wrong.reason)));
    }
    if !said.contains(wrong.shown) {
        return Ok(Err(format!("what was shown has no {:?}: {said}", wrong.shown)));
    }
    Ok(Ok(()))
}

/// Ends a run of its own, as Ctrl-C or a `kill` does, while its guest is up.
fn end(bench: &Bench<'_>, signal: Signal) -> Result<Result<(), String>> {
    // By this name it is found although building the guest's programs may have put a new one in its place.
    let mut child = Command::new("/proc/self/exe")
        .args(["vm", "--smoke", "--break", "freeze", "--kernel"])
        .arg(&bench.kernel.image)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting another run")?;
    let mut output = BufReader::new(child.stdout.take().context("reading from another run: it has no output")?).lines();
    let up = output.by_ref().map_while(Result::ok).any(|line| line.contains(" is up after "));
    let start = Instant::now();
    let pid = Pid::from_raw(i32::try_from(child.id()).context("reading a process id")?);
    kill(pid, signal).context("interrupting another run")?;
    let directories = work::of_process(bench.store, child.id());
    // Everything it writes is read until it ends.
    output.map_while(Result::ok).for_each(drop);
    let ended = child.wait_with_output().context("waiting for another run")?;
    let time = start.elapsed();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    Ok((|| {
        ensure!(up, "its guest did not come up: {said}");
        ensure!(ended.status.code() == Some(1), "it ended with {}: {said}", ended.status);
        let complaint = format!("error: interrupted by {signal}: the guest was ended");
        // What it does is told there, too.
        ensure!(
            said.lines().skip_while(|line| !line.starts_with("error")).eq([complaint.as_str()]),
            "it said {said:?}"
        );
        ensure!(time < PATIENCE, "it took {} s to end", time.as_secs());
        ensure!(!directories.is_empty(), "its files were not where they were looked for");
        for directory in &directories {
            let path = bench.store.join(directory);
            ensure!(!path.exists(), "it left {}", path.display());
            ensure!(!is_used(directory), "its guest still runs");
        }
        Ok(())
    })()
    .map_err(|error: anyhow::Error| format!("{error:#}")))
}

/// The part of `doctor --json` that is looked at.
#[derive(Deserialize)]
struct Said {
    kernel: String,
}

/// Asks this program for what a guest's kernel allows; all that it writes must be JSON.
fn doctor(bench: &Bench<'_>) -> Result<Result<(), String>> {
    let output = Command::new("/proc/self/exe")
        .args(["doctor", "--vm", "--json", "--kernel"])
        .arg(&bench.kernel.image)
        .stdin(Stdio::null())
        .output()
        .context("starting a doctor")?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(match serde_json::from_str::<Said>(&said) {
        Ok(Said { kernel }) if output.status.success() && kernel == bench.kernel.release => Ok(()),
        Ok(Said { kernel }) => Err(format!("it ended with {} and tells of the kernel {kernel}", output.status)),
        Err(error) => Err(format!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr))),
    })
}

/// Whether the command line of any process names it.
fn is_used(directory: &str) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok()).any(|line| names(&line, directory))
}

fn names(line: &[u8], directory: &str) -> bool {
    String::from_utf8_lossy(line).split(['\0', '/', ',', ':']).any(|part| Path::new(part) == Path::new(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_of_a_guest_names_its_directory() {
        let line = b"qemu-system-x86_64\0-initrd\0/t/vm/run-12-abc/initramfs\0-serial\0file:/t/vm/run-12-abc/console\0";
        assert!(names(line, "run-12-abc"));
        assert!(!names(line, "run-1-abc"));
    }
}
