//! A filesystem written with `fuser` 0.18, over a pair of sockets.
//!
//! What it breaks, the report says.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyWrite, Request, Session,
    SessionACL, TimeOrNow, WriteFlags,
};
use fusewire_testkit::Running;

const TTL: Duration = Duration::from_secs(1);

/// Files in one directory, as the examples of `fuser` keep them: no lookup counts, and handles that mean nothing.
struct Flat {
    files: Mutex<BTreeMap<OsString, (u64, Vec<u8>)>>,
}

impl Flat {
    fn new() -> Self {
        let hello = (OsString::from("hello.txt"), (2, b"Hello World!\n".to_vec()));
        Self { files: Mutex::new(BTreeMap::from([hello])) }
    }

    fn attr(ino: u64, size: usize) -> FileAttr {
        let kind = if ino == 1 { FileType::Directory } else { FileType::RegularFile };
        FileAttr {
            ino: INodeNo(ino),
            size: size.try_into().unwrap(),
            blocks: 1,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: if ino == 1 { 0o755 } else { 0o644 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 512,
            flags: 0,
        }
    }

    fn with_file<R>(&self, ino: INodeNo, act: impl FnOnce(&mut Vec<u8>) -> R) -> Option<R> {
        self.files.lock().unwrap().values_mut().find(|(id, _)| *id == ino.0).map(|(_, data)| act(data))
    }

    fn attr_of(&self, ino: INodeNo) -> Option<FileAttr> {
        if ino.0 == 1 {
            return Some(Self::attr(1, 0));
        }
        self.with_file(ino, |data| Self::attr(ino.0, data.len()))
    }
}

impl Filesystem for Flat {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.files.lock().unwrap().get(name) {
            Some((ino, data)) => reply.entry(&TTL, &Self::attr(*ino, data.len()), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr_of(ino) {
            Some(attr) => reply.attr(&TTL, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if let Some(size) = size {
            self.with_file(ino, |data| data.resize(size.try_into().unwrap(), 0));
        }
        match self.attr_of(ino) {
            Some(attr) => reply.attr(&TTL, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn create(&self, _: &Request, _: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let mut files = self.files.lock().unwrap();
        let next = files.values().map(|(ino, _)| *ino).max().unwrap_or(1) + 1;
        let (ino, data) = files.entry(name.to_owned()).or_insert((next, Vec::new()));
        let attr = Self::attr(*ino, data.len());
        reply.created(&TTL, &attr, Generation(0), FileHandle(0), FopenFlags::empty());
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.files.lock().unwrap().remove(name) {
            Some(_) => reply.ok(),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let part = self.with_file(ino, |data| {
            let start = usize::try_from(offset).unwrap().min(data.len());
            let end = (start + usize::try_from(size).unwrap()).min(data.len());
            data.get(start..end).unwrap().to_vec()
        });
        match part {
            Some(part) => reply.data(&part),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let start = usize::try_from(offset).unwrap();
        let done = self.with_file(ino, |data| {
            data.resize(data.len().max(start + bytes.len()), 0);
            data.get_mut(start..start + bytes.len()).unwrap().copy_from_slice(bytes);
        });
        match done {
            Some(()) => reply.written(bytes.len().try_into().unwrap()),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut all =
            vec![(1, FileType::Directory, OsString::from(".")), (1, FileType::Directory, OsString::from(".."))];
        let files = self.files.lock().unwrap();
        all.extend(files.iter().map(|(name, (ino, _))| (*ino, FileType::RegularFile, name.clone())));
        for (number, (ino, kind, name)) in all.into_iter().enumerate().skip(offset.try_into().unwrap()) {
            if reply.add(INodeNo(ino), u64::try_from(number).unwrap() + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}

/// Starts it, over a pair of sockets.
pub(crate) fn start() -> Running {
    Running::over_socket(|fd| {
        Session::from_fd(Flat::new(), fd, SessionACL::All, fuser::Config::default()).and_then(|session| session.run())
    })
    .unwrap()
}
