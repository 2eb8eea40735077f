//! `serve_fuse3 MOUNTPOINT THREADS`: the tree, served by fuse3 on tokio until it is unmounted. 0 threads: a worker a CPU.
//!
//! fuse3 has one timeout for an entry and its attributes, so a lookup that is not cached costs a second request; and it
//! asks the kernel for what it wants itself, readdirplus included.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;

use anyhow::Result;
use bytes::Bytes;
use fuse3::raw::prelude::*;
use fuse3::{Errno, MountOptions, Result as FuseResult, SetAttr, Timestamp};
use fusewire_benches::compare::server_arguments;
use fusewire_benches::tree::{self, Node, Tree};
use futures_util::stream::{self, Stream};

fn main() -> Result<()> {
    let (mountpoint, serving) = server_arguments()?;
    let threads = serving.threads()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if threads > 0 {
        runtime.worker_threads(threads);
    }
    runtime.enable_all().build()?.block_on(async {
        let mut options = MountOptions::default();
        options.fs_name("fuse3-table");
        let block = Bytes::copy_from_slice(Tree::new().read(tree::NULL, 0, tree::MAX_WRITE));
        let table = Table { tree: Tree::new(), block };
        Session::new(options).mount(table, mountpoint).await?.await?;
        anyhow::Ok(())
    })
}

struct Table {
    tree: Tree,
    /// What the tree has, in a form that replies can share without a copy.
    block: Bytes,
}

fn attr(node: &Node) -> FileAttr {
    let epoch = Timestamp { sec: 0, nsec: 0 };
    FileAttr {
        ino: node.id,
        size: node.size,
        blocks: node.size.div_ceil(512),
        atime: epoch,
        mtime: epoch,
        ctime: epoch,
        kind: if node.directory { FileType::Directory } else { FileType::RegularFile },
        perm: node.permissions(),
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
    }
}

fn entry(node: &Node) -> ReplyEntry {
    // The shorter of the two: there is but one.
    ReplyEntry { ttl: node.entry_timeout.min(node.attr_timeout), attr: attr(node), generation: 0 }
}

fn errno(number: i32) -> Errno {
    Errno::from(number)
}

impl Table {
    fn attributes(&self, inode: u64) -> FuseResult<ReplyAttr> {
        let node = self.tree.node(inode).ok_or_else(|| errno(libc::ENOENT))?;
        Ok(ReplyAttr { ttl: node.attr_timeout, attr: attr(&node) })
    }

    fn made(&self, parent: u64, name: &OsStr) -> FuseResult<Node> {
        self.tree.make(parent, name.as_bytes()).ok_or_else(|| errno(libc::EPERM))
    }

    fn entries(&self, parent: u64, offset: u64) -> impl Iterator<Item = (u64, i64, OsString)> {
        let entries = self.tree.entries(parent, offset);
        entries.map(|(inode, offset, name)| {
            (inode, i64::try_from(offset).unwrap_or(i64::MAX), OsStr::from_bytes(name).to_owned())
        })
    }
}

impl Filesystem for Table {
    async fn init(&self, _: Request) -> FuseResult<ReplyInit> {
        let mut reply = ReplyInit::new(NonZeroU32::new(tree::MAX_WRITE).unwrap_or(NonZeroU32::MIN));
        reply.max_background = Some(tree::MAX_BACKGROUND);
        reply.congestion_threshold = Some(tree::CONGESTION);
        Ok(reply)
    }

    async fn destroy(&self, _: Request) {}

    async fn lookup(&self, _: Request, parent: u64, name: &OsStr) -> FuseResult<ReplyEntry> {
        let node = self.tree.lookup(parent, name.as_bytes());
        node.map(|node| entry(&node)).ok_or_else(|| errno(libc::ENOENT))
    }

    async fn getattr(&self, _: Request, inode: u64, _: Option<u64>, _: u32) -> FuseResult<ReplyAttr> {
        self.attributes(inode)
    }

    async fn setattr(&self, _: Request, inode: u64, _: Option<u64>, _: SetAttr) -> FuseResult<ReplyAttr> {
        self.attributes(inode)
    }

