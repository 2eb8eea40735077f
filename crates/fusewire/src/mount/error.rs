//! What can go wrong in mounting and unmounting, each said in one line: the step, the object, the cause, what to do.
//!
//! Deciding what went wrong is done where it happens; nothing here looks at message text.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Mounting failed; nothing is left mounted.
#[derive(Debug, Error)]
#[error("mounting {name} on {}: {fault}", one_line(.mountpoint))]
pub struct MountError {
    pub(super) name: String,
    pub(super) mountpoint: PathBuf,
    pub(super) fault: Box<MountFault>,
}

impl MountError {
    /// What went wrong.
    pub fn fault(&self) -> &MountFault {
        &self.fault
    }

    /// The mountpoint as it was given.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// The operating system's error, where one was the cause.
    pub fn os_error(&self) -> Option<&io::Error> {
        match &*self.fault {
            MountFault::NoMountpoint { cause }
            | MountFault::Mountpoint { cause }
            | MountFault::DeadMount { cause, .. }
            | MountFault::NoDevice { cause, .. }
            | MountFault::DeviceForbidden { cause, .. }
            | MountFault::Device { cause, .. }
            | MountFault::NoFuse { cause, .. }
            | MountFault::NotPermitted { cause, .. }
            | MountFault::InitRefused { cause, .. }
            | MountFault::Kernel { cause, .. }
            | MountFault::HelperStart { cause, .. }
            | MountFault::Watcher { cause } => Some(cause),
            _ => None,
        }
    }
}

/// What went wrong in mounting.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MountFault {
    /// There is nothing at the mountpoint.
    #[error("opening the mountpoint: {cause}; create it first, as with mkdir -p")]
    NoMountpoint {
        /// What opening it said.
        cause: io::Error,
    },
    /// The mountpoint cannot be reached.
    #[error("opening the mountpoint: {cause}; check the path and the permissions of its directories")]
    Mountpoint {
        /// What opening it said.
        cause: io::Error,
    },
    /// The mountpoint has another type than the filesystem's root.
    #[error(
        "checking the mountpoint: it is {found}, and the filesystem's root is {wanted}; give {wanted} as the mountpoint"
    )]
    WrongType {
        /// What the mountpoint is.
        found: &'static str,
        /// What the root is.
        wanted: &'static str,
    },
    /// The mountpoint lies below a FUSE mount whose daemon is gone.
    #[error(
        "opening the mountpoint: {cause}: the daemon behind the mount at {} is gone; unmount that first: fusermount3 -u {}",
        one_line(.dead), one_line(.dead)
    )]
    DeadMount {
        /// The mount whose daemon is gone.
        dead: PathBuf,
        /// What opening the mountpoint said.
        cause: io::Error,
    },
    /// The mountpoint is the root of a FUSE mount, alive or left behind by a dead daemon.
    #[error(
        "checking the mountpoint: {} (type {}) is mounted there already; unmount it first: fusermount3 -u {}",
        one_line(.source_name), one_line(.fstype), one_line(.mountpoint)
    )]
    AlreadyMounted {
        /// What is mounted there.
        source_name: std::ffi::OsString,
        /// Its filesystem type.
        fstype: std::ffi::OsString,
        /// The mountpoint's canonical path.
        mountpoint: PathBuf,
    },
    /// The mountpoint `/dev/fd/N` names nothing that speaks the FUSE protocol.
    #[error(
        "taking the given file descriptor {fd}: {problem}; whoever starts this program must open /dev/fuse or a socket as {fd}"
    )]
    GivenFd {
        /// The number in the path.
        fd: i32,
        /// What is wrong with it.
        problem: String,
    },
    /// An option cannot be honoured.
    #[error("checking option {option}: {problem}")]
    Option {
        /// The option's name.
        option: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The FUSE device does not exist.
    #[error("opening {}: {cause}; load the kernel module with modprobe fuse, or in a container pass the device in", one_line(.device))]
    NoDevice {
        /// The device.
        device: PathBuf,
        /// What opening it said.
        cause: io::Error,
    },
    /// The FUSE device may not be opened.
    #[error(
        "opening {}: {cause}: it has mode {mode:04o} and group {group}; have root run chmod 0666 {}, or add this user to that group",
        one_line(.device), one_line(.device)
    )]
    DeviceForbidden {
        /// The device.
        device: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its group id.
        group: u32,
        /// What opening it said.
        cause: io::Error,
    },
    /// The FUSE device cannot be opened for another reason.
    #[error("opening {}: {cause}; it should be the character device 10:229", one_line(.device))]
    Device {
        /// The device.
        device: PathBuf,
        /// What opening it said.
        cause: io::Error,
    },
    /// The kernel does not know the filesystem type.
    #[error("{step}: {cause}: this kernel has no FUSE; load the module with modprobe fuse")]
    NoFuse {
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The caller may not mount by the method that was asked for.
    #[error("{step}: {cause}; run as root or in a user namespace (unshare -Urm), or let the fusermount3 helper mount")]
    NotPermitted {
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The session refused INIT, or ended before it answered. What was wrong, it knows.
    #[error("{step}: {cause}: the session refused INIT or ended before answering it; see its own message")]
    InitRefused {
        /// What was being done.
        step: &'static str,
        /// What the kernel said: ENOTCONN, whatever errno INIT was answered with.
        cause: io::Error,
    },
    /// The kernel refused for another reason.
    #[error("{step}: {cause}{}", kernel_said(.log))]
    Kernel {
        /// What was being done.
        step: String,
        /// What the kernel said.
        cause: io::Error,
        /// The kernel's own words, as from the filesystem context; may be empty.
        log: Vec<String>,
    },
    /// Mounting takes privilege, and there is no helper that has it.
    #[error(
        "looking for fusermount3: not found {searched}; install the package fuse3, run as root, or work in a shell of unshare -Urm"
    )]
    NoHelper {
        /// Where it was looked for.
        searched: String,
    },
    /// The helper could not be started.
    #[error("starting {}: {cause}; reinstall the package fuse3", one_line(.helper))]
    HelperStart {
        /// The helper.
        helper: PathBuf,
        /// What starting it said.
        cause: io::Error,
    },
    /// The helper did not mount.
    #[error("running {}: {outcome}{}{advice}", one_line(.helper), helper_said(.said))]
    Helper {
        /// The helper.
        helper: PathBuf,
        /// How it ended.
        outcome: String,
        /// What it wrote to its standard error.
        said: String,
        /// What to do, where that is known; else empty.
        advice: String,
    },
    /// An ordinary user asked for `allow_other`, and the administrator has not allowed that.
    #[error(
        "running {} with option allow_other: {} has no line user_allow_other; have root add it, or leave allow_other out",
        one_line(.helper), one_line(.config)
    )]
    AllowOtherForbidden {
        /// The helper.
        helper: PathBuf,
        /// The configuration that was read.
        config: PathBuf,
    },
    /// The mount was made and is not at its path.
    #[error("looking at the new mount: {problem}; mount again")]
    NotThere {
        /// What is there instead.
        problem: String,
    },
    /// The process for `auto_unmount` could not be started.
    #[error("starting the auto_unmount watcher: {cause}; free some processes or leave auto_unmount out")]
    Watcher {
        /// What starting it said.
        cause: io::Error,
    },
}

