//! Operations on names: look up, make, link, move and remove; and forget, the counterpart of looking up.
//!
//! Opening and making a regular file in one go is in the module of files.

use crate::abi;
use crate::codec::{Args, DecodeError, EncodeError, RequestWriter};
use crate::flags::{AccessMask, RenameFlags};
use crate::ids::{NodeId, Unique};
use crate::init::Negotiated;
use crate::name::{LinkTarget, Name};
use crate::op::list::{WireItem, WireList};
use crate::op::{Operation, operation};
use crate::opcode::Opcode;

operation! {
    /// Looks `name` up in `parent`: is there such a name, and which node is it?
    ///
    /// Sent by every call with a path, for each component that the kernel has no valid entry for, and again when the entry
    /// timeout has run out. A successful answer adds one to the lookup count of the node, also if the kernel knew it already.
    /// If there is no such name, the answer is `ENOENT`, or a negative entry, which the kernel may remember.
    Lookup<'a> = LOOKUP {
        /// The directory.
        node parent;
        then {
            /// The name in it. `.` and `..` come from an NFS server only, with `EXPORT_SUPPORT`.
            name: &'a Name;
        }
    }
}

operation! {
    /// Takes `nlookup` lookups of `node` back: its lookup count falls by that much, and at zero the node id is free.
    ///
    /// Sent when the kernel drops an inode from its cache. There is no reply.
    Forget = FORGET {
        /// The node that is forgotten.
        node node;
        fixed fuse_forget_in {
            /// By how much its lookup count falls.
            nlookup: u64 = nlookup;
        }
    }
}

operation! {
    /// Makes the symbolic link `name` in `parent`. Adds one to the lookup count of the new node.
    ///
    /// Sent by symlink(2).
    Symlink<'a> = SYMLINK {
        /// The directory.
        node parent;
        then {
            /// The name of the link.
            name: &'a Name;
            /// What it points to.
            target: &'a LinkTarget;
        }
    }
}

operation! {
    /// Makes a file of any type but directory and symbolic link. Adds one to the lookup count of the new node.
    ///
    /// Sent by mknod(2), by mkfifo(3), and by bind(2) of a socket; also by open(2) once `CREATE` was answered with `ENOSYS`.
    Mknod<'a> = MKNOD {
        /// The directory.
        node parent;
        fixed fuse_mknod_in {
            /// Type and permission bits; the umask is applied already unless `DONT_MASK` is negotiated.
            mode: u32 = mode;
        }
        also {
            /// The device number, in the kernel's 32-bit form.
            rdev: u32 = rdev;
            /// The umask of the caller.
            umask: u32 = umask;
        }
        then {
            /// The name of the file.
            name: &'a Name;
        }
    }
}

operation! {
    /// Makes a directory. Adds one to the lookup count of the new node.
    ///
    /// Sent by mkdir(2).
    Mkdir<'a> = MKDIR {
        /// The directory to make it in.
        node parent;
        fixed fuse_mkdir_in {
            /// Permission bits, without the type; the umask is applied already unless `DONT_MASK` is negotiated.
            mode: u32 = mode;
        }
        also {
            /// The umask of the caller.
            umask: u32 = umask;
        }
        then {
            /// The name of the new directory.
            name: &'a Name;
        }
    }
}

operation! {
    /// Takes the name of a file away. The node lives on while its lookup count is above zero.
    ///
    /// Sent by unlink(2).
    Unlink<'a> = UNLINK {
        /// The directory.
        node parent;
        then {
            /// The name that goes.
            name: &'a Name;
        }
    }
}

operation! {
    /// Removes an empty directory. The node lives on while its lookup count is above zero.
    ///
    /// Sent by rmdir(2).
    Rmdir<'a> = RMDIR {
        /// The directory that it is in.
        node parent;
        then {
            /// The name that goes.
            name: &'a Name;
        }
    }
}

operation! {
    /// Gives a file or directory a new name, perhaps in another directory. What has that name already is replaced.
    ///
    /// Sent by rename(2), and by renameat2(2) without flags.
    Rename<'a> = RENAME {
        /// The directory of the old name.
        node parent;
        fixed fuse_rename_in {
            /// The directory of the new name.
            new_parent: NodeId = newdir;
        }
        then {
            /// The old name.
            name: &'a Name;
            /// The new name.
            new_name: &'a Name;
        }
    }
}

