//! The conformance report: what any daemon does with all that a kernel may ask, as text.
//!
//! Nothing has to be known of the daemon but how to start it. It is started anew for each chapter, because some of them may
//! end it.

use std::fmt;
use std::time::Duration;

use fusewire_proto::op::{LockKind, Whence};
use fusewire_proto::{
    AccessMask, Errno, FallocateMode, FileType, Opcode, PollEvents, RenameFlags, StatxMask, XattrFlags,
};

use crate::faults::{self, Faults};
use crate::kernel::{Config, Hostile};
use crate::laws::{Law, LawBook};
use crate::running::Running;
use crate::vfs::{Change, File, Mount, Range};

/// What a daemon does with all that a kernel may ask.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What the daemon is called.
    pub daemon: String,
    /// What was done to it, and how that went.
    pub chapters: Vec<Chapter>,
    /// What was checked, and what was broken.
    pub laws: LawBook,
}

/// A part of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chapter {
    /// What was done.
    pub name: &'static str,
    /// The laws that were broken in it.
    pub broken: Vec<&'static str>,
    /// Why it ended too early, if it did.
    pub ended: Option<String>,
}

impl Report {
    /// The names of the laws that were broken, each once.
    #[must_use]
    pub fn broken(&self) -> Vec<&'static str> {
        self.laws.broken()
    }

    /// The chapters that ended too early, each with the reason.
    #[must_use]
    pub fn ended(&self) -> Vec<(&'static str, &str)> {
        self.chapters.iter().filter_map(|chapter| Some((chapter.name, chapter.ended.as_deref()?))).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "conformance report: {}\n", self.daemon)?;
        for chapter in &self.chapters {
            let outcome = match (&chapter.ended, chapter.broken.as_slice()) {
                (None, []) => String::from("all laws kept"),
                (None, broken) => format!("broken: {}", broken.join(", ")),
                (Some(why), []) => why.clone(),
                (Some(why), broken) => format!("{why}; broken: {}", broken.join(", ")),
            };
            writeln!(f, "  {:34} {outcome}", chapter.name)?;
        }
        writeln!(f, "\n  {:34} {:>9} {:>7}", "law", "checked", "broken")?;
        for law in Law::ALL {
            let broken = self.laws.violations().iter().filter(|violation| violation.law == *law).count();
            let checked = self.laws.checked(*law);
            if checked > 0 {
                writeln!(f, "  {:34} {checked:>9} {broken:>7}", law.name())?;
            }
        }
        let unchecked: Vec<&str> =
            Law::ALL.iter().filter(|law| self.laws.checked(**law) == 0).map(|law| law.name()).collect();
        if !unchecked.is_empty() {
            writeln!(f, "\n  no occasion to check: {}", unchecked.join(", "))?;
        }
        let unsupported: Vec<String> = self.laws.unsupported().map(|opcode| opcode.to_string()).collect();
        if !unsupported.is_empty() {
            writeln!(f, "\n  not supported (ENOSYS): {}", unsupported.join(", "))?;
        }
        for law in Law::ALL {
            if let Some(violation) = self.laws.violations().iter().find(|violation| violation.law == *law) {
                writeln!(f, "\n{violation}")?;
            }
        }
        Ok(())
    }
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many seeds of the fault schedule are run.
const SEEDS: u64 = 40;

