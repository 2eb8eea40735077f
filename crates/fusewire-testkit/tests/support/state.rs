//! What the filesystem in memory holds: nodes, names, locks.
//!
//! Nothing in here is wrong; the flaws are in the operations.

use std::collections::{BTreeMap, HashMap};

use fusewire::op::{FileLock, LockKind};
use fusewire::{Attr, Errno, FileType, Timestamp};

pub(super) struct State {
    pub(super) nodes: HashMap<u64, Node>,
    pub(super) next_node: u64,
    pub(super) handles: HashMap<u64, u64>,
    pub(super) next_handle: u64,
    pub(super) clock: i64,
    pub(super) queries: u64,
}

pub(super) struct Node {
    pub(super) attr: Attr,
    pub(super) lookups: u64,
    pub(super) opens: u64,
    pub(super) content: Content,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) locks: Vec<Held>,
}

pub(super) enum Content {
    Data(Vec<u8>),
    Directory { entries: BTreeMap<Vec<u8>, (u64, u64)>, parent: u64, next_offset: u64 },
    Link(Vec<u8>),
    Nothing,
}

#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) owner: u64,
    pub(super) flock: bool,
    pub(super) lock: FileLock,
}

pub(super) fn conflict(locks: &[Held], wanted: Held) -> Option<Held> {
    let exclusive = |held: &Held| held.lock.kind == LockKind::WRITE || wanted.lock.kind == LockKind::WRITE;
    locks
        .iter()
        .find(|held| {
            held.flock == wanted.flock
                && held.owner != wanted.owner
                && held.lock.start <= wanted.lock.end
                && wanted.lock.start <= held.lock.end
                && exclusive(held)
        })
        .copied()
}

impl Node {
    pub(super) fn new(kind: FileType, mode: u32, ino: u64, rdev: u32) -> Self {
        let mut attr = Attr::new(ino, kind, mode & 0o7777);
        attr.rdev = rdev;
        attr.blksize = 4096;
        let content = match kind {
            FileType::DIRECTORY => {
                attr.nlink = 2;
                Content::Directory { entries: BTreeMap::new(), parent: 0, next_offset: 3 }
            }
            FileType::REGULAR => Content::Data(Vec::new()),
            FileType::SYMLINK => Content::Link(Vec::new()),
            _ => Content::Nothing,
        };
        Self { attr, lookups: 0, opens: 0, content, xattrs: BTreeMap::new(), locks: Vec::new() }
    }

    pub(super) fn is_dir(&self) -> bool {
        self.attr.file_type() == FileType::DIRECTORY
    }

    pub(super) fn data(&mut self) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.content {
            Content::Data(data) => Ok(data),
            Content::Directory { .. } => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn resize(&mut self, size: u64) -> Result<(), Errno> {
        let length = usize::try_from(size).map_err(|_| Errno::EFBIG)?;
        if length > 1 << 26 {
            return Err(Errno::EFBIG);
        }
        self.data()?.resize(length, 0);
        self.attr.size = size;
        self.attr.blocks = size.div_ceil(512);
        Ok(())
    }
}

impl State {
    pub(super) fn now(&mut self) -> Timestamp {
        self.clock += 1;
        Timestamp::new(self.clock, 0)
    }

    pub(super) fn node(&mut self, id: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&id).ok_or(Errno::ESTALE)
    }

    pub(super) fn entries(&mut self, id: u64) -> Result<&mut BTreeMap<Vec<u8>, (u64, u64)>, Errno> {
        match &mut self.node(id)?.content {
            Content::Directory { entries, .. } => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn child(&mut self, dir: u64, name: &[u8]) -> Result<u64, Errno> {
        self.entries(dir)?.get(name).map(|(_, id)| *id).ok_or(Errno::ENOENT)
    }

    pub(super) fn insert(&mut self, dir: u64, name: &[u8], id: u64) -> Result<(), Errno> {
        let now = self.now();
        let node = self.node(dir)?;
        (node.attr.mtime, node.attr.ctime) = (now, now);
        let Content::Directory { entries, next_offset, .. } = &mut node.content else { return Err(Errno::ENOTDIR) };
        entries.insert(name.to_vec(), (*next_offset, id));
        *next_offset += 1;
        Ok(())
    }

    pub(super) fn remove(&mut self, dir: u64, name: &[u8]) -> Result<u64, Errno> {
        let now = self.now();
        let (_, id) = self.entries(dir)?.remove(name).ok_or(Errno::ENOENT)?;
        let node = self.node(dir)?;
        (node.attr.mtime, node.attr.ctime) = (now, now);
        Ok(id)
    }

    /// Takes a name away for good.
    pub(super) fn unlink(&mut self, dir: u64, name: &[u8], as_dir: bool) -> Result<(), Errno> {
        let id = self.child(dir, name)?;
        let is_dir = self.node(id)?.is_dir();
        match (is_dir, as_dir) {
            (true, false) => return Err(Errno::EISDIR),
            (false, true) => return Err(Errno::ENOTDIR),
            (true, true) if !self.entries(id)?.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.remove(dir, name)?;
        let now = self.now();
        let node = self.node(id)?;
        node.attr.nlink = if is_dir { 0 } else { node.attr.nlink - 1 };
        node.attr.ctime = now;
        if is_dir {
            self.node(dir)?.attr.nlink -= 1;
        }
        self.collect(id);
        Ok(())
    }

    /// A directory has another parent now.
    pub(super) fn moved(&mut self, id: u64, from: u64, to: u64) -> Result<(), Errno> {
        if from == to {
            return Ok(());
        }
        if let Content::Directory { parent, .. } = &mut self.node(id)?.content {
            *parent = to;
            self.node(from)?.attr.nlink -= 1;
            self.node(to)?.attr.nlink += 1;
        }
        Ok(())
    }

    pub(super) fn is_below(&mut self, mut id: u64, above: u64) -> bool {
        loop {
            if id == above {
                return true;
            }
            match self.node(id).map(|node| &node.content) {
                Ok(Content::Directory { parent, .. }) if id != 1 => id = *parent,
                _ => return false,
            }
        }
    }

    /// Lets a node go that nobody has any more.
    pub(super) fn collect(&mut self, id: u64) {
        let gone = |node: &Node| node.lookups == 0 && node.opens == 0 && node.attr.nlink == 0;
        if id != 1 && self.nodes.get(&id).is_some_and(gone) {
            self.nodes.remove(&id);
        }
    }
}
