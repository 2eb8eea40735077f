//! A filesystem that is mounted and served: where mount and session, which do not know each other, are put together.
//!
//! How mounting is done is in `mount`, how requests are served in `session`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::handler::Handler;
use crate::mount::{MountError, MountGuard, MountMethod, MountOptions, Unmount, UnmountError, abort, prepare};
use crate::notifier::Notifier;
use crate::session::{Origin, Running, Session, SessionConfig, SessionEnd, SessionError, Start, choose};
use crate::transport::Device;

/// Why a filesystem could not be mounted, served or unmounted. One line says which step failed, on what, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Mounting failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// Unmounting failed.
    #[error(transparent)]
    Unmount(#[from] UnmountError),
    /// The session came to nothing, or to a bad end.
    #[error("serving {name} on {mountpoint}: {source}")]
    Session {
        /// What is served.
        name: String,
        /// Where.
        mountpoint: String,
        /// Why.
        source: SessionError,
    },
}

/// Mounts `filesystem` on `mountpoint` and serves it in threads of its own. When this returns, the mount is ready.
///
/// # Errors
/// Nothing is mounted then, and no thread is left.
pub fn mount<H: Handler + 'static>(
    filesystem: H,
    mountpoint: &Path,
    options: &MountOptions,
    config: SessionConfig,
) -> Result<Mounted, Error> {
    let name = options.name().display().to_string();
    let session_error =
        |source| Error::Session { name: name.clone(), mountpoint: mountpoint.display().to_string(), source };
    // Before anything is mounted, as a helper mounts in the first step.
    let chosen = choose(config, filesystem.manner()).map_err(session_error)?;
    let prepared = prepare(mountpoint, options)?;
    let origin = if prepared.method() == MountMethod::GivenFd { Origin::Given } else { Origin::Ours };
    let chosen = chosen.with_device(config.channel, origin);
    let copy = || prepared.device().try_clone_to_owned().map_err(|error| session_error(SessionError::Thread(error)));
    let (device, watched) = (copy()?, copy()?);
    let synchronous = prepared.init_is_synchronous();
    let (finished, outcome) = channel();
    let session = Session::over_chosen(Device::from(device), filesystem, config, chosen).map_err(session_error)?;
    let mut running = session
        .spawn_after(move || if synchronous { wait_connected(&watched, &outcome) } else { wait_mounted(&outcome) })
        .map_err(session_error)?;
    let guard = prepared.finish();
    // Nobody listens any more if the connection was up before mounting had finished.
    let _ = finished.send(if guard.is_ok() { Start::Now } else { Start::Never });
    let guard = match guard {
        Ok(guard) => guard,
        // A refused INIT looks to the mounter like any other failure; the session knows why.
        Err(error) => {
            return Err(match running.wait() {
                Err(SessionError::Closed) | Ok(()) => error.into(),
                Err(reason) => session_error(reason),
            });
        }
    };
    let notifier = running.wait_open().map_err(session_error)?;
    tracing::debug!(mountpoint = %guard.mountpoint().display(), method = ?guard.method(), "mounted");
    Ok(Mounted { name, guard, running, notifier, given_up: false })
}

/// Waits until mounting is done.
fn wait_mounted(outcome: &Receiver<Start>) -> Start {
    outcome.recv().unwrap_or(Start::Never)
}

