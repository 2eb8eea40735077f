//! `serve_fuser MOUNTPOINT THREADS`: the tree, served by fuser until it is unmounted. 0 threads: the default, one.

#![forbid(unsafe_code)]

use anyhow::Result;
use fusewire_benches::compare::server_arguments;
use fusewire_benches::fuser_table::{Table, config};

fn main() -> Result<()> {
    let (mountpoint, serving) = server_arguments()?;
    fuser::mount(Table::default(), mountpoint, &config(serving.threads()?.max(1)))?;
    Ok(())
}
