//! Who is compared: the table of servers, one row each.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What servers serve. Those that serve the same are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Ground {
    /// A table in memory: what is left is the cost of the library.
    Table,
    /// Another directory, in tmpfs: passthrough filesystems.
    Mirror,
    /// Themselves: how they start, and what they take when idle.
    Idle,
}

/// A server.
#[derive(Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it is called in tables and results.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    pub(super) kind: Kind,
    pub(super) serving: Serving,
    /// Whether it is in a quick run.
    pub quick: bool,
}

/// How a server is told to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// Through `/dev/fuse`, with so many threads; 0: its default.
    Device(usize),
    /// Through io_uring.
    Ring,
    /// The same, for a filesystem that never blocks and says so.
    RingNeverBlocks,
}

impl Serving {
    /// How many threads serve, 0 for the default.
    ///
    /// # Errors
    /// It is to be done through io_uring, for a server that cannot.
    pub fn threads(self) -> Result<usize> {
        match self {
            Self::Device(threads) => Ok(threads),
            Self::Ring | Self::RingNeverBlocks => bail!("this server has no io_uring"),
        }
    }
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(threads) => threads.fmt(f),
            Self::Ring => f.write_str("ring"),
            Self::RingNeverBlocks => f.write_str("ring-never-blocks"),
        }
    }
}

impl FromStr for Serving {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "ring" => Ok(Self::Ring),
            "ring-never-blocks" => Ok(Self::RingNeverBlocks),
            number => number.parse().map(Self::Device).context("reading the number of threads"),
        }
    }
}

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It serves the table; it is told the mountpoint and how to serve.
    Table(Program),
    /// It serves a directory, told by words in which `SOURCE`, `MOUNTPOINT` and `TRANSPORT` stand for these.
    Mirror(Program, &'static [&'static str]),
    /// It serves nothing at first, told in the same way.
    Empty(Program, &'static [&'static str]),
    /// No server: the same tree in a directory.
    Native,
}

