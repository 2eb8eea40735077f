//! The data of a regular file: chunks, of which only those exist that hold something.
//!
//! Offsets and lengths are bytes. What a page is and how memory is had is the business of `chunk`.

use std::ops::Range;

use fusewire::Errno;

use crate::chunk::{Chunk, Reserve, Spot};
use crate::pages::{CHUNK, PAGE, PAGES};
use crate::space::{BLOCK, Space};

/// The largest size of a file: offsets are signed to callers.
const LARGEST: u64 = i64::MAX.cast_unsigned();

/// The most that can be reserved in one go on a filesystem without a limit: a tebibyte, in blocks.
const MOST_BLOCKS: u64 = (1 << 40) / BLOCK;

const CHUNK_BYTES: u64 = widen(CHUNK);

/// Numbers within a chunk.
const fn widen(number: usize) -> u64 {
    number as u64
}

/// Numbers within a chunk, or lengths of what is in memory.
fn narrow(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// One chunk and where it is.
#[derive(Debug)]
struct Place {
    number: u64,
    chunk: Box<Chunk>,
}

/// The data of a file.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    size: u64,
    /// Blocks that count.
    blocks: u64,
    /// In the order of their numbers.
    places: Vec<Place>,
}

/// The parts of `range`, one a chunk: its number, and the range within it.
fn parts(range: Range<u64>) -> impl Iterator<Item = (u64, Range<usize>)> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        if start >= range.end {
            return None;
        }
        let number = start / CHUNK_BYTES;
        let base = number * CHUNK_BYTES;
        let end = range.end.min(base.saturating_add(CHUNK_BYTES));
        let part = (number, narrow(start - base)..narrow(end - base));
        start = end;
        Some(part)
    })
}

impl Contents {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Blocks that count against the limit.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    fn find(&self, number: u64) -> Result<usize, usize> {
        // Most files have no chunk missing.
        let guess = narrow(number);
        match self.places.get(guess) {
            Some(place) if place.number == number => Ok(guess),
            _ => self.places.binary_search_by_key(&number, |place| place.number),
        }
    }

    fn chunk(&self, number: u64) -> Option<&Chunk> {
        let index = self.find(number).ok()?;
        self.places.get(index).map(|place| &*place.chunk)
    }

    /// The chunk with this number, made if need be.
    fn chunk_mut(&mut self, number: u64) -> Result<&mut Chunk, Errno> {
        let index = match self.find(number) {
            Ok(index) => index,
            Err(index) => {
                if self.places.is_empty() {
                    // Most files never have a second one.
                    self.places.try_reserve_exact(1).map_err(|_| Errno::ENOSPC)?;
                } else {
                    self.places.try_reserve(1).map_err(|_| Errno::ENOSPC)?;
                }
                self.places.insert(index, Place { number, chunk: Box::new(Chunk::new()) });
                index
            }
        };
        self.places.get_mut(index).map(|place| &mut *place.chunk).ok_or(Errno::EIO)
    }

