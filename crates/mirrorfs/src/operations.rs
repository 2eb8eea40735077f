//! The operations: each a system call or two on what the kernel names by node id or handle.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fusewire::op::Whence;
use fusewire::{
    Context, Errno, FsyncFlags, Gid, InitFlags, Name, Negotiated, NodeId, Notifier, Uid, Wishes, WriteFlags, op, reply,
    sink,
};
use rustix::fs::{
    AtFlags, FallocateFlags, FileType, Mode, OFlags, SeekFrom, StatxFlags, XattrFlags, chownat, copy_file_range,
    fallocate, fdatasync, fstat, fstatvfs, fsync, linkat, mkdirat, mknodat, openat, readlinkat_raw, renameat,
    renameat_with, seek, statx, symlinkat, unlinkat,
};
use rustix::io;

use crate::attributes;
use crate::credentials::{errno, has_sgid, set_umask};
use crate::directory::{Directory, Plain, Plus};
use crate::inode::{Held, Key};
use crate::mirror::Mirror;
use crate::open::{OpenFile, for_execution, readable, source_flags};
use crate::options::{CacheMode, Change, Xattrs};
use crate::xattrs;

/// Permission bits that a request may set.
const PERMISSIONS: u32 = 0o7777;

fn done(result: io::Result<()>) -> Result<reply::Done, Errno> {
    result.map(|()| reply::Done).map_err(errno)
}

fn mode(bits: u32) -> Mode {
    Mode::from_bits_truncate(bits & PERMISSIONS)
}

/// What something is to be made with.
#[derive(Clone, Copy)]
struct Asked {
    /// Permission bits.
    mode: u32,
    umask: u32,
}

impl Mirror {
    /// Makes something of this type in `parent` with the rights and the umask of the caller, then looks it up.
    fn make(
        &self,
        cx: &Context<'_>,
        (parent, name): (&Held, &Name),
        (kind, asked): (FileType, Asked),
        make: impl Fn(Mode) -> io::Result<()>,
    ) -> Result<reply::Entry, Errno> {
        let mode = self.mode_of_new(kind, asked)?;
        self.identity.make(cx, mode.bits(), || make(mode))?;
        self.open_child(parent, name)
    }

    /// The permission bits to make something with; sets the umask.
    fn mode_of_new(&self, kind: FileType, asked: Asked) -> Result<Mode, Errno> {
        let Some(rules) = &self.options.create_with_permissions else {
            set_umask(asked.umask)?;
            return Ok(mode(asked.mode));
        };
        // They have the last word.
        set_umask(0)?;
        Ok(mode(rules.apply(kind.as_raw_mode() | asked.mode & PERMISSIONS & !asked.umask)))
    }

    fn open_file(&self, cx: &Context<'_>, inode: &Held, op: &op::Open) -> Result<OpenFile, Errno> {
        let flags = source_flags(op.flags);
        let open = |flags| {
            let file = self.pruner.make_room(|| self.reopener.open(inode.as_fd(), flags))?;
            Ok(OpenFile::new(file, flags))
        };
        if for_execution(op.flags) {
            // The kernel has checked that the caller may execute it; to read it may be forbidden.
            return open(flags).map_err(errno);
        }
        let open_as_caller = |flags| self.identity.act(cx, || open(flags));
        let wanted = if self.gathers_writes() { readable(flags) } else { flags };
        match open_as_caller(wanted) {
            Err(Errno::EACCES) if wanted != flags => open_as_caller(flags),
            opened => opened,
        }
    }

    /// Opens a directory to list it.
    ///
    /// # Errors
    /// Those of open(2).
    fn open_directory(&self, inode: &Held) -> io::Result<OwnedFd> {
        self.pruner.make_room(|| self.reopener.open(inode.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY))
    }

