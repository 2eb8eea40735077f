//! What each test stands on: a namespace, a daemon of a few lines, children that run as somebody else.
//!
//! It checks nothing by itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fusewire::mount::{self, MountError, MountGuard, MountOptions, RootKind};
use nix::mount::{MsFlags, mount as mount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};

/// An ordinary user that every system has: nobody.
pub(crate) const USER: u32 = 65534;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const NOTHING: Option<&str> = None;

/// The ground of one test.
pub(crate) struct Stage {
    directory: PathBuf,
}

impl Stage {
    /// Runs a test on a thread with a mount namespace of its own. One at a time: a child that one test starts has, until
    /// it executes its program, copies of the descriptors of all others, and these would keep mounts busy.
    pub(crate) fn run(test: impl FnOnce(&Self) + Send) {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let stage = Self { directory: directory.path().canonicalize().unwrap() };
        thread::scope(|scope| {
            let ran = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNS).expect("these tests need root, for a mount namespace");
                let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
                mount2(NOTHING, "/", NOTHING, private, NOTHING).unwrap();
                test(&stage);
            });
            if let Err(panic) = ran.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A new directory.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        path
    }

    /// A new directory that belongs to [`USER`].
    pub(crate) fn users_directory(&self, name: &str) -> PathBuf {
        let path = self.directory(name);
        chown(&path, Some(USER), Some(USER)).unwrap();
        path
    }

    /// A new file.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A new program, a shell script.
    pub(crate) fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.file(name, &format!("#!/bin/sh\n{body}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Puts `with` in the place of `file`, in this namespace.
    pub(crate) fn replace(&self, file: &str, with: &Path) {
        mount2(Some(with), file, NOTHING, MsFlags::MS_BIND, NOTHING).unwrap();
    }

    /// Makes `/dev/fuse` have this mode, in this namespace.
    pub(crate) fn device_mode(&self, mode: u32) {
        let dev = self.directory("dev");
        mount2(Some("tmpfs"), &dev, Some("tmpfs"), MsFlags::empty(), NOTHING).unwrap();
        let device = dev.join("fuse");
        let before = umask(Mode::empty());
        let bits = Mode::from_bits_truncate(mode);
        mknod(&device, SFlag::S_IFCHR, bits, makedev(10, 229)).unwrap();
        umask(before);
        self.replace("/dev/fuse", &device);
    }

    /// Mounts a tmpfs, as somebody else would.
    pub(crate) fn mount_tmpfs(&self, at: &Path) {
        mount2(Some("foreign"), at, Some("tmpfs"), MsFlags::empty(), NOTHING).unwrap();
    }

    /// A child that runs a scenario of this test program in this namespace.
    pub(crate) fn child(&self, scenario: &str, who: Who, arguments: &[&Path]) -> Command {
        // The program may lie where an ordinary user cannot go.
        let program = self.path("program");
        if !program.exists() {
            self.file("program", "");
            self.replace(program.to_str().unwrap(), &std::env::current_exe().unwrap());
        }
        let mut command = match who {
            Who::Root | Who::User => Command::new(&program),
            Who::UserNamespace => {
                let mut command = Command::new("unshare");
                command.arg("-Urm").arg(&program);
                command
            }
        };
        command
            .args(["--exact", "stage::scenario_of_a_child", "--nocapture"])
            .env("FUSEWIRE_SCENARIO", scenario)
            .envs(
                arguments
                    .iter()
                    .enumerate()
                    .map(|(number, argument)| (format!("FUSEWIRE_ARGUMENT_{number}"), argument.as_os_str())),
            )
            .current_dir("/")
            .stdin(Stdio::null());
        if who != Who::Root {
            command.uid(USER).gid(USER);
        }
        command
    }

    /// Runs a child to its end, which must be a success.
    pub(crate) fn run_child(&self, scenario: &str, who: Who, arguments: &[&Path]) {
        let output = self.child(scenario, who, arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{scenario} as {who:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Starts a child and waits for its word that it is ready.
    pub(crate) fn start_child(&self, scenario: &str, who: Who, arguments: &[&Path]) -> Child {
        let mut child =
            self.child(scenario, who, arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let ready = lines.map_while(Result::ok).any(|line| line.ends_with(READY));
        assert!(ready, "{scenario} as {who:?} ended before it was ready");
        child
    }
}

/// Who a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Root,
    User,
    /// An ordinary user as root of a new user and mount namespace.
    UserNamespace,
}

const READY: &str = "@ready";

/// Tells the parent that this child is ready, and waits for the parent to close its standard input.
pub(crate) fn ready_and_wait() {
    println!("{READY}");
    io::stdout().flush().unwrap();
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// An argument of the scenario.
pub(crate) fn argument(number: usize) -> PathBuf {
    std::env::var_os(format!("FUSEWIRE_ARGUMENT_{number}")).expect("the scenario's argument").into()
}

/// Where the children of other tests start. By itself it does nothing.
#[test]
fn scenario_of_a_child() {
    let Some(scenario) = std::env::var_os("FUSEWIRE_SCENARIO") else {
        return;
    };
    let scenario = scenario.to_str().unwrap();
    let (_, run) = [crate::users::SCENARIOS, crate::watching::SCENARIOS, crate::errors::SCENARIOS]
        .into_iter()
        .flatten()
        .find(|(name, _)| *name == scenario)
        .expect("a known scenario");
    run();
}

/// A mount with its daemon.
pub(crate) struct Mounted {
    pub(crate) guard: MountGuard,
    pub(crate) daemon: JoinHandle<io::Error>,
}

impl Mounted {
    /// Waits for the daemon's end and returns why it ended.
    pub(crate) fn daemon_end(self) -> Option<i32> {
        drop(self.guard);
        self.daemon.join().unwrap().raw_os_error()
    }
}

/// Prepares, serves and finishes.
pub(crate) fn mount(at: &Path, options: &MountOptions) -> Result<Mounted, MountError> {
    mount_kind(at, options, RootKind::Directory)
}

pub(crate) fn mount_kind(at: &Path, options: &MountOptions, kind: RootKind) -> Result<Mounted, MountError> {
    let prepared = mount::prepare(at, options)?;
    let device = prepared.device().try_clone_to_owned().unwrap();
    if prepared.init_is_synchronous() {
        let daemon = thread::spawn(move || serve(device, kind, Answer::Yes));
        let guard = prepared.finish()?;
        Ok(Mounted { guard, daemon })
    } else {
        let guard = prepared.finish()?;
        let daemon = thread::spawn(move || serve(device, kind, Answer::Yes));
        Ok(Mounted { guard, daemon })
    }
}

/// How INIT is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    Refuse,
}

/// Answers INIT, GETATTR of the root and STATFS by hand, and everything else with ENOSYS, until reading fails.
pub(crate) fn serve(device: OwnedFd, kind: RootKind, answer: Answer) -> io::Error {
    let mut device = File::from(device);
    let mut buffer = vec![0_u8; 256 * 1024];
    loop {
        let length = match device.read(&mut buffer) {
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(length) => length,
            Err(error) => return error,
        };
        let request = &buffer[..length];
        let opcode = u32::from_ne_bytes(request[4..8].try_into().unwrap());
        let (error, body): (i32, Vec<u8>) = match opcode {
            2 | 36 | 42 => continue,
            3 => (0, attributes(kind)),
            17 => (0, vec![0; 80]),
            26 if answer == Answer::Refuse => (-libc::EPROTO, Vec::new()),
            26 => (0, init()),
            _ => (-libc::ENOSYS, Vec::new()),
        };
        let mut reply = Vec::new();
        reply.extend(u32::try_from(16 + body.len()).unwrap().to_ne_bytes());
        reply.extend(error.to_ne_bytes());
        reply.extend(&request[8..16]);
        reply.extend(body);
        // The caller, or the whole connection, may be gone; the next read tells.
        let _ = device.write(&reply);
    }
}

/// `fuse_init_out`: 7.45, no flags, max_write 4096.
fn init() -> Vec<u8> {
    let mut body = Vec::new();
    for word in [7_u32, 45, 0, 0, 0, 4096, 1] {
        body.extend(word.to_ne_bytes());
    }
    body.resize(64, 0);
    body
}

/// `fuse_attr_out` of the root, which says that it has 4242 bytes.
fn attributes(kind: RootKind) -> Vec<u8> {
    let mode: u32 = match kind {
        RootKind::Directory => 0o40755,
        RootKind::RegularFile => 0o100644,
    };
    let mut body = vec![0_u8; 16];
    for word in [1_u64, SIZE, 0, 0, 0, 0] {
        body.extend(word.to_ne_bytes());
    }
    for word in [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0] {
        body.extend(u32::to_ne_bytes(word));
    }
    body
}

/// The size of the root that the daemon tells, by which a mount is recognised.
pub(crate) const SIZE: u64 = 4242;

/// Whether the daemon above is what one sees at `path`.
pub(crate) fn served(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() == SIZE)
}

/// One line of the thread's mountinfo, as (options, type, source, superblock's options), of the topmost mount at `path`.
pub(crate) fn listed(path: &Path) -> Option<(String, String, String, String)> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let line = text.lines().rfind(|line| line.split(' ').nth(4) == path.to_str())?;
    let fields: Vec<&str> = line.split(' ').collect();
    let dash = fields.iter().position(|field| *field == "-").unwrap();
    Some((fields[5].to_owned(), fields[dash + 1].to_owned(), fields[dash + 2].to_owned(), fields[dash + 3].to_owned()))
}

/// Waits until nothing is mounted at `path`; the kernel tells when the list of mounts changes.
pub(crate) fn wait_until_unmounted(path: &Path) -> bool {
    let list = OpenOptions::new().read(true).open("/proc/thread-self/mountinfo").unwrap();
    let end = Instant::now() + PATIENCE;
    while listed(path).is_some() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let mut asked = [PollFd::new(list.as_fd(), PollFlags::POLLPRI)];
        poll(&mut asked, PollTimeout::try_from(left.min(Duration::from_secs(1))).unwrap()).unwrap();
    }
    true
}

/// The one-line message of a failure.
pub(crate) fn message(failed: Result<Mounted, MountError>) -> String {
    let error = failed.err().expect("mounting should have failed");
    let text = error.to_string();
    assert!(!text.contains('\n'), "not one line: {text}");
    text
}
