//! Attributes: what `stat`, `statx` and `statfs` show, and the types of their fields.
//!
//! How long the kernel may believe them is part of the replies.

use bitflags::bitflags;

use crate::abi;
use crate::codec::WireField;
use crate::ids::{Gid, Uid};

/// The type of a file: the `S_IFMT` bits of a mode, or a `DT_*` value of a directory entry.
///
/// Open: a number that is none of the constants can be held and sent, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileType(u32);

impl FileType {
    /// Not known; allowed in directory entries only.
    pub const UNKNOWN: Self = Self(0);
    /// A fifo.
    pub const FIFO: Self = Self(libc::S_IFIFO);
    /// A character device.
    pub const CHARACTER_DEVICE: Self = Self(libc::S_IFCHR);
    /// A directory.
    pub const DIRECTORY: Self = Self(libc::S_IFDIR);
    /// A block device.
    pub const BLOCK_DEVICE: Self = Self(libc::S_IFBLK);
    /// A regular file.
    pub const REGULAR: Self = Self(libc::S_IFREG);
    /// A symbolic link.
    pub const SYMLINK: Self = Self(libc::S_IFLNK);
    /// A socket.
    pub const SOCKET: Self = Self(libc::S_IFSOCK);

    /// The type that a mode (`st_mode`) has in its upper bits.
    #[must_use]
    pub const fn from_mode(mode: u32) -> Self {
        Self(mode & libc::S_IFMT)
    }

    /// The type as the upper bits of a mode.
    #[must_use]
    pub const fn mode_bits(self) -> u32 {
        self.0
    }

    /// The type that a directory entry has (`d_type`).
    #[must_use]
    pub const fn from_dirent(d_type: u32) -> Self {
        Self((d_type << 12) & libc::S_IFMT)
    }

    /// The type as a directory entry has it (`d_type`).
    #[must_use]
    pub const fn dirent_type(self) -> u32 {
        self.0 >> 12
    }
}

/// A point in time: seconds since 1970, and nanoseconds (0 to 999,999,999) after that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970; negative before.
    pub seconds: i64,
    /// Nanoseconds after the second.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// The point in time `seconds` and `nanoseconds` after the start of 1970.
    #[must_use]
    pub const fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self { seconds, nanoseconds }
    }

    /// Seconds have 64 bits without a sign on the wire, and are read with one.
    pub(crate) fn from_wire(seconds: u64, nanoseconds: u32) -> Self {
        Self { seconds: seconds.cast_signed(), nanoseconds }
    }

    pub(crate) fn wire_seconds(self) -> u64 {
        self.seconds.cast_unsigned()
    }
}

#[cfg(feature = "std")]
impl From<std::time::SystemTime> for Timestamp {
    /// Times that 64 bits of seconds cannot hold become the nearest one that they can.
    fn from(time: std::time::SystemTime) -> Self {
        match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => Self::new(i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
            Err(before) => {
                let before = before.duration();
                let seconds = i64::try_from(before.as_secs()).map_or(i64::MIN, |seconds| -seconds);
                match before.subsec_nanos() {
                    0 => Self::new(seconds, 0),
                    nanos => Self::new(seconds.saturating_sub(1), 1_000_000_000 - nanos),
                }
            }
        }
    }
}

bitflags! {
    /// What is special about an inode (`fuse_attr.flags`). Since 7.32.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct AttrFlags: u32 {
        /// The inode is the root of a mount of its own (virtio-fs).
        const SUBMOUNT = abi::FUSE_ATTR_SUBMOUNT;
        /// The file is mapped directly (virtio-fs).
        const DAX = abi::FUSE_ATTR_DAX;
        const _ = !0;
    }
}

/// The attributes of an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attr {
    /// The inode number that `stat` shows. It need not be the node id.
    pub ino: u64,
    /// The size in bytes.
    pub size: u64,
    /// Blocks of 512 bytes that are used.
    pub blocks: u64,
    /// The time of the last access.
    pub atime: Timestamp,
    /// The time of the last change of data.
    pub mtime: Timestamp,
    /// The time of the last change of anything.
    pub ctime: Timestamp,
    /// Type and permission bits, as `st_mode`.
    pub mode: u32,
    /// The number of hard links.
    pub nlink: u32,
    /// The owner.
    pub uid: Uid,
    /// The group.
    pub gid: Gid,
    /// The device number of a device node, in the kernel's 32-bit form (`new_encode_dev()`).
    pub rdev: u32,
    /// The preferred size of I/O, in bytes.
    pub blksize: u32,
    /// What is special about it.
    pub flags: AttrFlags,
}

impl Attr {
    /// Attributes of a file of this type with these permission bits, one link, and all else zero.
    #[must_use]
    pub fn new(ino: u64, kind: FileType, permissions: u32) -> Self {
        Self { ino, mode: kind.mode_bits() | permissions, nlink: 1, ..Self::default() }
    }

