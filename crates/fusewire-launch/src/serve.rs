//! Builds a filesystem, mounts it, and waits for what ends it: a signal, or somebody who unmounts.
//!
//! The calling thread only waits and decides, so that no signal has to wait for something that blocks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use fusewire::mount::{MountMethod, UnmountError};
use fusewire::{Error, Handler, Mounted};
use nix::sys::signal::Signal;

use crate::daemonize::Herald;
use crate::error::BuildError;
use crate::gate::Gate;
use crate::invocation::Invocation;
use crate::signals;

/// How long a signal waits for those who use the mount.
const GRACE: Duration = Duration::from_secs(2);
/// The time between two attempts to unmount.
const RETRY: Duration = Duration::from_millis(50);
/// How long a second signal waits for the last requests to be answered.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// How it ended, if not with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Mounted, served and unmounted.
    Orderly,
    /// A signal came before the mount was ready. Nothing is mounted.
    Early(Signal),
}

enum Event {
    Signal(Signal),
    Mounted(Box<Result<Mounted, String>>),
    /// The session is over.
    Over,
    /// Unmounting has come to an end.
    Unmounted(Result<(), Error>),
}

/// How it began.
enum Start {
    Mounted(Mounted),
    /// A signal came while it was being mounted.
    Unwanted(Mounted, Signal),
    /// A signal came before.
    GivenUp(Signal),
}

/// Serves until the end. `herald` is told, and taken, when the mount is ready.
///
/// # Errors
/// What went wrong, in one line.
pub(crate) fn serve<H, B>(invocation: Invocation, herald: &mut Option<Herald>, build: B) -> Result<End, String>
where
    H: Handler + 'static,
    B: FnOnce(&mut Invocation) -> Result<H, BuildError> + Send + 'static,
{
    let (tell, events) = channel();
    let signals = tell.clone();
    // When nobody listens any more, the process is about to end.
    let watch = move |signal| drop(signals.send(Event::Signal(signal)));
    signals::watch(watch).map_err(|error| format!("starting the thread that waits for signals: {error}"))?;

    let mut mounted = match wait_mounted(&tell, &events, invocation, build)? {
        Start::Mounted(mounted) => mounted,
        Start::Unwanted(mounted, signal) => {
            unmount(mounted, &tell, &events)?;
            return Ok(End::Early(signal));
        }
        Start::GivenUp(signal) => return Ok(End::Early(signal)),
    };
    let end = mounted.session_end();
    let over = tell.clone();
    let wait = move || {
        end.wait();
        let _ = over.send(Event::Over);
    };
    spawn("session-end", wait)?;
    if let Some(Err(error)) = herald.as_mut().map(Herald::ready) {
        tracing::warn!(%error, "telling that the mount is ready; unmounting, as nobody waits for it");
        unmount(mounted, &tell, &events)?;
        return Err(format!("going to the background: {error}"));
    }
    *herald = None;
    loop {
        match events.recv() {
            Ok(Event::Over) => {
                mounted.wait().map_err(|error| error.to_string())?;
                return Ok(End::Orderly);
            }
            Ok(Event::Signal(signal)) => {
                tracing::info!(%signal, "unmounting");
                unmount(mounted, &tell, &events)?;
                return Ok(End::Orderly);
            }
            Ok(Event::Mounted(_) | Event::Unmounted(_)) => {}
            Err(_) => return Err("waiting for the end: nobody is left to tell it".to_owned()),
        }
    }
}

