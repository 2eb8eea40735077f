//! The system calls: what there is to choose from, and what came of one as text.

use std::fmt::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, CWD, Dir, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, SeekFrom, Stat, Timespec, Timestamps,
    UTIME_NOW, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, copy_file_range, fallocate, fdatasync, fstat, fsync,
    ftruncate, futimens, lgetxattr, lgetxattr_query, linkat, llistxattr, lremovexattr, lsetxattr, mkdirat, mknodat,
    open, openat, readlinkat, renameat_with, seek, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::{Errno, Result, pread, pwrite, write};
use rustix::path::DecInt;
use rustix::process::umask;

use crate::actor::{OTHER, USER};
use crate::random::Random;
use crate::tree::digest;
use crate::world::World;

/// What is done with room in files. Reserved room counts as data or as a hole, depending on what is cached of it
/// (`fs/iomap/seek.c`), so it does not go together with looking for holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Holes,
    Reserved,
}

/// A call with its arguments.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Mkdir(PathBuf, u32),
    Mknod(PathBuf, FileType, u32),
    Open { path: PathBuf, slot: u64, flags: OFlags, mode: u32 },
    Tmpfile { path: PathBuf, slot: u64, mode: u32 },
    LinkOpen { slot: u64, path: PathBuf },
    Close(u64),
    Read { slot: u64, offset: u64, length: usize },
    Write { slot: u64, offset: u64, length: usize, byte: u8 },
    Append { slot: u64, length: usize, byte: u8 },
    Truncate(PathBuf, u64),
    Ftruncate(u64, u64),
    Fallocate { slot: u64, mode: FallocateFlags, offset: u64, length: u64 },
    Seek { slot: u64, from: SeekFrom },
    Copy { slot: u64, to: u64, offset: u64, to_offset: u64, length: usize },
    Sync { slot: u64, data: bool },
    Stat(PathBuf),
    Fstat(u64),
    List(PathBuf),
    Chmod(PathBuf, u32),
    Chown(PathBuf, Option<u32>, Option<u32>),
    Times { path: PathBuf, atime: Timespec, mtime: Timespec },
    Ftimes { slot: u64, mtime: Timespec },
    Unlink(PathBuf),
    Rmdir(PathBuf),
    Rename(PathBuf, PathBuf, RenameFlags),
    Link(PathBuf, PathBuf),
    Symlink(&'static str, PathBuf),
    Readlink(PathBuf),
    SetXattr { path: PathBuf, name: &'static str, value: Vec<u8>, flags: XattrFlags },
    GetXattr(PathBuf, &'static str),
    ListXattr(PathBuf),
    RemoveXattr(PathBuf, &'static str),
    Umask(u32),
}

const NAMES: &[&str] = &["a", "b", "c", "d", "e"];
const LINK_TARGETS: &[&str] = &["a", "../b", "nowhere", "/etc/hostname", "c/d", "."];
const XATTRS: &[&str] = &["user.one", "user.two", "trusted.one", "security.other", "system.nothing"];
const ACLS: &[&str] = &["system.posix_acl_access", "system.posix_acl_default"];
const MODES: &[u32] = &[0o644, 0o600, 0o755, 0o700, 0o777, 0o444, 0o000, 0o4755, 0o2755, 0o2644, 0o1777, 0o6777, 0o070];
const SLOTS: u64 = 5;

fn path(random: &mut Random) -> PathBuf {
    let depth = 1 + random.below(3);
    (0..depth).map(|_| random.pick(NAMES)).collect()
}

fn time(random: &mut Random) -> Timespec {
    match random.below(4) {
        0 => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        1 => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        _ => Timespec {
            tv_sec: i64::try_from(random.below(900_000_000)).expect("a time"),
            tv_nsec: i64::try_from(random.below(1_000_000_000)).expect("nanoseconds"),
        },
    }
}

/// An access control list as the kernel takes it: version 2, then (tag, permissions, id).
fn acl(random: &mut Random) -> Vec<u8> {
    let mut bits = || u16::try_from(random.below(8)).expect("three bits");
    let none = u32::MAX;
    let mut entries = vec![(1_u16, bits(), none), (2, bits(), USER.uid), (4, bits(), none)];
    entries.extend([(8, bits(), OTHER.group), (16, bits(), none), (32, bits(), none)]);
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

impl Call {
    /// A call to be made next.
    pub(crate) fn random(random: &mut Random, room: Room) -> Self {
        let slot = random.below(SLOTS);
        let offset = random.below(3) * random.below(20_000);
        let length = usize::try_from(random.below(12_000)).expect("a length");
        let byte = u8::try_from(random.below(256)).expect("a byte");
        let mode = random.pick(MODES);
        let size = random.below(2) * random.below(30_000);
        match random.below(42) {
            0..2 => Self::Mkdir(path(random), mode),
            2 => {
                let kind =
                    random.pick(&[FileType::Fifo, FileType::Socket, FileType::RegularFile, FileType::CharacterDevice]);
                Self::Mknod(path(random), kind, mode)
            }
            3..8 => {
                let access = random.pick(&[OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR, OFlags::RDWR]);
                let extra =
                    [OFlags::CREATE, OFlags::CREATE, OFlags::empty(), OFlags::CREATE | OFlags::EXCL, OFlags::TRUNC];
                let more = random.pick(&[OFlags::empty(), OFlags::empty(), OFlags::APPEND]);
                // A fifo would wait for its other end.
                let flags = access | random.pick(&extra) | more | OFlags::NONBLOCK | OFlags::NOFOLLOW;
                Self::Open { path: path(random), slot, flags, mode }
            }
            8 => Self::Tmpfile { path: path(random), slot, mode },
            9 => Self::LinkOpen { slot, path: path(random) },
            10 => Self::Close(slot),
            11..13 => Self::Read { slot, offset, length },
            13..16 => Self::Write { slot, offset, length, byte },
            16 => Self::Append { slot, length, byte },
            17 => Self::Truncate(path(random), size),
            18 => Self::Ftruncate(slot, size),
            19 => {
                let keep = FallocateFlags::KEEP_SIZE;
                let punch = keep | FallocateFlags::PUNCH_HOLE;
                let mode = match room {
                    Room::Holes => punch,
                    Room::Reserved => random.pick(&[FallocateFlags::empty(), keep, punch, FallocateFlags::ZERO_RANGE]),
                };
                Self::Fallocate { slot, mode, offset, length: 1 + size }
            }
            20 if room == Room::Reserved => Self::Fstat(slot),
            20 => {
                let from = if random.once_in(2) { SeekFrom::Data(offset) } else { SeekFrom::Hole(offset) };
                Self::Seek { slot, from }
            }
            21 => {
                let to_offset = random.below(30_000);
                Self::Copy { slot, to: random.below(SLOTS), offset, to_offset, length }
            }
            22 => Self::Sync { slot, data: random.once_in(2) },
            23 => Self::Stat(path(random)),
            24 => Self::Fstat(slot),
            25..27 => Self::List(path(random).parent().expect("a parent").to_owned()),
            27 => Self::Chmod(path(random), mode),
            28 => {
                let ids = [None, Some(0), Some(USER.uid), Some(USER.gid), Some(USER.group), Some(OTHER.uid)];
                let (uid, gid) = (random.pick(&ids), random.pick(&ids));
                // Changing neither only takes suid away; the kernel asks the daemon to do nothing (fuse_do_setattr()).
                Self::Chown(path(random), uid, if uid.is_none() { gid.or(Some(0)) } else { gid })
            }
            29 => Self::Times { path: path(random), atime: time(random), mtime: time(random) },
            30 => Self::Ftimes { slot, mtime: time(random) },
            31..33 => Self::Unlink(path(random)),
            33 => Self::Rmdir(path(random)),
            34..36 => {
                let flags = [RenameFlags::empty(), RenameFlags::empty(), RenameFlags::NOREPLACE, RenameFlags::EXCHANGE];
                Self::Rename(path(random), path(random), random.pick(&flags))
            }
            36 => Self::Link(path(random), path(random)),
            37 => Self::Symlink(random.pick(LINK_TARGETS), path(random)),
            38 => Self::Readlink(path(random)),
            39 => {
                let flags = random.pick(&[XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE]);
                if random.once_in(2) {
                    Self::SetXattr {
                        path: path(random),
                        name: random.pick(ACLS),
                        value: acl(random),
                        flags: XattrFlags::empty(),
                    }
                } else {
                    let value = vec![byte; usize::try_from(random.below(300)).expect("a length")];
                    Self::SetXattr { path: path(random), name: random.pick(XATTRS), value, flags }
                }
            }
            40 => match random.below(4) {
                0 => Self::GetXattr(path(random), random.pick(XATTRS)),
                1 => Self::GetXattr(path(random), random.pick(ACLS)),
                2 => Self::ListXattr(path(random)),
                _ if random.once_in(2) => Self::RemoveXattr(path(random), random.pick(ACLS)),
                _ => Self::RemoveXattr(path(random), random.pick(XATTRS)),
            },
            _ => Self::Umask(random.pick(&[0o022, 0o077, 0o002, 0o000])),
        }
    }

    /// Makes the call. Returns what came of it.
    pub(crate) fn make(&self, world: &mut World<'_>) -> String {
        self.attempt(world).unwrap_or_else(|error| format!("{error:?}"))
    }

    fn attempt(&self, world: &mut World<'_>) -> Result<String> {
        let at = |path: &PathBuf| world.root.join(path);
        let file = |slot: &u64| world.open.get(slot).ok_or(Errno::BADF);
        let bits = |mode: &u32| Mode::from_bits_retain(*mode);
        let follow_not = AtFlags::SYMLINK_NOFOLLOW;
        match self {
            Self::Mkdir(path, mode) => mkdirat(CWD, at(path), bits(mode))?,
            Self::Mknod(path, kind, mode) => mknodat(CWD, at(path), *kind, bits(mode), 0x0105)?,
            Self::Open { path, slot, flags, mode } => {
                let opened = open(at(path), *flags | OFlags::CLOEXEC, bits(mode))?;
                return Ok(keep(world, *slot, opened));
            }
            Self::Tmpfile { path, slot, mode } => {
                let opened = open(at(path), OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, bits(mode))?;
                return Ok(keep(world, *slot, opened));
            }
            Self::LinkOpen { slot, path } => {
                let links = open("/proc/self/fd", OFlags::PATH, Mode::empty())?;
                linkat(links, DecInt::from_fd(file(slot)?), CWD, at(path), AtFlags::SYMLINK_FOLLOW)?;
            }
            Self::Close(slot) => {
                world.open.remove(slot);
            }
            Self::Read { slot, offset, length } => {
                let mut data = vec![0; *length];
                let read = pread(file(slot)?, &mut data[..], *offset)?;
                return Ok(format!("{read} bytes, {:x}", digest(data.get(..read).unwrap_or(&[]))));
            }
            Self::Write { slot, offset, length, byte } => {
                return Ok(format!("{} bytes", pwrite(file(slot)?, &vec![*byte; *length], *offset)?));
            }
            Self::Append { slot, length, byte } => {
                seek(file(slot)?, SeekFrom::End(0))?;
                return Ok(format!("{} bytes", write(file(slot)?, &vec![*byte; *length])?));
            }
            Self::Truncate(path, size) => {
                let size = i64::try_from(*size).expect("a size");
                let done = nix::unistd::truncate(&at(path), size).map_err(std::io::Error::from);
                done.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            }
            Self::Ftruncate(slot, size) => ftruncate(file(slot)?, *size)?,
            Self::Fallocate { slot, mode, offset, length } => fallocate(file(slot)?, *mode, *offset, *length)?,
            // What a position in a directory is, is the filesystem's own business.
            Self::Seek { slot, .. } if is_directory(file(slot)?) => return Err(Errno::ISDIR),
            Self::Seek { slot, from } => return Ok(format!("at {}", seek(file(slot)?, *from)?)),
            Self::Copy { slot, to, offset, to_offset, length } => {
                let (mut from, mut into) = (*offset, *to_offset);
                let copied = copy_file_range(file(slot)?, Some(&mut from), file(to)?, Some(&mut into), *length)?;
                return Ok(format!("{copied} bytes, then at {from} and {into}"));
            }
            Self::Sync { slot, data } => {
                if *data {
                    fdatasync(file(slot)?)?;
                } else {
                    fsync(file(slot)?)?;
                }
            }
            Self::Stat(path) => return Ok(show(&statat(CWD, at(path), follow_not)?)),
            Self::Fstat(slot) => return Ok(show(&fstat(file(slot)?)?)),
            Self::List(path) => return list(&at(path)),
            Self::Chmod(path, mode) => chmodat(CWD, at(path), bits(mode), AtFlags::empty())?,
            Self::Chown(path, uid, gid) => {
                chownat(CWD, at(path), uid.map(Uid::from_raw), gid.map(Gid::from_raw), follow_not)?;
            }
            Self::Times { path, atime, mtime } => {
                let times = Timestamps { last_access: *atime, last_modification: *mtime };
                utimensat(CWD, at(path), &times, follow_not)?;
            }
            Self::Ftimes { slot, mtime } => {
                let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
                futimens(file(slot)?, &Timestamps { last_access: omit, last_modification: *mtime })?;
            }
            Self::Unlink(path) => unlinkat(CWD, at(path), AtFlags::empty())?,
            Self::Rmdir(path) => unlinkat(CWD, at(path), AtFlags::REMOVEDIR)?,
            Self::Rename(path, new, flags) => renameat_with(CWD, at(path), CWD, at(new), *flags)?,
            Self::Link(path, new) => linkat(CWD, at(path), CWD, at(new), AtFlags::empty())?,
            Self::Symlink(target, path) => symlinkat(*target, CWD, at(path))?,
            Self::Readlink(path) => return Ok(format!("{:?}", readlinkat(CWD, at(path), Vec::new())?)),
            Self::SetXattr { path, name, value, flags } => lsetxattr(at(path), *name, value, *flags)?,
            Self::GetXattr(path, name) => {
                let size = lgetxattr_query(at(path), *name)?;
                let mut value = vec![0; size];
                let length = if size == 0 { 0 } else { lgetxattr(at(path), *name, &mut value[..])? };
                return Ok(format!("{:x}", digest(value.get(..length).unwrap_or(&[]))));
            }
            Self::ListXattr(path) => {
                let mut names = vec![0; 4096];
                let length = llistxattr(at(path), &mut names[..])?;
                let mut names: Vec<_> = names.get(..length).unwrap_or(&[]).split(|byte| *byte == 0).collect();
                names.sort_unstable();
                return Ok(format!("{}", names.join(&b' ').escape_ascii()));
            }
            Self::RemoveXattr(path, name) => lremovexattr(at(path), *name)?,
            Self::Umask(mask) => {
                umask(bits(mask));
            }
        }
        Ok(String::from("done"))
    }
}

fn is_directory(file: &OwnedFd) -> bool {
    fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Keeps an open file for later calls.
fn keep(world: &mut World<'_>, slot: u64, opened: OwnedFd) -> String {
    let shown = fstat(&opened).map_or_else(|error| format!("{error:?}"), |stat| show(&stat));
    world.open.insert(slot, opened);
    shown
}

/// What does not depend on where and when. Times that were set are far in the past.
fn show(stat: &Stat) -> String {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let size = if kind == FileType::Directory { 0 } else { stat.st_size };
    let time = |seconds: i64, nanoseconds: u64| match seconds {
        0..1_000_000_000 => format!("{seconds}.{nanoseconds:09}"),
        _ => String::from("now"),
    };
    format!(
        "{kind:?} {:o} {}:{} links {} size {size} rdev {} suid+sgid {:o} mtime {}",
        stat.st_mode & 0o1777,
        stat.st_uid,
        stat.st_gid,
        stat.st_nlink,
        stat.st_rdev,
        stat.st_mode & 0o6000,
        time(stat.st_mtime, stat.st_mtime_nsec),
    )
}

/// The names in a directory with their types, and whether each has the inode number that it has when asked alone.
fn list(path: &std::path::Path) -> Result<String> {
    let directory = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut shown = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let mut line = format!("{} {:?}", name.escape_ascii(), entry.file_type());
        if !matches!(name, b"." | b"..") {
            let alone = statat(&directory, std::ffi::OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW);
            let _ = match alone {
                Ok(alone) => write!(line, " {}", alone.st_ino == entry.ino()),
                Err(error) => write!(line, " {error:?}"),
            };
        }
        shown.push(line);
    }
    shown.sort();
    Ok(shown.join(", "))
}
