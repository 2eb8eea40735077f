//! Power cuts: writes files through a mount over ext4, reports each one once fsync has returned, until the host takes the
//! power away; after the next boot it looks whether what was reported is there.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use seccompiler::{SeccompAction, SeccompFilter, apply_filter};

use crate::report::Report;

/// The disk of this boot, if it has one.
pub(crate) const DISK: &str = "/dev/vda";
/// Where the disk is mounted.
const BELOW: &str = "/data";
/// Where the filesystem under test is mounted.
const ABOVE: &str = "/mnt";
/// How long the filesystem may take to mount itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// Mounts the disk, which replays its journal. A second call does nothing.
fn mount_disk() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
    if mounts.lines().any(|line| line.starts_with(DISK)) {
        return Ok(());
    }
    fs::create_dir_all(BELOW).with_context(|| format!("creating {BELOW}"))?;
    mount(Some(DISK), BELOW, Some("ext4"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("mounting {DISK} on {BELOW}"))
}

fn directory(root: &str, round: u32) -> PathBuf {
    Path::new(root).join(format!("round-{round}"))
}

/// What the file of this number holds: from one byte to 64 KiB, made from its number.
fn content(round: u32, number: u32) -> Vec<u8> {
    let seed = u64::from(round) << 32 | u64::from(number);
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let length = usize::try_from(mixed >> 48).unwrap_or_default() + 1;
    mixed.to_le_bytes().into_iter().cycle().take(length).collect()
}

/// Looks for the files of a round that were reported as synced, and tells how many are lost.
pub(crate) fn check(round: u32, files: u32, report: &mut Report) {
    if let Err(error) = mount_disk() {
        report.send("error", &[&format!("{error:#}")]);
        return;
    }
    let lost: Vec<String> =
        (0..files).filter_map(|number| fault(round, number).err()).map(|e| format!("{e:#}")).collect();
    let first = lost.first().cloned().unwrap_or_default();
    report.send("checked", &[&round, &lost.len(), &first]);
}

fn fault(round: u32, number: u32) -> Result<()> {
    let path = directory(BELOW, round).join(number.to_string());
    let found = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let expected = content(round, number);
    ensure!(found.len() == expected.len(), "{} has {} of {} bytes", path.display(), found.len(), expected.len());
    ensure!(found == expected, "{} has the wrong bytes", path.display());
    Ok(())
}

/// Writes until the guest is killed, or the disk is full.
pub(crate) fn write_until_the_end(by: &str, round: u32, fsync_ignored: bool, report: &mut Report) -> Result<()> {
    mount_disk()?;
    let root = mount_filesystem(by, fsync_ignored)?;
    let directory = directory(root, round);
    fs::create_dir(&directory).with_context(|| format!("creating {}", directory.display()))?;
    File::open(root)?.sync_all().with_context(|| format!("syncing {root}"))?;
    let open_directory = File::open(&directory).with_context(|| format!("opening {}", directory.display()))?;
    for number in 0.. {
        let path = directory.join(number.to_string());
        let mut file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        file.write_all(&content(round, number)).with_context(|| format!("writing {}", path.display()))?;
        file.sync_all().with_context(|| format!("syncing {}", path.display()))?;
        open_directory.sync_all().with_context(|| format!("syncing {}", directory.display()))?;
        report.send("synced", &[&round, &number]);
    }
    Ok(())
}

/// Starts the filesystem's program, which goes into the background once it is mounted.
fn mount_filesystem(program: &str, fsync_ignored: bool) -> Result<&'static str> {
    fs::create_dir_all(ABOVE).with_context(|| format!("creating {ABOVE}"))?;
    let path = format!("/usr/bin/{program}");
    let mut command = if fsync_ignored {
        let mut command = Command::new("/proc/self/exe");
        command.args(["fsync-ignored", &path]);
        command
    } else {
        Command::new(&path)
    };
    command.args([BELOW, ABOVE, "-f"]).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    let mut daemon = command.spawn().with_context(|| format!("starting {path}"))?;
    wait_until_mounted(&mut daemon).with_context(|| format!("{program} {BELOW} {ABOVE} -f"))?;
    Ok(ABOVE)
}

/// Waits until something is mounted; the kernel tells when the list of mounts changes.
fn wait_until_mounted(daemon: &mut Child) -> Result<()> {
    let mut list = File::open("/proc/self/mounts").context("opening /proc/self/mounts")?;
    let end = Instant::now() + PATIENCE;
    loop {
        let mut mounts = String::new();
        list.rewind().context("reading /proc/self/mounts")?;
        list.read_to_string(&mut mounts).context("reading /proc/self/mounts")?;
        if mounts.lines().any(|line| line.split(' ').nth(1) == Some(ABOVE)) {
            return Ok(());
        }
        if let Some(status) = daemon.try_wait().context("waiting for a daemon")? {
            bail!("it ended with {status} and mounted nothing");
        }
        ensure!(Instant::now() < end, "it mounted nothing within {} s", PATIENCE.as_secs());
        let mut asked = [PollFd::new(list.as_fd(), PollFlags::POLLPRI)];
        poll(&mut asked, PollTimeout::from(100_u8)).context("waiting for a mount")?;
    }
}

/// Becomes a program for which everything that syncs succeeds and does nothing: what must lose data.
pub(crate) fn without_fsync(program: &[&str]) -> std::process::ExitCode {
    let error = match forbid_syncing().and_then(|()| {
        let (name, arguments) = program.split_first().context("a program is needed")?;
        Err(Command::new(name).args(arguments).exec()).with_context(|| format!("starting {name}"))
    }) {
        Ok(()) => return std::process::ExitCode::SUCCESS,
        Err(error) => error,
    };
    eprintln!("error: {error:#}");
    std::process::ExitCode::FAILURE
}

fn forbid_syncing() -> Result<()> {
    let calls = [
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_sync,
        libc::SYS_syncfs,
        libc::SYS_sync_file_range,
        libc::SYS_msync,
    ];
    let rules = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().context("choosing a filter for this architecture")?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(0), arch)
        .context("making a filter of system calls")?;
    let program: seccompiler::BpfProgram = filter.try_into().context("making a filter of system calls")?;
    apply_filter(&program).context("installing a filter of system calls")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_differ_and_are_of_many_lengths() {
        let lengths: std::collections::BTreeSet<_> = (0..100).map(|number| content(1, number).len()).collect();
        assert!(lengths.len() > 90 && lengths.iter().all(|length| (1..=65_536).contains(length)), "{lengths:?}");
        assert_eq!(content(3, 4), content(3, 4));
    }
}
