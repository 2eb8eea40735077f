//! The table of operations: one row an opcode, from which everything else that is per opcode is derived.
//!
//! [`for_each_opcode!`](crate::for_each_opcode) hands the rows to a macro of yours. From them come [`Opcode`]'s constants and
//! [`rows`] here, [`Request`](crate::Request) with its decoder, [`Reply`](crate::reply::Reply) with its own, the dispatch of
//! the session, the sessions' names in logs, the fuzzers' arms and the pages of the book. To add an operation: a row here, a
//! struct in [`op`](crate::op), a method in the trait `Filesystem`.

use core::fmt;

use crate::abi;

/// Hands the rows of the table to the macro `$then`, each in this form:
///
/// ```text
/// (FUSE_LOOKUP, LOOKUP, Lookup<'a>, lookup, 0, value Entry, AddsOne, Passed, "doc");
///  |            |       |           |       |  |     |      |        |       what it asks for
///  |            |       |           |       |  |     |      |        what the kernel does when the answer is ENOSYS
///  |            |       |           |       |  |     |      what a successful answer does to the lookup count
///  |            |       |           |       |  |     the kind of reply, in the module `reply`
///  |            |       |           |       |  how it is answered: value, fill, none or session
///  |            |       |           |       the protocol minor that it came with; 0: older than 7.2
///  |            |       |           the method of the traits
///  |            |       the struct in the module `op`
///  |            the constant of `Opcode`
///  the constant of linux/fuse.h
/// ```
///
/// `value`: the method returns the reply. `fill`: it writes the reply into a sink that it is given. `none`: there is no
/// reply. `session`: the session answers, and no filesystem sees it.
#[macro_export]
macro_rules! for_each_opcode {
    ($then:path) => {
        $then! {
            (FUSE_LOOKUP, LOOKUP, Lookup<'a>, lookup, 0, value Entry, AddsOne, Passed,
                "Looks a name up in a directory.");
            (FUSE_FORGET, FORGET, Forget, forget, 0, none Nothing, Subtracts, NotAnswered,
                "Takes lookups of a node back.");
            (FUSE_GETATTR, GETATTR, Getattr, getattr, 0, value Attributes, Unchanged, Passed,
                "Asks for the attributes of a node.");
            (FUSE_SETATTR, SETATTR, Setattr, setattr, 0, value Attributes, Unchanged, Passed,
                "Changes attributes of a node: mode, owner, size, times.");
            (FUSE_READLINK, READLINK, Readlink, readlink, 0, fill Data, Unchanged, Passed,
                "Reads what a symbolic link points to.");
            (FUSE_SYMLINK, SYMLINK, Symlink<'a>, symlink, 0, value Entry, AddsOne, Passed,
                "Makes a symbolic link.");
            (FUSE_MKNOD, MKNOD, Mknod<'a>, mknod, 0, value Entry, AddsOne, Passed,
                "Makes a file, fifo, socket or device node.");
            (FUSE_MKDIR, MKDIR, Mkdir<'a>, mkdir, 0, value Entry, AddsOne, Passed,
                "Makes a directory.");
            (FUSE_UNLINK, UNLINK, Unlink<'a>, unlink, 0, value Done, Unchanged, Passed,
                "Takes a name of a file away.");
            (FUSE_RMDIR, RMDIR, Rmdir<'a>, rmdir, 0, value Done, Unchanged, Passed,
                "Removes an empty directory.");
            (FUSE_RENAME, RENAME, Rename<'a>, rename, 0, value Done, Unchanged, Passed,
                "Moves a name, over another if there is one.");
            (FUSE_LINK, LINK, Link<'a>, link, 0, value Entry, AddsOne, Unsupported,
                "Gives a node one more name.");
            (FUSE_OPEN, OPEN, Open, open, 0, value Opened, Unchanged, Succeeds,
                "Opens a file.");
            (FUSE_READ, READ, Read, read, 0, fill Data, Unchanged, Passed,
                "Reads data of an open file.");
            (FUSE_WRITE, WRITE, Write<'a>, write, 0, value Written, Unchanged, Passed,
                "Writes data to an open file.");
            (FUSE_STATFS, STATFS, Statfs, statfs, 0, value Statfs, Unchanged, Passed,
                "Asks for the numbers of the whole filesystem.");
            (FUSE_RELEASE, RELEASE, Release, release, 0, value Done, Unchanged, NotAnswered,
                "The last reference to an open file is gone.");
            (FUSE_FSYNC, FSYNC, Fsync, fsync, 0, value Done, Unchanged, Succeeds,
                "Brings a file to stable storage.");
            (FUSE_SETXATTR, SETXATTR, Setxattr<'a>, setxattr, 0, value Done, Unchanged, Unsupported,
                "Sets an extended attribute.");
            (FUSE_GETXATTR, GETXATTR, Getxattr<'a>, getxattr, 0, fill Xattr, Unchanged, Unsupported,
                "Reads an extended attribute, or asks how long it is.");
            (FUSE_LISTXATTR, LISTXATTR, Listxattr, listxattr, 0, fill Xattr, Unchanged, Unsupported,
                "Lists the names of the extended attributes, or asks how long the list is.");
            (FUSE_REMOVEXATTR, REMOVEXATTR, Removexattr<'a>, removexattr, 0, value Done, Unchanged, Unsupported,
                "Removes an extended attribute.");
            (FUSE_FLUSH, FLUSH, Flush, flush, 0, value Done, Unchanged, Succeeds,
                "A file descriptor of an open file is closed.");
            (FUSE_INIT, INIT, Init, init, 0, session Init, Unchanged, Passed,
                "Opens the connection and negotiates it.");
            (FUSE_OPENDIR, OPENDIR, Opendir, opendir, 0, value Opened, Unchanged, Succeeds,
                "Opens a directory.");
            (FUSE_READDIR, READDIR, Readdir, readdir, 0, fill DirEntries, Unchanged, Passed,
                "Lists names of an open directory.");
            (FUSE_RELEASEDIR, RELEASEDIR, Releasedir, releasedir, 0, value Done, Unchanged, NotAnswered,
                "The last reference to an open directory is gone.");
            (FUSE_FSYNCDIR, FSYNCDIR, Fsyncdir, fsyncdir, 2, value Done, Unchanged, Succeeds,
                "Brings a directory to stable storage.");
            (FUSE_GETLK, GETLK, Getlk, getlk, 7, value Lock, Unchanged, Passed,
                "Asks which lock is in the way.");
            (FUSE_SETLK, SETLK, Setlk, setlk, 7, value Done, Unchanged, Passed,
                "Takes or gives back a lock, without waiting.");
            (FUSE_SETLKW, SETLKW, Setlkw, setlkw, 7, value Done, Unchanged, Passed,
                "Takes a lock, and waits for it.");
            (FUSE_ACCESS, ACCESS, Access, access, 3, value Done, Unchanged, Succeeds,
                "Asks whether the caller may read, write or execute.");
            (FUSE_CREATE, CREATE, Create<'a>, create, 3, value Created, AddsOne, FallsBack,
                "Makes a regular file and opens it.");
            (FUSE_INTERRUPT, INTERRUPT, Interrupt, interrupt, 7, session Nothing, Unchanged, FallsBack,
                "The caller of a request under way got a signal.");
            (FUSE_BMAP, BMAP, Bmap, bmap, 8, value Block, Unchanged, Succeeds,
                "Maps a block of a file to a block of the device (fuseblk mounts).");
            (FUSE_DESTROY, DESTROY, Destroy, destroy, 8, session Done, Unchanged, NotAnswered,
                "The filesystem is unmounted.");
            (FUSE_IOCTL, IOCTL, Ioctl<'a>, ioctl, 11, fill Ioctl, Unchanged, Translated,
                "Passes an ioctl(2) on.");
            (FUSE_POLL, POLL, Poll, poll, 11, value Polled, Unchanged, Succeeds,
                "Asks which events of poll(2) have happened.");
            (FUSE_NOTIFY_REPLY, NOTIFY_REPLY, NotifyReply<'a>, notify_reply, 15, none Nothing, Unchanged, NotAnswered,
                "Brings the cached data that a retrieve notification asked for.");
            (FUSE_BATCH_FORGET, BATCH_FORGET, BatchForget<'a>, batch_forget, 16, none Nothing, Subtracts, NotAnswered,
                "Takes lookups of many nodes back.");
            (FUSE_FALLOCATE, FALLOCATE, Fallocate, fallocate, 19, value Done, Unchanged, Unsupported,
                "Reserves room in a file, or makes holes.");
            (FUSE_READDIRPLUS, READDIRPLUS, Readdirplus, readdirplus, 21, fill DirEntriesPlus, AddsOneEach, Passed,
                "Lists names of an open directory and looks each one up.");
            (FUSE_RENAME2, RENAME2, Rename2<'a>, rename2, 23, value Done, Unchanged, Unsupported,
                "Moves a name with flags of renameat2(2).");
            (FUSE_LSEEK, LSEEK, Lseek, lseek, 24, value Offset, Unchanged, FallsBack,
                "Finds the next data or hole.");
            (FUSE_COPY_FILE_RANGE, COPY_FILE_RANGE, CopyFileRange, copy_file_range, 28, value Written, Unchanged, FallsBack,
                "Copies data from one open file to another.");
            (FUSE_SETUPMAPPING, SETUPMAPPING, Setupmapping, setupmapping, 31, value Done, Unchanged, Passed,
                "Maps a part of a file into the shared window (virtio-fs).");
            (FUSE_REMOVEMAPPING, REMOVEMAPPING, Removemapping<'a>, removemapping, 31, value Done, Unchanged, Passed,
                "Takes mappings out of the shared window (virtio-fs).");
            (FUSE_SYNCFS, SYNCFS, Syncfs, syncfs, 34, value Done, Unchanged, Succeeds,
                "Brings the whole filesystem to stable storage (virtio-fs).");
            (FUSE_TMPFILE, TMPFILE, Tmpfile, tmpfile, 37, value Created, AddsOne, Unsupported,
                "Makes a file without a name and opens it.");
            (FUSE_STATX, STATX, Statx, statx, 39, value StatxReply, Unchanged, FallsBack,
                "Asks for the attributes that only statx(2) has.");
            (FUSE_COPY_FILE_RANGE_64, COPY_FILE_RANGE_64, CopyFileRange64, copy_file_range_64, 45, value Copied, Unchanged,
                FallsBack, "Copies data from one open file to another, with a 64-bit count.");
            (CUSE_INIT, CUSE_INIT, CuseInit, cuse_init, 12, session CuseInit, Unchanged, Passed,
                "Opens the connection of a character device.");
        }
    };
}

