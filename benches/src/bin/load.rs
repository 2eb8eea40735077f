//! `load WORKLOAD DIRECTORY --threads N --milliseconds N [--new-session]`: the client of a comparison.
//!
//! Prints `ready`, waits for a line, works, and prints what came of it as a line of JSON.

#![forbid(unsafe_code)]

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use fusewire_benches::load::Run;
use fusewire_benches::workload::Workload;

/// The client of a comparison.
#[derive(Parser)]
struct Args {
    /// What to do
    workload: Workload,
    /// Where the tree is
    directory: PathBuf,
    /// How many threads do it at the same time
    #[arg(long, default_value_t = 1)]
    threads: u8,
    /// For how long
    #[arg(long, default_value_t = 1000)]
    milliseconds: u64,
    /// Leave the session of the terminal, and with it the task group that it shares with the server
    #[arg(long)]
    new_session: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.new_session {
        rustix::process::setsid().context("starting a session")?;
    }
    let time = Duration::from_millis(args.milliseconds);
    let run = Run::prepare(args.workload, &args.directory, args.threads)?;
    println!("ready");
    std::io::stdout().flush()?;
    std::io::stdin().lock().read_line(&mut String::new())?;
    let result = run.go(time)?;
    println!("{}", serde_json::to_string(&result)?);
    Ok(())
}
