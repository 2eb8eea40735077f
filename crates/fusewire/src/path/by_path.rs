//! From node ids to paths and back: a [`PathFilesystem`] as a [`Filesystem`].
//!
//! The names are kept in the module `tree`. Calls that need a path to stay as it is hold the tree for reading, those that
//! change names hold it for writing.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fusewire_proto::init::Wishes;
use fusewire_proto::{Attr, Errno, Negotiated, NodeId, RenameFlags, RequestHeader, Unique, op, reply};

use crate::context::{Context, Slot};
use crate::filesystem::Filesystem;
use crate::notifier::Notifier;
use crate::path::listing::{self, Listings};
use crate::path::tree::{Place, Tree};
use crate::path::{PathEntry, PathFilesystem};
use crate::sink;

/// Serves a [`PathFilesystem`].
#[derive(Debug)]
pub struct ByPath<P> {
    inner: P,
    tree: RwLock<Tree>,
    listings: Listings,
    hidden: AtomicU64,
    negotiated: OnceLock<Negotiated>,
}

impl<P: PathFilesystem> ByPath<P> {
    /// Serves `inner`.
    #[must_use]
    pub fn new(inner: P) -> Self {
        Self {
            inner,
            tree: RwLock::new(Tree::new()),
            listings: Listings::default(),
            hidden: AtomicU64::new(0),
            negotiated: OnceLock::new(),
        }
    }

    /// How many nodes the kernel knows, the root not counted, and the directories above them.
    #[must_use]
    pub fn known_nodes(&self) -> usize {
        self.tree().len() - 1
    }

    fn tree(&self) -> RwLockReadGuard<'_, Tree> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tree_mut(&self) -> RwLockWriteGuard<'_, Tree> {
        self.tree.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls with the path of a node, which stays as it is meanwhile.
    fn at<R>(&self, node: NodeId, call: impl FnOnce(&Path) -> Result<R, Errno>) -> Result<R, Errno> {
        let tree = self.tree();
        call(&tree.path(node)?)
    }

    /// Counts a lookup of `name`, whose attributes are asked for.
    fn enter(&self, cx: &Context<'_>, tree: &mut Tree, parent: NodeId, name: &OsStr) -> Result<reply::Entry, Errno> {
        let path = tree.path_of(parent, name)?;
        let attr = self.inner.getattr(cx, &path, None)?;
        let node = tree.look_up(&Place::new(parent, name), link_key(&attr));
        Ok(self.entry(node, attr))
    }

    fn entry(&self, node: NodeId, attr: Attr) -> reply::Entry {
        reply::Entry::new(node, with_ino(attr, node), self.inner.timeout())
    }

    /// Removes the hidden files that nobody released: at the end of a connection the kernel drops the requests that were not
    /// received yet (`fs/fuse/dev.c fuse_abort_conn()`), a RELEASE of just before among them.
    fn remove_hidden(&self) {
        let Some(negotiated) = self.negotiated.get() else { return };
        let slot = Slot::default();
        let cx = Context::detached(RequestHeader::new(Unique(0)), negotiated, &slot);
        let tree = self.tree();
        for place in tree.still_hidden() {
            let removed = tree.path_of(place.parent, &place.name).and_then(|path| self.inner.unlink(&cx, &path));
            if let Err(error) = removed {
                tracing::warn!(name = %place.name.display(), %error, "removing a file that was hidden while it was open");
            }
        }
    }

    /// Makes something at a name, and looks it up.
    fn make(
        &self,
        cx: &Context<'_>,
        parent: NodeId,
        name: &OsStr,
        make: impl FnOnce(&Path) -> Result<(), Errno>,
    ) -> Result<reply::Entry, Errno> {
        let mut tree = self.tree_mut();
        make(&tree.path_of(parent, name)?)?;
        self.enter(cx, &mut tree, parent, name)
    }

    /// Gives an open file that is about to lose its only name a hidden one. Returns whether it did.
    fn hide(&self, cx: &Context<'_>, tree: &mut Tree, place: &Place) -> Result<Hidden, Errno> {
        let Some(node) = tree.open_only_at(place) else { return Ok(Hidden::No) };
        let number = self.hidden.fetch_add(1, Ordering::Relaxed);
        let name = OsString::from(format!(".fusewire-hidden-{number}"));
        let (from, to) = (tree.path_of(place.parent, &place.name)?, tree.path_of(place.parent, &name)?);
        self.inner.rename(cx, &from, &to, RenameFlags::empty())?;
        tree.rename(place, Place { parent: place.parent, name });
        tree.hide(node);
        Ok(Hidden::Yes)
    }
}

/// Whether a file was given a hidden name.
#[derive(PartialEq, Eq)]
enum Hidden {
    Yes,
    No,
}

/// The number by which hard links of a file are recognised; 0: it has none.
fn link_key(attr: &Attr) -> u64 {
    let directory = attr.file_type() == fusewire_proto::FileType::DIRECTORY;
    if attr.nlink > 1 && !directory { attr.ino } else { 0 }
}

/// A filesystem that gives no inode numbers gets its node ids.
fn with_ino(mut attr: Attr, node: NodeId) -> Attr {
    if attr.ino == 0 {
        attr.ino = node.0;
    }
    attr
}

impl<P: PathFilesystem> Filesystem for ByPath<P> {
    fn init(&self, offer: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
        self.inner.init(offer, wishes)
    }

