//! A filesystem in memory: a RAM disk with a size limit that an ordinary user can mount.
//!
//! It has what tmpfs has, and behaves as tmpfs does wherever the kernel lets a daemon do so. As a library it is a
//! [`Filesystem`](fusewire::Filesystem) like any other; mount it with `default_permissions`.
//!
//! ```
//! use memfs::{MemFs, Options};
//!
//! let mut options = Options::default();
//! options.set("size", "16m")?;
//! let fs = MemFs::new(options);
//! # Ok::<(), memfs::OptionError>(())
//! ```
#![forbid(unsafe_code)]

mod acl;
mod attributes;
mod chunk;
mod contents;
mod directory;
mod files;
mod listing;
mod memfs;
mod names;
mod node;
mod options;
mod pages;
mod renames;
mod space;
mod table;
mod xattrs;

pub use memfs::MemFs;
pub use options::{AccessTimes, OptionError, Options, parse_inodes, parse_mode, parse_size};

/// The README's examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
