//! Open directories: listing, and going on in the middle.
//!
//! `READDIRPLUS` is used when Linux would use it; what it looks up is remembered as any lookup.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use fusewire_proto::{Errno, FileHandle, FileType, InitFlags, NodeId, Opcode, OpenFlags, op};

use crate::laws::{Law, replies};
use crate::vfs::Mount;
use crate::vfs::cache::Pin;
use crate::vfs::walk::Last;

/// Bytes of room for entries that are asked for at a time: a page, as Linux before 6.16 does.
const ROOM: u32 = 4096;

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirEntry {
    /// The name.
    pub name: OsString,
    /// The inode number.
    pub ino: u64,
    /// Where listing goes on behind it.
    pub offset: u64,
    /// The type of the file, or unknown.
    pub kind: FileType,
}

/// An open directory. Dropping it releases it.
pub struct Directory {
    mount: Mount,
    pin: Pin,
    /// `None`: the daemon needs no handle.
    handle: Option<FileHandle>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("node", &self.pin.node).field("handle", &self.handle).finish()
    }
}

impl Mount {
    /// Opens a directory, as opendir(3).
    ///
    /// # Errors
    /// What opendir(3) says, or the daemon.
    pub fn open_dir(&self, path: impl AsRef<Path>) -> Result<Directory, Errno> {
        let pin = self.walk(path, Last::Follow)?;
        if !pin.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let handle = match self.ask(op::Opendir::new(pin.node, OpenFlags::from_libc(flags))) {
            Ok(answer) => Some(answer.opened()?.handle),
            Err(Errno::ENOSYS) => None,
            Err(errno) => return Err(errno),
        };
        Ok(Directory { mount: self.clone(), pin, handle })
    }

    /// Lists a directory, with `.` and `..` if the daemon lists them.
    ///
    /// # Errors
    /// What opendir(3) and readdir(3) say, or the daemon.
    pub fn readdir(&self, path: impl AsRef<Path>) -> Result<Vec<DirEntry>, Errno> {
        self.open_dir(path)?.entries()
    }

    /// The names in a directory, sorted, without `.` and `..`.
    ///
    /// # Errors
    /// As [`readdir`](Self::readdir).
    pub fn names(&self, path: impl AsRef<Path>) -> Result<Vec<OsString>, Errno> {
        let entries = self.readdir(path)?;
        let mut names: Vec<OsString> =
            entries.into_iter().map(|entry| entry.name).filter(|name| !replies::is_dot(name.as_bytes())).collect();
        names.sort();
        Ok(names)
    }
}

