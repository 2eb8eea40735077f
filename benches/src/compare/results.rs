//! What was measured, as it is stored, and what follows from it: medians and ratios.

use std::collections::BTreeMap;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::compare::Plan;
use crate::compare::cell::Cell;
use crate::compare::peers::PEERS;

/// One measurement.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Operations a second.
    pub rate: f64,
    /// CPU time of the server, in microseconds an operation.
    pub cpu: Option<f64>,
    /// Context switches of the server, an operation.
    pub switches: Option<Switches>,
    /// Resident memory of the server that has nothing to do yet, in MiB.
    pub resident: Option<f64>,
}

impl Sample {
    /// How long an operation takes, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        1.0 / self.rate
    }
}

/// Context switches.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Switches {
    /// To wait.
    pub voluntary: f64,
    /// Since others were to run.
    pub involuntary: f64,
}

/// The measurements of one cell: of each server, round by round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CellResult {
    /// What was measured.
    pub cell: Cell,
    samples: BTreeMap<String, BTreeMap<usize, Sample>>,
}

/// The system calls of a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calls {
    /// Whose.
    pub server: String,
    /// In which cell.
    pub cell: Cell,
    /// How many an operation, by name.
    pub each: BTreeMap<String, f64>,
}

/// Somebody who was not measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Missing {
    /// Who.
    pub server: String,
    /// In which cell; in none at all if `None`.
    pub cell: Option<Cell>,
    /// Why not.
    pub reason: String,
}

/// Where and when it was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The day, as in 2026-01-31.
    pub date: String,
    /// The release of the kernel.
    pub kernel: String,
    /// The model of the CPUs.
    pub cpu: String,
    /// How many there are.
    pub cpus: usize,
    /// Whether the scheduler makes a group of each session.
    pub autogroup: bool,
    /// How busy the machine was before: the load average over a minute.
    pub load: String,
}

/// All that came of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// Where and when.
    pub machine: Machine,
    /// What kind of run.
    pub mode: String,
    /// How many rounds.
    pub rounds: usize,
    /// How long each measurement took, in milliseconds.
    pub milliseconds: u64,
    /// Who was not measured.
    pub missing: Vec<Missing>,
    /// What was measured.
    pub cells: Vec<CellResult>,
    /// What was counted.
    pub calls: Vec<Calls>,
}

/// A figure and how far it scatters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The median.
    pub median: f64,
    /// Half the distance between the quartiles.
    pub spread: f64,
}

impl Figure {
    /// The median of values and their spread. `None` if there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let spread = (quantile(&values, 3)? - quantile(&values, 1)?) / 2.0;
        Some(Self { median: quantile(&values, 2)?, spread })
    }
}

/// The value below which so many quarters of the sorted values lie.
fn quantile(sorted: &[f64], quarters: usize) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let (below, rest) = (last * quarters / 4, last * quarters % 4);
    let low = sorted.get(below)?;
    let high = sorted.get(below + 1).unwrap_or(low);
    let part = [0.0, 0.25, 0.5, 0.75].get(rest)?;
    Some(low + (high - low) * part)
}

impl CellResult {
    pub(super) fn new(cell: Cell) -> Self {
        Self { cell, samples: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, server: &str, round: usize, sample: Sample) {
        self.samples.entry(server.to_owned()).or_default().insert(round, sample);
    }

    /// A figure of a server over all rounds.
    #[must_use]
    pub fn figure(&self, server: &str, of: impl Fn(&Sample) -> Option<f64>) -> Option<Figure> {
        Figure::of(self.samples.get(server)?.values().filter_map(of))
    }

    /// The ratio of the figures of two servers, each within a round.
    #[must_use]
    pub fn ratio(&self, server: &str, other: &str, of: impl Fn(&Sample) -> Option<f64>) -> Option<Figure> {
        let others = self.samples.get(other)?;
        Figure::of(self.samples.get(server)?.iter().filter_map(|(round, sample)| {
            let divisor = of(others.get(round)?)?;
            (divisor > 0.0).then_some(of(sample)? / divisor)
        }))
    }

    /// Whether there is anything of this server.
    #[must_use]
    pub fn has(&self, server: &str) -> bool {
        self.samples.contains_key(server)
    }
}

impl Results {
    pub(super) fn begin(plan: &Plan) -> Result<Self> {
        Ok(Self {
            machine: Machine::here()?,
            mode: plan.mode.clone(),
            rounds: plan.rounds,
            milliseconds: u64::try_from(plan.time.as_millis())?,
            missing: Vec::new(),
            cells: Vec::new(),
            calls: Vec::new(),
        })
    }

