//! What clients do to a served tree, and how often they get it done.
//!
//! rustix does the system calls, since nix has neither `getdents64` into a buffer nor extended attributes.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::tree::{self, PageAligned};
use crate::workload::{Job, Work, Workload};

mod fio;

const SMALL: u64 = 4096;
/// One block, in bytes.
pub const LARGE: u64 = 1 << 20;

/// What came of a run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Done {
    /// Operations, of all threads.
    pub operations: u64,
    /// Operations a second: the sum over the threads.
    pub rate: f64,
}

/// A workload whose files are open.
#[derive(Debug)]
pub enum Run {
    /// A client in each thread.
    Calls(Vec<Client>),
    /// fio, in this directory.
    Fio(Job, PathBuf),
}

impl Run {
    /// Opens what `threads` threads need, and does it a few times.
    ///
    /// # Errors
    /// The tree is not there, or does not do this.
    pub fn prepare(workload: Workload, directory: &Path, threads: u8) -> Result<Self> {
        match workload.work() {
            Work::Calls => {}
            Work::Fio(job) => return Ok(Self::Fio(job, directory.to_owned())),
            Work::Step(_) | Work::Start => bail!("{}: this is no work for a client", workload.title()),
        }
        ensure!((1..=tree::COPIES).contains(&threads), "{threads} threads: 1 to {} are possible", tree::COPIES);
        let client = |copy| {
            let mut client = Client::prepare(workload, directory, copy)
                .with_context(|| format!("{} in {}", workload.title(), directory.display()))?;
            for _ in 0..3 {
                client.once().with_context(|| format!("{} in {}", workload.title(), directory.display()))?;
            }
            anyhow::Ok(client)
        };
        Ok(Self::Calls((0..threads).map(client).collect::<Result<_>>()?))
    }

    /// Does it for this long.
    ///
    /// # Errors
    /// An operation failed.
    pub fn go(self, time: Duration) -> Result<Done> {
        let clients = match self {
            Self::Calls(clients) => clients,
            Self::Fio(job, directory) => return fio::run(&job, &directory, time),
        };
        let stop = AtomicBool::new(false);
        let start = Barrier::new(clients.len());
        let work = |mut client: Client| {
            start.wait();
            let begin = Instant::now();
            let mut operations = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                client.once()?;
                operations += 1;
            }
            anyhow::Ok((operations, begin.elapsed()))
        };
        let work = &work;
        let stop = &stop;
        let results: Result<Vec<(u64, Duration)>> = std::thread::scope(|scope| {
            let threads: Vec<_> = clients.into_iter().map(|client| scope.spawn(move || work(client))).collect();
            std::thread::sleep(time);
            stop.store(true, Ordering::Relaxed);
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?).collect()
        });
        let results = results?;
        let rate = |(operations, time): &(u64, Duration)| f64_of(*operations) / time.as_secs_f64();
        Ok(Done {
            operations: results.iter().map(|(operations, _)| operations).sum(),
            rate: results.iter().map(rate).sum(),
        })
    }

    /// Does it `count` times, in each thread.
    ///
    /// # Errors
    /// An operation failed.
    pub fn times(&mut self, count: u64) -> Result<()> {
        let Self::Calls(clients) = self else { bail!("only calls can be counted") };
        if let [client] = clients.as_mut_slice() {
            return (0..count).try_for_each(|_| Ok(client.once()?));
        }
        std::thread::scope(|scope| {
            let work = |client: &mut Client| (0..count).try_for_each(|_| client.once());
            let threads: Vec<_> = clients.iter_mut().map(|client| scope.spawn(move || work(client))).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().map_err(|_| anyhow!("a client panicked"))?.map_err(anyhow::Error::from)
            })
        })
    }
}

/// A count as a float. Exact up to 2^53.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "there is no other way, and figures are rounded"
)]
pub fn f64_of(count: u64) -> f64 {
    count as f64
}

/// One thread's part: its files, and where it is in them.
#[derive(Debug)]
pub struct Client {
    workload: Workload,
    file: OwnedFd,
    /// The name that is worked on in the directory `file`.
    name: String,
    buffer: PageAligned,
    offset: u64,
    random: u64,
}

