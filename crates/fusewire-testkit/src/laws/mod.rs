//! The law book: the rules of the protocol that a daemon must keep, each with a name, an explanation and a source.
//!
//! Here are the table and the count of what was checked. Where a law is checked is in the modules `replies` (one answer at a
//! time), `ledger` (what the kernel remembers of nodes and handles), and beside the code that knows the circumstances.

use std::collections::BTreeSet;
use std::fmt;

use fusewire_proto::Opcode;

pub(crate) mod ledger;
pub(crate) mod replies;

/// Declares the laws: the constant, its name, the rule, and where it comes from.
macro_rules! laws {
    ($($law:ident, $name:literal, $rule:literal, $source:literal;)*) => {
        /// A rule that a daemon must keep.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Law {
            $(#[doc = $rule] $law,)*
        }

        impl Law {
            /// All laws, in the order of the book.
            pub const ALL: &[Self] = &[$(Self::$law,)*];

            /// The name of the law, as reports have it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$law => $name,)*
                }
            }

            /// What it demands, in a sentence.
            #[must_use]
            pub fn rule(self) -> &'static str {
                match self {
                    $(Self::$law => $rule,)*
                }
            }

            /// Where that is written: a function of the kernel, a constant of its header, or a rule of this project.
            #[must_use]
            pub fn source(self) -> &'static str {
                match self {
                    $(Self::$law => $source,)*
                }
            }
        }
    };
}

