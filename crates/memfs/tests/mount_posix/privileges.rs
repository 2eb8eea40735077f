//! Owners, modes and ACLs: what is inherited, what is enforced, and what is taken away by writing.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{Mode, XattrFlags};

use crate::stage::{USER, as_user, on_memfs};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("its mode").mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("setting a mode");
}

/// An ACL with these entries: tag, permissions, id.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

const USER_OBJ: u16 = 1;
const NAMED: u16 = 2;
const GROUP_OBJ: u16 = 4;
const MASK: u16 = 16;
const OTHER: u16 = 32;
const NOBODY: u32 = u32::MAX;

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// The user of the tests may read and write, its group and others nothing.
fn for_the_user() -> Vec<u8> {
    acl(&[(USER_OBJ, 7, NOBODY), (NAMED, 6, USER), (GROUP_OBJ, 0, NOBODY), (MASK, 6, NOBODY), (OTHER, 0, NOBODY)])
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).expect("setting an attribute");
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1000];
    let length = rustix::fs::getxattr(path, name, value.as_mut_slice()).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn writing_takes_suid_and_capabilities_away() {
    on_memfs(&[], |root| {
        let path = root.join("file");
        fs::write(&path, "program").expect("writing");
        let capability: Vec<u8> = [0x0200_0000_u32, 1 << 10, 0, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect();
        let arm = || {
            set_mode(&path, 0o6777);
            set_xattr(&path, "security.capability", &capability);
        };
        let armed = || (mode(&path), xattr(&path, "security.capability").is_some());
        arm();
        assert_eq!(armed(), (0o6777, true));
        as_user(|| File::options().write(true).open(&path)?.write_all(b"x")).expect("writing");
        assert_eq!(armed(), (0o777, false), "a write by a user");
        arm();
        as_user(|| File::options().write(true).truncate(true).open(&path)).expect("truncating");
        assert_eq!(armed(), (0o777, false), "a truncation by a user");
        arm();
        as_user(|| {
            let file = File::options().write(true).open(&path).expect("opening");
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 100).expect("reserving");
        });
        assert_eq!(armed(), (0o777, false), "a reservation by a user");
        arm();
        File::options().write(true).open(&path).expect("opening").write_all(b"x").expect("writing");
        assert_eq!(armed(), (0o6777, false), "root may keep the bits, and loses capabilities");
        arm();
        chown(&path, Some(USER), Some(USER)).expect("giving away");
        assert_eq!(armed(), (0o777, false), "a change of owner");
        // Without execution by the group, sgid means something else.
        set_mode(&path, 0o2767);
        as_user(|| File::options().write(true).open(&path)?.write_all(b"x")).expect("writing");
        assert_eq!(mode(&path), 0o2767);
    });
}

#[test]
fn bits_that_a_write_took_away_do_not_count_when_executed() {
    on_memfs(&[], |root| {
        let path = root.join("id");
        fs::copy("/usr/bin/id", &path).expect("a program");
        set_mode(&path, 0o4777);
        chown(&path, Some(1234), Some(1234)).expect("an owner");
        set_mode(&path, 0o4777);
        let effective = || {
            let output = std::process::Command::new(&path).arg("-u").output().expect("running it");
            String::from_utf8(output.stdout).expect("text").trim().to_owned()
        };
        assert_eq!(effective(), "1234");
        let mut file = File::options().append(true).open(&path).expect("opening");
        as_user(|| file.write_all(b"x")).expect("writing");
        drop(file);
        // Nobody looked at the mode in between.
        assert_eq!(effective(), "0");
    });
}

#[test]
fn set_gid_directory_gives_its_group() {
    on_memfs(&[], |root| {
        let directory = root.join("d");
        fs::create_dir(&directory).expect("a directory");
        chown(&directory, None, Some(4321)).expect("its group");
        set_mode(&directory, 0o2777);
        as_user(|| {
            File::create_new(directory.join("file")).expect("creating");
            fs::create_dir(directory.join("sub")).expect("a directory");
            std::os::unix::fs::symlink("x", directory.join("link")).expect("a link");
        });
        for name in ["file", "sub", "link"] {
            let found = fs::symlink_metadata(directory.join(name)).expect(name);
            assert_eq!((found.uid(), found.gid()), (USER, 4321), "{name}");
        }
        assert_eq!(mode(&directory.join("sub")) & 0o2000, 0o2000);
        // A user who is not in the group cannot have sgid there.
        let options = OpenOptions::new().write(true).create_new(true).mode(0o2775).clone();
        as_user(|| options.open(directory.join("program"))).expect("creating");
        assert_eq!(mode(&directory.join("program")), 0o775);
        as_user(|| set_mode(&directory.join("program"), 0o2775));
        assert_eq!(mode(&directory.join("program")), 0o775);
    });
}

#[test]
fn sticky_directory_protects_what_others_own() {
    on_memfs(&["mode=1777"], |root| {
        fs::write(root.join("roots"), "x").expect("writing");
        let denied = as_user(|| fs::remove_file(root.join("roots"))).expect_err("it is another's");
        assert_eq!(denied.raw_os_error(), Some(libc::EPERM));
        as_user(|| {
            fs::write(root.join("own"), "x").expect("writing");
            fs::remove_file(root.join("own")).expect("removing");
        });
    });
}

