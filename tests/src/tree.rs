//! A small filesystem in memory that serves every operation, so that each of them can be seen arriving. It is strict
//! about nothing that the kernel checks, and no example of how to write a filesystem.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fusewire::{
    Attr, Context, Errno, FileHandle, FileType, Gid, InitFlags, LockOwner, Negotiated, NodeId, Notifier, OpenedFlags,
    PollEvents, PollHandle, Timestamp, Uid, Wishes,
};

mod serve;

/// Longer than any test.
pub const HOUR: Duration = Duration::from_secs(3600);

/// When all files were made.
pub(crate) const BORN: Timestamp = Timestamp::new(1_000_000_000, 5);

/// How a [`Tree`] answers, where that matters to what the kernel sends.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How long names and attributes may be believed.
    pub timeout: Duration,
    /// How long a name may be believed missing; `None` answers with an error instead.
    pub negative: Option<Duration>,
    /// The flags of every file that is opened.
    pub opened: OpenedFlags,
    /// Capabilities to ask for beside the usual.
    pub require: InitFlags,
}

impl Default for Config {
    fn default() -> Self {
        Self { timeout: HOUR, negative: None, opened: OpenedFlags::empty(), require: InitFlags::empty() }
    }
}

impl Config {
    /// The usual, with these capabilities.
    pub fn require(flags: InitFlags) -> Self {
        Self { require: flags, ..Self::default() }
    }

    /// The usual, with these flags for every file that is opened.
    pub fn opened(flags: OpenedFlags) -> Self {
        Self { opened: flags, ..Self::default() }
    }

    /// The usual, but nothing is believed for any time.
    pub fn forgetful() -> Self {
        Self { timeout: Duration::ZERO, ..Self::default() }
    }
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Directory(BTreeMap<Vec<u8>, NodeId>),
    File(Vec<u8>),
    Link(Vec<u8>),
    Special,
}

/// A file or directory.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    attr: Attr,
    body: Body,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What `FS_IOC_SETFLAGS` set.
    flags: u64,
}

/// All that changes.
#[derive(Debug, Default)]
pub(crate) struct State {
    nodes: BTreeMap<NodeId, Node>,
    handles: u64,
    /// Who holds the exclusive lock of a node.
    locks: BTreeMap<NodeId, LockOwner>,
    ready: PollEvents,
    poller: Option<PollHandle>,
    notifier: Option<Notifier>,
}

/// A tree of files in memory. It begins with `file` (node 2), `dir` (3), `dir/inner` (4) and `link` (5).
#[derive(Debug)]
pub struct Tree {
    config: Config,
    shared: Arc<Shared>,
}

