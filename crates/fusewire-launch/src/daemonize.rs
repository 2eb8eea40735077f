//! Into the background: a copy of the process serves, and the process itself waits until the copy is ready, and ends.
//!
//! What the copy does in between is not known here.

#![expect(unsafe_code, reason = "fork has no safe wrapper")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::process;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe2, setsid};

use crate::error::one_line;
use crate::run::complain;

/// The first byte of what the copy has to say.
const READY: u8 = b'r';
const FAILED: u8 = b'f';

/// Returns in a copy of the process. The process itself does not return: it ends with status 0 when the copy is ready, with
/// status 1 and a line that says why when the copy is not going to be.
///
/// # Errors
/// There is no copy. The process goes on.
pub(crate) fn go_to_background(name: &str) -> Result<Herald, String> {
    if !single_threaded() {
        return Err("going to the background: threads were started before; start none, or use -f".to_owned());
    }
    let failed = |errno: Errno| format!("going to the background: {}", io::Error::from(errno));
    let (from, to) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
    // SAFETY: the contract of fork is that in the copy of a process with several threads only async-signal-safe functions
    // are called. This process has one thread, as the kernel has just said, and only that thread, which is here, could
    // have started another since.
    match unsafe { fork() }.map_err(failed)? {
        ForkResult::Child => {
            drop(from);
            Ok(Herald { pipe: File::from(to) })
        }
        ForkResult::Parent { child } => {
            drop(to);
            match wait(File::from(from), child) {
                Ok(()) => process::exit(0),
                Err(problem) => {
                    complain(name, &problem);
                    process::exit(1);
                }
            }
        }
    }
}

/// Whether this process has no other thread.
fn single_threaded() -> bool {
    // The flag does nothing but ask: kernel/fork.c check_unshare_flags().
    match unshare(CloneFlags::CLONE_THREAD) {
        Ok(()) => true,
        Err(Errno::EINVAL) => false,
        // A filter of system calls, as in some containers.
        Err(_) => fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1),
    }
}

/// Waits for the word of the copy.
fn wait(mut from: File, child: Pid) -> Result<(), String> {
    let mut kind = [0];
    let mut message = String::new();
    match from.read_exact(&mut kind) {
        Ok(()) if kind == [READY] => Ok(()),
        Ok(()) => {
            // What could be read is what there is to say.
            let _ = from.read_to_string(&mut message);
            Err(message)
        }
        Err(_) => Err(format!("the daemon ended before it was ready: {}", end_of(child))),
    }
}

fn end_of(child: Pid) -> String {
    loop {
        match waitpid(child, None) {
            Err(Errno::EINTR) => {}
            Ok(WaitStatus::Exited(_, status)) => return format!("exit status {status}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => return format!("killed by {signal}"),
            Ok(other) => return format!("{other:?}"),
            Err(errno) => return io::Error::from(errno).to_string(),
        }
    }
}

/// The copy's end: tells the process that waits how it went. Dropped without a word, it says that the copy is gone.
#[derive(Debug)]
pub(crate) struct Herald {
    pipe: File,
}

impl Herald {
    /// Leaves the terminal and the working directory, and says that the mount is ready.
    ///
    /// # Errors
    /// Nobody waits any more, or the terminal cannot be left.
    pub(crate) fn ready(&mut self) -> io::Result<()> {
        // Fails only for the leader of a group, which a copy is not.
        let _ = setsid();
        chdir("/")?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        self.pipe.write_all(&[READY])
    }

    /// Says why there is no mount.
    pub(crate) fn failed(mut self, problem: &str) {
        let mut message = vec![FAILED];
        message.extend_from_slice(one_line(problem).as_bytes());
        // If nobody waits any more, nobody wants to know.
        let _ = self.pipe.write_all(&message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_thread_is_noticed() {
        // The test harness runs this in a thread of its own.
        assert!(!single_threaded());
        assert!(go_to_background("poemfs").unwrap_err().contains("threads were started before"));
    }

    #[test]
    fn word_of_the_copy_comes_through() {
        let said = |bytes: &[u8]| {
            let (from, to) = pipe2(OFlag::O_CLOEXEC).unwrap();
            File::from(to).write_all(bytes).unwrap();
            wait(File::from(from), Pid::from_raw(i32::MAX))
        };
        assert_eq!(said(b"r"), Ok(()));
        assert_eq!(said(b"fno such poem"), Err("no such poem".to_owned()));
        assert!(said(b"").unwrap_err().starts_with("the daemon ended before it was ready: "));
    }
}
