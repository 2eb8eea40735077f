//! An inode of the source: what identifies it, and the descriptor that holds it.
//!
//! As long as the descriptor is open, the source does not give the inode's number to another file.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::Stat;

/// What tells inodes apart.
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

/// An inode of the source.
#[derive(Debug)]
pub(crate) struct Inode {
    /// Opened with `O_PATH`: a place, nothing that can be read.
    place: OwnedFd,
    key: Key,
    /// What the kernel's page cache was filled from, as [`Inode::version`] has it; 0: nothing.
    cached: AtomicU64,
}

impl Inode {
    pub(crate) fn new(place: OwnedFd, key: Key) -> Self {
        Self { place, key, cached: AtomicU64::new(0) }
    }

    pub(crate) fn key(&self) -> Key {
        self.key
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

impl AsFd for Inode {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.place.as_fd()
    }
}
