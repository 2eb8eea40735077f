//! The tree, served by fuser.
//!
//! Shared by the server of the comparisons and by the criterion benches.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use crate::tree::{self, Node, Tree};

/// The tree as a filesystem.
#[derive(Debug, Default)]
pub struct Table {
    tree: Tree,
}

/// How the tree is mounted, and served by this many threads, each with a descriptor of its own.
#[must_use]
pub fn config(threads: usize) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::Subtype(String::from("fuser-table"))];
    config.n_threads = Some(threads);
    config.clone_fd = threads > 1;
    config
}

/// Mounts the tree and serves it in the background.
///
/// # Errors
/// It cannot be mounted.
pub fn mount(mountpoint: &Path, threads: usize) -> io::Result<BackgroundSession> {
    fuser::spawn_mount(Table::default(), mountpoint, &config(threads))
}

#[inline]
fn attr(node: &Node) -> FileAttr {
    FileAttr {
        ino: INodeNo(node.id),
        size: node.size,
        blocks: node.size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: if node.directory { FileType::Directory } else { FileType::RegularFile },
        perm: node.permissions(),
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Table {
    #[inline]
    fn attributes(&self, ino: INodeNo, reply: ReplyAttr) {
        match self.tree.node(ino.0) {
            Some(node) => reply.attr(&node.attr_timeout, &attr(&node)),
            None => reply.error(Errno::ENOENT),
        }
    }

    #[inline]
    fn remove(&self, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.tree.remove(parent.0, name.as_bytes()) {
            Some(()) => reply.ok(),
            None => reply.error(Errno::ENOENT),
        }
    }
}

#[inline]
fn enter(node: Option<Node>, otherwise: Errno, reply: ReplyEntry) {
    match node {
        Some(node) => {
            reply.entry_with_ttls(&node.attr_timeout, &node.entry_timeout, &attr(&node), Generation(0));
        }
        None => reply.error(otherwise),
    }
}

impl Filesystem for Table {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let flags = InitFlags::FUSE_ATOMIC_O_TRUNC | InitFlags::FUSE_PARALLEL_DIROPS;
        config.add_capabilities(flags).map_err(|flags| io::Error::other(format!("{flags:?} not offered")))?;
        let wrong = |_| io::Error::other("a limit that fuser refuses");
        config.set_max_write(tree::MAX_WRITE).map_err(wrong)?;
        let wrong = |_| io::Error::other("a limit that fuser refuses");
        config.set_max_background(tree::MAX_BACKGROUND).map_err(wrong)?;
        config.set_congestion_threshold(tree::CONGESTION).map_err(wrong)?;
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        enter(self.tree.lookup(parent.0, name.as_bytes()), Errno::ENOENT, reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.attributes(ino, reply);
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.attributes(ino, reply);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        enter(self.tree.make(parent.0, name.as_bytes()), Errno::EPERM, reply);
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        match self.tree.make(parent.0, name.as_bytes()) {
            // One timeout for both: they are the same for what is made.
            Some(node) => {
                let ttl: Duration = node.attr_timeout;
                reply.created(&ttl, &attr(&node), Generation(0), FileHandle(0), FopenFlags::empty());
            }
            None => reply.error(Errno::EPERM),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(parent, name, reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(parent, name, reply);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let direct = self.tree.node(ino.0).is_some_and(|node| node.is_direct());
        let flags = if direct { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::empty() };
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        reply.data(self.tree.read(ino.0, offset, size));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX));
    }

    // The default would log a warning.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn getxattr(&self, _: &Request, _: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if name.as_bytes() != tree::XATTR {
            reply.error(Errno::ENODATA);
        } else if size == 0 {
            reply.size(u32::try_from(tree::XATTR_VALUE.len()).unwrap_or(0));
        } else {
            reply.data(tree::XATTR_VALUE);
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for (ino, offset, name) in self.tree.entries(ino.0, offset) {
            if reply.add(INodeNo(ino), offset, FileType::RegularFile, OsStr::from_bytes(name)) {
                break;
            }
        }
        reply.ok();
    }
}
