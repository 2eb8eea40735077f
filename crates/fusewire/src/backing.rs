//! Files of other filesystems that the kernel reads and writes itself: kernel passthrough.
//!
//! Which file backs which is the filesystem's decision.
#![expect(unsafe_code, reason = "two ioctls of the FUSE device have no safe wrapper")]

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Weak;

use fusewire_proto::{BackingId, abi};

use crate::transport::Transport;

/// `FUSE_DEV_IOC_MAGIC`, and the numbers of `FUSE_DEV_IOC_BACKING_OPEN` and `_CLOSE`; `linux/fuse.h` 7.40.
const MAGIC: u8 = 229;
const OPEN: u8 = 1;
const CLOSE: u8 = 2;

nix::ioctl_write_ptr!(backing_open, MAGIC, OPEN, abi::fuse_backing_map);
nix::ioctl_write_ptr!(backing_close, MAGIC, CLOSE, u32);

/// Registers `file` with the connection of `device`.
pub(crate) fn open(device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<BackingId> {
    let map = abi::fuse_backing_map { fd: file.as_raw_fd(), flags: 0, padding: 0 };
    // SAFETY: FUSE_DEV_IOC_BACKING_OPEN reads a `fuse_backing_map`, which `map` is and which outlives the call. Both
    // descriptors are open for as long as they are borrowed.
    let id = unsafe { backing_open(device.as_raw_fd(), &raw const map) }?;
    Ok(BackingId(id))
}

/// Takes the registration of a file back.
pub(crate) fn close(device: BorrowedFd<'_>, id: BackingId) -> io::Result<()> {
    let number = id.0.cast_unsigned();
    // SAFETY: FUSE_DEV_IOC_BACKING_CLOSE reads a number of 32 bits, which `number` is and which outlives the call. The device
    // is open for as long as it is borrowed.
    unsafe { backing_close(device.as_raw_fd(), &raw const number) }?;
    Ok(())
}

/// A file that the kernel can read and write itself in place of asking, as long as this value is there and as long as a
/// file is open that it backs. Made by [`Notifier::open_backing`](crate::Notifier::open_backing).
pub struct Backing {
    id: BackingId,
    transport: Weak<dyn Transport>,
}

impl Backing {
    pub(crate) fn new(id: BackingId, transport: Weak<dyn Transport>) -> Self {
        Self { id, transport }
    }

    /// What goes into [`Opened::backing`](crate::reply::Opened::backing).
    #[must_use]
    pub fn id(&self) -> BackingId {
        self.id
    }
}

impl fmt::Debug for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Backing").field(&self.id).finish()
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        // When the connection is over, so is this.
        if let Some(Err(error)) = self.transport.upgrade().map(|transport| transport.close_backing(self.id)) {
            tracing::debug!(%error, id = self.id.0, "closing a backing file");
        }
    }
}
