//! The tree that every server of a comparison serves: a table in memory, the same for all of them.
//!
//! It answers as fast as a filesystem can, so that what is left is the cost of the library around it. The C servers have
//! the same tree in `c/tree.h`. Nothing is stored: what is written is counted and forgotten.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The node id of the root.
pub const ROOT: u64 = 1;
/// The directory of the files that are read and written: `d0` to `d7` past the page cache, `c0` to `c7` through it.
pub const DATA: u64 = 2;
/// The directory of `n0` to `n7`, which are looked up anew each time.
pub const NAMES: u64 = 3;
/// The directory of `a0` to `a7`, whose attributes are asked for anew each time.
pub const ATTRS: u64 = 4;
/// The directory of 10,000 entries.
pub const MANY: u64 = 5;
/// A file of which a byte is read, past the page cache.
pub const NULL: u64 = 6;
const DIRECT: u64 = 0x100;
const CACHED: u64 = 0x200;
const NAME: u64 = 0x300;
const ATTR: u64 = 0x400;
const WORK: u64 = 0x500;
const ENTRY: u64 = 0x1_0000;
/// From here on: files (even) and directories (odd) that were made.
const MADE: u64 = 1 << 32;

/// How many files of each sort there are, one for each thread of a workload.
pub const COPIES: u8 = 8;
/// Entries of the large directory.
pub const ENTRIES: usize = 10_000;
/// Size of the files that are read and written, in bytes.
pub const FILE_SIZE: u64 = 64 << 20;
/// The longest read, in bytes, and the period of the files' contents.
pub const BLOCK: usize = 1 << 20;
/// The longest write, in bytes.
pub const MAX_WRITE: u32 = 1 << 20;
/// How many background requests the kernel may send at a time.
pub const MAX_BACKGROUND: u16 = 64;
/// From how many on the server counts as congested.
pub const CONGESTION: u16 = 48;
/// The extended attribute that every file has.
pub const XATTR: &[u8] = b"user.bench";
/// Its value.
pub const XATTR_VALUE: &[u8] = b"sixteen bytes ..";

const PAGE: usize = 4096;
const LONG: Duration = Duration::from_secs(3600);

/// What is known of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its node id, and its inode number.
    pub id: u64,
    /// Whether it is a directory; else it is a regular file.
    pub directory: bool,
    /// In bytes.
    pub size: u64,
    /// How long its name is valid.
    pub entry_timeout: Duration,
    /// How long its attributes are valid.
    pub attr_timeout: Duration,
}

impl Node {
    /// Permission bits.
    #[must_use]
    pub fn permissions(&self) -> u16 {
        if self.directory { 0o755 } else { 0o644 }
    }

    /// The type and permission bits, as `st_mode`.
    #[must_use]
    pub fn mode(&self) -> u32 {
        u32::from(self.permissions()) | if self.directory { libc::S_IFDIR } else { libc::S_IFREG }
    }

    /// Whether it is opened past the page cache.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.id == NULL || class(self.id) == DIRECT
    }
}

/// The sort of node that an id below [`ENTRY`] belongs to.
fn class(id: u64) -> u64 {
    id & !0xff
}

/// Bytes that begin on a page: otherwise a request of 1 MiB touches one page more than the kernel puts into one.
#[derive(Debug)]
pub struct PageAligned {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl PageAligned {
    /// So many zeros.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let bytes = vec![0; length + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        Self { bytes, start, length }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.length).unwrap_or(&[])
    }

    /// The bytes, to be written to.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + self.length).unwrap_or(&mut [])
    }
}

/// The tree. It is the same for all who have one, but for the files that they make.
#[derive(Debug)]
pub struct Tree {
    names: Vec<[u8; 10]>,
    block: PageAligned,
    /// What is made in the working directories: in each a file `c` and a directory `m`. 0: not there.
    made: [AtomicU64; 2 * COPIES as usize],
    counter: AtomicU64,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// The tree as it begins.
    #[must_use]
    pub fn new() -> Self {
        let names = (0..ENTRIES).map(|number| {
            let mut name = *b"file-00000";
            for (place, digit) in name.iter_mut().skip(5).zip(format!("{number:05}").bytes()) {
                *place = digit;
            }
            name
        });
        let mut block = PageAligned::new(BLOCK);
        for (at, byte) in block.as_mut_slice().iter_mut().enumerate() {
            *byte = u8::try_from(at % 251).unwrap_or(0);
        }
        Self { names: names.collect(), block, made: Default::default(), counter: AtomicU64::new(MADE) }
    }

    /// The node with this id.
    #[must_use]
    #[inline]
    pub fn node(&self, id: u64) -> Option<Node> {
        let (directory, size, entry_timeout, attr_timeout) = match id {
            ROOT | DATA | NAMES | ATTRS | MANY => (true, 0, LONG, LONG),
            NULL => (false, FILE_SIZE, LONG, LONG),
            0..DIRECT => return None,
            ENTRY..MADE => (false, 0, LONG, LONG),
            MADE.. => (id % 2 == 1, 0, LONG, LONG),
            _ => match class(id) {
                DIRECT | CACHED => (false, FILE_SIZE, LONG, LONG),
                NAME => (false, 0, Duration::ZERO, LONG),
                ATTR => (false, 0, LONG, Duration::ZERO),
                WORK => (true, 0, LONG, LONG),
                _ => return None,
            },
        };
        Some(Node { id, directory, size, entry_timeout, attr_timeout })
    }

