//! Acting as the caller: user, group, supplementary groups and umask of the thread that serves a request.
//!
//! Who may do what is checked by the kernel at the mount, and again by the source when a mirror acts as its caller. Nothing
//! here decides.

use std::cell::Cell;

use fusewire::{Context, Errno, Pid};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Gid, Mode, Uid};
use rustix::io;
use rustix::process::umask;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// How a mirror comes by the rights of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// It is root, and takes them on.
    Callers,
    /// It has only its own.
    Own,
}

impl Identity {
    /// What this process can do.
    pub(crate) fn of_process() -> Self {
        if rustix::process::geteuid().is_root() { Self::Callers } else { Self::Own }
    }

    /// Runs `act` with the rights of the caller, or with our own where they are all we have.
    ///
    /// The caller's supplementary groups are looked up only if `act` is refused without them: most callers need none, and
    /// looking them up costs more than most operations. So `act` may be called twice, and must do no harm when refused.
    ///
    /// # Errors
    /// Those of `act`; `EPERM` if the rights cannot be taken on.
    #[inline]
    pub(crate) fn act<R>(self, cx: &Context<'_>, mut act: impl FnMut() -> io::Result<R>) -> Result<R, Errno> {
        let Some(caller) = self.caller(cx) else {
            return act().map_err(errno);
        };
        let refused = {
            let _acting = Acting::begin(caller, &[])?;
            match act() {
                Err(refused @ (io::Errno::ACCESS | io::Errno::PERM)) => refused,
                done => return done.map_err(errno),
            }
        };
        let groups = groups_of(caller.pid);
        if caller.uid.is_root() || groups.is_empty() {
            return Err(errno(refused));
        }
        let _acting = Acting::begin(caller, &groups)?;
        act().map_err(errno)
    }

    /// As [`act`](Self::act), with the supplementary groups from the start: they decide about the sgid bit.
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub(crate) fn act_with_groups<R>(self, cx: &Context<'_>, act: impl FnOnce() -> io::Result<R>) -> Result<R, Errno> {
        let Some(caller) = self.caller(cx) else {
            return act().map_err(errno);
        };
        let groups = groups_of(caller.pid);
        let _acting = Acting::begin(caller, &groups)?;
        act().map_err(errno)
    }

    /// Whether the caller's rights are others than ours.
    pub(crate) fn differs(self, cx: &Context<'_>) -> bool {
        self.caller(cx).is_some()
    }

    /// Who is to be acted as, if it is not us.
    fn caller(self, cx: &Context<'_>) -> Option<Caller> {
        if self == Self::Own {
            return None;
        }
        let (uid, gid) = (cx.uid()?, cx.gid()?);
        let own = uid.0 == 0 && gid.0 == 0;
        (!own).then(|| Caller { uid: Uid::from_raw(uid.0), gid: Gid::from_raw(gid.0), pid: cx.pid() })
    }
}

pub(crate) fn errno(error: io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error()).unwrap_or(Errno::EIO)
}

#[derive(Clone, Copy, Debug)]
struct Caller {
    uid: Uid,
    gid: Gid,
    pid: Pid,
}

thread_local! {
    /// Whether this thread has given up the supplementary groups that the process began with.
    static NO_GROUPS: Cell<bool> = const { Cell::new(false) };
    /// The umask of this thread; `None` as long as it has that of the process.
    static UMASK: Cell<Option<u32>> = const { Cell::new(None) };
}

/// This thread acts as somebody else, until the value is dropped.
struct Acting {
    groups: bool,
}

impl Acting {
    fn begin(caller: Caller, groups: &[Gid]) -> Result<Self, Errno> {
        // From here on, an early return undoes what was done.
        let acting = Self { groups: !groups.is_empty() };
        if !caller.uid.is_root() && (acting.groups || !NO_GROUPS.get()) {
            set_thread_groups(groups).map_err(errno)?;
            NO_GROUPS.set(!acting.groups);
        }
        set_thread_res_gid(None, caller.gid, None).map_err(errno)?;
        set_thread_res_uid(None, caller.uid, None).map_err(errno)?;
        Ok(acting)
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        let root = set_thread_res_uid(None, Uid::ROOT, None).and_then(|()| set_thread_res_gid(None, Gid::ROOT, None));
        let root = root.and_then(|()| if self.groups { set_thread_groups(&[]) } else { Ok(()) });
        if self.groups {
            NO_GROUPS.set(true);
        }
        // The real and saved ids are root's, so this cannot be refused; going on as somebody else would be worse than ending.
        if let Err(error) = root {
            tracing::error!(%error, "taking root's rights back");
            std::process::abort();
        }
    }
}

/// The supplementary groups of a process or thread; none if it is gone or cannot be seen.
fn groups_of(pid: Pid) -> Vec<Gid> {
    if pid.0 == 0 {
        return Vec::new();
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    parse_groups(&status)
}

fn parse_groups(status: &str) -> Vec<Gid> {
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    line.split_ascii_whitespace().filter_map(|group| group.parse().ok()).map(Gid::from_raw).collect()
}

/// Makes `mask` the umask of this thread, for an inode that is made next: the source knows whether a default ACL takes its
/// place.
///
/// # Errors
/// Those of unshare(2).
pub(crate) fn set_umask(mask: u32) -> Result<(), Errno> {
    let before = UMASK.get();
    if before == Some(mask) {
        return Ok(());
    }
    if before.is_none() {
        // Threads share one umask until they part.
        unshare(CloneFlags::CLONE_FS).map_err(std::io::Error::from)?;
    }
    umask(Mode::from_bits_truncate(mask & 0o777));
    UMASK.set(Some(mask));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_in_a_status_file() {
        let raw = |text| parse_groups(text).into_iter().map(Gid::as_raw).collect::<Vec<_>>();
        assert_eq!(raw("Name:\tx\nGroups:\t4 24 1000 \nNStgid:\t1\n"), [4, 24, 1000]);
        assert_eq!(raw("Groups:\t \n"), [0_u32; 0]);
        assert_eq!(raw(""), [0_u32; 0]);
    }

    #[test]
    fn umask_of_one_thread_is_not_that_of_another() {
        let there = std::thread::spawn(|| {
            set_umask(0o077).unwrap();
            umask(Mode::from_bits_truncate(0o077)).bits()
        });
        assert_eq!(there.join().unwrap(), 0o077);
        let here = umask(Mode::from_bits_truncate(0o022));
        umask(here);
        assert_ne!(here.bits(), 0o077);
    }
}
