//! The third program of the guide: directories, renaming, and files that live on while they are in use.
// ANCHOR: program
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fusewire::op::SetTime;
use fusewire::reply::Dirent;
use fusewire::{Attr, Context, Errno, FileType, Filesystem, Name, NodeId, op, reply, sink};
use fusewire_launch::{Command, run};

// ANCHOR_END: program
#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

// ANCHOR: program
const TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let command = Command::new("firstfs", env!("CARGO_PKG_VERSION")).about("Keeps a tree of files in memory");
    run(command, |_| Ok(Firstfs::default()))
}

// ANCHOR: node
/// A file or directory.
struct Node {
    attr: Attr,
    content: Content,
    /// The lookup count: how often the kernel was told of this node, less what it has forgotten.
    lookups: u64,
}

enum Content {
    File(Vec<u8>),
    Directory { parent: u64, entries: BTreeMap<Vec<u8>, u64> },
}

/// All nodes, by node id. An id is never used twice.
struct Tree {
    nodes: BTreeMap<u64, Node>,
    next_id: u64,
}

struct Firstfs {
    tree: Mutex<Tree>,
}
// ANCHOR_END: node

impl Default for Firstfs {
    fn default() -> Self {
        let content = Content::Directory { parent: 1, entries: BTreeMap::new() };
        let root = Node { attr: Attr::new(1, FileType::DIRECTORY, 0o755), content, lookups: 1 };
        // 1 and 2 are the offsets of `.` and `..` in listings.
        Self { tree: Mutex::new(Tree { nodes: BTreeMap::from([(1, root)]), next_id: 3 }) }
    }
}

impl Firstfs {
    fn lock(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(offset: u64) -> Result<usize, Errno> {
    usize::try_from(offset).map_err(|_| Errno::EFBIG)
}

impl Tree {
    fn node(&mut self, id: NodeId) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&id.0).ok_or(Errno::ENOENT)
    }

    fn text(&mut self, id: NodeId) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.node(id)?.content {
            Content::File(text) => Ok(text),
            Content::Directory { .. } => Err(Errno::EISDIR),
        }
    }

    fn entries(&mut self, id: NodeId) -> Result<&mut BTreeMap<Vec<u8>, u64>, Errno> {
        match &mut self.node(id)?.content {
            Content::Directory { entries, .. } => Ok(entries),
            Content::File(_) => Err(Errno::ENOTDIR),
        }
    }

    fn find(&mut self, parent: NodeId, name: &Name) -> Result<NodeId, Errno> {
        self.entries(parent)?.get(name.as_bytes()).copied().map(NodeId).ok_or(Errno::ENOENT)
    }

    // ANCHOR: entry
    /// An answer that names a node. Its lookup count is one more from now on.
    fn entry(&mut self, id: NodeId) -> Result<reply::Entry, Errno> {
        let node = self.node(id)?;
        node.lookups += 1;
        Ok(reply::Entry::new(id, node.attr, TIMEOUT))
    }

    /// Drops a node if it has no name and the kernel does not know it any more.
    fn drop_unused(&mut self, id: NodeId) {
        if self.nodes.get(&id.0).is_some_and(|node| node.attr.nlink == 0 && node.lookups == 0) {
            self.nodes.remove(&id.0);
        }
    }
    // ANCHOR_END: entry

    // ANCHOR: make
    /// Makes a node and gives it a name, for `mknod` and `mkdir`.
    fn make(
        &mut self,
        cx: &Context<'_>,
        parent: NodeId,
        name: &Name,
        kind: FileType,
        permissions: u32,
    ) -> Result<reply::Entry, Errno> {
        let id = self.next_id;
        let entries = self.entries(parent)?;
        if entries.contains_key(name.as_bytes()) {
            return Err(Errno::EEXIST);
        }
        entries.insert(name.as_bytes().to_vec(), id);
        self.next_id += 1;
        let mut attr = Attr::new(id, kind, permissions & 0o7777);
        attr.uid = cx.uid().unwrap_or_default();
        attr.gid = cx.gid().unwrap_or_default();
        attr.mtime = SystemTime::now().into();
        let content = match kind {
            FileType::DIRECTORY => Content::Directory { parent: parent.0, entries: BTreeMap::new() },
            _ => Content::File(Vec::new()),
        };
        self.nodes.insert(id, Node { attr, content, lookups: 0 });
        self.entry(NodeId(id))
    }
    // ANCHOR_END: make

    // ANCHOR: remove
    /// Whether this node may be removed, by somebody who takes it for a directory, or for a file.
    fn check_removable(&mut self, target: NodeId, directory: bool) -> Result<(), Errno> {
        match (&self.node(target)?.content, directory) {
            (Content::File(_), false) => Ok(()),
            (Content::File(_), true) => Err(Errno::ENOTDIR),
            (Content::Directory { .. }, false) => Err(Errno::EISDIR),
            (Content::Directory { entries, .. }, true) if entries.is_empty() => Ok(()),
            (Content::Directory { .. }, true) => Err(Errno::ENOTEMPTY),
        }
    }

    /// Takes a name away. The node goes at once, or later, when the kernel forgets it.
    fn remove(&mut self, parent: NodeId, name: &Name, directory: bool) -> Result<reply::Done, Errno> {
        let target = self.find(parent, name)?;
        self.check_removable(target, directory)?;
        self.entries(parent)?.remove(name.as_bytes());
        self.node(target)?.attr.nlink = 0;
        self.drop_unused(target);
        Ok(reply::Done)
    }
    // ANCHOR_END: remove
}

