//! The negotiation that opens a connection, as a pure function of what the kernel offers and the filesystem wants.
//!
//! Nothing is asked for that the library cannot honour: a capability that is negotiated and not served would fail in
//! silence later, so asking for it is an error now.

use core::fmt;

use bitflags::bitflags;

use crate::abi;
use crate::op;
use crate::reply;

bitflags! {
    /// Capabilities of the connection, as both sides name them in `INIT`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct InitFlags: u64 {
        /// Several reads of one file at a time.
        const ASYNC_READ = abi::FUSE_ASYNC_READ;
        /// The filesystem decides about POSIX locks.
        const POSIX_LOCKS = abi::FUSE_POSIX_LOCKS;
        /// The kernel's word for file handles in attribute requests; not used by Linux.
        const FILE_OPS = abi::FUSE_FILE_OPS;
        /// `O_TRUNC` is passed on in `OPEN` and `CREATE`; else the kernel sends a `SETATTR` as well. Not for filesystems that
        /// answer `OPEN` with `ENOSYS`: they would not hear of it. And it truncates too early: an `OPEN` for reading with
        /// `O_TRUNC` is sent before the kernel finds that the file is being executed (fs/namei.c handle_truncate()); the program
        /// is gone, and open(2) says `ETXTBSY`.
        const ATOMIC_O_TRUNC = abi::FUSE_ATOMIC_O_TRUNC;
        /// Lookups of `.` and `..` are served, for NFS servers.
        const EXPORT_SUPPORT = abi::FUSE_EXPORT_SUPPORT;
        /// Writes of more than a page; always on since 4.6.
        const BIG_WRITES = abi::FUSE_BIG_WRITES;
        /// The filesystem applies the umask itself.
        const DONT_MASK = abi::FUSE_DONT_MASK;
        /// The kernel can splice into the device.
        const SPLICE_WRITE = abi::FUSE_SPLICE_WRITE;
        /// The kernel can move pages when splicing.
        const SPLICE_MOVE = abi::FUSE_SPLICE_MOVE;
        /// The kernel can splice out of the device.
        const SPLICE_READ = abi::FUSE_SPLICE_READ;
        /// The filesystem decides about flock(2) locks.
        const FLOCK_LOCKS = abi::FUSE_FLOCK_LOCKS;
        /// Ioctls on directories are passed on. Tells only that the kernel can.
        const HAS_IOCTL_DIR = abi::FUSE_HAS_IOCTL_DIR;
        /// Cached data go when the attributes show a new size or mtime.
        const AUTO_INVAL_DATA = abi::FUSE_AUTO_INVAL_DATA;
        /// `READDIRPLUS` is served.
        const DO_READDIRPLUS = abi::FUSE_DO_READDIRPLUS;
        /// The kernel decides between `READDIR` and `READDIRPLUS`.
        const READDIRPLUS_AUTO = abi::FUSE_READDIRPLUS_AUTO;
        /// Direct I/O may be asynchronous.
        const ASYNC_DIO = abi::FUSE_ASYNC_DIO;
        /// Writes are gathered in the page cache.
        const WRITEBACK_CACHE = abi::FUSE_WRITEBACK_CACHE;
        /// `OPEN` may be answered with `ENOSYS` for ever. Tells only that the kernel can.
        const NO_OPEN_SUPPORT = abi::FUSE_NO_OPEN_SUPPORT;
        /// Lookups and readdirs in one directory may come at the same time.
        const PARALLEL_DIROPS = abi::FUSE_PARALLEL_DIROPS;
        /// The filesystem clears suid and sgid on write, truncate and chown.
        const HANDLE_KILLPRIV = abi::FUSE_HANDLE_KILLPRIV;
        /// POSIX ACLs are kept, and the kernel enforces them.
        const POSIX_ACL = abi::FUSE_POSIX_ACL;
        /// Reads of the device give `ECONNABORTED` after an abort.
        const ABORT_ERROR = abi::FUSE_ABORT_ERROR;
        /// `max_pages` is valid.
        const MAX_PAGES = abi::FUSE_MAX_PAGES;
        /// The kernel caches what symbolic links point to.
        const CACHE_SYMLINKS = abi::FUSE_CACHE_SYMLINKS;
        /// `OPENDIR` may be answered with `ENOSYS` for ever. Tells only that the kernel can.
        const NO_OPENDIR_SUPPORT = abi::FUSE_NO_OPENDIR_SUPPORT;
        /// Cached data go only when the filesystem says so.
        const EXPLICIT_INVAL_DATA = abi::FUSE_EXPLICIT_INVAL_DATA;
        /// `map_alignment` is valid (virtio-fs).
        const MAP_ALIGNMENT = abi::FUSE_MAP_ALIGNMENT;
        /// Mounts below the root are announced (virtio-fs).
        const SUBMOUNTS = abi::FUSE_SUBMOUNTS;
        /// As `HANDLE_KILLPRIV`, and the kernel says in each request when.
        const HANDLE_KILLPRIV_V2 = abi::FUSE_HANDLE_KILLPRIV_V2;
        /// `SETXATTR` has flags.
        const SETXATTR_EXT = abi::FUSE_SETXATTR_EXT;
        /// `flags2` is valid.
        const INIT_EXT = abi::FUSE_INIT_EXT;
        /// Must not be used.
        const INIT_RESERVED = abi::FUSE_INIT_RESERVED;
        /// A security context comes with requests that make an inode.
        const SECURITY_CTX = abi::FUSE_SECURITY_CTX;
        /// Direct access is decided for each inode (virtio-fs).
        const HAS_INODE_DAX = abi::FUSE_HAS_INODE_DAX;
        /// The group of the parent comes with requests that make an inode, if the caller is in it.
        const CREATE_SUPP_GROUP = abi::FUSE_CREATE_SUPP_GROUP;
        /// An entry can be expired and not dropped. Tells only that the kernel can.
        const HAS_EXPIRE_ONLY = abi::FUSE_HAS_EXPIRE_ONLY;
        /// Files in direct-I/O mode can be mapped shared.
        const DIRECT_IO_ALLOW_MMAP = abi::FUSE_DIRECT_IO_ALLOW_MMAP;
        /// Files can be backed by files of another filesystem.
        const PASSTHROUGH = abi::FUSE_PASSTHROUGH;
        /// Node ids cannot be looked up for NFS servers at all.
        const NO_EXPORT_SUPPORT = abi::FUSE_NO_EXPORT_SUPPORT;
        /// Requests under way can be asked for again.
        const HAS_RESEND = abi::FUSE_HAS_RESEND;
        /// The mount may be idmapped.
        const ALLOW_IDMAP = abi::FUSE_ALLOW_IDMAP;
        /// Requests may travel over io_uring.
        const OVER_IO_URING = abi::FUSE_OVER_IO_URING;
        /// `request_timeout` is valid.
        const REQUEST_TIMEOUT = abi::FUSE_REQUEST_TIMEOUT;
        const _ = !0;
    }
}

