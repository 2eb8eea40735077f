//! Filesystems for people who think in paths: the library keeps node ids, lookup counts and names, and calls with a path.
//!
//! What it costs over [`Filesystem`](crate::Filesystem): a path is put together for each call, and renames wait for calls
//! under way.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fusewire_proto::init::Wishes;
use fusewire_proto::{AccessMask, Attr, Errno, FileHandle, FileType, Negotiated, RenameFlags, XattrName, op, reply};

use crate::context::Context;
use crate::notifier::Notifier;
use crate::sink;

mod by_path;
mod listing;
mod tree;

pub use by_path::ByPath;

/// A filesystem whose methods are given paths. Wrap it in [`ByPath`] to serve it.
///
/// Paths are absolute within the filesystem: `/` is its root. The path of a file that is renamed changes with it, also while
/// it is open. A file that is removed while it is open gets a hidden name (`.fusewire-hidden-N` in the same directory) until
/// the last handle is released, so its path stays good. Hard links are one node: a call is given one of its paths.
///
/// All methods have a default: `ENOSYS`, except where another answer is said.
///
/// ```
/// use std::ffi::OsString;
/// use std::path::Path;
/// use fusewire::{Attr, Context, Errno, FileHandle, FileType, PathEntry, PathFilesystem};
///
/// struct OneFile;
///
/// impl PathFilesystem for OneFile {
///     fn getattr(&self, _: &Context<'_>, path: &Path, _: Option<FileHandle>) -> Result<Attr, Errno> {
///         match path.to_str() {
///             Some("/") => Ok(Attr::new(1, FileType::DIRECTORY, 0o755)),
///             Some("/file") => Ok(Attr::new(2, FileType::REGULAR, 0o644)),
///             _ => Err(Errno::ENOENT),
///         }
///     }
///
///     fn readdir(&self, _: &Context<'_>, _: &Path) -> Result<Vec<PathEntry>, Errno> {
///         Ok(vec![PathEntry::new("file", FileType::REGULAR)])
///     }
/// }
/// let served = fusewire::ByPath::new(OneFile); // fusewire::mount(served, ...)
/// # let _ = served;
/// ```
#[expect(unused_variables, reason = "the defaults look at nothing, and the names are for readers")]
pub trait PathFilesystem: Send + Sync {
    /// Chooses what to ask of the kernel; see [`Filesystem::init`](crate::Filesystem::init).
    ///
    /// # Errors
    /// Makes mounting fail.
    fn init(&self, offer: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
        Ok(())
    }

    /// The connection is open; see [`Filesystem::ready`](crate::Filesystem::ready).
    fn ready(&self, negotiated: &Negotiated, notifier: &Notifier) {}

    /// The connection is over; see [`Filesystem::destroy`](crate::Filesystem::destroy).
    fn destroy(&self) {}