    fn ready(&self, negotiated: &Negotiated, notifier: &Notifier) {
        // Called once, so that it is not set yet.
        let _ = self.negotiated.set(*negotiated);
        self.inner.ready(negotiated, notifier);
    }

    fn destroy(&self) {
        self.remove_hidden();
        self.inner.destroy();
    }

    fn lookup(&self, cx: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        self.enter(cx, &mut self.tree_mut(), op.parent, op.name.as_os_str())
    }

    fn forget(&self, _: &Context<'_>, op: op::Forget) {
        self.tree_mut().forget(op.node, op.nlookup);
    }

    fn getattr(&self, cx: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        let attr = self.at(op.node, |path| self.inner.getattr(cx, path, op.handle))?;
        Ok(reply::Attributes::new(with_ino(attr, op.node), self.inner.timeout()))
    }

    fn setattr(&self, cx: &Context<'_>, op: op::Setattr) -> Result<reply::Attributes, Errno> {
        let attr = self.at(op.node, |path| {
            self.inner.setattr(cx, path, &op)?;
            self.inner.getattr(cx, path, op.handle)
        })?;
        Ok(reply::Attributes::new(with_ino(attr, op.node), self.inner.timeout()))
    }

    fn readlink(&self, cx: &Context<'_>, op: op::Readlink, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        let target = self.at(op.node, |path| self.inner.readlink(cx, path))?;
        out.put(target.as_os_str().as_bytes());
        Ok(())
    }

    fn symlink(&self, cx: &Context<'_>, op: op::Symlink<'_>) -> Result<reply::Entry, Errno> {
        self.make(cx, op.parent, op.name, |path| self.inner.symlink(cx, path, op.target.as_ref()))
    }

    fn mknod(&self, cx: &Context<'_>, op: op::Mknod<'_>) -> Result<reply::Entry, Errno> {
        self.make(cx, op.parent, op.name, |path| self.inner.mknod(cx, path, &op))
    }

    fn mkdir(&self, cx: &Context<'_>, op: op::Mkdir<'_>) -> Result<reply::Entry, Errno> {
        self.make(cx, op.parent, op.name, |path| self.inner.mkdir(cx, path, &op))
    }

    fn unlink(&self, cx: &Context<'_>, op: op::Unlink<'_>) -> Result<reply::Done, Errno> {
        let mut tree = self.tree_mut();
        let place = Place::new(op.parent, op.name);
        if self.hide(cx, &mut tree, &place)? == Hidden::No {
            self.inner.unlink(cx, &tree.path_of(op.parent, op.name)?)?;
            tree.take(&place);
        }
        Ok(reply::Done)
    }