    /// # Errors
    /// `EOPNOTSUPP` if attributes are left out.
    fn xattrs_there(&self) -> Result<(), Errno> {
        if self.options.xattrs == Xattrs::None { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
    }

    /// # Errors
    /// As for [`xattrs_there`](Self::xattrs_there); `EACCES` if they may only be read.
    fn xattrs_may_change(&self) -> Result<(), Errno> {
        self.xattrs_there()?;
        if self.options.xattrs == Xattrs::ReadOnly { Err(Errno::EACCES) } else { Ok(()) }
    }

    /// Leaves out the changes that are to be ignored, and makes owners those of the source.
    fn permit(&self, op: &mut op::Setattr) -> Result<(), Errno> {
        fn decide<T>(change: Change, value: Option<T>) -> Result<Option<T>, Errno> {
            match (change, value) {
                (Change::Deny, Some(_)) => Err(Errno::EPERM),
                (Change::Ignore, _) => Ok(None),
                (_, value) => Ok(value),
            }
        }
        let map = &self.options.map;
        op.uid = decide(self.options.chown, op.uid)?.map(|uid| Uid(map.source_user(uid.0)));
        op.gid = decide(self.options.chgrp, op.gid)?.map(|gid| Gid(map.source_group(gid.0)));
        let filter = |mode| self.options.chmod_filter.as_ref().map_or(mode, |rules| rules.apply(mode));
        op.mode = decide(self.options.chmod, op.mode)?.map(filter);
        Ok(())
    }

    /// Removes a name.
    fn remove(&self, cx: &Context<'_>, (parent, name): (&Held, &Name), flags: AtFlags) -> Result<reply::Done, Errno> {
        if self.options.deny_delete {
            return Err(Errno::EPERM);
        }
        self.identity.act(cx, || unlinkat(parent, name.as_os_str(), flags))?;
        Ok(reply::Done)
    }

    fn copy(&self, cx: &Context<'_>, op: &op::CopyFileRange64) -> Result<u64, Errno> {
        let (from, to) = (self.file(op.handle)?, self.file(op.out_handle)?);
        if op.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let length = usize::try_from(op.length).unwrap_or(usize::MAX);
        let copied = self.change_data(cx, &*to, || {
            let (mut offset, mut out_offset) = (op.offset, op.out_offset);
            copy_file_range(&*from, Some(&mut offset), &*to, Some(&mut out_offset), length)
        })?;
        u64::try_from(copied).map_err(|_| Errno::EOVERFLOW)
    }

    /// Changes the data of a file with the rights of the caller: what it may take of the disk, and whether suid and sgid go.
    fn change_data<R>(
        &self,
        cx: &Context<'_>,
        file: impl AsFd,
        change: impl Fn() -> io::Result<R>,
    ) -> Result<R, Errno> {
        if !self.identity.differs(cx) {
            return change().map_err(errno);
        }
        // Who is in the group of a file keeps its sgid bit, if the group may not execute it.
        let special = fstat(file).is_ok_and(|stat| has_sgid(stat.st_mode));
        if special { self.identity.act_with_groups(cx, change) } else { self.identity.act(cx, change) }
    }

    /// chown(2) to nobody, which takes suid and sgid away, comes as a change of nothing; and so does a write before which the kernel would
    /// have the filesystem clear them. For the owner both come to the same; what others mean cannot be told, and they leave alone what
    /// has them.
    fn change_nothing(&self, cx: &Context<'_>, inode: &Held) -> Result<(), Errno> {
        let stat = fstat(inode).map_err(errno)?;
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let privileged = stat.st_mode & (libc::S_ISUID | libc::S_ISGID) != 0 && !directory;
        let owner = cx.uid().is_some_and(|uid| uid != Uid(0) && self.options.map.source_user(uid.0) == stat.st_uid);
        if privileged && !owner {
            return Ok(());
        }
        self.identity.act_with_groups(cx, || chownat(inode, c"", None, None, AtFlags::EMPTY_PATH))
    }

    /// Sets times that the kernel keeps. It sends them in the name of whoever wrote or closed the file, whom the source would not let
    /// set times; those that callers ask for it has checked.
    fn set_gathered_times(&self, inode: &Held, file: Option<BorrowedFd<'_>>, op: &op::Setattr) -> Result<(), Errno> {
        match attributes::change(&self.reopener, inode.as_fd(), file, op) {
            // Not ours to set, either: writing has set them to much the same.
            Err(io::Errno::PERM) if op.atime.is_none() => Ok(()),
            set => set.map_err(errno),
        }
    }

    fn sync(file: impl AsFd, flags: FsyncFlags) -> io::Result<()> {
        if flags.contains(FsyncFlags::FDATASYNC) { fdatasync(file) } else { fsync(file) }
    }
}

impl fusewire::Filesystem for Mirror {
    fn init(&self, _: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
        let root = self.inode(NodeId::ROOT)?;
        self.places.add_mount(&self.reopener, &root, root.key().device);
        wishes.want(InitFlags::DONT_MASK | InitFlags::DIRECT_IO_ALLOW_MMAP);
        // A name that may not be believed is looked up when it is needed, whatever the listing said of it.
        if !self.caching.entry.is_zero() {
            wishes.want(InitFlags::DO_READDIRPLUS | InitFlags::READDIRPLUS_AUTO);
        }
        // With it, a file would be empty before the kernel finds that it is being executed and may not be truncated.
        wishes.refuse(InitFlags::ATOMIC_O_TRUNC);
        if self.identity.clears_privileges() {
            wishes.want(InitFlags::HANDLE_KILLPRIV_V2);
        }
        if self.has_acls() {
            wishes.want(InitFlags::POSIX_ACL);
        }
        if self.options.writeback {
            wishes.want(InitFlags::WRITEBACK_CACHE);
        }
        if self.options.passthrough {
            wishes.require(InitFlags::PASSTHROUGH);
            // So that the source may be an overlayfs.
            wishes.max_stack_depth = 2;
        }
        if self.caching.mode == CacheMode::Always {
            wishes.want(InitFlags::CACHE_SYMLINKS).refuse(InitFlags::AUTO_INVAL_DATA);
        }
        Ok(())
    }

