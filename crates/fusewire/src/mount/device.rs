//! Opens the FUSE device, takes over one that somebody else opened, and asks it questions.
//!
//! It holds the two raw system calls of mounting; what goes through the device is the session's matter.

#![expect(
    unsafe_code,
    reason = "an ioctl of the FUSE device, and a descriptor that arrives as a number, have no safe wrapper"
)]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

use super::error::MountFault;

/// The FUSE device's number, 10:229; `linux/miscdevice.h` `FUSE_MINOR`.
const FUSE_DEVICE: (u64, u64) = (10, 229);

/// `FUSE_DEV_IOC_MAGIC` and the number of `FUSE_DEV_IOC_SYNC_INIT`; `linux/fuse.h` (Linux 6.18).
const IOC_MAGIC: u8 = 229;
const IOC_SYNC_INIT: u8 = 3;

nix::ioctl_none!(sync_init, IOC_MAGIC, IOC_SYNC_INIT);

/// Opens the FUSE device for a new connection.
pub(super) fn open(device: &Path) -> Result<OwnedFd, MountFault> {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(device);
    let cause = match opened {
        Ok(file) => {
            let metadata = file.metadata();
            if metadata.is_ok_and(|found| found.file_type().is_char_device()) {
                return Ok(file.into());
            }
            Errno::ENODEV.into()
        }
        Err(cause) => cause,
    };
    Err(open_fault(device, cause))
}

/// Why the device cannot be opened, for the message.
pub(super) fn open_fault(device: &Path, cause: io::Error) -> MountFault {
    let device = device.to_owned();
    match cause.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENXIO | Errno::ENODEV) => MountFault::NoDevice { device, cause },
        Some(Errno::EACCES | Errno::EPERM) => {
            let (mode, group) = std::fs::metadata(&device).map_or((0, 0), |found| (found.mode() & 0o7777, found.gid()));
            MountFault::DeviceForbidden { device, mode, group, cause }
        }
        _ => MountFault::Device { device, cause },
    }
}

/// Makes the mount wait until INIT is answered (Linux 6.18). Returns whether the kernel can.
pub(super) fn make_init_synchronous(device: BorrowedFd<'_>) -> bool {
    // SAFETY: FUSE_DEV_IOC_SYNC_INIT takes no argument, so the kernel reads and writes no memory of ours, and `device` is open
    // for as long as it is borrowed.
    let done = unsafe { sync_init(device.as_raw_fd()) };
    // ENOTTY or EINVAL from an older kernel: INIT is then asynchronous, as it always was.
    done.is_ok()
}

/// Whether the connection is over: POLLERR, as `fs/fuse/dev.c fuse_dev_poll()` answers once it is aborted or unmounted.
pub(super) fn is_over(device: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::new(device, PollFlags::empty())];
    loop {
        match poll(&mut asked, PollTimeout::ZERO) {
            Err(Errno::EINTR) => {}
            Err(_) => return false,
            Ok(_) => break,
        }
    }
    let [asked] = asked;
    asked.revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
}

/// A descriptor of our own for the device or socket that is open as `number`. Both become close-on-exec; the one that
/// was given stays open and stays its owner's.
pub(super) fn take_given(number: i32) -> Result<OwnedFd, MountFault> {
    let fault = |problem: String| MountFault::GivenFd { fd: number, problem };
    // SAFETY: fcntl with F_DUPFD_CLOEXEC touches no memory; a number that is not open gives EBADF.
    let copied = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    let copied = Errno::result(copied).map_err(|errno| fault(format!("{}", io::Error::from(errno))))?;
    // SAFETY: the kernel has just made this descriptor, so nothing else in the process owns it.
    let copy = unsafe { OwnedFd::from_raw_fd(copied) };

    let found = fstat(&copy).map_err(|errno| fault(format!("{}", io::Error::from(errno))))?;
    let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
    let number_of_device = (nix::sys::stat::major(found.st_rdev), nix::sys::stat::minor(found.st_rdev));
    if kind != SFlag::S_IFSOCK && (kind != SFlag::S_IFCHR || number_of_device != FUSE_DEVICE) {
        return Err(fault("it is neither /dev/fuse nor a socket".to_owned()));
    }

    // SAFETY: fcntl with F_SETFD touches no memory; `number` was open just now, and if it no longer is this gives EBADF.
    let marked = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    Errno::result(marked).map_err(|errno| fault(format!("{}", io::Error::from(errno))))?;
    Ok(copy)
}

/// A second descriptor of the same open device.
pub(super) fn duplicate(device: &OwnedFd) -> Result<OwnedFd, MountFault> {
    device.as_fd().try_clone_to_owned().map_err(|cause| MountFault::Kernel {
        step: "duplicating the device's descriptor".to_owned(),
        cause,
        log: Vec::new(),
    })
}
