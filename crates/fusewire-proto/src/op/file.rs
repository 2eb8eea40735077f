//! Operations on files: open or make, read, write, close; and what open files can do beside.
//!
//! Operations on two ranges at a time are in the module of ranges.

use crate::abi;
use crate::attr::OpenFlags;
use crate::codec::{Args, DecodeError, EncodeError, RequestWriter, WireField, length_u32, length_usize};
use crate::flags::{
    FallocateMode, FsyncFlags, IoctlFlags, OpenRequestFlags, PollEvents, PollFlags, ReadFlags, ReleaseFlags, WriteFlags,
};
use crate::ids::{FileHandle, LockOwner, NodeId, PollHandle, Unique};
use crate::init::Negotiated;
use crate::name::Name;
use crate::op::{Operation, operation};
use crate::opcode::Opcode;

operation! {
    /// Opens a file. The handle in the answer comes with every operation on it, until `RELEASE`.
    ///
    /// Sent by open(2) and execve(2). `ENOSYS` is remembered if `NO_OPEN_SUPPORT` is offered: files then need no handle, and
    /// neither `OPEN` nor `RELEASE` is sent any more.
    Open = OPEN {
        /// The file.
        node node;
        fixed fuse_open_in {
            /// The flags of open(2), without `O_CREAT`, `O_EXCL` and `O_NOCTTY`; `O_TRUNC` only with `ATOMIC_O_TRUNC`.
            flags: OpenFlags = flags;
        }
        also {
            /// What is asked along with it. Since 7.33.
            open_flags: OpenRequestFlags = open_flags since 33;
        }
    }
}

operation! {
    /// Makes a regular file and opens it. Adds one to the lookup count of the new node, and gives a handle.
    ///
    /// Sent by open(2) with `O_CREAT` when the kernel does not know the name. The name may have appeared since; then, without
    /// `O_EXCL`, open what is there. `ENOSYS` is remembered: the kernel uses `MKNOD` and `OPEN` from then on.
    Create<'a> = CREATE {
        /// The directory.
        node parent;
        fixed fuse_create_in {
            /// Type and permission bits; the umask is applied already unless `DONT_MASK` is negotiated.
            mode: u32 = mode;
            /// The flags of open(2).
            flags: OpenFlags = flags;
        }
        also {
            /// The umask of the caller.
            umask: u32 = umask;
            /// What is asked along with it. Since 7.33.
            open_flags: OpenRequestFlags = open_flags since 33;
        }
        then {
            /// The name of the file.
            name: &'a Name;
        }
    }
}

/// Makes a file without a name in `parent` and opens it. Adds one to the lookup count of the new node, and gives a handle.
///
/// Sent by open(2) with `O_TMPFILE`. `ENOSYS` is remembered, and callers see `EOPNOTSUPP`. Since 7.37.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tmpfile {
    /// The directory whose filesystem the file is to be in.
    pub parent: NodeId,
    /// Type and permission bits; the umask is applied already unless `DONT_MASK` is negotiated.
    pub mode: u32,
    /// The flags of open(2).
    pub flags: OpenFlags,
    /// The umask of the caller.
    pub umask: u32,
    /// What is asked along with it.
    pub open_flags: OpenRequestFlags,
}

impl Tmpfile {
    /// The operation with these arguments, and all others at their default.
    #[must_use]
    pub fn new(parent: NodeId, mode: u32, flags: OpenFlags) -> Self {
        Self { parent, mode, flags, umask: 0, open_flags: OpenRequestFlags::empty() }
    }
}

/// What stands for the name of a file that has none: `fs/namei.c vfs_tmpfile()` names it with a slash.
const NO_NAME: &[u8] = b"/\0";

impl<'a> Operation<'a> for Tmpfile {
    fn opcode(&self) -> Opcode {
        Opcode::TMPFILE
    }

    fn node(&self) -> NodeId {
        self.parent
    }

    fn decode(_: Unique, parent: NodeId, args: &mut Args<'a>, _: &Negotiated) -> Result<Self, DecodeError> {
        let raw: abi::fuse_create_in = args.fixed("fuse_create_in")?;
        args.data("name", NO_NAME.len())?;
        Ok(Self {
            parent,
            mode: raw.mode,
            flags: OpenFlags(raw.flags),
            umask: raw.umask,
            open_flags: WireField::from_wire(raw.open_flags),
        })
    }

