//! The side of the kernel in memory.
#![forbid(unsafe_code)]

pub mod faults;
pub mod kernel;
pub mod laws;
mod running;
#[cfg(feature = "session")]
mod session;
pub mod vfs;
pub mod wire;

pub use running::{Connection, Inspect, Running};
pub use vfs::Mount;
