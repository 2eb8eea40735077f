//! What a case leaves behind in the guest: FUSE mounts and processes. Finding some fails the case; they are cleared away
//! so that the next case begins on clean ground.

use std::fs;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process;

/// How long processes have to end by themselves once their case has ended.
const GRACE: Duration = Duration::from_secs(5);

/// Clears everything away and tells what there was.
pub(crate) fn clear() -> Vec<String> {
    let mut found: Vec<String> = fuse_mounts().into_iter().map(|place| format!("a mount on {place}")).collect();
    let end = Instant::now() + GRACE;
    loop {
        process::reap();
        let processes = processes();
        if processes.is_empty() {
            break;
        }
        if Instant::now() > end {
            found.extend(processes.into_iter().map(|(pid, name)| format!("process {pid} ({name})")));
            abort_connections();
            let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    if !found.is_empty() {
        abort_connections();
        for place in fuse_mounts() {
            let _ = umount2(place.as_str(), MntFlags::MNT_DETACH);
        }
        process::reap();
    }
    found
}

/// Where FUSE filesystems are mounted in this namespace.
pub(crate) fn fuse_mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (place, kind) = (fields.next()?, fields.next()?);
            (kind == "fuse" || kind.starts_with("fuse.")).then(|| place.to_owned())
        })
        .collect()
}

/// Ends every FUSE connection, so that whoever waits for one gets an error.
pub(crate) fn abort_connections() {
    for connection in fs::read_dir("/sys/fs/fuse/connections").into_iter().flatten().flatten() {
        let _ = fs::write(connection.path().join("abort"), "1");
    }
}

/// Every process but this one and the kernel's own threads.
fn processes() -> Vec<(String, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name != "1" && name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (head, tail) = stat.rsplit_once(") ")?;
            let fields: Vec<&str> = tail.split(' ').collect();
            // State, parent: the kernel's threads descend from process 2; zombies are reaped in a moment.
            let kernel = fields.get(1) == Some(&"2") || pid == "2";
            let name = head.split_once('(')?.1.to_owned();
            (!kernel).then_some((pid, name))
        })
        .collect()
}
