//! The targets as a table, which of them a run meets, and whether it lost one that was met before.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::compare::cell::Cell;
use crate::compare::results::{Figure, Results, Sample};
use crate::compare::server::{FLOOR, FLOOR_RING, FUSER, THIS, THIS_RING};
use crate::load::Workload;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// Operations a second; more is better.
    Rate,
    /// CPU time of the server; less is better.
    Cpu,
}

/// One target: a ratio, and what it must be.
#[derive(Debug)]
pub struct Target {
    /// What it is about.
    pub about: &'static str,
    /// Where it is measured. `None`: nothing here measures it yet, and `about` says what is missing.
    cell: Option<Cell>,
    measure: Measure,
    server: &'static str,
    against: &'static str,
    /// At least this much of the other's rate, or at most this much of its CPU time.
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

fn rate(about: &'static str, cell: Cell, against: &'static str, bound: f64) -> Target {
    Target { about, cell: Some(cell), measure: Measure::Rate, server: THIS, against, bound }
}

fn ring(about: &'static str, cell: Cell, against: &'static str, bound: f64) -> Target {
    Target { about, cell: Some(cell), measure: Measure::Rate, server: THIS_RING, against, bound }
}

fn cpu(about: &'static str, cell: Cell, server: &'static str, bound: f64) -> Target {
    Target { about, cell: Some(cell), measure: Measure::Cpu, server, against: FLOOR, bound }
}

fn unmeasured(about: &'static str, against: &'static str, bound: f64) -> Target {
    Target { about, cell: None, measure: Measure::Rate, server: THIS, against, bound }
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
    targets.extend([
        ring(metadata, Cell::new(Workload::NullRead), FLOOR_RING, 0.97),
        ring(metadata, getattr, FLOOR_RING, 0.97),
        ring(metadata, Cell::new(Workload::Lookup), FLOOR_RING, 0.97),
        ring(metadata, getattr.pinned(), FLOOR_RING, 0.97),
        ring(callers, read_4k.threads(2), FLOOR_RING, 0.95),
        ring(callers, read_4k.threads(4), FLOOR_RING, 0.95),
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
    targets.extend([
        unmeasured("4 KiB, 16 deep, one caller: needs fio", FLOOR, 1.0),
        unmeasured("passthrough read, and write with fsync: needs mirrorfs", "native", 0.97),
    ]);
    targets
}

impl Target {
    /// How it fares in these results.
    #[must_use]
    pub fn judge(&self, results: &Results) -> Verdict {
        let of = |sample: &Sample| match self.measure {
            Measure::Rate => Some(sample.rate),
            Measure::Cpu => sample.cpu,
        };
        let cell = self.cell.and_then(|cell| results.cell(&cell));
        match cell.and_then(|cell| cell.ratio(self.server, self.against, of)) {
            None => Verdict::NotMeasured,
            Some(figure) if self.missed_by(figure.median) <= 0.0 => Verdict::Met(figure),
            Some(figure) if self.missed_by(figure.median) <= figure.spread => Verdict::Even(figure),
            Some(figure) => Verdict::Missed(figure),
        }
    }

    /// How far a ratio is on the wrong side of the bound.
    fn missed_by(&self, ratio: f64) -> f64 {
        match self.measure {
            Measure::Rate => self.bound - ratio,
            Measure::Cpu => ratio - self.bound,
        }
    }

    /// What must be, as in `>= 0.95 of floor`.
    #[must_use]
    pub fn bound(&self) -> String {
        let sign = if self.measure == Measure::Rate { ">=" } else { "<=" };
        format!("{sign} {:.2} of {}", self.bound, self.against)
    }

    /// Where it is measured, in words.
    #[must_use]
    pub fn place(&self) -> String {
        self.cell.map_or_else(|| String::from("-"), |cell| cell.to_string())
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
            let sample = |rate| Sample { rate, cpu: None, switches: None };
            cell.add(THIS, round, sample(1000.0 * part));
            cell.add(FUSER, round, sample(1000.0));
        }
        let text = r#"{"machine":{"date":"","kernel":"","cpu":"","cpus":2,"autogroup":true,"load":""},
            "mode":"quick","rounds":3,"milliseconds":1,"missing":[],"cells":[]}"#;
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
