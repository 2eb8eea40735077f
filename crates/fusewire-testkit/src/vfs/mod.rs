//! A mounted filesystem without a mount: paths, open files and caches on top of the [`Kernel`], so that a test reads like a
//! program.
//!
//! It asks the daemon what Linux asks for the same system call, in the same order; where it differs, the difference is named
//! here. There is no page cache: reads and writes go to the daemon as they come, as with direct I/O. Nobody's permissions are
//! checked, as without the mount option `default_permissions`. Time stands still but for [`Mount::advance`]: an entry with a
//! timeout of a second is believed until a test says that a second has passed.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fusewire_proto::op::Forgotten;
use fusewire_proto::opcode::Enosys;
use fusewire_proto::{Errno, InitFlags, LockOwner, Negotiated, Opcode, Request};

use crate::kernel::{Answer, Caller, Config, Kernel};
use crate::laws::LawBook;
use crate::running::{Connection, Refused, Running};

mod attributes;
mod cache;
mod directory;
mod file;
mod locks;
mod names;
mod walk;

pub use attributes::Change;
pub use directory::{DirEntry, Directory};
pub use file::File;
pub use locks::{Blocked, Range};

use cache::Cache;

/// A mounted filesystem, as one process sees it. Clones are the same process; [`process`](Self::process) makes another.
///
/// When the last clone and the last open file are gone, it is unmounted, and the laws that show at the end are checked.
#[derive(Clone, Debug)]
pub struct Mount {
    inner: Arc<Inner>,
    caller: Caller,
    owner: LockOwner,
}

#[derive(Debug)]
struct Inner {
    kernel: Kernel,
    /// `None` once it was unmounted.
    connection: Mutex<Option<Connection>>,
    cache: Mutex<Cache>,
    locks: locks::Table,
    next_owner: AtomicU64,
}

impl Mount {
    /// Mounts what `daemon` serves on the file descriptor that it is given, in a thread of its own. It has to return when the
    /// connection ends.
    ///
    /// # Errors
    /// The pair of sockets or the thread cannot be made, or the daemon refuses `INIT`.
    pub fn over_socket<R>(daemon: impl FnOnce(OwnedFd) -> R + Send + 'static) -> Result<Self, Refused> {
        Self::new(Running::over_socket(daemon)?, Config::default())
    }

    /// Mounts a daemon that was started.
    ///
    /// # Errors
    /// The daemon refuses `INIT`.
    pub fn new(daemon: Running, config: Config) -> Result<Self, Refused> {
        let connection = daemon.connect(config)?;
        let inner = Inner {
            kernel: connection.kernel().clone(),
            connection: Mutex::new(Some(connection)),
            cache: Mutex::default(),
            locks: locks::Table::default(),
            next_owner: AtomicU64::new(2),
        };
        Ok(Self { inner: Arc::new(inner), caller: Caller::default(), owner: LockOwner(1) })
    }

    /// The same mount as another process sees it, whose requests are sent on behalf of `caller`.
    #[must_use]
    pub fn process(&self, caller: Caller) -> Self {
        Self { inner: Arc::clone(&self.inner), caller, owner: self.new_owner() }
    }

    fn new_owner(&self) -> LockOwner {
        LockOwner(self.inner.next_owner.fetch_add(1, Ordering::Relaxed))
    }

    /// The connection below.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.inner.kernel
    }

    /// What was negotiated.
    #[must_use]
    pub fn negotiated(&self) -> Negotiated {
        self.kernel().negotiated()
    }

    /// Unmounts, whether files are open or not, and waits for the daemon to end. Returns what was checked from the beginning
    /// on, and what was broken.
    pub fn unmount(&self) -> LawBook {
        let connection = self.inner.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        match connection {
            Some(connection) => connection.unmount(),
            None => self.kernel().laws(),
        }
    }

    /// Ends the connection in the middle of everything, as `umount -f` does, and waits for the daemon to end.
    pub fn abort(&self) -> LawBook {
        let connection = self.inner.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        match connection {
            Some(connection) => connection.abort(),
            None => self.kernel().laws(),
        }
    }

    /// Lets time pass: entries and attributes that may be believed no longer are asked for again.
    pub fn advance(&self, time: Duration) {
        self.cache().advance(time);
    }

    /// Forgets every name and node that nobody uses, as the kernel does when memory is short.
    pub fn drop_caches(&self) {
        let forgotten = self.cache().drop_unused();
        self.forget(&forgotten);
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.inner.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, forgotten: &[Forgotten]) {
        self.inner.forget(forgotten);
    }

    fn has(&self, flags: InitFlags) -> bool {
        self.negotiated().has(flags)
    }

    /// Sends a request and waits for the answer, and minds what the kernel remembers of an `ENOSYS`: `EOPNOTSUPP` if the
    /// operation is not supported for good, `ENOSYS` if the caller has another way.
    fn ask<'a>(&self, request: impl Into<Request<'a>>) -> Result<Answer, Errno> {
        let request = request.into();
        let opcode = request.opcode();
        let enosys = opcode.row().map_or(Enosys::Passed, |row| row.enosys);
        let remembered = if enosys == Enosys::Unsupported { Errno::EOPNOTSUPP } else { Errno::ENOSYS };
        let remembers = matches!(enosys, Enosys::Succeeds | Enosys::Unsupported | Enosys::FallsBack);
        if remembers && self.kernel().remembers_enosys(opcode) {
            return Err(remembered);
        }
        let outcome = if changes(opcode) {
            self.cache().begin_change();
            let outcome = self.kernel().call_as(&self.caller, request);
            self.cache().end_change();
            outcome
        } else {
            self.kernel().call_as(&self.caller, request)
        };
        match outcome {
            Err(Errno::ENOSYS) if remembers => {
                self.kernel().remember_enosys(opcode);
                Err(remembered)
            }
            outcome => outcome,
        }
    }

    /// As [`ask`](Self::ask), for operations that count as done when the daemon does not know them.
    fn ask_or_skip<'a>(&self, request: impl Into<Request<'a>>) -> Result<(), Errno> {
        match self.ask(request) {
            Ok(_) | Err(Errno::ENOSYS) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn supports(&self, opcode: Opcode) -> bool {
        !self.kernel().remembers_enosys(opcode)
    }
}

impl Inner {
    fn forget(&self, forgotten: &[Forgotten]) {
        // An error means that the connection is over, and with it all lookups.
        let _ = match forgotten {
            [] => Ok(()),
            [one] => self.kernel.forget(one.node, one.nlookup),
            many => self.kernel.batch_forget(many),
        };
    }
}

/// Whether an operation changes what others see.
fn changes(opcode: Opcode) -> bool {
    matches!(
        opcode,
        Opcode::SETATTR
            | Opcode::SYMLINK
            | Opcode::MKNOD
            | Opcode::MKDIR
            | Opcode::UNLINK
            | Opcode::RMDIR
            | Opcode::RENAME
            | Opcode::RENAME2
            | Opcode::LINK
            | Opcode::CREATE
            | Opcode::OPEN
            | Opcode::WRITE
            | Opcode::SETXATTR
            | Opcode::REMOVEXATTR
            | Opcode::FALLOCATE
            | Opcode::COPY_FILE_RANGE
            | Opcode::COPY_FILE_RANGE_64
    )
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
