//! The simple filesystem in memory that the model test compares with: POSIX in as few lines as it takes.
//!
//! It works on paths and has no protocol, no caches and no open files but the ones of the test.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use fusewire_proto::{Errno, FileType};

use crate::model::real::{user_xattrs, written, xattr};
use crate::model::step::{Absolute, NAMES, Outcome, Step};
use crate::vfs::Mount;

/// A filesystem in memory.
pub(super) struct Reference {
    nodes: HashMap<u64, Node>,
    next: u64,
    names: Vec<Vec<u8>>,
    slots: HashMap<u8, u64>,
}

#[derive(Clone, Debug)]
struct Node {
    content: Content,
    mode: u32,
    links: u32,
    mtime: Option<i64>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Data(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, u64>),
    Link(Vec<u8>),
    /// Something else, of this type.
    Special(FileType),
}

const ROOT: u64 = 1;
/// How many symbolic links a path may go through.
const MOST_LINKS: u32 = 40;

/// The last name of a path, and the directories above it.
struct Place {
    above: Vec<u64>,
    name: Vec<u8>,
}

impl Place {
    fn dir(&self) -> u64 {
        self.above.last().copied().unwrap_or(ROOT)
    }
}

impl Node {
    fn new(content: Content, mode: u32) -> Self {
        Self { content, mode, links: 1, mtime: None, xattrs: BTreeMap::new() }
    }

    fn kind(&self) -> FileType {
        match &self.content {
            Content::Data(_) => FileType::REGULAR,
            Content::Directory(_) => FileType::DIRECTORY,
            Content::Link(_) => FileType::SYMLINK,
            Content::Special(kind) => *kind,
        }
    }

    fn attributes(&self) -> Outcome {
        let size = match &self.content {
            Content::Data(bytes) | Content::Link(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Content::Directory(_) | Content::Special(_) => 0,
        };
        let links = if self.kind() == FileType::DIRECTORY { 0 } else { self.links };
        Outcome::Attributes { kind: self.kind(), mode: self.mode, size, links, mtime: self.mtime }
    }
}

impl Reference {
    /// The tree that a filesystem has.
    pub(super) fn import(mount: &Mount) -> Result<Self, Errno> {
        let root = Node::new(Content::Directory(BTreeMap::new()), mount.stat("/")?.mode & 0o7777);
        let mut reference =
            Self { nodes: HashMap::from([(ROOT, root)]), next: ROOT + 1, names: Vec::new(), slots: HashMap::new() };
        let mut known = HashMap::new();
        reference.import_directory(mount, &PathBuf::from("/"), ROOT, &mut known)?;
        let mut names: Vec<Vec<u8>> = match &reference.node(ROOT)?.content {
            Content::Directory(entries) => entries.keys().take(2).cloned().collect(),
            _ => Vec::new(),
        };
        for letter in b'a'.. {
            if names.len() == usize::from(NAMES) {
                break;
            }
            if !names.contains(&vec![letter]) {
                names.push(vec![letter]);
            }
        }
        reference.names = names;
        Ok(reference)
    }

