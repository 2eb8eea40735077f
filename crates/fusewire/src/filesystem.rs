//! The trait that a filesystem implements: a method for each operation, each with a default.
//!
//! Methods return values, so a filesystem can be tested by calling it. How requests get here is in `dispatch`.

use fusewire_proto::init::Wishes;
use fusewire_proto::{Errno, Negotiated, op, reply};

use crate::context::Context;
use crate::handler::Manner;
use crate::notifier::Notifier;
use crate::sink;

/// A filesystem: what answers the kernel's questions.
///
/// Every method is called from any of several threads at a time, hence `&self`. A method may block; others go on in other
/// threads then. A panic in a method is answered with `EIO`, and the mount lives on.
///
/// The default of most methods is `ENOSYS`. What the kernel makes of that differs, and is said where it matters; for some it
/// is remembered until the filesystem is unmounted.
///
/// # Lookup counts
/// The kernel refers to files by the node ids that it was given. Each answer that names a node (`lookup`, `mknod`, `mkdir`,
/// `symlink`, `link`, `create`, `tmpfile`, and each entry of `readdirplus`) adds one to the lookup count of that node. Until
/// `forget` has taken all of them back, the node id must go on to mean the same file, also when its last name is gone.
///
/// ```
/// use std::time::Duration;
/// use fusewire::{Attr, Context, Errno, FileType, Filesystem, NodeId, op, reply};
///
/// /// A filesystem that is an empty directory.
/// struct Empty;
///
/// impl Filesystem for Empty {
///     fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
///         assert_eq!(op.node, NodeId::ROOT);
///         let attr = Attr::new(1, FileType::DIRECTORY, 0o755);
///         Ok(reply::Attributes::new(attr, Duration::from_secs(1)))
///     }
///
///     fn lookup(&self, _: &Context<'_>, _: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
///         Err(Errno::ENOENT)
///     }
/// }
/// ```
#[expect(unused_variables, reason = "the defaults look at nothing, and the names are for readers")]
pub trait Filesystem: Send + Sync {
    /// Chooses what to ask of the kernel, before anything else. `offer` is what it can do; `wishes` begins with what suits
    /// most. Requiring what is not offered, or what cannot be honoured, makes mounting fail.
    ///
    /// # Errors
    /// Makes mounting fail.
    fn init(&self, offer: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
        Ok(())
    }

    /// The connection is open: this was agreed, and `notifier` tells the kernel things from now on. Called once, before the
    /// first request.
    fn ready(&self, negotiated: &Negotiated, notifier: &Notifier) {}

    /// The connection is over: no method is called after this one. Lookup counts that are left are gone.
    fn destroy(&self) {}

    /// When the methods answer, which decides how requests are brought to them. Asked before [`init`](Self::init), and whenever it is of
    /// interest: it never changes.
    ///
    /// [`Manner::NeverBlocks`] spares a filesystem in memory what it takes to go on beside one that blocks.
    fn manner(&self) -> Manner {
        Manner::AtOnce
    }

