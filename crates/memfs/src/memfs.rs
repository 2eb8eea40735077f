//! The filesystem itself: its nodes and its room, and the methods that the kernel's requests come to.
//!
//! What the methods do is in the modules by what they are about: `names`, `renames`, `files`, `attributes`, `listing`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fusewire::{
    Attr, Context, Errno, FileHandle, FileType, Filesystem, InitFlags, LookAhead, Manner, NodeId, OpenedFlags,
    Timestamp, Wishes, op, reply, sink,
};
use hashbrown::DefaultHashBuilder;

use crate::directory::Directory;
use crate::node::{Body, Node, SHORT_TARGET, State, now};
use crate::options::{AccessTimes, Options};
use crate::space::{BLOCK, Space};
use crate::table::Table;

/// How long the kernel may believe answers: nothing changes but through it. Some 34 years.
pub(crate) const FOREVER: Duration = Duration::from_secs(1 << 30);
/// The longest name, in bytes.
pub(crate) const LONGEST_NAME: usize = 255;
/// With `relatime`, seconds after which an access is noted in any case.
const DAY: i64 = 24 * 3600;

/// A filesystem in memory.
///
/// It leaves permissions to the kernel: mount it with `default_permissions`. Locks are the kernel's, too.
#[derive(Debug)]
pub struct MemFs {
    pub(crate) nodes: Table,
    pub(crate) space: Space,
    pub(crate) hasher: DefaultHashBuilder,
    /// Held by renames, so that no directory moves while another does.
    pub(crate) renames: Mutex<()>,
    pub(crate) look_ahead: LookAhead,
    access_times: AccessTimes,
    last_id: AtomicU64,
    /// Called when much memory was freed.
    relief: fn(),
}

impl MemFs {
    /// An empty filesystem.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let hasher = DefaultHashBuilder::default();
        let directory = Box::new(Directory::new(NodeId::ROOT.0, hasher.clone()));
        let state = State::new(options.mode & 0o7777, options.uid, options.gid, Body::Directory(directory));
        let root = Arc::new(Node::new(NodeId::ROOT.0, FileType::DIRECTORY, 0, state));
        let nodes = Table::new();
        nodes.insert(root);
        let space = Space::new(options.size.div_ceil(BLOCK), options.inodes);
        // The root counts, as in tmpfs; a filesystem without room for it has room for nothing else.
        let _ = space.take_inode();
        Self {
            nodes,
            space,
            look_ahead: LookAhead::default(),
            hasher,
            renames: Mutex::default(),
            access_times: options.access_times,
            last_id: AtomicU64::new(NodeId::ROOT.0),
            relief: || {},
        }
    }

    /// The same, which calls `relief` whenever many files are gone: as many as there still are, and some thousands at least. An
    /// allocator that keeps what was freed can be told then to give it back to the system.
    #[must_use]
    pub fn with_relief(mut self, relief: fn()) -> Self {
        self.relief = relief;
        self
    }

    /// How many nodes the kernel knows, the root not counted: those that it looked up and has not forgotten.
    #[must_use]
    pub fn known_nodes(&self) -> usize {
        let known = |node: &Arc<Node>| node.id() != NodeId::ROOT.0 && node.is_looked_up();
        self.nodes.all().iter().filter(|node| known(node)).count()
    }

    /// An id that no node has had.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Gives a node back if it has no name and the kernel does not know it. No lock may be held.
    pub(crate) fn reap(&self, node: &Node) {
        // Whoever takes the last lookup back looks at the links afterwards, and whoever takes the last link at the lookups; the lock
        // of the node is between the two, so that one of them sees both gone.
        if node.is_looked_up() || node.read().nlink != 0 {
            return;
        }
        if self.nodes.remove(node.id()).is_some() {
            self.dismantle(node);
        }
    }

    /// Gives back what a node counts for.
    fn dismantle(&self, node: &Node) {
        let mut state = node.write();
        match std::mem::replace(&mut state.body, Body::Gone) {
            Body::File(mut contents) => contents.dismantle(&self.space),
            Body::Symlink(target) if target.len() > SHORT_TARGET => self.space.give_blocks(1),
            _ => {}
        }
        if let Some(mut xattrs) = state.xattrs.take() {
            xattrs.dismantle(&self.space);
        }
        drop(state);
        if self.space.give_inode() {
            (self.relief)();
        }
    }

    /// Whether a read now is to be noted in the access time.
    pub(crate) fn wants_access_time(&self, state: &State) -> bool {
        let day_old = |time: Timestamp| now().seconds.saturating_sub(time.seconds) >= DAY;
        match self.access_times {
            AccessTimes::Never => false,
            AccessTimes::Always => true,
            AccessTimes::Relative => state.atime <= state.mtime || state.atime <= state.ctime || day_old(state.atime),
        }
    }
}