/// Builds and mounts, unless a signal comes before. A second signal is not kept waiting for anything.
fn wait_mounted<H, B>(
    tell: &Sender<Event>,
    events: &Receiver<Event>,
    invocation: Invocation,
    build: B,
) -> Result<Start, String>
where
    H: Handler + 'static,
    B: FnOnce(&mut Invocation) -> Result<H, BuildError> + Send + 'static,
{
    let gate = Arc::new(Gate::default());
    let (tell, gate_there) = (tell.clone(), Arc::clone(&gate));
    let mount = move || {
        let result = catch_unwind(AssertUnwindSafe(|| build_and_mount(invocation, &gate_there, build)));
        let result = result.unwrap_or_else(|_| Err("building the filesystem: it panicked".to_owned()));
        let _ = tell.send(Event::Mounted(Box::new(result)));
    };
    spawn("mount", mount)?;
    let mut told = None;
    loop {
        match events.recv() {
            Ok(Event::Mounted(result)) => {
                let mounted = (*result)?;
                return Ok(match told {
                    None => Start::Mounted(mounted),
                    Some(signal) => Start::Unwanted(mounted, signal),
                });
            }
            Ok(Event::Signal(signal)) if gate.give_up() => return Ok(Start::GivenUp(signal)),
            Ok(Event::Signal(signal)) if told.is_some() => {
                return Err(format!("ended by a second signal ({signal}) while mounting"));
            }
            Ok(Event::Signal(signal)) => told = Some(signal),
            Ok(Event::Over | Event::Unmounted(_)) => {}
            Err(_) => return Err("waiting for the mount: nobody is left to tell of it".to_owned()),
        }
    }
}

fn build_and_mount<H, B>(mut invocation: Invocation, gate: &Gate, build: B) -> Result<Mounted, String>
where
    H: Handler + 'static,
    B: FnOnce(&mut Invocation) -> Result<H, BuildError>,
{
    let filesystem = build(&mut invocation).map_err(|error| error.to_string())?;
    if !gate.begin_mounting() {
        return Err("mounting: a signal came first".to_owned());
    }
    let Invocation { mountpoint, mount, session, .. } = invocation;
    fusewire::mount(filesystem, &mountpoint, &mount, session).map_err(|error| error.to_string())
}

/// Unmounts, and waits for that no longer than a second signal allows.
fn unmount(mounted: Mounted, tell: &Sender<Event>, events: &Receiver<Event>) -> Result<(), String> {
    let hurry = Arc::new(AtomicBool::new(false));
    // A worker that waits in a device that is not ours to unmount may never look up.
    let mut deadline = (mounted.method() == MountMethod::GivenFd).then(|| Instant::now() + GRACE);
    let mut given_up = Ok(());
    let (hurry_there, tell) = (Arc::clone(&hurry), tell.clone());
    let work = move || {
        let result = unmount_patiently(mounted, &hurry_there);
        let _ = tell.send(Event::Unmounted(result));
    };
    let worker = spawn("unmount", work)?;
    loop {
        let event = match deadline {
            Some(deadline) => events.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match event {
            Ok(Event::Unmounted(result)) => return result.map_err(|error| error.to_string()),
            Ok(Event::Signal(signal)) => {
                hurry.store(true, Ordering::SeqCst);
                worker.unpark();
                deadline = Some(Instant::now() + LAST_GRACE);
                given_up = Err(format!("ended by a second signal ({signal}): some requests were not answered"));
            }
            Ok(Event::Over | Event::Mounted(_)) => {}
            Err(_) => return given_up,
        }
    }
}

/// Unmounts as soon as nobody uses it; after the grace, or in a hurry, in any case.
fn unmount_patiently(mut mounted: Mounted, hurry: &AtomicBool) -> Result<(), Error> {
    let deadline = Instant::now() + GRACE;
    while !hurry.load(Ordering::SeqCst) && Instant::now() < deadline {
        match mounted.unmount() {
            // The helper does not tell in its exit status whether somebody uses the mount.
            Err(Error::Unmount(UnmountError::Busy { .. } | UnmountError::Helper { .. })) => thread::park_timeout(RETRY),
            Err(Error::Unmount(_)) => break,
            done => return done,
        }
    }
    mounted.end(Duration::ZERO)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<Thread, String> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(|handle| handle.thread().clone()).map_err(|error| format!("starting the thread {name}: {error}"))
}