    fn rmdir(&self, cx: &Context<'_>, op: op::Rmdir<'_>) -> Result<reply::Done, Errno> {
        let mut tree = self.tree_mut();
        self.inner.rmdir(cx, &tree.path_of(op.parent, op.name)?)?;
        tree.take(&Place::new(op.parent, op.name));
        Ok(reply::Done)
    }

    fn rename2(&self, cx: &Context<'_>, op: op::Rename2<'_>) -> Result<reply::Done, Errno> {
        let (from, to) = (Place::new(op.parent, op.name), Place::new(op.new_parent, op.new_name));
        let mut tree = self.tree_mut();
        let old = tree.path_of(from.parent, &from.name)?;
        let new = tree.path_of(to.parent, &to.name)?;
        if !op.flags.intersects(RenameFlags::EXCHANGE | RenameFlags::NOREPLACE) && from != to {
            self.hide(cx, &mut tree, &to)?;
        }
        self.inner.rename(cx, &old, &new, op.flags)?;
        if op.flags.contains(RenameFlags::EXCHANGE) {
            tree.exchange(&from, &to);
        } else {
            tree.rename(&from, to);
        }
        Ok(reply::Done)
    }

    fn link(&self, cx: &Context<'_>, op: op::Link<'_>) -> Result<reply::Entry, Errno> {
        let mut tree = self.tree_mut();
        let (existing, new) = (tree.path(op.old)?, tree.path_of(op.new_parent, op.new_name)?);
        self.inner.link(cx, &existing, &new)?;
        let attr = self.inner.getattr(cx, &new, None)?;
        tree.link(op.old, Place::new(op.new_parent, op.new_name));
        Ok(self.entry(op.old, attr))
    }

    fn open(&self, cx: &Context<'_>, op: op::Open) -> Result<reply::Opened, Errno> {
        let opened = self.at(op.node, |path| self.inner.open(cx, path, &op))?;
        self.tree_mut().opened(op.node);
        Ok(opened)
    }

    fn create(&self, cx: &Context<'_>, op: op::Create<'_>) -> Result<reply::Created, Errno> {
        let mut tree = self.tree_mut();
        let opened = self.inner.create(cx, &tree.path_of(op.parent, op.name)?, &op)?;
        let entry = self.enter(cx, &mut tree, op.parent, op.name)?;
        tree.opened(entry.node);
        Ok(reply::Created::new(entry, opened))
    }

    fn read(&self, cx: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        self.at(op.node, |path| self.inner.read(cx, path, &op, out))
    }

    fn write(&self, cx: &Context<'_>, op: op::Write<'_>) -> Result<reply::Written, Errno> {
        self.at(op.node, |path| self.inner.write(cx, path, &op)).map(|size| reply::Written { size })
    }

    fn flush(&self, cx: &Context<'_>, op: op::Flush) -> Result<reply::Done, Errno> {
        self.at(op.node, |path| self.inner.flush(cx, path, &op)).map(|()| reply::Done)
    }

    fn release(&self, cx: &Context<'_>, op: op::Release) -> Result<reply::Done, Errno> {
        let released = self.at(op.node, |path| {
            self.inner.release(cx, path, &op);
            Ok(())
        });
        let mut tree = self.tree_mut();
        if let Some(place) = tree.released(op.node) {
            self.inner.unlink(cx, &tree.path_of(place.parent, &place.name)?)?;
            tree.take(&place);
        }
        released.map(|()| reply::Done)
    }

    fn fsync(&self, cx: &Context<'_>, op: op::Fsync) -> Result<reply::Done, Errno> {
        self.at(op.node, |path| self.inner.fsync(cx, path, &op)).map(|()| reply::Done)
    }

    fn opendir(&self, _: &Context<'_>, _: op::Opendir) -> Result<reply::Opened, Errno> {
        Ok(reply::Opened::new(self.listings.open()))
    }

    fn readdir(&self, cx: &Context<'_>, op: op::Readdir, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
        let read = || -> Result<Vec<PathEntry>, Errno> { self.at(op.node, |path| self.inner.readdir(cx, path)) };
        let list = self.listings.at(op.handle, op.offset, read)?;
        listing::fill(&list, op.offset, out)
    }

