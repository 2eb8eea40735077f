//! What memfs costs in memory, and whether a large directory stays as fast as a small one: through a mount of the real
//! program, seen from outside.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

/// Measure the memory that memfs takes, and how long a large directory takes
#[derive(Parser)]
#[command(name = "cargo xtask bench memory")]
struct Args {
    /// The program
    #[arg(long, value_name = "FILE")]
    memfs: PathBuf,
    /// How many files to make in one directory
    #[arg(long, default_value_t = 1_000_000)]
    files: u64,
    /// How large the large file is
    #[arg(long, default_value_t = 1024)]
    mebibytes: u64,
}

/// At most this much memory for each byte of a large file.
const MOST_PER_BYTE: f64 = 1.15;
/// At most so many bytes for an empty file, its name excluded.
const MOST_PER_FILE: f64 = 400.0;
/// At most this part of the memory for files is kept when they are gone.
const MOST_KEPT: f64 = 0.1;
/// From so many files on, what a process takes anyway does not count.
const MANY: u64 = 100_000;
/// A file among all may take so many times as long as one among a hundredth of them. Were it not linear, it would take a hundred
/// times as long; on tmpfs, where the kernel does all, it takes 1.5 to 2 times as long, as less of a million files is in
/// the processor's caches.
const MOST_SLOWER: f64 = 3.0;
/// So many files are listed at least, some of them again and again.
const LISTED: u64 = 1_000_000;
/// The length of the names in bytes.
const NAME: usize = 12;

/// Clock ticks of `/proc` in a second, on every machine that Linux runs on now.
const TICKS: f64 = 100.0;
const PIECE: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a line for each figure; returns whether all are within bounds.
fn run(args: &Args) -> Result<bool> {
    let mut good = true;
    let mut tell = |what: &str, found: f64, most: f64| {
        let word = if found <= most { "ok" } else { "TOO MUCH" };
        println!("{what:<58} {found:>10.3}   at most {most:<7} {word}");
        good &= found <= most;
    };
    let served = Served::start(&args.memfs)?;
    let files = served.free_files()?;
    let empty = served.memory()?;

    let size = args.mebibytes << 20;
    let large = served.mountpoint().join("large");
    write_large(&large, args.mebibytes)?;
    let taken = served.memory()?.saturating_sub(empty);
    tell("bytes of memory for a byte of a large file", ratio(taken, size), MOST_PER_BYTE);
    fs::remove_file(&large).context("removing the large file")?;
    served.wait_for(files)?;
    let kept = served.memory()?.saturating_sub(empty);
    tell("part of it that is kept when the file is gone", ratio(kept, size), 0.02);

    let mut rounds = Vec::new();
    for part in [100, 10, 1] {
        let files = args.files / part;
        // What is over quickly is done several times.
        let mut costs = (0..part.min(3)).map(|_| round(&served, files)).collect::<Result<Vec<_>>>()?;
        costs.sort_by(|one, other| one.all().total_cmp(&other.all()));
        let cost = costs.get(costs.len() / 2).copied().context("finding the median of no rounds")?;
        println!("{files:>9} files in one directory, microseconds of a processor for each: {cost}");
        rounds.push(cost);
    }
    let (Some(few), Some(many)) = (rounds.first(), rounds.last()) else { bail!("there were no rounds") };
    let what = |what| format!("{what}: time for a file, {} to {} files", args.files, args.files / 100);
    tell(&what("creating"), many.create / few.create, MOST_SLOWER);
    tell(&what("listing"), many.list / few.list, MOST_SLOWER);
    tell(&what("removing"), many.remove / few.remove, MOST_SLOWER);
    let most = if args.files < MANY { f64::INFINITY } else { MOST_PER_FILE };
    tell("bytes of memory for an empty file, its name excluded", many.bytes, most);
    let most = if args.files < MANY { f64::INFINITY } else { MOST_KEPT };
    tell("part of it that is kept when the files are gone", many.kept, most);
    Ok(good)
}

/// A memfs that is mounted; taken down when dropped.
struct Served {
    daemon: Child,
    mountpoint: tempfile::TempDir,
}

