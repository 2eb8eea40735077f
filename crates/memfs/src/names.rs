//! Names: looking them up, making files under them, linking and removing them.
//!
//! Moving names is in `renames`, listing them in `listing`.

use std::sync::Arc;

use fusewire::{Attr, Context, Errno, FileType, Gid, Name, NodeId, OpenFlags, Uid, XattrFlags, op, reply, sink};

use crate::acl::Acl;
use crate::contents::Contents;
use crate::directory::Directory;
use crate::memfs::{FOREVER, LONGEST_NAME, MemFs, entry};
use crate::node::{Body, Node, SHORT_TARGET, State};
use crate::xattrs::{ACL_ACCESS, ACL_DEFAULT, Xattrs};

/// The most names that a file can have.
const MOST_LINKS: u32 = i32::MAX.cast_unsigned();

/// What a new file is to be.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) kind: FileType,
    /// Permission bits as asked for.
    pub(crate) mode: u32,
    pub(crate) umask: u32,
    pub(crate) body: Body,
}

/// Whether a new node has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Links {
    Named,
    Nameless,
}

/// Refuses names that are too long. The kernel lets longer ones through.
pub(crate) fn check(name: &Name) -> Result<(), Errno> {
    if name.as_bytes().len() > LONGEST_NAME { Err(Errno::ENAMETOOLONG) } else { Ok(()) }
}

impl MemFs {
    pub(crate) fn look_up(&self, parent: NodeId, name: &Name) -> Result<reply::Entry, Errno> {
        check(name)?;
        let directory = self.nodes.find(parent)?;
        match name.as_bytes() {
            // For an NFS server, which has a handle and no path.
            b"." => return Ok(self.known(&directory)),
            b".." => {
                let parent = directory.read().directory()?.parent;
                return Ok(self.known(&*self.nodes.find(NodeId(parent))?));
            }
            _ => {}
        }
        let state = directory.read();
        let names = state.directory()?;
        let Some(node) = names.find(name) else { return Ok(reply::Entry::negative(FOREVER)) };
        if node.kind() != FileType::DIRECTORY {
            self.look_ahead.looked_up(&names.last_listing);
        }
        Ok(self.known(node))
    }

    /// Counts a lookup.
    pub(crate) fn known(&self, node: &Node) -> reply::Entry {
        node.look_up();
        entry(node.attributes())
    }

    pub(crate) fn read_link(&self, node: NodeId, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        let node = self.nodes.find(node)?;
        let state = node.read();
        let Body::Symlink(target) = &state.body else { return Err(Errno::EINVAL) };
        out.put(target);
        if self.wants_access_time(&state) {
            drop(state);
            node.write().atime = crate::node::now();
        }
        Ok(())
    }

    pub(crate) fn make_link_to(&self, cx: &Context<'_>, op: &op::Symlink<'_>) -> Result<Attr, Errno> {
        let body = Body::Symlink(op.target.as_bytes().into());
        let new = Newcomer { kind: FileType::SYMLINK, mode: 0o777, umask: 0, body };
        self.make(cx, op.parent, op.name, new)
    }

    pub(crate) fn make_node(&self, cx: &Context<'_>, op: &op::Mknod<'_>) -> Result<Attr, Errno> {
        let kind = FileType::from_mode(op.mode);
        let body = match kind {
            FileType::REGULAR | FileType::UNKNOWN => Body::File(Contents::default()),
            FileType::FIFO | FileType::SOCKET => Body::Special(0),
            FileType::CHARACTER_DEVICE | FileType::BLOCK_DEVICE => Body::Special(op.rdev),
            _ => return Err(Errno::EINVAL),
        };
        let kind = if kind == FileType::UNKNOWN { FileType::REGULAR } else { kind };
        self.make(cx, op.parent, op.name, Newcomer { kind, mode: op.mode, umask: op.umask, body })
    }

    pub(crate) fn make_directory(&self, cx: &Context<'_>, op: &op::Mkdir<'_>) -> Result<Attr, Errno> {
        let body = Body::Directory(Box::new(Directory::new(op.parent.0, self.hasher.clone())));
        self.make(cx, op.parent, op.name, Newcomer { kind: FileType::DIRECTORY, mode: op.mode, umask: op.umask, body })
    }