/// Unmounting failed; the mount is still there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UnmountError {
    /// Something still uses the mount.
    #[error("unmounting {}: {cause}; close what uses it, or unmount lazily", one_line(.mountpoint))]
    Busy {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Something else is mounted on top; it was left alone.
    #[error("unmounting {}: {} is mounted over it; unmount that first", one_line(.mountpoint), one_line(.over))]
    Covered {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// The source of the mount on top.
        over: std::ffi::OsString,
    },
    /// It takes privilege, and there is no helper that has it.
    #[error("unmounting {}: {cause}, and there is no fusermount3; install the package fuse3", one_line(.mountpoint))]
    NoHelper {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The helper failed, most often because something still uses the mount.
    #[error("unmounting {}: running {}: {outcome}{}; close what uses it, or unmount lazily",
        one_line(.mountpoint), one_line(.helper), helper_said(.said))]
    Helper {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// The helper.
        helper: PathBuf,
        /// How it ended.
        outcome: String,
        /// What it wrote to its standard error.
        said: String,
    },
    /// The kernel refused for another reason.
    #[error("unmounting {}: {cause}", one_line(.mountpoint))]
    Kernel {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
}

/// Text from outside, fit for a one-line message: control characters are escaped.
pub(super) fn one_line(text: impl AsRef<OsStr>) -> String {
    let text = text.as_ref().to_string_lossy();
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            // Writing to a String cannot fail.
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

fn kernel_said(log: &[String]) -> String {
    match log {
        [] => String::new(),
        log => format!(": the kernel says: {}", one_line(log.join("; "))),
    }
}

fn helper_said(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.as_slice() {
        [] => String::new(),
        lines => format!(": {}", one_line(lines.join("; "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_in_a_path_stays_one_line() {
        let error = MountError {
            name: one_line("a\nb"),
            mountpoint: "/mnt/x\ny".into(),
            fault: Box::new(MountFault::Helper {
                helper: "/usr/bin/fusermount3".into(),
                outcome: "exit status: 1".into(),
                said: "fusermount3: one\n\nfusermount3: two\n".into(),
                advice: String::new(),
            }),
        };
        assert_eq!(
            error.to_string(),
            "mounting a\\nb on /mnt/x\\ny: running /usr/bin/fusermount3: exit status: 1: fusermount3: one; fusermount3: two"
        );
    }
}
