//! Operations on attributes: ask, change, and the extended ones.
//!
//! Attributes are believed for as long as the daemon says; nothing else is.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use fusewire_proto::op::{self, SetTime};
use fusewire_proto::reply::Xattr;
use fusewire_proto::{
    AccessMask, Attr, Errno, FileHandle, FileType, Gid, Statfs, StatxAttr, StatxMask, Uid, XattrFlags, XattrName,
};

use crate::laws::Law;
use crate::vfs::Mount;
use crate::vfs::cache::Pin;
use crate::vfs::walk::Last;

/// Which attributes are to change, and to what. The default changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The permission bits.
    pub mode: Option<u32>,
    /// The owner.
    pub uid: Option<Uid>,
    /// The group.
    pub gid: Option<Gid>,
    /// The size, in bytes.
    pub size: Option<u64>,
    /// The time of the last access.
    pub atime: Option<SetTime>,
    /// The time of the last change of data.
    pub mtime: Option<SetTime>,
}

impl Change {
    /// Permission bits.
    #[must_use]
    pub fn mode(mode: u32) -> Self {
        Self { mode: Some(mode), ..Self::default() }
    }

    /// Owner and group.
    #[must_use]
    pub fn owner(uid: u32, gid: u32) -> Self {
        Self { uid: Some(Uid(uid)), gid: Some(Gid(gid)), ..Self::default() }
    }

    /// The size, in bytes.
    #[must_use]
    pub fn size(size: u64) -> Self {
        Self { size: Some(size), ..Self::default() }
    }

    /// Both times.
    #[must_use]
    pub fn times(atime: SetTime, mtime: SetTime) -> Self {
        Self { atime: Some(atime), mtime: Some(mtime), ..Self::default() }
    }
}

/// How often an attribute is read again that grew meanwhile.
const TRIES: u32 = 3;

impl Mount {
    /// The attributes of what a path leads to, as stat(2).
    ///
    /// # Errors
    /// What stat(2) says, or the daemon.
    pub fn stat(&self, path: impl AsRef<Path>) -> Result<Attr, Errno> {
        let pin = self.walk(path, Last::Follow)?;
        self.attr_of(&pin, None)
    }

    /// The attributes of a path itself, also if it is a symbolic link, as lstat(2).
    ///
    /// # Errors
    /// What lstat(2) says, or the daemon.
    pub fn lstat(&self, path: impl AsRef<Path>) -> Result<Attr, Errno> {
        let pin = self.walk(path, Last::Stay)?;
        self.attr_of(&pin, None)
    }

    /// The attributes of a node, from the cache if they may be believed.
    pub(super) fn attr_of(&self, pin: &Pin, handle: Option<FileHandle>) -> Result<Attr, Errno> {
        // Bound, so that the lock is not held while the daemon is asked.
        let cached = self.cache().attr(pin.node);
        if let Some(attr) = cached {
            return Ok(attr);
        }
        let mut request = op::Getattr::new(pin.node);
        request.handle = handle;
        let attributes = self.ask(request)?.attributes()?;
        self.cache().put_attr(pin.node, attributes.attr, attributes.timeout);
        Ok(attributes.attr)
    }

    /// What only statx(2) shows. If the daemon does not know the operation, the fields of `GETATTR` without a time of creation.
    ///
    /// # Errors
    /// What statx(2) says, or the daemon.
    pub fn statx(&self, path: impl AsRef<Path>, mask: StatxMask) -> Result<StatxAttr, Errno> {
        let pin = self.walk(path, Last::Follow)?;
        if self.negotiated().minor >= 39 {
            match self.ask(op::Statx::new(pin.node, mask)) {
                Err(Errno::ENOSYS) => {}
                answer => return Ok(answer?.statx()?.attr),
            }
        }
        let attr = self.attr_of(&pin, None)?;
        let mut wide = StatxAttr::default();
        wide.mask = StatxMask::BASIC_STATS;
        wide.blksize = attr.blksize;
        wide.nlink = attr.nlink;
        (wide.uid, wide.gid) = (attr.uid, attr.gid);
        wide.mode = u16::try_from(attr.mode & 0xffff).unwrap_or_default();
        (wide.ino, wide.size, wide.blocks) = (attr.ino, attr.size, attr.blocks);
        (wide.atime, wide.mtime, wide.ctime) = (attr.atime, attr.mtime, attr.ctime);
        Ok(wide)
    }

