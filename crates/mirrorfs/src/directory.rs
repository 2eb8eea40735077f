//! Open directories: their entries, from the system call straight into the reply.
//!
//! The offsets are those of the source, so listing goes on where it was, whatever was made or removed meanwhile. Looking
//! entries up is done by the mirror.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use fusewire::reply::Dirent;
use fusewire::{FileType, Name, sink};
use rustix::fs::{RawDir, SeekFrom, seek};
use rustix::io;

use crate::places::Counted;

/// Room for entries as the source returns them.
const BUFFER: usize = 32 << 10;
/// The least room that the source is asked to fill: it holds an entry with the longest name.
const LEAST: usize = 280;
/// How much larger an entry may become in the reply, at most: with a name of one byte, 24 bytes become 32.
const GROWTH: (usize, usize) = (3, 4);
/// The same for an entry with attributes: 24 bytes become 160.
const GROWTH_PLUS: (usize, usize) = (3, 20);

/// An open directory of the source.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Nothing if there are too many: then it is opened anew for each request.
    descriptor: Option<Counted>,
    /// The offset at which the descriptor stands.
    position: Mutex<u64>,
}

/// Stands nowhere: the next listing has to seek.
const NOWHERE: u64 = u64::MAX;

/// Whether there is more to be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// An entry of the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed<'a> {
    pub(crate) ino: u64,
    pub(crate) kind: FileType,
    pub(crate) offset: u64,
    pub(crate) name: &'a Name,
}

impl<'a> Listed<'a> {
    pub(crate) fn is_dot(&self) -> bool {
        matches!(self.name.as_bytes(), b"." | b"..")
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind == FileType::DIRECTORY
    }

    /// The entry as it is shown.
    pub(crate) fn shown(&self, ino: u64) -> Dirent<'a> {
        Dirent::new(ino, self.offset, self.kind, self.name)
    }
}

/// A reply that entries go into.
pub(crate) trait Listing {
    /// The room that is left, in bytes as the source counts them: that many bytes of entries are sure to fit.
    fn room(&self) -> usize;
    /// Appends an entry.
    fn push(&mut self, entry: &Listed<'_>) -> Result<(), Full>;
}

impl Directory {
    pub(crate) fn new(descriptor: Option<Counted>) -> Self {
        Self { descriptor, position: Mutex::new(0) }
    }

    /// Calls `act` with a descriptor of the directory, which `open` opens if there is none.
    ///
    /// # Errors
    /// Those of `open` and `act`.
    pub(crate) fn with_descriptor<R>(
        &self,
        open: impl FnOnce() -> io::Result<OwnedFd>,
        act: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        match &self.descriptor {
            Some(descriptor) => act(descriptor.as_fd()),
            None => act(open()?.as_fd()),
        }
    }

    /// Lists from the entry behind `offset` on, until the reply is full or there are no more.
    ///
    /// # Errors
    /// Those of `open`, lseek(2) and getdents(2), if nothing was listed before.
    pub(crate) fn list(
        &self,
        open: impl FnOnce() -> io::Result<OwnedFd>,
        offset: u64,
        listing: &mut impl Listing,
    ) -> io::Result<()> {
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        if self.descriptor.is_none() {
            *position = NOWHERE;
        }
        self.with_descriptor(open, |directory| Self::list_from(directory, &mut position, offset, listing))
    }

    /// Lists from a descriptor that stands at `position`.
    fn list_from(
        directory: BorrowedFd<'_>,
        position: &mut u64,
        offset: u64,
        listing: &mut impl Listing,
    ) -> io::Result<()> {
        // To begin again is more than to stand at the beginning: the source then looks what is there now.
        if *position != offset || offset == 0 {
            seek(directory, SeekFrom::Start(offset))?;
            *position = offset;
        }
        let mut buffer = [MaybeUninit::<u8>::uninit(); BUFFER];
        let mut any = false;
        loop {
            let room = listing.room().min(BUFFER);
            // Less might not do for the next name. The first entry is tried in any case.
            let room = if any && room < LEAST { return Ok(()) } else { room.max(LEAST) };
            let mut entries = RawDir::new(directory, buffer.get_mut(..room).unwrap_or(&mut []));
            loop {
                let entry = match entries.next() {
                    None => return Ok(()),
                    Some(Ok(entry)) => entry,
                    Some(Err(_)) if any => return Ok(()),
                    Some(Err(error)) => return Err(error),
                };
                let bytes = entry.file_name().to_bytes();
                // A name that cannot be one is a fault of the source, and of no use to anybody.
                let Ok(name) = Name::new(bytes) else { continue };
                let listed = Listed {
                    ino: entry.ino(),
                    kind: file_type(entry.file_type()),
                    offset: entry.next_entry_cookie(),
                    name,
                };
                if listing.push(&listed).is_err() {
                    // The descriptor stands behind what was not listed: seek next time.
                    let last = std::mem::replace(position, NOWHERE);
                    tracing::trace!(last, "an entry did not fit");
                    return Ok(());
                }
                *position = listed.offset;
                any = true;
                if entries.is_buffer_empty() {
                    break;
                }
            }
        }
    }
}

fn file_type(kind: rustix::fs::FileType) -> FileType {
    FileType::from_mode(kind.as_raw_mode())
}

/// A plain listing.
pub(crate) struct Plain<'a, 'b, F> {
    pub(crate) out: &'a mut sink::DirEntries<'b>,
    /// Bytes that the caller takes, less those that were pushed.
    pub(crate) left: usize,
    /// The inode number that is shown for one of the source.
    pub(crate) show: F,
}

impl<F: Fn(u64) -> u64> Listing for Plain<'_, '_, F> {
    fn room(&self) -> usize {
        self.left / GROWTH.1 * GROWTH.0
    }

    fn push(&mut self, entry: &Listed<'_>) -> Result<(), Full> {
        let shown = entry.shown((self.show)(entry.ino));
        self.out.push(&shown).map_err(|_| Full)?;
        self.left = self.left.saturating_sub(shown.size());
        Ok(())
    }
}

/// A listing with a lookup of each entry.
pub(crate) struct Plus<'a, 'b, F, L> {
    pub(crate) out: &'a mut sink::DirEntriesPlus<'b>,
    /// Bytes that the caller takes, less those that were pushed.
    pub(crate) left: usize,
    /// The inode number that is shown for one of the source.
    pub(crate) show: F,
    /// Looks an entry up.
    pub(crate) look_up: L,
}

/// What an entry with attributes has in front of one without.
const ATTRIBUTES: usize = 128;

impl<F, L> Listing for Plus<'_, '_, F, L>
where
    F: Fn(u64) -> u64,
    L: FnMut(&Listed<'_>) -> fusewire::reply::Entry,
{
    fn room(&self) -> usize {
        self.left / GROWTH_PLUS.1 * GROWTH_PLUS.0
    }

    fn push(&mut self, entry: &Listed<'_>) -> Result<(), Full> {
        let shown = entry.shown((self.show)(entry.ino));
        let pushed =
            if entry.is_dot() { self.out.push_plain(&shown) } else { self.out.push(&shown, || (self.look_up)(entry)) };
        pushed.map_err(|_| Full)?;
        self.left = self.left.saturating_sub(shown.size() + ATTRIBUTES);
        Ok(())
    }
}
