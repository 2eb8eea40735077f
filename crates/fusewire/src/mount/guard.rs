//! The handle of a mount that was made: it unmounts, and nothing but its own mount.
//!
//! It does not end the session; that sees its connection end.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;

use super::error::{UnmountError, one_line};
use super::mountpoint::Identity;
use super::options::{MountMethod, MountOptions};
use super::watcher::Watcher;
use super::{device, helper, mountinfo};

/// How to unmount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unmount {
    /// Only when nothing uses the mount; what was written is flushed to the daemon first, so the session must be served meanwhile.
    Plain,
    /// Takes it out of the tree at once; it ends when the last user is done.
    Lazy,
}

/// A mount. Dropping it unmounts: plainly, and lazily where something uses it.
///
/// It holds a descriptor of the device (none of a given one), so the kernel sees the daemon gone only when the guard is.
#[derive(Debug)]
pub struct MountGuard {
    mountpoint: PathBuf,
    method: MountMethod,
    /// `None` once it is unmounted, and for a given descriptor.
    mounted: Option<Mounted>,
}

#[derive(Debug)]
struct Mounted {
    identity: Identity,
    device: OwnedFd,
    helper: Option<PathBuf>,
    watcher: Option<Watcher>,
}

/// What a look at the mountpoint finds.
enum Found {
    Ours,
    Covered(OsString),
    Gone,
}

impl MountGuard {
    /// For a mount that was made at `mountpoint`.
    pub(super) fn new(
        mountpoint: PathBuf,
        method: MountMethod,
        identity: Identity,
        device: OwnedFd,
        helper: Option<PathBuf>,
    ) -> Self {
        Self { mountpoint, method, mounted: Some(Mounted { identity, device, helper, watcher: None }) }
    }

    /// For a descriptor that somebody else opened, and mounted or not.
    pub(super) fn given(mountpoint: PathBuf) -> Self {
        Self { mountpoint, method: MountMethod::GivenFd, mounted: None }
    }

    pub(super) fn watched_by(&mut self, watcher: Watcher) {
        if let Some(mounted) = &mut self.mounted {
            mounted.watcher = Some(watcher);
        }
    }

    /// Starts the watcher for `auto_unmount`.
    pub(super) fn watch(&mut self) -> io::Result<()> {
        if let Some(mounted) = &mut self.mounted {
            let helper = mounted.helper.as_deref();
            let watcher = Watcher::start(&self.mountpoint, mounted.identity, helper)?;
            mounted.watcher = Some(watcher);
        }
        Ok(())
    }

    /// The canonical path of the mountpoint; of a given descriptor, `/dev/fd/N`.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// How it was mounted.
    pub fn method(&self) -> MountMethod {
        self.method
    }

    /// An `O_PATH` descriptor of the mount's root, opened without a request to the daemon. While it is open a plain unmount finds
    /// the mount busy.
    ///
    /// # Errors
    /// ENOENT if this mount is not (or no longer) on top at its path, EOPNOTSUPP for a given descriptor, or what opening gives.
    pub fn root(&self) -> io::Result<OwnedFd> {
        let mounted = match (&self.mounted, self.method) {
            (Some(mounted), _) => mounted,
            (None, MountMethod::GivenFd) => return Err(Errno::EOPNOTSUPP.into()),
            (None, _) => return Err(Errno::ENOENT.into()),
        };
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let root = open(&self.mountpoint, flags, Mode::empty())?;
        if Identity::of(&root)? != mounted.identity {
            return Err(Errno::ENOENT.into());
        }
        Ok(root)
    }

    /// Unmounts. Does nothing if that was done before, by whomever, or if somebody else made the mount
    /// ([`MountMethod::GivenFd`]). Leaves alone what else may be mounted at the path by now.
    ///
    /// # Errors
    /// [`UnmountError`]; the mount is then still there.
    pub fn unmount(&mut self, how: Unmount) -> Result<(), UnmountError> {
        let Some(mounted) = &self.mounted else {
            return Ok(());
        };
        match mounted.look(&self.mountpoint) {
            Found::Gone => {}
            Found::Covered(over) => {
                return Err(UnmountError::Covered { mountpoint: self.mountpoint.clone(), over });
            }
            Found::Ours => {
                let failed = mounted.unmount(&self.mountpoint, how).err();
                // Another may have been quicker.
                if let Some(error) = failed
                    && !matches!(mounted.look(&self.mountpoint), Found::Gone)
                {
                    return Err(error);
                }
            }
        }
        if let Some(watcher) = self.mounted.take().and_then(|mounted| mounted.watcher) {
            watcher.dismiss();
        }
        Ok(())
    }
}

impl Drop for MountGuard {
    fn drop(&mut self) {
        let unmounted = self.unmount(Unmount::Plain).or_else(|_| self.unmount(Unmount::Lazy));
        if let Err(error) = unmounted {
            tracing::error!("{error}");
        }
    }
}

impl Mounted {
    fn look(&self, mountpoint: &Path) -> Found {
        let on_top = Identity::at(mountpoint).ok();
        if on_top == Some(self.identity) {
            // Kernels before 6.8 use a mount id again. When our connection is over, a mount of the same id is ours only if
            // it is dead too.
            return if !device::is_over(self.device.as_fd()) || self.identity.is_dead(mountpoint) {
                Found::Ours
            } else {
                Found::Gone
            };
        }
        let mounts = mountinfo::read().unwrap_or_default();
        let mut here = mounts.iter().rev().filter(|entry| entry.mountpoint == mountpoint);
        let Some(top) = here.next() else {
            return Found::Gone;
        };
        // Device numbers are used again, but not while our connection lives.
        let ours = |entry: &mountinfo::Entry| {
            entry.device == self.identity.device && entry.is_fuse() && !device::is_over(self.device.as_fd())
        };
        if here.any(ours) {
            Found::Covered(top.source.clone())
        } else if on_top.is_none() && ours(top) {
            // The path could not be looked at, as when a directory above is closed to us.
            Found::Ours
        } else {
            Found::Gone
        }
    }

    fn unmount(&self, mountpoint: &Path, how: Unmount) -> Result<(), UnmountError> {
        let flags = match how {
            Unmount::Plain => MntFlags::UMOUNT_NOFOLLOW,
            Unmount::Lazy => MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH,
        };
        match umount2(mountpoint, flags) {
            Ok(()) => Ok(()),
            Err(Errno::EPERM) => self.unmount_by_helper(mountpoint, how),
            Err(Errno::EBUSY) => {
                Err(UnmountError::Busy { mountpoint: mountpoint.to_owned(), cause: Errno::EBUSY.into() })
            }
            Err(errno) => Err(UnmountError::Kernel { mountpoint: mountpoint.to_owned(), cause: errno.into() }),
        }
    }

    fn unmount_by_helper(&self, mountpoint: &Path, how: Unmount) -> Result<(), UnmountError> {
        let found = match &self.helper {
            Some(helper) => Ok(helper.clone()),
            None => helper::find(&MountOptions::new()),
        };
        let helper = found
            .map_err(|_| UnmountError::NoHelper { mountpoint: mountpoint.to_owned(), cause: Errno::EPERM.into() })?;
        helper::unmount(&helper, mountpoint, how == Unmount::Lazy).map_err(|failure| {
            tracing::debug!(helper = one_line(&helper), "the helper could not unmount");
            UnmountError::Helper {
                mountpoint: mountpoint.to_owned(),
                helper,
                outcome: failure.outcome,
                said: failure.said,
            }
        })
    }
}