    /// Notes and tells that somebody is not measured, in a cell or at all.
    pub(super) fn miss(&mut self, server: &str, cell: Option<Cell>, error: &anyhow::Error) {
        let reason = format!("{error:#}");
        let place = cell.map_or_else(String::new, |cell| format!(", {cell}"));
        eprintln!("not measured: {server}{place}: {reason}");
        self.missing.push(Missing { server: server.to_owned(), cell, reason });
    }

    pub(super) fn is_missing(&self, server: &str, cell: &Cell) -> bool {
        self.missing.iter().any(|missing| missing.server == server && missing.cell.is_none_or(|other| other == *cell))
    }

    /// The measurements of a cell.
    #[must_use]
    pub fn cell(&self, cell: &Cell) -> Option<&CellResult> {
        self.cells.iter().find(|result| result.cell == *cell)
    }

    /// The cells that are wanted, and who was measured in at least one of them, in the order of the table of servers.
    #[must_use]
    pub fn select(&self, wanted: impl Fn(&Cell) -> bool) -> (Vec<&CellResult>, Vec<&'static str>) {
        let cells: Vec<_> = self.cells.iter().filter(|result| wanted(&result.cell)).collect();
        let names = PEERS.iter().map(|peer| peer.name);
        let servers = names.filter(|name| cells.iter().any(|cell| cell.has(name))).collect();
        (cells, servers)
    }
}

impl Machine {
    pub(super) fn here() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("reading {path}"));
        let info = read("/proc/cpuinfo")?;
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let load = read("/proc/loadavg")?;
        Ok(Self {
            date: today(),
            kernel: version(&read("/proc/sys/kernel/osrelease")?).to_owned(),
            cpu: model.map_or("unknown", |(_, model)| model.trim()).to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            autogroup: read("/proc/sys/kernel/sched_autogroup_enabled").is_ok_and(|value| value.trim() == "1"),
            load: load.split(' ').next().unwrap_or("unknown").to_owned(),
        })
    }
}

/// The day in UTC.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (year, month, day) = civil(seconds / 86400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of a day counted from 1970-01-01; Howard Hinnant's algorithm.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The version in a release such as `6.12.9-amd64`: who built it says nothing to others.
fn version(release: &str) -> &str {
    release.trim().split_once('-').map_or(release.trim(), |(version, _)| version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_knows_leap_years() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_818), (2026, 12, 31));
    }

    #[test]
    fn figure_is_the_median_and_half_the_distance_of_the_quartiles() {
        let figure = Figure::of([5.0, 1.0, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!(figure, Figure { median: 3.0, spread: 1.0 });
        assert_eq!(Figure::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Figure::of([]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let cell = Cell::new(crate::workload::Workload::Getattr);
        let mut result = CellResult::new(cell);
        let sample = |rate| Sample { rate, ..Sample::default() };
        for (round, (ours, theirs)) in [(10.0, 5.0), (100.0, 50.0), (2.0, 1.0)].into_iter().enumerate() {
            result.add("a", round, sample(ours));
            result.add("b", round, sample(theirs));
        }
        let ratio = result.ratio("a", "b", |sample| Some(sample.rate)).unwrap();
        assert_eq!(ratio, Figure { median: 2.0, spread: 0.0 });
        assert_eq!(result.ratio("a", "b", |sample| sample.cpu), None);
    }
}