    /// Looks a name up.
    #[must_use]
    #[inline]
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Option<Node> {
        let id = match (parent, name) {
            (ROOT, b"data") => DATA,
            (ROOT, b"names") => NAMES,
            (ROOT, b"attrs") => ATTRS,
            (ROOT, b"many") => MANY,
            (ROOT, b"null") => NULL,
            (ROOT, [b'w', copy]) => WORK + copy_number(*copy)?,
            (DATA, [b'd', copy]) => DIRECT + copy_number(*copy)?,
            (DATA, [b'c', copy]) => CACHED + copy_number(*copy)?,
            (NAMES, [b'n', copy]) => NAME + copy_number(*copy)?,
            (ATTRS, [b'a', copy]) => ATTR + copy_number(*copy)?,
            (MANY, name) => ENTRY + entry_number(name)?,
            (parent, name) => match self.slot(parent, name)?.load(Ordering::Relaxed) {
                0 => return None,
                id => id,
            },
        };
        self.node(id)
    }

    /// Makes the file `c` or the directory `m` in a working directory. `None` if there is no room for such a name.
    #[inline]
    pub fn make(&self, parent: u64, name: &[u8]) -> Option<Node> {
        let directory = name == b"m";
        let number = self.counter.fetch_add(2, Ordering::Relaxed);
        let id = number + u64::from(directory);
        self.slot(parent, name)?.store(id, Ordering::Relaxed);
        self.node(id)
    }

    /// Takes away what [`make`](Self::make) made. `None` if it is not there.
    #[inline]
    pub fn remove(&self, parent: u64, name: &[u8]) -> Option<()> {
        (self.slot(parent, name)?.swap(0, Ordering::Relaxed) != 0).then_some(())
    }

    /// What is in a file from `offset` on: up to `size` bytes, none at its end.
    #[must_use]
    #[inline]
    pub fn read(&self, id: u64, offset: u64, size: u32) -> &[u8] {
        let length = self.node(id).map_or(0, |node| node.size).saturating_sub(offset);
        let length = usize::try_from(length.min(u64::from(size))).unwrap_or(0);
        let from = usize::try_from(offset).unwrap_or(0) % BLOCK;
        let bytes = self.block.as_slice().get(from..).unwrap_or(&[]);
        bytes.get(..length).unwrap_or(bytes)
    }

    /// The entries of a directory behind `offset`: node id, offset behind it, name. Only the large one has any.
    #[inline]
    pub fn entries(&self, id: u64, offset: u64) -> impl Iterator<Item = (u64, u64, &[u8])> {
        let from = if id == MANY { usize::try_from(offset).unwrap_or(usize::MAX) } else { usize::MAX };
        let names = self.names.get(from..).unwrap_or(&[]);
        (offset..).zip(names).map(|(number, name)| (ENTRY + number, number + 1, name.as_slice()))
    }

    /// Where it is kept what has this name.
    fn slot(&self, parent: u64, name: &[u8]) -> Option<&AtomicU64> {
        let sort = match name {
            b"c" => 0,
            b"m" => 1,
            _ => return None,
        };
        let copy = parent.checked_sub(WORK).filter(|copy| *copy < u64::from(COPIES))?;
        self.made.get(usize::try_from(2 * copy + sort).ok()?)
    }
}

fn copy_number(digit: u8) -> Option<u64> {
    digit.checked_sub(b'0').filter(|copy| *copy < COPIES).map(u64::from)
}

fn entry_number(name: &[u8]) -> Option<u64> {
    let digits = name.strip_prefix(b"file-")?;
    let number: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    u64::try_from(number).ok().filter(|_| number < ENTRIES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_its_node() {
        let tree = Tree::new();
        let id = |parent, name: &str| tree.lookup(parent, name.as_bytes()).map(|node| node.id);
        assert_eq!(id(ROOT, "data"), Some(DATA));
        assert_eq!(id(DATA, "d7"), Some(DIRECT + 7));
        assert_eq!(id(DATA, "d8"), None);
        assert_eq!(id(NAMES, "absent"), None);
        for (node, _, name) in tree.entries(MANY, 0) {
            assert_eq!(id(MANY, std::str::from_utf8(name).unwrap()), Some(node));
        }
        assert_eq!(tree.entries(MANY, 0).count(), ENTRIES);
        assert_eq!(tree.entries(MANY, 9_999).count(), 1);
    }

    #[test]
    fn what_is_made_is_there_until_it_is_removed() {
        let tree = Tree::new();
        let parent = tree.lookup(ROOT, b"w3").unwrap().id;
        assert_eq!(tree.lookup(parent, b"m"), None);
        let made = tree.make(parent, b"m").unwrap();
        assert!(made.directory);
        assert_eq!(tree.lookup(parent, b"m"), Some(made));
        assert_eq!(tree.remove(parent, b"m"), Some(()));
        assert_eq!(tree.lookup(parent, b"m"), None);
        assert_eq!(tree.make(ROOT, b"c"), None);
    }

    #[test]
    fn blocks_begin_on_a_page() {
        let tree = Tree::new();
        let block = tree.read(NULL, 0, 1 << 20);
        assert_eq!((block.len(), block.as_ptr().align_offset(PAGE)), (BLOCK, 0));
    }

    #[test]
    fn reads_end_with_the_file() {
        let tree = Tree::new();
        assert_eq!(tree.read(NULL, 5, 1), [5]);
        assert_eq!(tree.read(NULL, FILE_SIZE - 4096, 1 << 20).len(), 4096);
        assert_eq!(tree.read(NULL, FILE_SIZE, 1).len(), 0);
        assert_eq!(tree.read(DATA, 0, 1).len(), 0);
    }
}
