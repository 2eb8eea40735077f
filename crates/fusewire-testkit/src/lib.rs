//! The side of the kernel in memory: test any FUSE daemon in `cargo test`, with no root, no `/dev/fuse`, no mount, no sleep.
//!
//! A [`Mount`] looks like a mounted filesystem to a test. Below it, a [`Kernel`](kernel::Kernel) asks the daemon what Linux
//! would ask, keeps what Linux keeps, and checks every answer against the [law book](laws): a rule that is broken fails the
//! test at the line where it shows, and prints the messages that led there.
//!
//! A complete test of a filesystem:
//!
//! ```
#![doc = include_str!("../tests/first.rs")]
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | [`vfs`] | paths, open files and caches: what programs see |
//! | [`kernel`] | the connection below: requests, answers, interrupts, forgetting |
//! | [`laws`] | the rules of the protocol, each with a name and a source |
//! | [`model`] | random operations against a simple filesystem in memory, shrunk to the shortest that differs |
//! | [`faults`] | everything at the worst moment, from a seed |
//! | [`report`] | what any daemon does with all that a kernel may ask, as text |
//! | [`wire`] | how messages travel: a pair of sockets, queues in memory, a function call |
//!
//! Daemons need not be made with `fusewire`: whatever serves an open file descriptor can be given one end of a pair of sockets
//! ([`Mount::over_socket`], [`Running::program`]).
#![forbid(unsafe_code)]
#![expect(clippy::test_attr_in_doctest, reason = "what is shown is an integration test, and run as one")]

pub mod faults;
mod inside;
pub mod kernel;
pub mod laws;
pub mod model;
#[cfg(feature = "session")]
mod mutant;
pub mod report;
mod running;
#[cfg(feature = "session")]
mod session;
pub mod vfs;
pub mod wire;

pub use inside::Inspect;
#[cfg(feature = "session")]
pub use mutant::{Mutant, Mutation};
pub use running::{Connection, Refused, Running};
pub use vfs::Mount;

/// The README's examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
