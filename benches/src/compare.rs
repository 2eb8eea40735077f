//! The comparison: the servers in turn, round after round, each measured from outside.
//!
//! What clients do is in [`load`](crate::load). Figures of different runs are not comparable, ratios within a round are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

mod calls;
pub mod cell;
pub mod chart;
pub mod gate;
mod measure;
pub mod peers;
mod real_life;
pub mod report;
pub mod requests;
pub mod results;
pub mod server;
mod trace;

pub use cell::{Cell, Placement, Session};
pub use peers::Serving;

use peers::{Ground, Peer};
use real_life::Archive;
use results::{Calls, CellResult, Results, Sample};
use server::Server;

use crate::workload::Work;

/// How a comparison is run.
#[derive(Debug)]
pub struct Plan {
    /// What is measured.
    pub cells: Vec<Cell>,
    /// Who is measured.
    pub peers: Vec<&'static Peer>,
    /// How often, in turn.
    pub rounds: usize,
    /// How long each time.
    pub time: Duration,
    /// What this kind of run is called in the results.
    pub mode: String,
}

/// The arguments of every server: where to mount, and how to serve.
///
/// # Errors
/// They are not there, or not of that kind.
pub fn server_arguments() -> Result<(PathBuf, Serving)> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(mountpoint), Some(serving)) = (arguments.next(), arguments.next()) else {
        bail!("usage: MOUNTPOINT THREADS (0 threads: the library's default; `ring` where that is possible)");
    };
    Ok((PathBuf::from(mountpoint), serving.to_string_lossy().parse()?))
}

/// Runs the comparison. Whoever cannot be measured is in the results with the reason.
///
/// # Errors
/// The machine does not allow it at all.
pub fn run(plan: &Plan) -> Result<Results> {
    measure::enter_private_namespace()?;
    let scratch = tempfile::tempdir().context("making a scratch directory")?;
    let mut results = Results::begin(plan)?;
    for ground in Ground::value_variants() {
        compare(plan, *ground, scratch.path(), &mut results)?;
    }
    Ok(results)
}

/// Measures all cells of a ground.
fn compare(plan: &Plan, ground: Ground, scratch: &Path, results: &mut Results) -> Result<()> {
    let cells: Vec<&Cell> = plan.cells.iter().filter(|cell| cell.ground == ground).collect();
    if cells.is_empty() {
        return Ok(());
    }
    let needs_archive = cells.iter().any(|cell| matches!(cell.workload.work(), Work::Step(_)));
    let field = Field { scratch, archive: needs_archive.then(|| Archive::make(scratch)).transpose()?, time: plan.time };
    let mut entrants = Vec::new();
    for peer in plan.peers.iter().filter(|peer| peer.serves(ground)) {
        if ground == Ground::Idle {
            entrants.push(Entrant::Waits(peer));
            continue;
        }
        match Server::start(peer, scratch) {
            Ok(server) => entrants.push(Entrant::Serves(server)),
            Err(error) => results.miss(peer.name, None, &error),
        }
    }
    for (number, cell) in cells.iter().enumerate() {
        eprintln!("[{}/{}] {cell}", number + 1, cells.len());
        let mut result = CellResult::new(**cell);
        for round in 0..plan.rounds {
            let order: Vec<&Entrant> =
                if round % 2 == 0 { entrants.iter().collect() } else { entrants.iter().rev().collect() };
            for entrant in order {
                let name = entrant.name();
                if results.is_missing(name, cell) {
                    continue;
                }
                match field.sample(entrant, cell) {
                    Ok(sample) => result.add(name, round, sample),
                    Err(error) => results.miss(name, Some(**cell), &error),
                }
            }
        }
        results.cells.push(result);
    }
    for cell in cell::counted().iter().filter(|counted| cells.contains(counted)) {
        for entrant in &entrants {
            let Entrant::Serves(server) = entrant else { continue };
            match calls::count(server, cell, plan.time, scratch) {
                Ok(Some(each)) => results.calls.push(Calls { server: entrant.name().to_owned(), cell: *cell, each }),
                Ok(None) => {}
                Err(error) => eprintln!("system calls not counted: {}, {cell}: {error:#}", entrant.name()),
            }
        }
    }
    Ok(())
}

/// Somebody who is measured.
#[derive(Debug)]
enum Entrant {
    /// A server that runs.
    Serves(Server),
    /// One whose start is measured.
    Waits(&'static Peer),
}

impl Entrant {
    fn name(&self) -> &'static str {
        match self {
            Self::Serves(server) => server.peer.name,
            Self::Waits(peer) => peer.name,
        }
    }
}

/// What measurements need.
#[derive(Debug)]
struct Field<'p> {
    scratch: &'p Path,
    archive: Option<Archive>,
    time: Duration,
}

impl Field<'_> {
    fn sample(&self, entrant: &Entrant, cell: &Cell) -> Result<Sample> {
        match (entrant, cell.workload.work()) {
            (Entrant::Waits(peer), _) => measure::start(peer, self.scratch),
            (Entrant::Serves(server), Work::Step(step)) => {
                let archive = self.archive.as_ref().context("finding the tree")?;
                let time = archive.time(step, &server.directory)?;
                Ok(Sample { rate: 1.0 / time.as_secs_f64(), ..Sample::default() })
            }
            (Entrant::Serves(server), _) => measure::sample(server, cell, self.time),
        }
    }
}