    /// Fills `out` from `offset` on; returns how much that was, less only at the end of the file.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let end = offset.saturating_add(widen(out.len())).min(self.size);
        let mut done = 0;
        for (number, part) in parts(offset..end) {
            let Some(room) = out.get_mut(done..done + part.len()) else { break };
            match self.chunk(number) {
                Some(chunk) => chunk.read(part.start, room),
                None => room.fill(0),
            }
            done += part.len();
        }
        done
    }

    /// Puts `bytes` at `offset`; returns how much that was, less only if the filesystem is full.
    ///
    /// # Errors
    /// `ENOSPC` if not one byte could be written, `EFBIG` if it is too far out.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8], space: &Space) -> Result<usize, Errno> {
        let end = offset.checked_add(widen(bytes.len())).filter(|end| *end <= LARGEST).ok_or(Errno::EFBIG)?;
        let mut done = 0;
        for (number, part) in parts(offset..end) {
            let wanted = part.len();
            let length = match self.write_part(number, part, bytes.get(done..).unwrap_or(&[]), space) {
                Err(error) if done == 0 => return Err(error),
                written => written.unwrap_or(0),
            };
            done += length;
            if length < wanted {
                break;
            }
        }
        self.size = self.size.max(offset.saturating_add(widen(done)));
        Ok(done)
    }

    /// Writes to one chunk as much as there is room for.
    fn write_part(&mut self, number: u64, part: Range<usize>, bytes: &[u8], space: &Space) -> Result<usize, Errno> {
        let missing = self.chunk(number).map_or_else(|| Chunk::new().missing(&part), |chunk| chunk.missing(&part));
        let granted = if missing == 0 { 0 } else { space.take_blocks_up_to(widen(missing)) };
        let mut part = part;
        if granted < widen(missing) {
            part.end = match self.chunk(number) {
                Some(chunk) => chunk.affordable(&part, narrow(granted)),
                None => Chunk::new().affordable(&part, narrow(granted)),
            };
            if part.is_empty() {
                space.give_blocks(granted);
                return Err(Errno::ENOSPC);
            }
        }
        let length = part.len();
        let follows = part.start == 0 && number > 0 && self.chunk(number - 1).is_some_and(Chunk::is_full);
        let spot = Spot { number, follows, start: part.start };
        let written = self.chunk_mut(number).and_then(|chunk| {
            chunk.write(spot, bytes.get(..length).ok_or(Errno::EIO)?, space)?;
            if missing > 0 {
                chunk.reserve(&part);
            }
            Ok(length)
        });
        match written {
            Ok(_) => self.blocks += granted,
            Err(_) => {
                space.give_blocks(granted);
                self.drop_if_empty(number);
            }
        }
        written
    }

    /// Cuts the file off at `size`, or makes it longer with a hole.
    ///
    /// # Errors
    /// `EFBIG` if that is too long.
    pub(crate) fn truncate(&mut self, size: u64, space: &Space) -> Result<(), Errno> {
        if size > LARGEST {
            return Err(Errno::EFBIG);
        }
        if size <= self.size {
            // Also what is reserved behind the end.
            self.clear(size..u64::MAX, Reserve::Drop, space);
        }
        self.size = size;
        Ok(())
    }

    /// Makes `range` read as zeros.
    fn clear(&mut self, range: Range<u64>, reserve: Reserve, space: &Space) {
        let first = range.start / CHUNK_BYTES;
        let after = range.end.div_ceil(CHUNK_BYTES);
        let begin = self.places.partition_point(|place| place.number < first);
        let end = self.places.partition_point(|place| place.number < after);
        let (mut gone, mut emptied) = (0, false);
        for place in self.places.get_mut(begin..end).unwrap_or(&mut []) {
            let base = place.number * CHUNK_BYTES;
            let part = narrow(range.start.saturating_sub(base))..narrow((range.end - base).min(CHUNK_BYTES));
            gone += widen(place.chunk.clear(&part, reserve, space));
            emptied |= place.chunk.is_empty();
        }
        if emptied {
            self.places.retain(|place| !place.chunk.is_empty());
            if self.places.len() < self.places.capacity() / 4 {
                self.places.shrink_to_fit();
            }
        }
        self.blocks -= gone;
        space.give_blocks(gone);
    }

    fn drop_if_empty(&mut self, number: u64) {
        if let Ok(index) = self.find(number)
            && self.places.get(index).is_some_and(|place| place.chunk.is_empty())
        {
            self.places.remove(index);
        }
    }

    /// Makes a hole: the room of whole pages is given back.
    pub(crate) fn punch(&mut self, offset: u64, length: u64, space: &Space) {
        self.clear(offset..offset.saturating_add(length), Reserve::Drop, space);
    }

    /// Reserves room, all of it or none. With `size` the file becomes at least so long.
    ///
    /// # Errors
    /// `ENOSPC` if there is not enough room, `EFBIG` if it is too far out.
    pub(crate) fn allocate(&mut self, offset: u64, length: u64, grow: Grow, space: &Space) -> Result<(), Errno> {
        let end = offset.checked_add(length).filter(|end| *end <= LARGEST).ok_or(Errno::EFBIG)?;
        let whole = |chunk: Option<&Chunk>, part: &Range<usize>| {
            chunk.map_or_else(|| Chunk::new().missing(part), |chunk| chunk.missing(part))
        };
        // A range that cannot fit is refused before a chunk is looked at: it may be eight exbibytes.
        let limit = space.blocks();
        let most = if limit.limit == 0 { MOST_BLOCKS } else { self.blocks.saturating_add(limit.free) };
        if length.div_ceil(BLOCK) > most {
            return Err(Errno::ENOSPC);
        }
        let missing = parts(offset..end).map(|(number, part)| widen(whole(self.chunk(number), &part))).sum();
        space.take_blocks(missing)?;
        for (number, part) in parts(offset..end) {
            match self.chunk_mut(number) {
                Ok(chunk) => chunk.reserve(&part),
                Err(error) => {
                    // Only without memory for the list of chunks: what counts is counted again.
                    let counted =
                        self.places.iter().map(|place| widen(PAGES - place.chunk.missing(&(0..CHUNK)))).sum::<u64>();
                    space.give_blocks(missing - (counted - self.blocks));
                    self.blocks = counted;
                    return Err(error);
                }
            }
        }
        self.blocks += missing;
        if grow == Grow::Size {
            self.size = self.size.max(end);
        }
        Ok(())
    }

    /// Makes a range read as zeros, with its room reserved.
    ///
    /// # Errors
    /// As [`allocate`](Self::allocate).
    pub(crate) fn zero(&mut self, offset: u64, length: u64, grow: Grow, space: &Space) -> Result<(), Errno> {
        self.allocate(offset, length, grow, space)?;
        self.clear(offset..offset + length, Reserve::Keep, space);
        Ok(())
    }

    /// Where the next data at or behind `offset` begin.
    ///
    /// # Errors
    /// `ENXIO` if there are none.
    pub(crate) fn seek_data(&self, offset: u64) -> Result<u64, Errno> {
        self.next_data(offset).filter(|found| *found < self.size).ok_or(Errno::ENXIO)
    }

    /// Where the next data at or behind `offset` begin, in the file or behind its end.
    fn next_data(&self, offset: u64) -> Option<u64> {
        let first = offset / CHUNK_BYTES;
        let begin = self.places.partition_point(|place| place.number < first);
        self.places.get(begin..).unwrap_or(&[]).iter().find_map(|place| {
            let base = place.number * CHUNK_BYTES;
            let page = place.chunk.next_data(narrow(offset.saturating_sub(base)) / PAGE);
            (page < PAGES).then(|| offset.max(base + widen(page * PAGE)))
        })
    }

    /// Where the next hole at or behind `offset` begins; the end of the file is one.
    ///
    /// # Errors
    /// `ENXIO` if `offset` is not in the file.
    pub(crate) fn seek_hole(&self, offset: u64) -> Result<u64, Errno> {
        if offset >= self.size {
            return Err(Errno::ENXIO);
        }
        for (number, part) in parts(offset..self.size) {
            let hole = self.chunk(number).map_or(0, |chunk| chunk.next_hole(part.start / PAGE));
            let base = number * CHUNK_BYTES;
            if self.chunk(number).is_none() {
                return Ok(offset.max(base));
            }
            if hole < PAGES {
                return Ok(offset.max(base + widen(hole * PAGE)).min(self.size));
            }
        }
        Ok(self.size)
    }

    /// How many bytes of `range` come before the first data in it.
    fn leading_hole(&self, range: &Range<u64>) -> u64 {
        self.next_data(range.start).map_or(range.end, |data| data.min(range.end)) - range.start
    }

    /// Gives everything back.
    pub(crate) fn dismantle(&mut self, space: &Space) {
        let counted = self.places.drain(..).map(|place| widen(place.chunk.dismantle(space))).sum();
        self.places = Vec::new();
        self.blocks = 0;
        self.size = 0;
        space.give_blocks(counted);
    }
}