operation! {
    /// Gives a file or directory a new name, with flags: not to replace anything, to exchange two names, or to leave a whiteout.
    ///
    /// Sent by renameat2(2) with flags. `ENOSYS` is remembered, and callers see `EINVAL`.
    Rename2<'a> = RENAME2 {
        /// The directory of the old name.
        node parent;
        fixed fuse_rename2_in {
            /// The directory of the new name.
            new_parent: NodeId = newdir;
            /// What is wanted of it.
            flags: RenameFlags = flags;
        }
        then {
            /// The old name.
            name: &'a Name;
            /// The new name.
            new_name: &'a Name;
        }
    }
}

/// The same without flags.
impl<'a> From<Rename<'a>> for Rename2<'a> {
    fn from(op: Rename<'a>) -> Self {
        Self::new(op.parent, op.new_parent, RenameFlags::empty(), op.name, op.new_name)
    }
}

operation! {
    /// Gives the node `old` one more name (a hard link). Adds one to its lookup count, although the kernel knew it already.
    ///
    /// Sent by link(2). `ENOSYS` is remembered, and callers see `EPERM`; older kernels pass it on.
    Link<'a> = LINK {
        /// The directory of the new name.
        node new_parent;
        fixed fuse_link_in {
            /// The node that is to have it.
            old: NodeId = oldnodeid;
        }
        then {
            /// The new name.
            new_name: &'a Name;
        }
    }
}

operation! {
    /// Reads what the symbolic link `node` points to.
    ///
    /// Sent by readlink(2), and by every call with a path that leads through the link; only once with `CACHE_SYMLINKS`.
    Readlink = READLINK {
        /// The link.
        node node;
    }
}

operation! {
    /// Asks whether the caller may do what `mask` says. Not sent with the mount option `default_permissions`.
    ///
    /// Sent by access(2), chdir(2) and chroot(2) only: without that option, opening is checked by `OPEN` itself.
    Access = ACCESS {
        /// The node.
        node node;
        fixed fuse_access_in {
            /// What is to be done; empty asks whether it is there.
            mask: AccessMask = mask;
        }
    }
}

/// One line of a [`BatchForget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// The node that is forgotten.
    pub node: NodeId,
    /// By how much its lookup count falls.
    pub nlookup: u64,
}

impl WireItem for Forgotten {
    type Raw = abi::fuse_forget_one;

    fn from_raw(raw: Self::Raw) -> Self {
        Self { node: NodeId(raw.nodeid), nlookup: raw.nlookup }
    }

    fn to_raw(self) -> Self::Raw {
        abi::fuse_forget_one { nodeid: self.node.0, nlookup: self.nlookup }
    }
}

/// Takes lookups of many nodes back, as [`Forget`] does of one. There is no reply.
///
/// Sent instead of `FORGET` when several of them are waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchForget<'a> {
    /// The nodes, each with the number of lookups that is taken back.
    pub forgets: WireList<'a, Forgotten>,
}

impl<'a> BatchForget<'a> {
    /// A forget of all that the list names.
    #[must_use]
    pub fn new(forgets: WireList<'a, Forgotten>) -> Self {
        Self { forgets }
    }
}

impl<'a> Operation<'a> for BatchForget<'a> {
    fn opcode(&self) -> Opcode {
        Opcode::BATCH_FORGET
    }

    fn node(&self) -> NodeId {
        NodeId(0)
    }

    fn decode(_: Unique, _: NodeId, args: &mut Args<'a>, _: &Negotiated) -> Result<Self, DecodeError> {
        let raw: abi::fuse_batch_forget_in = args.fixed("fuse_batch_forget_in")?;
        Ok(Self { forgets: WireList::take(args, "fuse_forget_one", raw.count)? })
    }

    fn encode(&self, _: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
        out.fixed(&abi::fuse_batch_forget_in { count: self.forgets.count()?, dummy: 0 });
        out.payload(self.forgets.as_bytes());
        Ok(())
    }
}
