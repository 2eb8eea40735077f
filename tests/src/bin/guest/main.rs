//! The one program of a test guest: as process 1 it sets the guest up, runs the plan it was booted with and switches the
//! guest off; as `guest case NAME` it is one of its own cases. It chooses nothing: `cargo xtask vm` writes the plan.
#![forbid(unsafe_code)]

mod cases;
mod cuse;
mod greeting;
mod init;
mod leftovers;
mod modules;
mod plan;
mod power;
mod probe;
mod process;
mod report;

use std::process::ExitCode;

use cases::Skip;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => init::run(),
        ["cases"] => {
            cases::ALL.iter().for_each(|case| println!("{}\t{}", case.name, case.claim));
            ExitCode::SUCCESS
        }
        ["case", name] => run_case(name),
        ["fsync-ignored", program @ ..] => power::without_fsync(program),
        _ => {
            eprintln!("error: usage: guest | guest cases | guest case NAME | guest fsync-ignored PROGRAM...");
            ExitCode::FAILURE
        }
    }
}

/// Runs a case of the table. Its words go to standard output, where process 1 looks for the reason of a skip.
fn run_case(name: &str) -> ExitCode {
    let Some(case) = cases::ALL.iter().find(|case| case.name == name) else {
        eprintln!("error: there is no case {name}");
        return ExitCode::FAILURE;
    };
    while std::env::var_os(cases::BROKEN).is_some_and(|what| what == "hang") {
        std::thread::park();
    }
    match (case.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast::<Skip>() {
            Ok(Skip(reason)) => {
                println!("{reason}");
                ExitCode::from(process::SKIPPED)
            }
            Err(error) => {
                eprintln!("{name}: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}