    /// Changes attributes of what a path leads to; returns all of them, as they are then.
    ///
    /// # Errors
    /// What chmod(2), chown(2), truncate(2) or utimensat(2) say, or the daemon.
    pub fn change(&self, path: impl AsRef<Path>, change: Change) -> Result<Attr, Errno> {
        let pin = self.walk(path, Last::Follow)?;
        if change.size.is_some() {
            // fs/open.c vfs_truncate().
            match pin.kind() {
                FileType::DIRECTORY => return Err(Errno::EISDIR),
                FileType::REGULAR => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        self.change_node(&pin, change, None)
    }

    pub(super) fn change_node(&self, pin: &Pin, change: Change, handle: Option<FileHandle>) -> Result<Attr, Errno> {
        if change.size.is_some_and(|size| i64::try_from(size).is_err()) {
            return Err(Errno::EINVAL);
        }
        let mut request = op::Setattr::new(pin.node);
        // The type comes along (fs/fuse/dir.c iattr_to_fattr()).
        request.mode = change.mode.map(|mode| pin.kind().mode_bits() | (mode & 0o7777));
        request.uid = change.uid;
        request.gid = change.gid;
        request.size = change.size;
        request.atime = change.atime;
        request.mtime = change.mtime;
        request.handle = handle;
        if change.size.is_some() && handle.is_some() {
            request.lock_owner = Some(self.owner);
        }
        self.cache().changed(pin.node);
        let attributes = self.ask(request)?.attributes()?;
        self.cache().put_attr(pin.node, attributes.attr, attributes.timeout);
        Ok(attributes.attr)
    }

    /// Changes permission bits, as chmod(2).
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn chmod(&self, path: impl AsRef<Path>, mode: u32) -> Result<(), Errno> {
        self.change(path, Change::mode(mode)).map(|_| ())
    }

    /// Changes the size, as truncate(2).
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn truncate(&self, path: impl AsRef<Path>, size: u64) -> Result<(), Errno> {
        self.change(path, Change::size(size)).map(|_| ())
    }

    /// Asks whether the caller may do this, as access(2).
    ///
    /// # Errors
    /// What the daemon says; nothing if it does not know the operation.
    pub fn access(&self, path: impl AsRef<Path>, mask: AccessMask) -> Result<(), Errno> {
        let pin = self.walk(path, Last::Follow)?;
        self.ask_or_skip(op::Access::new(pin.node, mask))
    }

    /// The numbers of the whole filesystem, as statfs(2).
    ///
    /// # Errors
    /// What the daemon says.
    pub fn statfs(&self, path: impl AsRef<Path>) -> Result<Statfs, Errno> {
        let pin = self.walk(path, Last::Follow)?;
        self.ask(op::Statfs::new(pin.node))?.statfs()
    }

    /// Sets an extended attribute, as setxattr(2).
    ///
    /// # Errors
    /// What the daemon says; `EOPNOTSUPP` if it does not know the operation.
    pub fn setxattr(
        &self,
        path: impl AsRef<Path>,
        name: &str,
        value: impl AsRef<[u8]>,
        flags: XattrFlags,
    ) -> Result<(), Errno> {
        let pin = self.walk(path, Last::Follow)?;
        if !has_user_xattrs(&pin, name) {
            return Err(Errno::EPERM);
        }
        let mut request = op::Setxattr::new(pin.node, xattr_name(name)?, value.as_ref());
        request.flags = flags;
        self.ask(request)?;
        self.cache().changed(pin.node);
        Ok(())
    }

    /// Reads an extended attribute: asks how long it is, then for that much, as most callers of getxattr(2) do.
    ///
    /// # Errors
    /// `ENODATA` if it is not there; what the daemon says; `EOPNOTSUPP` if it does not know the operation.
    pub fn getxattr(&self, path: impl AsRef<Path>, name: &str) -> Result<Vec<u8>, Errno> {
        let pin = self.walk(path, Last::Follow)?;
        if !has_user_xattrs(&pin, name) {
            return Err(Errno::ENODATA);
        }
        let name = xattr_name(name)?;
        self.sized(|size| self.ask(op::Getxattr::new(pin.node, size, name)))
    }

    /// Lists the names of the extended attributes, as listxattr(2).
    ///
    /// # Errors
    /// What the daemon says; `EOPNOTSUPP` if it does not know the operation.
    pub fn listxattr(&self, path: impl AsRef<Path>) -> Result<Vec<OsString>, Errno> {
        let pin = self.walk(path, Last::Follow)?;
        let list = self.sized(|size| self.ask(op::Listxattr::new(pin.node, size)))?;
        let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| OsString::from_vec(name.to_vec())).collect())
    }

    /// Removes an extended attribute, as removexattr(2).
    ///
    /// # Errors
    /// `ENODATA` if it is not there; what the daemon says; `EOPNOTSUPP` if it does not know the operation.
    pub fn removexattr(&self, path: impl AsRef<Path>, name: &str) -> Result<(), Errno> {
        let pin = self.walk(path, Last::Follow)?;
        if !has_user_xattrs(&pin, name) {
            return Err(Errno::EPERM);
        }
        self.ask(op::Removexattr::new(pin.node, xattr_name(name)?))?;
        self.cache().changed(pin.node);
        Ok(())
    }

    /// Asks for a size, then for as much.
    fn sized(&self, ask: impl Fn(u32) -> Result<crate::kernel::Answer, Errno>) -> Result<Vec<u8>, Errno> {
        let mut tries = 0;
        loop {
            let before = self.cache().quiet();
            let Xattr::Size(size) = ask(0)?.xattr()? else { return Err(Errno::EIO) };
            if size == 0 {
                return Ok(Vec::new());
            }
            let answer = ask(size);
            let unchanged = before.is_some() && self.cache().quiet() == before;
            if unchanged {
                let outcome = match &answer {
                    Err(Errno::ERANGE) => Err(format!("{size} bytes were announced and do not suffice")),
                    _ => Ok(()),
                };
                self.kernel().check(Law::XattrSize, outcome);
            }
            match answer {
                Err(Errno::ERANGE) if tries < TRIES => tries += 1,
                answer => {
                    return match answer?.xattr()? {
                        Xattr::Value(value) => Ok(value.to_vec()),
                        Xattr::Size(_) => Err(Errno::EIO),
                    };
                }
            }
        }
    }
}

/// Only regular files and directories have attributes of users (`fs/xattr.c xattr_permission()`).
fn has_user_xattrs(pin: &Pin, name: &str) -> bool {
    !name.starts_with("user.") || matches!(pin.kind(), FileType::REGULAR | FileType::DIRECTORY)
}

fn xattr_name(name: &str) -> Result<&XattrName, Errno> {
    // XATTR_NAME_MAX of linux/limits.h.
    if name.len() > 255 {
        return Err(Errno::ERANGE);
    }
    XattrName::new(name.as_bytes()).map_err(|_| Errno::ERANGE)
}