    fn ready(&self, negotiated: &Negotiated, notifier: &Notifier) {
        self.agree(negotiated.flags, notifier.clone());
        self.pruner.ready(&self.inodes, negotiated.minor, notifier);
    }

    fn destroy(&self) {
        self.pruner.stop();
    }

    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        let parent = self.inode(op.parent)?;
        match self.child(&parent, op.name) {
            Ok(found) => {
                if FileType::from_raw_mode(found.attr.mode) != FileType::Directory {
                    self.look_ahead.looked_up(&parent.last_listing);
                }
                Ok(found)
            }
            Err(Errno::ENOENT) if !self.caching.negative.is_zero() => Ok(reply::Entry::negative(self.caching.negative)),
            Err(error) => Err(error),
        }
    }

    fn forget(&self, _: &Context<'_>, op: op::Forget) {
        if self.inodes.forget(op.node, op.nlookup).is_some_and(|inode| !inode.has_descriptor()) {
            self.places.forgotten(op.node);
        }
    }

    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        match op.handle.and_then(|handle| self.files.get(handle)) {
            Some(file) => self.attributes(&*file),
            None => self.attributes(&self.inode(op.node)?),
        }
    }

    fn setattr(&self, cx: &Context<'_>, mut op: op::Setattr) -> Result<reply::Attributes, Errno> {
        let inode = self.inode(op.node)?;
        let times = if op.ctime.is_some() { attributes::take_times(&mut op) } else { None };
        let nothing = times.is_none() && op == op::Setattr::new(op.node);
        self.permit(&mut op)?;
        let file = op.handle.and_then(|handle| self.files.get(handle));
        let writable = file.as_ref().and_then(|file| file.writable());
        let change = || self.pruner.make_room(|| attributes::change(&self.reopener, inode.as_fd(), writable, &op));
        if op.uid.is_some() || op.gid.is_some() || op.mode.is_some_and(has_sgid) {
            self.identity.act_with_groups(cx, change)?;
        } else if op.size.is_some() {
            self.change_data(cx, &inode, change)?;
        } else if nothing {
            self.change_nothing(cx, &inode)?;
        } else {
            self.identity.act(cx, change)?;
        }
        if let Some(times) = times {
            self.set_gathered_times(&inode, writable, &times)?;
        }
        self.attributes(&inode)
    }

    fn readlink(&self, _: &Context<'_>, op: op::Readlink, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        let length = readlinkat_raw(&self.inode(op.node)?, c"", out.spare()).map_err(errno)?;
        out.advance(length);
        Ok(())
    }

    fn symlink(&self, cx: &Context<'_>, op: op::Symlink<'_>) -> Result<reply::Entry, Errno> {
        let parent = self.inode(op.parent)?;
        self.identity.make(cx, 0, || symlinkat(op.target.as_os_str(), &parent, op.name.as_os_str()))?;
        self.open_child(&parent, op.name)
    }

    fn mknod(&self, cx: &Context<'_>, op: op::Mknod<'_>) -> Result<reply::Entry, Errno> {
        let parent = self.inode(op.parent)?;
        let kind = FileType::from_raw_mode(op.mode);
        let asked = Asked { mode: op.mode, umask: op.umask };
        let make = |mode| mknodat(&parent, op.name.as_os_str(), kind, mode, u64::from(op.rdev));
        self.make(cx, (&parent, op.name), (kind, asked), make)
    }

    fn mkdir(&self, cx: &Context<'_>, op: op::Mkdir<'_>) -> Result<reply::Entry, Errno> {
        let parent = self.inode(op.parent)?;
        let asked = Asked { mode: op.mode, umask: op.umask };
        let make = |mode| mkdirat(&parent, op.name.as_os_str(), mode);
        self.make(cx, (&parent, op.name), (FileType::Directory, asked), make)
    }

    fn unlink(&self, cx: &Context<'_>, op: op::Unlink<'_>) -> Result<reply::Done, Errno> {
        self.remove(cx, (&self.inode(op.parent)?, op.name), AtFlags::empty())
    }

    fn rmdir(&self, cx: &Context<'_>, op: op::Rmdir<'_>) -> Result<reply::Done, Errno> {
        self.remove(cx, (&self.inode(op.parent)?, op.name), AtFlags::REMOVEDIR)
    }

    fn rename2(&self, cx: &Context<'_>, op: op::Rename2<'_>) -> Result<reply::Done, Errno> {
        if self.options.deny_rename {
            return Err(Errno::EPERM);
        }
        let (from, to) = (self.inode(op.parent)?, self.inode(op.new_parent)?);
        let (name, new_name) = (op.name.as_os_str(), op.new_name.as_os_str());
        self.identity.act(cx, || {
            if op.flags.is_empty() {
                renameat(&from, name, &to, new_name)
            } else {
                let flags = rustix::fs::RenameFlags::from_bits_retain(op.flags.bits());
                renameat_with(&from, name, &to, new_name, flags)
            }
        })?;
        Ok(reply::Done)
    }

    fn link(&self, cx: &Context<'_>, op: op::Link<'_>) -> Result<reply::Entry, Errno> {
        let (old, parent) = (self.inode(op.old)?, self.inode(op.new_parent)?);
        self.identity.act(cx, || {
            self.reopener.with_link(old.as_fd(), |directory, link| {
                linkat(directory, link, &parent, op.new_name.as_os_str(), AtFlags::SYMLINK_FOLLOW)
            })
        })?;
        self.child(&parent, op.new_name)
    }

    fn open(&self, cx: &Context<'_>, op: op::Open) -> Result<reply::Opened, Errno> {
        let inode = self.inode(op.node)?;
        let file = self.open_file(cx, &inode, &op)?;
        self.opened(&inode, file, None)
    }

    fn create(&self, cx: &Context<'_>, op: op::Create<'_>) -> Result<reply::Created, Errno> {
        let parent = self.inode(op.parent)?;
        let mode = self.mode_of_new(FileType::RegularFile, Asked { mode: op.mode, umask: op.umask })?;
        let asked = op.flags.contains(libc::O_EXCL);
        // The kernel takes what this opens for made just now, and does not check it. If the name has come up since it looked, and the
        // source does not check it for the caller either, the kernel has to look again.
        let exclusive = if asked || !self.identity.is_callers() { OFlags::EXCL } else { OFlags::empty() };
        let flags = source_flags(op.flags);
        let flags = if self.gathers_writes() { readable(flags) } else { flags };
        // Not to wait if the name has come up since the kernel looked, and is a fifo.
        let how = flags | exclusive | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let make = || self.pruner.make_room(|| openat(&parent, op.name.as_os_str(), how, mode));
        match self.identity.make(cx, mode.bits(), make) {
            Err(Errno::EEXIST) if !asked => Err(Errno::ESTALE),
            made => self.created(OpenFile::new(made?, flags)),
        }
    }

    fn tmpfile(&self, cx: &Context<'_>, op: op::Tmpfile) -> Result<reply::Created, Errno> {
        let parent = self.inode(op.parent)?;
        let mode = self.mode_of_new(FileType::RegularFile, Asked { mode: op.mode, umask: op.umask })?;
        let exclusive = if op.flags.contains(libc::O_EXCL) { OFlags::EXCL } else { OFlags::empty() };
        let flags = source_flags(op.flags) - OFlags::TMPFILE;
        let how = flags | exclusive | OFlags::TMPFILE;
        let make = || openat(&parent, c".", how, mode);
        let file = self.identity.make(cx, mode.bits(), make)?;
        self.created(OpenFile::new(file, flags))
    }

    fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        out.put_file(&*self.file(op.handle)?, op.offset)?;
        Ok(())
    }

    fn write(&self, cx: &Context<'_>, op: op::Write<'_>) -> Result<reply::Written, Errno> {
        let file = self.file(op.handle)?;
        let write = || file.write(&self.reopener, &op);
        // Only what a caller without rights writes takes suid and sgid away; capabilities go in any case.
        let size = if op.write_flags.contains(WriteFlags::KILL_SUIDGID) {
            self.change_data(cx, &*file, write)?
        } else {
            write().map_err(errno)?
        };
        Ok(reply::Written { size: u32::try_from(size).map_err(|_| Errno::EIO)? })
    }

    fn statfs(&self, _: &Context<'_>, op: op::Statfs) -> Result<reply::Statfs, Errno> {
        fstatvfs(&self.inode(op.node)?).map(|found| attributes::statfs(&found)).map_err(errno)
    }

    fn flush(&self, _: &Context<'_>, op: op::Flush) -> Result<reply::Done, Errno> {
        // Closing a copy brings up what closing the file would.
        let copy = self.file(op.handle)?.as_fd().try_clone_to_owned()?;
        nix::unistd::close(copy).map_err(std::io::Error::from)?;
        Ok(reply::Done)
    }

    fn release(&self, _: &Context<'_>, op: op::Release) -> Result<reply::Done, Errno> {
        self.files.remove(op.handle);
        Ok(reply::Done)
    }

    fn fsync(&self, _: &Context<'_>, op: op::Fsync) -> Result<reply::Done, Errno> {
        done(Self::sync(&*self.file(op.handle)?, op.fsync_flags))
    }

    fn opendir(&self, cx: &Context<'_>, op: op::Opendir) -> Result<reply::Opened, Errno> {
        let inode = self.inode(op.node)?;
        let directory = self.identity.act(cx, || self.open_directory(&inode))?;
        let handle = self.directories.insert(Directory::new(self.places.keep_listing(directory)));
        Ok(reply::Opened::new(handle).with_flags(self.caching.directory_flags()))
    }

    fn readdir(&self, _: &Context<'_>, op: op::Readdir, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
        let (inode, directory) = (self.inode(op.node)?, self.directory(op.handle)?);
        let device = inode.key().device;
        let left = usize::try_from(op.size).unwrap_or(usize::MAX);
        let show = |ino| self.shown_ino(Key { device, ino });
        let open = || self.open_directory(&inode);
        directory.list(open, op.offset, &mut Plain { out, left, show }).map_err(errno)
    }

    fn readdirplus(
        &self,
        _: &Context<'_>,
        op: op::Readdirplus,
        out: &mut sink::DirEntriesPlus<'_>,
    ) -> Result<(), Errno> {
        let (inode, directory) = (self.inode(op.node)?, self.directory(op.handle)?);
        let device = inode.key().device;
        let left = usize::try_from(op.size).unwrap_or(usize::MAX);
        let show = |ino| self.shown_ino(Key { device, ino });
        let files = self.look_ahead.is_useful(&inode.last_listing, op.offset);
        let look_up = |listed: &crate::directory::Listed<'_>| {
            if !files && !listed.is_directory() {
                return reply::Entry::not_looked_up();
            }
            let known = self.inodes.contains(&Key { device, ino: listed.ino });
            let entry = if known { self.child(&inode, listed.name) } else { self.open_child(&inode, listed.name) };
            // It is gone already, or cannot be held now: its name is listed all the same.
            entry.unwrap_or_else(|_| reply::Entry::not_looked_up())
        };
        let open = || self.open_directory(&inode);
        directory.list(open, op.offset, &mut Plus { out, left, show, look_up }).map_err(errno)
    }

    fn releasedir(&self, _: &Context<'_>, op: op::Releasedir) -> Result<reply::Done, Errno> {
        self.directories.remove(op.handle);
        Ok(reply::Done)
    }

    fn fsyncdir(&self, _: &Context<'_>, op: op::Fsyncdir) -> Result<reply::Done, Errno> {
        let (inode, directory) = (self.inode(op.node)?, self.directory(op.handle)?);
        let sync = |directory: BorrowedFd<'_>| Self::sync(directory, op.fsync_flags);
        done(directory.with_descriptor(|| self.open_directory(&inode), sync))
    }

    fn setxattr(&self, cx: &Context<'_>, op: op::Setxattr<'_>) -> Result<reply::Done, Errno> {
        let inode = self.inode(op.node)?;
        self.xattrs_may_change()?;
        let flags = XattrFlags::from_bits_retain(op.flags.bits());
        if xattrs::is_acl(op.name) {
            let value = xattrs::map_acl(
                op.value,
                |uid| self.options.map.source_user(uid),
                |gid| self.options.map.source_group(gid),
            );
            self.identity.act_with_groups(cx, || xattrs::set(inode.as_fd(), op.name, &value, flags))?;
        } else {
            self.identity.act(cx, || xattrs::set(inode.as_fd(), op.name, op.value, flags))?;
        }
        Ok(reply::Done)
    }

    fn getxattr(&self, cx: &Context<'_>, op: op::Getxattr<'_>, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        let inode = self.inode(op.node)?;
        self.xattrs_there()?;
        let get = |room: &mut [u8]| xattrs::get(inode.as_fd(), op.name, room);
        if op.name.as_bytes().starts_with(b"user.") {
            return out.fill(|room| Ok(self.identity.act(cx, || get(&mut *room))?));
        }
        // The kernel itself asks for ACLs and capabilities on behalf of callers who may not read the file.
        let map = &self.options.map;
        out.fill(|room| {
            let length = get(room)?;
            if xattrs::is_acl(op.name) && !map.is_empty() {
                let value = room.get_mut(..length).unwrap_or(&mut []);
                let shown = xattrs::map_acl(value, |uid| map.shown_user(uid), |gid| map.shown_group(gid));
                value.copy_from_slice(&shown);
            }
            Ok(length)
        })
    }

    fn listxattr(&self, cx: &Context<'_>, op: op::Listxattr, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        let inode = self.inode(op.node)?;
        self.xattrs_there()?;
        // Who may not read the attributes of the administrator does not see their names.
        out.fill(|room| Ok(self.identity.act(cx, || xattrs::list(inode.as_fd(), &mut *room))?))
    }

    fn removexattr(&self, cx: &Context<'_>, op: op::Removexattr<'_>) -> Result<reply::Done, Errno> {
        let inode = self.inode(op.node)?;
        if op.name.as_bytes() == xattrs::CAPABILITY {
            // Writing takes capabilities away, and the kernel has that done in the name of the writer, whom the source would not let. Callers
            // who ask for it themselves were checked (security/commoncap.c cap_inode_removexattr()).
            self.xattrs_there()?;
            xattrs::remove(inode.as_fd(), op.name).map_err(errno)?;
            return Ok(reply::Done);
        }
        self.xattrs_may_change()?;
        self.identity.act(cx, || xattrs::remove(inode.as_fd(), op.name))?;
        Ok(reply::Done)
    }

    fn fallocate(&self, cx: &Context<'_>, op: op::Fallocate) -> Result<reply::Done, Errno> {
        let file = self.file(op.handle)?;
        let mode = FallocateFlags::from_bits_retain(op.mode.bits());
        self.change_data(cx, &*file, || fallocate(&*file, mode, op.offset, op.length))?;
        Ok(reply::Done)
    }

    fn lseek(&self, _: &Context<'_>, op: op::Lseek) -> Result<reply::Offset, Errno> {
        // The kernel asks without having written what it has gathered (fs/fuse/file.c fuse_lseek()): that would be holes, and who
        // copies the file would leave it out. By itself, the kernel takes all of the file for data.
        if self.gathers_writes() {
            return Err(Errno::ENOSYS);
        }
        let from = match op.whence {
            Whence::DATA => SeekFrom::Data(op.offset),
            Whence::HOLE => SeekFrom::Hole(op.offset),
            _ => return Err(Errno::EINVAL),
        };
        let offset = seek(&*self.file(op.handle)?, from).map_err(errno)?;
        Ok(reply::Offset { offset })
    }

    fn copy_file_range_64(&self, cx: &Context<'_>, op: op::CopyFileRange64) -> Result<reply::Copied, Errno> {
        Ok(reply::Copied { size: self.copy(cx, &op)? })
    }

    fn statx(&self, _: &Context<'_>, op: op::Statx) -> Result<reply::StatxReply, Errno> {
        let inode = self.inode(op.node)?;
        let file = op.handle.and_then(|handle| self.files.get(handle));
        let place = file.as_ref().map_or(inode.as_fd(), |file| file.as_fd());
        let mask = StatxFlags::from_bits_retain(op.mask.bits());
        let found = statx(place, c"", AtFlags::EMPTY_PATH, mask).map_err(errno)?;
        let mut attr = attributes::statx_attr(&found, self.shown_ino(inode.key()));
        if let Some(view) = &self.view {
            view.show_statx(&mut attr);
        }
        Ok(reply::StatxReply::new(attr, self.caching.attr))
    }
}
