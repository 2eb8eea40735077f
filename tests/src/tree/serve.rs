//! The tree as a filesystem: a method for each operation. What is in the tree, and how it begins, is in the parent.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, PoisonError};

use fusewire::op::{FileLock, LockKind, SetTime};
use fusewire::reply::{self, Dirent};
use fusewire::{
    Context, Errno, FallocateMode, FileType, Filesystem, Name, Negotiated, NodeId, Notifier, PollFlags, ReleaseFlags,
    RenameFlags, StatxAttr, StatxMask, Wishes, op, sink,
};

use super::{BORN, Body, State, Tree};

impl Tree {
    fn entry(&self, state: &mut State, id: NodeId) -> Result<reply::Entry, Errno> {
        Ok(reply::Entry::new(id, state.node(id)?.attr, self.config.timeout))
    }

    fn opened(&self, state: &mut State) -> reply::Opened {
        reply::Opened::new(state.handle()).with_flags(self.config.opened)
    }

    fn attributes(&self, state: &mut State, id: NodeId) -> Result<reply::Attributes, Errno> {
        Ok(reply::Attributes::new(state.node(id)?.attr, self.config.timeout))
    }

    fn remove(&self, parent: NodeId, name: &Name) -> Result<reply::Done, Errno> {
        self.state().directory(parent)?.remove(name.as_bytes()).ok_or(Errno::ENOENT)?;
        Ok(reply::Done)
    }

    fn copy(&self, from: (NodeId, u64), to: (NodeId, u64), length: u64) -> Result<u64, Errno> {
        let mut state = self.state();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let data = state.read(from.0, from.1, length)?.to_vec();
        state.write(to.0, to.1, &data)?;
        Ok(data.len() as u64)
    }

    /// Takes the lock of a node or gives it back. `None`: another has it.
    fn lock(state: &mut State, op: (NodeId, fusewire::LockOwner, FileLock)) -> Option<reply::Done> {
        let (node, owner, lock) = op;
        match state.locks.get(&node) {
            Some(holder) if *holder != owner => return (lock.kind == LockKind::UNLOCK).then_some(reply::Done),
            _ if lock.kind == LockKind::UNLOCK => drop(state.locks.remove(&node)),
            _ => drop(state.locks.insert(node, owner)),
        }
        Some(reply::Done)
    }

    fn unlock(&self, node: NodeId, owner: fusewire::LockOwner) {
        let mut state = self.state();
        if state.locks.get(&node) == Some(&owner) {
            state.locks.remove(&node);
            self.shared.unlocked.notify_all();
        }
    }
}

/// The names of a directory from the one behind `offset` on, each with the offset that leads behind it.
fn list(state: &mut State, id: NodeId, offset: u64) -> Result<Vec<(u64, NodeId, Vec<u8>)>, Errno> {
    let own = [(b".".to_vec(), id), (b"..".to_vec(), NodeId::ROOT)];
    let names = state.directory(id)?.iter().map(|(name, id)| (name.clone(), *id)).collect::<Vec<_>>();
    let all = own.into_iter().chain(names).zip(1_u64..);
    Ok(all.map(|((name, id), next)| (next, id, name)).filter(|(next, ..)| *next > offset).collect())
}

impl Filesystem for Tree {
    fn init(&self, _: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
        self.wishes(wishes);
        Ok(())
    }