impl InitFlags {
    /// Every flag that has a name here.
    #[must_use]
    pub const fn all_named() -> Self {
        // They have no gaps.
        Self::from_bits_retain((Self::REQUEST_TIMEOUT.bits() << 1) - 1)
    }
}

/// The oldest protocol minor that is accepted: Linux 5.4.
pub const OLDEST_MINOR: u32 = 31;
/// The protocol minor that this crate speaks.
pub const NEWEST_MINOR: u32 = abi::FUSE_KERNEL_MINOR_VERSION;
/// Size of a page, in bytes: the unit of `max_pages`.
pub const PAGE_SIZE: u32 = 4096;
/// Pages that a request may have when `MAX_PAGES` is not negotiated (`FUSE_DEFAULT_MAX_PAGES_PER_REQ`).
const DEFAULT_MAX_PAGES: u16 = 32;

/// What both sides agreed on. Exists only after `INIT`, but for the default: 7.45 and no capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Negotiated {
    /// The protocol minor, of major 7.
    pub minor: u32,
    /// The capabilities that are on.
    pub flags: InitFlags,
    /// The longest read-ahead, in bytes.
    pub max_readahead: u32,
    /// The longest write, in bytes.
    pub max_write: u32,
    /// The most pages of data in a request.
    pub max_pages: u16,
    /// How many background requests the kernel sends at a time.
    pub max_background: u16,
    /// From how many background requests on the filesystem counts as congested.
    pub congestion_threshold: u16,
    /// The unit of times, in nanoseconds.
    pub time_gran: u32,
    /// How many filesystems may be stacked, for passthrough; 0: none.
    pub max_stack_depth: u32,
    /// Seconds after which the kernel gives the whole connection up; 0: never.
    pub request_timeout: u16,
}

impl Default for Negotiated {
    fn default() -> Self {
        Self {
            minor: NEWEST_MINOR,
            flags: InitFlags::empty(),
            max_readahead: 128 << 10,
            max_write: u32::from(DEFAULT_MAX_PAGES) * PAGE_SIZE,
            max_pages: DEFAULT_MAX_PAGES,
            max_background: 12,
            congestion_threshold: 9,
            time_gran: 1,
            max_stack_depth: 0,
            request_timeout: 0,
        }
    }
}

impl Negotiated {
    /// Whether this capability is on.
    #[must_use]
    pub fn has(&self, flags: InitFlags) -> bool {
        self.flags.contains(flags)
    }

