//! A set of the pages of one chunk, as bits.

use std::ops::Range;

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
/// Pages of a chunk.
pub(crate) const PAGES: usize = 512;
/// Bytes of a chunk: as large as a large page of the processor, so that a chunk can be one.
pub(crate) const CHUNK: usize = PAGE * PAGES;

const WORDS: usize = PAGES / 64;

/// Some of the pages of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageSet([u64; WORDS]);

/// The bits of `range` that are in word number `word`.
fn mask(word: usize, range: &Range<usize>) -> u64 {
    let base = word * 64;
    let low = range.start.clamp(base, base + 64) - base;
    let high = range.end.clamp(base, base + 64) - base;
    if low >= high { 0 } else { (u64::MAX >> (64 - (high - low))) << low }
}

impl PageSet {
    pub(crate) fn contains(&self, page: usize) -> bool {
        self.0.get(page / 64).is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    pub(crate) fn insert(&mut self, range: Range<usize>) {
        for (index, word) in self.0.iter_mut().enumerate() {
            *word |= mask(index, &range);
        }
    }

    pub(crate) fn remove(&mut self, range: Range<usize>) {
        for (index, word) in self.0.iter_mut().enumerate() {
            *word &= !mask(index, &range);
        }
    }

    /// How many of `range` are in it.
    pub(crate) fn count(&self, range: Range<usize>) -> usize {
        let words = self.0.iter().enumerate();
        words.map(|(index, word)| (word & mask(index, &range)).count_ones()).map(usize_of).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The first page from `from` on that is in it; [`PAGES`] if there is none.
    pub(crate) fn next(&self, from: usize) -> usize {
        self.search(from, |word| word)
    }

    /// The first page from `from` on that is not in it; [`PAGES`] if there is none.
    pub(crate) fn next_missing(&self, from: usize) -> usize {
        self.search(from, |word| !word)
    }

    fn search(&self, from: usize, look: impl Fn(u64) -> u64) -> usize {
        let words = self.0.iter().enumerate().skip(from / 64);
        let mut found = words.map(|(index, word)| (index, look(*word) & mask(index, &(from..PAGES))));
        found.find(|(_, bits)| *bits != 0).map_or(PAGES, |(index, bits)| index * 64 + usize_of(bits.trailing_zeros()))
    }
}

/// Small numbers of bits, which fit.
fn usize_of(bits: u32) -> usize {
    usize::try_from(bits).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_across_words() {
        let mut set = PageSet::default();
        assert_eq!((set.next(0), set.next_missing(0)), (PAGES, 0));
        set.insert(60..130);
        assert!(!set.contains(59) && set.contains(60) && set.contains(129) && !set.contains(130));
        assert_eq!((set.next(0), set.next_missing(60), set.next(129), set.next(130)), (60, 130, 129, PAGES));
        assert_eq!((set.count(0..PAGES), set.count(64..65), set.count(100..100)), (70, 1, 0));
        set.remove(0..PAGES - 1);
        assert!(set.is_empty());
        set.insert(0..PAGES);
        assert_eq!((set.count(0..PAGES), set.next_missing(0)), (PAGES, PAGES));
        assert!(!set.contains(PAGES));
    }
}
