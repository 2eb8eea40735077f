//! Open files: open or make, read, write, and close.
//!
//! Locks on them have a module of their own.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fusewire_proto::op::{self, Whence};
use fusewire_proto::reply::Opened;
use fusewire_proto::{
    Access, Attr, Errno, FallocateMode, FileHandle, FileType, InitFlags, IoctlFlags, LockOwner, NodeId, Opcode,
    OpenFlags, OpenedFlags, PollEvents, PollHandle, ReleaseFlags,
};

use crate::vfs::attributes::Change;
use crate::vfs::cache::Pin;
use crate::vfs::names::wire_name;
use crate::vfs::walk::{Last, Place};
use crate::vfs::{Mount, Range};

/// An open file. Dropping it closes it.
pub struct File {
    pub(super) mount: Mount,
    pub(super) pin: Pin,
    /// `None`: the daemon needs no handle.
    handle: Option<FileHandle>,
    flags: OpenFlags,
    opened: OpenedFlags,
    /// Whose flock(2) locks those of this open file are.
    pub(super) flock_owner: LockOwner,
    /// flock(2) was used.
    pub(super) flocked: AtomicBool,
    closed: bool,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("node", &self.pin.node).field("handle", &self.handle).finish_non_exhaustive()
    }
}

/// How many symbolic links opening a file for making may go through.
const MOST_LINKS: u32 = 40;

impl Mount {
    /// Opens a file, as open(2) with these `O_*` flags, umask 022 and mode 0666 for a file that is made.
    ///
    /// # Errors
    /// What open(2) says, or the daemon.
    pub fn open(&self, path: impl AsRef<Path>, flags: i32) -> Result<File, Errno> {
        self.open_with(path, flags, 0o666)
    }

    /// Opens a file, as open(2) with these `O_*` flags, umask 022 and this mode for a file that is made.
    ///
    /// # Errors
    /// What open(2) says, or the daemon.
    pub fn open_with(&self, path: impl AsRef<Path>, flags: i32, mode: u32) -> Result<File, Errno> {
        let open = OpenFlags::from_libc(flags);
        if open.contains(libc::O_CREAT) {
            return self.open_or_make(self.place(path)?, open, mode);
        }
        let last = if open.contains(libc::O_NOFOLLOW) { Last::Stay } else { Last::Follow };
        let pin = self.walk(path, last)?;
        self.open_node(pin, open)
    }

