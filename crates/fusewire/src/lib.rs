//! FUSE filesystems for Linux in Rust: mount, session, dispatch and the [`Filesystem`] trait, without libfuse.
//!
//! A filesystem is a value that implements [`Filesystem`]. [`mount()`] mounts it and serves it in threads of its own, until
//! the returned [`Mounted`] is dropped or somebody unmounts it.
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
//! | module | what is in it |
//! |---|---|
//! | [`Filesystem`] | the trait: a method for each operation |
//! | [`AsyncFilesystem`] | the same with `async` methods; bring your own executor |
//! | [`PathFilesystem`] | for those who think in paths: the library keeps nodes and names |
//! | [`Handler`] | its base, for those who answer from elsewhere and later |
//! | [`op`], [`reply`] | what is asked, and what is answered: one struct each |
//! | [`sink`] | places for replies that carry bytes |
//! | [`mod@mount`] | mounting: a file descriptor of `/dev/fuse`, mounted somewhere |
//! | [`session`] | a connection, from `INIT` to its end |
//! | [`transport`] | how requests come in and replies go out |
//! | [`InodeTable`], [`HandleTable`] | what node ids and file handles stand for |
//!
//! There is no global state: any number of filesystems can be mounted by one process.

mod async_filesystem;
mod backing;
mod context;
mod dispatch;
mod filesystem;
mod handler;
mod handles;
mod inode_handle;
mod inodes;
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
pub use mounted::{Error, Mounted, mount};
pub use notifier::Notifier;
pub use path::{ByPath, PathEntry, PathFilesystem};
pub use session::{Channel, Session, SessionConfig, SessionError};
pub use transport::Workers;

/// The README's examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
