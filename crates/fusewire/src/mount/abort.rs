//! Ends a connection by force, through the control filesystem of FUSE: whoever waits for an answer gets an error.
//!
//! It takes no cooperation of the daemon, and no unmounting.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use super::mountpoint::Identity;

/// Aborts the connection of the mount that `root` belongs to. `root` keeps the mount, and so its number, from being used
/// for another. Sends no request.
///
/// # Errors
/// The control filesystem is not mounted, or the mount was made by another user.
pub(crate) fn abort(root: BorrowedFd<'_>) -> io::Result<()> {
    // The connection is called by the minor number of the device of its superblock (fs/fuse/control.c fuse_ctl_add_conn()).
    let (_, minor) = Identity::of(root)?.device;
    let path = format!("/sys/fs/fuse/connections/{minor}/abort");
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("writing {path}: {error}"));
    OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(b"1")).map_err(failed)
}