/// What the kernel wants: the number that says which operation a request is.
///
/// Open: a number that this version does not know can be held, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Opcode(pub u32);

/// How an operation is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With a reply of fixed form that is returned as a value.
    Value,
    /// With bytes that are written into the reply in place.
    Fill,
    /// Not at all.
    None,
    /// By the session.
    Session,
}

/// What a successful answer does to lookup counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupEffect {
    /// Nothing.
    Unchanged,
    /// The node of the entry that is returned is looked up once more.
    AddsOne,
    /// Every node that is returned is looked up once more, `.` and `..` excepted.
    AddsOneEach,
    /// The request itself says by how much the count falls.
    Subtracts,
}

/// What the kernel makes of the answer `ENOSYS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enosys {
    /// The caller sees it; the next one asks again.
    Passed,
    /// Remembered for the whole connection: from now on it succeeds without being asked.
    Succeeds,
    /// Remembered for the whole connection: from now on it fails without being asked, as not supported.
    Unsupported,
    /// Remembered for the whole connection: the kernel does it in another way.
    FallsBack,
    /// The caller sees another error; the next one asks again.
    Translated,
    /// Nobody looks at the answer, or there is none.
    NotAnswered,
}

/// A row of the table, as data.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Row {
    /// The number.
    pub opcode: Opcode,
    /// The name in `linux/fuse.h`.
    pub kernel_name: &'static str,
    /// The struct in the module [`op`](crate::op), and the variant of [`Request`](crate::Request).
    pub op: &'static str,
    /// The method of the traits.
    pub method: &'static str,
    /// The protocol minor that it came with; 0 for those older than 7.2.
    pub since: u32,
    /// How it is answered.
    pub answer: Answer,
    /// The type in the module [`reply`](crate::reply).
    pub reply: &'static str,
    /// What a successful answer does to lookup counts.
    pub lookup: LookupEffect,
    /// What the kernel makes of `ENOSYS`.
    pub enosys: Enosys,
    /// What it asks for, in one sentence.
    pub doc: &'static str,
}

