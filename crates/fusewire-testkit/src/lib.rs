//! A kernel in memory: test any FUSE daemon in `cargo test`, with no root, no `/dev/fuse`, no mount and no sleep.
//!
//! To a test, a [`Mount`] looks like a mounted filesystem. Below it, a [`Kernel`](kernel::Kernel) asks the daemon what Linux
//! would ask, remembers what Linux would remember, and checks every answer against a [book of laws](laws). If a law is broken,
//! the test fails at the line where it shows, and prints the messages that led there.
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
//! The daemon need not be made with `fusewire`: whatever serves an open file descriptor can be given one end of a socket pair
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
