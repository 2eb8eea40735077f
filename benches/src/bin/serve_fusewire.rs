//! `serve_fusewire MOUNTPOINT THREADS|ring|ring-never-blocks`: the tree, served by this library until it is unmounted. 0
//! threads: the default.

#![forbid(unsafe_code)]

use anyhow::Result;
use fusewire::{Channel, Manner, SessionConfig, Workers};
use fusewire_benches::compare::{Serving, server_arguments};

fn main() -> Result<()> {
    let (mountpoint, serving) = server_arguments()?;
    let config = match serving {
        Serving::Device(0) => SessionConfig::default().channel(Channel::Device),
        Serving::Device(threads) => {
            SessionConfig::default().channel(Channel::Device).workers(Workers::at_most(threads))
        }
        Serving::Ring | Serving::RingNeverBlocks => SessionConfig::default().channel(Channel::Ring),
    };
    let manner = if serving == Serving::RingNeverBlocks { Manner::NeverBlocks } else { Manner::AtOnce };
    let mut mounted = fusewire_benches::fusewire_table::mount(&mountpoint, manner, config)?;
    mounted.wait()?;
    Ok(())
}
