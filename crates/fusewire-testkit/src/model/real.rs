//! The steps of the model test, done to the filesystem.
//!
//! Each is a call of the [`Mount`], and no more.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use fusewire_proto::op::SetTime;
use fusewire_proto::{Attr, Errno, FileType, RenameFlags, Timestamp, XattrFlags};

use crate::model::step::{Absolute, Outcome, SLOTS, Step};
use crate::vfs::{Change, File, Mount};

/// The filesystem, and the files that are held open.
pub(super) struct Real {
    mount: Mount,
    names: Vec<Vec<u8>>,
    slots: Vec<Option<File>>,
}

impl Real {
    pub(super) fn new(mount: Mount, names: Vec<Vec<u8>>) -> Self {
        Self { mount, names, slots: (0..SLOTS).map(|_| None).collect() }
    }

    fn path(&self, path: &[u8]) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&written(&self.names, path, Absolute::Yes)))
    }

    fn slot(&self, slot: u8) -> Result<&File, Errno> {
        self.slots.get(usize::from(slot)).and_then(Option::as_ref).ok_or(Errno::EBADF)
    }

    fn put(&mut self, slot: u8, file: Option<File>) {
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            *place = file;
        }
    }

    pub(super) fn apply(&mut self, step: &Step) -> Result<Outcome, Errno> {
        let mount = self.mount.clone();
        let done = |result: Result<(), Errno>| result.map(|()| Outcome::Done);
        match step {
            Step::Stat(path) => mount.stat(self.path(path)).map(attributes),
            Step::Lstat(path) => mount.lstat(self.path(path)).map(attributes),
            Step::Read { path, offset, length } => {
                let file = mount.open(self.path(path), libc::O_RDONLY)?;
                file.pread(u64::from(*offset), usize::from(*length)).map(Outcome::Bytes)
            }
            Step::Readlink(path) => mount.readlink(self.path(path)).map(|target| Outcome::Bytes(target.into_vec())),
            Step::Readdir(path) => {
                let names = mount.names(self.path(path))?;
                Ok(Outcome::Names(names.into_iter().map(OsStringExt::into_vec).collect()))
            }
            Step::DropCaches => {
                mount.drop_caches();
                Ok(Outcome::Done)
            }
            Step::Advance => {
                mount.advance(std::time::Duration::from_secs(1));
                Ok(Outcome::Done)
            }
            Step::Mkdir(path) => done(mount.mkdir(self.path(path), 0o755)),
            Step::Write { path, offset, length, byte } => {
                let file = mount.open(self.path(path), libc::O_WRONLY | libc::O_CREAT)?;
                write(&file, *offset, *length, *byte)?;
                done(file.close())
            }
            Step::Truncate { path, size } => done(mount.truncate(self.path(path), u64::from(*size))),
            Step::Unlink(path) => done(mount.unlink(self.path(path))),
            Step::Rmdir(path) => done(mount.rmdir(self.path(path))),
            Step::Rename { from, to } => done(mount.rename(self.path(from), self.path(to))),
            Step::RenameNoReplace { from, to } => {
                done(mount.rename_with(self.path(from), self.path(to), RenameFlags::NOREPLACE))
            }
            Step::Exchange { from, to } => {
                done(mount.rename_with(self.path(from), self.path(to), RenameFlags::EXCHANGE))
            }
            Step::Symlink { target, absolute, path } => {
                let target = written(&self.names, target, *absolute);
                done(mount.symlink(OsStr::from_bytes(&target), self.path(path)))
            }
            Step::Link { from, to } => done(mount.link(self.path(from), self.path(to))),
            Step::Mkfifo(path) => done(mount.mknod(self.path(path), FileType::FIFO.mode_bits() | 0o644, 0)),
            Step::Chmod { path, mode } => done(mount.chmod(self.path(path), u32::from(*mode))),
            Step::SetTimes { path, seconds } => {
                let time = SetTime::At(Timestamp::new(i64::from(*seconds), 0));
                mount.change(self.path(path), Change::times(time, time)).map(|_| Outcome::Done)
            }
            Step::SetXattr { path, name, value } => {
                done(mount.setxattr(self.path(path), &xattr(*name), [*value; 3], XattrFlags::empty()))
            }
            Step::GetXattr { path, name } => mount.getxattr(self.path(path), &xattr(*name)).map(Outcome::Bytes),
            Step::RemoveXattr { path, name } => done(mount.removexattr(self.path(path), &xattr(*name))),
            Step::ListXattr(path) => {
                let names = mount.listxattr(self.path(path))?;
                Ok(Outcome::Names(user_xattrs(names.into_iter().map(OsStringExt::into_vec))))
            }
            Step::Open { slot, path } => {
                self.put(*slot, None);
                let file = mount.open(self.path(path), libc::O_RDWR)?;
                self.put(*slot, Some(file));
                Ok(Outcome::Done)
            }
            Step::ReadOpen { slot, offset, length } => {
                self.slot(*slot)?.pread(u64::from(*offset), usize::from(*length)).map(Outcome::Bytes)
            }
            Step::WriteOpen { slot, offset, length, byte } => {
                write(self.slot(*slot)?, *offset, *length, *byte).map(|()| Outcome::Done)
            }
            Step::Close { slot } => {
                self.put(*slot, None);
                Ok(Outcome::Done)
            }
        }
    }
}

/// A path with its names written out.
pub(super) fn written(names: &[Vec<u8>], path: &[u8], absolute: Absolute) -> Vec<u8> {
    let parts: Vec<&[u8]> =
        path.iter().filter_map(|number| names.get(usize::from(*number))).map(Vec::as_slice).collect();
    let mut bytes = if absolute == Absolute::Yes { b"/".to_vec() } else { Vec::new() };
    bytes.extend_from_slice(&parts.join(&b'/'));
    bytes
}

/// The name of an extended attribute.
pub(super) fn xattr(number: u8) -> String {
    format!("user.attribute-{number}")
}

/// The names of extended attributes that the model test made, sorted; others may come from the filesystem.
pub(super) fn user_xattrs(names: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = names.filter(|name| name.starts_with(b"user.")).collect();
    names.sort();
    names
}

fn write(file: &File, offset: u16, length: u16, byte: u8) -> Result<(), Errno> {
    let data = vec![byte; usize::from(length)];
    let done = file.pwrite(u64::from(offset), &data)?;
    if done == data.len() { Ok(()) } else { Err(Errno::EIO) }
}

fn attributes(attr: Attr) -> Outcome {
    let kind = attr.file_type();
    Outcome::Attributes {
        kind,
        mode: attr.mode & 0o7777,
        size: if matches!(kind, FileType::REGULAR | FileType::SYMLINK) { attr.size } else { 0 },
        links: if kind == FileType::DIRECTORY { 0 } else { attr.nlink },
        mtime: Some(attr.mtime.seconds),
    }
}