    fn encode(&self, _: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
        out.fixed(&abi::fuse_create_in {
            flags: self.flags.0,
            mode: self.mode,
            umask: self.umask,
            open_flags: self.open_flags.bits(),
        });
        out.payload(NO_NAME);
        Ok(())
    }
}

/// Reads data of an open file.
///
/// Sent by the page cache for what it does not have, which may be more than the program asked for (read-ahead); with
/// `DIRECT_IO`, by read(2) itself. An answer with fewer bytes than asked for means the end of the file, except with
/// `DIRECT_IO`, where it is just a short read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Read {
    /// The file.
    pub node: NodeId,
    /// The open file.
    pub handle: FileHandle,
    /// The first byte.
    pub offset: u64,
    /// How many bytes.
    pub size: u32,
    /// Who would own a mandatory lock.
    pub lock_owner: Option<LockOwner>,
    /// What else the kernel says; without `LOCKOWNER`, which is `lock_owner`.
    pub read_flags: ReadFlags,
    /// The flags that the file is open with.
    pub flags: OpenFlags,
}

impl Read {
    /// Reads `size` bytes from `offset` on.
    #[must_use]
    pub fn new(node: NodeId, handle: FileHandle, offset: u64, size: u32) -> Self {
        Self {
            node,
            handle,
            offset,
            size,
            lock_owner: None,
            read_flags: ReadFlags::empty(),
            flags: OpenFlags::default(),
        }
    }
}

impl<'a> Operation<'a> for Read {
    fn opcode(&self) -> Opcode {
        Opcode::READ
    }

    fn node(&self) -> NodeId {
        self.node
    }

    fn reply_limit(&self) -> Option<u32> {
        Some(self.size)
    }

    #[inline]
    fn decode(_: Unique, node: NodeId, args: &mut Args<'a>, _: &Negotiated) -> Result<Self, DecodeError> {
        let raw: abi::fuse_read_in = args.fixed("fuse_read_in")?;
        let read_flags = ReadFlags::from_wire(raw.read_flags);
        Ok(Self {
            node,
            handle: FileHandle(raw.fh),
            offset: raw.offset,
            size: raw.size,
            lock_owner: read_flags.contains(ReadFlags::LOCKOWNER).then_some(LockOwner(raw.lock_owner)),
            read_flags: read_flags - ReadFlags::LOCKOWNER,
            flags: OpenFlags(raw.flags),
        })
    }

    fn encode(&self, _: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
        let mut read_flags = self.read_flags;
        read_flags.set(ReadFlags::LOCKOWNER, self.lock_owner.is_some());
        out.fixed(&abi::fuse_read_in {
            fh: self.handle.0,
            offset: self.offset,
            size: self.size,
            read_flags: read_flags.bits(),
            lock_owner: self.lock_owner.unwrap_or_default().0,
            flags: self.flags.0,
            padding: 0,
        });
        Ok(())
    }
}

/// Writes data to an open file.
///
/// Sent by write(2); and later, by the page cache, for memory maps and with the write-back cache. An answer that reports
/// fewer bytes than were sent is a short write to the caller of direct I/O, and an error for data of the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Write<'a> {
    /// The file.
    pub node: NodeId,
    /// The open file. With `WriteFlags::CACHE` any that was open for writing.
    pub handle: FileHandle,
    /// Where the first byte goes; absolute, also with `O_APPEND`.
    pub offset: u64,
    /// What is written.
    pub data: &'a [u8],
    /// Who would own a mandatory lock.
    pub lock_owner: Option<LockOwner>,
    /// What else the kernel says; without `LOCKOWNER`, which is `lock_owner`.
    pub write_flags: WriteFlags,
    /// The flags that the file is open with.
    pub flags: OpenFlags,
}