    fn open_or_make(&self, mut place: Place, flags: OpenFlags, mode: u32) -> Result<File, Errno> {
        for _ in 0..=MOST_LINKS {
            let name = place.name.clone().ok_or(Errno::EISDIR)?;
            if place.slash {
                return Err(Errno::EISDIR);
            }
            match self.look_up(place.dir()?, &name) {
                Ok(_) if flags.contains(libc::O_EXCL) => return Err(Errno::EEXIST),
                Ok(pin) if pin.kind() == FileType::SYMLINK => {
                    if flags.contains(libc::O_NOFOLLOW) {
                        return Err(Errno::ELOOP);
                    }
                    place = self.place_behind(place, &pin)?;
                }
                Ok(pin) if pin.is_directory() => return Err(Errno::EISDIR),
                Ok(pin) => return self.open_node(pin, flags),
                Err(Errno::ENOENT) => return self.make(place.dir()?, &name, flags, mode),
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::ELOOP)
    }

    fn make(&self, dir: &Pin, name: &[u8], flags: OpenFlags, mode: u32) -> Result<File, Errno> {
        let full = FileType::REGULAR.mode_bits() | self.masked(mode & 0o7777);
        let mut request = op::Create::new(dir.node, full, without(flags, libc::O_NOCTTY), wire_name(name)?);
        request.umask = Self::umask();
        match self.ask(request) {
            Ok(answer) => {
                let created = answer.created()?;
                self.cache().changed(dir.node);
                if created.entry.node == NodeId(0) || created.entry.node == NodeId::ROOT {
                    return Err(Errno::EIO);
                }
                let pin = self.adopt_name(dir, name, &created.entry);
                Ok(self.opened(pin, Some(created.opened), flags))
            }
            // fs/fuse/dir.c fuse_atomic_open(): mknod.
            Err(Errno::ENOSYS) => {
                let mut request = op::Mknod::new(dir.node, full, wire_name(name)?);
                request.umask = Self::umask();
                let entry = self.ask(request)?.entry()?;
                self.cache().changed(dir.node);
                let pin = self.adopt_name(dir, name, &entry);
                self.open_node(pin, without(flags, libc::O_TRUNC))
            }
            Err(errno) => Err(errno),
        }
    }

    /// Makes a file without a name in a directory, as open(2) with `O_TMPFILE`.
    ///
    /// # Errors
    /// What the daemon says; `EOPNOTSUPP` if it does not know the operation, or the protocol is older than 7.37.
    pub fn open_tmpfile(&self, dir: impl AsRef<Path>, flags: i32, mode: u32) -> Result<File, Errno> {
        let dir = self.walk(dir, Last::Follow)?;
        if !dir.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        if self.negotiated().minor < 37 {
            return Err(Errno::EOPNOTSUPP);
        }
        let flags = OpenFlags::from_libc(flags | libc::O_TMPFILE);
        let full = FileType::REGULAR.mode_bits() | self.masked(mode & 0o7777);
        let mut request = op::Tmpfile::new(dir.node, full, flags);
        request.umask = Self::umask();
        let created = self.ask(request)?.created()?;
        let pin = self.adopt(&created.entry);
        Ok(self.opened(pin, Some(created.opened), flags))
    }

    fn open_node(&self, pin: Pin, flags: OpenFlags) -> Result<File, Errno> {
        match pin.kind() {
            FileType::SYMLINK => return Err(Errno::ELOOP),
            FileType::DIRECTORY if flags.access() != Access::Read => return Err(Errno::EISDIR),
            FileType::DIRECTORY => {
                // Directories are read through `Directory`; opened as a file, all that is left of them is fsync and stat.
                return Err(Errno::EISDIR);
            }
            _ if flags.contains(libc::O_DIRECTORY) => return Err(Errno::ENOTDIR),
            FileType::REGULAR => {}
            // Pipes, sockets and devices are opened by the kernel alone.
            _ => return Err(Errno::ENXIO),
        }
        let atomic = self.has(InitFlags::ATOMIC_O_TRUNC);
        let sent =
            without(flags, libc::O_CREAT | libc::O_EXCL | libc::O_NOCTTY | if atomic { 0 } else { libc::O_TRUNC });
        let opened = match self.ask(op::Open::new(pin.node, sent)) {
            Ok(answer) => Some(answer.opened()?),
            Err(Errno::ENOSYS) => None,
            Err(errno) => return Err(errno),
        };
        let file = self.opened(pin, opened, flags);
        if flags.contains(libc::O_TRUNC) {
            if atomic && opened.is_some() {
                self.cache().changed(file.pin.node);
            } else {
                self.change_node(&file.pin, Change::size(0), file.handle)?;
            }
        }
        Ok(file)
    }

    fn opened(&self, pin: Pin, opened: Option<Opened>, flags: OpenFlags) -> File {
        File {
            mount: self.clone(),
            pin,
            handle: opened.map(|opened| opened.handle),
            flags,
            opened: opened.map_or(OpenedFlags::empty(), |opened| opened.flags),
            flock_owner: self.new_owner(),
            flocked: AtomicBool::new(false),
            closed: false,
        }
    }

    /// The whole contents of a file.
    ///
    /// # Errors
    /// What open(2) and read(2) say, or the daemon.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, Errno> {
        let file = self.open(path, libc::O_RDONLY)?;
        let mut all = Vec::new();
        loop {
            let offset = u64::try_from(all.len()).map_err(|_| Errno::EFBIG)?;
            let part = file.pread(offset, file.most_data())?;
            if part.is_empty() {
                break;
            }
            all.extend_from_slice(&part);
        }
        file.close()?;
        Ok(all)
    }