    /// Whether a security context stands bare behind the names, without a header of its own (7.36 and 7.37).
    #[must_use]
    pub(crate) fn has_bare_security_context(&self) -> bool {
        (36..38).contains(&self.minor) && self.has(InitFlags::SECURITY_CTX)
    }

    /// The most bytes of data that a single `READ` asks for or a single `WRITE` brings.
    #[must_use]
    pub fn max_data(&self) -> u32 {
        self.max_write.max(u32::from(self.max_pages) * PAGE_SIZE)
    }
}

/// What a filesystem wants of the connection. The default suits most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wishes {
    /// Without these the filesystem cannot work: not offered is an error.
    pub required: InitFlags,
    /// Nice to have: taken if offered.
    pub wanted: InitFlags,
    /// The longest write, in bytes; taken down to what the kernel's page limit allows.
    pub max_write: u32,
    /// The longest read-ahead, in bytes; taken down to what the kernel offers.
    pub max_readahead: u32,
    /// How many background requests the kernel may send at a time.
    pub max_background: u16,
    /// From how many on the filesystem counts as congested; three quarters of `max_background` if `None`.
    pub congestion_threshold: Option<u16>,
    /// The unit of times, in nanoseconds: a power of ten up to 1,000,000,000.
    pub time_gran: u32,
    /// How many filesystems may be stacked, with `PASSTHROUGH`: 1 or 2.
    pub max_stack_depth: u32,
    /// Seconds after which the kernel gives the whole connection up; 0: never. Since 7.43.
    pub request_timeout: u16,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            required: InitFlags::empty(),
            // Not ATOMIC_O_TRUNC: who does not look for O_TRUNC in `open` would lose truncations.
            wanted: InitFlags::ASYNC_READ
                | InitFlags::BIG_WRITES
                | InitFlags::PARALLEL_DIROPS
                | InitFlags::MAX_PAGES
                | InitFlags::AUTO_INVAL_DATA
                | InitFlags::ASYNC_DIO
                | InitFlags::ABORT_ERROR
                | InitFlags::HAS_EXPIRE_ONLY
                | InitFlags::HAS_RESEND
                | InitFlags::NO_OPEN_SUPPORT
                | InitFlags::NO_OPENDIR_SUPPORT,
            max_write: 1 << 20,
            max_readahead: u32::MAX,
            max_background: 64,
            congestion_threshold: None,
            time_gran: 1,
            max_stack_depth: 1,
            request_timeout: 0,
        }
    }
}

impl Wishes {
    /// Adds capabilities without which the filesystem cannot work.
    pub fn require(&mut self, flags: InitFlags) -> &mut Self {
        self.required |= flags;
        self
    }

    /// Adds capabilities that are taken if the kernel has them.
    pub fn want(&mut self, flags: InitFlags) -> &mut Self {
        self.wanted |= flags;
        self
    }

    /// Takes capabilities off that would be asked for otherwise.
    pub fn refuse(&mut self, flags: InitFlags) -> &mut Self {
        self.required -= flags;
        self.wanted -= flags;
        self
    }
}

/// Why a connection cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitError {
    /// The kernel speaks a protocol that is too old.
    TooOld {
        /// Its major version.
        major: u32,
        /// Its minor version.
        minor: u32,
    },
    /// The kernel does not offer something that is required.
    NotOffered(InitFlags),
    /// Something is required that this library, or this transport, does not do.
    NotImplemented(InitFlags),
    /// Two capabilities were asked for that exclude one another.
    Conflict(InitFlags),
    /// A number that makes no sense.
    Value {
        /// The wish.
        what: &'static str,
        /// Its value.
        value: u64,
    },
}

/// Writes the names of flags, joined by a bar.
struct FlagNames(InitFlags);

impl fmt::Display for FlagNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bitflags::parser::to_writer(&self.0, f)
    }
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld { major, minor } => {
                write!(f, "the kernel speaks FUSE {major}.{minor}, at least 7.{OLDEST_MINOR} is needed (Linux 5.4)")
            }
            Self::NotOffered(flags) => write!(f, "the kernel does not offer {}", FlagNames(*flags)),
            Self::NotImplemented(flags) => {
                write!(f, "the filesystem asks for {}, which cannot be honoured here", FlagNames(*flags))
            }
            Self::Conflict(flags) => write!(f, "{} exclude one another", FlagNames(*flags)),
            Self::Value { what, value } => write!(f, "{what} cannot be {value}"),
        }
    }
}

impl core::error::Error for InitError {}

/// What to do with an `INIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negotiation {
    /// Send this reply; the connection is open.
    Agreed(Negotiated, reply::Init),
    /// The kernel's major is newer: send this reply, and it will ask again with ours.
    AskAgain(reply::Init),
}

