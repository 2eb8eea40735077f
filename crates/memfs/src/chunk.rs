//! Two mebibytes of a file: which pages of them there are, and the memory that holds them.
//!
//! A page is missing, reserved (it counts and reads as zeros), or has data. What the memory holds of a page without data is
//! of no meaning. Counting against the limit is done by the caller, who is told how many pages came and went.

use std::ops::Range;

use fusewire::Errno;
use memmap2::{Advice, MmapMut};

use crate::pages::{CHUNK, PAGE, PAGES, PageSet};
use crate::space::Space;

/// The first chunk of a file is on the heap up to this size, and mapped beyond it. Mapped memory goes back to the system when
/// it is dropped; memory of the heap need not.
const HEAP: usize = 64 << 10;

/// From this chunk of a file on, large pages are asked for where one chunk follows another: by then the memory that they may
/// waste is little beside the file.
const LARGE_FROM: u64 = 8;

/// Writes of so many bytes have the kernel provide all their pages at once, rather than one by one as they are touched.
const POPULATE: usize = 8 * PAGE;

/// Where a write goes that may need memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Which chunk of the file it is.
    pub(crate) number: u64,
    /// Whether the chunk before it is full of data.
    pub(crate) follows: bool,
    /// The first byte within the chunk.
    pub(crate) start: usize,
}

/// Memory of at most a chunk, from its start on.
#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    Mapped(MmapMut),
}

/// A part of a file.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Pages with data; each is reserved, too.
    data: PageSet,
    /// Pages that count.
    reserved: PageSet,
    /// The most pages with data that there were in this memory.
    peak: usize,
    memory: Memory,
}

/// Which pages a range of bytes touches.
fn pages_of(range: &Range<usize>) -> Range<usize> {
    range.start / PAGE..range.end.div_ceil(PAGE)
}

/// Which pages a range of bytes covers from end to end.
fn whole_pages_of(range: &Range<usize>) -> Range<usize> {
    let start = range.start.div_ceil(PAGE);
    start..(range.end / PAGE).max(start)
}

/// What happens to pages whose data go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserve {
    /// They go, too.
    Drop,
    /// They stay reserved.
    Keep,
}

impl Chunk {
    pub(crate) fn new() -> Self {
        let memory = Memory::Heap(Vec::new());
        Self { data: PageSet::default(), reserved: PageSet::default(), peak: 0, memory }
    }

    /// Whether nothing is in it and nothing reserved.
    pub(crate) fn is_empty(&self) -> bool {
        self.reserved.is_empty()
    }

    /// How many pages `range` (bytes) touches that do not count yet.
    pub(crate) fn missing(&self, range: &Range<usize>) -> usize {
        let pages = pages_of(range);
        pages.len() - self.reserved.count(pages)
    }

    /// The end of the longest start of `range` (bytes) that touches no more than `most` pages that do not count yet.
    pub(crate) fn affordable(&self, range: &Range<usize>, most: usize) -> usize {
        let mut left = most;
        for page in pages_of(range) {
            if !self.reserved.contains(page) {
                if left == 0 {
                    return (page * PAGE).max(range.start);
                }
                left -= 1;
            }
        }
        range.end
    }

    /// Whether all of it is data.
    pub(crate) fn is_full(&self) -> bool {
        self.data.next_missing(0) == PAGES
    }

    /// From now on the pages of `range` (bytes) count.
    pub(crate) fn reserve(&mut self, range: &Range<usize>) {
        self.reserved.insert(pages_of(range));
    }

