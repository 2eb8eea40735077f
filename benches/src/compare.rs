//! The comparison: the servers in turn, round after round, each measured from outside.
//!
//! What clients do is in [`load`](crate::load). Figures of different runs are not comparable, ratios within a round are.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub mod cell;
pub mod chart;
pub mod gate;
mod measure;
pub mod report;
pub mod results;
pub mod server;

pub use cell::{Cell, Placement, Session};
pub use server::Serving;

use results::{CellResult, Missing, Results};
use server::{Peer, Server};

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
    let mut servers = Vec::new();
    for peer in &plan.peers {
        match Server::start(peer, scratch.path()) {
            Ok(server) => servers.push(server),
            Err(error) => {
                let reason = format!("{error:#}");
                eprintln!("not measured: {}: {reason}", peer.name);
                results.missing.push(Missing { server: peer.name.to_owned(), cell: None, reason });
            }
        }
    }
    for (number, cell) in plan.cells.iter().enumerate() {
        eprintln!("[{}/{}] {cell}", number + 1, plan.cells.len());
        let mut result = CellResult::new(*cell);
        for round in 0..plan.rounds {
            let order: Vec<&Server> =
                if round % 2 == 0 { servers.iter().collect() } else { servers.iter().rev().collect() };
            for server in order {
                let name = server.peer.name;
                if results.is_missing(name, cell) {
                    continue;
                }
                match measure::sample(server, cell, plan.time) {
                    Ok(sample) => result.add(name, round, sample),
                    Err(error) => {
                        let reason = format!("{error:#}");
                        eprintln!("not measured: {name}, {cell}: {reason}");
                        results.missing.push(Missing { server: name.to_owned(), cell: Some(*cell), reason });
                    }
                }
            }
        }
        results.cells.push(result);
    }
    Ok(results)
}
