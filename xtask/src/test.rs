//! `cargo xtask test`: runs the suites that this machine can run and says what it could not run, and why.
//!
//! The suites are data: a name, what they need of the machine (checks of the doctor), and how they run. A new suite is
//! a new row of [`SUITES`]. The cases themselves live in the crates and in `tests/`, not here.

mod libtest;
mod machine;
mod nextest;
mod posix;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;
use xshell::Shell;

use crate::doctor::{self, Findings};
use crate::vm;
use crate::workspace::{self, Metadata};
pub(crate) use machine::TEST_USER;
use report::SuiteReport;
pub(crate) use report::{Case, Outcome, Totals};

/// Flags of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The suite to run; without it, every suite that this machine can run
    #[arg(long, value_parser = suite_names())]
    suite: Option<String>,
    /// Write the results to this file as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// List the suites and their cases, and run nothing
    #[arg(long)]
    list: bool,
    /// As root: create the ordinary user that some cases run as, and open /dev/fuse to users (in CI this is done anyway)
    #[arg(long)]
    create_user: bool,
    /// Run the shortened form of a suite that has one, as a run of all suites does
    #[arg(long)]
    quick: bool,
    /// Run only the cases whose name contains this
    filter: Option<String>,
}

/// A suite of tests, as data.
struct Suite {
    name: &'static str,
    about: &'static str,
    /// Checks of the doctor without which nothing of the suite can run.
    needs: &'static [&'static str],
    /// Needs that only some cases have, told by their names.
    case_needs: &'static [CaseNeed],
    run: fn(&Run<'_>, &Suite) -> Result<Vec<Case>>,
    list: fn(&Run<'_>) -> Result<Vec<nextest::Name>>,
}

/// Cases whose path has a part with this name need this check of the doctor.
struct CaseNeed {
    /// A module or function name, a whole part between two `::`.
    part: &'static str,
    check: &'static str,
}

const ALL: &str = "all";

const SUITES: &[Suite] = &[
    Suite {
        name: "unit",
        about: "everything that mounts nothing: unit tests, property tests, doc tests",
        needs: &[],
        case_needs: &[],
        run: nextest::run_unit,
        list: nextest::list_unit,
    },
    Suite {
        name: "mount",
        about: "cases that mount through the kernel: the package `tests`, and integration tests named mount*",
        needs: &["nextest", "mount"],
        case_needs: &[
            CaseNeed { part: "as_user", check: "test-user" },
            CaseNeed { part: "as_user", check: "dev-fuse-mode" },
            CaseNeed { part: "fusermount", check: "fusermount3" },
            CaseNeed { part: "user_namespace", check: "user-namespaces" },
        ],
        run: nextest::run_mount,
        list: nextest::list_mount,
    },
    Suite {
        name: "vm",
        about: "the same in a virtual machine with Debian's kernel, and what only a machine of its own can show; when named",
        needs: &["qemu", "guest-kernel"],
        case_needs: &[],
        run: |run, _| vm::run_suite(run.filter),
        list: list_vm,
    },
    Suite {
        name: "posix",
        about: "memfs and mirrorfs under the test programs of others; all of it when named, without --quick",
        needs: &["root", "mount", "loop-devices"],
        case_needs: &[],
        run: posix::run,
        list: posix::list,
    },
];

/// What a suite gets to run with.
struct Run<'a> {
    shell: &'a Shell,
    metadata: &'a Metadata,
    findings: &'a Findings,
    filter: Option<&'a str>,
    form: posix::Form,
}

impl Args {
    fn form(&self) -> posix::Form {
        // What runs for hours must be asked for.
        if self.quick || self.suite.as_deref().is_none_or(|suite| suite == ALL) {
            posix::Form::Quick
        } else {
            posix::Form::Full
        }
    }
}

