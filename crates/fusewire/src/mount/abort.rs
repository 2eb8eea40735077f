//! Ends a connection by force, through the control filesystem of FUSE: whoever waits for an answer gets an error.
//!
//! It takes no cooperation of the daemon, and no unmounting.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::mountpoint::Identity;

/// Aborts the connection of the mount that `root` belongs to. `root` keeps the mount, and so its number, from being used
/// for another. Sends no request.
///
/// # Errors
/// The control filesystem is not mounted and may not be, or the mount was made by another user.
pub(crate) fn abort(root: BorrowedFd<'_>) -> io::Result<()> {
    // The connection is called by the minor number of the device of its superblock (fs/fuse/control.c fuse_ctl_add_conn()).
    let (_, minor) = Identity::of(root)?.device;
    let path = format!("/sys/fs/fuse/connections/{minor}/abort");
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("writing {path}: {error}"));
    let file = OpenOptions::new().write(true).open(&path).or_else(|error| match error.kind() {
        // Nobody has mounted it, as an init system usually does. Only root can.
        io::ErrorKind::NotFound => control().and_then(|control| open(&control, minor)).map_err(|_| error),
        _ => Err(error),
    });
    file.and_then(|mut file| file.write_all(b"1")).map_err(failed)
}

/// The control filesystem, mounted for nobody else.
fn control() -> io::Result<OwnedFd> {
    let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

fn open(control: &OwnedFd, minor: u32) -> io::Result<File> {
    let file = openat(control, format!("{minor}/abort"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(File::from(file))
}