impl Client {
    fn prepare(workload: Workload, root: &Path, copy: u8) -> Result<Self> {
        let (path, name) = match workload {
            Workload::NullRead => (String::from("null"), String::new()),
            Workload::Getattr | Workload::Getxattr => (format!("attrs/a{copy}"), String::new()),
            Workload::Lookup => (String::from("names"), format!("n{copy}")),
            Workload::LookupAbsent => (String::from("names"), String::from("absent")),
            Workload::OpenClose => (String::from("data"), format!("d{copy}")),
            Workload::CreateUnlink => (format!("w{copy}"), String::from("c")),
            Workload::MkdirRmdir => (format!("w{copy}"), String::from("m")),
            Workload::Readdir => (String::new(), String::from("many")),
            Workload::Read1mBuffered
            | Workload::Write1mBuffered
            | Workload::Write1mFsync
            | Workload::Write4kBuffered => (format!("data/c{copy}"), String::new()),
            Workload::Read4k | Workload::Write4k | Workload::Read1mDirect | Workload::Write1mDirect => {
                (format!("data/d{copy}"), String::new())
            }
            _ => bail!("this is no work for a client"),
        };
        let access = match workload {
            Workload::Read4k | Workload::Read1mDirect => OFlags::RDONLY | OFlags::DIRECT,
            Workload::Write4k | Workload::Write1mDirect => OFlags::WRONLY | OFlags::DIRECT,
            Workload::Write1mBuffered | Workload::Write1mFsync | Workload::Write4kBuffered => OFlags::WRONLY,
            _ => OFlags::RDONLY,
        };
        let path = root.join(path);
        let file = rustix::fs::open(&path, access | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("opening {}", path.display()))?;
        let length = match workload {
            Workload::NullRead => 1,
            Workload::Getxattr => 64,
            Workload::Readdir => 32 << 10,
            Workload::Read4k | Workload::Write4k | Workload::Write4kBuffered => usize::try_from(SMALL)?,
            Workload::Read1mDirect
            | Workload::Write1mDirect
            | Workload::Read1mBuffered
            | Workload::Write1mBuffered
            | Workload::Write1mFsync => usize::try_from(LARGE)?,
            _ => 0,
        };
        Ok(Self { workload, file, name, buffer: PageAligned::new(length), offset: 0, random: 1 + u64::from(copy) })
    }

    /// One operation.
    #[inline]
    fn once(&mut self) -> io::Result<()> {
        match self.workload {
            Workload::NullRead => self.read(0),
            Workload::Getattr => Ok(rustix::fs::fstat(&self.file).map(|_| ())?),
            Workload::Lookup => Ok(rustix::fs::statat(&self.file, self.name.as_str(), AtFlags::empty()).map(|_| ())?),
            Workload::LookupAbsent => match rustix::fs::statat(&self.file, self.name.as_str(), AtFlags::empty()) {
                Err(Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
                Ok(_) => Err(io::Error::other("a name is there that should not be")),
            },
            Workload::OpenClose => open_below(&self.file, &self.name).map(drop),
            Workload::CreateUnlink => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                drop(rustix::fs::openat(&self.file, self.name.as_str(), flags, Mode::from_raw_mode(0o644))?);
                Ok(rustix::fs::unlinkat(&self.file, self.name.as_str(), AtFlags::empty())?)
            }
            Workload::MkdirRmdir => {
                rustix::fs::mkdirat(&self.file, self.name.as_str(), Mode::from_raw_mode(0o755))?;
                Ok(rustix::fs::unlinkat(&self.file, self.name.as_str(), AtFlags::REMOVEDIR)?)
            }
            Workload::Readdir => self.list(),
            Workload::Getxattr => {
                let length = rustix::fs::fgetxattr(&self.file, "user.bench", self.buffer.as_mut_slice())?;
                expect(length, tree::XATTR_VALUE.len())
            }
            Workload::Read4k => {
                let offset = self.random_block();
                self.read(offset)
            }
            Workload::Write4k | Workload::Write4kBuffered => {
                let offset = self.random_block();
                self.write(offset)
            }
            Workload::Read1mDirect => {
                let offset = self.next_block();
                self.read(offset)
            }
            Workload::Read1mBuffered => {
                let offset = self.next_block();
                if offset == 0 {
                    rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed)?;
                }
                self.read(offset)
            }
            Workload::Write1mDirect | Workload::Write1mBuffered => {
                let offset = self.next_block();
                self.write(offset)
            }
            Workload::Write1mFsync => {
                let offset = self.next_block();
                self.write(offset)?;
                Ok(rustix::fs::fsync(&self.file)?)
            }
            _ => Err(io::Error::other("this is no work for a client")),
        }
    }

    fn read(&mut self, offset: u64) -> io::Result<()> {
        let length = rustix::io::pread(&self.file, self.buffer.as_mut_slice(), offset)?;
        expect(length, self.buffer.as_slice().len())
    }

    fn write(&mut self, offset: u64) -> io::Result<()> {
        let length = rustix::io::pwrite(&self.file, self.buffer.as_slice(), offset)?;
        expect(length, self.buffer.as_slice().len())
    }

    fn list(&mut self) -> io::Result<()> {
        let directory = open_below(&self.file, &self.name)?;
        let mut room = [MaybeUninit::uninit(); 32 << 10];
        let mut entries = RawDir::new(&directory, &mut room);
        let mut count = 0;
        while let Some(entry) = entries.next() {
            if !entry?.file_name().to_bytes().starts_with(b".") {
                count += 1;
            }
        }
        expect(count, tree::ENTRIES)
    }

    fn next_block(&mut self) -> u64 {
        let offset = self.offset;
        self.offset = (offset + LARGE) % tree::FILE_SIZE;
        offset
    }

    /// xorshift64: the same places for every server.
    fn random_block(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % (tree::FILE_SIZE / SMALL) * SMALL
    }
}

fn open_below(directory: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

fn expect(found: usize, expected: usize) -> io::Result<()> {
    if found == expected { Ok(()) } else { Err(io::Error::other(format!("{found} where {expected} are expected"))) }
}
