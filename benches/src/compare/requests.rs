//! How many requests the kernel sends to each server for what people do with a tree of source code. How long that takes is not
//! asked here.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::compare::measure;
use crate::compare::peers::{
    LIBFUSE_MIRROR, LIBFUSE_MIRROR_FAST, MEMFS, MIRROR, MIRROR_FAST, MIRROR_PASSTHROUGH, OTHER_MIRROR, PEERS, Peer,
    Serving,
};
use crate::compare::real_life::{Archive, finish};
use crate::compare::report::{heading, missing, push, row};
use crate::compare::results::{Machine, Missing};
use crate::compare::server::Server;
use crate::compare::trace::Trace;
use crate::load::f64_of;
use crate::workload::{Step, Work, Workload};

/// Whose requests are counted, in the order of the columns.
const SERVERS: [&str; 7] =
    [MEMFS, MIRROR, MIRROR_FAST, MIRROR_PASSTHROUGH, LIBFUSE_MIRROR, LIBFUSE_MIRROR_FAST, OTHER_MIRROR];
/// What is less for each file is not told apart.
const LEAST: f64 = 0.005;

/// What was counted.
#[derive(Debug)]
pub struct Requests {
    machine: Machine,
    counts: Vec<Count>,
    missing: Vec<Missing>,
}

/// What a server was sent for a step.
#[derive(Debug)]
struct Count {
    server: &'static str,
    step: Workload,
    /// How many files the step went through.
    files: u64,
    /// By opcode.
    requests: BTreeMap<String, u64>,
}

impl Count {
    fn all(&self) -> f64 {
        f64_of(self.requests.values().sum()) / f64_of(self.files)
    }

    /// The opcodes that count, most frequent first.
    fn parts(&self) -> String {
        let each = |(name, count): (&String, &u64)| (name.clone(), f64_of(*count) / f64_of(self.files));
        let mut parts: Vec<_> = self.requests.iter().map(each).filter(|(_, count)| *count >= LEAST).collect();
        parts.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let parts: Vec<_> = parts.iter().map(|(name, count)| format!("`{name}` {count:.2}")).collect();
        if parts.is_empty() { String::from("none") } else { parts.join(", ") }
    }
}

/// Counts for all servers. Whoever cannot be started is in the result with the reason.
///
/// # Errors
/// The machine does not allow it, or a signal asks to end.
pub fn run() -> Result<Requests> {
    measure::enter_private_namespace()?;
    let signals = hold_signals()?;
    let trace = Trace::new()?;
    let scratch = tempfile::tempdir().context("making a scratch directory")?;
    let archive = Archive::make(scratch.path())?;
    let mut found = Requests { machine: Machine::here()?, counts: Vec::new(), missing: Vec::new() };
    for name in SERVERS {
        let peer = PEERS.iter().find(|peer| peer.name == name).with_context(|| format!("finding the server {name}"))?;
        // What the kernel sends through a ring in the background, no tracepoint tells; how many there are does not depend on it.
        let serving = if peer.serving == Serving::Ring { Serving::Device(0) } else { peer.serving };
        let server = match Server::start_serving(peer, serving, scratch.path()) {
            Ok(server) => server,
            Err(error) => {
                found.miss(peer, &error);
                continue;
            }
        };
        for (workload, step) in steps() {
            eprintln!("{}: {}", peer.name, workload.title());
            let counted =
                archive.measure(step, &server.directory, |command| trace.count(&server.directory, || finish(command)));
            if let Some(signal) = signals.read_signal().context("reading a signal")? {
                bail!("ended by signal {}", signal.ssi_signo);
            }
            let requests = counted.with_context(|| format!("{}, {}", peer.name, workload.title()))?;
            let files = Archive::files(step, &server.directory)?;
            found.counts.push(Count { server: peer.name, step: *workload, files, requests });
        }
    }
    Ok(found)
}

/// Holds back what asks to end until a step is done, so that nothing is left behind.
fn hold_signals() -> Result<SignalFd> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block().context("holding back signals")?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("opening a signalfd")
}

/// The steps that go through a tree. A build has no tree of which it were.
fn steps() -> impl Iterator<Item = (&'static Workload, Step)> {
    Workload::value_variants().iter().filter_map(|workload| match workload.work() {
        Work::Step(step) if step != Step::Build => Some((workload, step)),
        _ => None,
    })
}

impl Requests {
    fn miss(&mut self, peer: &Peer, error: &anyhow::Error) {
        eprintln!("not counted: {}: {error:#}", peer.name);
        self.missing.push(Missing { server: peer.name.to_owned(), cell: None, reason: format!("{error:#}") });
    }

    fn find(&self, server: &str, step: Workload) -> Option<&Count> {
        self.counts.iter().find(|count| count.server == server && count.step == step)
    }

    /// The tables, in Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::from("# Requests for each file\n\n");
        push(
            &mut out,
            format_args!(
                "{}, Linux {}. All servers serve through `/dev/fuse` here, whatever they are told otherwise.\n\n",
                self.machine.date, self.machine.kernel
            ),
        );
        let about = PEERS.iter().filter(|peer| SERVERS.contains(&peer.name));
        about.for_each(|peer| push(&mut out, format_args!("- `{}`: {}\n", peer.name, peer.about)));
        heading(&mut out, "All servers", ["step", "files"].into_iter().chain(SERVERS));
        for (step, _) in steps() {
            let counts = SERVERS.map(|server| self.find(server, *step));
            let files =
                counts.iter().flatten().next().map_or_else(|| String::from("-"), |count| count.files.to_string());
            let all =
                counts.map(|count| count.map_or_else(|| String::from("-"), |count| format!("{:.2}", count.all())));
            row(&mut out, [step.title().to_owned(), files].into_iter().chain(all));
        }
        for server in SERVERS.into_iter().filter(|server| self.counts.iter().any(|count| count.server == *server)) {
            heading(&mut out, server, ["step", "requests for each file"]);
            for count in self.counts.iter().filter(|count| count.server == server) {
                row(&mut out, [count.step.title().to_owned(), count.parts()]);
            }
        }
        missing(&mut out, &self.missing);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_for_each_file_the_most_frequent_first() {
        let requests = [("LOOKUP", 30), ("READ", 100), ("STATFS", 0)].map(|(name, count)| (name.to_owned(), count));
        let count = Count { server: MEMFS, step: Workload::Grep, files: 100, requests: BTreeMap::from(requests) };
        assert_eq!(count.parts(), "`READ` 1.00, `LOOKUP` 0.30");
        let machine = Machine::here().unwrap();
        let text = Requests { machine, counts: vec![count], missing: Vec::new() }.markdown();
        assert!(text.contains("| grep -r | 100 | 1.30 | - |"), "{text}");
        assert!(text.contains("| grep -r | `READ` 1.00, `LOOKUP` 0.30 |"), "{text}");
    }

    #[test]
    fn every_server_is_a_peer() {
        assert!(SERVERS.iter().all(|name| PEERS.iter().any(|peer| peer.name == *name)));
    }
}
