//! The operations of the filesystem in memory, with most of its flaws.
//!
//! What it holds is in the modules above.

use std::sync::Arc;
use std::time::Duration;

use fusewire::op::{FileLock, LockKind, SetTime, Whence};
use fusewire::reply::{self, Dirent, Entry};
use fusewire::{
    Context, Errno, FallocateMode, FileType, Filesystem, InitFlags, LockFlags, Name, NodeId, RenameFlags, Uid, Wishes,
    XattrFlags, op, sink,
};

use super::super::state::{Content, Held, Node, conflict};
use super::{Flaw, Tree};

impl Filesystem for Tree {
    fn init(&self, offer: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
        let _ = offer;
        wishes.want(
            InitFlags::POSIX_LOCKS
                | InitFlags::FLOCK_LOCKS
                | InitFlags::DO_READDIRPLUS
                | InitFlags::READDIRPLUS_AUTO
                | InitFlags::SETXATTR_EXT,
        );
        Ok(())
    }

    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<Entry, Errno> {
        let mut state = self.lock();
        let id = state.child(op.parent.0, op.name.as_bytes())?;
        let node = state.node(id)?;
        node.lookups += 1;
        let attr = node.attr;
        Ok(self.entry(id, attr))
    }

    fn forget(&self, _: &Context<'_>, op: op::Forget) {
        self.take_back(op.node, op.nlookup);
    }

    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        let mut state = self.lock();
        state.queries += 1;
        let queries = state.queries;
        let mut attr = state.node(op.node.0)?.attr;
        if self.flaw == Flaw::UnstableIno {
            attr.ino += 1000 * queries;
        }
        Ok(self.attributes(attr))
    }

    fn setattr(&self, _: &Context<'_>, op: op::Setattr) -> Result<reply::Attributes, Errno> {
        let mut state = self.lock();
        let now = state.now();
        let node = state.node(op.node.0)?;
        if let Some(size) = op.size {
            node.resize(size)?;
            node.attr.mtime = now;
        }
        if let Some(mode) = op.mode {
            node.attr.mode = (node.attr.mode & libc::S_IFMT) | (mode & 0o7777);
        }
        node.attr.uid = op.uid.unwrap_or(node.attr.uid);
        node.attr.gid = op.gid.unwrap_or(node.attr.gid);
        let time = |set: Option<SetTime>, old| match set {
            Some(SetTime::Now) => now,
            Some(SetTime::At(time)) => time,
            None => old,
        };
        node.attr.atime = time(op.atime, node.attr.atime);
        node.attr.mtime = time(op.mtime, node.attr.mtime);
        node.attr.ctime = now;
        let attr = node.attr;
        Ok(self.attributes(attr))
    }

    fn readlink(&self, _: &Context<'_>, op: op::Readlink, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        match &self.lock().node(op.node.0)?.content {
            Content::Link(target) => {
                out.put(target);
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn symlink(&self, cx: &Context<'_>, op: op::Symlink<'_>) -> Result<Entry, Errno> {
        let mut node = Node::new(FileType::SYMLINK, 0o777, 0, 0);
        node.attr.size = op.target.as_bytes().len().try_into().unwrap_or(0);
        node.content = Content::Link(op.target.as_bytes().to_vec());
        self.make(cx, op.parent, op.name, node)
    }

    fn mknod(&self, cx: &Context<'_>, op: op::Mknod<'_>) -> Result<Entry, Errno> {
        self.make(cx, op.parent, op.name, Node::new(FileType::from_mode(op.mode), op.mode, 0, op.rdev))
    }

    fn mkdir(&self, cx: &Context<'_>, op: op::Mkdir<'_>) -> Result<Entry, Errno> {
        let kind = if self.flaw == Flaw::MakesFiles { FileType::REGULAR } else { FileType::DIRECTORY };
        self.make(cx, op.parent, op.name, Node::new(kind, op.mode, 0, 0))
    }

    fn unlink(&self, _: &Context<'_>, op: op::Unlink<'_>) -> Result<reply::Done, Errno> {
        self.lock().unlink(op.parent.0, op.name.as_bytes(), false).map(|()| reply::Done)
    }

    fn rmdir(&self, _: &Context<'_>, op: op::Rmdir<'_>) -> Result<reply::Done, Errno> {
        self.lock().unlink(op.parent.0, op.name.as_bytes(), true).map(|()| reply::Done)
    }

    fn rename(&self, _: &Context<'_>, op: op::Rename<'_>) -> Result<reply::Done, Errno> {
        let (from, to) = ((op.parent, op.name), (op.new_parent, op.new_name));
        self.do_rename(from, to, RenameFlags::empty()).map(|()| reply::Done)
    }

    fn rename2(&self, _: &Context<'_>, op: op::Rename2<'_>) -> Result<reply::Done, Errno> {
        let (from, to) = ((op.parent, op.name), (op.new_parent, op.new_name));
        self.do_rename(from, to, op.flags).map(|()| reply::Done)
    }

    fn link(&self, _: &Context<'_>, op: op::Link<'_>) -> Result<Entry, Errno> {
        let mut state = self.lock();
        if state.child(op.new_parent.0, op.new_name.as_bytes()).is_ok() {
            return Err(Errno::EEXIST);
        }
        let now = state.now();
        let node = state.node(op.old.0)?;
        if node.is_dir() {
            return Err(Errno::EPERM);
        }
        if node.attr.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        node.attr.nlink += 1;
        node.attr.ctime = now;
        node.lookups += 1;
        let attr = node.attr;
        state.insert(op.new_parent.0, op.new_name.as_bytes(), op.old.0)?;
        Ok(self.entry(op.old.0, attr))
    }

    fn open(&self, _: &Context<'_>, op: op::Open) -> Result<reply::Opened, Errno> {
        let mut state = self.lock();
        let node = state.node(op.node.0)?;
        node.data()?;
        if op.flags.contains(libc::O_TRUNC) {
            node.resize(0)?;
        }
        Ok(reply::Opened::new(self.open_handle(&mut state, op.node)))
    }

    fn create(&self, cx: &Context<'_>, op: op::Create<'_>) -> Result<reply::Created, Errno> {
        let entry = self.make(cx, op.parent, op.name, Node::new(FileType::REGULAR, op.mode, 0, 0))?;
        let handle = self.open_handle(&mut self.lock(), NodeId(entry.attr.ino));
        Ok(reply::Created::new(entry, reply::Opened::new(handle)))
    }

    fn tmpfile(&self, cx: &Context<'_>, op: op::Tmpfile) -> Result<reply::Created, Errno> {
        let mut state = self.lock();
        let id = state.next_node;
        state.next_node += 1;
        let mut node = Node::new(FileType::REGULAR, op.mode, id, 0);
        node.attr.uid = cx.uid().unwrap_or(Uid(0));
        node.attr.nlink = 0;
        node.lookups = 1;
        let attr = node.attr;
        state.nodes.insert(id, node);
        let handle = self.open_handle(&mut state, NodeId(id));
        Ok(reply::Created::new(self.entry(id, attr), reply::Opened::new(handle)))
    }

    fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        let mut state = self.lock();
        let data = state.node(op.node.0)?.data()?;
        let start = usize::try_from(op.offset).unwrap_or(usize::MAX).min(data.len());
        out.put(&data[start..]);
        Ok(())
    }

    fn write(&self, _: &Context<'_>, op: op::Write<'_>) -> Result<reply::Written, Errno> {
        let mut state = self.lock();
        let now = state.now();
        let node = state.node(op.node.0)?;
        let length = u64::try_from(op.data.len()).unwrap();
        let end = op.offset.checked_add(length).ok_or(Errno::EFBIG)?;
        if end > node.attr.size {
            node.resize(end)?;
        }
        (node.attr.mtime, node.attr.ctime) = (now, now);
        let start = usize::try_from(op.offset).unwrap();
        node.data()?[start..start + op.data.len()].copy_from_slice(op.data);
        let more = u32::from(self.flaw == Flaw::WritesMore);
        Ok(reply::Written { size: u32::try_from(length).unwrap() + more })
    }

    fn release(&self, _: &Context<'_>, op: op::Release) -> Result<reply::Done, Errno> {
        self.drop_locks(op.node, |held| held.flock && held.owner == op.lock_owner.0);
        self.close_handle(op.handle);
        Ok(reply::Done)
    }

    fn flush(&self, _: &Context<'_>, op: op::Flush) -> Result<reply::Done, Errno> {
        self.drop_locks(op.node, |held| !held.flock && held.owner == op.lock_owner.0);
        Ok(reply::Done)
    }

    fn setxattr(&self, _: &Context<'_>, op: op::Setxattr<'_>) -> Result<reply::Done, Errno> {
        let mut state = self.lock();
        let xattrs = &mut state.node(op.node.0)?.xattrs;
        let there = xattrs.contains_key(op.name.as_bytes());
        if op.flags.contains(XattrFlags::CREATE) && there {
            return Err(Errno::EEXIST);
        }
        if op.flags.contains(XattrFlags::REPLACE) && !there {
            return Err(Errno::ENODATA);
        }
        xattrs.insert(op.name.as_bytes().to_vec(), op.value.to_vec());
        Ok(reply::Done)
    }

    fn getxattr(&self, _: &Context<'_>, op: op::Getxattr<'_>, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        let mut state = self.lock();
        let value = state.node(op.node.0)?.xattrs.get(op.name.as_bytes()).ok_or(Errno::ENODATA)?;
        if self.flaw == Flaw::ShortXattr && op.size == 0 {
            return out.value(&value[1..]);
        }
        out.value(value)
    }

    fn listxattr(&self, _: &Context<'_>, op: op::Listxattr, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        let mut state = self.lock();
        let names: Vec<u8> =
            state.node(op.node.0)?.xattrs.keys().flat_map(|name| [name.as_slice(), b"\0"].concat()).collect();
        out.value(&names)
    }

    fn removexattr(&self, _: &Context<'_>, op: op::Removexattr<'_>) -> Result<reply::Done, Errno> {
        let mut state = self.lock();
        state.node(op.node.0)?.xattrs.remove(op.name.as_bytes()).map(|_| reply::Done).ok_or(Errno::ENODATA)
    }

    fn opendir(&self, _: &Context<'_>, op: op::Opendir) -> Result<reply::Opened, Errno> {
        let mut state = self.lock();
        state.entries(op.node.0)?;
        Ok(reply::Opened::new(self.open_handle(&mut state, op.node)))
    }

    fn readdir(&self, _: &Context<'_>, op: op::Readdir, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
        for (name, offset, ino, kind) in self.list(op.node, op.offset)? {
            if out.push(&Dirent::new(ino, offset, kind, Name::new(&name).unwrap())).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn readdirplus(
        &self,
        _: &Context<'_>,
        op: op::Readdirplus,
        out: &mut sink::DirEntriesPlus<'_>,
    ) -> Result<(), Errno> {
        for (name, offset, ino, kind) in self.list(op.node, op.offset)? {
            let dirent = Dirent::new(ino, offset, kind, Name::new(&name).unwrap());
            let look_up = || {
                let mut state = self.lock();
                let node = state.node(ino).unwrap();
                node.lookups += 1;
                let attr = node.attr;
                self.entry(ino, attr)
            };
            let plain = name == b"." || name == b"..";
            let pushed = if plain { out.push_plain(&dirent) } else { out.push(&dirent, look_up) };
            if pushed.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn releasedir(&self, _: &Context<'_>, op: op::Releasedir) -> Result<reply::Done, Errno> {
        self.close_handle(op.handle);
        Ok(reply::Done)
    }

    fn getlk(&self, _: &Context<'_>, op: op::Getlk) -> Result<reply::Lock, Errno> {
        let wanted = Held { owner: op.owner.0, flock: op.flags.contains(LockFlags::FLOCK), lock: op.lock };
        let found = conflict(&self.lock().node(op.node.0)?.locks, wanted);
        let mut lock = found.map_or(FileLock { kind: LockKind::UNLOCK, ..op.lock }, |held| held.lock);
        if self.flaw == Flaw::UpsideDownLock {
            (lock.start, lock.end, lock.kind) = (2, 1, LockKind::READ);
        }
        Ok(reply::Lock { lock })
    }

    fn setlk(&self, _: &Context<'_>, op: op::Setlk) -> Result<reply::Done, Errno> {
        let wanted = Held { owner: op.owner.0, flock: op.flags.contains(LockFlags::FLOCK), lock: op.lock };
        self.try_lock(&mut self.lock(), op.node, wanted).map(|()| reply::Done)
    }

    fn setlkw(&self, cx: &Context<'_>, op: op::Setlkw) -> Result<reply::Done, Errno> {
        let wanted = Held { owner: op.owner.0, flock: op.flags.contains(LockFlags::FLOCK), lock: op.lock };
        let bell = Arc::clone(&self.bell);
        let ignores = self.flaw == Flaw::IgnoresInterrupts;
        cx.on_interrupt(Arc::new(move || bell.notify_all()), || {
            let mut state = self.lock();
            loop {
                match self.try_lock(&mut state, op.node, wanted) {
                    Err(Errno::EAGAIN) => {}
                    outcome => return outcome.map(|()| reply::Done),
                }
                if cx.is_interrupted() && !ignores {
                    return Err(Errno::EINTR);
                }
                // An interrupt may ring between the look and the wait.
                state = self.bell.wait_timeout(state, Duration::from_millis(20)).unwrap().0;
            }
        })
    }

    fn access(&self, _: &Context<'_>, op: op::Access) -> Result<reply::Done, Errno> {
        self.lock().node(op.node.0).map(|_| reply::Done)
    }

    fn fallocate(&self, _: &Context<'_>, op: op::Fallocate) -> Result<reply::Done, Errno> {
        let mut state = self.lock();
        let node = state.node(op.node.0)?;
        let end = op.offset.checked_add(op.length).ok_or(Errno::EFBIG)?;
        let clears = op.mode.intersects(FallocateMode::PUNCH_HOLE | FallocateMode::ZERO_RANGE);
        if !op.mode.contains(FallocateMode::KEEP_SIZE) && end > node.attr.size {
            node.resize(end)?;
        }
        if clears {
            let data = node.data()?;
            let length = data.len();
            let cut = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(length);
            data[cut(op.offset)..cut(end)].fill(0);
        }
        Ok(reply::Done)
    }

    fn lseek(&self, _: &Context<'_>, op: op::Lseek) -> Result<reply::Offset, Errno> {
        let size = self.lock().node(op.node.0)?.attr.size;
        if op.offset >= size {
            return Err(Errno::ENXIO);
        }
        Ok(reply::Offset { offset: if op.whence == Whence::HOLE { size } else { op.offset } })
    }
}
