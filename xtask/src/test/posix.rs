//! The suite `posix`: what others have written to test filesystems with, run on memfs and mirrorfs through real mounts.
//!
//! Everything is data: the filesystems are the rows of `ground`, the programs those of `programs` and `stressors`, and what
//! is known not to pass is in `tests/posix/known.toml`. Own cases of single operations are not here; they are tests of the
//! crates.

mod crash;
mod fsx;
mod ground;
mod judge;
mod known;
mod pjdfstest;
mod programs;
mod stage;
mod stressors;
mod tools;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xshell::cmd;

use super::nextest::{Name, build_failed};
use super::report::{Case, Outcome, Totals};
use super::{Run, Suite};
use ground::{GROUNDS, Ground, Kind, Standing};
use judge::Judge;
use stage::{Orders, Stage};

/// A case that takes longer than this is told with its time.
const LONG: Duration = Duration::from_secs(2);

/// How much of the suite runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Some minutes: every case of pjdfstest, and a little of the rest.
    Quick,
    /// All of it.
    Full,
}

/// Runs the suite in a mount namespace of its own, so that nothing is left of it.
pub(super) fn run(run: &Run<'_>, _: &Suite) -> Result<Vec<Case>> {
    if let Err(error) = cmd!(run.shell, "cargo build -p memfs -p mirrorfs").run() {
        return Ok(vec![build_failed(&error.into())]);
    }
    let orders = Orders { metadata: run.metadata, findings: run.findings, filter: run.filter, form: run.form };
    let inside = || {
        stage::enter_namespace()?;
        run_inside(&orders)
    };
    // A namespace belongs to a thread.
    std::thread::scope(|scope| scope.spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

/// What can run, whether it does in this form or not.
pub(super) fn list(run: &Run<'_>) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    let tested = |ground: &&Ground| ground.takes_part(run.form) && ground.kind != Kind::Native;
    for ground in GROUNDS.iter().filter(tested) {
        // Which cases it has, pjdfstest tells when it runs.
        let whole = ground.users.iter().map(|who| pjdfstest::prefix(*who));
        let all = whole.chain(own_cases(ground, run.form));
        names.extend(all.map(|test| Name { binary: ground.name.to_owned(), test }));
    }
    let wanted = |name: &Name| run.filter.is_none_or(|filter| name.to_string().contains(filter));
    names.retain(wanted);
    Ok(names)
}

/// The cases on a filesystem, but for those of pjdfstest.
fn own_cases(ground: &'static Ground, form: Form) -> Vec<String> {
    let mut cases: Vec<String> = fsx::chosen(ground).map(|way| way.name.to_owned()).collect();
    cases.extend(programs::names(ground, form).map(str::to_owned));
    cases.extend(stressors::chosen(ground, form).map(|stressor| stressor.name()));
    cases.extend(crash::chosen(ground, form).map(crash::name));
    if ground.kind != Kind::Native {
        cases.push(ground::TO_THE_END.to_owned());
    }
    cases
}

fn run_inside(orders: &Orders<'_>) -> Result<Vec<Case>> {
    let stage = Stage::new(orders)?;
    let mut judge = Judge::new(known::read(&stage.workspace)?);
    let mut cases = Vec::new();
    for ground in GROUNDS.iter().filter(|ground| ground.takes_part(orders.form)) {
        if !concerns(&stage, ground, &judge) {
            continue;
        }
        let start = Instant::now();
        let found = run_on(&stage, ground, &mut judge).with_context(|| format!("testing {}", ground.name))?;
        if ground.kind == Kind::Native {
            continue;
        }
        print_notable(&found);
        println!("{:<28} {:>5.0} s  {}", ground.name, start.elapsed().as_secs_f64(), Totals::of_cases(&found));
        cases.extend(found);
    }
    if orders.filter.is_none() && orders.form == Form::Full {
        let left_out = cases.iter().any(|case| matches!(&case.outcome, Outcome::Skipped(why) if !judge::is_known(why)));
        cases.extend(judge.unused(left_out));
    }
    Ok(cases)
}

/// Whether a case on this filesystem is asked for. The kernel's own are asked in any case: what passes there must pass.
fn concerns(stage: &Stage<'_>, ground: &'static Ground, judge: &Judge) -> bool {
    ground.kind == Kind::Native
        || own_cases(ground, stage.form).iter().any(|case| stage.wants(&format!("{} {case}", ground.name)))
        || ground.users.iter().any(|who| pjdfstest::concerns(stage, ground, *who, judge))
}

/// What did not pass, and what took long: a run lasts too long to wait for its end.
fn print_notable(cases: &[Case]) {
    for case in cases {
        match (&case.outcome, case.time) {
            (Outcome::Failed(why), _) => println!("FAILED {}: {why}", case.name),
            (_, Some(time)) if time >= LONG => println!("{:>6.1} s  {}", time.as_secs_f64(), case.name),
            _ => {}
        }
    }
}

/// Everything on one filesystem.
fn run_on(stage: &Stage<'_>, ground: &'static Ground, judge: &mut Judge) -> Result<Vec<Case>> {
    let mut standing = match Standing::mount(stage, ground)? {
        Ok(standing) => standing,
        Err(reason) => return Ok(vec![super::left_out(ground.name.to_owned(), reason)]),
    };
    let mut cases = Vec::new();
    for who in ground.users {
        if pjdfstest::concerns(stage, ground, *who, judge) {
            cases.extend(pjdfstest::run(stage, &standing, *who, judge)?);
        }
    }
    if ground.kind == Kind::Native {
        programs::learn(stage, &standing, judge)?;
    } else {
        cases.extend(fsx::run(stage, &standing, judge)?);
        cases.extend(programs::run(stage, &standing, judge)?);
        cases.extend(stressors::run(stage, &standing, judge)?);
        cases.extend(crash::run(stage, &mut standing, judge)?);
        cases.push(standing.end());
    }
    Ok(cases)
}