    fn import_directory(
        &mut self,
        mount: &Mount,
        path: &PathBuf,
        into: u64,
        known: &mut HashMap<u64, u64>,
    ) -> Result<(), Errno> {
        let xattrs = import_xattrs(mount, path)?;
        self.node_mut(into)?.xattrs = xattrs;
        for name in mount.names(path)? {
            let child = path.join(&name);
            let attr = mount.lstat(&child)?;
            // Hard links are found by their inode number.
            let linked = known.get(&attr.ino).copied().filter(|_| attr.nlink > 1);
            let id = match linked {
                Some(id) => {
                    self.node_mut(id)?.links += 1;
                    id
                }
                None => {
                    let content = match attr.file_type() {
                        FileType::REGULAR => Content::Data(mount.read(&child)?),
                        FileType::DIRECTORY => Content::Directory(BTreeMap::new()),
                        FileType::SYMLINK => Content::Link(mount.readlink(&child)?.into_vec()),
                        kind => Content::Special(kind),
                    };
                    let id = self.add(Node::new(content, attr.mode & 0o7777));
                    known.insert(attr.ino, id);
                    id
                }
            };
            self.entries_mut(into)?.insert(name.into_vec(), id);
            match attr.file_type() {
                FileType::DIRECTORY => self.import_directory(mount, &child, id, known)?,
                FileType::REGULAR => self.node_mut(id)?.xattrs = import_xattrs(mount, &child)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The names that paths are made of: some that are there, and some that are not.
    pub(super) fn names(&self) -> Vec<Vec<u8>> {
        self.names.clone()
    }

    /// Compares with another tree.
    pub(super) fn same_tree(&self, other: &Self) -> Result<(), String> {
        self.same(ROOT, other, ROOT, "/")
    }

    fn same(&self, id: u64, other: &Self, other_id: u64, path: &str) -> Result<(), String> {
        let (Ok(mine), Ok(theirs)) = (self.node(id), other.node(other_id)) else {
            return Err(format!("in the end, {path} is lost"));
        };
        let differs = |what: &str| Err(format!("in the end, {path} differs in {what}: {mine:?}, found {theirs:?}"));
        if mine.kind() != theirs.kind() {
            return differs("type");
        }
        if mine.mode != theirs.mode && mine.kind() != FileType::SYMLINK {
            return differs("mode");
        }
        if mine.xattrs != theirs.xattrs {
            return differs("extended attributes");
        }
        let (Content::Directory(mine), Content::Directory(theirs)) = (&mine.content, &theirs.content) else {
            return if mine.content == theirs.content { Ok(()) } else { differs("contents") };
        };
        if !mine.keys().eq(theirs.keys()) {
            let names = |entries: &BTreeMap<Vec<u8>, u64>| -> Vec<String> {
                entries.keys().map(|name| name.escape_ascii().to_string()).collect()
            };
            return Err(format!("in the end, {path} has the names {:?}, found {:?}", names(mine), names(theirs)));
        }
        mine.iter().zip(theirs).try_for_each(|((name, id), (_, other_id))| {
            let below = format!("{}/{}", path.trim_end_matches('/'), name.escape_ascii());
            self.same(*id, other, *other_id, &below)
        })
    }

    fn add(&mut self, node: Node) -> u64 {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        id
    }

    fn node(&self, id: u64) -> Result<&Node, Errno> {
        self.nodes.get(&id).ok_or(Errno::ESTALE)
    }

    fn node_mut(&mut self, id: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&id).ok_or(Errno::ESTALE)
    }

    fn is_directory(&self, id: u64) -> bool {
        self.node(id).is_ok_and(|node| node.kind() == FileType::DIRECTORY)
    }

    fn entries(&self, id: u64) -> Result<&BTreeMap<Vec<u8>, u64>, Errno> {
        match &self.node(id)?.content {
            Content::Directory(entries) => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn entries_mut(&mut self, id: u64) -> Result<&mut BTreeMap<Vec<u8>, u64>, Errno> {
        match &mut self.node_mut(id)?.content {
            Content::Directory(entries) => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn child(&self, dir: u64, name: &[u8]) -> Result<u64, Errno> {
        self.entries(dir)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// Walks `names` from the last of `above` on.
    fn walk(&self, above: &mut Vec<u64>, names: &[Vec<u8>], follow: Follow, links: &mut u32) -> Result<(), Errno> {
        for (number, name) in names.iter().enumerate() {
            let here = above.last().copied().unwrap_or(ROOT);
            let found = self.child(here, name)?;
            let is_last = number + 1 == names.len();
            match &self.node(found)?.content {
                Content::Link(target) if !is_last || follow == Follow::Last => {
                    *links += 1;
                    if *links > MOST_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    if target.starts_with(b"/") {
                        above.truncate(1);
                    }
                    let target = components(target);
                    self.walk(above, &target, Follow::Last, links)?;
                    if !is_last && !above.last().is_some_and(|id| self.is_directory(*id)) {
                        return Err(Errno::ENOTDIR);
                    }
                }
                _ => above.push(found),
            }
        }
        Ok(())
    }

    fn spell(&self, path: &[u8]) -> Vec<Vec<u8>> {
        components(&written(&self.names, path, Absolute::Yes))
    }

    fn resolve(&self, path: &[u8], follow: Follow) -> Result<u64, Errno> {
        let mut above = vec![ROOT];
        self.walk(&mut above, &self.spell(path), follow, &mut 0)?;
        Ok(above.last().copied().unwrap_or(ROOT))
    }

    fn place(&self, path: &[u8]) -> Result<Place, Errno> {
        self.place_of(vec![ROOT], &self.spell(path))
    }

    fn place_of(&self, mut above: Vec<u64>, names: &[Vec<u8>]) -> Result<Place, Errno> {
        let Some((name, front)) = names.split_last() else { return Err(Errno::EEXIST) };
        self.walk(&mut above, front, Follow::Last, &mut 0)?;
        let place = Place { above, name: name.clone() };
        if self.is_directory(place.dir()) { Ok(place) } else { Err(Errno::ENOTDIR) }
    }

    /// The file that open(2) with `O_CREAT` opens, or makes.
    fn open_or_make(&mut self, path: &[u8]) -> Result<u64, Errno> {
        let mut place = self.place(path)?;
        for _ in 0..=MOST_LINKS {
            let found = match self.child(place.dir(), &place.name) {
                Ok(found) => found,
                Err(Errno::ENOENT) => {
                    let id = self.add(Node::new(Content::Data(Vec::new()), 0o644));
                    self.entries_mut(place.dir())?.insert(place.name, id);
                    return Ok(id);
                }
                Err(errno) => return Err(errno),
            };
            match &self.node(found)?.content {
                Content::Link(target) => {
                    let names = components(target);
                    let above = if target.starts_with(b"/") { vec![ROOT] } else { place.above };
                    place = self.place_of(above, &names)?;
                }
                Content::Directory(_) => return Err(Errno::EISDIR),
                Content::Special(_) => return Err(Errno::ENXIO),
                Content::Data(_) => return Ok(found),
            }
        }
        Err(Errno::ELOOP)
    }

    /// The file that open(2) opens.
    fn open(&self, path: &[u8]) -> Result<u64, Errno> {
        let id = self.resolve(path, Follow::Last)?;
        match &self.node(id)?.content {
            Content::Data(_) => Ok(id),
            Content::Directory(_) => Err(Errno::EISDIR),
            Content::Link(_) => Err(Errno::ELOOP),
            Content::Special(_) => Err(Errno::ENXIO),
        }
    }

    fn make(&mut self, path: &[u8], node: Node) -> Result<Outcome, Errno> {
        let place = self.place(path)?;
        if self.child(place.dir(), &place.name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let id = self.add(node);
        self.entries_mut(place.dir())?.insert(place.name, id);
        Ok(Outcome::Done)
    }

    fn remove(&mut self, path: &[u8], kind: Kind) -> Result<Outcome, Errno> {
        let place = self.place(path)?;
        let victim = self.child(place.dir(), &place.name)?;
        match (kind, &self.node(victim)?.content) {
            (Kind::File, Content::Directory(_)) => return Err(Errno::EISDIR),
            (Kind::Directory, Content::Directory(entries)) if !entries.is_empty() => return Err(Errno::ENOTEMPTY),
            (Kind::Directory, Content::Directory(_)) | (Kind::File, _) => {}
            (Kind::Directory, _) => return Err(Errno::ENOTDIR),
        }
        self.entries_mut(place.dir())?.remove(&place.name);
        self.node_mut(victim)?.links -= 1;
        Ok(Outcome::Done)
    }

    fn rename(&mut self, from: &[u8], to: &[u8], how: How) -> Result<Outcome, Errno> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        let source = self.child(from.dir(), &from.name)?;
        let target = self.child(to.dir(), &to.name).ok();
        if how == How::NoReplace && target.is_some() {
            return Err(Errno::EEXIST);
        }
        if how == How::Exchange && target.is_none() {
            return Err(Errno::ENOENT);
        }
        if to.above.contains(&source) {
            return Err(Errno::EINVAL);
        }
        if target.is_some_and(|target| from.above.contains(&target)) {
            return Err(if how == How::Exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        if target == Some(source) {
            return Ok(Outcome::Done);
        }
        if how == How::Exchange {
            let target = target.ok_or(Errno::ENOENT)?;
            self.entries_mut(from.dir())?.insert(from.name.clone(), target);
            self.entries_mut(to.dir())?.insert(to.name.clone(), source);
            return Ok(Outcome::Done);
        }
        if let Some(target) = target {
            match (self.is_directory(source), self.is_directory(target)) {
                (true, false) => return Err(Errno::ENOTDIR),
                (false, true) => return Err(Errno::EISDIR),
                (true, true) if !self.entries(target)?.is_empty() => return Err(Errno::ENOTEMPTY),
                _ => {}
            }
            self.node_mut(target)?.links -= 1;
        }
        self.entries_mut(from.dir())?.remove(&from.name);
        self.entries_mut(to.dir())?.insert(to.name, source);
        Ok(Outcome::Done)
    }

    fn link(&mut self, from: &[u8], to: &[u8]) -> Result<Outcome, Errno> {
        let old = self.resolve(from, Follow::Not)?;
        let place = self.place(to)?;
        if self.child(place.dir(), &place.name).is_ok() {
            return Err(Errno::EEXIST);
        }
        if self.is_directory(old) {
            return Err(Errno::EPERM);
        }
        self.node_mut(old)?.links += 1;
        self.entries_mut(place.dir())?.insert(place.name, old);
        Ok(Outcome::Done)
    }

    fn read(&self, id: u64, offset: u16, length: u16) -> Result<Outcome, Errno> {
        let Content::Data(data) = &self.node(id)?.content else { return Err(Errno::EISDIR) };
        let start = usize::from(offset).min(data.len());
        let end = (start + usize::from(length)).min(data.len());
        Ok(Outcome::Bytes(data.get(start..end).unwrap_or(&[]).to_vec()))
    }

    fn write(&mut self, id: u64, offset: u16, length: u16, byte: u8) -> Result<Outcome, Errno> {
        let node = self.node_mut(id)?;
        let Content::Data(data) = &mut node.content else { return Err(Errno::EISDIR) };
        let (start, end) = (usize::from(offset), usize::from(offset) + usize::from(length));
        if start < end {
            node.mtime = None;
            data.resize(data.len().max(end), 0);
            if let Some(place) = data.get_mut(start..end) {
                place.fill(byte);
            }
        }
        Ok(Outcome::Done)
    }

    /// The node whose extended attributes are meant, if it can have some.
    fn with_xattrs(&mut self, path: &[u8], otherwise: Errno) -> Result<&mut Node, Errno> {
        let id = self.resolve(path, Follow::Last)?;
        let node = self.node_mut(id)?;
        match node.kind() {
            FileType::REGULAR | FileType::DIRECTORY => Ok(node),
            _ => Err(otherwise),
        }
    }

    pub(super) fn apply(&mut self, step: &Step) -> Result<Outcome, Errno> {
        match step {
            Step::Stat(path) => Ok(self.node(self.resolve(path, Follow::Last)?)?.attributes()),
            Step::Lstat(path) => Ok(self.node(self.resolve(path, Follow::Not)?)?.attributes()),
            Step::Read { path, offset, length } => self.read(self.open(path)?, *offset, *length),
            Step::Readlink(path) => match &self.node(self.resolve(path, Follow::Not)?)?.content {
                Content::Link(target) => Ok(Outcome::Bytes(target.clone())),
                _ => Err(Errno::EINVAL),
            },
            Step::Readdir(path) => {
                let entries = self.entries(self.resolve(path, Follow::Last)?)?;
                Ok(Outcome::Names(entries.keys().cloned().collect()))
            }
            Step::DropCaches | Step::Advance => Ok(Outcome::Done),
            Step::Mkdir(path) => self.make(path, Node::new(Content::Directory(BTreeMap::new()), 0o755)),
            Step::Write { path, offset, length, byte } => {
                let id = self.open_or_make(path)?;
                self.write(id, *offset, *length, *byte)
            }
            Step::Truncate { path, size } => {
                let id = self.resolve(path, Follow::Last)?;
                let node = self.node_mut(id)?;
                match &mut node.content {
                    Content::Data(data) => data.resize(usize::from(*size), 0),
                    Content::Directory(_) => return Err(Errno::EISDIR),
                    _ => return Err(Errno::EINVAL),
                }
                node.mtime = None;
                Ok(Outcome::Done)
            }
            Step::Unlink(path) => self.remove(path, Kind::File),
            Step::Rmdir(path) => self.remove(path, Kind::Directory),
            Step::Rename { from, to } => self.rename(from, to, How::Replace),
            Step::RenameNoReplace { from, to } => self.rename(from, to, How::NoReplace),
            Step::Exchange { from, to } => self.rename(from, to, How::Exchange),
            Step::Symlink { target, absolute, path } => {
                let target = written(&self.names, target, *absolute);
                self.make(path, Node::new(Content::Link(target), 0o777))
            }
            Step::Link { from, to } => self.link(from, to),
            Step::Mkfifo(path) => self.make(path, Node::new(Content::Special(FileType::FIFO), 0o644)),
            Step::Chmod { path, mode } => {
                let id = self.resolve(path, Follow::Last)?;
                self.node_mut(id)?.mode = u32::from(*mode);
                Ok(Outcome::Done)
            }
            Step::SetTimes { path, seconds } => {
                let id = self.resolve(path, Follow::Last)?;
                let node = self.node_mut(id)?;
                // A directory's time changes with its entries, which is not followed here.
                node.mtime = (node.kind() != FileType::DIRECTORY).then_some(i64::from(*seconds));
                Ok(Outcome::Done)
            }
            Step::SetXattr { path, name, value } => {
                let node = self.with_xattrs(path, Errno::EPERM)?;
                node.xattrs.insert(xattr(*name).into_bytes(), vec![*value; 3]);
                Ok(Outcome::Done)
            }
            Step::GetXattr { path, name } => {
                let node = self.with_xattrs(path, Errno::ENODATA)?;
                node.xattrs.get(xattr(*name).as_bytes()).cloned().map(Outcome::Bytes).ok_or(Errno::ENODATA)
            }
            Step::RemoveXattr { path, name } => {
                let node = self.with_xattrs(path, Errno::EPERM)?;
                node.xattrs.remove(xattr(*name).as_bytes()).map(|_| Outcome::Done).ok_or(Errno::ENODATA)
            }
            Step::ListXattr(path) => {
                let node = self.node(self.resolve(path, Follow::Last)?)?;
                Ok(Outcome::Names(user_xattrs(node.xattrs.keys().cloned())))
            }
            Step::Open { slot, path } => {
                self.slots.remove(slot);
                let id = self.open(path)?;
                self.slots.insert(*slot, id);
                Ok(Outcome::Done)
            }
            Step::ReadOpen { slot, offset, length } => {
                self.read(self.slots.get(slot).copied().ok_or(Errno::EBADF)?, *offset, *length)
            }
            Step::WriteOpen { slot, offset, length, byte } => {
                let id = self.slots.get(slot).copied().ok_or(Errno::EBADF)?;
                self.write(id, *offset, *length, *byte)
            }
            Step::Close { slot } => {
                self.slots.remove(slot);
                Ok(Outcome::Done)
            }
        }
    }
}

/// What to do with a symbolic link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follow {
    Last,
    Not,
}

/// What is to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
}

/// How a name is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Replace,
    NoReplace,
    Exchange,
}

fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}

fn import_xattrs(mount: &Mount, path: &PathBuf) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Errno> {
    let names = match mount.listxattr(path) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return Ok(BTreeMap::new()),
        names => names?,
    };
    let mut all = BTreeMap::new();
    for name in user_xattrs(names.into_iter().map(OsStringExt::into_vec)) {
        if let Some(text) = OsStr::from_bytes(&name).to_str() {
            all.insert(name.clone(), mount.getxattr(path, text)?);
        }
    }
    Ok(all)
}