fn suite_names() -> PossibleValuesParser {
    PossibleValuesParser::new(SUITES.iter().map(|suite| suite.name).chain([ALL]))
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.list {
        list(args)?;
        return Ok(ExitCode::SUCCESS);
    }
    let totals = run_suites(args)?;
    println!("{totals}");
    Ok(if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every suite, as `ci` runs them. Prints everything but the last line.
pub(crate) fn run_all() -> Result<Totals> {
    run_suites(&Args { suite: None, junit: None, list: false, create_user: false, quick: true, filter: None })
}

fn run_suites(args: &Args) -> Result<Totals> {
    let shell = workspace::shell()?;
    let metadata = Metadata::read(&shell)?;
    let suites = chosen(args);
    if suites.iter().any(|suite| !suite.needs.is_empty()) {
        machine::prepare(&shell, args.create_user)?;
    }
    let findings = doctor::examine();
    print_needs(&suites, &findings)?;

    let (filter, form) = (args.filter.as_deref(), args.form());
    let run = Run { shell: &shell, metadata: &metadata, findings: &findings, filter, form };
    let mut reports = Vec::new();
    for suite in suites {
        let start = Instant::now();
        let cases = run_suite(&run, suite)?;
        reports.push(SuiteReport { name: suite.name, cases, time: start.elapsed() });
    }
    if let Some(filter) = run.filter.filter(|_| reports.iter().all(|report| report.cases.is_empty())) {
        bail!("running tests: no case has `{filter}` in its name");
    }
    print!("{}", report::table(&reports));
    if let Some(file) = &args.junit {
        report::write_junit(&reports, file)?;
        println!("results as JUnit: {}", file.display());
    }
    Ok(Totals::of(&reports))
}

fn run_suite(run: &Run<'_>, suite: &Suite) -> Result<Vec<Case>> {
    let mut lacking = Vec::new();
    for need in suite.needs {
        let finding = run.findings.find(need)?;
        if !finding.met() {
            lacking.push(finding.complaint());
        }
    }
    if !lacking.is_empty() {
        return Ok(vec![left_out(format!("the whole suite {}", suite.name), lacking.join("; "))]);
    }
    println!("\n== suite {}", suite.name);
    (suite.run)(run, suite)
}

/// A case that cannot run here: a skip with its reason, and in CI a failure.
fn left_out(name: String, reason: String) -> Case {
    let outcome = if workspace::in_ci() { Outcome::Failed(reason) } else { Outcome::Skipped(reason) };
    Case { name, outcome, time: None }
}

fn chosen(args: &Args) -> Vec<&'static Suite> {
    let wanted = args.suite.as_deref().unwrap_or(ALL);
    // A guest under emulation takes minutes, so the suite of the virtual machine runs when it is named.
    let everyday = |suite: &Suite| wanted == ALL && suite.name != "vm";
    SUITES.iter().filter(|suite| everyday(suite) || wanted == suite.name).collect()
}

fn print_needs(suites: &[&Suite], findings: &Findings) -> Result<()> {
    for suite in suites {
        println!("suite {}: {}", suite.name, suite.about);
        for need in suite.needs {
            let finding = findings.find(need)?;
            let word = if finding.met() { "ok" } else { "MISSING" };
            println!("  needs {:<16} {word}", finding.name);
        }
        for CaseNeed { part, check } in suite.case_needs {
            let finding = findings.find(check)?;
            let word = if finding.met() { "ok" } else { "MISSING" };
            println!("  needs {:<16} {word} (for cases in `{part}`)", finding.name);
        }
    }
    Ok(())
}

fn list(args: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    let metadata = Metadata::read(&shell)?;
    let findings = doctor::examine();
    let (filter, form) = (args.filter.as_deref(), args.form());
    let run = Run { shell: &shell, metadata: &metadata, findings: &findings, filter, form };
    for suite in chosen(args) {
        println!("suite {}: {}", suite.name, suite.about);
        let cases = (suite.list)(&run).with_context(|| format!("listing the cases of suite {}", suite.name))?;
        for case in cases {
            println!("  {case}");
        }
    }
    Ok(())
}

/// The names of the cases that run in a guest.
fn list_vm(run: &Run<'_>) -> Result<Vec<nextest::Name>> {
    let name = |case: String| {
        let (binary, test) = case.split_once(' ').unwrap_or(("guest", &case));
        nextest::Name { binary: binary.to_owned(), test: test.to_owned() }
    };
    Ok(vm::list_suite(run.filter)?.into_iter().map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_need_of_a_suite_is_a_check_of_the_doctor() {
        for suite in SUITES {
            let needs = suite.needs.iter().copied();
            for need in needs.chain(suite.case_needs.iter().map(|need| need.check)) {
                assert!(doctor::has_check(need), "suite {}: {need}", suite.name);
            }
        }
    }
}
