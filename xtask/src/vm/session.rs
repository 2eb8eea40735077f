//! One boot of a guest and what became of its cases. Whatever happens, the guest is gone afterwards.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::event::Event;
use super::plan::Plan;
use super::qemu::{Guest, Machine};
use super::watch::{Heard, Listener};
use crate::progress::Progress;
use crate::signals::Signals;
use crate::test::{Case, Outcome};

/// How long a guest may take to come up: usually four seconds, emulated on a machine with ten times too much to do more than
/// a minute.
pub(super) const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// What is given to a guest beyond the limit of its cases, which it sees to itself.
pub(super) const GRACE: Duration = Duration::from_secs(30);
/// How much of the console is shown.
const CONSOLE_LINES: usize = 40;

/// Whether what a guest does is shown while it does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    Loud,
    /// For guests in which things go wrong on purpose.
    Silent,
}

/// A booted guest, with its console in a file.
pub(super) struct Session<'a> {
    guest: Guest,
    listener: Listener<'a>,
    console: &'a Path,
    voice: Voice,
    start: Instant,
    minor: u32,
    greeting: String,
}

/// What became of a boot.
#[derive(Default)]
pub(super) struct Ran {
    pub(super) cases: Vec<Case>,
    /// The protocol minor that the guest's kernel offers.
    pub(super) minor: u32,
    /// What failed cases and the console said.
    pub(super) said: String,
}

/// Somebody wants this program to end.
#[derive(Debug)]
pub(crate) struct Interrupted(Signal);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted by {}: the guest was ended", self.0)
    }
}

impl std::error::Error for Interrupted {}

impl<'a> Session<'a> {
    /// Boots and waits until the guest is up. An error if it does not come up, with the console shown.
    pub(super) fn boot(machine: &Machine<'_>, console: &'a Path, signals: &'a Signals, voice: Voice) -> Result<Self> {
        let start = Instant::now();
        let (guest, port) = machine.boot(console)?;
        let listener = Listener::new(port, signals);
        let mut session = Self { guest, listener, console, voice, start, minor: 0, greeting: String::new() };
        match session.next(BOOT_LIMIT)? {
            Heard::Event(Event::Ready { release, uptime, minor, flags }) => {
                session.greeting = format!(
                    "kernel {release} is up after {:.1} s ({uptime} s by its own clock), protocol 7.{minor}, flags {flags:#x}",
                    start.elapsed().as_secs_f64()
                );
                session.minor = minor;
                Ok(session)
            }
            Heard::Event(Event::Broken(reason)) => bail!("setting up the guest: {reason}"),
            heard => bail!("booting kernel {}: {}", machine.kernel.release, session.trouble(&heard)?.0),
        }
    }

    /// Which kernel is up, and since when.
    pub(super) fn greeting(&self) -> &str {
        &self.greeting
    }

    /// The next thing heard. A signal is an error, so that everything is cleared away.
    pub(super) fn next(&mut self, patience: Duration) -> Result<Heard> {
        match self.listener.next(patience)? {
            Heard::Signal(signal) => Err(Interrupted(signal).into()),
            heard => Ok(heard),
        }
    }

    /// Takes the power away, and gives what the guest had still said.
    pub(super) fn cut_power(mut self) -> Result<Vec<Event>> {
        self.guest.kill();
        let mut events = Vec::new();
        while let Heard::Event(event) = self.next(BOOT_LIMIT)? {
            events.push(event);
        }
        Ok(events)
    }

    /// Follows the plan's cases to the guest's end, showing each. A guest that is silent for `patience` is ended.
    pub(super) fn run(mut self, plan: &Plan, patience: Duration) -> Result<Ran> {
        let progress = Progress::of(plan.cases.len());
        let mut cases: Vec<Case> = Vec::new();
        let mut running: Option<String> = None;
        // Of the case that runs, and of all.
        let (mut words, mut said) = (String::new(), String::new());
        let mut trouble = None;
        loop {
            match self.next(patience)? {
                Heard::Event(Event::Ended) => break,
                Heard::Event(Event::Started { name }) => {
                    progress.begin(&name);
                    running = Some(name);
                }
                Heard::Event(Event::Said(line)) => {
                    words += &line;
                    words.push('\n');
                }
                Heard::Event(Event::Broken(reason)) => trouble = Some(reason),
                Heard::Event(event) => {
                    if let Some(case) = case_of(event) {
                        progress.end(|| self.show(&case, &words));
                        said += &std::mem::take(&mut words);
                        running = None;
                        cases.push(case);
                    }
                }
                heard => {
                    let (reason, lines) = self.trouble(&heard)?;
                    said += &lines;
                    trouble = Some(reason);
                    break;
                }
            }
        }
        drop(progress);
        if trouble.is_none() {
            trouble = self.guest.end()?;
        }
        if self.voice == Voice::Loud {
            println!("the guest ended after {:.1} s", self.start.elapsed().as_secs_f64());
        }
        let lost = lost(plan, &cases, running, trouble);
        lost.iter().for_each(|case| self.show(case, ""));
        cases.extend(lost);
        Ok(Ran { cases, minor: self.minor, said })
    }

    fn show(&self, case: &Case, said: &str) {
        if self.voice == Voice::Loud {
            show(case, said);
        }
    }

