//! The place where a filesystem is to be mounted, and whether a mount seen there later is the one that we made.
//!
//! Nothing here sends a request to a FUSE daemon that may hang, with the one exception that `Identity::is_dead` explains.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, statfs, statx};

use super::error::MountFault;
use super::mountinfo;
use super::options::RootKind;

/// `STATX_MNT_ID_UNIQUE` (Linux 6.8): the mount id that is never used again; see `linux/stat.h`.
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// Which mount a path leads to, as `statx` tells it.
///
/// With the unique mount id there is no mistaking one mount for another. The plain id (Linux 5.8) and the device number may be
/// used again once the mount is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Device number of the superblock, (major, minor).
    pub(super) device: (u32, u32),
    /// Mount id; 0 where the kernel does not tell.
    mount_id: u64,
    /// Whether the mount id is never used again.
    unique: bool,
}

impl Identity {
    /// What is mounted at `path`, topmost. Allocates nothing when `path` is a `&CStr`.
    pub(super) fn at(path: impl rustix::path::Arg) -> rustix::io::Result<Self> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        statx(CWD, path, flags, Self::mask()).map(|found| Self::new(&found))
    }

    /// The mount that a file, or the fd of `fsmount`, belongs to.
    pub(super) fn of(fd: impl AsFd) -> rustix::io::Result<Self> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        statx(fd, c"", flags, Self::mask()).map(|found| Self::new(&found))
    }

    /// Whether what is mounted at `path` with this identity is the FUSE mount of a daemon that is gone. Where the identity is
    /// unique the question is idle, and the answer yes; else a request tells, which a live daemon has to answer.
    pub(super) fn is_dead(&self, path: impl rustix::path::Arg) -> bool {
        // STATFS, because nothing of it is cached: fs/fuse/inode.c fuse_statfs().
        self.unique || matches!(statfs(path), Err(rustix::io::Errno::NOTCONN | rustix::io::Errno::CONNABORTED))
    }

    fn mask() -> StatxFlags {
        StatxFlags::TYPE | StatxFlags::MNT_ID | MNT_ID_UNIQUE
    }

    fn new(found: &Statx) -> Self {
        let told = (StatxFlags::MNT_ID | MNT_ID_UNIQUE).bits() & found.stx_mask;
        Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            mount_id: if told == 0 { 0 } else { found.stx_mnt_id },
            unique: told & MNT_ID_UNIQUE.bits() != 0,
        }
    }
}

/// A mountpoint that was looked at and found fit.
#[derive(Debug)]
pub(super) struct Mountpoint {
    /// An `O_PATH` descriptor of it.
    fd: OwnedFd,
    /// Its absolute path without symbolic links.
    path: PathBuf,
}

impl Mountpoint {
    /// Opens `path` and checks that a filesystem with this kind of root can be mounted there.
    pub(super) fn resolve(path: &Path, root: RootKind) -> Result<Self, MountFault> {
        let fd = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| unreachable_mountpoint(path, errno))?;
        let path = canonical(fd.as_fd(), path)?;

        // Without /proc there is no way to tell, and the mount itself is unharmed.
        let mounts = mountinfo::read().unwrap_or_default();
        if let Some(entry) = mountinfo::at(&mounts, &path).filter(|entry| entry.is_fuse()) {
            return Err(MountFault::AlreadyMounted {
                source_name: entry.source.clone(),
                fstype: entry.fstype.clone(),
                mountpoint: path,
            });
        }
        check_type(fd.as_fd(), root)?;
        Ok(Self { fd, path })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The number N of a mountpoint `/dev/fd/N`.
pub(super) fn given_fd(path: &Path) -> Option<Result<i32, MountFault>> {
    let number = path.as_os_str().as_bytes().strip_prefix(b"/dev/fd/")?;
    let text = std::str::from_utf8(number).ok()?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(
        text.parse()
            .map_err(|_| MountFault::GivenFd { fd: i32::MAX, problem: format!("{text} is too large a number") }),
    )
}

fn unreachable_mountpoint(path: &Path, errno: Errno) -> MountFault {
    let cause = io::Error::from(errno);
    match errno {
        Errno::ENOENT => MountFault::NoMountpoint { cause },
        Errno::ENOTCONN => {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let mounts = mountinfo::read().unwrap_or_default();
            let dead =
                mountinfo::fuse_above(&mounts, &absolute).map_or(absolute.clone(), |entry| entry.mountpoint.clone());
            MountFault::DeadMount { dead, cause }
        }
        _ => MountFault::Mountpoint { cause },
    }
}

fn check_type(fd: BorrowedFd<'_>, root: RootKind) -> Result<(), MountFault> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found =
        statx(fd, c"", flags, StatxFlags::TYPE).map_err(|errno| MountFault::Mountpoint { cause: errno.into() })?;
    let found = FileType::from_raw_mode(found.stx_mode.into());
    let wanted = match root {
        RootKind::Directory => FileType::Directory,
        RootKind::RegularFile => FileType::RegularFile,
    };
    if found == wanted {
        return Ok(());
    }
    Err(MountFault::WrongType { found: type_name(found), wanted: type_name(wanted) })
}

fn type_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::RegularFile => "a regular file",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a fifo",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "of unknown type",
    }
}

/// The path of an open file as the kernel tells it, which asks no filesystem on the way.
fn canonical(fd: BorrowedFd<'_>, given: &Path) -> Result<PathBuf, MountFault> {
    use std::os::fd::AsRawFd;

    let link = format!("/proc/thread-self/fd/{}", fd.as_raw_fd());
    match fs::read_link(link) {
        Ok(path) if path.is_absolute() => {
            // A deleted file is shown under a name with an addition; its path then leads elsewhere or nowhere.
            match deleted(&path) {
                Some(_) if !path.exists() => Err(MountFault::NoMountpoint { cause: Errno::ENOENT.into() }),
                _ => Ok(path),
            }
        }
        _ => fs::canonicalize(given).map_err(|cause| MountFault::Mountpoint { cause }),
    }
}

fn deleted(path: &Path) -> Option<OsString> {
    let name = path.as_os_str().as_bytes().strip_suffix(b" (deleted)")?;
    Some(OsString::from_vec(name.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_numbers_below_dev_fd_are_given_descriptors() {
        let number = |path: &str| given_fd(Path::new(path)).map(|fd| fd.ok());
        assert_eq!(number("/dev/fd/3"), Some(Some(3)));
        assert_eq!(number("/dev/fd/99999999999"), Some(None));
        assert_eq!(number("/dev/fd/"), None);
        assert_eq!(number("/dev/fd/-1"), None);
        assert_eq!(number("/dev/fd/3/x"), None);
        assert_eq!(number("/dev/fdx"), None);
    }

    #[test]
    fn mountpoint_path_is_canonical() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().canonicalize().unwrap().join("real");
        fs::create_dir(&real).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let found = Mountpoint::resolve(&link.join("../real"), RootKind::Directory).unwrap();
        assert_eq!(found.path(), real);
    }

    #[test]
    fn identity_by_path_and_by_descriptor_agree() {
        let directory = tempfile::tempdir().unwrap();
        let fd = fs::File::open(directory.path()).unwrap();
        assert_eq!(Identity::at(directory.path()).unwrap(), Identity::of(&fd).unwrap());
        assert_ne!(Identity::at("/proc").unwrap(), Identity::at(directory.path()).unwrap());
    }
}