    /// Makes or replaces the contents of a file.
    ///
    /// # Errors
    /// What open(2) and write(2) say, or the daemon; `EIO` for a short write.
    pub fn write(&self, path: impl AsRef<Path>, data: impl AsRef<[u8]>) -> Result<(), Errno> {
        let data = data.as_ref();
        let file = self.open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC)?;
        if file.pwrite(0, data)? != data.len() {
            return Err(Errno::EIO);
        }
        file.close()
    }
}

/// Flags without some.
fn without(flags: OpenFlags, gone: i32) -> OpenFlags {
    OpenFlags::from_libc(flags.to_libc() & !gone)
}

impl File {
    /// The node that it is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.pin.node
    }

    /// The handle that the daemon gave, if it needs one.
    #[must_use]
    pub fn handle(&self) -> Option<FileHandle> {
        self.handle
    }

    /// How the daemon wants it to be treated.
    #[must_use]
    pub fn opened_flags(&self) -> OpenedFlags {
        self.opened
    }

    /// The handle as requests name it.
    pub(super) fn fh(&self) -> FileHandle {
        self.handle.unwrap_or_default()
    }

    /// The most bytes that are read or written with one request.
    fn most_data(&self) -> usize {
        let negotiated = self.mount.negotiated();
        usize::from(negotiated.max_pages) * 4096
    }

    /// Reads up to `length` bytes from `offset` on, as pread(2). Fewer are the end of the file.
    ///
    /// # Errors
    /// `EBADF` if it is not open for reading; what the daemon says.
    pub fn pread(&self, offset: u64, length: usize) -> Result<Vec<u8>, Errno> {
        if self.flags.access() == Access::Write {
            return Err(Errno::EBADF);
        }
        let mut data = Vec::new();
        while data.len() < length {
            let part = (length - data.len()).min(self.most_data());
            let size = u32::try_from(part).map_err(|_| Errno::EINVAL)?;
            let mut request = op::Read::new(self.pin.node, self.fh(), offset.saturating_add(len(&data)), size);
            request.flags = self.flags;
            let answer = match self.mount.ask(request) {
                Ok(answer) => answer,
                Err(_) if !data.is_empty() => break,
                Err(errno) => return Err(errno),
            };
            let bytes = answer.data()?;
            data.extend_from_slice(bytes);
            if bytes.len() < part {
                break;
            }
        }
        Ok(data)
    }

    /// Writes `data` from `offset` on, as pwrite(2); returns how much was written. With `O_APPEND` it goes to the end.
    ///
    /// # Errors
    /// `EBADF` if it is not open for writing; what the daemon says.
    pub fn pwrite(&self, offset: u64, data: impl AsRef<[u8]>) -> Result<usize, Errno> {
        let data = data.as_ref();
        if self.flags.access() == Access::Read {
            return Err(Errno::EBADF);
        }
        let offset = if self.flags.contains(libc::O_APPEND) { self.stat()?.size } else { offset };
        let most = usize::try_from(self.mount.negotiated().max_write).unwrap_or(usize::MAX).min(self.most_data());
        let mut done = 0;
        for part in data.chunks(most) {
            let at = offset.saturating_add(u64::try_from(done).map_err(|_| Errno::EFBIG)?);
            if at.checked_add(len(part)).is_none_or(|end| i64::try_from(end).is_err()) {
                return if done > 0 { Ok(done) } else { Err(Errno::EFBIG) };
            }
            let mut request = op::Write::new(self.pin.node, self.fh(), at, part);
            request.flags = without(self.flags, libc::O_CREAT | libc::O_EXCL | libc::O_NOCTTY);
            let written = match self.mount.ask(request) {
                Ok(answer) => usize::try_from(answer.written()?.size).unwrap_or(usize::MAX).min(part.len()),
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            };
            done += written;
            if written < part.len() {
                break;
            }
        }
        self.mount.cache().changed(self.pin.node);
        Ok(done)
    }

    /// The attributes, as fstat(2).
    ///
    /// # Errors
    /// What the daemon says.
    pub fn stat(&self) -> Result<Attr, Errno> {
        self.mount.attr_of(&self.pin, self.handle)
    }

    /// Changes attributes, as fchmod(2), fchown(2), ftruncate(2) and futimens(3); returns all of them, as they are then.
    ///
    /// # Errors
    /// `EINVAL` for a size if it is not open for writing; what the daemon says.
    pub fn change(&self, change: Change) -> Result<Attr, Errno> {
        if change.size.is_some() && self.flags.access() == Access::Read {
            return Err(Errno::EINVAL);
        }
        self.mount.change_node(&self.pin, change, self.handle.filter(|_| change.size.is_some()))
    }

    /// Brings the data to stable storage, as fsync(2).
    ///
    /// # Errors
    /// What the daemon says; nothing if it does not know the operation.
    pub fn sync(&self) -> Result<(), Errno> {
        self.mount.ask_or_skip(op::Fsync::new(self.pin.node, self.fh()))
    }

    /// Reserves room or makes holes, as fallocate(2).
    ///
    /// # Errors
    /// What the daemon says; `EOPNOTSUPP` if it does not know the operation, or for modes that FUSE has not.
    pub fn fallocate(&self, mode: FallocateMode, offset: u64, length: u64) -> Result<(), Errno> {
        // fs/fuse/file.c fuse_file_fallocate().
        let known = FallocateMode::KEEP_SIZE | FallocateMode::PUNCH_HOLE | FallocateMode::ZERO_RANGE;
        if self.flags.access() == Access::Read {
            return Err(Errno::EBADF);
        }
        if length == 0 {
            return Err(Errno::EINVAL);
        }
        if !(mode - known).is_empty() {
            return Err(Errno::EOPNOTSUPP);
        }
        self.mount.ask(op::Fallocate::new(self.pin.node, self.fh(), offset, length, mode))?;
        self.mount.cache().changed(self.pin.node);
        Ok(())
    }

    /// Finds the next data or hole, as lseek(2). If the daemon does not know the operation, all of the file is data.
    ///
    /// # Errors
    /// `ENXIO` behind the end of the file; what the daemon says.
    pub fn seek(&self, offset: u64, whence: Whence) -> Result<u64, Errno> {
        match self.mount.ask(op::Lseek::new(self.pin.node, self.fh(), offset, whence)) {
            Ok(answer) => Ok(answer.offset()?.offset),
            Err(Errno::ENOSYS) => {
                let size = self.stat()?.size;
                match offset >= size {
                    true => Err(Errno::ENXIO),
                    false if whence == Whence::HOLE => Ok(size),
                    false => Ok(offset),
                }
            }
            Err(errno) => Err(errno),
        }
    }

    /// Copies `length` bytes to another open file, as copy_file_range(2); returns how many. If the daemon does not know the
    /// operation, by reading and writing.
    ///
    /// # Errors
    /// What the daemon says.
    pub fn copy_to(&self, offset: u64, to: &Self, to_offset: u64, length: u64) -> Result<u64, Errno> {
        let (node, fh, out, out_fh) = (self.pin.node, self.fh(), to.pin.node, to.fh());
        to.mount.cache().changed(out);
        if self.mount.negotiated().minor >= 45 {
            let request = op::CopyFileRange64::new(node, fh, offset, out, out_fh, to_offset, length);
            match self.mount.ask(request) {
                Err(Errno::ENOSYS) => {}
                answer => return Ok(answer?.copied()?.size),
            }
        }
        let short = length.min(u64::from(u32::MAX - 4095));
        match self.mount.ask(op::CopyFileRange::new(node, fh, offset, out, out_fh, to_offset, short)) {
            Err(Errno::ENOSYS | Errno::EOPNOTSUPP) => {}
            answer => return Ok(u64::from(answer?.written()?.size)),
        }
        let most = usize::try_from(length).unwrap_or(usize::MAX).min(self.most_data());
        let data = self.pread(offset, most)?;
        let done = to.pwrite(to_offset, &data)?;
        u64::try_from(done).map_err(|_| Errno::EFBIG)
    }

    /// Passes an ioctl(2) on, with these bytes of the caller and this much room for an answer; returns the result and the
    /// answer.
    ///
    /// # Errors
    /// What the daemon says; `ENOTTY` if it does not know the operation.
    pub fn ioctl(&self, command: u32, data: &[u8], out_size: u32) -> Result<(i32, Vec<u8>), Errno> {
        let mut request = op::Ioctl::new(self.pin.node, self.fh(), command, data);
        request.out_size = out_size;
        let answer = self.mount.ask(request).map_err(|errno| match errno {
            // fs/fuse/ioctl.c fuse_do_ioctl().
            Errno::ENOSYS => Errno::ENOTTY,
            errno => errno,
        })?;
        let reply = answer.ioctl()?;
        if reply.flags.contains(IoctlFlags::RETRY) {
            // Only for CUSE, which may name any memory.
            return Err(Errno::EIO);
        }
        Ok((reply.result, reply.data.to_vec()))
    }

    /// Asks which of these events have happened, as poll(2) without waiting. `handle` is what a later notification names.
    ///
    /// # Errors
    /// What the daemon says.
    pub fn poll(&self, events: PollEvents, handle: Option<PollHandle>) -> Result<PollEvents, Errno> {
        let mut flags = fusewire_proto::PollFlags::empty();
        flags.set(fusewire_proto::PollFlags::SCHEDULE_NOTIFY, handle.is_some());
        let request = op::Poll::new(self.pin.node, self.fh(), handle.unwrap_or_default(), flags, events);
        match self.mount.ask(request) {
            Ok(answer) => Ok(answer.polled()?.events),
            // DEFAULT_POLLMASK of linux/poll.h.
            Err(Errno::ENOSYS) => {
                Ok(events & (PollEvents::IN | PollEvents::OUT | PollEvents::RDNORM | PollEvents::WRNORM))
            }
            Err(errno) => Err(errno),
        }
    }

    /// Closes it, and says what the daemon says to that.
    ///
    /// # Errors
    /// What the daemon answers to `FLUSH`.
    pub fn close(mut self) -> Result<(), Errno> {
        self.shut()
    }

    fn shut(&mut self) -> Result<(), Errno> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        let mount = &self.mount;
        // The locks of the process on this file go with any of its descriptors (fcntl(2)).
        mount.inner.locks.unlock(self.pin.node, mount.owner, Range::all());
        let flushed = if self.opened.contains(OpenedFlags::NOFLUSH) {
            Ok(())
        } else {
            mount.ask_or_skip(op::Flush::new(self.pin.node, self.fh(), mount.owner))
        };
        mount.inner.locks.unlock(self.pin.node, self.flock_owner, Range::all());
        if let Some(handle) = self.handle.filter(|_| mount.supports(Opcode::OPEN)) {
            let mut request = op::Release::new(self.pin.node, handle);
            request.flags = without(self.flags, libc::O_CREAT | libc::O_EXCL | libc::O_NOCTTY);
            if self.flocked.load(Ordering::Relaxed) {
                request.release_flags |= ReleaseFlags::FLOCK_UNLOCK;
                request.lock_owner = self.flock_owner;
            }
            // Nobody looks at the answer.
            let _ = mount.ask(request);
        }
        flushed
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // Whoever wants to know closes it.
        let _ = self.shut();
    }
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
