//! The comparison of this library with its peers, as `cargo xtask bench` starts it.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use fusewire_benches::compare::peers::{self, PEERS};
use fusewire_benches::compare::results::Results;
use fusewire_benches::compare::{Placement, Plan, Session, cell, chart, gate, report};
use fusewire_benches::workload::Workload;

/// Compare Fusewire with its peers, through real mounts
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Args {
    /// Measure a subset, in some two minutes
    #[arg(long)]
    quick: bool,
    /// Measure what there are targets for, with the servers that they name, in some fifteen minutes
    #[arg(long, conflicts_with = "quick")]
    targets: bool,
    /// Fail when a target that the last stored results meet is missed by more than the spread
    #[arg(long)]
    gate: bool,
    /// Measure this workload only; may be given again
    #[arg(long, value_name = "WORKLOAD")]
    only: Vec<Workload>,
    /// Measure these servers only; may be given again
    #[arg(long, value_name = "SERVER")]
    server: Vec<String>,
    /// Measure with so many threads only; may be given again
    #[arg(long, value_name = "NUMBER")]
    threads: Vec<u8>,
    /// Measure with this placement only; may be given again
    #[arg(long, value_name = "PLACEMENT")]
    placement: Vec<Placement>,
    /// Measure with clients in this session only; may be given again
    #[arg(long, value_name = "SESSION")]
    session: Vec<Session>,
    /// How many rounds [default: 5]
    #[arg(long)]
    rounds: Option<usize>,
    /// How long each measurement takes [default: 100]
    #[arg(long)]
    milliseconds: Option<u64>,
    /// Write the tables, the figures and a chart into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode> {
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let plan = plan(args)?;
    // Before this run is stored itself, perhaps in the same place.
    let before = if args.gate { gate::last_stored(&stored, &plan.mode)? } else { None };
    let results = fusewire_benches::compare::run(&plan)?;
    let text = report::markdown(&results);
    println!("{text}");
    if let Some(directory) = &args.out {
        store(directory, &results, &text)?;
    }
    if !args.gate {
        return Ok(ExitCode::SUCCESS);
    }
    let Some(before) = before else {
        eprintln!("gate: no {} results in {} to hold against: nothing can be lost", plan.mode, stored.display());
        return Ok(ExitCode::SUCCESS);
    };
    let lost = gate::lost(&before, &results);
    for line in &lost {
        eprintln!("gate: lost since {}: {line}", before.machine.date);
    }
    Ok(if lost.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan(args: &Args) -> Result<Plan> {
    let mode = if args.quick {
        "quick"
    } else if args.targets {
        "targets"
    } else {
        "full"
    };
    let targets = if args.targets { gate::targets() } else { Vec::new() };
    let mut cells = if args.quick { cell::quick() } else { cell::full() };
    cells.retain(|cell| {
        (!args.targets || targets.iter().any(|target| target.is_about(cell)))
            && chosen(&args.only, cell.workload)
            && chosen(&args.threads, cell.threads)
            && chosen(&args.placement, cell.placement)
            && chosen(&args.session, cell.session)
    });
    ensure!(!cells.is_empty(), "choosing what to measure: there is no such row");
    for name in &args.server {
        let names: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
        ensure!(names.contains(&name.as_str()), "choosing servers: no {name}; there are {}", names.join(", "));
    }
    let named = |name: &str| args.server.iter().any(|wanted| wanted == name);
    let wanted = |peer: &peers::Peer| {
        if !args.server.is_empty() {
            named(peer.name)
        } else if args.targets {
            targets.iter().any(|target| target.names(peer.name))
        } else {
            peer.quick || !args.quick
        }
    };
    let peers = PEERS.iter().filter(|peer| wanted(peer));
    Ok(Plan {
        cells,
        peers: peers.collect(),
        rounds: args.rounds.unwrap_or(5).max(1),
        time: Duration::from_millis(args.milliseconds.unwrap_or(100)),
        mode: String::from(mode),
    })
}

/// Whether a value is among those that were asked for; nothing asked for is all.
fn chosen<T: PartialEq>(wanted: &[T], value: T) -> bool {
    wanted.is_empty() || wanted.contains(&value)
}

fn store(directory: &Path, results: &Results, text: &str) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let name = format!("{}-{}", results.machine.date, results.mode);
    let json = serde_json::to_string(results).context("writing the figures")?;
    for (ending, content) in [("md", text), ("json", &json), ("svg", &chart::svg(results))] {
        let file = directory.join(format!("{name}.{ending}"));
        fs::write(&file, content).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}