    fn ready(&self, negotiated: &Negotiated, notifier: &Notifier) {
        self.ready(negotiated, notifier);
    }

    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        let mut state = self.state();
        match (state.find(op.parent, op.name.as_bytes()), self.config.negative) {
            (Err(Errno::ENOENT), Some(timeout)) => Ok(reply::Entry::negative(timeout)),
            (found, _) => self.entry(&mut state, found?),
        }
    }

    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        self.attributes(&mut self.state(), op.node)
    }

    fn setattr(&self, _: &Context<'_>, op: op::Setattr) -> Result<reply::Attributes, Errno> {
        let mut state = self.state();
        if let Some(size) = op.size {
            state.resize(op.node, usize::try_from(size).map_err(|_| Errno::EFBIG)?)?;
        }
        let attr = &mut state.node(op.node)?.attr;
        attr.mode = op.mode.unwrap_or(attr.mode);
        attr.uid = op.uid.unwrap_or(attr.uid);
        attr.gid = op.gid.unwrap_or(attr.gid);
        let at = |time: Option<SetTime>, before| match time {
            Some(SetTime::At(time)) => time,
            Some(SetTime::Now) | None => before,
        };
        attr.atime = at(op.atime, attr.atime);
        attr.mtime = at(op.mtime, attr.mtime);
        self.attributes(&mut state, op.node)
    }

    fn readlink(&self, _: &Context<'_>, op: op::Readlink, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        match &self.state().node(op.node)?.body {
            Body::Link(target) => drop(out.put(target)),
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn symlink(&self, cx: &Context<'_>, op: op::Symlink<'_>) -> Result<reply::Entry, Errno> {
        let mut state = self.state();
        let (mode, body) = (FileType::SYMLINK.mode_bits() | 0o777, Body::Link(op.target.as_bytes().to_vec()));
        let id = state.create(cx, op.parent, op.name.as_bytes(), mode, body)?;
        self.entry(&mut state, id)
    }

    fn mknod(&self, cx: &Context<'_>, op: op::Mknod<'_>) -> Result<reply::Entry, Errno> {
        let mut state = self.state();
        let regular = FileType::from_mode(op.mode) == FileType::REGULAR;
        let body = if regular { Body::File(Vec::new()) } else { Body::Special };
        let id = state.create(cx, op.parent, op.name.as_bytes(), op.mode, body)?;
        state.node(id)?.attr.rdev = op.rdev;
        self.entry(&mut state, id)
    }

    fn mkdir(&self, cx: &Context<'_>, op: op::Mkdir<'_>) -> Result<reply::Entry, Errno> {
        let mut state = self.state();
        let mode = FileType::DIRECTORY.mode_bits() | op.mode;
        let id = state.create(cx, op.parent, op.name.as_bytes(), mode, Body::Directory([].into()))?;
        self.entry(&mut state, id)
    }

    fn unlink(&self, _: &Context<'_>, op: op::Unlink<'_>) -> Result<reply::Done, Errno> {
        self.remove(op.parent, op.name)
    }

    fn rmdir(&self, _: &Context<'_>, op: op::Rmdir<'_>) -> Result<reply::Done, Errno> {
        self.remove(op.parent, op.name)
    }

    fn rename2(&self, _: &Context<'_>, op: op::Rename2<'_>) -> Result<reply::Done, Errno> {
        let mut state = self.state();
        let node = state.find(op.parent, op.name.as_bytes())?;
        let there = state.find(op.new_parent, op.new_name.as_bytes());
        if op.flags.contains(RenameFlags::NOREPLACE) && there.is_ok() {
            return Err(Errno::EEXIST);
        }
        state.directory(op.parent)?.remove(op.name.as_bytes());
        state.directory(op.new_parent)?.insert(op.new_name.as_bytes().to_vec(), node);
        if op.flags.contains(RenameFlags::EXCHANGE) {
            state.directory(op.parent)?.insert(op.name.as_bytes().to_vec(), there?);
        } else if op.flags.contains(RenameFlags::WHITEOUT) {
            state.add(op.parent, op.name.as_bytes(), FileType::CHARACTER_DEVICE, 0, Body::Special);
        }
        Ok(reply::Done)
    }

    fn link(&self, _: &Context<'_>, op: op::Link<'_>) -> Result<reply::Entry, Errno> {
        let mut state = self.state();
        state.directory(op.new_parent)?.insert(op.new_name.as_bytes().to_vec(), op.old);
        state.node(op.old)?.attr.nlink += 1;
        self.entry(&mut state, op.old)
    }

    fn open(&self, _: &Context<'_>, op: op::Open) -> Result<reply::Opened, Errno> {
        let mut state = self.state();
        if op.flags.contains(libc::O_TRUNC) {
            state.resize(op.node, 0)?;
        }
        Ok(self.opened(&mut state))
    }

    fn create(&self, cx: &Context<'_>, op: op::Create<'_>) -> Result<reply::Created, Errno> {
        let mut state = self.state();
        let id = state.create(cx, op.parent, op.name.as_bytes(), op.mode, Body::File(Vec::new()))?;
        Ok(reply::Created::new(self.entry(&mut state, id)?, self.opened(&mut state)))
    }

    fn tmpfile(&self, _: &Context<'_>, op: op::Tmpfile) -> Result<reply::Created, Errno> {
        let mut state = self.state();
        let id = state.make(FileType::REGULAR, op.mode & 0o7777, Body::File(Vec::new()));
        state.node(id)?.attr.nlink = 0;
        Ok(reply::Created::new(self.entry(&mut state, id)?, self.opened(&mut state)))
    }

    fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        out.put(self.state().read(op.node, op.offset, out.remaining())?);
        Ok(())
    }

    fn write(&self, _: &Context<'_>, op: op::Write<'_>) -> Result<reply::Written, Errno> {
        self.state().write(op.node, op.offset, op.data)?;
        Ok(reply::Written { size: u32::try_from(op.data.len()).map_err(|_| Errno::EFBIG)? })
    }

    fn statfs(&self, _: &Context<'_>, _: op::Statfs) -> Result<reply::Statfs, Errno> {
        let mut numbers = reply::Statfs::unknown();
        (numbers.blocks, numbers.bfree, numbers.files) = (1000, 600, 50);
        Ok(numbers)
    }

    fn flush(&self, _: &Context<'_>, op: op::Flush) -> Result<reply::Done, Errno> {
        self.unlock(op.node, op.lock_owner);
        Ok(reply::Done)
    }

    fn release(&self, _: &Context<'_>, op: op::Release) -> Result<reply::Done, Errno> {
        if op.release_flags.contains(ReleaseFlags::FLOCK_UNLOCK) {
            self.unlock(op.node, op.lock_owner);
        }
        Ok(reply::Done)
    }

    fn fsync(&self, _: &Context<'_>, _: op::Fsync) -> Result<reply::Done, Errno> {
        Ok(reply::Done)
    }

    fn fsyncdir(&self, _: &Context<'_>, _: op::Fsyncdir) -> Result<reply::Done, Errno> {
        Ok(reply::Done)
    }

    fn setxattr(&self, _: &Context<'_>, op: op::Setxattr<'_>) -> Result<reply::Done, Errno> {
        self.state().node(op.node)?.xattrs.insert(op.name.as_bytes().to_vec(), op.value.to_vec());
        Ok(reply::Done)
    }

    fn getxattr(&self, _: &Context<'_>, op: op::Getxattr<'_>, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        out.value(self.state().node(op.node)?.xattrs.get(op.name.as_bytes()).ok_or(Errno::ENODATA)?)
    }

    fn listxattr(&self, _: &Context<'_>, op: op::Listxattr, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        let mut names = Vec::new();
        for name in self.state().node(op.node)?.xattrs.keys() {
            names.extend_from_slice(name);
            names.push(0);
        }
        out.value(&names)
    }

    fn removexattr(&self, _: &Context<'_>, op: op::Removexattr<'_>) -> Result<reply::Done, Errno> {
        self.state().node(op.node)?.xattrs.remove(op.name.as_bytes()).ok_or(Errno::ENODATA)?;
        Ok(reply::Done)
    }

    fn opendir(&self, _: &Context<'_>, _: op::Opendir) -> Result<reply::Opened, Errno> {
        Ok(self.opened(&mut self.state()))
    }

    fn readdir(&self, _: &Context<'_>, op: op::Readdir, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
        let mut state = self.state();
        for (next, id, name) in list(&mut state, op.node, op.offset)? {
            let name = Name::new(&name).map_err(|_| Errno::EIO)?;
            if out.push(&Dirent::new(id.0, next, state.node(id)?.attr.file_type(), name)).is_err() {
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
        let mut state = self.state();
        for (next, id, bytes) in list(&mut state, op.node, op.offset)? {
            let name = Name::new(&bytes).map_err(|_| Errno::EIO)?;
            let entry = self.entry(&mut state, id)?;
            let dirent = Dirent::new(id.0, next, entry.attr.file_type(), name);
            let own = OsStr::from_bytes(&bytes) == "." || OsStr::from_bytes(&bytes) == "..";
            let pushed = if own { out.push_plain(&dirent) } else { out.push(&dirent, || entry) };
            if pushed.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn getlk(&self, cx: &Context<'_>, op: op::Getlk) -> Result<reply::Lock, Errno> {
        let mut lock = op.lock;
        match self.state().locks.get(&op.node) {
            Some(holder) if *holder != op.owner => lock = FileLock { pid: cx.pid(), ..lock },
            _ => lock.kind = LockKind::UNLOCK,
        }
        Ok(reply::Lock { lock })
    }

    fn setlk(&self, _: &Context<'_>, op: op::Setlk) -> Result<reply::Done, Errno> {
        let done = Self::lock(&mut self.state(), (op.node, op.owner, op.lock)).ok_or(Errno::EAGAIN);
        self.shared.unlocked.notify_all();
        done
    }

    fn setlkw(&self, cx: &Context<'_>, op: op::Setlkw) -> Result<reply::Done, Errno> {
        let shared = Arc::clone(&self.shared);
        let wake = move || {
            // Not between a look at the flag and the wait that follows it.
            drop(shared.state());
            shared.unlocked.notify_all();
        };
        cx.on_interrupt(Arc::new(wake), || {
            let mut state = self.state();
            loop {
                if let Some(done) = Self::lock(&mut state, (op.node, op.owner, op.lock)) {
                    return Ok(done);
                }
                if cx.is_interrupted() {
                    return Err(Errno::EINTR);
                }
                state = self.shared.unlocked.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        })
    }

    fn access(&self, _: &Context<'_>, _: op::Access) -> Result<reply::Done, Errno> {
        Ok(reply::Done)
    }

    fn bmap(&self, _: &Context<'_>, op: op::Bmap) -> Result<reply::Block, Errno> {
        Ok(reply::Block { block: op.block + 100 })
    }

    fn ioctl(&self, _: &Context<'_>, op: op::Ioctl<'_>, out: &mut sink::Ioctl<'_>) -> Result<(), Errno> {
        let mut state = self.state();
        let flags = &mut state.node(op.node)?.flags;
        if let Some(bytes) = op.data.first_chunk() {
            *flags = u64::from(u32::from_ne_bytes(*bytes));
        } else if op.out_size == 0 {
            return Err(Errno::ENOTTY);
        }
        // As long as is asked for, which is more for FS_IOC_FSGETXATTR.
        let mut bytes = flags.to_ne_bytes().to_vec();
        bytes.resize(usize::try_from(op.out_size).unwrap_or(0), 0);
        out.answer(0, &bytes)
    }

    fn poll(&self, _: &Context<'_>, op: op::Poll) -> Result<reply::Polled, Errno> {
        let mut state = self.state();
        if op.flags.contains(PollFlags::SCHEDULE_NOTIFY) {
            state.poller = Some(op.poll_handle);
        }
        Ok(reply::Polled { events: state.ready & op.events })
    }

    fn fallocate(&self, _: &Context<'_>, op: op::Fallocate) -> Result<reply::Done, Errno> {
        let mut state = self.state();
        let end = usize::try_from(op.offset + op.length).map_err(|_| Errno::EFBIG)?;
        if !op.mode.contains(FallocateMode::KEEP_SIZE) && state.file(op.node)?.len() < end {
            state.resize(op.node, end)?;
        }
        Ok(reply::Done)
    }

    fn lseek(&self, _: &Context<'_>, op: op::Lseek) -> Result<reply::Offset, Errno> {
        let size = self.state().node(op.node)?.attr.size;
        let data = op.whence == op::Whence::DATA;
        if op.offset >= size {
            Err(Errno::ENXIO)
        } else {
            Ok(reply::Offset { offset: if data { op.offset } else { size } })
        }
    }

    fn copy_file_range_64(&self, _: &Context<'_>, op: op::CopyFileRange64) -> Result<reply::Copied, Errno> {
        Ok(reply::Copied { size: self.copy((op.node, op.offset), (op.out_node, op.out_offset), op.length)? })
    }

    fn statx(&self, _: &Context<'_>, op: op::Statx) -> Result<reply::StatxReply, Errno> {
        let attr = self.state().node(op.node)?.attr;
        let mut out = StatxAttr::default();
        out.mask = StatxMask::BASIC_STATS | StatxMask::BTIME;
        (out.ino, out.size, out.nlink, out.btime) = (attr.ino, attr.size, attr.nlink, BORN);
        (out.atime, out.mtime, out.ctime) = (attr.atime, attr.mtime, attr.ctime);
        out.mode = u16::try_from(attr.mode).map_err(|_| Errno::EOVERFLOW)?;
        Ok(reply::StatxReply::new(out, self.config.timeout))
    }
}
