//! Files in memory in one directory, for fuser.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};

const TTL: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let Some(mountpoint) = std::env::args_os().nth(1) else {
        eprintln!("usage: port-before MOUNTPOINT");
        return ExitCode::FAILURE;
    };
    let mut config = Config::default();
    config.mount_options.push(MountOption::FSName("port".to_owned()));
    match fuser::mount(Flat::default(), mountpoint, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("port-before: {error}");
            ExitCode::FAILURE
        }
    }
}

struct File {
    name: OsString,
    data: Vec<u8>,
    attr: FileAttr,
}

/// Files by inode number, from 3 on.
#[derive(Default)]
struct Flat {
    files: Mutex<BTreeMap<u64, File>>,
}

// ANCHOR: attr
fn attr(ino: u64, kind: FileType, perm: u16, uid: u32, gid: u32) -> FileAttr {
    let now = SystemTime::now();
    FileAttr {
        ino: INodeNo(ino),
        size: 0,
        blocks: 0,
        atime: now,
        mtime: now,
        ctime: now,
        crtime: now,
        kind,
        perm,
        nlink: 1,
        uid,
        gid,
        rdev: 0,
        blksize: 512,
        flags: 0,
    }
}
// ANCHOR_END: attr

impl Flat {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filesystem for Flat {
    // ANCHOR: lookup
    fn lookup(&self, _req: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.lock().values().find(|file| file.name == name) {
            Some(file) => reply.entry(&TTL, &file.attr, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }
    // ANCHOR_END: lookup

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        if ino == INodeNo::ROOT {
            reply.attr(&TTL, &attr(1, FileType::Directory, 0o755, 0, 0));
        } else if let Some(file) = self.lock().get(&ino.0) {
            reply.attr(&TTL, &file.attr);
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    // ANCHOR: setattr
    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut files = self.lock();
        let Some(file) = files.get_mut(&ino.0) else {
            reply.error(Errno::ENOENT);
            return;
        };
        if let Some(size) = size {
            let Ok(length) = usize::try_from(size) else {
                reply.error(Errno::EFBIG);
                return;
            };
            file.data.resize(length, 0);
            file.attr.size = size;
        }
        if let Some(mode) = mode {
            file.attr.perm = u16::try_from(mode & 0o7777).unwrap_or(0);
        }
        file.attr.uid = uid.unwrap_or(file.attr.uid);
        file.attr.gid = gid.unwrap_or(file.attr.gid);
        match mtime {
            Some(TimeOrNow::SpecificTime(time)) => file.attr.mtime = time,
            Some(TimeOrNow::Now) => file.attr.mtime = SystemTime::now(),
            None => {}
        }
        reply.attr(&TTL, &file.attr);
    }
    // ANCHOR_END: setattr

    fn create(
        &self,
        req: &Request,
        _parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let mut files = self.lock();
        let ino = files.keys().last().map_or(3, |last| last + 1);
        let perm = u16::try_from(mode & !umask & 0o7777).unwrap_or(0);
        let attr = attr(ino, FileType::RegularFile, perm, req.uid(), req.gid());
        files.insert(ino, File { name: name.to_owned(), data: Vec::new(), attr });
        reply.created(&TTL, &attr, Generation(0), FileHandle(0), FopenFlags::empty());
    }

    fn unlink(&self, _req: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut files = self.lock();
        let ino = files.iter().find(|(_, file)| file.name == name).map(|(ino, _)| *ino);
        match ino.and_then(|ino| files.remove(&ino)) {
            Some(_) => reply.ok(),
            None => reply.error(Errno::ENOENT),
        }
    }

    // ANCHOR: read
    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let files = self.lock();
        let Some(file) = files.get(&ino.0) else {
            reply.error(Errno::ENOENT);
            return;
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.data.len());
        let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)).min(file.data.len());
        reply.data(file.data.get(start..end).unwrap_or_default());
    }
    // ANCHOR_END: read

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut files = self.lock();
        let (Some(file), Ok(start)) = (files.get_mut(&ino.0), usize::try_from(offset)) else {
            reply.error(Errno::EIO);
            return;
        };
        let end = start + data.len();
        if end > file.data.len() {
            file.data.resize(end, 0);
            file.attr.size = end as u64;
        }
        if let Some(place) = file.data.get_mut(start..end) {
            place.copy_from_slice(data);
        }
        file.attr.mtime = SystemTime::now();
        reply.written(u32::try_from(data.len()).unwrap_or(0));
    }

    // ANCHOR: readdir
    fn readdir(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let files = self.lock();
        let dots = [(1, FileType::Directory, OsStr::new(".")), (2, FileType::Directory, OsStr::new(".."))];
        let names = files.iter().map(|(ino, file)| (*ino, FileType::RegularFile, file.name.as_os_str()));
        for (ino, kind, name) in dots.into_iter().chain(names).filter(|(ino, ..)| *ino > offset) {
            if reply.add(INodeNo(ino), ino, kind, name) {
                break;
            }
        }
        reply.ok();
    }
    // ANCHOR_END: readdir
}
