//! The tree, served by this library.
//!
//! Shared by the server of the comparisons and by the criterion benches.

use std::path::Path;

use fusewire::init::InitFlags;
use fusewire::mount::MountOptions;
use fusewire::{
    Attr, Context, Errno, FileHandle, FileType, Filesystem, Manner, Mounted, Name, NodeId, OpenedFlags, SessionConfig,
    Wishes, op, reply, sink,
};

use crate::tree::{self, Node, Tree};

/// What every server asks of the kernel, as far as its library can.
const FLAGS: InitFlags = InitFlags::ASYNC_READ
    .union(InitFlags::BIG_WRITES)
    .union(InitFlags::MAX_PAGES)
    .union(InitFlags::ATOMIC_O_TRUNC)
    .union(InitFlags::PARALLEL_DIROPS);

/// The tree as a filesystem.
#[derive(Debug)]
pub struct Table {
    tree: Tree,
    manner: Manner,
}

impl Table {
    /// The tree, by a filesystem that says this of itself. It never blocks, but most do not say so.
    #[must_use]
    pub fn new(manner: Manner) -> Self {
        Self { tree: Tree::default(), manner }
    }
}

impl Default for Table {
    /// As filesystems are that say nothing.
    fn default() -> Self {
        Self::new(Manner::AtOnce)
    }
}

/// Mounts the tree.
///
/// # Errors
/// It cannot be mounted.
pub fn mount(mountpoint: &Path, manner: Manner, config: SessionConfig) -> Result<Mounted, fusewire::Error> {
    fusewire::mount(Table::new(manner), mountpoint, &MountOptions::new().subtype("fusewire-table"), config)
}

#[inline]
fn attr(node: &Node) -> Attr {
    let kind = if node.directory { FileType::DIRECTORY } else { FileType::REGULAR };
    let mut attr = Attr::new(node.id, kind, u32::from(node.permissions()));
    attr.size = node.size;
    attr.blocks = node.size.div_ceil(512);
    attr.blksize = 4096;
    attr
}

#[inline]
fn entry(node: &Node) -> reply::Entry {
    let mut entry = reply::Entry::new(NodeId(node.id), attr(node), node.entry_timeout);
    entry.attr_timeout = node.attr_timeout;
    entry
}

impl Table {
    #[inline]
    fn node(&self, id: NodeId) -> Result<Node, Errno> {
        self.tree.node(id.0).ok_or(Errno::ENOENT)
    }

    #[inline]
    fn make(&self, parent: NodeId, name: &Name) -> Result<reply::Entry, Errno> {
        self.tree.make(parent.0, name.as_bytes()).map(|node| entry(&node)).ok_or(Errno::EPERM)
    }

    #[inline]
    fn remove(&self, parent: NodeId, name: &Name) -> Result<reply::Done, Errno> {
        self.tree.remove(parent.0, name.as_bytes()).map(|()| reply::Done).ok_or(Errno::ENOENT)
    }
}

impl Filesystem for Table {
    fn manner(&self) -> Manner {
        self.manner
    }

    fn init(&self, _: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
        wishes.wanted = FLAGS;
        wishes.max_write = tree::MAX_WRITE;
        wishes.max_background = tree::MAX_BACKGROUND;
        wishes.congestion_threshold = Some(tree::CONGESTION);
        Ok(())
    }

    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        self.tree.lookup(op.parent.0, op.name.as_bytes()).map(|node| entry(&node)).ok_or(Errno::ENOENT)
    }

    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        let node = self.node(op.node)?;
        Ok(reply::Attributes::new(attr(&node), node.attr_timeout))
    }

    fn setattr(&self, _: &Context<'_>, op: op::Setattr) -> Result<reply::Attributes, Errno> {
        let node = self.node(op.node)?;
        Ok(reply::Attributes::new(attr(&node), node.attr_timeout))
    }

    fn mkdir(&self, _: &Context<'_>, op: op::Mkdir<'_>) -> Result<reply::Entry, Errno> {
        self.make(op.parent, op.name)
    }

    fn create(&self, _: &Context<'_>, op: op::Create<'_>) -> Result<reply::Created, Errno> {
        Ok(reply::Created::new(self.make(op.parent, op.name)?, reply::Opened::new(FileHandle(0))))
    }

    fn unlink(&self, _: &Context<'_>, op: op::Unlink<'_>) -> Result<reply::Done, Errno> {
        self.remove(op.parent, op.name)
    }

    fn rmdir(&self, _: &Context<'_>, op: op::Rmdir<'_>) -> Result<reply::Done, Errno> {
        self.remove(op.parent, op.name)
    }

    fn open(&self, _: &Context<'_>, op: op::Open) -> Result<reply::Opened, Errno> {
        let node = self.node(op.node)?;
        let flags = if node.is_direct() { OpenedFlags::DIRECT_IO } else { OpenedFlags::empty() };
        Ok(reply::Opened::new(FileHandle(0)).with_flags(flags))
    }

    fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        out.lend(self.tree.read(op.node.0, op.offset, op.size));
        Ok(())
    }

    fn write(&self, _: &Context<'_>, op: op::Write<'_>) -> Result<reply::Written, Errno> {
        Ok(reply::Written { size: u32::try_from(op.data.len()).unwrap_or(u32::MAX) })
    }

    fn getxattr(&self, _: &Context<'_>, op: op::Getxattr<'_>, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        if op.name.as_bytes() == tree::XATTR { out.value(tree::XATTR_VALUE) } else { Err(Errno::ENODATA) }
    }

    fn opendir(&self, _: &Context<'_>, _: op::Opendir) -> Result<reply::Opened, Errno> {
        Ok(reply::Opened::new(FileHandle(0)))
    }

    fn readdir(&self, _: &Context<'_>, op: op::Readdir, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
        for (ino, offset, name) in self.tree.entries(op.node.0, op.offset) {
            let name = Name::new(name).map_err(|_| Errno::EIO)?;
            if out.push(&reply::Dirent::new(ino, offset, FileType::REGULAR, name)).is_err() {
                break;
            }
        }
        Ok(())
    }
}
