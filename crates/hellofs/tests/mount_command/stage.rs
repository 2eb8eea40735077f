//! What each test stands on: a mount namespace, a directory, the command, and its daemon to be waited for.
//!
//! It checks nothing by itself.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// What the file says unless an option tells otherwise.
pub(crate) const GREETING: &str = "Hello from Fusewire!\n";
/// An ordinary user that every system has: nobody.
pub(crate) const USER: u32 = 65534;

const NOTHING: Option<&str> = None;

/// The ground of one test.
pub(crate) struct Stage {
    directory: PathBuf,
}

impl Stage {
    /// Runs a test on a thread with a mount namespace of its own, one at a time: a child that another test starts would hold
    /// copies of its descriptors for a moment, and these keep mounts busy. Daemons become children of this process.
    pub(crate) fn run(test: impl FnOnce(&Self) + Send) {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        set_child_subreaper(true).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let stage = Self { directory: directory.path().canonicalize().unwrap() };
        thread::scope(|scope| {
            let ran = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNS).expect("these tests need root, for a mount namespace");
                mount(NOTHING, "/", NOTHING, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NOTHING).unwrap();
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

    /// Puts `with` in the place of `file`, in this namespace.
    pub(crate) fn replace(&self, file: &str, with: &Path) {
        mount(Some(with), file, NOTHING, MsFlags::MS_BIND, NOTHING).unwrap();
    }

    /// The command, run by [`USER`] from a place where that user can go.
    pub(crate) fn hellofs_as_user(&self) -> Command {
        let mut command = Command::new(self.program());
        command.uid(USER).gid(USER).current_dir("/");
        command
    }

    /// A copy of the program that everybody may run.
    pub(crate) fn program(&self) -> PathBuf {
        let program = self.path("hellofs");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_hellofs"), &program).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        program
    }
}

/// The command.
pub(crate) fn hellofs() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hellofs"));
    command.stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

/// Runs a command to its end, which must be a success without a word.
pub(crate) fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{command:?}: {}", told(&output));
}

/// What a command has to say about itself.
pub(crate) fn told(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes);
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// The file's text.
pub(crate) fn greeting(mountpoint: &Path) -> String {
    fs::read_to_string(mountpoint.join("hello.txt")).unwrap()
}

/// The line of `/proc/mounts` about the topmost mount at `path`, in this namespace.
pub(crate) fn mount_line(path: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap();
    let here = |line: &&str| line.split(' ').nth(1) == path.to_str();
    mounts.lines().rfind(here).map(str::to_owned)
}

/// Waits until a command in the foreground serves, and looks at its mountpoint no more, which would keep it busy.
pub(crate) fn wait_served(command: &Child) {
    // The thread that is started last.
    Daemon(pid_of(command)).wait_for_thread("session-end");
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}

/// The process that serves a mount in the background.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Daemon(pub(crate) Pid);

impl Daemon {
    /// The one whose command line has this mountpoint in it.
    pub(crate) fn of(mountpoint: &Path) -> Self {
        Self::named("hellofs", mountpoint)
    }

    /// The one that was started for `auto_unmount`.
    pub(crate) fn watcher_of(mountpoint: &Path) -> Self {
        Self::named("auto_unmount", mountpoint)
    }

    /// The one that this command is starting, while the command waits for it.
    pub(crate) fn child_of(command: &Child) -> Self {
        let children = format!("/proc/{0}/task/{0}/children", command.id());
        loop {
            let listed = fs::read_to_string(&children).unwrap();
            if let Some(pid) = listed.split_whitespace().next() {
                return Self(Pid::from_raw(pid.parse().unwrap()));
            }
            thread::yield_now();
        }
    }

    /// Waits until it has a thread of this name.
    pub(crate) fn wait_for_thread(self, name: &str) {
        let named = |task: io::Result<fs::DirEntry>| {
            fs::read_to_string(task.unwrap().path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        };
        while !fs::read_dir(format!("/proc/{}/task", self.0)).unwrap().any(named) {
            thread::yield_now();
        }
    }

    fn named(name: &str, mountpoint: &Path) -> Self {
        let about = |pid: &str, what: &str| fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let ours = format!("PPid:\t{}", process::id());
        let wanted = |pid: &String| {
            about(pid, "comm").trim_end() == name
                && about(pid, "status").lines().any(|line| line == ours)
                && about(pid, "cmdline").split('\0').any(|word| Some(word) == mountpoint.to_str())
        };
        let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let found: Vec<_> = names.filter(wanted).collect();
        assert_eq!(found.len(), 1, "daemons {name} of {}: {found:?}", mountpoint.display());
        Self(Pid::from_raw(found.concat().parse().unwrap()))
    }

    pub(crate) fn signal(self, signal: Signal) {
        kill(self.0, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(self) -> WaitStatus {
        waitpid(self.0, None).unwrap()
    }

    /// Waits for its end, which must be orderly.
    pub(crate) fn ends_well(self) {
        assert_eq!(self.end(), WaitStatus::Exited(self.0, 0));
    }
}

/// Sends a signal to a child.
pub(crate) fn signal(child: &Child, signal: Signal) {
    kill(pid_of(child), signal).unwrap();
}