    async fn mkdir(&self, _: Request, parent: u64, name: &OsStr, _: u32, _: u32) -> FuseResult<ReplyEntry> {
        Ok(entry(&self.made(parent, name)?))
    }

    async fn create(&self, _: Request, parent: u64, name: &OsStr, _: u32, _: u32) -> FuseResult<ReplyCreated> {
        let node = self.made(parent, name)?;
        Ok(ReplyCreated { ttl: node.entry_timeout, attr: attr(&node), generation: 0, fh: 0, flags: 0 })
    }

    async fn unlink(&self, _: Request, parent: u64, name: &OsStr) -> FuseResult<()> {
        self.tree.remove(parent, name.as_bytes()).ok_or_else(|| errno(libc::ENOENT))
    }

    async fn rmdir(&self, _: Request, parent: u64, name: &OsStr) -> FuseResult<()> {
        self.tree.remove(parent, name.as_bytes()).ok_or_else(|| errno(libc::ENOENT))
    }

    async fn open(&self, _: Request, inode: u64, _: u32) -> FuseResult<ReplyOpen> {
        const DIRECT_IO: u32 = 1;
        let direct = self.tree.node(inode).is_some_and(|node| node.is_direct());
        Ok(ReplyOpen { fh: 0, flags: if direct { DIRECT_IO } else { 0 } })
    }

    async fn read(&self, _: Request, inode: u64, _: u64, offset: u64, size: u32) -> FuseResult<ReplyData> {
        let length = self.tree.read(inode, offset, size).len();
        let from = usize::try_from(offset).unwrap_or(0) % tree::BLOCK;
        Ok(self.block.slice(from..from + length).into())
    }

    async fn write(&self, _: Request, _: u64, _: u64, _: u64, data: &[u8], _: u32, _: u32) -> FuseResult<ReplyWrite> {
        Ok(ReplyWrite { written: u32::try_from(data.len()).unwrap_or(u32::MAX) })
    }

    async fn release(&self, _: Request, _: u64, _: u64, _: u32, _: u64, _: bool) -> FuseResult<()> {
        Ok(())
    }

    async fn getxattr(&self, _: Request, _: u64, name: &OsStr, size: u32) -> FuseResult<ReplyXAttr> {
        if name.as_bytes() != tree::XATTR {
            return Err(errno(libc::ENODATA));
        }
        Ok(match size {
            0 => ReplyXAttr::Size(u32::try_from(tree::XATTR_VALUE.len()).unwrap_or(0)),
            _ => ReplyXAttr::Data(Bytes::from_static(tree::XATTR_VALUE)),
        })
    }

    async fn opendir(&self, _: Request, _: u64, _: u32) -> FuseResult<ReplyOpen> {
        Ok(ReplyOpen { fh: 0, flags: 0 })
    }

    async fn readdir<'a>(
        &'a self,
        _: Request,
        parent: u64,
        _: u64,
        offset: i64,
    ) -> FuseResult<ReplyDirectory<impl Stream<Item = FuseResult<DirectoryEntry>> + Send + 'a>> {
        let entries = self.entries(parent, u64::try_from(offset).unwrap_or(u64::MAX));
        let entries = entries
            .map(|(inode, offset, name)| Ok(DirectoryEntry { inode, kind: FileType::RegularFile, name, offset }));
        Ok(ReplyDirectory { entries: stream::iter(entries) })
    }

    async fn readdirplus<'a>(
        &'a self,
        _: Request,
        parent: u64,
        _: u64,
        offset: u64,
        _: u64,
    ) -> FuseResult<ReplyDirectoryPlus<impl Stream<Item = FuseResult<DirectoryEntryPlus>> + Send + 'a>> {
        let entries = self.entries(parent, offset).map(|(inode, offset, name)| {
            let node = self.tree.node(inode).ok_or_else(|| errno(libc::ENOENT))?;
            Ok(DirectoryEntryPlus {
                inode,
                generation: 0,
                kind: FileType::RegularFile,
                name,
                offset,
                attr: attr(&node),
                entry_ttl: node.entry_timeout,
                attr_ttl: node.attr_timeout,
            })
        });
        Ok(ReplyDirectoryPlus { entries: stream::iter(entries) })
    }
}
