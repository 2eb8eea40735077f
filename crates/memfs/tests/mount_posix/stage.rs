//! What each test stands on: a mount namespace, a memfs and a tmpfs in it, and another user to act as.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use fusewire::mount::{MountFlag, MountOptions};
use fusewire::{Mounted, SessionConfig};
use memfs::{MemFs, Options};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

const NOTHING: Option<&str> = None;

/// The ordinary user of these tests.
pub(crate) const USER: u32 = 1000;

/// The ground of one test.
pub(crate) struct Stage {
    directory: PathBuf,
}

impl Stage {
    /// Runs a test on a thread with a mount namespace, a working directory and a umask (0) of its own.
    pub(crate) fn run(test: impl FnOnce(&Self) + Send) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        let stage = Self { directory: directory.path().canonicalize().expect("its path") };
        thread::scope(|scope| {
            let ran = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNS).expect("these tests need root, for a mount namespace");
                let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
                mount(NOTHING, "/", NOTHING, private, NOTHING).expect("making mounts private");
                rustix::process::umask(rustix::fs::Mode::empty());
                test(&stage);
            });
            if let Err(panic) = ran.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }

    fn directory(&self, name: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::create_dir(&path).expect("a directory");
        path
    }

    /// A memfs with these options (`name=value`). It is unmounted when the value is dropped.
    pub(crate) fn memfs(&self, name: &str, options: &[&str]) -> (PathBuf, Mounted) {
        let path = self.directory(name);
        let mut wanted = Options::default();
        for (option, value) in options.iter().filter_map(|option| option.split_once('=')) {
            assert_eq!(wanted.set(option, value), Ok(true));
        }
        let mount_options = MountOptions::new().subtype("memfs").default_permissions().allow_other();
        let mount_options = mount_options.clear(MountFlag::NoDev).clear(MountFlag::NoSuid);
        let mounted = fusewire::mount(MemFs::new(wanted), &path, &mount_options, SessionConfig::default())
            .expect("mounting memfs");
        (path, mounted)
    }

    /// A tmpfs with these options.
    pub(crate) fn tmpfs(&self, name: &str, options: &str) -> PathBuf {
        let path = self.directory(name);
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some(options)).expect("mounting tmpfs");
        path
    }
}

/// Runs `test` on a memfs.
pub(crate) fn on_memfs(options: &[&str], test: impl FnOnce(&Path) + Send) {
    Stage::run(|stage| {
        let (path, mut mounted) = stage.memfs("memfs", options);
        test(&path);
        mounted.unmount().expect("unmounting memfs");
    });
}

/// Runs `act` with the rights of an ordinary user, this thread's other rights aside.
pub(crate) fn as_user<R>(act: impl FnOnce() -> R) -> R {
    setfsgid(Gid::from_raw(USER));
    setfsuid(Uid::from_raw(USER));
    let result = act();
    setfsuid(Uid::from_raw(0));
    setfsgid(Gid::from_raw(0));
    result
}
