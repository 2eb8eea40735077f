//! System calls as data: made at random, carried out below any directory, and what came of them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, SeekFrom, StatxFlags, Timespec,
    Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

/// Numbers that look random, the same for the same seed (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn small(&mut self, limit: u32) -> u32 {
        u32::try_from(self.below(u64::from(limit))).expect("it is below a number of 32 bits")
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let index = usize::try_from(self.below(from.len() as u64)).expect("an index");
        from[index].clone()
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A system call. Paths are relative, descriptors are numbers of slots.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Mkdir(String, u32),
    Rmdir(String),
    Open(usize, String, OFlags, u32),
    Close(usize),
    Pwrite(usize, u64, usize),
    Pread(usize, u64, usize),
    Ftruncate(usize, u64),
    Truncate(String, u64),
    Fallocate(usize, FallocateFlags, u64, u64),
    Seek(usize, SeekFrom),
    Copy(usize, u64, usize, u64, usize),
    Unlink(String),
    Rename(String, String, RenameFlags),
    Link(String, String),
    LinkSlot(usize, String),
    Symlink(String, String),
    Readlink(String),
    Mknod(String, FileType, u32, u64),
    Chmod(String, u32),
    Chown(String, Option<u32>, Option<u32>),
    Utimens(String, i64, i64),
    Setxattr(String, String, Vec<u8>, XattrFlags),
    Getxattr(String, String),
    Listxattr(String),
    Removexattr(String, String),
    List(String),
    Access(String, u32),
}

/// Who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Root,
    User,
}

pub(crate) const SLOTS: usize = 6;

/// The descriptors that calls on one side have opened.
#[derive(Default)]
pub(crate) struct Side {
    pub(crate) root: PathBuf,
    pub(crate) slots: [Option<OwnedFd>; SLOTS],
}

/// What came of a call: what it returned, as text, or an error number.
pub(crate) type Outcome = Result<String, Errno>;

fn path(random: &mut Random) -> String {
    let names = ["a", "b", "c", "d", "e"];
    let depth = random.below(3) + 1;
    let parts: Vec<_> = (0..depth).map(|_| random.pick(&names)).collect();
    if random.chance(1) { format!("{}/{}", parts.join("/"), "x".repeat(256)) } else { parts.join("/") }
}

fn offset(random: &mut Random) -> u64 {
    match random.below(10) {
        0..=4 => random.below(20_000),
        5..=7 => random.below(8) * 4096,
        8 => (2 << 20) - 5000 + random.below(10_000),
        _ => (1 << 33) + random.below(3 << 20),
    }
}

fn length(random: &mut Random) -> usize {
    usize::try_from(match random.below(4) {
        0 => random.below(100) + 1,
        1 | 2 => random.below(10_000) + 1,
        _ => random.below(5) * 4096 + 4096,
    })
    .expect("a length")
}

fn xattr_name(random: &mut Random) -> String {
    let names = ["user.a", "user.b", "trusted.t", "security.s", "user.", "strange", "system.other", "user"];
    random.pick(&names).to_owned()
}

