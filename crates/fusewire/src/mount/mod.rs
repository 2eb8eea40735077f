//! Mounts a FUSE filesystem and unmounts it, without a C library: the new mount API, `mount(2)`, the setuid helper
//! `fusermount3`, or a descriptor that somebody else opened.
//!
//! It knows nothing of sessions: what it gives and takes is a descriptor of the FUSE device. It changes neither the
//! environment nor the working directory of the process, so mounts may be made from several threads at once.
//!
//! Mounting has two phases. [`prepare`] checks everything, opens the device and says how the kernel will be asked;
//! [`Prepared::finish`] asks. Between them the caller gives the device to a session:
//!
//! - If [`Prepared::init_is_synchronous`], `finish` returns only when INIT was answered, so another thread must be reading the
//!   device by then. A read before that waits for the mount; so does `poll(2)`, whatever its timeout. An INIT that is
//!   answered with an error makes `finish` fail with [`MountFault::InitRefused`]. An INIT that is never answered makes it wait for good.
//! - Otherwise a read before `finish` returns gives EPERM.

mod abort;
mod device;
mod error;
mod guard;
mod helper;
mod kernel;
mod mountinfo;
mod mountpoint;
mod options;
mod table;
mod watcher;

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::thread::{CapabilitySet, capabilities};

pub(crate) use abort::abort;
pub use error::{MountError, MountFault, UnmountError};
pub use guard::{MountGuard, Unmount};
pub use options::{MountFlag, MountMethod, MountOptions, RootKind};
pub use table::{OptionError, OptionHelp, option_help, split_options};

use mountpoint::{Identity, Mountpoint};
use watcher::Watcher;

/// A mount that is about to be made. Dropping it leaves nothing mounted.
#[derive(Debug)]
pub struct Prepared {
    plan: Plan,
    device: OwnedFd,
    synchronous: bool,
    options: MountOptions,
    /// As it was given, for messages.
    mountpoint: PathBuf,
}

/// What is left to do.
#[derive(Debug)]
enum Plan {
    NewApi {
        context: OwnedFd,
        mountpoint: Mountpoint,
    },
    Mount2 {
        mountpoint: Mountpoint,
    },
    /// The helper hands over the device only after it has mounted; or nothing is to be mounted.
    Done(MountGuard),
}

/// Checks the mountpoint and the options, opens the device and chooses how to mount. With the method
/// [`MountMethod::Fusermount`] this mounts already.
///
/// # Errors
/// [`MountError`], with nothing left mounted.
pub fn prepare(mountpoint: &Path, options: &MountOptions) -> Result<Prepared, MountError> {
    choose(mountpoint, options).map_err(|fault| describe(mountpoint, options, fault))
}