    /// Fills `out` with what is there from `start` on.
    pub(crate) fn read(&self, start: usize, out: &mut [u8]) {
        let memory = self.memory.bytes();
        let mut position = start;
        let mut rest = out;
        while !rest.is_empty() {
            let page = position / PAGE;
            let has_data = self.data.contains(page);
            let run_end = if has_data { self.data.next_missing(page) } else { self.data.next(page) } * PAGE;
            let length = run_end.saturating_sub(position).min(rest.len());
            // Behind the last page there is nothing to find; callers do not ask for it.
            let Some((run, tail)) = rest.split_at_mut_checked(length).filter(|_| length > 0) else { return };
            let source = if has_data { memory.get(position..).unwrap_or(&[]) } else { &[] };
            let known = source.len().min(length);
            if let (Some(to), Some(from)) = (run.get_mut(..known), source.get(..known)) {
                to.copy_from_slice(from);
            }
            if let Some(unknown) = run.get_mut(known..) {
                unknown.fill(0);
            }
            position += length;
            rest = tail;
        }
    }

    /// Puts `bytes`, of which there is one at least, at `spot`. The pages are counted by the caller.
    ///
    /// # Errors
    /// `ENOSPC` if the machine has no memory; nothing is written then.
    pub(crate) fn write(&mut self, spot: Spot, bytes: &[u8], space: &Space) -> Result<(), Errno> {
        let range = spot.start..spot.start + bytes.len();
        let pages = pages_of(&range);
        let known = self.data.count(pages.clone());
        // The last page of a small file has memory only as far as the file goes.
        if known < pages.len() || self.memory.bytes().len() < range.end {
            self.prepare(spot, &range, known, space)?;
        }
        self.memory.bytes_mut().get_mut(range).ok_or(Errno::EIO)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Makes all pages that `range` (bytes) touches pages with data; `known` of them are. The range itself is about to be written.
    fn prepare(&mut self, spot: Spot, range: &Range<usize>, known: usize, space: &Space) -> Result<(), Errno> {
        let pages = pages_of(range);
        self.memory.reach(spot, range, &self.data, space)?;
        if known == 0 && range.len() >= POPULATE {
            self.memory.populate(&pages);
        }
        // Data begin or end in the middle of a page that had none: the rest of it is zeros.
        if !self.data.contains(pages.start) {
            self.memory.zero(pages.start * PAGE..range.start);
        }
        if !self.data.contains(pages.end - 1) {
            self.memory.zero(range.end..pages.end * PAGE);
        }
        self.data.insert(pages);
        self.peak = self.peak.max(self.data.count(0..PAGES));
        Ok(())
    }

    /// Makes `range` (bytes) read as zeros. Returns how many pages do not count any more.
    pub(crate) fn clear(&mut self, range: &Range<usize>, reserve: Reserve, space: &Space) -> usize {
        let whole = whole_pages_of(range);
        let edges = [range.start..(whole.start * PAGE).min(range.end), (whole.end * PAGE).max(range.start)..range.end];
        for edge in edges.into_iter().filter(|edge| !edge.is_empty()) {
            if self.data.contains(edge.start / PAGE) {
                self.memory.zero(edge);
            }
        }
        self.data.remove(whole.clone());
        let mut gone = 0;
        if reserve == Reserve::Drop {
            gone = self.reserved.count(whole.clone());
            self.reserved.remove(whole);
        }
        self.shrink(space);
        gone
    }

    /// Gives memory back if much of it is of no use any more.
    fn shrink(&mut self, space: &Space) {
        let left = self.data.count(0..PAGES);
        if left == 0 {
            self.peak = 0;
            self.memory.free(space);
        } else if left <= self.peak / 2 {
            self.peak = left;
            self.memory.rebuild(&self.data, space);
        }
    }

    /// The first page with data from `page` on; [`PAGES`] if there is none.
    pub(crate) fn next_data(&self, page: usize) -> usize {
        self.data.next(page)
    }

    /// The first page without data from `page` on; [`PAGES`] if there is none.
    pub(crate) fn next_hole(&self, page: usize) -> usize {
        self.data.next_missing(page)
    }

    /// Gives all memory back; returns how many pages counted.
    pub(crate) fn dismantle(mut self, space: &Space) -> usize {
        self.memory.free(space);
        self.reserved.count(0..PAGES)
    }
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }

    /// Zeros what there is of `range`.
    fn zero(&mut self, range: Range<usize>) {
        let bytes = self.bytes_mut();
        let end = range.end.min(bytes.len());
        if let Some(place) = bytes.get_mut(range.start.min(end)..end) {
            place.fill(0);
        }
    }

    /// Makes sure that there is memory for `range`. What the pages of `data` hold is kept.
    fn reach(&mut self, spot: Spot, range: &Range<usize>, data: &PageSet, space: &Space) -> Result<(), Errno> {
        let Self::Heap(bytes) = self else { return Ok(()) };
        if range.end <= bytes.len() {
            return Ok(());
        }
        // A small file grows on the heap. A page far behind the others is mapped: what is in between takes no memory then.
        let grows = spot.number == 0 && range.end <= HEAP && range.start <= bytes.len().saturating_add(4 * PAGE);
        if grows {
            return grow(bytes, range.end);
        }
        let large = spot.number >= LARGE_FROM && spot.follows && range.start == 0;
        match map(if large { Advice::HugePage } else { Advice::NoHugePage }, space) {
            Ok(mut mapping) => {
                copy_pages(bytes, &mut mapping, data);
                *self = Self::Mapped(mapping);
                Ok(())
            }
            // Too many mappings: the heap does, too.
            Err(_) => grow(bytes, CHUNK),
        }
    }

    /// Has the kernel provide `pages`, if that is for it to do. It would provide them one by one as well.
    fn populate(&mut self, pages: &Range<usize>) {
        if let Self::Mapped(mapping) = self {
            let _ = mapping.advise_range(Advice::PopulateWrite, pages.start * PAGE, pages.len() * PAGE);
        }
    }

    /// Moves the pages of `data` to new memory, so that the rest takes none.
    fn rebuild(&mut self, data: &PageSet, space: &Space) {
        match self {
            Self::Heap(bytes) => {
                let end = (0..PAGES).rev().find(|page| data.contains(*page)).map_or(0, |page| (page + 1) * PAGE);
                bytes.truncate(end);
                bytes.shrink_to_fit();
            }
            Self::Mapped(old) => {
                // If that fails, the old memory does as well.
                if let Ok(mut new) = map(Advice::NoHugePage, space) {
                    copy_pages(old, &mut new, data);
                    *old = new;
                    space.give_mapping();
                }
            }
        }
    }

    fn free(&mut self, space: &Space) {
        if let Self::Mapped(_) = self {
            space.give_mapping();
        }
        *self = Self::Heap(Vec::new());
    }
}

/// Makes `bytes` at least `end` long, with some more for the next time if it grows bit by bit.
fn grow(bytes: &mut Vec<u8>, end: usize) -> Result<(), Errno> {
    let length = if end <= PAGE {
        end.next_power_of_two().max(64)
    } else {
        let ample = (bytes.len() + bytes.len() / 2).min(HEAP);
        end.max(ample).next_multiple_of(PAGE)
    };
    bytes.try_reserve_exact(length - bytes.len()).map_err(|_| Errno::ENOSPC)?;
    bytes.resize(length, 0);
    Ok(())
}

/// Maps memory for a chunk. It takes real memory only where it is written.
fn map(pages: Advice, space: &Space) -> Result<MmapMut, Errno> {
    space.take_mapping()?;
    let mapping = MmapMut::map_anon(CHUNK).map_err(|_| {
        space.give_mapping();
        Errno::ENOSPC
    })?;
    // Only advice; without it, all works as well.
    let _ = mapping.advise(pages);
    Ok(mapping)
}

fn copy_pages(from: &[u8], to: &mut [u8], pages: &PageSet) {
    let mut page = pages.next(0);
    while page < PAGES {
        let end = pages.next_missing(page);
        let bytes = from.get(page * PAGE..(end * PAGE).min(from.len())).unwrap_or(&[]);
        if let Some(place) = to.get_mut(page * PAGE..page * PAGE + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        page = pages.next(end);
    }
}
