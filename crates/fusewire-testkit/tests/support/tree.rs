//! A filesystem in memory with everything that the testkit looks at, and one flaw at a time.
//!
//! Written for clarity: one lock around everything, and nothing is fast.

mod operations;

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::state::{Content, Held, Node, State, conflict};
use fusewire::op::{FileLock, LockKind};
use fusewire::reply::{self, Entry};
use fusewire::{Attr, Context, Errno, FileHandle, FileType, Gid, Name, NodeId, RenameFlags, Uid};

/// What is wrong with the filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// A wait for a lock does not end by an interrupt.
    IgnoresInterrupts,
    /// Entries have their position as offset, which changes when others go, and begins with 0.
    ZeroOffset,
    /// Listing goes on one entry too late.
    SkipsOnResume,
    /// Entries of directories are announced as regular files.
    WrongDirentType,
    /// `MKDIR` makes a regular file.
    MakesFiles,
    /// A write says that it wrote one byte more.
    WritesMore,
    /// Each `GETATTR` shows another inode number.
    UnstableIno,
    /// Times have a billion nanoseconds.
    LongNanoseconds,
    /// Extended attributes are announced one byte too short.
    ShortXattr,
    /// Nodes have the id 0.
    NodeZero,
    /// `GETLK` answers a range that is upside down.
    UpsideDownLock,
    /// Names are listed twice.
    ListsTwice,
    /// Files shrink to nothing when they are renamed. No law of the protocol forbids that.
    RenameEmpties,
}

pub(crate) struct Tree {
    flaw: Flaw,
    state: Mutex<State>,
    /// Rings when a lock is given back or a wait is interrupted.
    bell: Arc<Condvar>,
}

/// An entry of a directory: name, offset, node, type.
type Listed = (Vec<u8>, u64, u64, FileType);

const TIMEOUT: Duration = Duration::from_secs(1);

