//! `cargo xtask`: one entry for every check of the workspace. One file a command; nothing here is shipped to users.

#![forbid(unsafe_code)]

mod bench;
mod book;
mod ci;
mod coverage;
mod demo;
mod dist;
mod doctor;
mod fuzz;
mod progress;
mod signals;
mod supervise;
mod test;
mod tidy;
mod vm;
mod workspace;

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The tasks of the Fusewire workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Tell what this machine allows, and how to mend what is missing
    Doctor(doctor::Args),
    /// Build the tutorial filesystem, mount it, show it at work, unmount it
    Demo(demo::Args),
    /// Run the test suites that this machine can run
    Test(test::Args),
    /// Compare the speed with that of other libraries, in the same run
    Bench(bench::Args),
    /// Build the guide, make its generated pages, look at it in a browser
    Book(book::Args),
    /// Pack the filesystems with man pages and completions into one archive
    Dist(dist::Args),
    /// Run the suite in a virtual machine with a kernel of its own
    Vm(vm::Args),
    /// Check the rules of the house that no compiler knows
    Tidy(tidy::Args),
    /// Tell which lines the tests reach
    Coverage(coverage::Args),
    /// Run the fuzz targets
    Fuzz(fuzz::Args),
    /// Run everything that a change must pass
    Ci(ci::Args),
}

impl Task {
    /// Whether it starts programs that others may outlive, and mounts what they serve.
    fn runs_tests(&self) -> bool {
        match self {
            Self::Test(args) => args.runs(),
            Self::Coverage(_) | Self::Ci(_) => true,
            _ => false,
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(code) => code,
        // As `head` does, which has read enough.
        Err(error) if nobody_reads(&error) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn nobody_reads(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run(task: Task) -> Result<ExitCode> {
    if task.runs_tests() {
        if !supervise::is_inside() {
            return supervise::run();
        }
        signals::let_through()?;
    }
    match task {
        Task::Doctor(args) => doctor::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Book(args) => book::run(&args),
        Task::Dist(args) => dist::run(&args),
        Task::Vm(args) => vm::run(&args),
        Task::Tidy(args) => tidy::run(&args),
        Task::Coverage(args) => coverage::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Ci(args) => ci::run(&args),
    }
}