/// Capabilities that say what the kernel can do and need no answer, and those that steer `INIT` itself.
const HANDLED_HERE: InitFlags = InitFlags::MAX_PAGES.union(InitFlags::INIT_EXT);

/// The flags that fit into the first word of `INIT`.
const LOWER_HALF: InitFlags = InitFlags::from_bits_retain(0xffff_ffff);

/// Decides what to answer to `offer`. `honoured` is what the caller can serve; the flags of `INIT` itself are added to it.
///
/// # Errors
/// The kernel is too old, does not offer what is required, or something is asked for that cannot be honoured or contradicts
/// itself.
pub fn negotiate(offer: &op::Init, wishes: &Wishes, honoured: InitFlags) -> Result<Negotiation, InitError> {
    if offer.major > abi::FUSE_KERNEL_VERSION {
        return Ok(Negotiation::AskAgain(reply::Init::refusing_major()));
    }
    if offer.major < abi::FUSE_KERNEL_VERSION || offer.minor < OLDEST_MINOR {
        return Err(InitError::TooOld { major: offer.major, minor: offer.minor });
    }
    check(wishes)?;
    let honoured = honoured | HANDLED_HERE;
    let asked = wishes.required | wishes.wanted;
    let not_implemented = asked - honoured;
    if !not_implemented.is_empty() {
        return Err(InitError::NotImplemented(not_implemented));
    }
    // Without INIT_EXT the upper half of the flags does not travel, in either direction.
    let has_upper_half = offer.flags.contains(InitFlags::INIT_EXT);
    let offered = if has_upper_half { offer.flags } else { offer.flags & LOWER_HALF };
    let not_offered = wishes.required - offered;
    if !not_offered.is_empty() {
        return Err(InitError::NotOffered(not_offered));
    }
    // `HAS_*` and `NO_*_SUPPORT` only inform; echoing them is allowed and keeps `Negotiated` the one place to look.
    let mut flags = asked & offered;
    flags.set(InitFlags::INIT_EXT, has_upper_half);
    let page_limit = if flags.contains(InitFlags::MAX_PAGES) { u16::MAX } else { DEFAULT_MAX_PAGES };
    let max_pages = u16::try_from(wishes.max_write.div_ceil(PAGE_SIZE)).unwrap_or(u16::MAX).clamp(1, page_limit);
    let max_write = wishes.max_write.min(u32::from(max_pages) * PAGE_SIZE);
    let negotiated = Negotiated {
        minor: offer.minor.min(NEWEST_MINOR),
        flags,
        max_readahead: wishes.max_readahead.min(offer.max_readahead),
        max_write,
        max_pages,
        max_background: wishes.max_background,
        congestion_threshold: wishes
            .congestion_threshold
            .unwrap_or(wishes.max_background - wishes.max_background / 4)
            .min(wishes.max_background),
        time_gran: wishes.time_gran,
        max_stack_depth: if flags.contains(InitFlags::PASSTHROUGH) { wishes.max_stack_depth } else { 0 },
        request_timeout: if flags.contains(InitFlags::REQUEST_TIMEOUT) { wishes.request_timeout } else { 0 },
    };
    Ok(Negotiation::Agreed(negotiated, reply::Init::new(&negotiated)))
}

/// Refuses wishes that contradict one another or make no sense.
fn check(wishes: &Wishes) -> Result<(), InitError> {
    let asked = wishes.required | wishes.wanted;
    // fs/fuse/inode.c process_init_reply(): passthrough is dropped in silence when the write-back cache is on.
    let conflicts = [
        InitFlags::PASSTHROUGH | InitFlags::WRITEBACK_CACHE,
        InitFlags::AUTO_INVAL_DATA | InitFlags::EXPLICIT_INVAL_DATA,
    ];
    if let Some(conflict) = conflicts.into_iter().find(|both| asked.contains(*both)) {
        return Err(InitError::Conflict(conflict));
    }
    if wishes.max_write < PAGE_SIZE {
        return Err(InitError::Value { what: "max_write", value: u64::from(wishes.max_write) });
    }
    if wishes.max_background == 0 {
        return Err(InitError::Value { what: "max_background", value: 0 });
    }
    if wishes.time_gran == 0 || wishes.time_gran > 1_000_000_000 {
        return Err(InitError::Value { what: "time_gran", value: u64::from(wishes.time_gran) });
    }
    // FILESYSTEM_MAX_STACK_DEPTH of linux/fs.h.
    if asked.contains(InitFlags::PASSTHROUGH) && !(1..=2).contains(&wishes.max_stack_depth) {
        return Err(InitError::Value { what: "max_stack_depth", value: u64::from(wishes.max_stack_depth) });
    }
    Ok(())
}