impl Tree {
    pub(crate) fn new(flaw: Flaw) -> Self {
        let mut root = Node::new(FileType::DIRECTORY, 0o755, 1, 0);
        if let Content::Directory { parent, .. } = &mut root.content {
            *parent = 1;
        }
        let state = State {
            nodes: HashMap::from([(1, root)]),
            next_node: 2,
            handles: HashMap::new(),
            next_handle: 1,
            clock: 0,
            queries: 0,
        };
        Self { flaw, state: Mutex::new(state), bell: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn count_nodes(&self) -> u64 {
        let state = self.lock();
        state.nodes.iter().filter(|(id, node)| **id != 1 && node.lookups > 0).count().try_into().unwrap()
    }

    pub(crate) fn count_handles(&self) -> u64 {
        self.lock().handles.len().try_into().unwrap()
    }

    fn make(&self, cx: &Context<'_>, parent: NodeId, name: &Name, mut node: Node) -> Result<Entry, Errno> {
        let mut state = self.lock();
        let now = state.now();
        if state.entries(parent.0)?.contains_key(name.as_bytes()) {
            return Err(Errno::EEXIST);
        }
        if state.node(parent.0)?.attr.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        let id = state.next_node;
        state.next_node += 1;
        node.attr.ino = id;
        node.attr.uid = cx.uid().unwrap_or(Uid(0));
        node.attr.gid = cx.gid().unwrap_or(Gid(0));
        (node.attr.atime, node.attr.mtime, node.attr.ctime) = (now, now, now);
        if let Content::Directory { parent: above, .. } = &mut node.content {
            *above = parent.0;
            node.attr.nlink = 2;
            state.node(parent.0)?.attr.nlink += 1;
        }
        node.lookups = 1;
        let attr = node.attr;
        state.nodes.insert(id, node);
        state.insert(parent.0, name.as_bytes(), id)?;
        Ok(self.entry(id, attr))
    }

    fn entry(&self, id: u64, attr: Attr) -> Entry {
        let id = if self.flaw == Flaw::NodeZero { 0 } else { id };
        Entry::new(NodeId(id), self.shown(attr), TIMEOUT)
    }

    fn shown(&self, mut attr: Attr) -> Attr {
        if self.flaw == Flaw::LongNanoseconds {
            attr.mtime.nanoseconds = 1_000_000_000;
        }
        attr
    }

    fn attributes(&self, attr: Attr) -> reply::Attributes {
        reply::Attributes::new(self.shown(attr), TIMEOUT)
    }

    fn take_back(&self, node: NodeId, count: u64) {
        let mut state = self.lock();
        if let Some(found) = state.nodes.get_mut(&node.0) {
            found.lookups = found.lookups.saturating_sub(count);
        }
        state.collect(node.0);
    }

    fn do_rename(&self, from: (NodeId, &Name), to: (NodeId, &Name), flags: RenameFlags) -> Result<(), Errno> {
        let mut state = self.lock();
        let source = state.child(from.0.0, from.1.as_bytes())?;
        let target = state.child(to.0.0, to.1.as_bytes()).ok();
        if flags.contains(RenameFlags::NOREPLACE) && target.is_some() {
            return Err(Errno::EEXIST);
        }
        if flags.contains(RenameFlags::WHITEOUT) {
            return Err(Errno::EINVAL);
        }
        if state.is_below(to.0.0, source) {
            return Err(Errno::EINVAL);
        }
        if flags.contains(RenameFlags::EXCHANGE) {
            let target = target.ok_or(Errno::ENOENT)?;
            if state.is_below(from.0.0, target) {
                return Err(Errno::EINVAL);
            }
            state.remove(from.0.0, from.1.as_bytes())?;
            state.remove(to.0.0, to.1.as_bytes())?;
            state.insert(to.0.0, to.1.as_bytes(), source)?;
            state.insert(from.0.0, from.1.as_bytes(), target)?;
            state.moved(source, from.0.0, to.0.0)?;
            state.moved(target, to.0.0, from.0.0)?;
            return Ok(());
        }
        if let Some(target) = target {
            if target == source {
                return Ok(());
            }
            let (is_dir, over_dir) = (state.node(source)?.is_dir(), state.node(target)?.is_dir());
            if over_dir && !is_dir {
                return Err(Errno::EISDIR);
            }
            if is_dir && !over_dir {
                return Err(Errno::ENOTDIR);
            }
            state.unlink(to.0.0, to.1.as_bytes(), over_dir)?;
        }
        state.remove(from.0.0, from.1.as_bytes())?;
        state.insert(to.0.0, to.1.as_bytes(), source)?;
        state.moved(source, from.0.0, to.0.0)?;
        if self.flaw == Flaw::RenameEmpties {
            if let Content::Data(data) = &mut state.node(source)?.content {
                data.clear();
            }
            state.node(source)?.attr.size = 0;
        }
        Ok(())
    }

    fn open_handle(&self, state: &mut State, node: NodeId) -> FileHandle {
        let handle = state.next_handle;
        state.next_handle += 1;
        state.handles.insert(handle, node.0);
        if let Some(node) = state.nodes.get_mut(&node.0) {
            node.opens += 1;
        }
        FileHandle(handle)
    }

    fn close_handle(&self, handle: FileHandle) {
        let mut state = self.lock();
        if let Some(id) = state.handles.remove(&handle.0) {
            if let Some(node) = state.nodes.get_mut(&id) {
                node.opens -= 1;
            }
            state.collect(id);
        }
    }

    fn drop_locks(&self, node: NodeId, gone: impl Fn(&Held) -> bool) {
        if let Some(node) = self.lock().nodes.get_mut(&node.0) {
            node.locks.retain(|held| !gone(held));
        }
        self.bell.notify_all();
    }

    /// The entries of a directory behind `offset`.
    fn list(&self, node: NodeId, offset: u64) -> Result<Vec<Listed>, Errno> {
        let mut state = self.lock();
        let Content::Directory { entries, parent, .. } = &state.node(node.0)?.content else {
            return Err(Errno::ENOTDIR);
        };
        let mut all = vec![(b".".to_vec(), 1, node.0), (b"..".to_vec(), 2, *parent)];
        all.extend(entries.iter().map(|(name, (offset, id))| (name.clone(), *offset, *id)));
        all.sort_by_key(|(_, offset, _)| *offset);
        if self.flaw == Flaw::ListsTwice && all.len() > 2 {
            let mut again = all[2].clone();
            again.1 = 1_000_000;
            all.push(again);
        }
        let mut all: Vec<_> = all
            .into_iter()
            .map(|(name, offset, id)| {
                let kind = state.node(id).map_or(FileType::DIRECTORY, |node| node.attr.file_type());
                let wrong = self.flaw == Flaw::WrongDirentType && kind == FileType::DIRECTORY;
                (name, offset, id, if wrong { FileType::REGULAR } else { kind })
            })
            .filter(|(_, at, ..)| *at > offset)
            .collect();
        if self.flaw == Flaw::SkipsOnResume && offset > 2 && !all.is_empty() {
            all.remove(0);
        }
        if self.flaw == Flaw::ZeroOffset && offset == 0 {
            all.iter_mut().take(1).for_each(|first| first.1 = 0);
        }
        Ok(all)
    }

    fn try_lock(&self, state: &mut State, node: NodeId, wanted: Held) -> Result<(), Errno> {
        let node = state.node(node.0)?;
        if wanted.lock.kind != LockKind::UNLOCK && conflict(&node.locks, wanted).is_some() {
            return Err(Errno::EAGAIN);
        }
        let mut rest = Vec::new();
        node.locks.retain(|held| {
            let (old, new) = (held.lock, wanted.lock);
            if held.owner != wanted.owner || held.flock != wanted.flock || old.end < new.start || new.end < old.start {
                return true;
            }
            if old.start < new.start {
                rest.push(Held { lock: FileLock { end: new.start - 1, ..old }, ..*held });
            }
            if old.end > new.end {
                rest.push(Held { lock: FileLock { start: new.end + 1, ..old }, ..*held });
            }
            false
        });
        node.locks.append(&mut rest);
        if wanted.lock.kind != LockKind::UNLOCK {
            node.locks.push(wanted);
        }
        self.bell.notify_all();
        Ok(())
    }
}
