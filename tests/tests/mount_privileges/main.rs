//! What takes suid, sgid and capabilities from a file: each way to change it, by each kind of caller, on memfs and through mirrorfs,
//! compared with what the kernel's own filesystem does in the same run.
//!
//! It needs root, for mount namespaces and for users to act as.
#![forbid(unsafe_code)]

mod changes;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::thread;

use fusewire::mount::{MountFlag, MountOptions};
use fusewire::{Filesystem, Mounted, SessionConfig};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Gid, Uid, XattrFlags};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use changes::{CHANGES, Change};

const OWNER: u32 = 1001;
const OTHER: u32 = 1000;

/// Who changes the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Root,
    Owner,
    /// Neither the owner nor in the group.
    Other,
    /// Not the owner, but in the group.
    Member,
}

const CALLERS: [Caller; 4] = [Caller::Root, Caller::Owner, Caller::Other, Caller::Member];

/// With and without execution by the group, which says what sgid means.
const MODES: [u32; 4] = [0o6777, 0o2767, 0o4666, 0o2666];

const CAPABILITY: &str = "security.capability";

/// What became of the file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Outcome {
    /// 0: it was changed.
    errno: i32,
    mode: u32,
    capable: bool,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let capable = if self.capable { "capabilities" } else { "none" };
        write!(f, "errno {}, mode {:o}, {capable}", self.errno, self.mode)
    }
}

/// Runs `act` with the rights of the caller: a thread has its own.
fn act_as(caller: Caller, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let (user, group, groups): (_, _, &[u32]) = match caller {
        Caller::Root => return act(),
        Caller::Owner => (OWNER, OWNER, &[]),
        Caller::Other => (OTHER, OTHER, &[]),
        Caller::Member => (OTHER, OTHER, &[OWNER]),
    };
    let groups: Vec<_> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    set_thread_groups(&groups)?;
    set_thread_res_gid(None, Gid::from_raw(group), None)?;
    // Capabilities go with this, and come back with the next.
    set_thread_res_uid(None, Uid::from_raw(user), None)?;
    let result = act();
    set_thread_res_uid(None, Uid::ROOT, None)?;
    set_thread_res_gid(None, Gid::ROOT, None)?;
    set_thread_groups(&[])?;
    result
}

fn attempt(root: &Path, change: &Change, caller: Caller, mode: u32, capable: bool) -> Outcome {
    let file = root.join("file");
    let _ = fs::remove_file(&file);
    for path in [&file, &root.join("source")] {
        fs::write(path, [b'z'; 8192]).expect("writing");
        chown(path, Some(OWNER), Some(OWNER)).expect("an owner");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
    if capable {
        let value: Vec<u8> = [0x0200_0000_u32, 1 << 10, 0, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect();
        rustix::fs::setxattr(&file, CAPABILITY, &value, XattrFlags::empty()).expect("capabilities");
    }
    let changed = act_as(caller, || (change.make)(&file));
    let errno = changed.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1));
    let mode = fs::metadata(&file).expect("its mode").mode() & 0o7777;
    let capable = rustix::fs::getxattr(&file, CAPABILITY, &mut [0_u8; 100]).is_ok();
    Outcome { errno, mode, capable }
}

