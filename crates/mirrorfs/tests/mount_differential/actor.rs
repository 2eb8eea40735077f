//! Who makes the calls: the thread takes users on, as a program of that user would have them.

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::random::Random;

/// The users of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    Root,
    User,
    Anybody,
}

/// A user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// A supplementary group.
    pub(crate) group: u32,
}

pub(crate) const ROOT: Who = Who { uid: 0, gid: 0, group: 0 };
/// An ordinary user, whom no system has.
pub(crate) const USER: Who = Who { uid: 54321, gid: 54322, group: 54323 };
/// Another one, in the group of the first.
pub(crate) const OTHER: Who = Who { uid: 54331, gid: 54332, group: 54322 };

impl Actor {
    /// The thread becomes one whose umask is its own.
    pub(crate) fn begin(self) {
        assert!(rustix::process::geteuid().is_root(), "these tests need root, to be any user");
        unshare(CloneFlags::CLONE_FS).expect("a umask of its own");
        rustix::process::umask(rustix::fs::Mode::from_bits_retain(0o022));
    }

    pub(crate) fn choose(self, random: &mut Random) -> Who {
        match self {
            Self::Root => ROOT,
            Self::User => USER,
            Self::Anybody => random.pick(&[ROOT, USER, OTHER]),
        }
    }
}

impl Who {
    /// Makes calls as this user.
    pub(crate) fn act<R>(self, calls: impl FnOnce() -> R) -> R {
        let groups = [Gid::from_raw(self.group)];
        set_thread_groups(&groups).expect("setgroups");
        set_thread_res_gid(None, Gid::from_raw(self.gid), None).expect("setresgid");
        set_thread_res_uid(None, Uid::from_raw(self.uid), None).expect("setresuid");
        let result = calls();
        set_thread_res_uid(None, Uid::ROOT, None).expect("setresuid");
        set_thread_res_gid(None, Gid::ROOT, None).expect("setresgid");
        result
    }
}
