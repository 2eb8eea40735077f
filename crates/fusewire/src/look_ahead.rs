//! Whether whoever lists a directory looks its entries up afterwards.
//!
//! The kernel asks for the first entries of every directory by `READDIRPLUS`, whoever lists it (fs/fuse/readdir.c
//! `fuse_use_readdirplus()`). An entry with attributes costs the filesystem a lookup and the kernel an inode, which is more than the
//! names cost together; a program such as find(1) has no use for it. What comes after a listing with attributes cannot be seen,
//! because it is not asked for; after one without, it can.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many listings are with attributes, before one without is tried: at first, and at most.
const TRY_AFTER: (u32, u32) = (7, 63);
/// After how many without, none of whose files was looked up, all are without.
const SURE: u32 = 2;

/// Learns whether to answer `READDIRPLUS` with attributes, from what callers do.
///
/// Now and then a directory is listed without. If its files are looked up nevertheless, attributes are worth their price, and it
/// is tried less often; if not, directories are listed without until somebody looks a file up again that was listed so. It
/// makes no difference to what callers see: an entry without attributes ([`reply::Entry::not_looked_up`]) is looked up
/// when it is needed. Subdirectories are best listed with attributes in any case: who walks a tree goes there next.
///
/// ```
/// use fusewire::{LastListing, LookAhead};
///
/// let (ahead, mut directories) = (LookAhead::default(), (0..100).map(|_| LastListing::default()));
/// // A program lists one directory after the other, and never asks for a file.
/// let with_attributes = directories.by_ref().take(50).filter(|directory| ahead.is_useful(directory, 0)).count();
/// assert!((10..20).contains(&with_attributes));
/// // Another one does.
/// for directory in directories {
///     if !ahead.is_useful(&directory, 0) {
///         ahead.looked_up(&directory);
///     }
/// }
/// assert!(ahead.is_useful(&LastListing::default(), 0));
/// ```
///
/// [`reply::Entry::not_looked_up`]: crate::reply::Entry::not_looked_up
#[derive(Debug, Default)]
pub struct LookAhead {
    habit: Mutex<Habit>,
}

/// How a directory was listed last: kept with each directory, for [`LookAhead`].
#[derive(Debug, Default)]
pub struct LastListing {
    without: AtomicBool,
}

impl LookAhead {
    /// Whether the files of a directory are to be listed with attributes, now that `READDIRPLUS` asks for entries from `offset`
    /// on. One directory is listed in one way, however many requests that takes, until one of its files is looked up.
    pub fn is_useful(&self, directory: &LastListing, offset: u64) -> bool {
        if offset == 0 {
            let useful = self.habit.lock().unwrap_or_else(PoisonError::into_inner).next();
            directory.without.store(!useful, Ordering::Relaxed);
            return useful;
        }
        !directory.without.load(Ordering::Relaxed)
    }

    /// `LOOKUP` has found something in a directory that is not a directory itself.
    #[inline]
    pub fn looked_up(&self, directory: &LastListing) {
        if directory.without.load(Ordering::Relaxed) && directory.without.swap(false, Ordering::Relaxed) {
            self.habit.lock().unwrap_or_else(PoisonError::into_inner).missed();
        }
    }
}

/// What callers were seen to do.
#[derive(Debug)]
struct Habit {
    /// Listings without attributes since the last that was regretted.
    unused: u32,
    /// Listings with attributes until the next without is tried.
    wait: u32,
    /// How many there are to be after that.
    next_wait: u32,
}

impl Default for Habit {
    fn default() -> Self {
        Self { unused: 0, wait: TRY_AFTER.0, next_wait: TRY_AFTER.0 }
    }
}

impl Habit {
    /// Whether the next listing is with attributes.
    fn next(&mut self) -> bool {
        if self.unused >= SURE {
            return false;
        }
        if self.wait > 0 {
            self.wait -= 1;
            return true;
        }
        self.unused += 1;
        self.wait = TRY_AFTER.0;
        false
    }

    /// A file was looked up that had been listed without.
    fn missed(&mut self) {
        self.next_wait = if self.unused >= SURE { TRY_AFTER.0 } else { (2 * self.next_wait + 1).min(TRY_AFTER.1) };
        (self.unused, self.wait) = (0, self.next_wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists so many directories; `used` says whether somebody then looks a file up. How many were listed without attributes.
    fn without(ahead: &LookAhead, directories: u32, used: bool) -> u32 {
        let list = |_: &u32| {
            let directory = LastListing::default();
            let without = !ahead.is_useful(&directory, 0);
            if used {
                ahead.looked_up(&directory);
            }
            without
        };
        u32::try_from((0..directories).filter(list).count()).unwrap()
    }

    #[test]
    fn files_that_are_never_looked_up_are_soon_listed_without() {
        assert_eq!(without(&LookAhead::default(), 1000, false), 1000 - 2 * TRY_AFTER.0);
    }

    #[test]
    fn files_that_are_looked_up_are_listed_with_all_but_always() {
        let tried = without(&LookAhead::default(), 1000, true);
        assert!((10..25).contains(&tried), "{tried}");
    }

    #[test]
    fn one_lookup_is_enough_to_change_back() {
        let ahead = LookAhead::default();
        without(&ahead, 100, false);
        assert_eq!(without(&ahead, 1 + TRY_AFTER.0, true), 1);
        assert_eq!(without(&ahead, 100, false), 100 - TRY_AFTER.0);
    }

    #[test]
    fn directory_is_listed_in_one_way_until_a_file_of_it_is_looked_up() {
        let ahead = LookAhead::default();
        without(&ahead, 100, false);
        let directory = LastListing::default();
        assert!(!ahead.is_useful(&directory, 0));
        assert!(!ahead.is_useful(&directory, 7));
        ahead.looked_up(&directory);
        assert!(ahead.is_useful(&directory, 9));
    }

    #[test]
    fn lookups_elsewhere_say_nothing() {
        let ahead = LookAhead::default();
        without(&ahead, 100, false);
        ahead.looked_up(&LastListing::default());
        assert!(!ahead.is_useful(&LastListing::default(), 0));
    }
}
