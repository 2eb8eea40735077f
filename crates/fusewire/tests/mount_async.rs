//! Answers that come later: `async` filesystems and deferred replies, through real mounts.
#![forbid(unsafe_code)]

use std::fs;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fusewire::mount::MountOptions;
use fusewire::{
    Async, AsyncFilesystem, Attr, Context, Deferred, Errno, FileType, Handler, Negotiated, NodeId, Notifier, Reply,
    Request, SessionConfig, Wishes, Workers, op, reply, sink,
};
use tokio::runtime::Runtime;
use tokio::sync::Barrier;

/// Attributes are asked for once: here only the root knows how to answer.
const HOUR: Duration = Duration::from_secs(3600);

fn root() -> Attr {
    Attr::new(1, FileType::DIRECTORY, 0o755)
}

/// A directory of files that are named by numbers. A read is answered when as many are under way as the barrier wants.
struct Gathering {
    barrier: Arc<Barrier>,
}

impl AsyncFilesystem for Gathering {
    async fn getattr(&self, _: &Context<'_>, _: op::Getattr) -> Result<reply::Attributes, Errno> {
        Ok(reply::Attributes::new(root(), Duration::ZERO))
    }

    async fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        let number: u64 = op.name.to_str().and_then(|name| name.parse().ok()).ok_or(Errno::ENOENT)?;
        let mut attr = Attr::new(number + 2, FileType::REGULAR, 0o644);
        attr.size = 100;
        Ok(reply::Entry::new(NodeId(number + 2), attr, HOUR))
    }

    async fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        self.barrier.wait().await;
        out.put(format!("read of {}", op.node).as_bytes());
        Ok(())
    }
}

#[test]
fn slow_requests_hold_no_thread() {
    const CALLERS: usize = 50;
    let runtime = Runtime::new().expect("an executor");
    let handle = runtime.handle().clone();
    let gathering = Gathering { barrier: Arc::new(Barrier::new(CALLERS)) };
    let served = Async::new(gathering, move |request| drop(handle.spawn(request)));
    let dir = tempfile::tempdir().expect("a directory");
    // With a single worker, waiting in a handler would be waiting for ever.
    let config = SessionConfig::default().workers(Workers::single());
    let options = MountOptions::new().subtype("gathering");
    let mut mounted = fusewire::mount(served, dir.path(), &options, config).expect("mounting");
    std::thread::scope(|scope| {
        for number in 0..CALLERS {
            let path = dir.path().join(number.to_string());
            scope.spawn(move || {
                let read = fs::read_to_string(path).expect("reading");
                assert_eq!(read.trim_end_matches('\0'), format!("read of {}", number + 2));
            });
        }
    });
    mounted.unmount().expect("unmounting");
}

/// Hands lookups to a channel.
struct Postponing {
    postponed: mpsc::Sender<Deferred>,
}

impl Handler for Postponing {
    fn init(&self, _: &op::Init, _: &mut Wishes) -> Result<(), Errno> {
        Ok(())
    }

    fn ready(&self, _: &Negotiated, _: &Notifier) {}

    fn destroy(&self) {}

    fn handle(&self, _: &Context<'_>, request: Request<'_>, reply: Reply<'_>) {
        match request {
            Request::Getattr(_) => reply.send(reply::Attributes::new(root(), Duration::ZERO)),
            Request::Lookup(op) if op.name.as_bytes() == b"missing" => reply.error(Errno::ENOENT),
            Request::Lookup(_) => {
                self.postponed.send(reply.later().expect("a transport")).expect("the test");
            }
            // Not answering is a fault of a handler, and must not leave the caller waiting.
            Request::Mkdir(_) => {}
            _ => reply.error(Errno::ENOSYS),
        }
    }
}

#[test]
fn requests_are_answered_from_another_thread_or_with_an_error_when_dropped() {
    let (postponed, later) = mpsc::channel();
    let dir = tempfile::tempdir().expect("a directory");
    let options = MountOptions::new().subtype("postponing");
    let mut mounted =
        fusewire::mount(Postponing { postponed }, dir.path(), &options, SessionConfig::default()).expect("mounting");
    let answerer = std::thread::spawn(move || {
        let first: Deferred = later.recv().expect("a request");
        let mut attr = Attr::new(7, FileType::REGULAR, 0o644);
        attr.size = 3;
        first.send(reply::Entry::new(NodeId(7), attr, HOUR));
        drop(later.recv().expect("a request"));
    });
    assert_eq!(fs::metadata(dir.path().join("answered")).expect("an answer").len(), 3);
    let error = fs::metadata(dir.path().join("dropped")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    let error = fs::create_dir(dir.path().join("missing")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    answerer.join().expect("the answerer");
    mounted.unmount().expect("unmounting");
}

/// A directory in which a lookup waits until its caller gives up.
struct Endless;

impl AsyncFilesystem for Endless {
    async fn getattr(&self, _: &Context<'_>, _: op::Getattr) -> Result<reply::Attributes, Errno> {
        Ok(reply::Attributes::new(root(), Duration::ZERO))
    }

    async fn lookup(&self, cx: &Context<'_>, _: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        cx.interrupted().await;
        Err(Errno::EINTR)
    }
}

#[test]
fn interrupt_reaches_a_request_that_is_awaited() {
    let runtime = Runtime::new().expect("an executor");
    let handle = runtime.handle().clone();
    let served = Async::new(Endless, move |request| drop(handle.spawn(request)));
    let dir = tempfile::tempdir().expect("a directory");
    let options = MountOptions::new().subtype("endless");
    let mut mounted = fusewire::mount(served, dir.path(), &options, SessionConfig::default()).expect("mounting");
    let mut caller = std::process::Command::new("stat").arg(dir.path().join("x")).spawn().expect("a caller");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(caller.id()).expect("a process id"));
    // A signal sent before it waits ends it as well.
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("signalling");
    caller.wait().expect("its end");
    mounted.unmount().expect("unmounting");
}