/// Whether reserving room may make the file longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grow {
    /// It may.
    Size,
    /// The size stays.
    Nothing,
}

/// Bytes that are copied in one go: they are on the stack meanwhile.
const PIECE: usize = 4 * PAGE;

/// What a copy reads from and writes to: the same file, or two.
#[derive(Debug)]
pub(crate) enum Copying<'a> {
    /// Within one file; the ranges do not overlap.
    Within(&'a mut Contents),
    /// From the first to the second.
    Between(&'a Contents, &'a mut Contents),
}

impl Copying<'_> {
    fn source(&self) -> &Contents {
        match self {
            Self::Within(file) => file,
            Self::Between(source, _) => source,
        }
    }

    fn target(&mut self) -> &mut Contents {
        match self {
            Self::Within(file) => file,
            Self::Between(_, target) => target,
        }
    }

    /// Copies up to `length` bytes; returns how many, less at the end of the source or when the filesystem is full. Holes stay
    /// holes.
    ///
    /// # Errors
    /// `ENOSPC` if not one byte could be copied, `EFBIG` if the target is too far out.
    pub(crate) fn copy(&mut self, from: u64, to: u64, length: u64, space: &Space) -> Result<u64, Errno> {
        let end = from.saturating_add(length).min(self.source().size);
        to.checked_add(end.saturating_sub(from)).filter(|end| *end <= LARGEST).ok_or(Errno::EFBIG)?;
        let mut piece = [0; PIECE];
        let mut done = 0;
        while from + done < end {
            let (source, target) = (from + done, to + done);
            let hole = self.source().leading_hole(&(source..end));
            if hole > 0 {
                let file = self.target();
                file.clear(target..target + hole, Reserve::Drop, space);
                file.size = file.size.max(target + hole);
                done += hole;
                continue;
            }
            // Pieces begin with the pages of the source, so that a hole is seen where it begins.
            let most = PIECE - narrow(source % widen(PAGE));
            let wanted = most.min(narrow(end - source)).min(narrow(self.source().seek_hole(source)? - source));
            let Some(bytes) = piece.get_mut(..wanted) else { return Err(Errno::EIO) };
            let length = self.source().read(source, bytes);
            match self.target().write(target, bytes.get(..length).unwrap_or(&[]), space) {
                Err(error) if done == 0 => return Err(error),
                Err(_) | Ok(0) => break,
                Ok(written) => done += widen(written),
            }
        }
        Ok(done)
    }
}
