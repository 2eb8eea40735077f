//! What the fault schedule knows of the filesystem, and which requests it can make of that.
//!
//! It expects nothing of the outcomes: a request may fail, the laws must hold all the same.

use fusewire_proto::op::{FileLock, LockKind, SetTime, Whence};
use fusewire_proto::reply::{Entry, Reply};
use fusewire_proto::{
    AccessMask, Attr, FallocateMode, FileHandle, FileType, InitFlags, LinkTarget, LockOwner, Name, Negotiated, NodeId,
    OpenFlags, RenameFlags, Request, StatxMask, Timestamp, XattrFlags, XattrName, op,
};

use crate::faults::chance::Chance;
use crate::kernel::Answer;

/// What is known of the filesystem.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) nodes: Vec<Known>,
    pub(super) handles: Vec<Open>,
}

/// A node that is looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) node: NodeId,
    pub(super) kind: FileType,
    /// How it was found last.
    pub(super) dir: NodeId,
    pub(super) name: &'static Name,
}

/// An open file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) node: NodeId,
    pub(super) handle: FileHandle,
    pub(super) is_dir: bool,
}

/// The names that are used; few, so that callers meet.
const NAMES: [&[u8]; 6] = [b"a", b"b", b"c", b"hello", b"a name with blanks", b"\xff\xfe not utf-8"];

const DATA: &[u8] = &[0x5a; 9000];

pub(super) fn a_name(chance: &mut Chance) -> &'static Name {
    let bytes = chance.pick(&NAMES).copied().unwrap_or(b"a");
    name(bytes)
}

fn name(bytes: &'static [u8]) -> &'static Name {
    Name::new(bytes).unwrap_or_else(|_| Name::new(b"a").expect("a letter is a name"))
}

fn xattr() -> &'static XattrName {
    XattrName::new(b"user.testkit").expect("it has no NUL")
}

impl World {
    /// A directory: the root, or one that is known.
    fn dir(&self, chance: &mut Chance) -> NodeId {
        let dirs: Vec<NodeId> =
            self.nodes.iter().filter(|known| known.kind == FileType::DIRECTORY).map(|known| known.node).collect();
        if chance.once_in(2) { NodeId::ROOT } else { chance.pick(&dirs).copied().unwrap_or(NodeId::ROOT) }
    }

    /// Any node.
    fn any(&self, chance: &mut Chance) -> NodeId {
        chance.pick(&self.nodes).map_or(NodeId::ROOT, |known| known.node)
    }

    fn of_kind(&self, chance: &mut Chance, kind: FileType) -> Option<NodeId> {
        let all: Vec<NodeId> = self.nodes.iter().filter(|known| known.kind == kind).map(|known| known.node).collect();
        chance.pick(&all).copied()
    }

    fn open(&self, chance: &mut Chance, is_dir: bool) -> Option<Open> {
        let all: Vec<Open> = self.handles.iter().filter(|open| open.is_dir == is_dir).copied().collect();
        chance.pick(&all).copied()
    }

