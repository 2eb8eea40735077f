//! `cargo xtask test`: runs the suites that this machine can run and says what it could not run, and why.
//!
//! The suites are data: a name, what they need of the machine (checks of the doctor), and how they run. A new suite is
//! a new row of [`SUITES`]. The cases themselves live in the crates and in `tests/`, not here.

mod libtest;
mod machine;
mod nextest;
mod posix;
mod report;

use std::io::Write;
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
#[derive(clap::Args, Default)]
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
    /// As root: create the ordinary user that some cases run as, open /dev/fuse to users, and let FUSE use io_uring (in CI this is done anyway)
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
    /// Whether it must be named when only some cases are wanted: everything is built, or runs, once more for it.
    apart: bool,
    /// Checks of the doctor without which nothing of the suite can run.
    needs: &'static [&'static str],
    /// Needs that only some cases have, told by their names.
    case_needs: &'static [CaseNeed],
    run: fn(&Run<'_>, &Suite) -> Result<Vec<Case>>,
    list: fn(&Run<'_>) -> Result<Vec<nextest::Name>>,
}

/// Cases that need this check of the doctor, told by their path or by the program that holds them.
struct CaseNeed {
    /// Module or function names, whole parts between two `::`; or a package and its test program, for all cases in it.
    parts: &'static [&'static str],
    check: &'static str,
}

const ALL: &str = "all";

/// Cases that mount and need root: some by themselves, others with all of their program.
const AS_ROOT: &[&str] = &[
    "as_root",
    "fusewire::mount",
    "fusewire-tests::mount_privileges",
    "hellofs::mount_command",
    "memfs::mount_posix",
    "mirrorfs::mount_differential",
    "mirrorfs::mount_limits",
    "mirrorfs::mount_options",
    "mirrorfs::mount_programs",
];

/// What cases that mount need beside a mount.
const MOUNT_NEEDS: &[CaseNeed] = &[
    CaseNeed { parts: AS_ROOT, check: "root" },
    CaseNeed { parts: &["as_user"], check: "test-user" },
    CaseNeed { parts: &["as_user"], check: "dev-fuse-mode" },
    CaseNeed { parts: &["fusermount"], check: "fusermount3" },
    CaseNeed { parts: &["user_namespace"], check: "user-namespaces" },
    CaseNeed { parts: &["io_uring"], check: "io-uring" },
    CaseNeed { parts: &["tracepoints"], check: "tracepoints" },
];