impl Served {
    fn start(program: &Path) -> Result<Self> {
        let mountpoint = tempfile::tempdir().context("creating a mountpoint")?;
        let place = mountpoint.path().canonicalize().context("finding the mountpoint")?;
        let mut command = Command::new(program);
        command.arg("-f").arg(&place).args(["-o", "size=90%,nr_inodes=100m"]).stdin(Stdio::null());
        let daemon = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let mut served = Self { daemon, mountpoint };
        let start = Instant::now();
        let line = format!(" {} ", place.display());
        while !fs::read_to_string("/proc/self/mountinfo").context("reading the table of mounts")?.contains(&line) {
            if let Some(status) = served.daemon.try_wait().context("looking at memfs")? {
                bail!("memfs ended with {status}");
            }
            ensure!(start.elapsed() < PATIENCE, "memfs is not mounted after {} s", PATIENCE.as_secs());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(served)
    }

    fn mountpoint(&self) -> &Path {
        self.mountpoint.path()
    }

    /// Bytes of memory that the process has for itself.
    fn memory(&self) -> Result<u64> {
        let file = format!("/proc/{}/smaps_rollup", self.daemon.id());
        let text = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
        let private = text.lines().filter(|line| line.starts_with("Private_"));
        let kibibytes = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>();
        Ok(kibibytes * 1024)
    }
}

impl Served {
    /// Seconds of a processor that this process and the daemon have used.
    fn processor_time(&self) -> Result<f64> {
        let mut ticks = 0;
        for process in ["self".to_owned(), self.daemon.id().to_string()] {
            let file = format!("/proc/{process}/stat");
            let text = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
            // The name may hold anything; behind it, the twelfth and the thirteenth field are the times.
            let fields = text.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
            let times = fields.split_whitespace().skip(11).take(2);
            ticks += times.filter_map(|time| time.parse::<u64>().ok()).sum::<u64>();
        }
        Ok(as_float(ticks) / TICKS)
    }

    /// How many more files there may be.
    fn free_files(&self) -> Result<u64> {
        let found = nix::sys::statvfs::statvfs(self.mountpoint()).context("asking for free files")?;
        Ok(found.files_free())
    }

    /// Waits until so many files are free: the kernel tells memfs later which ones it has forgotten.
    fn wait_for(&self, files: u64) -> Result<()> {
        let start = Instant::now();
        while self.free_files()? < files {
            ensure!(start.elapsed() < PATIENCE, "files that were removed are not given back");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let flags = nix::mount::MntFlags::MNT_DETACH;
        let unmounted = nix::mount::umount2(self.mountpoint.path(), flags);
        if unmounted.is_err() {
            // An ordinary user's mount is the helper's to take down.
            let _ = Command::new("fusermount3").args(["-u", "-z"]).arg(self.mountpoint.path()).status();
        }
        let _ = self.daemon.wait();
    }
}

fn write_large(path: &Path, mebibytes: u64) -> Result<()> {
    let mut file = File::create(path).context("creating the large file")?;
    let mut piece = vec![0; PIECE];
    for number in 0..mebibytes {
        // No two pages are the same.
        for page in piece.chunks_mut(4096) {
            page.fill(b'x');
            page.iter_mut().zip(number.to_ne_bytes()).for_each(|(byte, other)| *byte = other);
        }
        file.write_all(&piece).context("writing the large file")?;
    }
    Ok(())
}

fn name(number: u64) -> String {
    format!("{number:0NAME$}")
}

/// What one directory with many files costs.
#[derive(Clone, Copy)]
struct Cost {
    /// Microseconds of a processor for each file, here, in the kernel and in memfs. How long it takes says more of what else
    /// the machine does.
    create: f64,
    list: f64,
    remove: f64,
    /// Bytes of memory for each file, its name excluded.
    bytes: f64,
    /// The part of that memory that is kept when the files are gone.
    kept: f64,
}

impl Cost {
    fn all(&self) -> f64 {
        self.create + self.list + self.remove
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "create {:.2}, list {:.2}, remove {:.2}", self.create, self.list, self.remove)
    }
}

/// Makes a directory, makes `files` files in it, lists them, and removes all.
fn round(served: &Served, files: u64) -> Result<Cost> {
    let directory = served.mountpoint().join("directory");
    let (free, before) = (served.free_files()?, served.memory()?);
    fs::create_dir(&directory).context("creating a directory")?;
    let start = served.processor_time()?;
    for number in 0..files {
        File::create(directory.join(name(number))).with_context(|| format!("creating file {number}"))?;
    }
    let create = served.processor_time()? - start;
    let taken = served.memory()?.saturating_sub(before);

    // A directory of few files is listed too quickly for the clock.
    let times = (LISTED / files).max(1);
    let start = served.processor_time()?;
    for _ in 0..times {
        let found = fs::read_dir(&directory).context("listing")?.count();
        ensure!(u64::try_from(found).ok() == Some(files), "{found} files are listed, {files} were made");
    }
    let list = (served.processor_time()? - start) / as_float(times);

    let start = served.processor_time()?;
    for number in 0..files {
        fs::remove_file(directory.join(name(number))).with_context(|| format!("removing file {number}"))?;
    }
    let remove = served.processor_time()? - start;
    fs::remove_dir(&directory).context("removing the directory")?;
    served.wait_for(free)?;
    let kept = served.memory()?.saturating_sub(before);

    let names = files * u64::try_from(NAME).context("the length of a name")?;
    let each = |seconds: f64| seconds * 1e6 / as_float(files);
    Ok(Cost {
        create: each(create),
        list: each(list),
        remove: each(remove),
        bytes: ratio(taken.saturating_sub(names), files),
        kept: ratio(kept, taken),
    })
}

fn ratio(part: u64, whole: u64) -> f64 {
    as_float(part) / as_float(whole)
}

fn as_float(number: u64) -> f64 {
    number as f64
}