    /// Looks a name up in a directory.
    ///
    /// Adds one to the lookup count of the node that is returned. Sent by a path walk for a name that the kernel has no valid
    /// entry for. `ENOENT`, or a negative entry, says that there is no such name.
    ///
    /// # Errors
    /// What the caller is to see.
    fn lookup(&self, cx: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Takes lookups of a node back.
    ///
    /// The count falls by `op.nlookup`; at zero the node id is free. There is no reply.
    fn forget(&self, cx: &Context<'_>, op: op::Forget) {}

    /// Asks for the attributes of a node.
    ///
    /// Sent when the attribute timeout has run out.
    ///
    /// # Errors
    /// What the caller is to see.
    fn getattr(&self, cx: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Changes attributes of a node: mode, owner, size, times.
    ///
    /// Only the fields that are `Some` change. The answer is all attributes after the change.
    ///
    /// # Errors
    /// What the caller is to see.
    fn setattr(&self, cx: &Context<'_>, op: op::Setattr) -> Result<reply::Attributes, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Reads what a symbolic link points to.
    ///
    /// Put the path into `out`, without a NUL.
    ///
    /// # Errors
    /// What the caller is to see.
    fn readlink(&self, cx: &Context<'_>, op: op::Readlink, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Makes a symbolic link.
    ///
    /// Adds one to the lookup count of the new node. `EEXIST` if the name is there.
    ///
    /// # Errors
    /// What the caller is to see.
    fn symlink(&self, cx: &Context<'_>, op: op::Symlink<'_>) -> Result<reply::Entry, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Makes a file, fifo, socket or device node.
    ///
    /// Adds one to the lookup count of the new node. `EEXIST` if the name is there.
    ///
    /// # Errors
    /// What the caller is to see.
    fn mknod(&self, cx: &Context<'_>, op: op::Mknod<'_>) -> Result<reply::Entry, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Makes a directory.
    ///
    /// Adds one to the lookup count of the new node. `EEXIST` if the name is there.
    ///
    /// # Errors
    /// What the caller is to see.
    fn mkdir(&self, cx: &Context<'_>, op: op::Mkdir<'_>) -> Result<reply::Entry, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Takes a name of a file away.
    ///
    /// The node lives on while its lookup count is above zero. `EISDIR` for a directory.
    ///
    /// # Errors
    /// What the caller is to see.
    fn unlink(&self, cx: &Context<'_>, op: op::Unlink<'_>) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Removes an empty directory.
    ///
    /// `ENOTEMPTY` if it is not empty, `ENOTDIR` if it is no directory. The node lives on while its lookup count is above zero.
    ///
    /// # Errors
    /// What the caller is to see.
    fn rmdir(&self, cx: &Context<'_>, op: op::Rmdir<'_>) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Moves a name, over another if there is one.
    ///
    /// What has the new name already is replaced; `ENOTEMPTY` if that is a directory with entries. The default calls
    /// [`rename2`](Self::rename2) without flags.
    ///
    /// # Errors
    /// What the caller is to see.
    fn rename(&self, cx: &Context<'_>, op: op::Rename<'_>) -> Result<reply::Done, Errno> {
        self.rename2(cx, op.into())
    }

    /// Gives a node one more name.
    ///
    /// Adds one to the lookup count of the node. `EPERM` for a directory. With `ENOSYS`, the default, the kernel never asks
    /// again and answers `EPERM`.
    ///
    /// # Errors
    /// What the caller is to see.
    fn link(&self, cx: &Context<'_>, op: op::Link<'_>) -> Result<reply::Entry, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Opens a file.
    ///
    /// The handle comes with every later operation on the open file. With `ENOSYS`, the default, the kernel never asks again:
    /// files need no handle, and what was read stays in the page cache.
    ///
    /// # Errors
    /// What the caller is to see.
    fn open(&self, cx: &Context<'_>, op: op::Open) -> Result<reply::Opened, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Reads data of an open file.
    ///
    /// Put up to `op.size` bytes into `out`; fewer mean the end of the file.
    ///
    /// # Errors
    /// What the caller is to see.
    fn read(&self, cx: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Writes data to an open file.
    ///
    /// `op.data` is borrowed from the request.
    ///
    /// # Errors
    /// What the caller is to see.
    fn write(&self, cx: &Context<'_>, op: op::Write<'_>) -> Result<reply::Written, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Asks for the numbers of the whole filesystem.
    ///
    /// The default knows nothing but the longest name, so that df(1) has an answer at all.
    ///
    /// # Errors
    /// What the caller is to see.
    fn statfs(&self, cx: &Context<'_>, op: op::Statfs) -> Result<reply::Statfs, Errno> {
        Ok(reply::Statfs::unknown())
    }

    /// The last reference to an open file is gone.
    ///
    /// Called once for each handle. Nobody sees the answer.
    ///
    /// # Errors
    /// What the caller is to see.
    fn release(&self, cx: &Context<'_>, op: op::Release) -> Result<reply::Done, Errno> {
        Ok(reply::Done)
    }

    /// Brings a file to stable storage.
    ///
    /// With `ENOSYS`, the default, fsync(2) succeeds, and nobody is asked again.
    ///
    /// # Errors
    /// What the caller is to see.
    fn fsync(&self, cx: &Context<'_>, op: op::Fsync) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Sets an extended attribute.
    ///
    /// With `ENOSYS`, the default, the kernel never asks again and answers `EOPNOTSUPP`.
    ///
    /// # Errors
    /// What the caller is to see.
    fn setxattr(&self, cx: &Context<'_>, op: op::Setxattr<'_>) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Reads an extended attribute, or asks how long it is.
    ///
    /// Give `out` the value. It knows whether the value is wanted or only its length, and answers `ERANGE` if there is no room.
    /// `ENODATA` if there is no such attribute.
    ///
    /// # Errors
    /// What the caller is to see.
    fn getxattr(&self, cx: &Context<'_>, op: op::Getxattr<'_>, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Lists the names of the extended attributes, or asks how long the list is.
    ///
    /// Give `out` the names, with a NUL behind each. It knows whether the list is wanted or only its length.
    ///
    /// # Errors
    /// What the caller is to see.
    fn listxattr(&self, cx: &Context<'_>, op: op::Listxattr, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Removes an extended attribute.
    ///
    /// `ENODATA` if it is not there.
    ///
    /// # Errors
    /// What the caller is to see.
    fn removexattr(&self, cx: &Context<'_>, op: op::Removexattr<'_>) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// A file descriptor of an open file is closed.
    ///
    /// Called for every close(2), whose caller sees an error. With `ENOSYS`, the default, the kernel never asks again.
    ///
    /// # Errors
    /// What the caller is to see.
    fn flush(&self, cx: &Context<'_>, op: op::Flush) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Opens a directory.
    ///
    /// With `ENOSYS`, the default, the kernel never asks again: directories need no handle, and their entries are cached until
    /// the kernel changes them itself or is told ([`Notifier`]).
    ///
    /// # Errors
    /// What the caller is to see.
    fn opendir(&self, cx: &Context<'_>, op: op::Opendir) -> Result<reply::Opened, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Lists names of an open directory.
    ///
    /// Push entries, beginning with the one behind `op.offset`, until `out` is full or there are no more. To push none at all
    /// means that this is the end.
    ///
    /// # Errors
    /// What the caller is to see.
    fn readdir(&self, cx: &Context<'_>, op: op::Readdir, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// The last reference to an open directory is gone.
    ///
    /// Called once for each handle. Nobody sees the answer.
    ///
    /// # Errors
    /// What the caller is to see.
    fn releasedir(&self, cx: &Context<'_>, op: op::Releasedir) -> Result<reply::Done, Errno> {
        Ok(reply::Done)
    }

    /// Brings a directory to stable storage.
    ///
    /// With `ENOSYS`, the default, fsync(2) succeeds, and nobody is asked again.
    ///
    /// # Errors
    /// What the caller is to see.
    fn fsyncdir(&self, cx: &Context<'_>, op: op::Fsyncdir) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Asks which lock is in the way.
    ///
    /// Called if `POSIX_LOCKS` is negotiated.
    ///
    /// # Errors
    /// What the caller is to see.
    fn getlk(&self, cx: &Context<'_>, op: op::Getlk) -> Result<reply::Lock, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Takes or gives back a lock, without waiting.
    ///
    /// `EAGAIN` if another lock is in the way. Called if `POSIX_LOCKS` or `FLOCK_LOCKS` is negotiated.
    ///
    /// # Errors
    /// What the caller is to see.
    fn setlk(&self, cx: &Context<'_>, op: op::Setlk) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Takes a lock, and waits for it.
    ///
    /// It may block, and occupies a worker meanwhile. Answer `EINTR` when the caller gives up ([`Context::on_interrupt`]).
    ///
    /// # Errors
    /// What the caller is to see.
    fn setlkw(&self, cx: &Context<'_>, op: op::Setlkw) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Asks whether the caller may read, write or execute.
    ///
    /// `EACCES` if not. With `ENOSYS`, the default, everything is allowed and the kernel never asks again. Not sent with the
    /// mount option `default_permissions`.
    ///
    /// # Errors
    /// What the caller is to see.
    fn access(&self, cx: &Context<'_>, op: op::Access) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Makes a regular file and opens it.
    ///
    /// Adds one to the lookup count of the new node, and gives a handle. With `ENOSYS`, the default, the kernel uses `mknod`
    /// and `open`.
    ///
    /// # Errors
    /// What the caller is to see.
    fn create(&self, cx: &Context<'_>, op: op::Create<'_>) -> Result<reply::Created, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Maps a block of a file to a block of the device (fuseblk mounts).
    ///
    /// Called for `fuseblk` mounts only.
    ///
    /// # Errors
    /// What the caller is to see.
    fn bmap(&self, cx: &Context<'_>, op: op::Bmap) -> Result<reply::Block, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Passes an ioctl(2) on.
    ///
    /// The default is `ENOTTY`, as for every file that knows no such command.
    ///
    /// # Errors
    /// What the caller is to see.
    fn ioctl(&self, cx: &Context<'_>, op: op::Ioctl<'_>, out: &mut sink::Ioctl<'_>) -> Result<(), Errno> {
        Err(Errno::ENOTTY)
    }

    /// Asks which events of poll(2) have happened.
    ///
    /// If somebody waits, remember `op.poll_handle` and call [`Notifier::poll`] when the file becomes ready. With `ENOSYS`, the
    /// default, the file is always ready.
    ///
    /// # Errors
    /// What the caller is to see.
    fn poll(&self, cx: &Context<'_>, op: op::Poll) -> Result<reply::Polled, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Brings the cached data that a retrieve notification asked for.
    ///
    /// Called after [`Notifier::retrieve`].
    fn notify_reply(&self, cx: &Context<'_>, op: op::NotifyReply<'_>) {}

    /// Takes lookups of many nodes back.
    ///
    /// The default calls [`forget`](Self::forget) for each.
    fn batch_forget(&self, cx: &Context<'_>, op: op::BatchForget<'_>) {
        for forgotten in op.forgets.iter() {
            self.forget(cx, op::Forget::new(forgotten.node, forgotten.nlookup));
        }
    }

    /// Reserves room in a file, or makes holes.
    ///
    /// `EOPNOTSUPP` for a mode that is not supported. With `ENOSYS`, the default, the kernel never asks again.
    ///
    /// # Errors
    /// What the caller is to see.
    fn fallocate(&self, cx: &Context<'_>, op: op::Fallocate) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Lists names of an open directory and looks each one up.
    ///
    /// As `readdir`, with a lookup of each entry: adds one to the lookup count of every node that is pushed with one. Called if
    /// `DO_READDIRPLUS` is negotiated. Whether lookups are worth their price, [`LookAhead`](crate::LookAhead) learns.
    ///
    /// # Errors
    /// What the caller is to see.
    fn readdirplus(
        &self,
        cx: &Context<'_>,
        op: op::Readdirplus,
        out: &mut sink::DirEntriesPlus<'_>,
    ) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Moves a name with flags of renameat2(2).
    ///
    /// `EINVAL` for flags that are not supported. With `ENOSYS` the kernel never asks again and answers `EINVAL` itself.
    ///
    /// # Errors
    /// What the caller is to see.
    fn rename2(&self, cx: &Context<'_>, op: op::Rename2<'_>) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Finds the next data or hole.
    ///
    /// With `ENOSYS`, the default, the whole file counts as data. Answer that with the writeback cache: the kernel asks without
    /// having written what it holds (`fs/fuse/file.c fuse_lseek()`), so that it would be taken for holes, and left out by who
    /// copies the file. The same holds for pages that are mapped and changed, until msync(2).
    ///
    /// # Errors
    /// What the caller is to see.
    fn lseek(&self, cx: &Context<'_>, op: op::Lseek) -> Result<reply::Offset, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Copies data from one open file to another.
    ///
    /// The default calls [`copy_file_range_64`](Self::copy_file_range_64) for no more than fits the 32 bits of the answer. With
    /// `ENOSYS` the kernel reads and writes instead.
    ///
    /// # Errors
    /// What the caller is to see.
    fn copy_file_range(&self, cx: &Context<'_>, op: op::CopyFileRange) -> Result<reply::Written, Errno> {
        self.copy_file_range_64(cx, op.into())?.try_into()
    }

    /// Maps a part of a file into the shared window (virtio-fs).
    ///
    /// Called for virtio-fs only.
    ///
    /// # Errors
    /// What the caller is to see.
    fn setupmapping(&self, cx: &Context<'_>, op: op::Setupmapping) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Takes mappings out of the shared window (virtio-fs).
    ///
    /// Called for virtio-fs only.
    ///
    /// # Errors
    /// What the caller is to see.
    fn removemapping(&self, cx: &Context<'_>, op: op::Removemapping<'_>) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Brings the whole filesystem to stable storage (virtio-fs).
    ///
    /// Called for virtio-fs only.
    ///
    /// # Errors
    /// What the caller is to see.
    fn syncfs(&self, cx: &Context<'_>, op: op::Syncfs) -> Result<reply::Done, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Makes a file without a name and opens it.
    ///
    /// Adds one to the lookup count of the new node, and gives a handle. With `ENOSYS`, the default, the kernel answers
    /// `EOPNOTSUPP`.
    ///
    /// # Errors
    /// What the caller is to see.
    fn tmpfile(&self, cx: &Context<'_>, op: op::Tmpfile) -> Result<reply::Created, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Asks for the attributes that only statx(2) has.
    ///
    /// Called when the time of creation is asked for. With `ENOSYS`, the default, the kernel uses `getattr`.
    ///
    /// # Errors
    /// What the caller is to see.
    fn statx(&self, cx: &Context<'_>, op: op::Statx) -> Result<reply::StatxReply, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Copies data from one open file to another, with a 64-bit count.
    ///
    /// With `ENOSYS`, the default, the kernel uses `copy_file_range`.
    ///
    /// # Errors
    /// What the caller is to see.
    fn copy_file_range_64(&self, cx: &Context<'_>, op: op::CopyFileRange64) -> Result<reply::Copied, Errno> {
        Err(Errno::ENOSYS)
    }
}

/// Hands a method on to what the `Arc` holds.
macro_rules! forward_one {
    (value $method:ident, $op:ident, $reply:ident $(, $lt:lifetime)?) => {
        fn $method $(<$lt>)?(&self, cx: &Context<'_>, op: op::$op $(<$lt>)?) -> Result<reply::$reply, Errno> {
            (**self).$method(cx, op)
        }
    };
    (fill $method:ident, $op:ident, $reply:ident $(, $lt:lifetime)?) => {
        fn $method $(<$lt>)?(
            &self,
            cx: &Context<'_>,
            op: op::$op $(<$lt>)?,
            out: &mut sink::$reply<'_>,
        ) -> Result<(), Errno> {
            (**self).$method(cx, op, out)
        }
    };
    (none $method:ident, $op:ident, $reply:ident $(, $lt:lifetime)?) => {
        fn $method $(<$lt>)?(&self, cx: &Context<'_>, op: op::$op $(<$lt>)?) {
            (**self).$method(cx, op);
        }
    };
    (session $($rest:tt)*) => {};
}

macro_rules! forward {
    ($(($kernel:ident, $name:ident, $op:ident $(<$lt:lifetime>)?, $method:ident, $since:literal,
        $answer:ident $reply:ident, $lookup:ident, $enosys:ident, $doc:literal);)*) => {
        /// A shared filesystem is a filesystem.
        impl<F: Filesystem + ?Sized> Filesystem for std::sync::Arc<F> {
            fn init(&self, offer: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
                (**self).init(offer, wishes)
            }

            fn ready(&self, negotiated: &Negotiated, notifier: &Notifier) {
                (**self).ready(negotiated, notifier);
            }

            fn destroy(&self) {
                (**self).destroy();
            }

            $(forward_one!($answer $method, $op, $reply $(, $lt)?);)*
        }
    };
}

fusewire_proto::for_each_opcode!(forward);