    /// The type of the file.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        FileType::from_mode(self.mode)
    }

    pub(crate) fn to_abi(self) -> abi::fuse_attr {
        abi::fuse_attr {
            ino: self.ino,
            size: self.size,
            blocks: self.blocks,
            atime: self.atime.wire_seconds(),
            mtime: self.mtime.wire_seconds(),
            ctime: self.ctime.wire_seconds(),
            atimensec: self.atime.nanoseconds,
            mtimensec: self.mtime.nanoseconds,
            ctimensec: self.ctime.nanoseconds,
            mode: self.mode,
            nlink: self.nlink,
            uid: self.uid.0,
            gid: self.gid.0,
            rdev: self.rdev,
            blksize: self.blksize,
            flags: self.flags.bits(),
        }
    }

    pub(crate) fn from_abi(raw: &abi::fuse_attr) -> Self {
        Self {
            ino: raw.ino,
            size: raw.size,
            blocks: raw.blocks,
            atime: Timestamp::from_wire(raw.atime, raw.atimensec),
            mtime: Timestamp::from_wire(raw.mtime, raw.mtimensec),
            ctime: Timestamp::from_wire(raw.ctime, raw.ctimensec),
            mode: raw.mode,
            nlink: raw.nlink,
            uid: Uid(raw.uid),
            gid: Gid(raw.gid),
            rdev: raw.rdev,
            blksize: raw.blksize,
            flags: AttrFlags::from_bits_retain(raw.flags),
        }
    }
}

/// The numbers of a whole filesystem, as statfs(2) shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statfs {
    /// All blocks, in units of `frsize`.
    pub blocks: u64,
    /// Free blocks.
    pub bfree: u64,
    /// Free blocks for ordinary users.
    pub bavail: u64,
    /// All inodes.
    pub files: u64,
    /// Free inodes.
    pub ffree: u64,
    /// The preferred size of I/O, in bytes.
    pub bsize: u32,
    /// The longest name, in bytes.
    pub namelen: u32,
    /// The unit of the block counts, in bytes.
    pub frsize: u32,
}

impl Statfs {
    /// Nothing is known but the longest name that Linux has, and the unit of blocks.
    #[must_use]
    pub fn unknown() -> Self {
        Self { namelen: 255, bsize: 512, frsize: 512, ..Self::default() }
    }
}

bitflags! {
    /// Which fields of a `STATX` are asked for, or filled in (`stx_mask`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct StatxMask: u32 {
        /// The type.
        const TYPE = libc::STATX_TYPE;
        /// The permission bits.
        const MODE = libc::STATX_MODE;
        /// The number of links.
        const NLINK = libc::STATX_NLINK;
        /// The owner.
        const UID = libc::STATX_UID;
        /// The group.
        const GID = libc::STATX_GID;
        /// The time of the last access.
        const ATIME = libc::STATX_ATIME;
        /// The time of the last change of data.
        const MTIME = libc::STATX_MTIME;
        /// The time of the last change of anything.
        const CTIME = libc::STATX_CTIME;
        /// The inode number.
        const INO = libc::STATX_INO;
        /// The size.
        const SIZE = libc::STATX_SIZE;
        /// The blocks.
        const BLOCKS = libc::STATX_BLOCKS;
        /// All that `stat` has, too.
        const BASIC_STATS = libc::STATX_BASIC_STATS;
        /// The time of creation.
        const BTIME = libc::STATX_BTIME;
        const _ = !0;
    }
}

/// The attributes of an inode, as statx(2) shows them. Since 7.39.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatxAttr {
    /// Which fields are filled in.
    pub mask: StatxMask,
    /// The preferred size of I/O, in bytes.
    pub blksize: u32,
    /// `STATX_ATTR_*` bits. The kernel does not pass them on to the caller.
    pub attributes: u64,
    /// Which of those bits are supported.
    pub attributes_mask: u64,
    /// The number of hard links.
    pub nlink: u32,
    /// The owner.
    pub uid: Uid,
    /// The group.
    pub gid: Gid,
    /// Type and permission bits.
    pub mode: u16,
    /// The inode number that `stat` shows.
    pub ino: u64,
    /// The size in bytes.
    pub size: u64,
    /// Blocks of 512 bytes that are used.
    pub blocks: u64,
    /// The time of the last access.
    pub atime: Timestamp,
    /// The time of creation.
    pub btime: Timestamp,
    /// The time of the last change of anything.
    pub ctime: Timestamp,
    /// The time of the last change of data.
    pub mtime: Timestamp,
    /// The device number of a device node: major, minor.
    pub rdev: (u32, u32),
    /// The device that the file is on: major, minor.
    pub dev: (u32, u32),
}

/// How a file is opened: the flags of open(2), as the kernel passes them on.
///
/// `O_CREAT`, `O_EXCL` and `O_NOCTTY` never arrive in `OPEN` (`fs/fuse/file.c fuse_send_open()`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OpenFlags(pub u32);

/// What a file was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// `O_RDONLY`.
    Read,
    /// `O_WRONLY`.
    Write,
    /// `O_RDWR`, and the value 3 that means the same to some drivers.
    ReadWrite,
}

impl OpenFlags {
    /// From the `O_*` constants of libc.
    #[must_use]
    pub fn from_libc(flags: i32) -> Self {
        Self(flags.cast_unsigned())
    }

    /// The `O_*` bits, as libc types them.
    #[must_use]
    pub fn to_libc(self) -> i32 {
        self.0.cast_signed()
    }

    /// Whether all bits of `flag`, an `O_*` constant of libc other than the access modes, are set.
    #[must_use]
    pub fn contains(self, flag: i32) -> bool {
        self.to_libc() & flag == flag
    }

    /// What the file was opened for.
    #[must_use]
    pub fn access(self) -> Access {
        match self.to_libc() & libc::O_ACCMODE {
            libc::O_RDONLY => Access::Read,
            libc::O_WRONLY => Access::Write,
            _ => Access::ReadWrite,
        }
    }
}

impl WireField<u32> for OpenFlags {
    fn from_wire(raw: u32) -> Self {
        Self(raw)
    }

    fn to_wire(self) -> u32 {
        self.0
    }
}