    pub(crate) fn make_file(&self, cx: &Context<'_>, op: &op::Create<'_>) -> Result<Attr, Errno> {
        let body = Body::File(Contents::default());
        let new = Newcomer { kind: FileType::REGULAR, mode: op.mode, umask: op.umask, body };
        match self.make(cx, op.parent, op.name, new) {
            Err(Errno::EEXIST) if !op.flags.contains(libc::O_EXCL) => self.open_existing(op.parent, op.name, op.flags),
            made => made,
        }
    }

    /// The name came up since the kernel looked.
    fn open_existing(&self, parent: NodeId, name: &Name, flags: OpenFlags) -> Result<Attr, Errno> {
        let parent = self.nodes.find(parent)?;
        let state = parent.read();
        let node = state.directory()?.find(name).ok_or(Errno::ENOENT)?;
        let mut file = node.write();
        if file.file().is_err() {
            // The kernel looks again, and does with it what is to be done.
            return Err(Errno::ESTALE);
        }
        if flags.contains(libc::O_TRUNC) {
            file.file_mut()?.truncate(0, &self.space)?;
            file.modified();
        }
        node.look_up();
        Ok(node.attributes_of(&file))
    }

    pub(crate) fn make_nameless(&self, cx: &Context<'_>, op: &op::Tmpfile) -> Result<Attr, Errno> {
        let directory = self.nodes.find(op.parent)?;
        let state = directory.read();
        state.directory()?;
        let body = Body::File(Contents::default());
        let new = Newcomer { kind: FileType::REGULAR, mode: op.mode, umask: op.umask, body };
        Ok(self.admit(cx, &state, new, Links::Nameless)?.attributes())
    }

