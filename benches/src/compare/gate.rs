//! The targets as a table, which of them a run meets, and whether it lost one that was met before.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::compare::cell::Cell;
use crate::compare::peers::{
    FLOOR, FLOOR_RING, FUSER, LIBFUSE_MIRROR, LIBFUSE_MIRROR_FAST, MEMFS, MIRROR, MIRROR_FAST, MIRROR_PASSTHROUGH,
    NATIVE, OTHER_MIRROR, THIS, THIS_RING, THIS_RING_NEVER_BLOCKS,
};
use crate::compare::results::{Figure, Results, Sample};
use crate::workload::Workload;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// Operations a second; more is better.
    Rate,
    /// CPU time of the server; less is better.
    Cpu,
    /// Milliseconds an operation takes; less is better.
    Time,
    /// MiB of memory that it takes when idle; less is better.
    Memory,
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Against {
    /// The figure of another server in the same round.
    Server(&'static str),
    /// Nothing: it is in this unit.
    Unit(&'static str),
}

/// One target: a ratio or a figure, and what it must be.
#[derive(Debug)]
pub struct Target {
    /// What it is about.
    pub about: &'static str,
    cell: Cell,
    measure: Measure,
    server: &'static str,
    against: Against,
    /// At least this much where more is better, at most this much where less is.
    pub bound: f64,
}

/// How a target fares in a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The ratio is what it must be.
    Met(Figure),
    /// It is not, but by no more than it scatters.
    Even(Figure),
    /// It is not.
    Missed(Figure),
    /// The run has no such figures.
    NotMeasured,
}

fn of(server: &'static str, about: &'static str, cell: Cell, against: &'static str, bound: f64) -> Target {
    Target { about, cell, measure: Measure::Rate, server, against: Against::Server(against), bound }
}

fn rate(about: &'static str, cell: Cell, against: &'static str, bound: f64) -> Target {
    of(THIS, about, cell, against, bound)
}

fn ring(about: &'static str, cell: Cell, against: &'static str, bound: f64) -> Target {
    of(THIS_RING, about, cell, against, bound)
}

fn cpu(about: &'static str, cell: Cell, server: &'static str, bound: f64) -> Target {
    Target { measure: Measure::Cpu, ..of(server, about, cell, FLOOR, bound) }
}

/// All targets.
#[must_use]
pub fn targets() -> Vec<Target> {
    let metadata = "one request on /dev/fuse, on one CPU, against the floor";
    let one_worker = "CPU of the server, one worker";
    let default_workers = "CPU of the server, default workers";
    let large = "1 MiB against the floor";
    let fuser = "not slower than fuser";
    let mut targets = vec![
        rate(metadata, Cell::new(Workload::NullRead).pinned(), FLOOR, 0.95),
        rate(metadata, Cell::new(Workload::Getattr).pinned(), FLOOR, 0.95),
        rate(metadata, Cell::new(Workload::Lookup).pinned(), FLOOR, 0.95),
        cpu(one_worker, Cell::new(Workload::Getattr).pinned(), "fusewire-1", 1.10),
        cpu(one_worker, Cell::new(Workload::CreateUnlink).pinned(), "fusewire-1", 1.05),
        cpu(default_workers, Cell::new(Workload::Getattr).pinned(), THIS, 1.20),
        cpu(default_workers, Cell::new(Workload::CreateUnlink).pinned(), THIS, 1.20),
        cpu(default_workers, Cell::new(Workload::Getattr), THIS, 1.20),
        cpu("CPU of the server, against the floor", Cell::new(Workload::Readdir).pinned(), THIS, 1.10),
        rate(large, Cell::new(Workload::Read1mDirect), FLOOR, 0.97),
        rate(large, Cell::new(Workload::Write1mDirect), FLOOR, 0.97),
        rate(large, Cell::new(Workload::Read1mBuffered), FLOOR, 0.95),
        rate(large, Cell::new(Workload::Write1mBuffered), FLOOR, 0.95),
    ];
    let metadata = "one request on the ring, against the ring's floor";
    let callers = "several callers on the ring, against the ring's floor";
    let fast = "the ring against fuser";
    let large = "1 MiB on the ring, against the floor on /dev/fuse";
    let read_4k = Cell::new(Workload::Read4k);
    let getattr = Cell::new(Workload::Getattr);
    for server in [THIS_RING, THIS_RING_NEVER_BLOCKS] {
        let least = |about, cell, bound| of(server, about, cell, FLOOR_RING, bound);
        targets.extend([
            least(metadata, Cell::new(Workload::NullRead), 0.97),
            least(metadata, getattr, 0.97),
            least(metadata, Cell::new(Workload::Lookup), 0.97),
            least(metadata, getattr.pinned(), 0.97),
            least(callers, read_4k.threads(2), 0.95),
            least(callers, read_4k.threads(4), 0.95),
        ]);
    }
    targets.extend([
        ring(fast, getattr, FUSER, 2.0),
        ring(fast, getattr.from_another_session(), FUSER, 1.0),
        ring(fast, getattr.threads(4), FUSER, 1.35),
        ring(large, Cell::new(Workload::Read1mDirect), FLOOR, 0.90),
        ring(large, Cell::new(Workload::Write1mDirect), FLOOR, 0.95),
        ring(large, Cell::new(Workload::Read1mBuffered), FLOOR, 0.95),
        ring(large, Cell::new(Workload::Write1mBuffered), FLOOR, 0.95),
    ]);
    let promised = [
        Workload::NullRead,
        Workload::Getattr,
        Workload::Lookup,
        Workload::CreateUnlink,
        Workload::Readdir,
        Workload::Read1mDirect,
        Workload::Write1mDirect,
    ];
    for workload in promised {
        for threads in [1, 2] {
            let cell = Cell::new(workload).threads(threads);
            targets.extend([cell.pinned(), cell].map(|cell| rate(fuser, cell, FUSER, 1.0)));
        }
    }
    for workload in [Workload::Getattr, Workload::CreateUnlink, Workload::Read4k] {
        targets.push(rate(fuser, Cell::new(workload).threads(4), FUSER, 1.0));
    }
    for workload in [Workload::FioReadDeep, Workload::FioWriteDeep] {
        let cell = Cell::new(workload);
        targets
            .extend([cell, cell.from_another_session()].map(|cell| rate("a deep queue, one caller", cell, FLOOR, 1.0)));
        let about = "a deep queue on the ring, against the floor on /dev/fuse";
        targets.extend([cell, cell.from_another_session()].map(|cell| ring(about, cell, FLOOR, 1.0)));
    }
    targets.extend(mirror_targets());
    let start = Cell::new(Workload::StartUp);
    let idle = Target {
        against: Against::Unit("MiB"),
        measure: Measure::Memory,
        ..of(MEMFS, "an idle memfs", start, "", 6.0)
    };
    targets.push(idle);
    let about = "from the start to the mount";
    targets.extend([MEMFS, THIS, THIS_RING].map(|server| Target {
        against: Against::Unit("ms"),
        measure: Measure::Time,
        ..of(server, about, start, "", 10.0)
    }));
    targets
}

/// Those of the mirror filesystem.
fn mirror_targets() -> Vec<Target> {
    let mirrored = |workload| Cell::new(workload).mirrored();
    let without = "the mirror without passthrough";
    let with = "the mirror with passthrough";
    let mut targets = vec![
        of(MIRROR, without, mirrored(Workload::Read1mBuffered), NATIVE, 0.36),
        of(MIRROR, without, mirrored(Workload::Read1mDirect), NATIVE, 0.48),
        of(MIRROR, without, mirrored(Workload::Write1mDirect), NATIVE, 0.50),
        of(MIRROR_PASSTHROUGH, with, mirrored(Workload::Read1mBuffered), NATIVE, 0.97),
        of(MIRROR_PASSTHROUGH, with, mirrored(Workload::Write1mFsync), NATIVE, 0.80),
        of(MIRROR_PASSTHROUGH, with, mirrored(Workload::Write4kBuffered), NATIVE, 0.95),
    ];
    let steps = [
        Workload::Untar,
        Workload::Find,
        Workload::Grep,
        Workload::GitStatus,
        Workload::GitStatusWarm,
        Workload::CargoBuild,
        Workload::RemoveTree,
    ];
    for step in steps {
        let ahead = |other| of(MIRROR_FAST, "real life, ahead of every other", mirrored(step), other, 1.0);
        targets.extend([LIBFUSE_MIRROR, LIBFUSE_MIRROR_FAST, OTHER_MIRROR].map(ahead));
    }
    targets
}

impl Target {
    /// Whether it is about this row.
    #[must_use]
    pub fn is_about(&self, cell: &Cell) -> bool {
        self.cell == *cell
    }

    /// Whether it needs this server.
    #[must_use]
    pub fn names(&self, server: &str) -> bool {
        self.server == server || matches!(self.against, Against::Server(other) if other == server)
    }

    /// How it fares in these results.
    #[must_use]
    pub fn judge(&self, results: &Results) -> Verdict {
        let of = |sample: &Sample| match self.measure {
            Measure::Rate => Some(sample.rate),
            Measure::Cpu => sample.cpu,
            Measure::Time => Some(sample.seconds() * 1000.0),
            Measure::Memory => sample.resident,
        };
        let figure = results.cell(&self.cell).and_then(|cell| match self.against {
            Against::Server(other) => cell.ratio(self.server, other, of),
            Against::Unit(_) => cell.figure(self.server, of),
        });
        match figure {
            None => Verdict::NotMeasured,
            Some(figure) if self.missed_by(figure.median) <= 0.0 => Verdict::Met(figure),
            Some(figure) if self.missed_by(figure.median) <= figure.spread => Verdict::Even(figure),
            Some(figure) => Verdict::Missed(figure),
        }
    }

    /// How far a figure is on the wrong side of the bound.
    fn missed_by(&self, figure: f64) -> f64 {
        if self.measure == Measure::Rate { self.bound - figure } else { figure - self.bound }
    }

    /// What must be, as in `>= 0.95 of floor`.
    #[must_use]
    pub fn bound(&self) -> String {
        let sign = if self.measure == Measure::Rate { ">=" } else { "<=" };
        match self.against {
            Against::Server(other) => format!("{sign} {:.2} of {other}", self.bound),
            Against::Unit(unit) => format!("{sign} {} {unit}", self.bound),
        }
    }

    /// What is measured, and where, in words.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}: {}", self.server, self.cell)
    }

    /// What was lost since `before`, if this target was met there and is missed now by more than the spread.
    fn lost(&self, before: &Results, now: &Results) -> Option<String> {
        let (Verdict::Met(then), Verdict::Missed(figure)) = (self.judge(before), self.judge(now)) else {
            return None;
        };
        let (median, spread, bound) = (figure.median, figure.spread, self.bound());
        Some(format!("{}: {}: {bound}, was {:.2}, is {median:.2} ± {spread:.2}", self.about, self.place(), then.median))
    }
}