impl Drop for MemFs {
    fn drop(&mut self) {
        // Directories hold what is in them: taken apart one by one, a deep tree needs no deep stack.
        for node in self.nodes.all() {
            node.write().body = Body::Gone;
        }
    }
}

/// How long the kernel may believe attributes. Writing takes suid and sgid away, and the kernel does not look at the mode after
/// that, but executing must: then it asks first (`fs/fuse/dir.c fuse_permission()`).
fn believed_for(attr: &Attr) -> Duration {
    let privileged = attr.mode & (libc::S_ISUID | libc::S_ISGID) != 0 && attr.file_type() != FileType::DIRECTORY;
    if privileged { Duration::ZERO } else { FOREVER }
}

/// An entry that the kernel may believe for good.
pub(crate) fn entry(attr: Attr) -> reply::Entry {
    let mut entry = reply::Entry::new(NodeId(attr.ino), attr, FOREVER);
    entry.attr_timeout = believed_for(&attr);
    entry
}

fn attributes(attr: Attr) -> reply::Attributes {
    reply::Attributes::new(attr, believed_for(&attr))
}

/// A file that was made and needs no handle.
fn created(attr: Attr) -> reply::Created {
    let opened = reply::Opened::new(FileHandle(0)).with_flags(OpenedFlags::KEEP_CACHE);
    reply::Created::new(entry(attr), opened)
}

/// Open files need no handle: a node lives until it is forgotten. So `open`, `opendir`, `release`, `flush` and `fsync` are left to
/// the defaults, and the kernel stops asking.
impl Filesystem for MemFs {
    fn manner(&self) -> Manner {
        Manner::NeverBlocks
    }

    fn init(&self, _: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
        // Without OPEN, the kernel would truncate only what it has cached (fs/fuse/dir.c fuse_setattr()).
        wishes.refuse(InitFlags::ATOMIC_O_TRUNC);
        // Nobody else changes the data.
        wishes.refuse(InitFlags::AUTO_INVAL_DATA);
        wishes.want(InitFlags::EXPLICIT_INVAL_DATA);
        // The umask does not count where a default ACL does.
        wishes.require(InitFlags::DONT_MASK);
        wishes.want(InitFlags::POSIX_ACL | InitFlags::SETXATTR_EXT | InitFlags::HANDLE_KILLPRIV_V2);
        wishes.want(InitFlags::CACHE_SYMLINKS | InitFlags::DO_READDIRPLUS | InitFlags::READDIRPLUS_AUTO);
        wishes.want(InitFlags::EXPORT_SUPPORT | InitFlags::SECURITY_CTX);
        Ok(())
    }

