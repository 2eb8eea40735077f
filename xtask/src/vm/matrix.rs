//! The suite on one kernel after the other, and the same cases on this machine's own: what each protocol minor does with
//! them, as a table. A kernel that does not boot is a row that says so, and the others have their turn.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xshell::Shell;

use super::kernel::Kernel;
use super::package::KERNEL;
use super::session::{Interrupted, Ran};
use super::{Args, run_on};
use crate::test::{self, Outcome, Totals};

/// What became of a kernel.
struct Row {
    release: String,
    /// Unknown when it did not boot.
    minor: Option<u32>,
    totals: Totals,
    time: Duration,
    /// Names of what failed.
    failed: Vec<String>,
    /// What else there is to say.
    remark: String,
}

impl Row {
    fn new(release: String) -> Self {
        let (totals, time) = (Totals::default(), Duration::ZERO);
        Self { release, minor: None, totals, time, failed: Vec::new(), remark: String::new() }
    }

    fn fill(&mut self, release: String, Ran { cases, minor, .. }: Ran) {
        let failed = cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed(_)));
        self.failed = failed.map(|case| case.name.clone()).collect();
        self.totals = Totals::of_cases(&cases);
        self.minor = (minor > 0).then_some(minor);
        self.release = release;
    }
}

/// Runs the chosen cases on every kernel.
pub(super) fn run(shell: &Shell, store: &Path, args: &Args) -> Result<ExitCode> {
    let kernels = Kernel::of_every_series(store)?;
    let mut rows = Vec::new();
    for (package, kernel) in kernels {
        println!();
        let start = Instant::now();
        let mut row = Row::new(package.trim_start_matches(KERNEL).to_owned());
        match kernel {
            // That it cannot be had is no fault of what is tested.
            Err(error) => row.remark = format!("skipped: {error:#}"),
            Ok(kernel) => match run_on(shell, store, &kernel, args) {
                Ok(Some(ran)) => row.fill(kernel.release, ran),
                Ok(None) => {}
                Err(error) if error.is::<Interrupted>() => return Err(error),
                Err(error) => {
                    row.totals.failed = 1;
                    row.remark = format!("FAILED: {error:#}");
                }
            },
        }
        if !row.remark.is_empty() {
            println!("{}: {}", row.release, row.remark);
        }
        row.time = start.elapsed();
        rows.push(row);
    }
    // A smoke run, or part of the cases, may have none that run here.
    if !args.smoke && args.filter.is_none() {
        println!("\nthis machine's kernel");
        let start = Instant::now();
        let (totals, minor) = test::run_mounting().context("on this machine's kernel")?;
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let here = Row::new(format!("{} (this machine)", release.trim()));
        rows.push(Row { minor, totals, time: start.elapsed(), ..here });
    }
    print!("{}", table(&rows));
    let good = rows.iter().all(|row| row.totals.failed == 0);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from("\n");
    let mut line = |fields: [&str; 6]| {
        let [kernel, protocol, passed, failed, skipped, time] = fields;
        writeln!(text, "{kernel:<34} {protocol:>8} {passed:>7} {failed:>7} {skipped:>8} {time:>8}")
            .expect("writing to a string cannot fail");
    };
    line(["kernel", "protocol", "passed", "failed", "skipped", "time"]);
    for Row { release, minor, totals, time, .. } in rows {
        let protocol = minor.map_or_else(|| "?".to_owned(), |minor| format!("7.{minor}"));
        let [passed, failed, skipped] = [totals.passed, totals.failed, totals.skipped].map(|count| count.to_string());
        line([release, &protocol, &passed, &failed, &skipped, &format!("{} s", time.as_secs())]);
    }
    for row in rows {
        if !row.remark.is_empty() {
            writeln!(text, "{}: {}", row.release, row.remark).expect("writing to a string cannot fail");
        }
        for name in &row.failed {
            writeln!(text, "FAILED on {}: {name}", row.release).expect("writing to a string cannot fail");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_a_row_a_kernel_and_names_what_failed() {
        let row = |release: &str, minor, failed: &[&str]| Row {
            release: release.to_owned(),
            minor,
            totals: Totals { passed: 3, failed: failed.len(), skipped: 1 },
            time: Duration::from_secs(70),
            failed: failed.iter().map(|name| (*name).to_owned()).collect(),
            remark: String::new(),
        };
        let text = table(&[row("5.10.0-46-cloud-amd64", Some(32), &[]), row("7.3", None, &["a b"])]);
        assert!(
            text.contains("5.10.0-46-cloud-amd64                  7.32       3       0        1     70 s\n"),
            "{text}"
        );
        assert!(text.contains("FAILED on 7.3: a b\n"), "{text}");
    }
}