/// Examines a daemon that `start` starts.
pub fn examine(daemon: &str, start: impl Fn() -> Running) -> Report {
    let mut report = Report { daemon: daemon.to_owned(), chapters: Vec::new(), laws: LawBook::default() };
    let config = Config::default().lenient().with_patience(PATIENCE);
    report.add("negotiation, 7.31 to 7.45", negotiate(&start));
    report.add("what programs do", mounted(&start, config, tour));
    report.add("what programs do, as of 7.31", {
        mounted(&start, Config::of_minor(31).lenient().with_patience(PATIENCE), tour)
    });
    report.add(
        "unknown operations",
        refused(&start, config, |k| {
            for opcode in [Opcode(60), Opcode(4095), Opcode(0x7fff_ffff)] {
                let ticket = k.kernel().deliver_request(opcode, &[0; 64], Hostile::UnknownOpcode)?;
                let _ = k.kernel().wait(ticket);
            }
            Ok(())
        }),
    );
    report.add("malformed operations", refused(&start, config, malformed));
    report.add(
        "interrupts of what does not wait",
        refused(&start, config, |k| {
            for _ in 0..20 {
                let ticket = k.kernel().submit(fusewire_proto::op::Getattr::new(fusewire_proto::NodeId::ROOT))?;
                k.kernel().interrupt(&ticket)?;
                let _ = k.kernel().wait(ticket);
            }
            Ok(())
        }),
    );
    report.add("faults that a kernel makes", schedule(&start, config, Faults::LEGAL));
    report.add("faults that only an enemy makes", schedule(&start, config, Faults::all()));
    report
}

/// The outcome of a chapter: what was checked, and why it ended too early.
type Outcome = (LawBook, Result<(), String>);

impl Report {
    fn add(&mut self, name: &'static str, (laws, end): Outcome) {
        self.chapters.push(Chapter { name, broken: laws.broken(), ended: end.err() });
        self.laws.absorb(&laws);
    }
}

fn negotiate(start: &impl Fn() -> Running) -> Outcome {
    let mut all = LawBook::default();
    let mut end = Ok(());
    for minor in 31..=45 {
        let config = Config::of_minor(minor).lenient().with_patience(PATIENCE);
        let connection = start().connect_without_init(config);
        let outcome = connection.kernel().init();
        all.absorb(&if outcome.is_ok() { connection.unmount() } else { connection.abort() });
        if let Err(errno) = outcome {
            end = end.and(Err(format!("7.{minor} is refused with {errno:?}")));
        }
    }
    (all, end)
}

fn mounted(start: &impl Fn() -> Running, config: Config, act: impl FnOnce(&Mount)) -> Outcome {
    refused(start, config, |k| {
        act(k);
        Ok(())
    })
}

/// Does something to a mount; an error of the connection itself ends the chapter.
fn refused(start: &impl Fn() -> Running, config: Config, act: impl FnOnce(&Mount) -> Result<(), Errno>) -> Outcome {
    let k = match Mount::new(start(), config) {
        Ok(k) => k,
        Err(refused) => return (LawBook::default(), Err(refused.to_string())),
    };
    let outcome = act(&k).map_err(|errno| format!("ended with {errno:?}"));
    let alive = !k.kernel().has_ended();
    let laws = k.unmount();
    let end = if alive { outcome } else { Err(String::from("the daemon has ended by itself")) };
    (laws, end)
}

fn schedule(start: &impl Fn() -> Running, config: Config, which: Faults) -> Outcome {
    let mut all = LawBook::default();
    let mut ended = Vec::new();
    for seed in 0..SEEDS {
        let (laws, end) = faults::play(seed, which, &config, start());
        all.absorb(&laws);
        if let Err(why) = end {
            ended.push(format!("{why} (seed {seed})"));
        }
    }
    let end = match ended.first() {
        None => Ok(()),
        Some(first) => Err(format!("{} of {SEEDS} seeds ended early: {first}", ended.len())),
    };
    (all, end)
}

/// Known operations without what they need.
fn malformed(k: &Mount) -> Result<(), Errno> {
    for opcode in [
        Opcode::GETATTR,
        Opcode::LOOKUP,
        Opcode::MKDIR,
        Opcode::RENAME,
        Opcode::OPEN,
        Opcode::WRITE,
        Opcode::GETXATTR,
        Opcode::FLUSH,
        Opcode::ACCESS,
    ] {
        let ticket = k.kernel().deliver_request(opcode, b"", Hostile::Malformed)?;
        let _ = k.kernel().wait(ticket);
    }
    Ok(())
}