    fn destroy(&self) {
        for node in self.nodes.all() {
            node.forget_all();
            self.reap(&node);
        }
    }

    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        self.look_up(op.parent, op.name)
    }

    fn forget(&self, _: &Context<'_>, op: op::Forget) {
        if let Ok(node) = self.nodes.find(op.node) {
            node.forget(op.nlookup);
            self.reap(&node);
        }
    }

    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        Ok(attributes(self.nodes.find(op.node)?.attributes()))
    }

    fn statx(&self, _: &Context<'_>, op: op::Statx) -> Result<reply::StatxReply, Errno> {
        let node = self.nodes.find(op.node)?;
        Ok(reply::StatxReply::new(node.statx(), believed_for(&node.attributes())))
    }

    fn setattr(&self, cx: &Context<'_>, op: op::Setattr) -> Result<reply::Attributes, Errno> {
        self.set_attributes(cx, &op).map(attributes)
    }

    fn readlink(&self, _: &Context<'_>, op: op::Readlink, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        self.read_link(op.node, out)
    }

    fn symlink(&self, cx: &Context<'_>, op: op::Symlink<'_>) -> Result<reply::Entry, Errno> {
        self.make_link_to(cx, &op).map(entry)
    }

    fn mknod(&self, cx: &Context<'_>, op: op::Mknod<'_>) -> Result<reply::Entry, Errno> {
        self.make_node(cx, &op).map(entry)
    }

    fn mkdir(&self, cx: &Context<'_>, op: op::Mkdir<'_>) -> Result<reply::Entry, Errno> {
        self.make_directory(cx, &op).map(entry)
    }

    fn create(&self, cx: &Context<'_>, op: op::Create<'_>) -> Result<reply::Created, Errno> {
        self.make_file(cx, &op).map(created)
    }

    fn tmpfile(&self, cx: &Context<'_>, op: op::Tmpfile) -> Result<reply::Created, Errno> {
        self.make_nameless(cx, &op).map(created)
    }

    fn unlink(&self, _: &Context<'_>, op: op::Unlink<'_>) -> Result<reply::Done, Errno> {
        self.remove_file(op.parent, op.name)
    }

    fn rmdir(&self, _: &Context<'_>, op: op::Rmdir<'_>) -> Result<reply::Done, Errno> {
        self.remove_directory(op.parent, op.name)
    }

    fn link(&self, _: &Context<'_>, op: op::Link<'_>) -> Result<reply::Entry, Errno> {
        self.add_name(&op).map(entry)
    }

    fn rename2(&self, cx: &Context<'_>, op: op::Rename2<'_>) -> Result<reply::Done, Errno> {
        self.move_name(cx, &op)
    }

    fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        self.read_data(&op, out)
    }

    fn write(&self, cx: &Context<'_>, op: op::Write<'_>) -> Result<reply::Written, Errno> {
        self.write_data(cx, &op)
    }

    fn fallocate(&self, cx: &Context<'_>, op: op::Fallocate) -> Result<reply::Done, Errno> {
        self.reserve(cx, &op)
    }

    fn lseek(&self, _: &Context<'_>, op: op::Lseek) -> Result<reply::Offset, Errno> {
        self.seek(&op)
    }

    fn copy_file_range_64(&self, cx: &Context<'_>, op: op::CopyFileRange64) -> Result<reply::Copied, Errno> {
        Ok(reply::Copied { size: self.copy_range(cx, &op)? })
    }

    fn readdir(&self, _: &Context<'_>, op: op::Readdir, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
        self.list(&op, out)
    }

    fn readdirplus(
        &self,
        _: &Context<'_>,
        op: op::Readdirplus,
        out: &mut sink::DirEntriesPlus<'_>,
    ) -> Result<(), Errno> {
        self.list_plus(&op, out)
    }

    fn statfs(&self, _: &Context<'_>, _: op::Statfs) -> Result<reply::Statfs, Errno> {
        let (blocks, inodes) = (self.space.blocks(), self.space.inodes());
        let mut statfs = reply::Statfs::unknown();
        statfs.bsize = 4096;
        statfs.frsize = 4096;
        statfs.blocks = blocks.limit;
        statfs.bfree = blocks.free;
        statfs.bavail = blocks.free;
        statfs.files = inodes.limit;
        statfs.ffree = inodes.free;
        Ok(statfs)
    }

    fn setxattr(&self, _: &Context<'_>, op: op::Setxattr<'_>) -> Result<reply::Done, Errno> {
        self.set_xattr(&op)
    }

    fn getxattr(&self, _: &Context<'_>, op: op::Getxattr<'_>, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        self.xattr(&op, out)
    }

    fn listxattr(&self, cx: &Context<'_>, op: op::Listxattr, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        self.list_xattrs(cx, &op, out)
    }

    fn removexattr(&self, cx: &Context<'_>, op: op::Removexattr<'_>) -> Result<reply::Done, Errno> {
        self.remove_xattr(cx, &op)
    }
}
