//! How inodes of the source are held: by a descriptor each as long as there are enough, then by handles of which only a few
//! are open at a time.
//!
//! Handles are for root, on filesystems that have them; without them every inode takes a descriptor.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use fusewire::{Errno, InodeHandle, NodeId};
use nix::sys::resource::{Resource, getrlimit};
use rustix::fs::{FileType, OFlags, fstat};

use crate::inode::{Held, Inode, Key, Place};
use crate::reopen::Reopener;

/// No more inodes than this are held by descriptors, as each keeps the source's own inode in memory.
const MOST_DESCRIPTORS: usize = 64 << 10;
/// How many inodes that are held by a handle stay open for the next request.
const OPEN: usize = 64;
/// Which part of the descriptors directories may take that somebody has open.
const LISTING: usize = 8;

/// How inodes are held.
#[derive(Debug)]
pub(crate) struct Places {
    /// How many inodes may be held by descriptors.
    budget: usize,
    held: Arc<AtomicUsize>,
    /// How many directories may stay open between two listings.
    listing_budget: usize,
    listed: Arc<AtomicUsize>,
    /// A directory in each mount, through which its handles are opened, by device; `None` where that cannot be.
    mounts: RwLock<HashMap<u64, Option<Arc<OwnedFd>>>>,
    /// Those opened last, each in the slot that its node id leads to.
    open: [Mutex<Slot>; OPEN],
}

/// Room for an inode that stays open.
type Slot = Option<(NodeId, Arc<OwnedFd>)>;

/// A descriptor that counts.
#[derive(Debug)]
pub(crate) struct Counted {
    descriptor: OwnedFd,
    held: Arc<AtomicUsize>,
}

impl AsFd for Counted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    /// `budget` is how many inodes may be held by descriptors; without one, half of those that the process may have.
    pub(crate) fn new(budget: Option<usize>) -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(2 * MOST_DESCRIPTORS);
        Self {
            budget: budget.unwrap_or(limit / 2),
            held: Arc::default(),
            listing_budget: limit / LISTING,
            listed: Arc::default(),
            mounts: RwLock::default(),
            open: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// How many inodes may be held by descriptors, if there is another way.
    pub(crate) fn budget(&self) -> usize {
        self.budget
    }

    /// How many inodes are held by descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Holds what `place` is open on, with `O_PATH`.
    pub(crate) fn hold(&self, reopener: &Reopener, place: OwnedFd, key: Key) -> Place {
        if self.held.load(Ordering::Relaxed) >= self.budget
            && let Some(mount) = self.mount(reopener, &place, key.device)
            && let Ok(handle) = InodeHandle::of(&place)
        {
            return Place::Handle { handle, mount };
        }
        self.hold_open(place)
    }

    /// Holds what `place` is open on, with `O_PATH`, by that.
    pub(crate) fn hold_open(&self, place: OwnedFd) -> Place {
        self.held.fetch_add(1, Ordering::Relaxed);
        Place::Descriptor(Counted { descriptor: place, held: Arc::clone(&self.held) })
    }

    /// Keeps a directory open that is to be listed, or closes it if there are many.
    pub(crate) fn keep_listing(&self, descriptor: OwnedFd) -> Option<Counted> {
        if self.listed.fetch_add(1, Ordering::Relaxed) < self.listing_budget {
            return Some(Counted { descriptor, held: Arc::clone(&self.listed) });
        }
        self.listed.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Opens an inode if it is not.
    ///
    /// # Errors
    /// `ESTALE` if it is gone; others of open(2).
    #[inline]
    pub(crate) fn held(&self, node: NodeId, inode: Arc<Inode>) -> Result<Held, Errno> {
        Held::by_itself(inode).or_else(|inode| self.opened(node, inode))
    }

    fn opened(&self, node: NodeId, inode: Arc<Inode>) -> Result<Held, Errno> {
        let Place::Handle { handle, mount } = &inode.place else {
            return Err(Errno::EIO);
        };
        let mut slot = self.slot(node);
        if let Some((_, opened)) = slot.as_ref().filter(|(other, _)| *other == node) {
            let opened = Arc::clone(opened);
            return Ok(Held::by(inode, opened));
        }
        let opened = Arc::new(handle.open(mount, libc::O_PATH | libc::O_NOFOLLOW)?);
        let before = slot.replace((node, Arc::clone(&opened)));
        drop(slot);
        // Closed when nobody waits.
        drop(before);
        Ok(Held::by(inode, opened))
    }

    /// The kernel has forgotten the node.
    pub(crate) fn forgotten(&self, node: NodeId) {
        let mut slot = self.slot(node);
        let gone = slot.take_if(|(other, _)| *other == node);
        drop(slot);
        drop(gone);
    }

    fn slot(&self, node: NodeId) -> MutexGuard<'_, Slot> {
        let [first, ..] = &self.open;
        let index = usize::try_from(node.0 % OPEN as u64).unwrap_or(0);
        self.open.get(index).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A directory in the mount that `place` is in, if its inodes can be opened by handles.
    fn mount(&self, reopener: &Reopener, place: &OwnedFd, device: u64) -> Option<Arc<OwnedFd>> {
        if let Some(mount) = self.mounts.read().unwrap_or_else(PoisonError::into_inner).get(&device) {
            return mount.clone();
        }
        // What is no directory does not lead to one of its mount.
        let directory = fstat(place).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        directory.then(|| self.add_mount(reopener, place, device))?
    }

    /// Finds out whether inodes of the mount that the directory `place` is in can be opened by handles.
    pub(crate) fn add_mount(&self, reopener: &Reopener, place: impl AsFd, device: u64) -> Option<Arc<OwnedFd>> {
        let opened = reopener.open(place.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY).ok();
        let usable =
            opened.filter(|mount| InodeHandle::of(mount).and_then(|handle| handle.open(mount, libc::O_PATH)).is_ok());
        let mount = usable.map(Arc::new);
        if mount.is_none() {
            tracing::debug!(device, "no file handles here: each inode that the kernel remembers takes a descriptor");
        }
        let mut mounts = self.mounts.write().unwrap_or_else(PoisonError::into_inner);
        mounts.entry(device).or_insert(mount).clone()
    }
}
