//! The workloads: what clients do to a server, one row each. How it is done is in `load` and in `compare`.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Who does a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The client itself, one system call or two after the other.
    Calls,
    /// fio.
    Fio(Job),
    /// A program that people use, once.
    Step(Step),
    /// The server, by starting.
    Start,
}

/// What fio does, one caller in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// How it asks.
    pub engine: &'static str,
    /// What it asks for, in fio's words.
    pub action: &'static str,
    /// How many requests it keeps in flight.
    pub depth: u8,
    /// The file, in the directory `data`.
    pub file: &'static str,
    /// How far it goes.
    pub extent: Extent,
}

/// How far a job of fio goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Past the page cache, for as long as a measurement takes.
    Timed,
    /// Once through the file, whose pages are not in the page cache before.
    Whole,
}

/// What people do with a tree of source code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Unpack it.
    Untar,
    /// List all of it.
    Find,
    /// Read all of it.
    Grep,
    /// Ask git what has changed, with empty caches.
    GitStatus,
    /// The same again.
    GitStatusWarm,
    /// Build a small crate.
    Build,
    /// Remove it.
    Remove,
}

const fn fio(engine: &'static str, action: &'static str, depth: u8) -> Work {
    Work::Fio(Job { engine, action, depth, file: "d0", extent: Extent::Timed })
}

const MAPPED: Work = Work::Fio(Job { engine: "mmap", action: "read", depth: 1, file: "c0", extent: Extent::Whole });

/// Makes the enum and what is known of each of its values from a row each.
macro_rules! workloads {
    ($($(#[$meta:meta])* $name:ident: $title:literal, $work:expr;)+) => {
        /// One sort of work.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
        #[serde(rename_all = "kebab-case")]
        pub enum Workload {
            $($(#[$meta])* $name,)+
        }

        impl Workload {
            /// What it is called in tables.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// Who does it.
            #[must_use]
            pub fn work(self) -> Work {
                match self { $(Self::$name => $work,)+ }
            }
        }
    };
}

workloads! {
    /// Read one byte, past the page cache
    NullRead: "null read (1 byte)", Work::Calls;
    /// fstat(2)
    Getattr: "getattr (fstat)", Work::Calls;
    /// stat(2) of a name that must be looked up
    Lookup: "lookup (stat)", Work::Calls;
    /// stat(2) of a name that is not there
    LookupAbsent: "lookup, ENOENT", Work::Calls;
    /// Open and close a file
    OpenClose: "open, close", Work::Calls;
    /// Make a file and unlink it
    CreateUnlink: "create, unlink", Work::Calls;
    /// Make a directory and remove it
    MkdirRmdir: "mkdir, rmdir", Work::Calls;
    /// Open a directory of 10,000, list it, close it
    Readdir: "readdir of 10,000", Work::Calls;
    /// Read an extended attribute
    Getxattr: "getxattr", Work::Calls;
    /// Read 4 KiB at a random place, past the page cache
    #[value(name = "read-4k")]
    #[serde(rename = "read-4k")]
    Read4k: "read 4 KiB, random, direct", Work::Calls;
    /// Write 4 KiB at a random place, past the page cache
    #[value(name = "write-4k")]
    #[serde(rename = "write-4k")]
    Write4k: "write 4 KiB, random, direct", Work::Calls;
    /// Write 4 KiB at a random place, through the page cache
    #[value(name = "write-4k-buffered")]
    #[serde(rename = "write-4k-buffered")]
    Write4kBuffered: "write 4 KiB, random, buffered", Work::Calls;
    /// Read 1 MiB after the other, past the page cache
    #[value(name = "read-1m-direct")]
    #[serde(rename = "read-1m-direct")]
    Read1mDirect: "read 1 MiB, direct", Work::Calls;
    /// Write 1 MiB after the other, past the page cache
    #[value(name = "write-1m-direct")]
    #[serde(rename = "write-1m-direct")]
    Write1mDirect: "write 1 MiB, direct", Work::Calls;
    /// Read 1 MiB after the other, through an empty page cache
    #[value(name = "read-1m-buffered")]
    #[serde(rename = "read-1m-buffered")]
    Read1mBuffered: "read 1 MiB, buffered", Work::Calls;
    /// Write 1 MiB after the other, through the page cache
    #[value(name = "write-1m-buffered")]
    #[serde(rename = "write-1m-buffered")]
    Write1mBuffered: "write 1 MiB, buffered", Work::Calls;
    /// Write 1 MiB through the page cache, then fsync(2)
    #[value(name = "write-1m-fsync")]
    #[serde(rename = "write-1m-fsync")]
    Write1mFsync: "write 1 MiB, buffered, fsync", Work::Calls;
    /// fio reads 4 KiB at a random place, by pread(2)
    FioRead: "fio read 4 KiB, psync", fio("psync", "randread", 1);
    /// fio writes 4 KiB at a random place, by pwrite(2)
    FioWrite: "fio write 4 KiB, psync", fio("psync", "randwrite", 1);
    /// fio reads 4 KiB at a random place, asynchronously
    FioReadAio: "fio read 4 KiB, libaio, depth 1", fio("libaio", "randread", 1);
    /// fio writes 4 KiB at a random place, asynchronously
    FioWriteAio: "fio write 4 KiB, libaio, depth 1", fio("libaio", "randwrite", 1);
    /// fio reads 4 KiB at a random place, 16 at a time
    FioReadDeep: "fio read 4 KiB, libaio, depth 16", fio("libaio", "randread", 16);
    /// fio writes 4 KiB at a random place, 16 at a time
    FioWriteDeep: "fio write 4 KiB, libaio, depth 16", fio("libaio", "randwrite", 16);
    /// fio reads a file page by page through a mapping
    FioReadMapped: "fio read 4 KiB, mmap, cold", MAPPED;
    /// Unpack a tree of some 3,000 files
    Untar: "untar", Work::Step(Step::Untar);
    /// List the tree
    Find: "find", Work::Step(Step::Find);
    /// Read all files of the tree
    Grep: "grep -r", Work::Step(Step::Grep);
    /// Ask git what has changed in the tree
    GitStatus: "git status, cold", Work::Step(Step::GitStatus);
    /// Ask git again
    GitStatusWarm: "git status, warm", Work::Step(Step::GitStatusWarm);
    /// Build a small crate in the mount
    CargoBuild: "cargo build", Work::Step(Step::Build);
    /// Remove the tree
    RemoveTree: "rm -rf", Work::Step(Step::Remove);
    /// Start the server, until its mount is there
    StartUp: "start-up", Work::Start;
}

impl Workload {
    /// What it is called on the command line and in results.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
