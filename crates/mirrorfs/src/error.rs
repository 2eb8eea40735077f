//! Why a mirror cannot be set up. Errors of single requests are errnos, and not here.

use std::io;
use std::path::PathBuf;

/// Why a mirror cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source cannot be opened.
    #[error("opening the source {}: {cause}", .path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The source is not a directory.
    #[error("opening the source {}: it is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// What is made is to belong to others, and only root can give files away.
    #[error("setting the owner of new files: create-for-user and create-for-group need root")]
    GivingAway,
    /// The kernel cannot be let at the files of the source itself.
    #[error("setting up passthrough: {0}")]
    Passthrough(&'static str),
    /// `/proc`, through which files are opened again, is not there.
    #[error("opening /proc/self/fd: {0}; mirrorfs needs /proc")]
    Proc(io::Error),
}
