//! `serve_fusewire MOUNTPOINT THREADS`: the tree, served by this library until it is unmounted. 0 threads: the default.

#![forbid(unsafe_code)]

use anyhow::Result;
use fusewire::{SessionConfig, Workers};
use fusewire_benches::compare::server_arguments;

fn main() -> Result<()> {
    let (mountpoint, threads) = server_arguments()?;
    let workers = if threads == 0 { Workers::default() } else { Workers::at_most(threads) };
    let mut mounted = fusewire_benches::fusewire_table::mount(&mountpoint, SessionConfig::default().workers(workers))?;
    mounted.wait()?;
    Ok(())
}