/// Waits until the device belongs to a mount that waits for `INIT` to be answered, or mounting has failed.
///
/// Reading earlier would wait in the kernel for a mount that may never come, and nothing but a signal could end that.
fn wait_connected(device: &OwnedFd, outcome: &Receiver<Start>) -> Start {
    loop {
        match outcome.recv_timeout(Duration::from_micros(50)) {
            Ok(start) => return start,
            Err(RecvTimeoutError::Disconnected) => return Start::Never,
            Err(RecvTimeoutError::Timeout) if is_connected(device.as_fd()) => return Start::Now,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Whether the device belongs to a connection (`fs/fuse/dev.c fuse_dev_show_fdinfo()`).
fn is_connected(device: BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fdinfo/{}", device.as_raw_fd());
    // Without /proc there is no way to know; then reading is the better choice.
    std::fs::read_to_string(path).map_or(true, |info| info.contains("fuse_connection:"))
}

/// A filesystem that is mounted and served. Dropping it unmounts and waits for the end of the session.
#[derive(Debug)]
pub struct Mounted {
    name: String,
    guard: MountGuard,
    running: Running,
    notifier: Notifier,
    /// The session does not end, and is not waited for any more.
    given_up: bool,
}

/// How long requests that are under way may take when a session is to end.
const AT_WORK: Duration = Duration::from_millis(200);
/// How long they may take when they were told that nobody waits for them.
const INTERRUPTED: Duration = Duration::from_secs(1);
/// How long they may take when their callers have seen an error.
const STUCK: Duration = Duration::from_secs(3);

impl Mounted {
    /// Where it is mounted, as an absolute path.
    #[must_use]
    pub fn mountpoint(&self) -> &Path {
        self.guard.mountpoint()
    }

    /// How it was mounted.
    #[must_use]
    pub fn method(&self) -> MountMethod {
        self.guard.method()
    }

    /// Tells the kernel things.
    #[must_use]
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Whether the session is over: unmounted, aborted or failed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.running.is_finished()
    }

    /// Something to wait with for the end of the session, in another thread than the one that holds this.
    #[must_use]
    pub fn session_end(&self) -> SessionEnd {
        self.running.session_end()
    }

    /// Waits until somebody unmounts it.
    ///
    /// # Errors
    /// The session came to a bad end.
    pub fn wait(&mut self) -> Result<(), Error> {
        self.running.wait().map_err(|source| self.session_error(source))
    }

    /// Unmounts it, and waits for the end of the session.
    ///
    /// # Errors
    /// Something uses it, for instance: it is mounted and served as before then.
    pub fn unmount(&mut self) -> Result<(), Error> {
        self.guard.unmount(Unmount::Plain)?;
        self.end_given();
        self.wait()
    }

    /// Unmounts it as soon as nobody uses it, and after `grace` in any case: whoever uses it then sees errors. Waits for the
    /// end of the session, and a few seconds at most for handlers that block: they are told that their callers have given
    /// up.
    ///
    /// # Errors
    /// It could not be taken out of the tree, the session came to a bad end, or a handler does not return
    /// ([`SessionError::Stuck`]); that one is left to itself.
    pub fn end(&mut self, grace: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + grace;
        loop {
            match self.guard.unmount(Unmount::Plain) {
                Ok(()) => {
                    self.end_given();
                    return self.wait();
                }
                Err(UnmountError::Busy { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20).min(grace));
                }
                Err(_) => break,
            }
        }
        // A descriptor of the root makes requests possible when there is no path any more.
        let root = self.guard.root();
        self.guard.unmount(Unmount::Lazy)?;
        self.running.stop();
        let ended = match root.map(Arc::new) {
            Ok(root) => poke(Arc::clone(&root), || self.wait_stopped(Some(&root))),
            Err(_) => self.wait_stopped(None),
        };
        ended.map_err(|source| self.session_error(source))
    }

    /// Waits for the end of a session that was told to stop.
    fn wait_stopped(&mut self, root: Option<&OwnedFd>) -> Result<(), SessionError> {
        if let Some(ended) = self.running.wait_for(AT_WORK) {
            return ended;
        }
        self.running.interrupt();
        if let Some(ended) = self.running.wait_for(INTERRUPTED) {
            return ended;
        }
        // Those who wait behind a handler that blocks are to be let go, at least.
        let aborted = root.map_or(Err(io::ErrorKind::NotFound.into()), |root| abort(root.as_fd()));
        if let Err(error) = aborted {
            tracing::warn!(%error, "aborting the connection; whoever uses it waits for the filesystem to return");
        }
        self.running.wait_for(STUCK).unwrap_or_else(|| {
            self.given_up = true;
            Err(SessionError::Stuck)
        })
    }

    fn session_error(&self, source: SessionError) -> Error {
        let mountpoint = self.guard.mountpoint().display().to_string();
        Error::Session { name: self.name.clone(), mountpoint, source }
    }

    /// A device that somebody else opened is not ours to unmount: only the session ends, as far as it can.
    fn end_given(&self) {
        if self.guard.method() == MountMethod::GivenFd {
            self.running.stop();
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.given_up || self.running.is_finished() {
            return;
        }
        if let Err(error) = self.end(Duration::ZERO) {
            tracing::error!(%error, "unmounting");
        }
    }
}

/// Makes workers that wait in `/dev/fuse` look up, by requests through `root`, until `wait` returns.
///
/// A worker that waits in a read cannot be called from there; a request wakes it, and it sees that it is to stop.
fn poke<R>(root: Arc<OwnedFd>, wait: impl FnOnce() -> R) -> R {
    let over = Arc::new(AtomicBool::new(false));
    let over_there = Arc::clone(&over);
    // Not waited for: when nobody is left to answer, the last request ends with the connection.
    let poking = std::thread::Builder::new().name(String::from("fusewire-stop")).spawn(move || {
        while !over_there.load(Ordering::SeqCst) {
            let _: Result<_, io::Error> = nix::sys::statfs::fstatfs(&root).map_err(io::Error::from);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    if let Err(error) = poking {
        tracing::warn!(%error, "starting the thread that stops the session; it ends with its last user");
    }
    let result = wait();
    over.store(true, Ordering::SeqCst);
    result
}
