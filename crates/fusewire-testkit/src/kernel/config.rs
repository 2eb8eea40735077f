//! Which kernel is played, on whose behalf, and how strictly.
//!
//! Nothing here is sent as it is; the connection makes requests of it.

use std::time::Duration;

use fusewire_proto::init::NEWEST_MINOR;
use fusewire_proto::{Gid, InitFlags, Pid, Uid};

/// Which kernel is played, and how strictly. The default is the newest one, which offers all that a wire can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The protocol minor that `INIT` announces: 31 to 45.
    pub minor: u32,
    /// The capabilities that `INIT` offers.
    pub offered: InitFlags,
    /// The longest read-ahead that `INIT` announces, in bytes.
    pub max_readahead: u32,
    /// The most pages of 4,096 bytes that a read or write has, whatever the daemon allows (`fs.fuse.max_pages_limit`).
    pub max_pages: u16,
    /// How long an answer may take, in real time, before it counts as lost.
    pub patience: Duration,
    /// What a broken law does.
    pub strictness: Strictness,
    /// Whether requests are sent that no program asked for, to look closer: a second reading of a directory from its middle,
    /// a node asked for before its last lookup is taken back.
    pub probing: bool,
    /// Whether unmounting sends `DESTROY`, as it does for `fuseblk` and virtio-fs mounts only.
    pub destroy: bool,
}

/// What a broken law does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// The call in which it comes to light panics, with the exchange: the test fails there.
    Panic,
    /// It is noted for the report.
    Note,
}

/// What no wire can carry, or needs another filesystem or guest memory below.
const NOT_OFFERED: InitFlags = InitFlags::FILE_OPS
    .union(InitFlags::SPLICE_WRITE)
    .union(InitFlags::SPLICE_MOVE)
    .union(InitFlags::SPLICE_READ)
    .union(InitFlags::MAP_ALIGNMENT)
    .union(InitFlags::SUBMOUNTS)
    .union(InitFlags::INIT_RESERVED)
    .union(InitFlags::HAS_INODE_DAX)
    .union(InitFlags::PASSTHROUGH)
    .union(InitFlags::ALLOW_IDMAP)
    .union(InitFlags::OVER_IO_URING);

/// With which minor capabilities came (`linux/fuse.h`), where that is after 7.31.
const CAME_WITH: [(u32, InitFlags); 6] = [
    (33, InitFlags::HANDLE_KILLPRIV_V2.union(InitFlags::SETXATTR_EXT)),
    (36, InitFlags::INIT_EXT.union(InitFlags::SECURITY_CTX)),
    (38, InitFlags::CREATE_SUPP_GROUP.union(InitFlags::HAS_EXPIRE_ONLY)),
    (39, InitFlags::DIRECT_IO_ALLOW_MMAP),
    (40, InitFlags::NO_EXPORT_SUPPORT.union(InitFlags::HAS_RESEND)),
    (43, InitFlags::REQUEST_TIMEOUT),
];

impl Config {
    /// The kernel that came with this minor (31 to 45), and offers what that one offers.
    #[must_use]
    pub fn of_minor(minor: u32) -> Self {
        let known = (1_u64 << 43) - 1;
        let mut offered = InitFlags::from_bits_retain(known) - NOT_OFFERED;
        for (since, flags) in CAME_WITH {
            if minor < since {
                offered -= flags;
            }
        }
        Self {
            minor,
            offered,
            max_readahead: 128 << 10,
            max_pages: 32,
            patience: Duration::from_secs(10),
            strictness: Strictness::Panic,
            probing: true,
            destroy: false,
        }
    }

    /// The same, but broken laws are only noted.
    #[must_use]
    pub fn lenient(self) -> Self {
        Self { strictness: Strictness::Note, ..self }
    }

    /// The same, but without these capabilities.
    #[must_use]
    pub fn without(self, flags: InitFlags) -> Self {
        Self { offered: self.offered - flags, ..self }
    }

    /// The same, but an answer may take this long.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::of_minor(NEWEST_MINOR)
    }
}

/// On whose behalf a request is sent. The default is root, of process 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user id that access checks are made with.
    pub uid: Uid,
    /// The group id that access checks are made with.
    pub gid: Gid,
    /// The process.
    pub pid: Pid,
    /// A group that comes along with requests that make an inode, if `CREATE_SUPP_GROUP` is negotiated.
    pub supplementary: Option<Gid>,
}

impl Default for Caller {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

impl Caller {
    /// A caller with these ids, of process 1.
    #[must_use]
    pub const fn new(uid: u32, gid: u32) -> Self {
        Self { uid: Uid(uid), gid: Gid(gid), pid: Pid(1), supplementary: None }
    }
}
