//! The room that a filesystem has: blocks of data and inodes, each with a limit that is never exceeded.
//!
//! It only counts; the memory itself belongs to the files.

use std::sync::atomic::{AtomicU64, Ordering};

use fusewire::Errno;

/// The unit in which data are counted: the page of tmpfs, in bytes.
pub(crate) const BLOCK: u64 = 4096;

/// Mappings that may exist at a time. The kernel allows a process 65,530 areas (`vm.max_map_count`), and an unmapping that
/// would need one more fails.
const MAPPINGS: u64 = 50_000;

/// Fewer inodes than this are not much, when they are given back.
const MUCH: u64 = 4096;

/// A number that is counted up to a limit.
#[derive(Debug)]
struct Account {
    /// 0: no limit.
    limit: u64,
    used: AtomicU64,
}

impl Account {
    fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// Takes up to `wanted`; returns how much that was.
    fn take(&self, wanted: u64) -> u64 {
        if self.limit == 0 {
            self.used.fetch_add(wanted, Ordering::Relaxed);
            return wanted;
        }
        let mut granted = 0;
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            granted = wanted.min(self.limit.saturating_sub(used));
            used.checked_add(granted)
        });
        granted
    }

    fn take_all(&self, wanted: u64) -> Result<(), Errno> {
        let granted = self.take(wanted);
        if granted == wanted {
            return Ok(());
        }
        self.give(granted);
        Err(Errno::ENOSPC)
    }

    fn give(&self, amount: u64) {
        self.used.fetch_sub(amount, Ordering::Relaxed);
    }

    fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// How much there is, and how much of it is left. 0 stands for "no limit", as in the options of tmpfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) limit: u64,
    pub(crate) free: u64,
}

/// The room of a filesystem.
#[derive(Debug)]
pub(crate) struct Space {
    blocks: Account,
    inodes: Account,
    mappings: Account,
    /// Inodes given back since that was much the last time.
    given: AtomicU64,
}

impl Space {
    /// Room for `blocks` blocks and `inodes` inodes; 0: no limit.
    pub(crate) fn new(blocks: u64, inodes: u64) -> Self {
        let given = AtomicU64::new(0);
        Self { blocks: Account::new(blocks), inodes: Account::new(inodes), mappings: Account::new(MAPPINGS), given }
    }

    /// Takes as many blocks as there are, up to `wanted`; returns how many.
    pub(crate) fn take_blocks_up_to(&self, wanted: u64) -> u64 {
        self.blocks.take(wanted)
    }

    /// Takes `wanted` blocks, or none.
    ///
    /// # Errors
    /// `ENOSPC` if there are not so many.
    pub(crate) fn take_blocks(&self, wanted: u64) -> Result<(), Errno> {
        self.blocks.take_all(wanted)
    }

    pub(crate) fn give_blocks(&self, blocks: u64) {
        self.blocks.give(blocks);
    }

    /// Takes an inode.
    ///
    /// # Errors
    /// `ENOSPC` if there is none.
    pub(crate) fn take_inode(&self) -> Result<(), Errno> {
        self.inodes.take_all(1)
    }

    /// Gives an inode back. Says whether many are gone by now: as many as there still are, and not just a few. What is done then
    /// and takes time for each inode costs little for each that is given back.
    pub(crate) fn give_inode(&self) -> bool {
        self.inodes.give(1);
        let given = self.given.fetch_add(1, Ordering::Relaxed) + 1;
        let many = given >= MUCH.max(self.inodes.used());
        many && self.given.compare_exchange(given, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Takes the right to map memory once.
    pub(crate) fn take_mapping(&self) -> Result<(), Errno> {
        self.mappings.take_all(1)
    }

    pub(crate) fn give_mapping(&self) {
        self.mappings.give(1);
    }

    pub(crate) fn blocks(&self) -> Balance {
        balance(&self.blocks)
    }

    pub(crate) fn inodes(&self) -> Balance {
        balance(&self.inodes)
    }
}

fn balance(account: &Account) -> Balance {
    Balance { limit: account.limit, free: account.limit.saturating_sub(account.used()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_reached_exactly_and_never_exceeded() {
        let space = Space::new(10, 1);
        assert_eq!(space.take_blocks_up_to(7), 7);
        assert_eq!(space.take_blocks(4), Err(Errno::ENOSPC));
        assert_eq!(space.blocks(), Balance { limit: 10, free: 3 });
        assert_eq!(space.take_blocks_up_to(7), 3);
        assert_eq!(space.take_blocks_up_to(1), 0);
        space.give_blocks(10);
        assert_eq!(space.take_blocks(10), Ok(()));
        assert_eq!(space.take_inode(), Ok(()));
        assert_eq!(space.take_inode(), Err(Errno::ENOSPC));
    }

    #[test]
    fn many_inodes_are_gone_when_half_of_them_are() {
        let space = Space::new(0, 0);
        let all = 8 * MUCH;
        (0..all).for_each(|_| space.take_inode().expect("there is no limit"));
        let told: Vec<_> = (1..=all).filter(|_| space.give_inode()).map(|number| number / MUCH).collect();
        assert_eq!(told, [4, 6, 7, 8]);
    }

    #[test]
    fn zero_is_no_limit() {
        let space = Space::new(0, 0);
        assert_eq!(space.take_blocks(1 << 50), Ok(()));
        assert_eq!(space.blocks().limit, 0);
    }
}