/// A program that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// A binary of this workspace.
    Rust(&'static str),
    /// A source file below `c/` or elsewhere, compiled here, with the flags of these packages of pkg-config.
    C(&'static str, &'static [&'static str]),
    /// A program of the system, with its package in Debian.
    System(&'static str, &'static str),
}

impl Peer {
    /// Whether it serves this.
    #[must_use]
    pub fn serves(&self, ground: Ground) -> bool {
        match self.kind {
            Kind::Table(_) => ground != Ground::Mirror,
            Kind::Mirror(..) => ground == Ground::Mirror,
            Kind::Empty(..) => ground == Ground::Idle,
            Kind::Native => ground != Ground::Idle,
        }
    }
}

const fn table(name: &'static str, about: &'static str, program: Program, serving: Serving, quick: bool) -> Peer {
    Peer { name, about, kind: Kind::Table(program), serving, quick }
}

const fn mirror(name: &'static str, about: &'static str, program: Program, words: &'static [&'static str]) -> Peer {
    Peer { name, about, kind: Kind::Mirror(program, words), serving: Serving::Device(0), quick: false }
}

/// This library, in results.
pub const THIS: &str = "fusewire";
/// The library that Rust programs use today.
pub const FUSER: &str = "fuser";
/// The least work.
pub const FLOOR: &str = "floor";

/// This library over io_uring.
pub const THIS_RING: &str = "fusewire-ring";
/// The same, for a filesystem that never blocks and says so.
pub const THIS_RING_NEVER_BLOCKS: &str = "fusewire-ring-nb";
/// The least work over io_uring.
pub const FLOOR_RING: &str = "floor-ring";

/// The mirror filesystem that comes with this library, over /dev/fuse.
pub const MIRROR: &str = "mirrorfs";
/// The same where nobody else changes the source.
pub const MIRROR_FAST: &str = "mirrorfs-fast";
/// The same where the kernel reads and writes the files itself.
pub const MIRROR_PASSTHROUGH: &str = "mirrorfs-passthrough";
/// No server.
pub const NATIVE: &str = "native";
/// The filesystem in memory that comes with this library.
pub const MEMFS: &str = "memfs";
/// The same over io_uring.
pub const MEMFS_RING: &str = "memfs-ring";

/// What comes with libfuse as an example, as by default.
pub const LIBFUSE_MIRROR: &str = "passthrough_ll";
/// The same with all its caches.
pub const LIBFUSE_MIRROR_FAST: &str = "passthrough_ll-fast";
/// What people use to mirror a directory.
pub const OTHER_MIRROR: &str = "bindfs";

const PASSTHROUGH_LL: Program = Program::C("/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c", &["fuse3"]);
const BINDFS: Program = Program::System("bindfs", "bindfs");

/// All peers, in the order of the tables.
pub const PEERS: &[Peer] = {
    use Program::{C, Rust};
    use Serving::{Device, Ring, RingNeverBlocks};
    &[
        table(THIS, "this library over /dev/fuse", Rust("serve_fusewire"), Device(0), true),
        table("fusewire-1", "the same with a single worker", Rust("serve_fusewire"), Device(1), false),
        table(THIS_RING, "this library over io_uring", Rust("serve_fusewire"), Ring, true),
        table(
            THIS_RING_NEVER_BLOCKS,
            "the same, for a filesystem that says that it never blocks, as the floor's does",
            Rust("serve_fusewire"),
            RingNeverBlocks,
            true,
        ),
        table(FUSER, "fuser 0.18, as by default: one thread", Rust("serve_fuser"), Device(0), true),
        table("fuser-2", "fuser 0.18, two threads, a descriptor each", Rust("serve_fuser"), Device(2), false),
        table("polyfuse", "polyfuse 0.5, one thread", Rust("serve_polyfuse"), Device(1), false),
        table("fuse3", "fuse3 0.10 on tokio, a worker a CPU", Rust("serve_fuse3"), Device(0), false),
        table("libfuse", "libfuse3 from the system, low-level API, one thread", LIBFUSE, Device(1), false),
        table("libfuse-mt", "the same with its loop of threads", LIBFUSE, Device(0), false),
        table(FLOOR, "a C program without a library, one thread", C("floor.c", &[]), Device(1), true),
        table(FLOOR_RING, "the same over io_uring, a thread pinned to each CPU", C("floor_ring.c", &[]), Ring, true),
        mirror(
            MIRROR,
            "mirrorfs -o transport=dev",
            Rust(MIRROR),
            &["-f", "-o", "transport=TRANSPORT", "SOURCE", "MOUNTPOINT"],
        ),
        Peer {
            name: MIRROR_FAST,
            about: "mirrorfs -o cache=always,writeback,transport=uring",
            kind: Kind::Mirror(
                Rust(MIRROR),
                &["-f", "-o", "cache=always,writeback,transport=TRANSPORT", "SOURCE", "MOUNTPOINT"],
            ),
            serving: Ring,
            quick: false,
        },
        mirror(
            MIRROR_PASSTHROUGH,
            "mirrorfs -o cache=always,passthrough,transport=dev",
            Rust(MIRROR),
            &["-f", "-o", "cache=always,passthrough,transport=TRANSPORT", "SOURCE", "MOUNTPOINT"],
        ),
        mirror(
            LIBFUSE_MIRROR,
            "libfuse's example, as by default",
            PASSTHROUGH_LL,
            &["-f", "-o", "source=SOURCE", "MOUNTPOINT"],
        ),
        mirror(
            LIBFUSE_MIRROR_FAST,
            "libfuse's example, -o cache=always,writeback",
            PASSTHROUGH_LL,
            &["-f", "-o", "source=SOURCE,cache=always,writeback", "MOUNTPOINT"],
        ),
        mirror(OTHER_MIRROR, "bindfs, as by default", BINDFS, &["-f", "SOURCE", "MOUNTPOINT"]),
        Peer {
            name: MEMFS,
            about: "memfs -o transport=dev",
            kind: Kind::Empty(Rust(MEMFS), &["-f", "-o", "transport=TRANSPORT", "MOUNTPOINT"]),
            serving: Device(0),
            quick: true,
        },
        Peer {
            name: MEMFS_RING,
            about: "memfs -o transport=uring",
            kind: Kind::Empty(Rust(MEMFS), &["-f", "-o", "transport=TRANSPORT", "MOUNTPOINT"]),
            serving: Ring,
            quick: true,
        },
        Peer {
            name: NATIVE,
            about: "the same tree in tmpfs, without FUSE",
            kind: Kind::Native,
            serving: Device(0),
            quick: false,
        },
    ]
};

const LIBFUSE: Program = Program::C("libfuse.c", &["fuse3"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut seen = std::collections::HashSet::new();
        assert!(PEERS.iter().all(|peer| seen.insert(peer.name)));
    }

    #[test]
    fn serving_survives_the_command_line() {
        for serving in [Serving::Device(0), Serving::Device(2), Serving::Ring, Serving::RingNeverBlocks] {
            assert_eq!(serving.to_string().parse::<Serving>().unwrap(), serving);
        }
        assert!("rings".parse::<Serving>().is_err());
        assert!(Serving::Ring.threads().is_err());
    }
}
