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
/// The last tenth of the files may take so much longer than the second one, each.
const MOST_SLOWER: f64 = 2.0;
/// Files of a tenth, and the length of their names in bytes.
const TENTHS: u64 = 10;
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

    let few = listing(&served, args.files / TENTHS)?;
    let directory = served.mountpoint().join("directory");
    fs::create_dir(&directory).context("creating a directory")?;
    let before = served.memory()?;
    let created = tenths(&served, args.files, |number| {
        File::create(directory.join(name(number))).map(drop).with_context(|| format!("creating file {number}"))
    })?;
    let taken = served.memory()?.saturating_sub(before);
    let names = args.files * u64::try_from(NAME).context("the length of a name")?;
    tell(
        "bytes of memory for an empty file, its name excluded",
        ratio(taken.saturating_sub(names), args.files),
        MOST_PER_FILE,
    );
    tell("creating: time for a file, last tenth to second", slower(&created), MOST_SLOWER);

    let start = served.processor_time()?;
    let found = fs::read_dir(&directory).context("listing")?.count();
    let all = (served.processor_time()? - start) / as_float(args.files);
    ensure!(u64::try_from(found).ok() == Some(args.files), "{found} files are listed, {} were made", args.files);
    tell("listing: time for a file, of all to a tenth of them", all / few, MOST_SLOWER);

    let removed = tenths(&served, args.files, |number| {
        fs::remove_file(directory.join(name(number))).with_context(|| format!("removing file {number}"))
    })?;
    tell("removing: time for a file, last tenth to second", slower(&removed), MOST_SLOWER);
    // The two directories and the files in one of them are still there.
    served.wait_for(files - args.files / TENTHS - 2)?;
    let kept = served.memory()?.saturating_sub(before);
    println!("{:<58} {:>10.3}", "part of the memory for files kept when they are gone", ratio(kept, taken));
    for (what, times) in [("create", &created), ("remove", &removed)] {
        let total: f64 = times.iter().sum();
        println!("{:<58} {total:>10.3} s of a processor", format!("to {what} {} files", args.files));
    }
    println!("{:<58} {:>10.3} s of a processor", format!("to list {} files", args.files), all * as_float(args.files));
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

/// Does something for each file; returns the seconds of a processor that each tenth took, here and in memfs. How long it
/// takes says more of what else the machine does.
fn tenths(served: &Served, files: u64, mut act: impl FnMut(u64) -> Result<()>) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for tenth in 0..TENTHS {
        let start = served.processor_time()?;
        for number in files * tenth / TENTHS..files * (tenth + 1) / TENTHS {
            act(number)?;
        }
        times.push(served.processor_time()? - start);
    }
    Ok(times)
}

/// The seconds of a processor that listing takes for each of so many files.
fn listing(served: &Served, files: u64) -> Result<f64> {
    let directory = served.mountpoint().join("few");
    fs::create_dir(&directory).context("creating a directory")?;
    for number in 0..files {
        File::create(directory.join(name(number))).with_context(|| format!("creating file {number}"))?;
    }
    // Too short to be measured once.
    let start = served.processor_time()?;
    for _ in 0..TENTHS {
        let found = fs::read_dir(&directory).context("listing")?.count();
        ensure!(u64::try_from(found).ok() == Some(files), "{found} files are listed, {files} were made");
    }
    Ok((served.processor_time()? - start) / as_float(files * TENTHS))
}

/// The second tenth is the first that finds everything warm.
fn slower(tenths: &[f64]) -> f64 {
    match (tenths.get(1), tenths.last()) {
        (Some(early), Some(late)) => late / early,
        _ => f64::INFINITY,
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    as_float(part) / as_float(whole)
}

fn as_float(number: u64) -> f64 {
    number as f64
}