impl<'a> Write<'a> {
    /// Writes `data` from `offset` on.
    #[must_use]
    pub fn new(node: NodeId, handle: FileHandle, offset: u64, data: &'a [u8]) -> Self {
        Self {
            node,
            handle,
            offset,
            data,
            lock_owner: None,
            write_flags: WriteFlags::empty(),
            flags: OpenFlags::default(),
        }
    }
}

impl<'a> Operation<'a> for Write<'a> {
    fn opcode(&self) -> Opcode {
        Opcode::WRITE
    }

    fn node(&self) -> NodeId {
        self.node
    }

    #[inline]
    fn decode(_: Unique, node: NodeId, args: &mut Args<'a>, _: &Negotiated) -> Result<Self, DecodeError> {
        let raw: abi::fuse_write_in = args.fixed("fuse_write_in")?;
        let write_flags = WriteFlags::from_wire(raw.write_flags);
        Ok(Self {
            node,
            handle: FileHandle(raw.fh),
            offset: raw.offset,
            data: args.data("data", length_usize(raw.size))?,
            lock_owner: write_flags.contains(WriteFlags::LOCKOWNER).then_some(LockOwner(raw.lock_owner)),
            write_flags: write_flags - WriteFlags::LOCKOWNER,
            flags: OpenFlags(raw.flags),
        })
    }

    fn encode(&self, _: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
        let mut write_flags = self.write_flags;
        write_flags.set(WriteFlags::LOCKOWNER, self.lock_owner.is_some());
        out.fixed(&abi::fuse_write_in {
            fh: self.handle.0,
            offset: self.offset,
            size: length_u32(self.data.len(), "data")?,
            write_flags: write_flags.bits(),
            lock_owner: self.lock_owner.unwrap_or_default().0,
            flags: self.flags.0,
            padding: 0,
        });
        out.payload(self.data);
        Ok(())
    }
}

operation! {
    /// A file descriptor of an open file is closed; others may be left. An error is what close(2) returns.
    ///
    /// Sent by every close(2), also of a duplicated descriptor. The POSIX locks of `lock_owner` end here. `ENOSYS` is
    /// remembered, and no `FLUSH` is sent any more.
    Flush = FLUSH {
        /// The file.
        node node;
        fixed fuse_flush_in {
            /// The open file.
            handle: FileHandle = fh;
            /// Whose POSIX locks go.
            lock_owner: LockOwner = lock_owner;
        }
    }
}

operation! {
    /// The last reference to an open file is gone, and its handle is free. Nobody looks at the answer.
    ///
    /// Sent once for each handle, when the last descriptor is closed and the last memory map is gone.
    Release = RELEASE {
        /// The file.
        node node;
        fixed fuse_release_in {
            /// The handle that goes.
            handle: FileHandle = fh;
        }
        also {
            /// The flags that the file was open with.
            flags: OpenFlags = flags;
            /// What to do along with it.
            release_flags: ReleaseFlags = release_flags;
            /// Whose locks go, if the flags say so.
            lock_owner: LockOwner = lock_owner;
        }
    }
}

operation! {
    /// Brings a file to stable storage.
    ///
    /// Sent by fsync(2), fdatasync(2) and msync(2). `ENOSYS` is remembered, and these calls succeed from then on.
    Fsync = FSYNC {
        /// The file.
        node node;
        fixed fuse_fsync_in {
            /// The open file.
            handle: FileHandle = fh;
        }
        also {
            /// How much of it.
            fsync_flags: FsyncFlags = fsync_flags;
        }
    }
}

operation! {
    /// Reserves room in a file, or makes holes in it.
    ///
    /// Sent by fallocate(2). `ENOSYS` is remembered, and callers see `EOPNOTSUPP`.
    Fallocate = FALLOCATE {
        /// The file.
        node node;
        fixed fuse_fallocate_in {
            /// The open file.
            handle: FileHandle = fh;
            /// The first byte.
            offset: u64 = offset;
            /// How many bytes.
            length: u64 = length;
            /// What is to be done with them.
            mode: FallocateMode = mode;
        }
    }
}

/// Where to seek to. Open: other numbers can be held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Whence(pub u32);

impl Whence {
    /// The next data at or behind the offset: `SEEK_DATA`.
    pub const DATA: Self = Self(libc::SEEK_DATA.cast_unsigned());
    /// The next hole at or behind the offset: `SEEK_HOLE`.
    pub const HOLE: Self = Self(libc::SEEK_HOLE.cast_unsigned());
}