    /// A request that a kernel could send now; never one that gives something back.
    pub(super) fn request(&self, chance: &mut Chance, negotiated: &Negotiated) -> Request<'static> {
        match chance.below(8) {
            0 | 1 => self.about_names(chance),
            2 => self.about_making(chance),
            3 => self.about_attributes(chance, negotiated),
            4 => self.about_xattrs(chance),
            5 => self.about_opening(chance),
            6 => self.about_data(chance, negotiated).unwrap_or_else(|| self.about_opening(chance)),
            _ => self.about_directories(chance, negotiated).unwrap_or_else(|| self.about_names(chance)),
        }
    }

    fn about_names(&self, chance: &mut Chance) -> Request<'static> {
        let (dir, other) = (self.dir(chance), self.dir(chance));
        let (old, new) = (a_name(chance), a_name(chance));
        match chance.below(10) {
            0 => op::Unlink::new(dir, old).into(),
            1 => op::Rmdir::new(dir, old).into(),
            2 => op::Rename::new(dir, other, old, new).into(),
            3 => {
                let flags = if chance.once_in(2) { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
                op::Rename2::new(dir, other, flags, old, new).into()
            }
            4 => match self.of_kind(chance, FileType::REGULAR) {
                Some(file) => op::Link::new(dir, file, new).into(),
                None => op::Lookup::new(dir, old).into(),
            },
            5 => match self.of_kind(chance, FileType::SYMLINK) {
                Some(link) => op::Readlink::new(link).into(),
                None => op::Lookup::new(dir, old).into(),
            },
            _ => op::Lookup::new(dir, old).into(),
        }
    }

    fn about_making(&self, chance: &mut Chance) -> Request<'static> {
        let (dir, new) = (self.dir(chance), a_name(chance));
        match chance.below(5) {
            0 => op::Mkdir::new(dir, 0o755, new).into(),
            1 => op::Mknod::new(dir, FileType::FIFO.mode_bits() | 0o644, new).into(),
            2 => op::Mknod::new(dir, FileType::REGULAR.mode_bits() | 0o644, new).into(),
            3 => {
                let target = LinkTarget::new(b"somewhere/else").expect("it has no NUL");
                op::Symlink::new(dir, new, target).into()
            }
            _ => {
                let flags = OpenFlags::from_libc(libc::O_RDWR | libc::O_CREAT);
                op::Create::new(dir, FileType::REGULAR.mode_bits() | 0o644, flags, new).into()
            }
        }
    }

    fn about_attributes(&self, chance: &mut Chance, negotiated: &Negotiated) -> Request<'static> {
        let node = self.any(chance);
        match chance.below(6) {
            0 => {
                let mut request = op::Setattr::new(node);
                request.mode = Some(0o600);
                request.mtime = Some(SetTime::At(Timestamp::new(1, 2)));
                request.atime = Some(SetTime::Now);
                request.into()
            }
            1 => match self.of_kind(chance, FileType::REGULAR) {
                Some(file) => {
                    let mut request = op::Setattr::new(file);
                    request.size = Some(chance.below(20_000));
                    request.into()
                }
                None => op::Getattr::new(node).into(),
            },
            2 => op::Access::new(node, AccessMask::READ).into(),
            3 => op::Statfs::new(node).into(),
            4 if negotiated.minor >= 39 => op::Statx::new(node, StatxMask::BASIC_STATS | StatxMask::BTIME).into(),
            _ => op::Getattr::new(node).into(),
        }
    }

    fn about_xattrs(&self, chance: &mut Chance) -> Request<'static> {
        let node = self.any(chance);
        let size = if chance.once_in(2) { 0 } else { 256 };
        match chance.below(4) {
            0 => {
                let mut request = op::Setxattr::new(node, xattr(), b"value");
                request.flags = if chance.once_in(3) { XattrFlags::CREATE } else { XattrFlags::empty() };
                request.into()
            }
            1 => op::Getxattr::new(node, size, xattr()).into(),
            2 => op::Listxattr::new(node, size).into(),
            _ => op::Removexattr::new(node, xattr()).into(),
        }
    }

    fn about_opening(&self, chance: &mut Chance) -> Request<'static> {
        match (chance.once_in(2), self.of_kind(chance, FileType::REGULAR)) {
            (true, Some(file)) => op::Open::new(file, OpenFlags::from_libc(libc::O_RDWR)).into(),
            _ => op::Opendir::new(self.dir(chance), OpenFlags::from_libc(libc::O_RDONLY)).into(),
        }
    }

    fn about_data(&self, chance: &mut Chance, negotiated: &Negotiated) -> Option<Request<'static>> {
        let open = self.open(chance, false)?;
        let (node, handle, offset) = (open.node, open.handle, chance.below(10_000));
        Some(match chance.below(10) {
            0..=2 => {
                let length = usize::try_from(chance.below(9000)).unwrap_or(0);
                op::Write::new(node, handle, offset, DATA.get(..length).unwrap_or(DATA)).into()
            }
            3 | 4 => op::Read::new(node, handle, offset, 4096).into(),
            5 => op::Fsync::new(node, handle).into(),
            6 => op::Flush::new(node, handle, LockOwner(1)).into(),
            7 => op::Lseek::new(node, handle, offset, Whence::DATA).into(),
            8 => op::Fallocate::new(node, handle, offset, 4096, FallocateMode::KEEP_SIZE).into(),
            _ if negotiated.has(InitFlags::POSIX_LOCKS) => {
                let kind = *chance.pick(&[LockKind::READ, LockKind::WRITE, LockKind::UNLOCK])?;
                let lock = FileLock { start: offset, end: offset + 10, kind, pid: fusewire_proto::Pid(1) };
                let owner = LockOwner(chance.below(3));
                if chance.once_in(2) && kind != LockKind::UNLOCK {
                    op::Getlk::new(node, handle, owner, lock).into()
                } else {
                    op::Setlk::new(node, handle, owner, lock).into()
                }
            }
            _ => op::CopyFileRange::new(node, handle, 0, node, handle, 10_000, 100).into(),
        })
    }

    fn about_directories(&self, chance: &mut Chance, negotiated: &Negotiated) -> Option<Request<'static>> {
        let open = self.open(chance, true)?;
        let size = *chance.pick(&[4096, 200, 40])?;
        Some(if negotiated.has(InitFlags::DO_READDIRPLUS) && chance.once_in(2) {
            op::Readdirplus::new(open.node, open.handle, 0, size).into()
        } else if chance.once_in(5) {
            op::Fsyncdir::new(open.node, open.handle).into()
        } else {
            op::Readdir::new(open.node, open.handle, 0, size).into()
        })
    }

    /// Takes in what a request has brought.
    pub(super) fn learn(&mut self, request: &Request<'static>, answer: &Answer, negotiated: &Negotiated) {
        let Ok(reply) = answer.reply() else { return };
        match (request, &reply) {
            (Request::Lookup(op), Reply::Entry(entry)) => self.found(entry, op.parent, op.name),
            (Request::Mkdir(op), Reply::Entry(entry)) => self.found(entry, op.parent, op.name),
            (Request::Mknod(op), Reply::Entry(entry)) => self.found(entry, op.parent, op.name),
            (Request::Symlink(op), Reply::Entry(entry)) => self.found(entry, op.parent, op.name),
            (Request::Link(op), Reply::Entry(entry)) => self.found(entry, op.new_parent, op.new_name),
            (Request::Create(op), Reply::Created(created)) => {
                self.found(&created.entry, op.parent, op.name);
                let (node, handle) = (created.entry.node, created.opened.handle);
                self.handles.push(Open { node, handle, is_dir: false });
            }
            (Request::Open(op), Reply::Opened(opened)) => {
                self.handles.push(Open { node: op.node, handle: opened.handle, is_dir: false });
            }
            (Request::Opendir(op), Reply::Opened(opened)) => {
                self.handles.push(Open { node: op.node, handle: opened.handle, is_dir: true });
            }
            (Request::Readdirplus(op), Reply::DirEntriesPlus(entries)) => {
                for (entry, dirent) in entries.iter(negotiated).flatten() {
                    let known = NAMES.iter().find(|known| **known == dirent.name.as_bytes());
                    self.found(&entry, op.node, known.map_or_else(|| name(b"a"), |known| name(known)));
                }
            }
            _ => {}
        }
    }

    fn found(&mut self, entry: &Entry, dir: NodeId, name: &'static Name) {
        if entry.is_negative() || entry.node == NodeId::ROOT {
            return;
        }
        let attr: Attr = entry.attr;
        self.nodes.retain(|known| known.node != entry.node);
        self.nodes.push(Known { node: entry.node, kind: attr.file_type(), dir, name });
    }

    /// Whether the node is looked up.
    pub(super) fn knows(&self, node: NodeId) -> bool {
        node == NodeId::ROOT || self.nodes.iter().any(|known| known.node == node)
    }

    /// Whether the node is in use by an open file.
    pub(super) fn is_open(&self, node: NodeId) -> bool {
        self.handles.iter().any(|open| open.node == node)
    }
}

/// The nodes that a request names.
pub(super) fn nodes_of(request: &Request<'static>) -> [NodeId; 2] {
    let second = match request {
        Request::Rename(op) => op.new_parent,
        Request::Rename2(op) => op.new_parent,
        Request::Link(op) => op.old,
        Request::CopyFileRange(op) => op.out_node,
        _ => NodeId(0),
    };
    [request.node(), second]
}

/// The handle that a request names.
pub(super) fn handle_of(request: &Request<'static>) -> Option<FileHandle> {
    match request {
        Request::Read(op) => Some(op.handle),
        Request::Write(op) => Some(op.handle),
        Request::Fsync(op) => Some(op.handle),
        Request::Flush(op) => Some(op.handle),
        Request::Lseek(op) => Some(op.handle),
        Request::Fallocate(op) => Some(op.handle),
        Request::Getlk(op) => Some(op.handle),
        Request::Setlk(op) => Some(op.handle),
        Request::CopyFileRange(op) => Some(op.handle),
        Request::Readdir(op) => Some(op.handle),
        Request::Readdirplus(op) => Some(op.handle),
        Request::Fsyncdir(op) => Some(op.handle),
        _ => None,
    }
}