impl Filesystem for Firstfs {
    // ANCHOR: lookup
    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        let mut tree = self.lock();
        let id = tree.find(op.parent, op.name)?;
        tree.entry(id)
    }

    /// Sent when the kernel drops a node from its cache. There is no answer.
    fn forget(&self, _: &Context<'_>, op: op::Forget) {
        let mut tree = self.lock();
        if let Ok(node) = tree.node(op.node) {
            node.lookups = node.lookups.saturating_sub(op.nlookup);
        }
        tree.drop_unused(op.node);
    }
    // ANCHOR_END: lookup

    // ANCHOR: names
    fn mknod(&self, cx: &Context<'_>, op: op::Mknod<'_>) -> Result<reply::Entry, Errno> {
        match FileType::from_mode(op.mode) {
            FileType::REGULAR => self.lock().make(cx, op.parent, op.name, FileType::REGULAR, op.mode),
            _ => Err(Errno::EPERM),
        }
    }

    fn mkdir(&self, cx: &Context<'_>, op: op::Mkdir<'_>) -> Result<reply::Entry, Errno> {
        self.lock().make(cx, op.parent, op.name, FileType::DIRECTORY, op.mode)
    }

    fn unlink(&self, _: &Context<'_>, op: op::Unlink<'_>) -> Result<reply::Done, Errno> {
        self.lock().remove(op.parent, op.name, false)
    }

    fn rmdir(&self, _: &Context<'_>, op: op::Rmdir<'_>) -> Result<reply::Done, Errno> {
        self.lock().remove(op.parent, op.name, true)
    }
    // ANCHOR_END: names

    // ANCHOR: rename
    /// What has the new name already is replaced. The kernel has made sure that no directory moves into itself.
    fn rename(&self, _: &Context<'_>, op: op::Rename<'_>) -> Result<reply::Done, Errno> {
        let mut tree = self.lock();
        let moved = tree.find(op.parent, op.name)?;
        let directory = matches!(tree.node(moved)?.content, Content::Directory { .. });
        match tree.find(op.new_parent, op.new_name) {
            Ok(target) if target == moved => return Ok(reply::Done),
            Ok(_) => drop(tree.remove(op.new_parent, op.new_name, directory)?),
            Err(_) => {}
        }
        tree.entries(op.new_parent)?.insert(op.new_name.as_bytes().to_vec(), moved.0);
        tree.entries(op.parent)?.remove(op.name.as_bytes());
        if let Content::Directory { parent, .. } = &mut tree.node(moved)?.content {
            *parent = op.new_parent.0;
        }
        Ok(reply::Done)
    }
    // ANCHOR_END: rename

    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        Ok(reply::Attributes::new(self.lock().node(op.node)?.attr, TIMEOUT))
    }

    fn setattr(&self, _: &Context<'_>, op: op::Setattr) -> Result<reply::Attributes, Errno> {
        let mut tree = self.lock();
        if let Some(size) = op.size {
            tree.text(op.node)?.resize(place(size)?, 0);
        }
        let attr = &mut tree.node(op.node)?.attr;
        if let Some(mode) = op.mode {
            attr.mode = attr.file_type().mode_bits() | mode & 0o7777;
        }
        attr.size = op.size.unwrap_or(attr.size);
        attr.uid = op.uid.unwrap_or(attr.uid);
        attr.gid = op.gid.unwrap_or(attr.gid);
        match op.mtime {
            Some(SetTime::At(time)) => attr.mtime = time,
            None if op.size.is_none() => {}
            _ => attr.mtime = SystemTime::now().into(),
        }
        Ok(reply::Attributes::new(*attr, TIMEOUT))
    }

    fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        out.put(self.lock().text(op.node)?.get(place(op.offset)?..).unwrap_or_default());
        Ok(())
    }

    fn write(&self, _: &Context<'_>, op: op::Write<'_>) -> Result<reply::Written, Errno> {
        let size = u32::try_from(op.data.len()).map_err(|_| Errno::EINVAL)?;
        let end = op.offset.checked_add(u64::from(size)).ok_or(Errno::EFBIG)?;
        let mut tree = self.lock();
        let text = tree.text(op.node)?;
        text.resize(place(end)?.max(text.len()), 0);
        text.get_mut(place(op.offset)?..place(end)?).ok_or(Errno::EIO)?.copy_from_slice(op.data);
        let attr = &mut tree.node(op.node)?.attr;
        attr.size = attr.size.max(end);
        attr.mtime = SystemTime::now().into();
        Ok(reply::Written { size })
    }

    fn readdir(&self, _: &Context<'_>, op: op::Readdir, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
        let tree = self.lock();
        let Some(Node { content: Content::Directory { parent, entries }, .. }) = tree.nodes.get(&op.node.0) else {
            return Err(Errno::ENOTDIR);
        };
        // In the order of node ids, which are the offsets, too. These stay right when names come and go between two calls.
        let mut list: Vec<(u64, u64, &[u8])> = entries.iter().map(|(name, id)| (*id, *id, name.as_slice())).collect();
        list.extend([(1, op.node.0, ".".as_bytes()), (2, *parent, "..".as_bytes())]);
        list.sort_unstable();
        for (offset, id, name) in list.into_iter().filter(|(offset, ..)| *offset > op.offset) {
            let kind = tree.nodes.get(&id).map_or(FileType::UNKNOWN, |node| node.attr.file_type());
            let name = Name::new(name).map_err(|_| Errno::EIO)?;
            if out.push(&Dirent::new(id, offset, kind, name)).is_err() {
                break;
            }
        }
        Ok(())
    }
}
// ANCHOR_END: program