/// The targets that `now` has lost since `before`, a line each.
#[must_use]
pub fn lost(before: &Results, now: &Results) -> Vec<String> {
    targets().iter().filter_map(|target| target.lost(before, now)).collect()
}

/// The last results of this kind of run that are stored in a directory: file names sort by date.
///
/// # Errors
/// A file cannot be read.
pub fn last_stored(directory: &Path, mode: &str) -> Result<Option<Results>> {
    let ending = format!("-{mode}.json");
    let list = match fs::read_dir(directory) {
        Ok(list) => list,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("listing {}", directory.display())),
    };
    let files = list.filter_map(|entry| Some(entry.ok()?.path()));
    let Some(file) = files.filter(|path| path.to_string_lossy().ends_with(&ending)).max() else {
        return Ok(None);
    };
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    Ok(Some(serde_json::from_str(&text).with_context(|| format!("reading {}", file.display()))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::results::CellResult;

    /// A run in which this library has so much of fuser's rate at getattr, the same in three rounds but for `jitter`.
    fn run(ratio: f64, jitter: f64) -> Results {
        let mut cell = CellResult::new(Cell::new(Workload::Getattr));
        for (round, part) in [ratio - jitter, ratio, ratio + jitter].into_iter().enumerate() {
            let sample = |rate| Sample { rate, ..Sample::default() };
            cell.add(THIS, round, sample(1000.0 * part));
            cell.add(FUSER, round, sample(1000.0));
        }
        let text = r#"{"machine":{"date":"","kernel":"","cpu":"","cpus":2,"autogroup":true,"load":""},
            "mode":"quick","rounds":3,"milliseconds":1,"missing":[],"cells":[],"calls":[]}"#;
        let mut results: Results = serde_json::from_str(text).unwrap();
        results.cells.push(cell);
        results
    }

    #[test]
    fn a_target_that_was_met_is_lost_beyond_the_spread_only() {
        assert_eq!(lost(&run(1.1, 0.0), &run(0.9, 0.02)).len(), 1);
        assert!(lost(&run(1.1, 0.0), &run(0.9, 0.3)).is_empty());
        assert!(lost(&run(0.8, 0.0), &run(0.7, 0.0)).is_empty());
        assert!(lost(&run(1.1, 0.0), &run(1.05, 0.0)).is_empty());
    }

    #[test]
    fn results_survive_storing() {
        let directory = tempfile::tempdir().unwrap();
        let store = |date: &str, ratio| {
            let text = serde_json::to_string(&run(ratio, 0.0)).unwrap();
            fs::write(directory.path().join(format!("{date}-quick.json")), text).unwrap();
        };
        store("2026-02-01", 1.2);
        store("2026-01-31", 1.1);
        let last = last_stored(directory.path(), "quick").unwrap().unwrap();
        let cell = last.cell(&Cell::new(Workload::Getattr)).unwrap();
        assert_eq!(cell.figure(THIS, |sample| Some(sample.rate)).unwrap().median, 1200.0);
        assert!(last_stored(directory.path(), "full").unwrap().is_none());
    }
}