#[test]
fn options_of_the_root() {
    on_memfs(&["mode=750", "uid=1000", "gid=77"], |root| {
        let found = fs::metadata(root).expect("the root");
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid(), found.ino()), (0o750, 1000, 77, 1));
    });
}

#[test]
fn acls_are_enforced() {
    on_memfs(&[], |root| {
        let path = root.join("file");
        fs::write(&path, "secret").expect("writing");
        set_mode(&path, 0o600);
        assert!(as_user(|| fs::read(&path)).is_err(), "nothing allows it yet");
        set_xattr(&path, ACCESS, &for_the_user());
        assert_eq!(mode(&path), 0o760, "the group of the mode is the mask");
        assert_eq!(as_user(|| fs::read(&path)).expect("the ACL allows it"), b"secret");
        set_mode(&path, 0o700);
        assert!(as_user(|| fs::read(&path)).is_err(), "the mask is empty");
        let masked = acl(&[
            (USER_OBJ, 7, NOBODY),
            (NAMED, 6, USER),
            (GROUP_OBJ, 0, NOBODY),
            (MASK, 0, NOBODY),
            (OTHER, 0, NOBODY),
        ]);
        assert_eq!(xattr(&path, ACCESS), Some(masked));
        rustix::fs::removexattr(&path, ACCESS).expect("removing");
        assert_eq!(xattr(&path, ACCESS), None);
        // One that says no more than a mode is a mode.
        set_xattr(&path, ACCESS, &acl(&[(USER_OBJ, 6, NOBODY), (GROUP_OBJ, 4, NOBODY), (OTHER, 4, NOBODY)]));
        assert_eq!((mode(&path), xattr(&path, ACCESS)), (0o644, None));
        assert!(as_user(|| fs::read(&path)).is_ok());
    });
}

#[test]
fn default_acls_are_inherited_and_the_umask_is_not_applied() {
    on_memfs(&[], |root| {
        let directory = root.join("d");
        fs::create_dir(&directory).expect("a directory");
        set_xattr(&directory, DEFAULT, &for_the_user());
        rustix::process::umask(Mode::from_raw_mode(0o077));
        OpenOptions::new().write(true).create_new(true).mode(0o644).open(directory.join("file")).expect("creating");
        fs::create_dir(directory.join("sub")).expect("a directory");
        File::create_new(root.join("outside")).expect("creating");
        let tmpfile =
            OpenOptions::new().read(true).write(true).mode(0o666).custom_flags(libc::O_TMPFILE).open(&directory);
        assert_eq!(tmpfile.expect("a nameless file").metadata().expect("its mode").mode() & 0o777, 0o660);
        rustix::process::umask(Mode::empty());
        assert_eq!(mode(&directory.join("file")), 0o640);
        let inherited = acl(&[
            (USER_OBJ, 6, NOBODY),
            (NAMED, 6, USER),
            (GROUP_OBJ, 0, NOBODY),
            (MASK, 4, NOBODY),
            (OTHER, 0, NOBODY),
        ]);
        assert_eq!(xattr(&directory.join("file"), ACCESS), Some(inherited));
        assert_eq!(xattr(&directory.join("file"), DEFAULT), None);
        assert_eq!(xattr(&directory.join("sub"), DEFAULT), Some(for_the_user()));
        assert_eq!(mode(&directory.join("sub")), 0o760);
        assert_eq!(mode(&root.join("outside")), 0o600);
    });
}

#[test]
fn times_are_kept_to_the_nanosecond() {
    use std::time::{Duration, UNIX_EPOCH};
    on_memfs(&[], |root| {
        let file = File::create_new(root.join("file")).expect("creating");
        // Before 1970, after 2038, after 2106 and after 2446.
        for (seconds, nanos) in [(-5_000_000_000_i64, 1), (-1, 999_999_999), (1 << 32, 123_456_789), (1 << 34, 5)] {
            let base = Duration::from_secs(seconds.unsigned_abs());
            let second = if seconds < 0 { UNIX_EPOCH - base } else { UNIX_EPOCH + base };
            let time = second + Duration::from_nanos(nanos);
            file.set_times(fs::FileTimes::new().set_accessed(time).set_modified(time)).expect("setting times");
            let found = file.metadata().expect("its times");
            assert_eq!((found.accessed().expect("atime"), found.modified().expect("mtime")), (time, time));
        }
        let found = file.metadata().expect("its times");
        let age = found.created().expect("its time of creation").elapsed().expect("it is past");
        assert!(age < Duration::from_secs(60));
    });
}

#[test]
fn reading_is_noted_once() {
    on_memfs(&[], |root| {
        let path = root.join("file");
        fs::write(&path, "x").expect("writing");
        let direct = || {
            let options = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).clone();
            std::io::Read::read(&mut options.open(&path).expect("opening"), &mut [0; 10]).expect("reading");
            fs::metadata(&path).expect("its times").accessed().expect("atime")
        };
        let written = fs::metadata(&path).expect("its times").modified().expect("mtime");
        let first = direct();
        assert!(first > written, "not read since it was written");
        assert_eq!(direct(), first, "read since: relatime");
    });
}