laws! {
    AnswersEveryRequest, "answers-every-request",
        "Every request that wants a reply gets one.",
        "fs/fuse/dev.c request_wait_answer(): the caller waits for ever, unkillable once the request was read";
    OneReply, "one-reply",
        "A request gets one reply and no more.",
        "fs/fuse/dev.c fuse_dev_do_write(): a second one finds no request and fails with ENOENT";
    KnownUnique, "known-unique",
        "A reply names a request that was sent.",
        "fs/fuse/dev.c fuse_dev_do_write(), fuse_request_find()";
    NoReplyWanted, "no-reply-wanted",
        "FORGET, BATCH_FORGET and NOTIFY_REPLY get no reply.",
        "fs/fuse/dev.c fuse_dev_do_read(): their numbers are forgotten as soon as they are read";
    ReplyLength, "reply-length",
        "The length in the header of a reply is the number of bytes that are written.",
        "fs/fuse/dev.c fuse_dev_do_write(): else EINVAL";
    ReplyBody, "reply-body",
        "The body of a reply has the form and size that its operation wants; an error has no body.",
        "fs/fuse/dev.c fuse_copy_out_args(): else EINVAL, and EIO for the caller";
    ReplyLimit, "reply-limit",
        "A reply is no longer than its request has room for.",
        "fs/fuse/dev.c fuse_copy_out_args(): else EINVAL, and EIO for the caller";
    ErrnoRange, "errno-range",
        "An error is negative on the wire and less than 512.",
        "fs/fuse/dev.c fuse_dev_do_write(): else EINVAL";
    NodeIdValid, "node-id-valid",
        "What is looked up or made has a node id that is not 0 and not the root's; only LOOKUP may answer 0.",
        "fs/fuse/dir.c invalid_nodeid(): else EIO";
    NodeIdentity, "node-identity",
        "A node id stands for the same inode, generation and type until it is forgotten.",
        "fs/fuse/fuse_i.h fuse_stale_inode(): else the old inode turns bad, and its users get EIO";
    NodeLives, "node-lives-until-forgotten",
        "A node is served until FORGET has taken all lookups back.",
        "fs/fuse/inode.c fuse_evict_inode(): the kernel uses the id until then";
    FileTypeValid, "file-type-valid",
        "The mode in attributes has one of the seven types of file; the root is a directory.",
        "fs/fuse/dir.c fuse_invalid_attr(): else EIO";
    FileTypeAsMade, "file-type-as-made",
        "What was made has the type that was asked for.",
        "fs/fuse/dir.c create_new_entry(), fuse_create_open(): else EIO";
    FileSizeValid, "file-size-valid",
        "A size is at most 2^63 - 1.",
        "fs/fuse/dir.c fuse_valid_size(): else EIO";
    InoStable, "ino-stable",
        "The inode number that stat shows does not change while the node is known.",
        "POSIX.1-2017, 4.7 and <sys/stat.h>: st_dev and st_ino identify a file";
    Nanoseconds, "nanoseconds",
        "Nanoseconds, of times and of timeouts, are less than 1,000,000,000.",
        "fs/fuse/inode.c fuse_change_attributes_common(), dir.c fuse_time_to_jiffies(): else cut down in silence";
    WrittenNoMore, "written-no-more",
        "No more is reported as written or copied than was asked for.",
        "fs/fuse/file.c fuse_direct_io(), fuse_send_write_pages(): else EIO";
    ReadlinkTarget, "readlink-target",
        "The target of a symbolic link is 1 to 4,095 bytes without a NUL.",
        "fs/fuse/dir.c fuse_readlink_folio(): else EIO";
    DirentNames, "dirent-names",
        "Entries of a directory have a name without a slash or NUL, of at most 1,024 bytes.",
        "fs/fuse/readdir.c parse_dirfile(): else EIO";
    DirentNamesUnique, "dirent-names-unique",
        "In a listing that nothing changes meanwhile, each name comes once.",
        "POSIX.1-2017 readdir()";
    DirentOffsets, "dirent-offsets",
        "The offset of an entry is not 0, and no other entry's.",
        "fs/fuse/readdir.c fuse_emit(): it is where the next READDIR begins, and 0 is the start";
    DirentResume, "dirent-resume",
        "Reading on at the offset of an entry gives the entries that came behind it.",
        "fs/fuse/readdir.c; seekdir(3), and NFS servers";
    DirentType, "dirent-type",
        "The type in an entry is the type of what it names, or unknown.",
        "fs/fuse/readdir.c fuse_direntplus_link(); getdents64(2) d_type";
    XattrList, "xattr-list",
        "A list of extended attributes is of names that are not empty, each ended by a NUL.",
        "fs/fuse/xattr.c fuse_verify_xattr_list(): else EIO";
    XattrSize, "xattr-size",
        "The length that is announced for an extended attribute is enough to read it, and at most 65,536.",
        "fs/xattr.c vfs_getxattr_alloc(), XATTR_SIZE_MAX";
    LockValid, "lock-valid",
        "A lock that is answered has a known kind and a range that is not upside down.",
        "fs/fuse/file.c convert_fuse_file_lock(): else EIO";
    SeekForward, "seek-forward",
        "The next data or hole is not before the place where the search began.",
        "lseek(2) SEEK_DATA, SEEK_HOLE";
    InitVersion, "init-version",
        "INIT is answered with major 7.",
        "fs/fuse/inode.c process_init_reply(): else the connection fails";
    InitFlags, "init-flags",
        "The capabilities that are taken were offered.",
        "fs/fuse/inode.c process_init_reply(): others have no meaning on this kernel";
    InitMaxWrite, "init-max-write",
        "A write may have at least 4,096 bytes.",
        "fs/fuse/inode.c process_init_reply(): less is raised in silence, and the daemon's buffer is too short";
    SilentBeforeInit, "silent-before-init",
        "Before INIT is answered, nothing else is sent; after a refusal, nothing at all.",
        "fs/fuse/dev.c fuse_block_alloc(): nothing else was asked";
    NotificationKnown, "notification-known",
        "A notification has a code that the negotiated protocol knows, and is as long as its parts.",
        "fs/fuse/dev.c fuse_notify(): else EINVAL";
    InterruptReply, "interrupt-reply",
        "INTERRUPT is answered with EAGAIN or ENOSYS, or not at all.",
        "fs/fuse/dev.c fuse_dev_do_write(), FUSE_INT_REQ_BIT";
    InterruptEndsWait, "interrupt-ends-wait",
        "A request whose caller was interrupted is answered: with EINTR, or because it was done.",
        "fs/fuse/dev.c request_wait_answer(): the caller goes on waiting for that answer";
    UnknownIsEnosys, "unknown-is-enosys",
        "An opcode that the daemon does not know is answered with ENOSYS.",
        "include/uapi/linux/fuse.h: how a newer kernel finds out";
    MalformedIsEio, "malformed-is-eio",
        "A request that cannot be understood is refused with another error than ENOSYS.",
        "fs/fuse: ENOSYS to OPEN, FLUSH, GETXATTR and others is remembered for the whole connection";
    EndsWhenUnmounted, "ends-when-unmounted",
        "When the connection is over, the daemon ends it on its side, too.",
        "fs/fuse/dev.c fuse_dev_do_read(): ENODEV";
    LookupsBalanced, "lookups-balanced",
        "When all was forgotten, the daemon holds no node but the root.",
        "include/uapi/linux/fuse.h FUSE_FORGET; needs a look inside the daemon";
    HandlesReleased, "handles-released",
        "When all was released, the daemon holds no open file or directory.",
        "fs/fuse/file.c fuse_file_put(); needs a look inside the daemon";
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A law that was broken: how, and in which exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Which law.
    pub law: Law,
    /// What was found.
    pub detail: String,
    /// The last messages before it, one a line, oldest first.
    pub exchange: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "law {} is broken: {}", self.law, self.detail)?;
        writeln!(f, "  rule:   {}", self.law.rule())?;
        writeln!(f, "  source: {}", self.law.source())?;
        writeln!(f, "  the last messages (-> to the daemon, <- from it):")?;
        for line in &self.exchange {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Violation {}

/// How often each law was checked, and which were broken.
#[derive(Clone, Debug)]
pub struct LawBook {
    /// By the place of the law in the book.
    checked: [u64; Law::ALL.len()],
    found: Vec<(Law, String)>,
    violations: Vec<Violation>,
    unsupported: BTreeSet<Opcode>,
}

impl Default for LawBook {
    fn default() -> Self {
        Self { checked: [0; Law::ALL.len()], found: Vec::new(), violations: Vec::new(), unsupported: BTreeSet::new() }
    }
}

impl LawBook {
    /// Counts a check. `Err` is what was found to break the law.
    pub(crate) fn check(&mut self, law: Law, outcome: Result<(), String>) {
        if let Some(count) = self.checked.get_mut(law as usize) {
            *count += 1;
        }
        if let Err(detail) = outcome {
            self.found.push((law, detail));
        }
    }

    /// Counts a check that a condition holds.
    pub(crate) fn demand(&mut self, law: Law, holds: bool, detail: impl FnOnce() -> String) {
        self.check(law, if holds { Ok(()) } else { Err(detail()) });
    }

    /// Whether something was found that has no exchange attached to it yet.
    pub(crate) fn has_found(&self) -> bool {
        !self.found.is_empty()
    }

    /// Attaches the exchange to what was found since the last call.
    pub(crate) fn attach(&mut self, exchange: &[String]) {
        for (law, detail) in self.found.drain(..) {
            self.violations.push(Violation { law, detail, exchange: exchange.to_vec() });
        }
    }

    /// How often a law was checked.
    #[must_use]
    pub fn checked(&self, law: Law) -> u64 {
        self.checked.get(law as usize).copied().unwrap_or(0)
    }

    /// What was broken, in order.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The names of the laws that were broken, each once, in the order of the book.
    #[must_use]
    pub fn broken(&self) -> Vec<&'static str> {
        let mut laws: Vec<Law> = self.violations.iter().map(|violation| violation.law).collect();
        laws.sort_unstable();
        laws.dedup();
        laws.into_iter().map(Law::name).collect()
    }

    /// Notes that the daemon has answered a good request of this kind with `ENOSYS`. That breaks no law.
    pub(crate) fn not_supported(&mut self, opcode: Opcode) {
        self.unsupported.insert(opcode);
    }

    /// The operations that the daemon does not support: it has answered good requests with `ENOSYS`.
    pub fn unsupported(&self) -> impl Iterator<Item = Opcode> + '_ {
        self.unsupported.iter().copied()
    }

    /// Adds what another book has counted and found.
    pub fn absorb(&mut self, other: &Self) {
        self.unsupported.extend(&other.unsupported);
        for (count, more) in self.checked.iter_mut().zip(other.checked) {
            *count += more;
        }
        self.violations.extend(other.violations.iter().cloned());
    }
}