const SUITES: &[Suite] = &[
    Suite {
        name: "unit",
        about: "everything that mounts nothing: unit tests, property tests, doc tests",
        apart: false,
        needs: &[],
        case_needs: &[CaseNeed { parts: &["as_root"], check: "root" }],
        run: nextest::run_unit,
        list: nextest::list_unit,
    },
    Suite {
        name: "mount",
        about: "cases that mount through the kernel: the package `tests`, and integration tests named mount*",
        apart: false,
        needs: &["nextest", "mount"],
        case_needs: MOUNT_NEEDS,
        run: nextest::run_mount,
        list: nextest::list_mount,
    },
    Suite {
        name: "mount-dev",
        about: "the cases of `mount` through /dev/fuse, where they go through io_uring by themselves",
        apart: true,
        needs: &["nextest", "mount", "io-uring"],
        case_needs: MOUNT_NEEDS,
        run: nextest::run_mount_device,
        list: nextest::list_mount,
    },
    Suite {
        name: "vm",
        about: "the same in a virtual machine with Debian's kernel, and what only a machine of its own can show",
        apart: true,
        needs: &["qemu", "guest-kernel"],
        case_needs: &[],
        run: run_vm,
        list: list_vm,
    },
    Suite {
        name: "posix",
        about: "memfs and mirrorfs under the test programs of others; all of it when named, without --quick",
        apart: false,
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
    /// Whether cases run, rather than being listed.
    pub(crate) fn runs(&self) -> bool {
        !self.list
    }

    fn form(&self) -> posix::Form {
        // What runs long must be asked for.
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
    run_suites(&Args { quick: true, ..Args::default() })
}

/// The suite of cases that mount, on this machine's kernel, with the protocol minor that it offers.
pub(crate) fn run_mounting() -> Result<(Totals, Option<u32>)> {
    let args = Args { suite: Some("mount".to_owned()), ..Args::default() };
    Ok((run_suites(&args)?, doctor::protocol_minor()))
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
    if let (None, Some(filter)) = (&args.suite, &args.filter) {
        for suite in SUITES.iter().filter(|suite| suite.apart) {
            println!("suite {0}: left out; to run its cases: cargo xtask test --suite {0} {filter}", suite.name);
        }
    }

    let (filter, form) = (args.filter.as_deref(), args.form());
    let run = Run { shell: &shell, metadata: &metadata, findings: &findings, filter, form };
    let mut reports = Vec::new();
    for suite in suites {
        let start = Instant::now();
        let cases = match run_suite(&run, suite) {
            Ok(cases) => cases,
            Err(error) if error.is::<vm::Interrupted>() => return Err(error),
            // The other suites have their turn, and what they found is told.
            Err(error) => vec![broken(suite, &error)],
        };
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
        return Ok(vec![whole_left_out(suite, lacking.join("; "))]);
    }
    println!("\n== suite {}", suite.name);
    (suite.run)(run, suite)
}

fn whole_left_out(suite: &Suite, reason: String) -> Case {
    left_out(format!("the whole suite {}", suite.name), reason)
}

fn broken(suite: &Suite, error: &anyhow::Error) -> Case {
    let outcome = Outcome::Failed(format!("{error:#}"));
    Case { name: format!("the whole suite {}", suite.name), outcome, time: None }
}

/// A case that cannot run here: a skip with its reason, and in CI a failure.
fn left_out(name: String, reason: String) -> Case {
    let outcome = if workspace::in_ci() { Outcome::Failed(reason) } else { Outcome::Skipped(reason) };
    Case { name, outcome, time: None }
}

fn chosen(args: &Args) -> Vec<&'static Suite> {
    let wanted = |suite: &&Suite| match args.suite.as_deref() {
        None => !suite.apart || args.filter.is_none(),
        Some(name) => name == ALL || name == suite.name,
    };
    SUITES.iter().filter(wanted).collect()
}

fn print_needs(suites: &[&Suite], findings: &Findings) -> Result<()> {
    for suite in suites {
        println!("suite {}: {}", suite.name, suite.about);
        for need in suite.needs {
            let finding = findings.find(need)?;
            let word = if finding.met() { "ok" } else { "MISSING" };
            println!("  needs {:<16} {word}", finding.name);
        }
        for CaseNeed { parts, check } in suite.case_needs {
            let finding = findings.find(check)?;
            let word = if finding.met() { "ok" } else { "MISSING" };
            println!("  needs {:<16} {word} (for cases in {})", finding.name, parts.join(", "));
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
    let mut out = std::io::stdout();
    for suite in chosen(args) {
        writeln!(out, "suite {}: {}", suite.name, suite.about)?;
        let cases = (suite.list)(&run).with_context(|| format!("listing the cases of suite {}", suite.name))?;
        for case in cases {
            writeln!(out, "  {case}")?;
        }
    }
    Ok(())
}

/// The suite of the virtual machine, if there is a kernel to be had, which may need the network.
fn run_vm(run: &Run<'_>, suite: &Suite) -> Result<Vec<Case>> {
    match vm::Guest::find() {
        Ok(guest) => guest.run_suite(run.filter),
        Err(error) => Ok(vec![whole_left_out(suite, format!("{error:#}"))]),
    }
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
    fn suite_that_cannot_run_is_left_out_with_what_to_do() {
        let (shell, metadata) = (Shell::new().unwrap(), Metadata::read(&workspace::shell().unwrap()).unwrap());
        let findings = doctor::examine_nothing();
        let form = posix::Form::Quick;
        let run = Run { shell: &shell, metadata: &metadata, findings: &findings, filter: None, form };
        for (name, mend) in [("mount", "boot a kernel with CONFIG_FUSE_FS"), ("vm", "apt-get install qemu-system-x86")]
        {
            let suite = SUITES.iter().find(|suite| suite.name == name).unwrap();
            let cases = run_suite(&run, suite).unwrap();
            let [Case { outcome: Outcome::Skipped(reason) | Outcome::Failed(reason), .. }] = cases.as_slice() else {
                panic!("{cases:?}");
            };
            assert!(reason.contains(mend), "{reason}");
            // Only in CI everything must be there.
            assert_eq!(Totals::of_cases(&cases).failed > 0, workspace::in_ci());
        }
    }

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
