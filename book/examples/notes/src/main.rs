//! The second program of the guide: files that can be made, written, read and removed, all in one directory.
// ANCHOR: all
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fusewire::op::SetTime;
use fusewire::reply::Dirent;
use fusewire::{Attr, Context, Errno, FileType, Filesystem, Name, NodeId, op, reply, sink};
use fusewire_launch::{Command, run};

/// How long the kernel may believe our answers. Only users of the mount change the notes, so it could be longer.
const TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let command = Command::new("firstfs", env!("CARGO_PKG_VERSION")).about("Keeps notes in memory");
    run(command, |_| Ok(Notes::default()))
}

// ANCHOR: state
/// A file: its name, what is in it, and its attributes.
struct Note {
    name: Vec<u8>,
    text: Vec<u8>,
    attr: Attr,
}

/// All files, by node id.
#[derive(Default)]
struct Notes {
    notes: Mutex<BTreeMap<u64, Note>>,
    /// How many files were ever made, so that no id is used twice.
    made: AtomicU64,
}

/// The first id of a file. 1 is the root, and 2 is the offset of `..` in listings.
const FIRST: u64 = 3;

impl Notes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(notes: &BTreeMap<u64, Note>, name: &Name) -> Option<u64> {
    notes.iter().find(|(_, note)| note.name == name.as_bytes()).map(|(id, _)| *id)
}
// ANCHOR_END: state

// ANCHOR: size
/// An offset in a file as an index, if a file of that size fits into memory.
fn place(offset: u64) -> Result<usize, Errno> {
    usize::try_from(offset).map_err(|_| Errno::EFBIG)
}

impl Note {
    fn resize(&mut self, size: u64) -> Result<(), Errno> {
        self.text.resize(place(size)?, 0);
        self.attr.size = size;
        self.attr.mtime = SystemTime::now().into();
        Ok(())
    }
}
// ANCHOR_END: size

impl Filesystem for Notes {
    // ANCHOR: mknod
    /// Makes a file. The kernel opens it afterwards.
    fn mknod(&self, cx: &Context<'_>, op: op::Mknod<'_>) -> Result<reply::Entry, Errno> {
        if FileType::from_mode(op.mode) != FileType::REGULAR {
            return Err(Errno::EPERM);
        }
        let mut notes = self.lock();
        if find(&notes, op.name).is_some() {
            return Err(Errno::EEXIST);
        }
        let id = FIRST + self.made.fetch_add(1, Ordering::Relaxed);
        let mut attr = Attr::new(id, FileType::REGULAR, op.mode & 0o7777);
        attr.uid = cx.uid().unwrap_or_default();
        attr.gid = cx.gid().unwrap_or_default();
        attr.mtime = SystemTime::now().into();
        notes.insert(id, Note { name: op.name.as_bytes().to_vec(), text: Vec::new(), attr });
        Ok(reply::Entry::new(NodeId(id), attr, TIMEOUT))
    }
    // ANCHOR_END: mknod

    // ANCHOR: write
    /// Puts bytes at `op.offset`. If that is behind the end of the file, what lies between is zeros.
    fn write(&self, _: &Context<'_>, op: op::Write<'_>) -> Result<reply::Written, Errno> {
        let mut notes = self.lock();
        let note = notes.get_mut(&op.node.0).ok_or(Errno::ENOENT)?;
        let size = u32::try_from(op.data.len()).map_err(|_| Errno::EINVAL)?;
        let end = op.offset.checked_add(u64::from(size)).ok_or(Errno::EFBIG)?;
        note.resize(end.max(note.attr.size))?;
        let target = note.text.get_mut(place(op.offset)?..place(end)?).ok_or(Errno::EIO)?;
        target.copy_from_slice(op.data);
        Ok(reply::Written { size })
    }
    // ANCHOR_END: write

    // ANCHOR: setattr
    /// Asked by `chmod`, `chown`, `truncate`, `touch`: change what is `Some`, and leave the rest.
    fn setattr(&self, _: &Context<'_>, op: op::Setattr) -> Result<reply::Attributes, Errno> {
        let mut notes = self.lock();
        let note = notes.get_mut(&op.node.0).ok_or(Errno::EPERM)?;
        if let Some(size) = op.size {
            note.resize(size)?;
        }
        if let Some(mode) = op.mode {
            note.attr.mode = FileType::REGULAR.mode_bits() | mode & 0o7777;
        }
        note.attr.uid = op.uid.unwrap_or(note.attr.uid);
        note.attr.gid = op.gid.unwrap_or(note.attr.gid);
        match op.mtime {
            Some(SetTime::Now) => note.attr.mtime = SystemTime::now().into(),
            Some(SetTime::At(time)) => note.attr.mtime = time,
            None => {}
        }
        Ok(reply::Attributes::new(note.attr, TIMEOUT))
    }
    // ANCHOR_END: setattr

    // ANCHOR: unlink
    /// Asked by `rm`: take this name away.
    fn unlink(&self, _: &Context<'_>, op: op::Unlink<'_>) -> Result<reply::Done, Errno> {
        let mut notes = self.lock();
        let id = find(&notes, op.name).ok_or(Errno::ENOENT)?;
        notes.remove(&id);
        Ok(reply::Done)
    }
    // ANCHOR_END: unlink

    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        let notes = self.lock();
        let id = find(&notes, op.name).ok_or(Errno::ENOENT)?;
        let note = notes.get(&id).ok_or(Errno::ENOENT)?;
        Ok(reply::Entry::new(NodeId(id), note.attr, TIMEOUT))
    }

    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        let attr = match op.node {
            NodeId::ROOT => Attr::new(1, FileType::DIRECTORY, 0o755),
            NodeId(id) => self.lock().get(&id).ok_or(Errno::ENOENT)?.attr,
        };
        Ok(reply::Attributes::new(attr, TIMEOUT))
    }

    fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        let notes = self.lock();
        let note = notes.get(&op.node.0).ok_or(Errno::ENOENT)?;
        out.put(note.text.get(place(op.offset)?..).unwrap_or_default());
        Ok(())
    }

    // ANCHOR: readdir
    /// The offset of an entry is its node id, so that it stays right when files come and go between two calls.
    fn readdir(&self, _: &Context<'_>, op: op::Readdir, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
        let notes = self.lock();
        let dots = [(1, FileType::DIRECTORY, ".".as_bytes()), (2, FileType::DIRECTORY, "..".as_bytes())];
        let files = notes.iter().map(|(id, note)| (*id, FileType::REGULAR, note.name.as_slice()));
        for (id, kind, name) in dots.into_iter().chain(files).filter(|(id, ..)| *id > op.offset) {
            let name = Name::new(name).map_err(|_| Errno::EIO)?;
            if out.push(&Dirent::new(id, id, kind, name)).is_err() {
                break;
            }
        }
        Ok(())
    }
    // ANCHOR_END: readdir
}
// ANCHOR_END: all

#[cfg(test)]
mod tests;
