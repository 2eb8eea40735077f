//! A daemon that runs: the wire to it, and what it runs in.
//!
//! Whatever the daemon is made of, everything in this crate that wants one takes a function that returns a [`Running`].

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use fusewire_proto::Errno;

use crate::inside::{Inside, Inspect};
use crate::kernel::{Config, Kernel};
use crate::laws::LawBook;
use crate::wire::{Direct, MemoryEnd, Outbox, Socket, Wire, memory};

/// A daemon that was started, and waits for `INIT`.
pub struct Running {
    wire: Box<dyn Wire>,
    host: Host,
    inside: Arc<Inside>,
}

/// What a daemon runs in.
#[derive(Debug)]
enum Host {
    /// The caller, or something that the testkit does not know.
    Elsewhere,
    Thread(JoinHandle<()>),
    Process(Child),
}

impl Running {
    /// A daemon at the other end of `wire` that runs somewhere.
    #[must_use]
    pub fn over(wire: Box<dyn Wire>) -> Self {
        Self { wire, host: Host::Elsewhere, inside: Arc::default() }
    }

    /// A daemon that is a function: called for each request, in the thread that sends it.
    pub fn direct(handler: impl Fn(&[u8], &Outbox) + Send + Sync + 'static) -> Self {
        Self::over(Box::new(Direct::new(handler)))
    }

    /// A daemon that serves a file descriptor, in a thread of its own: one end of a pair of `SOCK_SEQPACKET` sockets, which
    /// stands for `/dev/fuse`. It has to return when reading gives 0 bytes.
    ///
    /// # Errors
    /// The pair, or the thread, cannot be made.
    pub fn over_socket<R>(daemon: impl FnOnce(OwnedFd) -> R + Send + 'static) -> io::Result<Self> {
        let (wire, fd) = Socket::pair()?;
        Self::in_thread(Box::new(wire), move || drop(daemon(fd)))
    }

    /// A daemon that serves two queues in memory, in a thread of its own.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub fn in_memory<R>(daemon: impl FnOnce(MemoryEnd) -> R + Send + 'static) -> io::Result<Self> {
        let (wire, end) = memory();
        Self::in_thread(Box::new(wire), move || drop(daemon(end)))
    }

    fn in_thread(wire: Box<dyn Wire>, daemon: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let thread = std::thread::Builder::new().name(String::from("testkit-daemon")).spawn(daemon)?;
        Ok(Self { wire, host: Host::Thread(thread), inside: Arc::default() })
    }

    /// A daemon that is another program. It gets one end of a pair of `SOCK_SEQPACKET` sockets as its standard input, and
    /// should take the mountpoint `/dev/fd/0` to mean that, as programs made with libfuse do. It must stay in the foreground.
    /// It is killed if it does not end by itself.
    ///
    /// # Errors
    /// The pair cannot be made, or the program cannot be started.
    pub fn program(command: &mut Command) -> io::Result<Self> {
        let (wire, fd) = Socket::pair()?;
        let child = command.stdin(fd).spawn()?;
        // The parent's copy of the daemon's end would keep the connection open.
        command.stdin(Stdio::null());
        Ok(Self { wire: Box::new(wire), host: Host::Process(child), inside: Arc::default() })
    }

    /// Adds a look inside.
    #[must_use]
    pub fn inspected_by(self, inspect: Arc<dyn Inspect>) -> Self {
        self.inside.inspect_by(inspect);
        self
    }

    /// The same, whose daemon leaves what it knows of itself in `inside`.
    #[cfg(feature = "session")]
    pub(crate) fn with_inside(self, inside: Arc<Inside>) -> Self {
        Self { inside, ..self }
    }

    /// Puts another wire around the wire: one that counts, delays or spoils what passes.
    #[must_use]
    pub fn through(self, around: impl FnOnce(Box<dyn Wire>) -> Box<dyn Wire>) -> Self {
        Self { wire: around(self.wire), ..self }
    }

    /// Connects to the daemon and negotiates.
    ///
    /// # Errors
    /// The daemon refuses `INIT`.
    pub fn connect(self, config: Config) -> Result<Connection, Refused> {
        let inside = Arc::clone(&self.inside);
        let connection = self.connect_without_init(config);
        match connection.kernel.init() {
            Ok(_) => Ok(connection),
            Err(errno) => {
                // Its reason is there when it has ended.
                connection.abort();
                Err(Refused { errno, why: inside.refusal().map(str::to_owned) })
            }
        }
    }

    /// Connects to the daemon, and sends nothing yet.
    #[must_use]
    pub fn connect_without_init(self, config: Config) -> Connection {
        let kernel = Kernel::over(self.wire, config, self.inside);
        Connection { kernel, host: self.host }
    }
}

/// A daemon that did not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// What `INIT` was answered with; `ECONNABORTED` if the daemon has ended instead, `ETIMEDOUT` if it has not answered,
    /// `EPROTO` if it speaks another major version, or cannot agree with the kernel that is played.
    pub errno: Errno,
    /// Why, if the daemon is a session of `fusewire`.
    pub why: Option<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Some(why) => write!(f, "connecting to the daemon: {why}"),
            None => write!(f, "connecting to the daemon: INIT: {}", self.errno),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for Errno {
    fn from(refused: Refused) -> Self {
        refused.errno
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self { errno: Errno::from(&error), why: Some(format!("starting it: {error}")) }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("host", &self.host).finish_non_exhaustive()
    }
}

/// A connection to a daemon, and what the daemon runs in. Dropped, it unmounts.
#[derive(Debug)]
pub struct Connection {
    kernel: Kernel,
    host: Host,
}

impl Connection {
    /// The kernel's side.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Unmounts, and waits for the daemon to end. Returns what was checked, and what was broken.
    pub fn unmount(mut self) -> LawBook {
        let book = self.kernel.unmount();
        self.part();
        book
    }

    /// Ends the connection in the middle of everything, and waits for the daemon to end.
    pub fn abort(mut self) -> LawBook {
        let book = self.kernel.abort();
        self.part();
        book
    }

    /// Waits for what the daemon runs in, if it has ended the connection.
    fn part(&mut self) {
        let ended = self.kernel.has_ended();
        match std::mem::replace(&mut self.host, Host::Elsewhere) {
            Host::Thread(thread) if ended => {
                let panic = thread.join().err().filter(|_| !std::thread::panicking());
                if let Some(panic) = panic {
                    std::panic::resume_unwind(panic);
                }
            }
            Host::Process(mut child) => {
                if !ended {
                    // ESRCH: gone by itself.
                    let _ = child.kill();
                }
                let _ = child.wait();
            }
            // A thread that holds on to its end was reported, and is left alone.
            Host::Thread(_) | Host::Elsewhere => {}
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.kernel.unmount();
        self.part();
    }
}