    fn releasedir(&self, _: &Context<'_>, op: op::Releasedir) -> Result<reply::Done, Errno> {
        self.listings.close(op.handle);
        Ok(reply::Done)
    }

    fn statfs(&self, cx: &Context<'_>, op: op::Statfs) -> Result<reply::Statfs, Errno> {
        self.at(op.node, |path| self.inner.statfs(cx, path))
    }

    fn access(&self, cx: &Context<'_>, op: op::Access) -> Result<reply::Done, Errno> {
        self.at(op.node, |path| self.inner.access(cx, path, op.mask)).map(|()| reply::Done)
    }

    fn setxattr(&self, cx: &Context<'_>, op: op::Setxattr<'_>) -> Result<reply::Done, Errno> {
        self.at(op.node, |path| self.inner.setxattr(cx, path, &op)).map(|()| reply::Done)
    }

    fn getxattr(&self, cx: &Context<'_>, op: op::Getxattr<'_>, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        self.at(op.node, |path| self.inner.getxattr(cx, path, op.name, out))
    }

    fn listxattr(&self, cx: &Context<'_>, op: op::Listxattr, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        self.at(op.node, |path| self.inner.listxattr(cx, path, out))
    }

    fn removexattr(&self, cx: &Context<'_>, op: op::Removexattr<'_>) -> Result<reply::Done, Errno> {
        self.at(op.node, |path| self.inner.removexattr(cx, path, op.name)).map(|()| reply::Done)
    }

    fn fallocate(&self, cx: &Context<'_>, op: op::Fallocate) -> Result<reply::Done, Errno> {
        self.at(op.node, |path| self.inner.fallocate(cx, path, &op)).map(|()| reply::Done)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;
    use std::sync::{Mutex, Weak};

    use fusewire_proto::{FileType, Name, OpenFlags};

    use super::*;
    use crate::transport::Device;

    /// Empty files with these paths.
    struct Files(Mutex<BTreeSet<PathBuf>>);

    impl PathFilesystem for Files {
        fn getattr(&self, _: &Context<'_>, path: &Path, _: Option<fusewire_proto::FileHandle>) -> Result<Attr, Errno> {
            let known = self.0.lock().unwrap().contains(path);
            if known { Ok(Attr::new(0, FileType::REGULAR, 0o644)) } else { Err(Errno::ENOENT) }
        }

        fn rename(&self, _: &Context<'_>, from: &Path, to: &Path, _: RenameFlags) -> Result<(), Errno> {
            let mut files = self.0.lock().unwrap();
            files.remove(from);
            files.insert(to.to_owned());
            Ok(())
        }

        fn unlink(&self, _: &Context<'_>, path: &Path) -> Result<(), Errno> {
            if self.0.lock().unwrap().remove(path) { Ok(()) } else { Err(Errno::ENOENT) }
        }
    }

    #[test]
    fn regression_file_whose_release_never_came_is_removed_at_the_end() {
        let fs = ByPath::new(Files(Mutex::new(["/a", "/b"].map(PathBuf::from).into())));
        let (negotiated, slot) = (Negotiated::default(), Slot::default());
        let cx = Context::detached(RequestHeader::new(Unique(2)), &negotiated, &slot);
        fs.ready(&negotiated, &Notifier::new(Weak::<Device>::new(), negotiated));
        let name = Name::new(b"a").unwrap();
        let node = fs.lookup(&cx, op::Lookup::new(NodeId::ROOT, name)).unwrap().node;
        fs.open(&cx, op::Open::new(node, OpenFlags(0))).unwrap();
        fs.unlink(&cx, op::Unlink::new(NodeId::ROOT, name)).unwrap();
        let left = || fs.inner.0.lock().unwrap().iter().cloned().collect::<Vec<_>>();
        assert_eq!(left(), ["/.fusewire-hidden-0", "/b"].map(PathBuf::from));
        fs.destroy();
        assert_eq!(left(), [PathBuf::from("/b")]);
    }
}
