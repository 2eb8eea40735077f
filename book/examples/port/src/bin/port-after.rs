//! Files in memory in one directory: the same as `port-before`, for Fusewire.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fusewire::op::SetTime;
use fusewire::reply::Dirent;
use fusewire::{Attr, Context, Errno, FileHandle, FileType, Filesystem, Name, NodeId, op, reply, sink};
use fusewire_launch::{Command, run};

const TTL: Duration = Duration::from_secs(1);

// ANCHOR: main
fn main() -> ExitCode {
    let command = Command::new("port-after", env!("CARGO_PKG_VERSION")).about("Keeps files in memory");
    run(command, |_| Ok(Flat::default()))
}
// ANCHOR_END: main

struct File {
    name: Vec<u8>,
    data: Vec<u8>,
    attr: Attr,
}

/// Files by node id, from 3 on.
#[derive(Default)]
struct Flat {
    files: Mutex<BTreeMap<u64, File>>,
}

impl Flat {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filesystem for Flat {
    // ANCHOR: lookup
    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        let files = self.lock();
        let file = files.iter().find(|(_, file)| file.name == op.name.as_bytes());
        let (id, file) = file.ok_or(Errno::ENOENT)?;
        Ok(reply::Entry::new(NodeId(*id), file.attr, TTL))
    }
    // ANCHOR_END: lookup

    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        let attr = match op.node {
            NodeId::ROOT => Attr::new(1, FileType::DIRECTORY, 0o755),
            NodeId(id) => self.lock().get(&id).ok_or(Errno::ENOENT)?.attr,
        };
        Ok(reply::Attributes::new(attr, TTL))
    }

    // ANCHOR: setattr
    fn setattr(&self, _: &Context<'_>, op: op::Setattr) -> Result<reply::Attributes, Errno> {
        let mut files = self.lock();
        let file = files.get_mut(&op.node.0).ok_or(Errno::ENOENT)?;
        if let Some(size) = op.size {
            file.data.resize(usize::try_from(size).map_err(|_| Errno::EFBIG)?, 0);
            file.attr.size = size;
        }
        if let Some(mode) = op.mode {
            file.attr.mode = FileType::REGULAR.mode_bits() | mode & 0o7777;
        }
        file.attr.uid = op.uid.unwrap_or(file.attr.uid);
        file.attr.gid = op.gid.unwrap_or(file.attr.gid);
        match op.mtime {
            Some(SetTime::At(time)) => file.attr.mtime = time,
            Some(SetTime::Now) => file.attr.mtime = SystemTime::now().into(),
            None => {}
        }
        Ok(reply::Attributes::new(file.attr, TTL))
    }
    // ANCHOR_END: setattr

    // ANCHOR: create
    fn create(&self, cx: &Context<'_>, op: op::Create<'_>) -> Result<reply::Created, Errno> {
        let mut files = self.lock();
        let id = files.keys().last().map_or(3, |last| last + 1);
        // The umask is applied already.
        let mut attr = Attr::new(id, FileType::REGULAR, op.mode & 0o7777);
        attr.uid = cx.uid().unwrap_or_default();
        attr.gid = cx.gid().unwrap_or_default();
        attr.mtime = SystemTime::now().into();
        files.insert(id, File { name: op.name.as_bytes().to_vec(), data: Vec::new(), attr });
        let entry = reply::Entry::new(NodeId(id), attr, TTL);
        Ok(reply::Created::new(entry, reply::Opened::new(FileHandle(0))))
    }
    // ANCHOR_END: create

    fn unlink(&self, _: &Context<'_>, op: op::Unlink<'_>) -> Result<reply::Done, Errno> {
        let mut files = self.lock();
        let id = files.iter().find(|(_, file)| file.name == op.name.as_bytes()).map(|(id, _)| *id);
        files.remove(&id.ok_or(Errno::ENOENT)?);
        Ok(reply::Done)
    }

    // ANCHOR: read
    fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        let files = self.lock();
        let file = files.get(&op.node.0).ok_or(Errno::ENOENT)?;
        let start = usize::try_from(op.offset).unwrap_or(usize::MAX);
        out.put(file.data.get(start..).unwrap_or_default());
        Ok(())
    }
    // ANCHOR_END: read

    fn write(&self, _: &Context<'_>, op: op::Write<'_>) -> Result<reply::Written, Errno> {
        let mut files = self.lock();
        let file = files.get_mut(&op.node.0).ok_or(Errno::EIO)?;
        let start = usize::try_from(op.offset).map_err(|_| Errno::EFBIG)?;
        let end = start.checked_add(op.data.len()).ok_or(Errno::EFBIG)?;
        if end > file.data.len() {
            file.data.resize(end, 0);
            file.attr.size = end as u64;
        }
        file.data.get_mut(start..end).ok_or(Errno::EIO)?.copy_from_slice(op.data);
        file.attr.mtime = SystemTime::now().into();
        Ok(reply::Written { size: u32::try_from(op.data.len()).map_err(|_| Errno::EINVAL)? })
    }

    // ANCHOR: readdir
    fn readdir(&self, _: &Context<'_>, op: op::Readdir, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
        let files = self.lock();
        let dots = [(1, FileType::DIRECTORY, b".".as_slice()), (2, FileType::DIRECTORY, b"..".as_slice())];
        let names = files.iter().map(|(id, file)| (*id, FileType::REGULAR, file.name.as_slice()));
        for (id, kind, name) in dots.into_iter().chain(names).filter(|(id, ..)| *id > op.offset) {
            let name = Name::new(name).map_err(|_| Errno::EIO)?;
            if out.push(&Dirent::new(id, id, kind, name)).is_err() {
                break;
            }
        }
        Ok(())
    }
    // ANCHOR_END: readdir
}

#[cfg(test)]
#[path = "../laws.rs"]
mod laws;