impl Directory {
    /// The node that it is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.pin.node
    }

    /// All entries, from the first on.
    ///
    /// # Errors
    /// What the daemon says.
    pub fn entries(&self) -> Result<Vec<DirEntry>, Errno> {
        let before = self.mount.cache().quiet();
        let mut all: Vec<DirEntry> = Vec::new();
        let mut offset = 0;
        loop {
            let mut part = self.read_from(offset)?;
            let Some(last) = part.last() else { break };
            if last.offset == offset || last.offset == 0 {
                // Reading on there would never end.
                let detail = format!("reading on at {offset} ends at {} again", last.offset);
                self.mount.kernel().check(Law::DirentOffsets, Err(detail));
                all.append(&mut part);
                return Ok(all);
            }
            offset = last.offset;
            all.append(&mut part);
        }
        if before.is_some() && self.mount.cache().quiet() == before {
            self.check(&all, before);
        }
        Ok(all)
    }

    /// The entries behind an offset, as many as one request brings; none at the end.
    ///
    /// # Errors
    /// What the daemon says.
    pub fn read_from(&self, offset: u64) -> Result<Vec<DirEntry>, Errno> {
        // fs/fuse/readdir.c fuse_use_readdirplus().
        let plus =
            self.mount.has(InitFlags::DO_READDIRPLUS) && (offset == 0 || !self.mount.has(InitFlags::READDIRPLUS_AUTO));
        if plus { self.read_plus(offset) } else { self.read_plain(offset) }
    }

    fn read_plain(&self, offset: u64) -> Result<Vec<DirEntry>, Errno> {
        let request = op::Readdir::new(self.pin.node, self.handle.unwrap_or_default(), offset, ROOM);
        let answer = self.mount.ask(request)?;
        let negotiated = self.mount.negotiated();
        let mut entries = Vec::new();
        for entry in answer.dir_entries()?.iter(&negotiated) {
            entries.push(DirEntry::from_wire(&entry.map_err(|_| Errno::EIO)?));
        }
        Ok(entries)
    }

    fn read_plus(&self, offset: u64) -> Result<Vec<DirEntry>, Errno> {
        let request = op::Readdirplus::new(self.pin.node, self.handle.unwrap_or_default(), offset, ROOM);
        let answer = self.mount.ask(request)?;
        let negotiated = self.mount.negotiated();
        let mut entries = Vec::new();
        for item in answer.dir_entries_plus()?.iter(&negotiated) {
            let (entry, dirent) = item.map_err(|_| Errno::EIO)?;
            let name = dirent.name.as_bytes();
            entries.push(DirEntry::from_wire(&dirent));
            if entry.is_negative() || entry.node == NodeId::ROOT || replies::is_dot(name) {
                continue;
            }
            drop(self.mount.adopt_name(&self.pin, name, &entry));
        }
        Ok(entries)
    }

    /// The laws that show in a whole listing.
    fn check(&self, all: &[DirEntry], before: Option<u64>) {
        let kernel = self.mount.kernel();
        let twice = |mut keys: Vec<Vec<u8>>| {
            keys.sort_unstable();
            keys.windows(2).find(|pair| pair.first() == pair.last()).and_then(|pair| pair.first().cloned())
        };
        let names = all.iter().map(|entry| entry.name.as_bytes().to_vec()).collect();
        kernel.check(
            Law::DirentNamesUnique,
            twice(names).map_or(Ok(()), |name| Err(format!("{} comes twice", name.escape_ascii()))),
        );
        let offsets = all.iter().map(|entry| entry.offset.to_be_bytes().to_vec()).collect();
        kernel.check(
            Law::DirentOffsets,
            twice(offsets).map_or(Ok(()), |offset| Err(format!("offset 0x{} comes twice", offset.escape_ascii()))),
        );
        for entry in all {
            let known = self.mount.cache().kind_of_name(self.pin.node, entry.name.as_bytes());
            if let Some(kind) = known.filter(|_| entry.kind != FileType::UNKNOWN) {
                let outcome = if kind == entry.kind {
                    Ok(())
                } else {
                    Err(format!("{:?} is announced as {:?} and is {kind:?}", entry.name, entry.kind))
                };
                kernel.check(Law::DirentType, outcome);
            }
        }
        if kernel.config().probing {
            self.probe(all, before);
        }
    }

    /// Reads on in the middle, and compares.
    fn probe(&self, all: &[DirEntry], before: Option<u64>) {
        let Some((front, back)) = all.split_at_checked(all.len().div_ceil(2)) else { return };
        let Some(at) = front.last() else { return };
        let Ok(again) = self.read_plain(at.offset) else { return };
        if self.mount.cache().quiet() != before {
            return;
        }
        let same = again.len() <= back.len()
            && again.iter().zip(back).all(|(again, first)| again.name == first.name)
            && (again.is_empty() == back.is_empty());
        let outcome = if same {
            Ok(())
        } else {
            let names = |entries: &[DirEntry]| -> Vec<OsString> {
                entries.iter().take(4).map(|entry| entry.name.clone()).collect()
            };
            Err(format!(
                "behind {:?} (offset {}) came {:?}, and reading on there gives {:?}",
                at.name,
                at.offset,
                names(back),
                names(&again)
            ))
        };
        self.mount.kernel().check(Law::DirentResume, outcome);
    }

    /// Brings the entries to stable storage, as fsync(2).
    ///
    /// # Errors
    /// What the daemon says; nothing if it does not know the operation.
    pub fn sync(&self) -> Result<(), Errno> {
        self.mount.ask_or_skip(op::Fsyncdir::new(self.pin.node, self.handle.unwrap_or_default()))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.filter(|_| self.mount.supports(Opcode::OPENDIR)) {
            // Nobody looks at the answer.
            let _ = self.mount.ask(op::Releasedir::new(self.pin.node, handle));
        }
    }
}

impl DirEntry {
    fn from_wire(entry: &fusewire_proto::reply::Dirent<'_>) -> Self {
        Self {
            name: OsString::from_vec(entry.name.as_bytes().to_vec()),
            ino: entry.ino,
            offset: entry.offset,
            kind: entry.kind,
        }
    }
}
