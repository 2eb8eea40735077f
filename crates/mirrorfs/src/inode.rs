//! An inode of the source: what identifies it, and how it is held.
//!
//! How many are held by descriptors is decided in `places`.

use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use fusewire::{Backing, InodeHandle, LastListing};
use rustix::fs::Stat;

use crate::places::Counted;

/// What tells inodes apart that are there at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The device: the source may reach over several filesystems.
    pub(crate) device: u64,
    pub(crate) ino: u64,
}

impl Key {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, ino: stat.st_ino }
    }
}

/// How an inode is held.
#[derive(Debug)]
pub(crate) enum Place {
    /// By a descriptor that was opened with `O_PATH`. As long as it is open, the source does not give the inode's number to
    /// another file.
    Descriptor(Counted),
    /// By a handle, to be opened when it is needed. It is not mistaken for that of another inode with the same number.
    Handle {
        handle: InodeHandle,
        /// A directory in the same mount.
        mount: Arc<OwnedFd>,
    },
}

/// An inode of the source.
#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) place: Place,
    key: Key,
    /// What the kernel's page cache was filled from, as [`Inode::version`] has it; 0: nothing.
    cached: AtomicU64,
    /// If it is a directory: how it was listed last.
    pub(crate) last_listing: LastListing,
    /// What the kernel reads and writes in place of the open files of this inode.
    pub(crate) backing: Mutex<Weak<Backing>>,
}

impl Inode {
    pub(crate) fn new(place: Place, key: Key) -> Self {
        Self { place, key, cached: AtomicU64::new(0), last_listing: LastListing::default(), backing: Mutex::default() }
    }

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// Whether its number cannot be given to another one.
    pub(crate) fn has_descriptor(&self) -> bool {
        matches!(self.place, Place::Descriptor(_))
    }

    /// Whether `file`, which has the same key, is open on this inode.
    pub(crate) fn is(&self, file: impl AsFd) -> bool {
        match &self.place {
            Place::Descriptor(_) => true,
            Place::Handle { handle, .. } => InodeHandle::of(file).is_ok_and(|other| other == *handle),
        }
    }

    /// Remembers the state of the data that the kernel is about to cache; returns whether it was the same before.
    pub(crate) fn same_data(&self, stat: &Stat) -> bool {
        let version = Self::version(stat);
        self.cached.swap(version, Ordering::Relaxed) == version
    }

    /// A number for size and time of modification; not 0.
    fn version(stat: &Stat) -> u64 {
        let parts = [stat.st_size.cast_unsigned(), stat.st_mtime.cast_unsigned(), stat.st_mtime_nsec];
        // FNV-1a by words: nobody gains by making two of them meet.
        let mix = |hash: u64, part: u64| (hash ^ part).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        parts.into_iter().fold(0xcbf2_9ce4_8422_2325, mix) | 1
    }
}

/// An inode with a descriptor that holds it, opened with `O_PATH`.
#[derive(Debug)]
pub(crate) struct Held {
    inode: Arc<Inode>,
    /// The descriptor, if the inode has none of its own.
    opened: Option<Arc<OwnedFd>>,
}

impl Held {
    /// An inode that has a descriptor of its own.
    ///
    /// # Errors
    /// It has none, and has to be opened.
    pub(crate) fn by_itself(inode: Arc<Inode>) -> Result<Self, Arc<Inode>> {
        match inode.place {
            Place::Descriptor(_) => Ok(Self { inode, opened: None }),
            Place::Handle { .. } => Err(inode),
        }
    }

    /// An inode that `opened` holds.
    pub(crate) fn by(inode: Arc<Inode>, opened: Arc<OwnedFd>) -> Self {
        Self { inode, opened: Some(opened) }
    }
}

impl Deref for Held {
    type Target = Inode;

    fn deref(&self) -> &Inode {
        &self.inode
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let own = match &self.inode.place {
            Place::Descriptor(descriptor) => Some(descriptor.as_fd()),
            Place::Handle { .. } => None,
        };
        let opened = self.opened.as_ref().map(|opened| opened.as_fd());
        opened.or(own).expect("an inode without a descriptor of its own was opened")
    }
}