macro_rules! answer {
    (value) => {
        Answer::Value
    };
    (fill) => {
        Answer::Fill
    };
    (none) => {
        Answer::None
    };
    (session) => {
        Answer::Session
    };
}

macro_rules! opcodes {
    ($(($kernel:ident, $name:ident, $op:ident $(<$lt:lifetime>)?, $method:ident, $since:literal,
        $answer:ident $reply:ident, $lookup:ident, $enosys:ident, $doc:literal);)*) => {
        impl Opcode {
            $(
                #[doc = $doc]
                pub const $name: Self = Self(abi::$kernel);
            )*

            /// The row of the table, if the opcode is known.
            #[must_use]
            pub fn row(self) -> Option<&'static Row> {
                match self {
                    $(Self::$name => {
                        const ROW: &Row = &Row {
                            opcode: Opcode::$name,
                            kernel_name: stringify!($kernel),
                            op: stringify!($op),
                            method: stringify!($method),
                            since: $since,
                            answer: answer!($answer),
                            reply: stringify!($reply),
                            lookup: LookupEffect::$lookup,
                            enosys: Enosys::$enosys,
                            doc: $doc,
                        };
                        Some(ROW)
                    })*
                    _ => None,
                }
            }
        }

        /// Every opcode that this version knows, in the order of the table.
        pub const OPCODES: &[Opcode] = &[$(Opcode::$name,)*];
    };
}

for_each_opcode!(opcodes);

/// Every row of the table.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    OPCODES.iter().filter_map(|opcode| opcode.row())
}

impl Opcode {
    /// The name of the method that serves it: `lookup`.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|row| row.method)
    }

    /// Whether a reply is expected. An opcode that is not known is answered, with `ENOSYS`.
    #[must_use]
    pub fn wants_reply(self) -> bool {
        self.row().is_none_or(|row| row.answer != Answer::None && self != Self::INTERRUPT)
    }
}

impl fmt::Debug for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "opcode {}", self.0),
        }
    }
}
