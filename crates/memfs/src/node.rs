//! A node: a file of any type, with its attributes, its lock, and the count of the kernel's lookups.
//!
//! A node lives while it has a name, or the kernel knows it. Who gives nodes back is in `memfs`.
//!
//! # Order of locks
//! The lock that renames share, then nodes, then the table. Of two nodes, a directory comes before what is in it; of two
//! directories elsewhere, which only a rename locks together, an ancestor before its descendant, else the smaller id first; of two
//! files, the smaller id first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use fusewire::{Attr, Errno, FileType, Gid, StatxAttr, StatxMask, Timestamp, Uid};

use crate::contents::Contents;
use crate::directory::Directory;
use crate::space::BLOCK;
use crate::xattrs::Xattrs;

/// What tmpfs counts for an entry in the size of a directory, in bytes.
const ENTRY_SIZE: u64 = 20;
/// The longest target of a symbolic link that takes no block, in bytes.
pub(crate) const SHORT_TARGET: usize = 128;

/// A file of any type.
#[derive(Debug)]
pub(crate) struct Node {
    id: u64,
    kind: FileType,
    lookups: AtomicU64,
    state: RwLock<State>,
}

/// What can change about a node.
#[derive(Debug)]
pub(crate) struct State {
    /// Without the type.
    pub(crate) permissions: u32,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) nlink: u32,
    pub(crate) atime: Timestamp,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
    pub(crate) btime: Timestamp,
    pub(crate) xattrs: Option<Box<Xattrs>>,
    pub(crate) body: Body,
}

/// What a node holds, by its type.
#[derive(Debug)]
pub(crate) enum Body {
    File(Contents),
    Directory(Box<Directory>),
    Symlink(Box<[u8]>),
    /// A fifo, a socket, or a device with this number, in the kernel's form.
    Special(u32),
    /// Given back: nothing is here any more.
    Gone,
}

/// The time that files get now.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

impl State {
    /// A node with one link and these attributes, made now.
    pub(crate) fn new(permissions: u32, uid: Uid, gid: Gid, body: Body) -> Self {
        let time = now();
        let nlink = if let Body::Directory(_) = body { 2 } else { 1 };
        let (atime, mtime, ctime, btime) = (time, time, time, time);
        Self { permissions, uid, gid, nlink, atime, mtime, ctime, btime, xattrs: None, body }
    }

    pub(crate) fn directory(&self) -> Result<&Directory, Errno> {
        if let Body::Directory(directory) = &self.body { Ok(directory) } else { Err(Errno::ENOTDIR) }
    }

    pub(crate) fn directory_mut(&mut self) -> Result<&mut Directory, Errno> {
        if let Body::Directory(directory) = &mut self.body { Ok(directory) } else { Err(Errno::ENOTDIR) }
    }

    /// The directory, if it is still there: nothing can be made in one that was removed.
    pub(crate) fn living_directory_mut(&mut self) -> Result<&mut Directory, Errno> {
        if self.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        self.directory_mut()
    }

    pub(crate) fn file(&self) -> Result<&Contents, Errno> {
        if let Body::File(contents) = &self.body { Ok(contents) } else { Err(self.no_file()) }
    }

    pub(crate) fn file_mut(&mut self) -> Result<&mut Contents, Errno> {
        let error = self.no_file();
        if let Body::File(contents) = &mut self.body { Ok(contents) } else { Err(error) }
    }

    fn no_file(&self) -> Errno {
        match self.body {
            Body::Directory(_) => Errno::EISDIR,
            Body::Gone => Errno::ESTALE,
            _ => Errno::EINVAL,
        }
    }

    /// The contents changed.
    pub(crate) fn modified(&mut self) {
        self.mtime = now();
        self.ctime = self.mtime;
    }

    /// Anything else changed.
    pub(crate) fn changed(&mut self) {
        self.ctime = now();
    }

    /// Size in bytes, and blocks of [`BLOCK`].
    fn size_and_blocks(&self) -> (u64, u64) {
        match &self.body {
            Body::File(contents) => (contents.size(), contents.blocks()),
            Body::Directory(directory) => ((directory.len() as u64).saturating_add(2).saturating_mul(ENTRY_SIZE), 0),
            Body::Symlink(target) => (target.len() as u64, u64::from(target.len() > SHORT_TARGET)),
            Body::Special(_) | Body::Gone => (0, 0),
        }
    }

    fn rdev(&self) -> u32 {
        if let Body::Special(rdev) = self.body { rdev } else { 0 }
    }
}

impl Node {
    /// A node that the kernel has looked up `lookups` times.
    pub(crate) fn new(id: u64, kind: FileType, lookups: u64, state: State) -> Self {
        Self { id, kind, lookups: AtomicU64::new(lookups), state: RwLock::new(state) }
    }

    /// The node id, and the inode number. It is never given again to another node.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn kind(&self) -> FileType {
        self.kind
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind == FileType::DIRECTORY
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kernel looks it up once more. The caller holds a lock that keeps the last name of the node from going.
    pub(crate) fn look_up(&self) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
    }

    /// The kernel takes lookups back.
    pub(crate) fn forget(&self, lookups: u64) {
        let taken = |count: u64| Some(count.saturating_sub(lookups));
        let _ = self.lookups.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken);
    }

    /// The kernel is gone, and has forgotten everything.
    pub(crate) fn forget_all(&self) {
        self.lookups.store(0, Ordering::Release);
    }

    pub(crate) fn is_looked_up(&self) -> bool {
        self.lookups.load(Ordering::Acquire) != 0
    }

    /// The attributes as they are now.
    pub(crate) fn attributes(&self) -> Attr {
        self.attributes_of(&self.read())
    }

    /// The attributes of this node, whose state is `state`.
    pub(crate) fn attributes_of(&self, state: &State) -> Attr {
        let (size, blocks) = state.size_and_blocks();
        let mut attr = Attr::new(self.id, self.kind, state.permissions);
        attr.size = size;
        attr.blocks = blocks * (BLOCK / 512);
        attr.atime = state.atime;
        attr.mtime = state.mtime;
        attr.ctime = state.ctime;
        attr.nlink = state.nlink;
        attr.uid = state.uid;
        attr.gid = state.gid;
        attr.rdev = state.rdev();
        attr.blksize = 4096;
        attr
    }

    /// What statx(2) shows of it.
    pub(crate) fn statx(&self) -> StatxAttr {
        let state = self.read();
        let attr = self.attributes_of(&state);
        let mut statx = StatxAttr::default();
        statx.mask = StatxMask::BASIC_STATS | StatxMask::BTIME;
        statx.blksize = attr.blksize;
        statx.nlink = attr.nlink;
        statx.uid = attr.uid;
        statx.gid = attr.gid;
        statx.mode = u16::try_from(attr.mode).unwrap_or(u16::MAX);
        statx.ino = attr.ino;
        statx.size = attr.size;
        statx.blocks = attr.blocks;
        statx.atime = attr.atime;
        statx.btime = state.btime;
        statx.ctime = attr.ctime;
        statx.mtime = attr.mtime;
        // linux/kdev_t.h new_decode_dev().
        statx.rdev = ((attr.rdev & 0xf_ff00) >> 8, (attr.rdev & 0xff) | ((attr.rdev >> 12) & 0xf_ff00));
        statx
    }
}
