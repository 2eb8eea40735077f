//! What came out of the suites: cases, the table at the end, the last line, JUnit. It runs nothing.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// With what it said.
    Failed(String),
    /// With the reason.
    Skipped(String),
}

/// One case that ran or was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) time: Option<Duration>,
}

/// A suite that was asked for, with what became of its cases.
pub(super) struct SuiteReport {
    pub(super) name: &'static str,
    pub(super) cases: Vec<Case>,
    pub(super) time: Duration,
}

/// Counts of cases. Its `Display` is the last line of a test run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Cases that ran and passed.
    pub(crate) passed: usize,
    /// Cases that failed, and in CI those that could not run.
    pub(crate) failed: usize,
    /// Cases that could not run here.
    pub(crate) skipped: usize,
}

impl Totals {
    pub(super) fn of(reports: &[SuiteReport]) -> Self {
        Self::of_cases(reports.iter().flat_map(|report| &report.cases))
    }

    /// Counts these cases.
    pub(crate) fn of_cases<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Self {
        let mut totals = Self::default();
        for case in cases {
            match case.outcome {
                Outcome::Passed => totals.passed += 1,
                Outcome::Failed(_) => totals.failed += 1,
                Outcome::Skipped(_) => totals.skipped += 1,
            }
        }
        totals
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// A row for each suite; below it every case that failed or was skipped, with the reason.
pub(super) fn table(reports: &[SuiteReport]) -> String {
    let mut text = format!("\n{:<8} {:>7} {:>7} {:>8} {:>9}\n", "suite", "passed", "failed", "skipped", "time");
    for report in reports {
        let totals = Totals::of(std::slice::from_ref(report));
        let seconds = format!("{:.1} s", report.time.as_secs_f64());
        text += &format!(
            "{:<8} {:>7} {:>7} {:>8} {seconds:>9}\n",
            report.name, totals.passed, totals.failed, totals.skipped
        );
    }
    for report in reports {
        for case in &report.cases {
            let (word, reason) = match &case.outcome {
                Outcome::Passed => continue,
                Outcome::Failed(reason) => ("FAILED", reason),
                Outcome::Skipped(reason) => ("skipped", reason),
            };
            let reason = reason.lines().next().unwrap_or_default();
            text += &format!("{word} {}: {}: {reason}\n", report.name, case.name);
        }
    }
    text
}

/// Writes every case as JUnit XML.
pub(super) fn write_junit(reports: &[SuiteReport], file: &Path) -> Result<()> {
    let mut junit = Report::new("fusewire");
    for report in reports {
        let mut suite = TestSuite::new(report.name);
        suite.set_time(report.time);
        for case in &report.cases {
            suite.add_test_case(junit_case(case));
        }
        junit.add_test_suite(suite);
    }
    let out = File::create(file).with_context(|| format!("creating {}", file.display()))?;
    junit.serialize(out).with_context(|| format!("writing {}", file.display()))
}

fn junit_case(case: &Case) -> TestCase {
    let (status, reason) = match &case.outcome {
        Outcome::Passed => (TestCaseStatus::success(), None),
        Outcome::Failed(said) => (TestCaseStatus::non_success(NonSuccessKind::Failure), Some(said)),
        Outcome::Skipped(reason) => (TestCaseStatus::skipped(), Some(reason)),
    };
    let mut junit = TestCase::new(case.name.as_str(), status);
    if let Some(reason) = reason {
        junit.status.set_message(reason.as_str());
    }
    if let Some(time) = case.time {
        junit.set_time(time);
    }
    junit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports() -> Vec<SuiteReport> {
        let case = |name: &str, outcome| Case { name: name.to_owned(), outcome, time: None };
        vec![SuiteReport {
            name: "unit",
            cases: vec![
                case("a", Outcome::Passed),
                case("b", Outcome::Failed("left != right".into())),
                case("c", Outcome::Skipped("no /dev/fuse".into())),
            ],
            time: Duration::from_millis(1500),
        }]
    }

    #[test]
    fn last_line_counts_every_case() {
        assert_eq!(Totals::of(&reports()).to_string(), "1 passed, 1 failed, 1 skipped");
        assert_eq!(Totals { passed: 3, ..Totals::default() }.to_string(), "3 passed, 0 failed");
    }

    #[test]
    fn table_names_what_failed_and_why_something_was_skipped() {
        let text = table(&reports());
        assert!(text.contains("FAILED unit: b: left != right\n"), "{text}");
        assert!(text.contains("skipped unit: c: no /dev/fuse\n"), "{text}");
        assert!(text.contains("1.5 s"), "{text}");
    }

    #[test]
    fn junit_file_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("junit.xml");
        write_junit(&reports(), &file).unwrap();
        let report = Report::deserialize_from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        assert_eq!((report.tests, report.failures), (3, 1));
    }

    #[test]
    fn junit_into_a_missing_directory_is_an_error_that_names_it() {
        let error = write_junit(&reports(), Path::new("/nonexistent/junit.xml")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/junit.xml"), "{error}");
    }
}
