//! Mounts by system calls: the new mount API, and `mount(2)` for kernels and cases that it does not serve.
//!
//! Who may do so, and what to do if not, is decided by the caller.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, move_mount,
};

use super::error::MountFault;
use super::mountpoint::{Identity, Mountpoint};
use super::options::{FLAGS, MountOptions};

/// What `fsconfig` takes at most as a string, in bytes; `fs/fsopen.c` copies 256 with the NUL.
const LONGEST_STRING: usize = 255;

/// Whether the new API can express these options; `mount(2)` takes a page for each string.
pub(super) fn fits_new_api(options: &MountOptions) -> bool {
    let fits = |text: &OsStr| text.len() <= LONGEST_STRING;
    fits(options.source_or_default()) && options.subtype.as_deref().is_none_or(fits)
}

/// Opens a filesystem context. EPERM: the caller may not mount. ENOSYS: the kernel has no new mount API.
pub(super) fn open_context() -> Result<OwnedFd, Errno> {
    fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).map_err(errno)
}

/// Tells the context everything about the mount; nothing happens yet.
pub(super) fn configure(
    context: BorrowedFd<'_>,
    device: BorrowedFd<'_>,
    options: &MountOptions,
) -> Result<(), MountFault> {
    let set = |key: &OsStr, value: Option<&OsStr>| {
        let done = match value {
            Some(value) => fsconfig_set_string(context, key, value),
            None => fsconfig_set_flag(context, key),
        };
        done.map_err(|cause| {
            let key = super::error::one_line(key);
            fault(format!("setting mount option {key}"), errno(cause), context)
        })
    };
    set(OsStr::new("source"), Some(options.source_or_default()))?;
    if let Some(subtype) = &options.subtype {
        set(OsStr::new("subtype"), Some(subtype))?;
    }
    for (key, value) in data(device, options) {
        set(&key, value.as_deref())?;
    }
    for row in FLAGS.iter().filter(|row| options.has(row.flag)) {
        if let Some(key) = row.key {
            set(OsStr::new(key), None)?;
        }
    }
    Ok(())
}

/// Creates the filesystem. With a synchronous INIT this waits for its answer.
pub(super) fn create(context: BorrowedFd<'_>) -> Result<(), MountFault> {
    fsconfig_create(context).map_err(|cause| match errno(cause) {
        Errno::ENOTCONN => MountFault::InitRefused { step: "creating the mount", cause: cause.into() },
        cause => fault("creating the mount".to_owned(), cause, context),
    })
}

/// Makes the created filesystem a mount that is nowhere yet.
pub(super) fn detached(context: BorrowedFd<'_>, options: &MountOptions) -> Result<(OwnedFd, Identity), MountFault> {
    let attributes =
        FLAGS.iter().filter(|row| options.has(row.flag)).fold(MountAttrFlags::empty(), |sum, row| sum | row.attr);
    let mount = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|cause| fault("making the mount (fsmount)".to_owned(), errno(cause), context))?;
    let identity =
        Identity::of(&mount).map_err(|cause| fault("looking at the new mount".to_owned(), errno(cause), context))?;
    Ok((mount, identity))
}

/// Puts a detached mount on its mountpoint.
pub(super) fn attach(
    mount: BorrowedFd<'_>,
    mountpoint: &Mountpoint,
    context: BorrowedFd<'_>,
) -> Result<(), MountFault> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", mountpoint.fd(), c"", flags).map_err(|cause| {
        let step = "putting the mount on its mountpoint (move_mount)".to_owned();
        fault(step, errno(cause), context)
    })
}

/// Mounts with `mount(2)`. With a synchronous INIT this waits for its answer.
pub(super) fn mount2(device: BorrowedFd<'_>, mountpoint: &Mountpoint, options: &MountOptions) -> Result<(), Errno> {
    let fstype = match &options.subtype {
        Some(subtype) => {
            let mut fstype = OsString::from("fuse.");
            fstype.push(subtype);
            fstype
        }
        None => OsString::from("fuse"),
    };
    nix::mount::mount(
        Some(options.source_or_default()),
        mountpoint.path(),
        Some(fstype.as_os_str()),
        options.flags,
        Some(join(&data(device, options)).as_os_str()),
    )
}

/// Whether `mount(2)` can express the options: its last argument is one string, in which a comma has no escape.
pub(super) fn check_mount2(options: &MountOptions) -> Result<(), MountFault> {
    for (name, value) in &options.kernel_options {
        if has_comma(name) || value.as_deref().is_some_and(has_comma) {
            return Err(MountFault::Option {
                option: super::error::one_line(name),
                problem: "mount(2) cannot express a comma in it; leave the comma out".to_owned(),
            });
        }
    }
    Ok(())
}

/// The failure of `mount(2)`.
pub(super) fn mount2_fault(cause: Errno) -> MountFault {
    const STEP: &str = "calling mount(2)";
    match cause {
        Errno::EPERM => MountFault::NotPermitted { step: STEP, cause: cause.into() },
        Errno::ENOTCONN => MountFault::InitRefused { step: STEP, cause: cause.into() },
        Errno::ENODEV => MountFault::NoFuse { step: STEP, cause: cause.into() },
        _ => MountFault::Kernel { step: STEP.to_owned(), cause: cause.into(), log: Vec::new() },
    }
}

/// The options that FUSE itself reads; `fs/fuse/inode.c fuse_fs_parameters`.
fn data(device: BorrowedFd<'_>, options: &MountOptions) -> Vec<(OsString, Option<OsString>)> {
    let mut data: Vec<(OsString, Option<OsString>)> = Vec::new();
    let mut valued = |key: &str, value: String| data.push((key.into(), Some(value.into())));
    valued("fd", device.as_raw_fd().to_string());
    valued("rootmode", options.root.rootmode().to_owned());
    valued("user_id", geteuid().to_string());
    valued("group_id", getegid().to_string());
    if let Some(bytes) = options.max_read {
        valued("max_read", bytes.to_string());
    }
    if options.default_permissions {
        data.push(("default_permissions".into(), None));
    }
    if options.allow_other {
        data.push(("allow_other".into(), None));
    }
    data.extend(options.kernel_options.iter().cloned());
    data
}

fn join(data: &[(OsString, Option<OsString>)]) -> OsString {
    let mut joined = OsString::new();
    for (key, value) in data {
        if !joined.is_empty() {
            joined.push(",");
        }
        joined.push(key);
        if let Some(value) = value {
            joined.push("=");
            joined.push(value);
        }
    }
    joined
}

fn has_comma(text: &OsStr) -> bool {
    text.as_bytes().contains(&b',')
}

fn fault(step: String, cause: Errno, context: BorrowedFd<'_>) -> MountFault {
    MountFault::Kernel { step, cause: cause.into(), log: log(context) }
}

/// The kernel's own words: each read of the context gives one message, `e fuse: Bad value for 'fd'`, until ENODATA.
fn log(context: BorrowedFd<'_>) -> Vec<String> {
    let mut messages = Vec::new();
    let mut buffer = [0_u8; 1024];
    while messages.len() < 16 {
        let Ok(length) = nix::unistd::read(context.as_fd(), &mut buffer) else {
            break;
        };
        let message = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        let message = message.trim();
        if message.is_empty() {
            break;
        }
        // The first letter is the level: e, w or i.
        let words = message.split_once(' ').filter(|(level, _)| level.len() == 1).map_or(message, |(_, words)| words);
        messages.push(words.to_owned());
    }
    messages
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
