//! The process behind `auto_unmount`: it waits until the daemon is gone, however that happened, and unmounts.
//!
//! It shares nothing with the daemon but one end of a socket; in particular it does not hold the FUSE device, which would keep
//! the connection alive. After the fork only calls are made that are safe in a copy of a process with many threads:
//! nothing allocates, locks or panics.

#![expect(unsafe_code, reason = "fork, execve, close_range and _exit have no safe wrapper")]

use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, umount2};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, read, setsid};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{SendFlags, send};

use super::mountpoint::Identity;

/// The daemon's end. Dropping it makes the watcher unmount what is still there.
#[derive(Debug)]
pub(super) struct Watcher {
    socket: OwnedFd,
}

impl Watcher {
    /// Starts a watcher for the mount at `mountpoint` with this identity. Where it may not unmount by itself it runs `helper`.
    pub(super) fn start(mountpoint: &Path, identity: Identity, helper: Option<&Path>) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        // Standard input, output and error are about to be replaced: nothing else may be there.
        let socket = fcntl_dupfd_cloexec(&theirs, 3)?;
        let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let null = fcntl_dupfd_cloexec(&null, 3)?;
        let mountpoint = CString::new(mountpoint.as_os_str().as_bytes())?;
        let helper = helper.map(|helper| CString::new(helper.as_os_str().as_bytes())).transpose()?;
        let (_, most_files) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let errand = Errand {
            socket: socket.as_fd(),
            null: null.as_fd(),
            mountpoint: &mountpoint,
            identity,
            helper: helper.as_deref(),
            most_files: u32::try_from(most_files).unwrap_or(u32::MAX).min(1 << 20),
        };
        errand.fork_away()?;
        drop(socket);
        drop(theirs);
        // Until it has closed its copies of our descriptors, it may keep a mount busy or a connection alive.
        let mut byte = [0_u8; 1];
        (&ours).read_exact(&mut byte)?;
        Ok(Self { socket: ours.into() })
    }

    /// Ends the watcher; nothing is left to unmount.
    pub(super) fn dismiss(self) {
        // A watcher that is gone already is as good. No SIGPIPE, whatever the program does with that signal.
        let _ = send(&self.socket, b"x", SendFlags::NOSIGNAL);
    }
}

/// All that the watcher needs, made before the fork.
struct Errand<'a> {
    socket: BorrowedFd<'a>,
    null: BorrowedFd<'a>,
    mountpoint: &'a CStr,
    identity: Identity,
    helper: Option<&'a CStr>,
    /// Descriptors above this are not looked for on kernels without `close_range`.
    most_files: u32,
}

impl Errand<'_> {
    /// Forks twice, so that the watcher is nobody's child here and leaves no zombie.
    fn fork_away(&self) -> io::Result<()> {
        // No handler of the program may run in the copies.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        // SAFETY: the child runs `middle`, which makes only async-signal-safe calls and never returns.
        let forked = unsafe { fork() };
        if let Ok(ForkResult::Child) = forked {
            self.middle();
        }
        let restored = mask.thread_set_mask();
        let ForkResult::Parent { child } = forked? else {
            return Ok(());
        };
        restored?;
        loop {
            match waitpid(child, None) {
                Err(Errno::EINTR) => {}
                // The program ignores SIGCHLD, or reaps all children itself.
                Err(Errno::ECHILD) | Ok(WaitStatus::Exited(_, 0)) => return Ok(()),
                Ok(WaitStatus::Exited(_, errno)) => {
                    return Err(io::Error::from_raw_os_error(errno));
                }
                Ok(_) => return Err(Errno::EAGAIN.into()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The first copy: leaves the session of the terminal, forks again, and ends with the errno of that.
    fn middle(&self) -> ! {
        let _ = setsid();
        // SAFETY: the child runs `watch`, which makes only async-signal-safe calls and never returns.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => self.watch(),
            Ok(ForkResult::Parent { .. }) => exit(0),
            Err(errno) => exit(status(errno)),
        }
    }

    /// The second copy.
    fn watch(&self) -> ! {
        // A working directory inside the mount would keep it busy.
        let _ = chdir(c"/");
        let _ = rustix::thread::set_name(c"auto_unmount");
        let _ = dup2_stdin(self.null);
        let _ = dup2_stdout(self.null);
        let _ = dup2_stderr(self.null);
        self.close_all_but_socket();
        let _ = send(self.socket, b"r", SendFlags::NOSIGNAL);

        let mut byte = [0_u8; 1];
        loop {
            match read(self.socket, &mut byte) {
                Err(Errno::EINTR) => {}
                // The guard has unmounted.
                Ok(1..) => exit(0),
                // The daemon is gone.
                Ok(0) | Err(_) => break,
            }
        }
        if Identity::at(self.mountpoint) != Ok(self.identity) || !self.identity.is_dead(self.mountpoint) {
            exit(0);
        }
        let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
        match (umount2(self.mountpoint, flags), self.helper) {
            (Ok(()), _) => exit(0),
            (Err(Errno::EPERM), Some(helper)) => self.run_helper(helper),
            (Err(errno), _) => exit(status(errno)),
        }
    }

    fn close_all_but_socket(&self) {
        let kept = u32::try_from(self.socket.as_raw_fd()).unwrap_or(3);
        close_range(3, kept.saturating_sub(1), self.most_files);
        close_range(kept.saturating_add(1), u32::MAX, self.most_files);
    }

    fn run_helper(&self, helper: &CStr) -> ! {
        let _ = SigSet::empty().thread_set_mask();
        let arguments = [
            helper.as_ptr(),
            c"-u".as_ptr(),
            c"-z".as_ptr(),
            c"-q".as_ptr(),
            c"--".as_ptr(),
            self.mountpoint.as_ptr(),
            ptr::null(),
        ];
        let environment = [c"PATH=/usr/bin:/bin".as_ptr(), ptr::null()];
        // SAFETY: `helper` is a C string, and both arrays hold pointers to C strings that live until the call is over, with a
        // null pointer at the end.
        unsafe { libc::execve(helper.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        exit(127)
    }
}

/// Closes all descriptors from `first` to `last`.
fn close_range(first: u32, last: u32, most_files: u32) {
    if first > last {
        return;
    }
    // SAFETY: this process is a copy that runs this file only, and nothing here uses a descriptor in the range again.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if done == 0 {
        return;
    }
    // Before Linux 5.9.
    for number in first..=last.min(most_files) {
        if let Ok(number) = i32::try_from(number) {
            // SAFETY: as above; a number that is not open gives EBADF.
            unsafe { libc::close(number) };
        }
    }
}

/// An errno as the exit status, so that the parent learns it.
fn status(errno: Errno) -> i32 {
    io::Error::from(errno).raw_os_error().unwrap_or(1)
}

fn exit(status: i32) -> ! {
    // SAFETY: _exit ends this copy of the process at once and runs nothing of the program's.
    unsafe { libc::_exit(status) }
}