    /// Makes a node with a name, which the kernel knows from then on.
    fn make(&self, cx: &Context<'_>, parent: NodeId, name: &Name, new: Newcomer) -> Result<Attr, Errno> {
        check(name)?;
        let directory = self.nodes.find(parent)?;
        let mut state = directory.write();
        if state.living_directory_mut()?.find(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let node = self.admit(cx, &state, new, Links::Named)?;
        let attr = node.attributes();
        let is_directory = node.is_directory();
        state.directory_mut()?.insert(name, node);
        if is_directory {
            state.nlink += 1;
        }
        state.modified();
        Ok(attr)
    }

    /// Makes a node in a directory whose state is `parent`, without a name yet.
    fn admit(&self, cx: &Context<'_>, parent: &State, new: Newcomer, links: Links) -> Result<Arc<Node>, Errno> {
        self.space.take_inode()?;
        let node = self.build(cx, parent, new, links);
        match &node {
            Ok(node) => self.nodes.insert(Arc::clone(node)),
            Err(_) => {
                let _ = self.space.give_inode();
            }
        }
        node
    }

    fn build(&self, cx: &Context<'_>, parent: &State, new: Newcomer, links: Links) -> Result<Arc<Node>, Errno> {
        let Newcomer { kind, mode, umask, body } = new;
        let set_gid = parent.permissions & libc::S_ISGID != 0;
        let gid = if set_gid { parent.gid } else { cx.gid().unwrap_or(Gid(0)) };
        let inherited = if set_gid && kind == FileType::DIRECTORY { libc::S_ISGID } else { 0 };
        let mut xattrs = Xattrs::default();
        let permissions = match self.give_xattrs(cx, parent, (kind, mode & 0o7777, umask), &mut xattrs) {
            Ok(permissions) => permissions | inherited,
            Err(error) => {
                xattrs.dismantle(&self.space);
                return Err(error);
            }
        };
        if let Body::Symlink(target) = &body
            && target.len() > SHORT_TARGET
            && let Err(error) = self.space.take_blocks(1)
        {
            xattrs.dismantle(&self.space);
            return Err(error);
        }
        let mut state = State::new(permissions, cx.uid().unwrap_or(Uid(0)), gid, body);
        if !xattrs.is_empty() {
            state.xattrs = Some(Box::new(xattrs));
        }
        if links == Links::Nameless {
            state.nlink = 0;
        }
        Ok(Arc::new(Node::new(self.next_id(), kind, 1, state)))
    }

    /// Puts the attributes of a new node into `xattrs`: inherited ACLs, and labels of security modules. Returns its permission
    /// bits.
    fn give_xattrs(
        &self,
        cx: &Context<'_>,
        parent: &State,
        (kind, mode, umask): (FileType, u32, u32),
        xattrs: &mut Xattrs,
    ) -> Result<u32, Errno> {
        let any = XattrFlags::empty();
        for context in cx.security_contexts() {
            xattrs.set(context.name.as_bytes(), context.value, any, &self.space)?;
        }
        let default = parent.xattrs.as_ref().and_then(|xattrs| xattrs.value(ACL_DEFAULT));
        let Some(default) = default.filter(|_| kind != FileType::SYMLINK) else {
            return Ok(mode & !(umask & 0o777));
        };
        let inherited = Acl::parse(default)?.inherit(mode);
        if let Some(access) = &inherited.access {
            xattrs.set(ACL_ACCESS, &access.value(), any, &self.space)?;
        }
        if kind == FileType::DIRECTORY {
            xattrs.set(ACL_DEFAULT, default, any, &self.space)?;
        }
        Ok(inherited.permissions)
    }

    /// A whiteout, in the place of a name that was moved away: a device with the number 0.
    pub(crate) fn make_whiteout(&self, cx: &Context<'_>, parent: &State) -> Result<Arc<Node>, Errno> {
        let body = Body::Special(0);
        let node = self.admit(
            cx,
            parent,
            Newcomer { kind: FileType::CHARACTER_DEVICE, mode: 0, umask: 0, body },
            Links::Named,
        )?;
        // The kernel is not told of it.
        node.forget(1);
        Ok(node)
    }

    pub(crate) fn remove_file(&self, parent: NodeId, name: &Name) -> Result<reply::Done, Errno> {
        check(name)?;
        let directory = self.nodes.find(parent)?;
        let mut state = directory.write();
        let node = Arc::clone(state.directory()?.find(name).ok_or(Errno::ENOENT)?);
        if node.is_directory() {
            return Err(Errno::EISDIR);
        }
        state.directory_mut()?.remove(name);
        state.modified();
        unlinked(&node);
        drop(state);
        self.reap(&node);
        Ok(reply::Done)
    }

    pub(crate) fn remove_directory(&self, parent: NodeId, name: &Name) -> Result<reply::Done, Errno> {
        check(name)?;
        let directory = self.nodes.find(parent)?;
        let mut state = directory.write();
        let node = Arc::clone(state.directory()?.find(name).ok_or(Errno::ENOENT)?);
        removed(&node)?;
        state.directory_mut()?.remove(name);
        state.nlink -= 1;
        state.modified();
        drop(state);
        self.reap(&node);
        Ok(reply::Done)
    }

    pub(crate) fn add_name(&self, op: &op::Link<'_>) -> Result<Attr, Errno> {
        check(op.new_name)?;
        let directory = self.nodes.find(op.new_parent)?;
        let node = self.nodes.find(op.old)?;
        if node.is_directory() {
            return Err(Errno::EPERM);
        }
        let mut state = directory.write();
        if state.living_directory_mut()?.find(op.new_name).is_some() {
            return Err(Errno::EEXIST);
        }
        let mut linked = node.write();
        if linked.nlink >= MOST_LINKS {
            return Err(Errno::EMLINK);
        }
        linked.nlink += 1;
        linked.changed();
        node.look_up();
        let attr = node.attributes_of(&linked);
        drop(linked);
        state.directory_mut()?.insert(op.new_name, node);
        state.modified();
        Ok(attr)
    }
}

/// A file lost a name.
pub(crate) fn unlinked(node: &Node) {
    let mut state = node.write();
    state.nlink = state.nlink.saturating_sub(1);
    state.changed();
}

/// A directory loses its name.
///
/// # Errors
/// `ENOTDIR` if it is none, `ENOTEMPTY` if there is something in it.
pub(crate) fn removed(node: &Node) -> Result<(), Errno> {
    let mut state = node.write();
    if !state.directory()?.is_empty() {
        return Err(Errno::ENOTEMPTY);
    }
    state.nlink = 0;
    state.changed();
    Ok(())
}