/// An ACL that names a user, as a value of an attribute.
fn acl(random: &mut Random) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    let named = random.chance(70);
    let tags: &[(u16, u32)] = if named {
        &[(1, u32::MAX), (2, 1000), (4, u32::MAX), (16, u32::MAX), (32, u32::MAX)]
    } else {
        &[(1, u32::MAX), (4, u32::MAX), (32, u32::MAX)]
    };
    for (tag, id) in tags {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&u16::try_from(random.below(8)).expect("three bits").to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

fn mode(random: &mut Random) -> u32 {
    random.pick(&[0o644, 0o755, 0o777, 0o600, 0o4755, 0o2755, 0o2644, 0o6777, 0o1777, 0o000, 0o2775])
}

/// A call made at random, and who makes it.
pub(crate) fn random_call(random: &mut Random) -> (Caller, Call) {
    let caller = if random.chance(30) { Caller::User } else { Caller::Root };
    let slot = |random: &mut Random| usize::try_from(random.below(SLOTS as u64)).expect("a slot");
    let call = match random.below(100) {
        0..=7 => Call::Mkdir(path(random), mode(random)),
        8..=10 => Call::Rmdir(path(random)),
        11..=24 => {
            let mut flags = random.pick(&[OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR, OFlags::RDWR, OFlags::RDWR]);
            for (flag, percent) in [
                (OFlags::CREATE, 70),
                (OFlags::EXCL, 10),
                (OFlags::TRUNC, 15),
                (OFlags::APPEND, 10),
                (OFlags::NOFOLLOW, 10),
                (OFlags::DIRECTORY, 5),
            ] {
                flags.set(flag, random.chance(percent));
            }
            if random.chance(8) {
                flags = OFlags::TMPFILE | OFlags::RDWR;
            }
            Call::Open(slot(random), path(random), flags | OFlags::CLOEXEC | OFlags::NONBLOCK, mode(random))
        }
        25..=26 => Call::Close(slot(random)),
        27..=38 => Call::Pwrite(slot(random), offset(random), length(random)),
        39..=43 => Call::Pread(slot(random), offset(random), length(random)),
        44..=46 => Call::Ftruncate(slot(random), offset(random)),
        47..=48 => Call::Truncate(path(random), offset(random)),
        49..=53 => {
            let keep = FallocateFlags::KEEP_SIZE;
            let modes = [FallocateFlags::empty(), keep, keep | FallocateFlags::PUNCH_HOLE, FallocateFlags::PUNCH_HOLE];
            Call::Fallocate(slot(random), random.pick(&modes), offset(random), length(random) as u64)
        }
        54..=56 => {
            let from = offset(random);
            Call::Seek(slot(random), if random.chance(50) { SeekFrom::Data(from) } else { SeekFrom::Hole(from) })
        }
        57..=58 => Call::Copy(slot(random), offset(random), slot(random), offset(random), length(random)),
        59..=62 => Call::Unlink(path(random)),
        63..=69 => {
            let (no_replace, exchange) = (RenameFlags::NOREPLACE, RenameFlags::EXCHANGE);
            let none = RenameFlags::empty();
            let flags =
                [none, none, none, no_replace, exchange, exchange, RenameFlags::WHITEOUT, no_replace | exchange];
            Call::Rename(path(random), path(random), random.pick(&flags))
        }
        70..=72 => Call::Link(path(random), path(random)),
        73 => Call::LinkSlot(slot(random), path(random)),
        74..=75 => {
            let target = if random.chance(10) { "t".repeat(200) } else { path(random) };
            Call::Symlink(target, path(random))
        }
        76 => Call::Readlink(path(random)),
        77..=78 => {
            let kinds = [FileType::Fifo, FileType::Socket, FileType::CharacterDevice, FileType::RegularFile];
            Call::Mknod(path(random), random.pick(&kinds), mode(random), random.below(1 << 20))
        }
        79..=82 => Call::Chmod(path(random), mode(random)),
        83..=86 => {
            let ids = [None, Some(0), Some(1000), Some(2000)];
            Call::Chown(path(random), random.pick(&ids), random.pick(&ids))
        }
        87 => Call::Utimens(path(random), i64::from(random.small(1 << 31)), i64::from(random.small(999_999_999))),
        88..=91 => {
            let flags = [XattrFlags::empty(), XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE];
            let (name, value) = match random.below(10) {
                0..=1 => ("system.posix_acl_access".to_owned(), acl(random)),
                2..=3 => ("system.posix_acl_default".to_owned(), acl(random)),
                4 => ("security.capability".to_owned(), capability()),
                _ => (xattr_name(random), vec![b'v'; length(random) % 20]),
            };
            let flags = if name.starts_with("system.posix") { XattrFlags::empty() } else { random.pick(&flags) };
            Call::Setxattr(path(random), name, value, flags)
        }
        92 => Call::Getxattr(path(random), xattr_name(random)),
        93 => Call::Listxattr(path(random)),
        94 => {
            let acls = ["system.posix_acl_access", "system.posix_acl_default"].map(str::to_owned);
            let name = if random.chance(30) { random.pick(&acls) } else { xattr_name(random) };
            Call::Removexattr(path(random), name)
        }
        95..=97 => Call::List(path(random)),
        _ => Call::Access(path(random), random.small(8)),
    };
    (caller, call)
}

/// A capability that a program may have: `linux/capability.h` struct vfs_cap_data of revision 2.
fn capability() -> Vec<u8> {
    [0x0200_0000_u32, 1 << 10, 0, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect()
}

fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(mode)
}

impl Side {
    pub(crate) fn at(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    fn slot(&self, slot: usize) -> Result<&OwnedFd, Errno> {
        self.slots[slot].as_ref().ok_or(Errno::BADF)
    }

    /// Whether a directory is open there.
    pub(crate) fn is_directory(&self, slot: usize) -> bool {
        let mode = self.slots[slot].as_ref().and_then(|file| rustix::fs::fstat(file).ok()).map(|stat| stat.st_mode);
        mode.is_some_and(|mode| FileType::from_raw_mode(mode) == FileType::Directory)
    }

    /// Carries out a call.
    pub(crate) fn carry_out(&mut self, call: &Call) -> Outcome {
        let nothing = |()| String::new();
        match call {
            Call::Mkdir(path, mode) => rustix::fs::mkdir(self.at(path), permissions(*mode)).map(nothing),
            Call::Rmdir(path) => rustix::fs::rmdir(self.at(path)).map(nothing),
            Call::Open(slot, path, flags, mode) => {
                let opened = rustix::fs::open(self.at(path), *flags, permissions(*mode))?;
                self.slots[*slot] = Some(opened);
                Ok(String::new())
            }
            Call::Close(slot) => {
                self.slots[*slot] = None;
                Ok(String::new())
            }
            Call::Pwrite(slot, offset, length) => {
                let seed = u8::try_from((offset + *length as u64) % 251).expect("a byte");
                let bytes: Vec<u8> = (0..*length).map(|index| seed.wrapping_add((index % 7) as u8)).collect();
                Ok(rustix::io::pwrite(self.slot(*slot)?, &bytes, *offset)?.to_string())
            }
            Call::Pread(slot, offset, length) => {
                let mut bytes = vec![0; *length];
                let read = rustix::io::pread(self.slot(*slot)?, &mut bytes, *offset)?;
                Ok(String::from_utf8_lossy(&bytes[..read]).into_owned())
            }
            Call::Ftruncate(slot, size) => rustix::fs::ftruncate(self.slot(*slot)?, *size).map(nothing),
            Call::Truncate(path, size) => nix::unistd::truncate(&self.at(path), i64::try_from(*size).expect("a size"))
                .map_err(|error| Errno::from_raw_os_error(error as i32))
                .map(nothing),
            Call::Fallocate(slot, flags, offset, length) => {
                rustix::fs::fallocate(self.slot(*slot)?, *flags, *offset, *length).map(nothing)
            }
            Call::Seek(slot, to) => Ok(rustix::fs::seek(self.slot(*slot)?, *to)?.to_string()),
            Call::Copy(from, from_offset, to, to_offset, length) => {
                let (mut from_offset, mut to_offset) = (*from_offset, *to_offset);
                let (from, to) = (self.slot(*from)?, self.slot(*to)?);
                let copied =
                    rustix::fs::copy_file_range(from, Some(&mut from_offset), to, Some(&mut to_offset), *length)?;
                Ok(copied.to_string())
            }
            Call::Unlink(path) => rustix::fs::unlink(self.at(path)).map(nothing),
            Call::Rename(from, to, flags) => {
                rustix::fs::renameat_with(CWD, self.at(from), CWD, self.at(to), *flags).map(nothing)
            }
            Call::Link(from, to) => rustix::fs::link(self.at(from), self.at(to)).map(nothing),
            Call::LinkSlot(slot, to) => {
                use std::os::fd::AsRawFd;
                let from = format!("/proc/self/fd/{}", self.slot(*slot)?.as_raw_fd());
                rustix::fs::linkat(CWD, from, CWD, self.at(to), AtFlags::SYMLINK_FOLLOW).map(nothing)
            }
            Call::Symlink(target, path) => rustix::fs::symlink(target.as_str(), self.at(path)).map(nothing),
            Call::Readlink(path) => Ok(rustix::fs::readlink(self.at(path), Vec::new())?.to_string_lossy().into_owned()),
            Call::Mknod(path, kind, mode, device) => {
                rustix::fs::mknodat(CWD, self.at(path), *kind, permissions(*mode), *device).map(nothing)
            }
            Call::Chmod(path, mode) => rustix::fs::chmod(self.at(path), permissions(*mode)).map(nothing),
            Call::Chown(path, uid, gid) => {
                let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
                rustix::fs::chownat(CWD, self.at(path), uid, gid, AtFlags::SYMLINK_NOFOLLOW).map(nothing)
            }
            Call::Utimens(path, seconds, nanoseconds) => {
                let time = Timespec { tv_sec: *seconds, tv_nsec: *nanoseconds };
                let times = Timestamps { last_access: time, last_modification: time };
                rustix::fs::utimensat(CWD, self.at(path), &times, AtFlags::SYMLINK_NOFOLLOW).map(nothing)
            }
            Call::Setxattr(path, name, value, flags) => {
                rustix::fs::lsetxattr(self.at(path), name.as_str(), value, *flags).map(nothing)
            }
            Call::Getxattr(path, name) => xattr(&self.at(path), name),
            Call::Listxattr(path) => {
                // Who acts as a user here has CAP_SYS_ADMIN still, and tmpfs shows such names by that; memfs knows only the user.
                let names = xattr_names(&self.at(path))?.into_iter().filter(|name| !name.starts_with("trusted."));
                Ok(format!("{:?}", names.collect::<Vec<_>>()))
            }
            Call::Removexattr(path, name) => rustix::fs::lremovexattr(self.at(path), name.as_str()).map(nothing),
            Call::List(path) => Ok(format!("{:?}", list(&self.at(path))?)),
            Call::Access(path, mask) => {
                let access = rustix::fs::Access::from_bits_truncate(*mask);
                rustix::fs::accessat(CWD, self.at(path), access, AtFlags::EACCESS).map(nothing)
            }
        }
    }
}

fn xattr(path: &Path, name: &str) -> Outcome {
    let mut value = vec![0; 70_000];
    let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice())?;
    Ok(format!("{:?}", &value[..length]))
}

/// The names of the extended attributes, sorted.
pub(crate) fn xattr_names(path: &Path) -> Result<BTreeSet<String>, Errno> {
    let mut list = vec![0_u8; 70_000];
    let length = rustix::fs::llistxattr(path, list.as_mut_slice())?;
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

/// Names and types in a directory, sorted.
pub(crate) fn list(path: &Path) -> Result<BTreeSet<(String, String)>, Errno> {
    let directory = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let entries = Dir::new(directory)?.map(|entry| {
        let entry = entry?;
        Ok((entry.file_name().to_string_lossy().into_owned(), format!("{:?}", entry.file_type())))
    });
    entries.collect()
}

/// What statx(2) shows, but for what must differ: numbers of inodes and devices, and times.
pub(crate) fn status(path: &Path, with_blocks: bool) -> Outcome {
    let found = statx(path)?;
    let mut text = format!(
        "mode {:o} links {} owner {}:{} size {} device {}:{}",
        found.stx_mode,
        found.stx_nlink,
        found.stx_uid,
        found.stx_gid,
        found.stx_size,
        found.stx_rdev_major,
        found.stx_rdev_minor
    );
    if with_blocks {
        write!(text, " blocks {}", found.stx_blocks).expect("a string");
    }
    Ok(text)
}

pub(crate) fn statx(path: &Path) -> Result<rustix::fs::Statx, Errno> {
    rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS | StatxFlags::BTIME)
}

/// Values of the extended attributes of a file.
pub(crate) fn xattrs(path: &Path) -> Vec<(String, Outcome)> {
    let names = xattr_names(path).unwrap_or_default();
    names.into_iter().map(|name| (name.clone(), xattr(path, &name))).collect()
}
