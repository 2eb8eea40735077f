//! Filesystems for Linux as ordinary Rust programs: mounts them, reads the kernel's requests, calls your methods, and sends the
//! answers, without libfuse.
//!
//! A filesystem is a value of a type that implements [`Filesystem`]. [`mount()`] mounts it and serves it in threads of its own,
//! until the [`Mounted`] that it returns is dropped, or until somebody unmounts it.
//!
//! ```no_run
//! use std::time::Duration;
//! use fusewire::mount::MountOptions;
//! use fusewire::{Attr, Context, Errno, FileType, Filesystem, SessionConfig, op, reply};
//!
//! struct Empty;
//!
//! impl Filesystem for Empty {
//!     fn getattr(&self, _: &Context<'_>, _: op::Getattr) -> Result<reply::Attributes, Errno> {
//!         Ok(reply::Attributes::new(Attr::new(1, FileType::DIRECTORY, 0o755), Duration::MAX))
//!     }
//! }
//!
//! let options = MountOptions::new().subtype("empty");
//! let mut mounted = fusewire::mount(Empty, "/mnt/empty".as_ref(), &options, SessionConfig::default())?;
//! mounted.wait()?; // until somebody unmounts it
//! # Ok::<(), fusewire::Error>(())
//! ```
//!
//! # Which trait?
//!
//! | trait | for whom |
//! |---|---|
//! | [`Filesystem`] | most: a method for each operation, with node ids as the kernel has them |
//! | [`PathFilesystem`] | those who think in paths; the library keeps the table of nodes |
//! | [`AsyncFilesystem`] | those whose back end is `async`; bring your own executor |
//! | [`Handler`] | those who answer later, or from elsewhere; the other three are built on it |
//!
//! # What is where
//!
//! | module or type | what is in it |
//! |---|---|
//! | [`op`], [`reply`] | what the kernel asks, and what you answer: a struct for each |
//! | [`sink`] | where the bytes of an answer are put: data, directory entries, attributes |
//! | [`Context`] | who asks, and whether they have given up |
//! | [`Notifier`] | tells the kernel what has changed behind its back |
//! | [`mod@mount`] | mounting and unmounting, and the options of mounts |
//! | [`session`] | one connection, from `INIT` to its end |
//! | [`transport`] | how requests come in and replies go out |
//! | [`InodeTable`], [`HandleTable`] | tables that many filesystems need: what node ids and file handles stand for |
//! | [`LookAhead`] | whether `READDIRPLUS` is worth its price to those who list |
//!
//! There is no global state: any number of filesystems can be mounted by one process.

mod async_filesystem;
mod backing;
mod caller;
mod context;
mod dispatch;
mod filesystem;
mod handler;
mod handles;
mod inode_handle;
mod inodes;
mod look_ahead;
pub mod mount;
mod mounted;
mod notifier;
mod path;
pub mod session;
pub mod sink;
pub mod transport;

pub use async_filesystem::{Async, AsyncFilesystem, RequestFuture};
pub use backing::Backing;
pub use context::{Context, Slot, Slots};
pub use filesystem::Filesystem;
pub use fusewire_proto::init::{InitError, Wishes};
pub use fusewire_proto::*;
pub use handler::{Deferred, Handler, Manner, Reply};
pub use handles::HandleTable;
pub use inode_handle::InodeHandle;
pub use inodes::InodeTable;
pub use look_ahead::{LastListing, LookAhead};
pub use mounted::{Error, Mounted, mount};
pub use notifier::Notifier;
pub use path::{ByPath, PathEntry, PathFilesystem};
pub use session::{Channel, Session, SessionConfig, SessionError};
pub use transport::Workers;

/// The README's examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