impl Prepared {
    /// The FUSE device of the mount, close-on-exec. The session clones it.
    pub fn device(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    /// Whether [`finish`](Self::finish) returns only when INIT was answered (`FUSE_DEV_IOC_SYNC_INIT`, Linux 6.18).
    pub fn init_is_synchronous(&self) -> bool {
        self.synchronous
    }

    /// How the kernel is asked.
    pub fn method(&self) -> MountMethod {
        match &self.plan {
            Plan::NewApi { .. } => MountMethod::NewApi,
            Plan::Mount2 { .. } => MountMethod::Mount2,
            Plan::Done(guard) => guard.method(),
        }
    }

    /// Mounts.
    ///
    /// # Errors
    /// [`MountError`], with nothing left mounted. A reader of the device then gets ENODEV, unless the kernel refused before
    /// it knew the device; a reader that waits for a mount (synchronous INIT) must then be stopped with a signal.
    pub fn finish(self) -> Result<MountGuard, MountError> {
        let Self { plan, device, synchronous: _, options, mountpoint: given } = self;
        let finished = match plan {
            Plan::Done(guard) => Ok(guard),
            Plan::NewApi { context, mountpoint } => finish_new_api(&context, device, &mountpoint, &options),
            Plan::Mount2 { mountpoint } => finish_mount2(device, &mountpoint, &options),
        };
        finished.map_err(|fault| describe(&given, &options, fault))
    }
}

fn describe(mountpoint: &Path, options: &MountOptions, fault: MountFault) -> MountError {
    MountError { name: error::one_line(options.name()), mountpoint: mountpoint.to_owned(), fault: Box::new(fault) }
}

fn choose(given: &Path, options: &MountOptions) -> Result<Prepared, MountFault> {
    let prepared = |plan, device, synchronous| Prepared {
        plan,
        device,
        synchronous,
        options: options.clone(),
        mountpoint: given.to_owned(),
    };
    if let Some(number) = mountpoint::given_fd(given) {
        let device = device::take_given(number?)?;
        let guard = MountGuard::given(given.to_owned());
        return Ok(prepared(Plan::Done(guard), device, false));
    }

    check_name("fsname", options.source.as_deref())?;
    check_name("subtype", options.subtype.as_deref())?;
    let mountpoint = Mountpoint::resolve(given, options.root)?;
    match choose_method(options)? {
        Chosen::NewApi(context) => {
            let device = device::open(&options.device)?;
            let synchronous = device::make_init_synchronous(device.as_fd());
            kernel::configure(context.as_fd(), device.as_fd(), options)?;
            let plan = Plan::NewApi { context, mountpoint };
            Ok(prepared(plan, device, synchronous))
        }
        Chosen::Mount2 => {
            kernel::check_mount2(options)?;
            let device = device::open(&options.device)?;
            let synchronous = device::make_init_synchronous(device.as_fd());
            Ok(prepared(Plan::Mount2 { mountpoint }, device, synchronous))
        }
        Chosen::Fusermount => {
            let helper = helper::find(options)?;
            let before = Identity::at(mountpoint.path()).ok();
            let device = helper::mount(&helper, &mountpoint, options)?;
            let method = MountMethod::Fusermount;
            let mut guard = guard_for(&device, &mountpoint, method, before, Some(helper))?;
            watch_if_asked(&mut guard, options)?;
            Ok(prepared(Plan::Done(guard), device, false))
        }
    }
}

enum Chosen {
    NewApi(OwnedFd),
    Mount2,
    Fusermount,
}

fn choose_method(options: &MountOptions) -> Result<Chosen, MountFault> {
    const STEP: &str = "opening a filesystem context (fsopen)";
    let forced = options.method;
    match forced {
        Some(MountMethod::Mount2) => return Ok(Chosen::Mount2),
        Some(MountMethod::Fusermount) => return Ok(Chosen::Fusermount),
        Some(MountMethod::GivenFd) => {
            return Err(MountFault::Option {
                option: "method".to_owned(),
                problem: "a given descriptor needs the mountpoint /dev/fd/N".to_owned(),
            });
        }
        Some(MountMethod::NewApi) | None => {}
    }
    match kernel::open_context() {
        Ok(_) if forced.is_none() && !kernel::fits_new_api(options) => Ok(Chosen::Mount2),
        Ok(context) => Ok(Chosen::NewApi(context)),
        // A container's system call filter may forbid what it does not know, and allow mount(2).
        Err(Errno::EPERM | Errno::ENOSYS) if forced.is_none() => {
            Ok(if may_mount() { Chosen::Mount2 } else { Chosen::Fusermount })
        }
        Err(Errno::EPERM) => Err(MountFault::NotPermitted { step: STEP, cause: Errno::EPERM.into() }),
        Err(Errno::ENODEV) => Err(MountFault::NoFuse { step: STEP, cause: Errno::ENODEV.into() }),
        Err(errno) => Err(MountFault::Kernel { step: STEP.to_owned(), cause: errno.into(), log: Vec::new() }),
    }
}

fn may_mount() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

fn finish_new_api(
    context: &OwnedFd,
    device: OwnedFd,
    mountpoint: &Mountpoint,
    options: &MountOptions,
) -> Result<MountGuard, MountFault> {
    kernel::create(context.as_fd())?;
    let (mount, identity) = kernel::detached(context.as_fd(), options)?;
    // Before the mount can be seen, so that no moment is left in which a killed daemon would leave it behind.
    let watcher = options
        .auto_unmount
        .then(|| Watcher::start(mountpoint.path(), identity, None))
        .transpose()
        .map_err(|cause| MountFault::Watcher { cause })?;
    kernel::attach(mount.as_fd(), mountpoint, context.as_fd())?;
    let path = mountpoint.path().to_owned();
    let mut guard = MountGuard::new(path, MountMethod::NewApi, identity, device, None);
    if let Some(watcher) = watcher {
        guard.watched_by(watcher);
    }
    Ok(guard)
}

fn finish_mount2(device: OwnedFd, mountpoint: &Mountpoint, options: &MountOptions) -> Result<MountGuard, MountFault> {
    let before = Identity::at(mountpoint.path()).ok();
    kernel::mount2(device.as_fd(), mountpoint, options).map_err(kernel::mount2_fault)?;
    let mut guard = guard_for(&device, mountpoint, MountMethod::Mount2, before, None)?;
    watch_if_asked(&mut guard, options)?;
    Ok(guard)
}

/// The guard of a mount that was made by path, and so is found by path.
fn guard_for(
    device: &OwnedFd,
    mountpoint: &Mountpoint,
    method: MountMethod,
    before: Option<Identity>,
    helper: Option<PathBuf>,
) -> Result<MountGuard, MountFault> {
    let path = mountpoint.path();
    let identity = Identity::at(path)
        .map_err(|cause| MountFault::NotThere { problem: std::io::Error::from(cause).to_string() })?;
    if Some(identity) == before {
        return Err(MountFault::NotThere { problem: "nothing new is mounted there".to_owned() });
    }
    let device = device::duplicate(device)?;
    Ok(MountGuard::new(path.to_owned(), method, identity, device, helper))
}

fn watch_if_asked(guard: &mut MountGuard, options: &MountOptions) -> Result<(), MountFault> {
    if options.auto_unmount {
        guard.watch().map_err(|cause| MountFault::Watcher { cause })?;
    }
    Ok(())
}

/// A newline would break the lists of mounts that programs read line by line; an empty name breaks their columns.
fn check_name(option: &str, name: Option<&OsStr>) -> Result<(), MountFault> {
    let Some(name) = name else { return Ok(()) };
    let problem = if name.is_empty() {
        "it is empty; give a name or leave the option out"
    } else if name.as_bytes().contains(&b'\n') {
        "it contains a newline, which would corrupt the list of mounts; take the newline out"
    } else if name.as_bytes().contains(&0) {
        "it contains a NUL byte, which the kernel cannot take; take the byte out"
    } else {
        return Ok(());
    };
    Err(MountFault::Option { option: format!("{option}={}", error::one_line(name)), problem: problem.to_owned() })
}
