//! `cargo xtask ci`: everything that a change must pass, in the order that fails soonest. It installs nothing from the
//! distribution; `.ci/run` does.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use crate::{book, dist, fuzz, test, tidy, workspace};

/// Flags of `cargo xtask ci`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Go on after a step that failed
    #[arg(long)]
    keep_going: bool,
    /// How long to run each fuzz target, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    fuzz_time: u32,
}

struct Step {
    name: &'static str,
    run: fn(&mut Ci) -> Result<()>,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", run: fmt },
    Step { name: "tidy", run: |_| succeeded(tidy::run(&tidy::Args {})?) },
    Step { name: "clippy", run: clippy },
    Step { name: "rustdoc", run: rustdoc },
    Step { name: "test", run: tests },
    Step { name: "book", run: |_| book::run_check() },
    Step { name: "dist", run: |_| dist::run_check() },
    Step { name: "fuzz", run: |ci| succeeded(fuzz::run_all(ci.fuzz_time)?) },
];

struct Ci {
    shell: Shell,
    fuzz_time: u32,
    totals: Option<test::Totals>,
}

/// Runs the command. The last line is that of the tests, if they ran.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut ci = Ci { shell: workspace::shell()?, fuzz_time: args.fuzz_time, totals: None };
    let mut done: Vec<(&str, Duration, Result<()>)> = Vec::new();
    for step in STEPS {
        println!("\n==== {}", step.name);
        let start = Instant::now();
        let result = (step.run)(&mut ci);
        if let Err(error) = &result {
            eprintln!("error: {}: {error:#}", step.name);
        }
        let failed = result.is_err();
        done.push((step.name, start.elapsed(), result));
        if failed && !args.keep_going {
            break;
        }
    }
    println!("\n{:<8} {:>9}  result", "step", "time");
    let mut good = true;
    for (name, time, result) in &done {
        let word = match result {
            Ok(()) => "ok".to_owned(),
            Err(error) => format!("FAILED: {error:#}"),
        };
        good &= result.is_ok();
        println!("{name:<8} {:>7.1} s  {word}", time.as_secs_f64());
    }
    for step in STEPS.iter().skip(done.len()) {
        println!("{:<8} {:>9}  did not run", step.name, "");
    }
    if let Some(totals) = ci.totals {
        println!("{totals}");
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn fmt(ci: &mut Ci) -> Result<()> {
    Ok(cmd!(ci.shell, "cargo fmt --all --check").run()?)
}

fn clippy(ci: &mut Ci) -> Result<()> {
    Ok(cmd!(ci.shell, "cargo clippy --workspace --all-targets -- -D warnings").run()?)
}

fn rustdoc(ci: &mut Ci) -> Result<()> {
    let _flags = ci.shell.push_env("RUSTDOCFLAGS", "-D warnings");
    Ok(cmd!(ci.shell, "cargo doc --workspace --no-deps").run()?)
}

fn tests(ci: &mut Ci) -> Result<()> {
    let totals = test::run_all()?;
    ci.totals = Some(totals);
    println!("{totals}");
    ensure!(totals.failed == 0, "{} cases failed", totals.failed);
    Ok(())
}

fn succeeded(code: ExitCode) -> Result<()> {
    ensure!(code == ExitCode::SUCCESS, "it failed: see above");
    Ok(())
}