    /// How long the kernel may believe names and attributes. The default is one second.
    fn timeout(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// The attributes of a file. This is also how names are looked up: `ENOENT` says that there is none. Where `ino` is not 0
    /// and `nlink` is above 1, files with the same `ino` are taken for hard links.
    ///
    /// # Errors
    /// What the caller is to see.
    fn getattr(&self, cx: &Context<'_>, path: &Path, handle: Option<FileHandle>) -> Result<Attr, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Changes the attributes that `op` has; its node id means nothing here. They are asked for afterwards.
    ///
    /// # Errors
    /// What the caller is to see.
    fn setattr(&self, cx: &Context<'_>, path: &Path, op: &op::Setattr) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// What a symbolic link points to.
    ///
    /// # Errors
    /// What the caller is to see.
    fn readlink(&self, cx: &Context<'_>, path: &Path) -> Result<PathBuf, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// What the caller is to see.
    fn symlink(&self, cx: &Context<'_>, path: &Path, target: &Path) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Makes a file, fifo, socket or device node.
    ///
    /// # Errors
    /// What the caller is to see.
    fn mknod(&self, cx: &Context<'_>, path: &Path, op: &op::Mknod<'_>) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// What the caller is to see.
    fn mkdir(&self, cx: &Context<'_>, path: &Path, op: &op::Mkdir<'_>) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Takes a name of a file away. Not called while the file is open.
    ///
    /// # Errors
    /// What the caller is to see.
    fn unlink(&self, cx: &Context<'_>, path: &Path) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// What the caller is to see.
    fn rmdir(&self, cx: &Context<'_>, path: &Path) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Moves a name, over another if there is one. With flags that are not supported: `EINVAL`.
    ///
    /// # Errors
    /// What the caller is to see.
    fn rename(&self, cx: &Context<'_>, from: &Path, to: &Path, flags: RenameFlags) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Gives the file at `existing` one more name.
    ///
    /// # Errors
    /// What the caller is to see.
    fn link(&self, cx: &Context<'_>, existing: &Path, new: &Path) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Opens a file. The default gives the handle 0.
    ///
    /// # Errors
    /// What the caller is to see.
    fn open(&self, cx: &Context<'_>, path: &Path, op: &op::Open) -> Result<reply::Opened, Errno> {
        Ok(reply::Opened::new(FileHandle(0)))
    }

    /// Makes a regular file and opens it. By default this is `mknod` and `open`.
    ///
    /// # Errors
    /// What the caller is to see.
    fn create(&self, cx: &Context<'_>, path: &Path, op: &op::Create<'_>) -> Result<reply::Opened, Errno> {
        let mut mknod = op::Mknod::new(op.parent, op.mode, op.name);
        mknod.umask = op.umask;
        self.mknod(cx, path, &mknod)?;
        self.open(cx, path, &op::Open::new(op.parent, op.flags))
    }

    /// Reads `op.size` bytes from `op.offset` on into `out`; fewer mean the end of the file.
    ///
    /// # Errors
    /// What the caller is to see.
    fn read(&self, cx: &Context<'_>, path: &Path, op: &op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Writes `op.data` from `op.offset` on; returns how many bytes were taken.
    ///
    /// # Errors
    /// What the caller is to see.
    fn write(&self, cx: &Context<'_>, path: &Path, op: &op::Write<'_>) -> Result<u32, Errno> {
        Err(Errno::ENOSYS)
    }

    /// A file descriptor of an open file is closed. The default succeeds.
    ///
    /// # Errors
    /// What the caller of close(2) is to see.
    fn flush(&self, cx: &Context<'_>, path: &Path, op: &op::Flush) -> Result<(), Errno> {
        Ok(())
    }

    /// The last reference to an open file is gone.
    fn release(&self, cx: &Context<'_>, path: &Path, op: &op::Release) {}

    /// Brings a file to stable storage. The default succeeds.
    ///
    /// # Errors
    /// What the caller is to see.
    fn fsync(&self, cx: &Context<'_>, path: &Path, op: &op::Fsync) -> Result<(), Errno> {
        Ok(())
    }

    /// The entries of a directory, without `.` and `..`. The list is kept until the directory is closed or read from the start.
    ///
    /// # Errors
    /// What the caller is to see.
    fn readdir(&self, cx: &Context<'_>, path: &Path) -> Result<Vec<PathEntry>, Errno> {
        Err(Errno::ENOSYS)
    }

    /// The numbers of the whole filesystem. The default knows nothing.
    ///
    /// # Errors
    /// What the caller is to see.
    fn statfs(&self, cx: &Context<'_>, path: &Path) -> Result<reply::Statfs, Errno> {
        Ok(reply::Statfs::unknown())
    }

    /// Whether the caller may do what `mask` says. With `ENOSYS`, the default, everything is allowed.
    ///
    /// # Errors
    /// `EACCES`.
    fn access(&self, cx: &Context<'_>, path: &Path, mask: AccessMask) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// What the caller is to see.
    fn setxattr(&self, cx: &Context<'_>, path: &Path, op: &op::Setxattr<'_>) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Reads an extended attribute, or its length, whichever `out` wants.
    ///
    /// # Errors
    /// `ENODATA` if it is not there.
    fn getxattr(
        &self,
        cx: &Context<'_>,
        path: &Path,
        name: &XattrName,
        out: &mut sink::Xattr<'_>,
    ) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Lists the names of the extended attributes, each with a NUL behind it.
    ///
    /// # Errors
    /// What the caller is to see.
    fn listxattr(&self, cx: &Context<'_>, path: &Path, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// `ENODATA` if it is not there.
    fn removexattr(&self, cx: &Context<'_>, path: &Path, name: &XattrName) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Reserves room in a file, or makes holes.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a mode that is not supported.
    fn fallocate(&self, cx: &Context<'_>, path: &Path, op: &op::Fallocate) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathEntry {
    /// The name.
    pub name: OsString,
    /// The type of the file, or unknown.
    pub kind: FileType,
    /// The inode number; 0 lets the library choose.
    pub ino: u64,
}

impl PathEntry {
    /// An entry of this name and type.
    #[must_use]
    pub fn new(name: impl Into<OsString>, kind: FileType) -> Self {
        Self { name: name.into(), kind, ino: 0 }
    }
}