/// What programs do, as far as the filesystem lets them. What comes of it is judged by the laws alone.
fn tour(k: &Mount) {
    look_around(k, "/", 0);
    k.drop_caches();
    let _ = k.statfs("/");
    let _ = k.access("/", AccessMask::READ);
    let _ = k.mkdir("/made", 0o755);
    for name in ["/made/a", "/made/b", "/made/c", "/made-file"] {
        let _ = k.write(name, b"some bytes of contents");
        let _ = k.read(name);
    }
    let _ = k.mknod("/made/fifo", FileType::FIFO.mode_bits() | 0o600, 0);
    let _ = k.symlink("a", "/made/link");
    let _ = k.read("/made/link");
    let _ = k.link("/made/a", "/made/hard");
    let _ = k.readdir("/made");
    let _ = k.rename("/made/b", "/made/renamed");
    let _ = k.rename_with("/made/renamed", "/made/c", RenameFlags::EXCHANGE);
    for file in ["/made/a", "/made-file"] {
        let _ = k.setxattr(file, "user.testkit", b"value", XattrFlags::empty());
        let _ = k.getxattr(file, "user.testkit");
        let _ = k.listxattr(file);
        let _ = k.removexattr(file, "user.testkit");
        let _ = k.change(file, Change::mode(0o600));
        let _ = k.truncate(file, 10);
        if let Ok(file) = k.open(file, libc::O_RDWR) {
            use_open(k, &file);
        }
    }
    k.advance(Duration::from_secs(3600));
    look_around(k, "/", 0);
    let _ = k.open_tmpfile("/", libc::O_RDWR, 0o600);
    for name in ["/made/a", "/made/c", "/made/renamed", "/made/fifo", "/made/link", "/made/hard", "/made-file"] {
        let _ = k.unlink(name);
    }
    let _ = k.rmdir("/made");
    k.drop_caches();
    let _ = k.readdir("/");
}

fn use_open(k: &Mount, file: &File) {
    let _ = file.pwrite(3, [7; 200_000]);
    let _ = file.pread(0, 300_000);
    let _ = file.seek(0, Whence::HOLE);
    let _ = file.fallocate(FallocateMode::KEEP_SIZE, 0, 1000);
    let _ = file.copy_to(0, file, 300_000, 100);
    let _ = file.poll(PollEvents::IN, None);
    let _ = file.ioctl(0x5401, &[], 0);
    let _ = file.lock(Range::of(0, 10), LockKind::WRITE);
    let _ = file.test_lock(Range::all(), LockKind::READ);
    let _ = file.flock(LockKind::READ);
    let _ = file.sync();
    let _ = file.stat();
    let _ = k.kernel().notifications();
}

/// How deep directories are looked into.
const DEEPEST: u32 = 4;
/// How many entries of a directory are looked at.
const WIDEST: usize = 100;

fn look_around(k: &Mount, path: &str, depth: u32) {
    let _ = k.stat(path);
    let _ = k.statx(path, StatxMask::BTIME);
    let _ = k.listxattr(path);
    let Ok(names) = k.names(path) else { return };
    for name in names.iter().take(WIDEST) {
        let Some(name) = name.to_str() else { continue };
        let child = format!("{}/{name}", path.trim_end_matches('/'));
        match k.lstat(&child).map(|attr| attr.file_type()) {
            Ok(FileType::DIRECTORY) if depth < DEEPEST => look_around(k, &child, depth + 1),
            Ok(FileType::REGULAR) => {
                if let Ok(file) = k.open(&child, libc::O_RDONLY) {
                    let _ = file.pread(0, 100_000);
                }
            }
            Ok(FileType::SYMLINK) => drop(k.readlink(&child)),
            _ => {}
        }
    }
    let _ = k.stat(format!("{}/not there", path.trim_end_matches('/')));
}