    /// Ends a guest that has fallen silent or has ended too early. Gives what is wrong, and the console's last lines, which
    /// it shows.
    pub(super) fn trouble(&mut self, heard: &Heard) -> Result<(String, String)> {
        if *heard == Heard::Silence {
            self.guest.kill();
        }
        let complaint = self.guest.end()?;
        let console = fs::read(self.console).with_context(|| format!("reading {}", self.console.display()))?;
        let console = String::from_utf8_lossy(&console);
        let last = last_lines(&console);
        if self.voice == Voice::Loud {
            eprintln!("the console's last lines:");
            last.iter().for_each(|line| eprintln!("  | {line}"));
        }
        let reason = match (heard, complaint, panic_in(&console)) {
            (_, _, Some(panic)) => format!("the guest's kernel panicked: {panic}"),
            (_, Some(complaint), _) => complaint,
            (Heard::Silence, ..) => "the guest hung and was ended: see the console's last lines above".to_owned(),
            _ => "the guest ended by itself before it was done".to_owned(),
        };
        Ok((reason, last.join("\n")))
    }
}

/// What the kernel says when it panics, in front of the reason.
const PANIC: &str = "Kernel panic - not syncing: ";

fn panic_in(console: &str) -> Option<&str> {
    console.lines().find_map(|line| line.split_once(PANIC)).map(|(_, why)| why.trim_end())
}

/// The end of what a console has: after a panic all that was said from there on, however long the kernel's trace is.
fn last_lines(console: &str) -> Vec<&str> {
    let lines: Vec<&str> = console.lines().collect();
    let usual = lines.len().saturating_sub(CONSOLE_LINES);
    let first = lines.iter().position(|line| line.contains(PANIC)).map_or(usual, |panic| panic.min(usual));
    lines.get(first..).unwrap_or_default().to_vec()
}

fn case_of(event: Event) -> Option<Case> {
    let (name, outcome, time) = match event {
        Event::Passed { name, time } => (name, Outcome::Passed, Some(time)),
        Event::Failed { name, time, reason } => (name, Outcome::Failed(reason), Some(time)),
        Event::Skipped { name, reason } => (name, Outcome::Skipped(reason), None),
        _ => return None,
    };
    Some(Case { name, outcome, time })
}

/// A line for a case, below what it said when it failed.
pub(super) fn show(case: &Case, said: &str) {
    let time = case.time.map_or_else(String::new, |time| format!("{:.2} s", time.as_secs_f64()));
    let (word, reason) = match &case.outcome {
        Outcome::Passed => ("ok", ""),
        Outcome::Failed(reason) => ("FAILED", reason.as_str()),
        Outcome::Skipped(reason) => ("skipped", reason.as_str()),
    };
    for line in said.lines() {
        println!("  | {line}");
    }
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    println!("{word:<8} {time:>8}  {}{reason}", case.name);
}

/// What has no outcome has failed: the case that ran when the guest ended, and those that did not get their turn.
fn lost(plan: &Plan, cases: &[Case], running: Option<String>, trouble: Option<String>) -> Vec<Case> {
    let done: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    let missing: Vec<&str> =
        plan.cases.iter().map(|case| case.name.as_str()).filter(|name| !done.contains(name)).collect();
    if missing.is_empty() && trouble.is_none() {
        return Vec::new();
    }
    let reason = trouble.unwrap_or_else(|| "the guest told no outcome of it".to_owned());
    let failed = |name: String, reason: String| Case { name, outcome: Outcome::Failed(reason), time: None };
    let others = missing.iter().filter(|name| running.as_deref() != Some(**name)).count();
    let mut lost = vec![failed(running.unwrap_or_else(|| "the guest".to_owned()), reason)];
    if others > 0 {
        lost.push(failed("the rest".to_owned(), format!("{others} cases did not run")));
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::super::plan::{GuestCase, What};
    use super::*;

    fn plan(names: &[&str]) -> Plan {
        let case = |name: &&str| GuestCase { name: (**name).to_owned(), what: What::Own((**name).to_owned()) };
        Plan { cases: names.iter().map(case).collect(), ..Plan::default() }
    }

    fn passed(name: &str) -> Case {
        Case { name: name.to_owned(), outcome: Outcome::Passed, time: None }
    }

    #[test]
    fn cases_without_an_outcome_have_failed() {
        let plan = plan(&["a", "b", "c"]);
        let lost = lost(&plan, &[passed("a")], Some("b".into()), Some("the guest hung".into()));
        let outcome = |text: &str| Outcome::Failed(text.to_owned());
        assert_eq!(
            lost.iter().map(|case| (case.name.as_str(), &case.outcome)).collect::<Vec<_>>(),
            [("b", &outcome("the guest hung")), ("the rest", &outcome("1 cases did not run"))]
        );
    }

    #[test]
    fn nothing_is_lost_when_every_case_has_an_outcome() {
        assert!(lost(&plan(&["a"]), &[passed("a")], None, None).is_empty());
        assert_eq!(lost(&plan(&["a"]), &[passed("a")], None, Some("it panicked".into())).len(), 1);
    }

    #[test]
    fn panic_is_found_in_the_console() {
        let console = "[1.0] ok\n[    2.1] Kernel panic - not syncing: sysrq triggered crash\r\n[2.2] CPU: 0\n";
        assert_eq!(panic_in(console), Some("sysrq triggered crash"));
        assert_eq!(panic_in("all is well"), None);
    }

    #[test]
    fn last_lines_reach_back_to_a_panic() {
        let trace: Vec<String> = (0..100).map(|line| format!("line {line}")).collect();
        let calm = trace.join("\n");
        assert_eq!(last_lines(&calm), trace[60..]);
        let console = format!("[1.0] ok\n{PANIC}why\n{calm}");
        let last = last_lines(&console);
        assert_eq!((last.len(), last[0]), (101, &*format!("{PANIC}why")));
        assert_eq!(last_lines(&format!("one\n{PANIC}why")).len(), 2);
    }
}