/// What interrupts must reach, too.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Rings when a lock is given back, and when somebody waits for one in vain.
    unlocked: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tree {
    /// What `file` holds.
    pub const CONTENT: &'static [u8] = b"twenty bytes of text";

    /// The node of `file`.
    pub const FILE: NodeId = NodeId(2);
    /// The node of `dir`.
    pub const DIR: NodeId = NodeId(3);
    /// The node of `dir/inner`.
    pub const INNER: NodeId = NodeId(4);
    /// The node of `link`, which points to `file`.
    pub const LINK: NodeId = NodeId(5);

    /// A new tree.
    pub fn new(config: Config) -> Self {
        let tree = Self { config, shared: Arc::default() };
        let mut state = tree.state();
        let directory = || Body::Directory(BTreeMap::new());
        state.nodes.insert(NodeId::ROOT, Node::new(NodeId::ROOT, FileType::DIRECTORY, 0o777, directory()));
        let content = || Body::File(Self::CONTENT.to_vec());
        state.add(NodeId::ROOT, b"file", FileType::REGULAR, 0o666, content());
        let dir = state.add(NodeId::ROOT, b"dir", FileType::DIRECTORY, 0o777, directory());
        state.add(dir, b"inner", FileType::REGULAR, 0o666, content());
        state.add(NodeId::ROOT, b"link", FileType::SYMLINK, 0o777, Body::Link(b"file".to_vec()));
        drop(state);
        tree
    }

    /// Changes what `file` holds, behind the kernel's back.
    pub fn replace(&self, node: NodeId, content: &[u8]) {
        if let Some(node) = self.state().nodes.get_mut(&node) {
            node.body = Body::File(content.to_vec());
            node.attr.size = content.len() as u64;
        }
    }

    /// Says that a file is so long, whatever it holds.
    pub fn claim_size(&self, node: NodeId, size: u64) {
        if let Some(node) = self.state().nodes.get_mut(&node) {
            node.attr.size = size;
        }
    }

    /// What a file holds.
    pub fn content(&self, node: NodeId) -> Option<Vec<u8>> {
        match &self.state().nodes.get(&node)?.body {
            Body::File(content) => Some(content.clone()),
            _ => None,
        }
    }

    /// Makes all files ready for these events, and tells who polls.
    ///
    /// # Errors
    /// Telling failed.
    pub fn make_ready(&self, events: PollEvents) -> Result<(), Errno> {
        let mut state = self.state();
        state.ready = events;
        let told = state.poller.take().zip(state.notifier.clone());
        drop(state);
        told.map_or(Ok(()), |(handle, notifier)| notifier.poll(handle))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    fn wishes(&self, wishes: &mut Wishes) {
        wishes.require(self.config.require);
    }

    fn ready(&self, _: &Negotiated, notifier: &Notifier) {
        self.state().notifier = Some(notifier.clone());
    }
}

impl Node {
    fn new(id: NodeId, kind: FileType, permissions: u32, body: Body) -> Self {
        let mut attr = Attr::new(id.0, kind, permissions);
        // Whoever mounts owns everything.
        (attr.uid, attr.gid) = (Uid(nix::unistd::geteuid().as_raw()), Gid(nix::unistd::getegid().as_raw()));
        (attr.atime, attr.mtime, attr.ctime) = (BORN, BORN, BORN);
        if let Body::File(content) | Body::Link(content) = &body {
            attr.size = content.len() as u64;
        }
        Self { attr, body, xattrs: BTreeMap::new(), flags: 0 }
    }
}

impl State {
    fn node(&mut self, id: NodeId) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&id).ok_or(Errno::ESTALE)
    }

    fn directory(&mut self, id: NodeId) -> Result<&mut BTreeMap<Vec<u8>, NodeId>, Errno> {
        match &mut self.node(id)?.body {
            Body::Directory(names) => Ok(names),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn file(&mut self, id: NodeId) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.node(id)?.body {
            Body::File(content) => Ok(content),
            _ => Err(Errno::EISDIR),
        }
    }

    fn find(&mut self, parent: NodeId, name: &[u8]) -> Result<NodeId, Errno> {
        self.directory(parent)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// Makes a node without a name.
    fn make(&mut self, kind: FileType, permissions: u32, body: Body) -> NodeId {
        let id = NodeId(self.nodes.len() as u64 + 1);
        self.nodes.insert(id, Node::new(id, kind, permissions, body));
        id
    }

    fn add(&mut self, parent: NodeId, name: &[u8], kind: FileType, permissions: u32, body: Body) -> NodeId {
        let id = self.make(kind, permissions, body);
        self.directory(parent).expect("the parent is there").insert(name.to_vec(), id);
        id
    }

    /// Makes a node for a caller.
    fn create(
        &mut self,
        cx: &Context<'_>,
        parent: NodeId,
        name: &[u8],
        mode: u32,
        body: Body,
    ) -> Result<NodeId, Errno> {
        if self.directory(parent)?.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let id = self.add(parent, name, FileType::from_mode(mode), mode & 0o7777, body);
        self.node(id)?.attr.uid = cx.uid().unwrap_or(Uid(0));
        Ok(id)
    }

    fn resize(&mut self, id: NodeId, size: usize) -> Result<(), Errno> {
        self.file(id)?.resize(size, 0);
        self.node(id)?.attr.size = size as u64;
        Ok(())
    }

    fn write(&mut self, id: NodeId, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let start = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
        let end = start.checked_add(data.len()).ok_or(Errno::EFBIG)?;
        if self.file(id)?.len() < end {
            self.resize(id, end)?;
        }
        self.file(id)?.get_mut(start..end).ok_or(Errno::EFBIG)?.copy_from_slice(data);
        Ok(())
    }

    fn read(&mut self, id: NodeId, offset: u64, size: usize) -> Result<&[u8], Errno> {
        let content = self.file(id)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let end = start.saturating_add(size).min(content.len());
        content.get(start..end).ok_or(Errno::EIO)
    }

    /// A number for an open file.
    fn handle(&mut self) -> FileHandle {
        self.handles += 1;
        FileHandle(0xf000 + self.handles)
    }
}
