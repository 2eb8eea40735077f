//! How many requests each server gets for what people do with files, as `cargo xtask bench requests` starts it.

#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use fusewire_benches::compare::requests;

/// Count the requests that the kernel sends for untar, find, grep, git status and rm, through real mounts
#[derive(Parser)]
#[command(name = "cargo xtask bench requests")]
struct Args {
    /// Write the tables into this directory, as requests.md
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let text = requests::run()?.markdown();
    print!("{text}");
    let Some(directory) = &args.out else { return Ok(()) };
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let file = directory.join("requests.md");
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))
}