/// Makes every change on both, and tells where they differ.
fn compare(native: &Path, ours: &Path) {
    let mut found = Vec::new();
    let mut count = 0;
    for change in CHANGES {
        for caller in CALLERS.into_iter().filter(|caller| !change.only_by_owner || *caller == Caller::Owner) {
            for (mode, capable) in MODES.into_iter().flat_map(|mode| [(mode, false), (mode, true)]) {
                let expected = attempt(native, change, caller, mode, capable);
                let outcome = attempt(ours, change, caller, mode, capable);
                count += 1;
                if outcome != expected {
                    let with = if capable { " with capabilities" } else { "" };
                    found.push(format!(
                        "{} by {caller:?}, mode {mode:o}{with}: {expected}; ours: {outcome}",
                        change.name
                    ));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} of {count} differ:\n{}", found.len(), found.join("\n"));
}

/// Runs a test in a mount namespace and with a umask (0) of its own, with two directories of a tmpfs.
fn run(test: impl FnOnce(&Path, &Path) + Send) {
    const NOTHING: Option<&str> = None;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let ran = thread::scope(|scope| {
        let body = || {
            unshare(CloneFlags::CLONE_NEWNS).expect("these tests need root, for a mount namespace");
            mount(NOTHING, "/", NOTHING, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NOTHING).expect("private mounts");
            mount(Some("tmpfs"), directory.path(), Some("tmpfs"), MsFlags::empty(), Some("mode=755")).expect("a tmpfs");
            rustix::process::umask(rustix::fs::Mode::empty());
            let place = |name: &str| -> PathBuf {
                let place = directory.path().join(name);
                fs::create_dir(&place).expect("a directory");
                fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).expect("its mode");
                place
            };
            test(&place("native"), &place("ours"));
        };
        scope.spawn(body).join()
    });
    if let Err(panic) = ran {
        std::panic::resume_unwind(panic);
    }
}

fn serve(filesystem: impl Filesystem + 'static, place: &Path) -> Mounted {
    let options = MountOptions::new().subtype("tested").default_permissions().allow_other();
    let options = options.clear(MountFlag::NoDev).clear(MountFlag::NoSuid);
    fusewire::mount(filesystem, place, &options, SessionConfig::default()).expect("mounting")
}

fn compare_mirror(change: impl FnOnce(&mut mirrorfs::Options) + Send) {
    run(|native, ours| {
        let source = ours.with_file_name("source-of-ours");
        fs::create_dir(&source).expect("a source");
        fs::set_permissions(&source, fs::Permissions::from_mode(0o777)).expect("its mode");
        let mut options = mirrorfs::Options::default();
        change(&mut options);
        let mut mounted = serve(mirrorfs::Mirror::new(&source, options).expect("a mirror"), ours);
        compare(native, ours);
        mounted.unmount().expect("unmounting");
    });
}

#[test]
fn memfs_takes_privileges_away_as_tmpfs_does() {
    run(|native, ours| {
        let mut mounted = serve(memfs::MemFs::new(memfs::Options::default()), ours);
        compare(native, ours);
        mounted.unmount().expect("unmounting");
    });
}

#[test]
fn mirrorfs_takes_privileges_away_as_its_source_does() {
    compare_mirror(|_| {});
}

#[test]
fn mirrorfs_takes_privileges_away_as_its_source_does_when_nothing_is_cached() {
    compare_mirror(|options| options.cache = mirrorfs::CacheMode::None);
}

#[test]
fn mirrorfs_takes_privileges_away_as_its_source_does_when_the_kernel_gathers_writes() {
    compare_mirror(|options| {
        options.cache = mirrorfs::CacheMode::Always;
        options.writeback = true;
    });
}

#[test]
fn nobody_may_take_capabilities_away_who_may_not_in_the_source() {
    run(|native, ours| {
        let source = ours.with_file_name("source-of-ours");
        fs::create_dir(&source).expect("a source");
        let mut mounted = serve(mirrorfs::Mirror::new(&source, mirrorfs::Options::default()).expect("a mirror"), ours);
        let remove = Change {
            name: "removexattr(2)",
            make: |file| Ok(rustix::fs::removexattr(file, CAPABILITY)?),
            only_by_owner: false,
        };
        for caller in [Caller::Owner, Caller::Other, Caller::Member] {
            // EPERM, but for kernels from before 6.9 with a BPF security module, which ask nobody
            // (security/security.c security_inode_removexattr()).
            let expected = attempt(native, &remove, caller, 0o777, true);
            let outcome = attempt(ours, &remove, caller, 0o777, true);
            assert!(outcome == expected, "{caller:?}: {expected}; ours: {outcome}");
        }
        assert!(!attempt(ours, &remove, Caller::Root, 0o777, true).capable);
        mounted.unmount().expect("unmounting");
    });
}
