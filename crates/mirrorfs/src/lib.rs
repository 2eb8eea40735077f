//! A directory shown somewhere else, read and write: the filesystem behind the program `mirrorfs`.
//!
//! [`Mirror`] implements [`fusewire::Filesystem`] over a directory, its *source*. Every inode is held by a file descriptor,
//! so that renames by others, in the source or through the mount, never lead to a wrong file, and no path walk leaves the
//! source. Parsing a command line is left to the program.
//!
//! ```no_run
//! use fusewire::mount::MountOptions;
//! use mirrorfs::{Mirror, Options};
//!
//! let mirror = Mirror::new("/srv/data".as_ref(), Options::default())?;
//! // The kernel checks permissions; see `Mirror`.
//! let options = MountOptions::new().subtype("mirrorfs").source("/srv/data").default_permissions();
//! let mut mounted = fusewire::mount(mirror, "/mnt/data".as_ref(), &options, Default::default())?;
//! mounted.wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod attributes;
mod cache;
mod credentials;
mod directory;
mod error;
mod ids;
mod inode;
mod limits;
mod mirror;
mod open;
mod operations;
mod options;
mod permissions;
mod places;
mod pruning;
mod reopen;
mod view;
mod xattrs;

pub use error::Error;
pub use ids::{GroupId, IdMap, InvalidId, UserId};
pub use limits::raise_descriptor_limit;
pub use mirror::Mirror;
pub use options::{CacheMode, Change, Options, UnknownWord, Xattrs};
pub use permissions::{InvalidPermissions, Permissions};

/// The README's examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
