//! The requests of a connection, counted by the kernel's tracepoints: servers notice nothing of it. `FORGET` has no tracepoint;
//! the kernel sends many in one message, and nobody waits for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use rustix::fs::{fstat, minor, syncfs};

/// Where the kernel shows tracefs.
const TRACEFS: &str = "/sys/kernel/tracing";
/// The events of FUSE, in tracefs.
const EVENTS: &str = "events/fuse";
/// Room for some 100,000 events on each CPU.
const KIBIBYTES: &str = "8192";
/// How long the answers to what was sent may take.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// A log of the kernel's that nobody else uses; removed when dropped.
#[derive(Debug)]
pub(super) struct Trace {
    instance: PathBuf,
}

impl Trace {
    /// Makes the log. The mounts must be this process's own: where tracefs is not mounted, it is now.
    ///
    /// # Errors
    /// The kernel has no tracefs, or no tracepoints for FUSE.
    pub(super) fn new() -> Result<Self> {
        let tracefs = Path::new(TRACEFS);
        ensure!(tracefs.is_dir(), "counting requests: this kernel has no tracefs ({TRACEFS} is not there)");
        if !tracefs.join("instances").is_dir() {
            let mounted = mount(Some("tracefs"), tracefs, Some("tracefs"), MsFlags::empty(), None::<&str>);
            mounted.with_context(|| format!("counting requests: mounting tracefs on {TRACEFS}"))?;
        }
        ensure!(
            tracefs.join(EVENTS).is_dir(),
            "counting requests: this kernel has no tracepoints for FUSE ({TRACEFS}/{EVENTS} is not there: Linux 6.18 has \
             them, with the module fuse loaded)"
        );
        let instance = tracefs.join(format!("instances/fusewire-bench-{}", std::process::id()));
        fs::create_dir(&instance).with_context(|| format!("making {}", instance.display()))?;
        let trace = Self { instance };
        trace.set("buffer_size_kb", KIBIBYTES)?;
        Ok(trace)
    }

    /// Counts what the filesystem at `directory` is sent while `work` is done, by opcode. What the work leaves to be written
    /// is written, and belongs to it.
    ///
    /// # Errors
    /// Those of `work`; a request was not answered or not logged.
    pub(super) fn count(&self, directory: &Path, work: impl FnOnce() -> Result<()>) -> Result<BTreeMap<String, u64>> {
        let opened = File::open(directory).with_context(|| format!("opening {}", directory.display()))?;
        let connection = minor(fstat(&opened).context("asking for the connection")?.st_dev);
        // What came before does not belong to it.
        syncfs(&opened).context("writing what is left")?;
        self.set(&format!("{EVENTS}/filter"), &format!("connection == {connection}"))?;
        self.set("trace", "")?;
        self.set(&format!("{EVENTS}/enable"), "1")?;
        let done = work().and_then(|()| syncfs(&opened).context("writing what is left")).and_then(|()| self.quiet());
        self.set(&format!("{EVENTS}/enable"), "0")?;
        Ok(done?.sent)
    }

    /// What is in the log when every request has been answered.
    fn quiet(&self) -> Result<Log> {
        let start = Instant::now();
        loop {
            let file = self.instance.join("trace");
            let log = Log::read(&fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?)?;
            if log.open.is_empty() {
                return Ok(log);
            }
            ensure!(start.elapsed() < PATIENCE, "counting requests: {} are not answered", log.open.len());
            std::thread::sleep(PAUSE);
        }
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        let file = self.instance.join(file);
        fs::write(&file, value).with_context(|| format!("writing {}", file.display()))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.instance) {
            eprintln!("removing {}: {error}", self.instance.display());
        }
    }
}

/// What a log says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Log {
    /// How many requests were sent, by the name of the opcode without `FUSE_`.
    sent: BTreeMap<String, u64>,
    /// Those that have no answer yet.
    open: BTreeSet<u64>,
}

impl Log {
    /// Reads lines as in the guide's page on tracing.
    fn read(text: &str) -> Result<Self> {
        let mut log = Self::default();
        for line in text.lines() {
            if let Some((_, counts)) = line.split_once("entries-in-buffer/entries-written: ") {
                let counts = counts.split_whitespace().next().and_then(|counts| counts.split_once('/'));
                ensure!(
                    counts.is_some_and(|(kept, written)| kept == written),
                    "counting requests: the log was too short"
                );
            } else if let Some((_, event)) = line.split_once(" fuse_request_send: ") {
                let unique = word_after(event, "req").and_then(|word| word.parse().ok());
                let (Some(unique), Some(opcode)) = (unique, word_after(event, "opcode")) else {
                    bail!("counting requests: the kernel logs them in a way that is not known: {event}");
                };
                // An opcode that the kernel's table of names lacks has its number.
                let name = event.split_once("(FUSE_").and_then(|(_, rest)| Some(rest.split_once(')')?.0));
                *log.sent.entry(name.unwrap_or(opcode).to_owned()).or_default() += 1;
                log.open.insert(unique);
            } else if let Some((_, event)) = line.split_once(" fuse_request_end: ") {
                let unique = word_after(event, "req").and_then(|word| word.parse().ok());
                log.open.remove(&unique.context("counting requests: an answer without a number")?);
            }
        }
        Ok(log)
    }
}

/// The `7` in `req 7`.
fn word_after<'e>(event: &'e str, name: &str) -> Option<&'e str> {
    let mut words = event.split_whitespace();
    words.find(|word| *word == name)?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# tracer: nop
#
# entries-in-buffer/entries-written: 5/5   #P:2
#
             cat-42      [001] .....   100.000001: fuse_request_send: connection 51 req 6 opcode 1 (FUSE_LOOKUP) len 50
          memfs-41      [000] .....   100.000002: fuse_request_end: connection 51 req 6 len 144 error 0
             cat-42      [001] .....   100.000003: fuse_request_send: connection 51 req 8 opcode 15 (FUSE_READ) len 80
             cat-42      [001] .....   100.000004: fuse_request_send: connection 51 req 10 opcode 99 () len 80
          memfs-41      [000] .....   100.000005: fuse_request_end: connection 51 req 10 len 16 error -38
";

    #[test]
    fn log_is_counted_by_opcode_and_tells_what_is_open() {
        let log = Log::read(TEXT).unwrap();
        let sent = [("99", 1), ("LOOKUP", 1), ("READ", 1)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(log, Log { sent: BTreeMap::from(sent), open: BTreeSet::from([8]) });
    }

    #[test]
    fn log_that_lost_events_or_is_not_understood_is_an_error() {
        assert!(Log::read(&TEXT.replace("5/5", "5/6")).is_err());
        assert!(Log::read(&TEXT.replace("opcode 1 ", "operation 1 ")).is_err());
    }
}