impl WireField<u32> for Whence {
    fn from_wire(raw: u32) -> Self {
        Self(raw)
    }

    fn to_wire(self) -> u32 {
        self.0
    }
}

operation! {
    /// Finds the next data or the next hole; `ENXIO` if the offset is at or behind the end.
    ///
    /// Sent by lseek(2) with `SEEK_DATA` or `SEEK_HOLE`. All other seeks are the kernel's own business.
    Lseek = LSEEK {
        /// The file.
        node node;
        fixed fuse_lseek_in {
            /// The open file.
            handle: FileHandle = fh;
            /// From where on.
            offset: u64 = offset;
            /// What is looked for.
            whence: Whence = whence;
        }
    }
}

operation! {
    /// Maps block `block` of a file to a block of the device below.
    ///
    /// Sent by swapon(2) and the ioctl `FIBMAP`, for `fuseblk` mounts only.
    Bmap = BMAP {
        /// The file.
        node node;
        fixed fuse_bmap_in {
            /// The block of the file.
            block: u64 = block;
            /// The size of a block, in bytes.
            block_size: u32 = blocksize;
        }
    }
}

operation! {
    /// Asks which events have happened. If somebody waits, remember `poll_handle`, and notify when one happens.
    ///
    /// Sent by poll(2), select(2) and epoll_ctl(2). `ENOSYS` is remembered, and files are always ready from then on.
    Poll = POLL {
        /// The file.
        node node;
        fixed fuse_poll_in {
            /// The open file.
            handle: FileHandle = fh;
            /// What a later notification names.
            poll_handle: PollHandle = kh;
            /// Whether somebody waits.
            flags: PollFlags = flags;
            /// The events that are asked for.
            events: PollEvents = events;
        }
    }
}

/// Passes an ioctl(2) on.
///
/// Sent by ioctl(2) for commands that the kernel does not serve itself; also by isatty(3), as `TCGETS`. For callers,
/// `ENOSYS` becomes `ENOTTY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ioctl<'a> {
    /// The file or directory.
    pub node: NodeId,
    /// The open file.
    pub handle: FileHandle,
    /// The kind of caller and of file.
    pub flags: IoctlFlags,
    /// The command.
    pub command: u32,
    /// The argument: an address in the caller's memory, or a number.
    pub argument: u64,
    /// What the caller's memory holds there, as many bytes as the command says.
    pub data: &'a [u8],
    /// How many bytes can be answered.
    pub out_size: u32,
}

impl<'a> Ioctl<'a> {
    /// The command with these bytes from the caller, and no room for an answer.
    #[must_use]
    pub fn new(node: NodeId, handle: FileHandle, command: u32, data: &'a [u8]) -> Self {
        Self { node, handle, flags: IoctlFlags::empty(), command, argument: 0, data, out_size: 0 }
    }
}

impl<'a> Operation<'a> for Ioctl<'a> {
    fn opcode(&self) -> Opcode {
        Opcode::IOCTL
    }

    fn node(&self) -> NodeId {
        self.node
    }

    fn reply_limit(&self) -> Option<u32> {
        Some(self.out_size)
    }

    fn decode(_: Unique, node: NodeId, args: &mut Args<'a>, _: &Negotiated) -> Result<Self, DecodeError> {
        let raw: abi::fuse_ioctl_in = args.fixed("fuse_ioctl_in")?;
        Ok(Self {
            node,
            handle: FileHandle(raw.fh),
            flags: WireField::from_wire(raw.flags),
            command: raw.cmd,
            argument: raw.arg,
            data: args.data("data", length_usize(raw.in_size))?,
            out_size: raw.out_size,
        })
    }

    fn encode(&self, _: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
        out.fixed(&abi::fuse_ioctl_in {
            fh: self.handle.0,
            flags: self.flags.bits(),
            cmd: self.command,
            arg: self.argument,
            in_size: length_u32(self.data.len(), "data")?,
            out_size: self.out_size,
        });
        out.payload(self.data);
        Ok(())
    }
}
