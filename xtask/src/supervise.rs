//! Runs a task in a process of its own and sees to it that nothing is left of it, whether it ends by itself or somebody
//! wants it to end: programs that it started, in the background too, and filesystems mounted below its temporary directory.
//! It does not know what the task does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::signals::Signals;

/// Tells the task's process that it is one.
const INSIDE: &str = "FUSEWIRE_XTASK_INSIDE";
/// How long programs have to end by themselves once they were asked to; a daemon waits for those who use its mount.
const GRACE: Duration = Duration::from_secs(10);
/// How often it is looked whether they have ended, if no signal tells.
const PAUSE: Duration = Duration::from_millis(50);

/// Whether this is the task's own process.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this program once more with the same arguments, as the task. Gives its exit status.
pub(crate) fn run() -> Result<ExitCode> {
    let signals = Signals::hold_with_ends()?;
    // What goes into the background becomes a child of this process.
    set_child_subreaper(true).context("becoming the parent of what is left behind")?;
    // A short name: the path of a socket may have 108 bytes.
    let directory = tempfile::Builder::new().prefix("fw-").rand_bytes(4).tempdir();
    let directory = directory.context("creating a directory for temporary files")?;
    let place = directory.path().canonicalize().context("finding the directory for temporary files")?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o1777))
        .with_context(|| format!("opening {} to all", place.display()))?;
    let child = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .env("TMPDIR", &place)
        .spawn()
        .context("starting the task")?;
    let task = Pid::from_raw(i32::try_from(child.id()).context("reading a process id")?);
    let ended = follow(task, &signals);
    let left = end_descendants();
    unmount_below(&place);
    // Where this fails, somebody else uses what is in it.
    let _ = directory.close();
    let (status, interrupted) = ended?;
    for (pid, name) in left.iter().filter(|_| interrupted.is_none()) {
        eprintln!("warning: process {pid} ({name}) was left behind, and ended");
    }
    match (status, interrupted) {
        // A task that ends by its own care says so itself.
        (Some(WaitStatus::Exited(..)), Some(_)) => Ok(ExitCode::FAILURE),
        (_, Some(signal)) => bail!("interrupted by {signal}: what was started is ended"),
        (Some(WaitStatus::Exited(_, code)), None) => Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)),
        (status, None) => bail!("the task ended: {status:?}"),
    }
}

/// Waits for the task's end; when somebody wants that, it is asked to end, and its time is limited.
fn follow(task: Pid, signals: &Signals) -> Result<(Option<WaitStatus>, Option<Signal>)> {
    let mut interrupted = None;
    let mut end = None;
    loop {
        if let Some(status) = reap(task)? {
            // Ctrl-C is for the task as well, which may have ended of it by now.
            while let Some(signal) = signals.heard()? {
                interrupted = interrupted.or(Some(signal).filter(asks_to_end));
            }
            return Ok((Some(status), interrupted));
        }
        if end.is_some_and(|end| Instant::now() > end) {
            return Ok((None, interrupted));
        }
        let heard = signals.wait(PAUSE)?.filter(asks_to_end);
        if let (Some(signal), None) = (heard, interrupted) {
            interrupted = Some(signal);
            end = Some(Instant::now() + GRACE);
            tell(&descendants(), Signal::SIGTERM);
        }
    }
}

fn asks_to_end(signal: &Signal) -> bool {
    *signal != Signal::SIGCHLD
}

/// Takes the exit status of every child that has ended; gives that of the task, if it is among them.
fn reap(task: Pid) -> Result<Option<WaitStatus>> {
    let mut found = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(found),
            Ok(status) if status.pid() == Some(task) => found = Some(status),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("waiting for the task"),
        }
    }
}

/// Ends whatever still runs: asks first, then kills. Gives what there was.
fn end_descendants() -> BTreeMap<i32, String> {
    let left = descendants();
    let start = Instant::now();
    let mut signal = Signal::SIGTERM;
    tell(&left, signal);
    // Nothing can be done about a process that does not even end when it is killed.
    while start.elapsed() < 2 * GRACE {
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status != WaitStatus::StillAlive) {}
        let still = descendants();
        if still.is_empty() {
            break;
        }
        if signal == Signal::SIGTERM && start.elapsed() > GRACE {
            signal = Signal::SIGKILL;
        }
        if signal == Signal::SIGKILL {
            tell(&still, signal);
        }
        std::thread::sleep(PAUSE);
    }
    left
}

fn tell(processes: &BTreeMap<i32, String>, signal: Signal) {
    for pid in processes.keys() {
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(*pid), signal);
    }
}

/// The processes below this one, with their names.
fn descendants() -> BTreeMap<i32, String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let (name, parent) = name_and_parent(&fs::read_to_string(entry.path().join("stat")).ok()?)?;
        Some((pid, (name, parent)))
    });
    let all: BTreeMap<i32, (String, i32)> = stats.collect();
    let this = Pid::this().as_raw();
    let is_below = |pid: &i32| {
        let parents = std::iter::successors(Some(*pid), |pid| all.get(pid).map(|(_, parent)| *parent));
        parents.skip(1).take(all.len()).any(|parent| parent == this)
    };
    all.iter().filter(|(pid, _)| is_below(pid)).map(|(pid, (name, _))| (*pid, name.clone())).collect()
}

/// Of a line `PID (NAME) STATE PARENT ...`; the name may hold anything.
fn name_and_parent(stat: &str) -> Option<(String, i32)> {
    let (head, tail) = stat.rsplit_once(") ")?;
    let parent = tail.split(' ').nth(1)?.parse().ok()?;
    Some((head.split_once('(')?.1.to_owned(), parent))
}

/// Takes away what is mounted in a directory of ours, the last first.
fn unmount_below(directory: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for place in mounts_below(&table, directory).iter().rev() {
        if umount2(place, MntFlags::MNT_DETACH).is_err() {
            // An ordinary user has mounted through the helper.
            let _ = Command::new("fusermount3").args(["-q", "-u", "-z"]).arg(place).status();
        }
    }
}

fn mounts_below(table: &str, directory: &Path) -> Vec<PathBuf> {
    let places = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    places.filter(|place| place.starts_with(directory)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_in_the_directory_are_ours() {
        let table = "1 2 0:3 / / rw - ext4 /dev/vda rw\n4 1 0:5 / /tmp/fw-ab/m rw - fuse x rw\n\
                     6 1 0:7 / /tmp/fw-abc rw - fuse x rw\n8 4 0:9 / /tmp/fw-ab/m/n rw - tmpfs x rw\n";
        let places = ["/tmp/fw-ab/m", "/tmp/fw-ab/m/n"].map(PathBuf::from);
        assert_eq!(mounts_below(table, Path::new("/tmp/fw-ab")), places);
    }

    #[test]
    fn name_of_a_process_may_hold_anything() {
        assert_eq!(name_and_parent("7 (a) b (c)) S 5 7 7"), Some(("a) b (c)".to_owned(), 5)));
        assert_eq!(name_and_parent("7 (a"), None);
    }
}
