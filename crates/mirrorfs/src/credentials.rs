//! Acting as the caller: user, group, supplementary groups and umask of the thread that serves a request.
//!
//! Who may do what is checked by the kernel at the mount, and again by the source when a mirror acts as its caller. Nothing
//! here decides.

use std::cell::Cell;

use fusewire::{Context, Errno};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Gid, Mode, Uid};
use rustix::io;
use rustix::process::umask;
use rustix::thread::{
    CapabilitySet, capabilities, set_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::ids::IdMap;
use crate::options::Options;

/// How a mirror comes by the rights of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rights {
    /// It is root, and takes them on.
    Callers,
    /// It is root, and owners or permissions are shown that the source knows nothing of: only the kernel checks, and what
    /// a caller makes is made by root in the name of the caller.
    Names,
    /// It has only its own.
    Own,
}

/// In whose name a mirror acts.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    rights: Rights,
    /// What callers are in the source.
    map: IdMap,
    /// To whom belongs what is made, if not to the caller.
    owner: Owner,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Owner {
    uid: Option<Uid>,
    gid: Option<Gid>,
}

impl Identity {
    /// What this process can do.
    pub(crate) fn new(options: &Options) -> Self {
        let rights = match (rustix::process::geteuid().is_root(), options.shows_others()) {
            (true, false) => Rights::Callers,
            (true, true) => Rights::Names,
            (false, _) => Rights::Own,
        };
        let owner = Owner {
            uid: options.create_for_user.map(|user| Uid::from_raw(user.0)),
            gid: options.create_for_group.map(|group| Gid::from_raw(group.0)),
        };
        Self { rights, map: options.map.clone(), owner }
    }

    /// Whether what is asked for can be done: giving files away takes root.
    pub(crate) fn can_give_away(&self) -> bool {
        self.rights != Rights::Own || self.owner == Owner::default()
    }

    /// Whether what is made is made with the caller's own rights, so that the source checks what the caller may do.
    pub(crate) fn is_callers(&self) -> bool {
        self.rights == Rights::Callers && self.owner == Owner::default()
    }

    /// Whether writes of a caller who may not keep suid, sgid and capabilities take them away in the source: it does so for
    /// whoever is not root.
    pub(crate) fn clears_privileges(&self) -> bool {
        self.rights != Rights::Names
    }

    /// Runs `act` with the rights of the caller, or with our own where they are all we have.
    ///
    /// The caller's supplementary groups are looked up only if `act` is refused without them: most callers need none, and
    /// looking them up costs more than most operations. So `act` may be called twice, and must do no harm when refused.
    ///
    /// # Errors
    /// Those of `act`; `EPERM` if the rights cannot be taken on.
    #[inline]
    pub(crate) fn act<R>(&self, cx: &Context<'_>, mut act: impl FnMut() -> io::Result<R>) -> Result<R, Errno> {
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
        let groups = self.groups_of(cx);
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
    pub(crate) fn act_with_groups<R>(&self, cx: &Context<'_>, act: impl FnOnce() -> io::Result<R>) -> Result<R, Errno> {
        let Some(caller) = self.caller(cx) else {
            return act().map_err(errno);
        };
        let groups = self.groups_of(cx);
        let _acting = Acting::begin(caller, &groups)?;
        act().map_err(errno)
    }

    /// Runs `make`, which makes an inode with these mode bits, so that it belongs to the caller, or to whom it should.
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub(crate) fn make<R>(&self, cx: &Context<'_>, bits: u32, make: impl Fn() -> io::Result<R>) -> Result<R, Errno> {
        let named = self.rights != Rights::Own && !self.is_callers();
        match self.ids(cx).filter(|_| named) {
            Some((uid, gid)) => {
                let caller = Caller { uid: self.owner.uid.unwrap_or(uid), gid: self.owner.gid.unwrap_or(gid) };
                let _acting = Acting::begin_in_name(caller)?;
                make().map_err(errno)
            }
            None if has_sgid(bits) => self.act_with_groups(cx, make),
            None => self.act(cx, make),
        }
    }

    /// Whether the caller's rights are others than ours.
    pub(crate) fn differs(&self, cx: &Context<'_>) -> bool {
        self.caller(cx).is_some()
    }

    /// What the caller is in the source.
    fn ids(&self, cx: &Context<'_>) -> Option<(Uid, Gid)> {
        let (uid, gid) = (self.map.source_user(cx.uid()?.0), self.map.source_group(cx.gid()?.0));
        Some((Uid::from_raw(uid), Gid::from_raw(gid)))
    }

    /// Who is to be acted as, if it is not us.
    fn caller(&self, cx: &Context<'_>) -> Option<Caller> {
        if self.rights != Rights::Callers {
            return None;
        }
        let (uid, gid) = self.ids(cx)?;
        let own = uid.is_root() && gid.is_root();
        (!own).then_some(Caller { uid, gid })
    }

    /// The supplementary groups of the caller, as they are in the source.
    fn groups_of(&self, cx: &Context<'_>) -> Vec<Gid> {
        let groups = cx.supplementary_groups().into_iter();
        groups.map(|group| Gid::from_raw(self.map.source_group(group.0))).collect()
    }
}

/// Whether the sgid bit is among them: the source takes it away when somebody who is not in the group is at it.
pub(crate) fn has_sgid(bits: u32) -> bool {
    bits & libc::S_ISGID != 0
}

pub(crate) fn errno(error: io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error()).unwrap_or(Errno::EIO)
}

#[derive(Clone, Copy, Debug)]
struct Caller {
    uid: Uid,
    gid: Gid,
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

    /// As [`begin`](Self::begin), with all that root may do.
    fn begin_in_name(caller: Caller) -> Result<Self, Errno> {
        let all = capabilities(None).map_err(errno)?;
        let acting = Self::begin(caller, &[])?;
        set_capabilities(None, all).map_err(errno)?;
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

/// Runs `act` without what lets root write more than others: leaving suid and sgid where they are (`CAP_FSETID`), and taking
/// the room that is reserved for root or that a quota forbids (`CAP_SYS_RESOURCE`).
///
/// The kernel remembers the rights with which a backing file was registered, and writes with them.
///
/// # Errors
/// Those of capget(2) and capset(2).
pub(crate) fn as_ordinary_writer<R>(act: impl FnOnce() -> R) -> io::Result<R> {
    let all = capabilities(None)?;
    let mut fewer = all;
    fewer.effective -= CapabilitySet::FSETID | CapabilitySet::SYS_RESOURCE;
    set_capabilities(None, fewer)?;
    let result = act();
    set_capabilities(None, all)?;
    Ok(result)
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
