//! The options of a mirror, each seen through a real mount that root serves: what is shown, and what the source has then.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use fusewire::mount::MountOptions;
use fusewire::{Mounted, SessionConfig};
use mirrorfs::{CacheMode, Change, GroupId, Mirror, Options, UserId, Xattrs};
use rustix::fs::{Gid, OFlags, Uid, XattrFlags};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// An ordinary user, whom no system has, and another one.
const USER: u32 = 54321;
const OTHER: u32 = 54331;

/// A mirror with these options of a source with a few files.
struct Stage {
    directory: tempfile::TempDir,
    mounted: Mounted,
}

impl Stage {
    fn new(options: Options) -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests need root, to be any user");
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("opening it to all");
        let (source, mountpoint) = (directory.path().join("source"), directory.path().join("mnt"));
        fs::create_dir(&source).expect("the source");
        fs::set_permissions(&source, fs::Permissions::from_mode(0o777)).expect("opening it to all");
        fs::create_dir(&mountpoint).expect("the mountpoint");
        for (name, mode) in [("file", 0o640), ("program", 0o700)] {
            fs::write(source.join(name), "content").expect("a file");
            fs::set_permissions(source.join(name), fs::Permissions::from_mode(mode)).expect("its mode");
        }
        chown(source.join("file"), Some(USER), Some(USER)).expect("giving it away");
        let mirror = Mirror::new(&source, options).expect("a mirror");
        let how = MountOptions::new().subtype("mirrorfs").default_permissions().allow_other();
        let mounted = fusewire::mount(mirror, &mountpoint, &how, SessionConfig::default()).expect("mounting");
        Self { directory, mounted }
    }

    fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::default();
        change(&mut options);
        Self::new(options)
    }

    fn shown(&self, name: &str) -> PathBuf {
        self.mounted.mountpoint().join(name)
    }

    fn source(&self, name: &str) -> PathBuf {
        self.directory.path().join("source").join(name)
    }
}

/// Does something as an ordinary user, in a thread of its own.
fn as_user<R: Send>(user: u32, act: impl FnOnce() -> R + Send) -> R {
    let there = || {
        set_thread_groups(&[]).expect("setgroups");
        set_thread_res_gid(None, Gid::from_raw(user), None).expect("setresgid");
        set_thread_res_uid(None, Uid::from_raw(user), None).expect("setresuid");
        act()
    };
    thread::scope(|scope| scope.spawn(there).join()).expect("the thread of the user")
}

fn owner(path: &Path) -> (u32, u32) {
    let meta = fs::symlink_metadata(path).expect("the file");
    (meta.uid(), meta.gid())
}

fn permissions(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("the file").mode() & 0o7777
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn map_shows_one_user_as_another_and_back() {
    let stage = Stage::with(|options| options.map = format!("{USER}/{OTHER}:@{USER}/@{OTHER}").parse().expect("a map"));
    assert_eq!(owner(&stage.shown("file")), (OTHER, OTHER));
    as_user(OTHER, || {
        assert_eq!(fs::read_to_string(stage.shown("file")).expect("reading"), "content");
        fs::write(stage.shown("made"), "").expect("making");
        fs::create_dir(stage.shown("directory")).expect("making");
        symlink("made", stage.shown("link")).expect("making");
    });
    for name in ["made", "directory", "link"] {
        assert_eq!(owner(&stage.shown(name)), (OTHER, OTHER));
        assert_eq!(owner(&stage.source(name)), (USER, USER));
    }
    assert_eq!(errno(as_user(USER, || File::open(stage.shown("file")))), Some(libc::EACCES));
    chown(stage.shown("program"), Some(OTHER), None).expect("giving it away");
    assert_eq!(owner(&stage.source("program")), (USER, 0));
}

#[test]
fn map_reaches_into_acls() {
    let stage = Stage::with(|options| options.map = format!("{USER}/{OTHER}").parse().expect("a map"));
    let entry = |tag: u16, id: u32| [&tag.to_le_bytes()[..], &4_u16.to_le_bytes(), &id.to_le_bytes()].concat();
    let acl = |user: u32| {
        let none = u32::MAX;
        let entries = [entry(1, none), entry(2, user), entry(4, none), entry(16, none), entry(32, none)];
        [2_u32.to_le_bytes().to_vec(), entries.concat()].concat()
    };
    let name = "system.posix_acl_access";
    rustix::fs::setxattr(stage.shown("program"), name, &acl(OTHER), XattrFlags::empty()).expect("setting the ACL");
    let read = |path: PathBuf| {
        let mut value = vec![0; 200];
        let length = rustix::fs::getxattr(path, name, &mut value[..]).expect("reading the ACL");
        value.truncate(length);
        value
    };
    assert_eq!(read(stage.shown("program")), acl(OTHER));
    assert_eq!(read(stage.source("program")), acl(USER));
    as_user(OTHER, || File::open(stage.shown("program")).expect("the ACL lets the user in"));
}

#[test]
fn forced_owner_is_shown_everywhere_and_may_do_what_an_owner_may() {
    let stage = Stage::with(|options| {
        options.force_user = Some(UserId(OTHER));
        options.force_group = Some(GroupId(USER));
    });
    assert_eq!(owner(&stage.shown("file")), (OTHER, USER));
    assert_eq!(owner(&stage.shown("program")), (OTHER, USER));
    as_user(OTHER, || {
        fs::write(stage.shown("program"), "mine").expect("writing what is shown as one's own");
        fs::write(stage.shown("made"), "").expect("making");
        fs::set_permissions(stage.shown("program"), fs::Permissions::from_mode(0o755)).expect("changing the mode");
    });
    assert_eq!(owner(&stage.shown("made")), (OTHER, USER));
    // In the source it belongs to who made it.
    assert_eq!(owner(&stage.source("made")), (OTHER, OTHER));
    assert_eq!((owner(&stage.source("program")), permissions(&stage.source("program"))), ((0, 0), 0o755));
}

#[test]
fn writing_takes_suid_away_whoever_writes_in_the_end() {
    for (force, passthrough) in [(None, false), (Some(UserId(OTHER)), false), (None, true)] {
        let stage = Stage::with(|options| (options.force_user, options.passthrough) = (force, passthrough));
        chown(stage.source("program"), Some(OTHER), None).expect("giving it away");
        fs::set_permissions(stage.source("program"), fs::Permissions::from_mode(0o4777)).expect("its mode");
        as_user(OTHER, || fs::write(stage.shown("program"), "changed").expect("writing"));
        assert_eq!(permissions(&stage.source("program")), 0o777, "{force:?} {passthrough}");
    }
}

#[test]
fn changed_permissions_are_shown_and_hold() {
    let stage = Stage::with(|options| options.permissions = Some("0000:u=rD:go=rD".parse().expect("rules")));
    assert_eq!(permissions(&stage.shown("program")), 0o444);
    assert_eq!(permissions(&stage.shown("")), 0o555);
    assert_eq!(permissions(&stage.source("program")), 0o700);
    as_user(OTHER, || {
        assert_eq!(fs::read_to_string(stage.shown("program")).expect("reading is allowed"), "content");
        assert_eq!(errno(fs::write(stage.shown("program"), "")), Some(libc::EACCES));
        assert_eq!(errno(File::create(stage.shown("new"))), Some(libc::EACCES));
    });
}

#[test]
fn what_is_made_belongs_to_whom_it_should() {
    let stage = Stage::with(|options| {
        options.create_for_user = Some(UserId(OTHER));
        options.create_for_group = Some(GroupId(0));
    });
    as_user(USER, || {
        fs::write(stage.shown("made"), "written by its maker").expect("making");
        fs::create_dir(stage.shown("directory")).expect("making");
        symlink("made", stage.shown("link")).expect("making");
    });
    for name in ["made", "directory", "link"] {
        assert_eq!(owner(&stage.source(name)), (OTHER, 0), "{name}");
    }
    assert_eq!(fs::read_to_string(stage.source("made")).expect("reading"), "written by its maker");
}

#[test]
fn changes_of_owner_group_and_mode_are_ignored_or_denied() {
    let attempt = |stage: &Stage| {
        let chown_user = errno(chown(stage.shown("program"), Some(USER), None));
        let chown_group = errno(chown(stage.shown("program"), None, Some(USER)));
        let chmod = errno(fs::set_permissions(stage.shown("program"), fs::Permissions::from_mode(0o711)));
        (chown_user, chown_group, chmod)
    };
    let all =
        |change| move |options: &mut Options| (options.chown, options.chgrp, options.chmod) = (change, change, change);
    let (denied, unchanged) = (Some(libc::EPERM), ((0, 0), 0o700));
    let state = |stage: &Stage| (owner(&stage.source("program")), permissions(&stage.source("program")));

    let stage = Stage::with(all(Change::Allow));
    assert_eq!((attempt(&stage), state(&stage)), ((None, None, None), ((USER, USER), 0o711)));
    let stage = Stage::with(all(Change::Ignore));
    assert_eq!((attempt(&stage), state(&stage)), ((None, None, None), unchanged));
    let stage = Stage::with(all(Change::Deny));
    assert_eq!((attempt(&stage), state(&stage)), ((denied, denied, denied), unchanged));
    let stage = Stage::with(|options| options.chgrp = Change::Deny);
    assert_eq!((attempt(&stage), state(&stage)), ((None, denied, None), ((USER, 0), 0o711)));
}

#[test]
fn permissions_of_what_is_made_and_of_changes_follow_rules() {
    let stage = Stage::with(|options| {
        options.create_with_permissions = Some("g=rwX:o=".parse().expect("rules"));
        options.chmod_filter = Some("o=".parse().expect("rules"));
    });
    as_user(USER, || {
        // Whatever the umask is.
        File::create(stage.shown("made")).expect("making");
        fs::create_dir(stage.shown("directory")).expect("making");
    });
    assert_eq!((permissions(&stage.source("made")), permissions(&stage.source("directory"))), (0o660, 0o770));
    fs::set_permissions(stage.shown("made"), fs::Permissions::from_mode(0o777)).expect("changing it");
    assert_eq!(permissions(&stage.source("made")), 0o770);
    let plain = Stage::with(|_| {});
    File::create(plain.shown("made")).expect("making");
    assert_ne!(permissions(&plain.source("made")), 0o660);
    fs::set_permissions(plain.shown("file"), fs::Permissions::from_mode(0o777)).expect("changing it");
    assert_eq!(permissions(&plain.source("file")), 0o777);
}

#[test]
fn removing_and_renaming_can_be_denied() {
    let names = |stage: &Stage| (stage.source("file").exists(), stage.source("directory").exists());
    for (deny_delete, deny_rename) in [(true, false), (false, true)] {
        let stage = Stage::with(|options| (options.deny_delete, options.deny_rename) = (deny_delete, deny_rename));
        fs::create_dir(stage.source("directory")).expect("a directory");
        let refused = |denied: bool| denied.then_some(libc::EPERM);
        assert_eq!(errno(fs::rename(stage.shown("program"), stage.shown("other"))), refused(deny_rename));
        assert_eq!(errno(fs::remove_file(stage.shown("file"))), refused(deny_delete));
        assert_eq!(errno(fs::remove_dir(stage.shown("directory"))), refused(deny_delete));
        assert_eq!(names(&stage), (deny_delete, deny_delete));
    }
}

#[test]
fn extended_attributes_can_be_left_out_or_protected() {
    let set = |stage: &Stage| rustix::fs::setxattr(stage.shown("file"), "user.new", b"1", XattrFlags::empty()).err();
    let read = |stage: &Stage| {
        rustix::fs::setxattr(stage.source("file"), "user.old", b"1", XattrFlags::empty()).expect("setting");
        rustix::fs::getxattr(stage.shown("file"), "user.old", &mut [0_u8; 10][..])
    };
    use rustix::io::Errno;
    let stage = Stage::new(Options::default());
    assert_eq!((set(&stage), read(&stage)), (None, Ok(1)));
    let stage = Stage::with(|options| options.xattrs = Xattrs::ReadOnly);
    assert_eq!((set(&stage), read(&stage)), (Some(Errno::ACCESS), Ok(1)));
    assert_eq!(rustix::fs::removexattr(stage.shown("file"), "user.old"), Err(Errno::ACCESS));
    let stage = Stage::with(|options| options.xattrs = Xattrs::None);
    assert_eq!((set(&stage), read(&stage)), (Some(Errno::OPNOTSUPP), Err(Errno::OPNOTSUPP)));
    assert_eq!(rustix::fs::listxattr_query(stage.shown("file")), Err(Errno::OPNOTSUPP));
}

#[test]
fn hard_links_look_like_files_of_their_own() {
    let stage = Stage::with(|options| options.hide_hard_links = true);
    fs::hard_link(stage.shown("file"), stage.shown("other")).expect("linking");
    let links = |path: PathBuf| fs::metadata(path).expect("the file").nlink();
    assert_eq!((links(stage.shown("file")), links(stage.shown("other"))), (1, 1));
    assert_eq!(links(stage.source("other")), 2);
    fs::remove_file(stage.shown("file")).expect("removing one name");
    assert_eq!(fs::read_to_string(stage.shown("other")).expect("reading"), "content");
}

#[test]
fn closed_directory_of_another_stays_closed() {
    let stage = Stage::new(Options::default());
    fs::create_dir(stage.source("closed")).expect("a directory");
    fs::write(stage.source("closed/secret"), "").expect("a file");
    fs::set_permissions(stage.source("closed"), fs::Permissions::from_mode(0o700)).expect("closing it");
    as_user(USER, || {
        assert_eq!(errno(fs::read_dir(stage.shown("closed"))), Some(libc::EACCES));
        assert_eq!(errno(File::open(stage.shown("closed/secret"))), Some(libc::EACCES));
        assert_eq!(errno(fs::remove_file(stage.shown("closed/secret"))), Some(libc::EACCES));
        assert_eq!(errno(fs::write(stage.shown("program"), "")), Some(libc::EACCES));
    });
}

#[test]
fn file_that_came_up_unseen_is_not_opened_unchecked_when_it_is_to_be_made() {
    let shown = |options: &mut Options| options.permissions = Some("u+".parse().expect("rules"));
    let given: fn(&mut Options) = |options| options.create_for_user = Some(UserId(OTHER));
    for change in [&shown as &dyn Fn(&mut Options), &given, &|_: &mut Options| {}] {
        let stage = Stage::with(|options| {
            options.cache = CacheMode::Always;
            change(options);
        });
        assert_eq!(errno(fs::metadata(stage.shown("secret"))), Some(libc::ENOENT));
        fs::write(stage.source("secret"), "content").expect("a file");
        fs::set_permissions(stage.source("secret"), fs::Permissions::from_mode(0o600)).expect("its mode");
        let open = || File::options().read(true).write(true).create(true).truncate(false).open(stage.shown("secret"));
        assert_eq!(errno(as_user(USER, open)), Some(libc::EACCES));
        // Who may open it finds it.
        assert_eq!(io::read_to_string(open().expect("opening")).expect("reading"), "content");
    }
}

#[test]
fn program_that_may_be_executed_and_not_read_is_executed() {
    let stage = Stage::new(Options::default());
    fs::copy("/bin/true", stage.source("true")).expect("copying a program");
    fs::set_permissions(stage.source("true"), fs::Permissions::from_mode(0o711)).expect("its mode");
    let program = stage.shown("true");
    let run = || std::process::Command::new(&program).status().map(|status| status.success());
    assert!(as_user(USER, || File::open(&program).is_err()));
    assert!(as_user(USER, run).expect("executing"));
}

#[test]
fn program_that_is_being_executed_keeps_its_content() {
    let program = fs::read("/bin/sleep").expect("a program");
    for cache in [CacheMode::None, CacheMode::Auto, CacheMode::Always] {
        let mut options = Options::default();
        options.cache = cache;
        let stage = Stage::new(options);
        fs::copy("/bin/sleep", stage.source("sleep")).expect("copying it");
        let mut child = std::process::Command::new(stage.shown("sleep")).arg("60").spawn().expect("executing it");
        let read_and_truncate = OFlags::RDONLY | OFlags::TRUNC;
        let open = |flags| rustix::fs::open(stage.shown("sleep"), flags, rustix::fs::Mode::empty());
        let flags = [OFlags::WRONLY, OFlags::RDWR, read_and_truncate, OFlags::WRONLY | OFlags::TRUNC];
        let opened = flags.map(|flags| open(flags).err());
        let ended = child.try_wait().expect("asking");
        child.kill().and_then(|()| child.wait()).expect("ending it");
        assert_eq!(opened, [Some(rustix::io::Errno::TXTBSY); 4], "{cache:?}");
        assert_eq!(ended, None, "{cache:?}");
        assert!(fs::read(stage.source("sleep")).expect("reading") == program, "{cache:?}");
        // And then it can be truncated.
        open(read_and_truncate).expect("opening");
        assert_eq!(fs::metadata(stage.source("sleep")).expect("its size").len(), 0);
    }
}

#[test]
fn what_others_do_in_the_source_is_seen_in_time() {
    let mut options = Options::default();
    options.attr_timeout = Some(Duration::ZERO);
    options.entry_timeout = Some(Duration::ZERO);
    let stage = Stage::new(options);
    assert_eq!(fs::read_to_string(stage.shown("file")).expect("reading"), "content");
    fs::write(stage.source("file"), "longer content").expect("writing");
    assert_eq!(fs::read_to_string(stage.shown("file")).expect("reading"), "longer content");
    let open = File::open(stage.shown("file")).expect("opening");
    fs::rename(stage.source("file"), stage.source("renamed")).expect("renaming");
    fs::write(stage.source("file"), "another").expect("writing");
    assert_eq!(io::read_to_string(&open).expect("reading"), "longer content");
    assert_eq!(fs::read_to_string(stage.shown("file")).expect("reading"), "another");
    assert_eq!(fs::read_to_string(stage.shown("renamed")).expect("reading"), "longer content");
    fs::remove_file(stage.source("file")).expect("removing");
    assert_eq!(errno(File::open(stage.shown("file"))), Some(libc::ENOENT));
}

#[test]
fn appends_of_others_are_not_overwritten() {
    use std::io::Write;
    let stage = Stage::new(Options::default());
    let append = |path: PathBuf| fs::OpenOptions::new().append(true).open(path).expect("opening");
    let (mut here, mut there) = (append(stage.shown("file")), append(stage.source("file")));
    for _ in 0..100 {
        here.write_all(b"HERE.").expect("appending");
        there.write_all(b"there").expect("appending");
    }
    let content = fs::read_to_string(stage.source("file")).expect("reading");
    assert_eq!((content.len(), content.matches("HERE.").count(), content.matches("there").count()), (1007, 100, 100));
}

#[test]
fn regression_gathered_writes_are_not_taken_for_holes() {
    use rustix::fs::{SeekFrom, seek};
    let stage = Stage::with(|options| options.writeback = true);
    let file = File::create(stage.shown("new")).expect("creating");
    rustix::io::pwrite(&file, &[1; 8192], 1 << 20).expect("writing");
    assert_eq!(seek(&file, SeekFrom::Data(1 << 20)), Ok(1 << 20));
    assert_eq!(seek(&file, SeekFrom::Hole(1 << 20)), Ok((1 << 20) + 8192));
    // Where nothing is gathered, holes are seen.
    let stage = Stage::new(Options::default());
    let file = File::create(stage.shown("new")).expect("creating");
    rustix::io::pwrite(&file, &[1; 8192], 1 << 20).expect("writing");
    assert_eq!(seek(&file, SeekFrom::Data(0)), Ok(1 << 20));
}

#[test]
fn symlinks_that_lead_out_are_not_followed() {
    let stage = Stage::new(Options::default());
    let outside = stage.directory.path().join("outside");
    fs::write(&outside, "outside").expect("a file");
    // In place of a file that the kernel knows.
    fs::metadata(stage.shown("file")).expect("the file");
    fs::remove_file(stage.source("file")).expect("removing");
    symlink(&outside, stage.source("file")).expect("a link");
    // Opened by the name that the kernel remembers, this is the file that was there, and no other.
    if let Ok(content) = fs::read_to_string(stage.shown("file")) {
        assert_eq!(content, "content");
    }
    assert_eq!(fs::read_link(stage.source("file")).expect("the link"), outside);
}

#[test]
fn names_that_are_too_long_and_links_in_a_circle_are_what_the_source_says() {
    let stage = Stage::new(Options::default());
    let long = "n".repeat(256);
    assert_eq!(errno(File::create(stage.shown(&long))), Some(libc::ENAMETOOLONG));
    assert_eq!(errno(fs::metadata(stage.shown(&long))), Some(libc::ENAMETOOLONG));
    File::create(stage.shown(&"n".repeat(255))).expect("a name of 255 bytes");
    symlink("two", stage.shown("one")).expect("a link");
    symlink("one", stage.shown("two")).expect("a link");
    assert_eq!(errno(fs::metadata(stage.shown("one"))), Some(libc::ELOOP));
}

#[test]
fn source_that_vanishes_leaves_an_empty_directory() {
    let stage = Stage::with(|options| options.entry_timeout = Some(Duration::ZERO));
    fs::remove_dir_all(stage.source("")).expect("removing the source");
    assert_eq!(errno(fs::metadata(stage.shown("file"))), Some(libc::ENOENT));
    assert_eq!(errno(File::create(stage.shown("new"))), Some(libc::ENOENT));
    assert_eq!(fs::read_dir(stage.shown("")).expect("listing").count(), 0);
}

#[test]
fn full_disk_is_told_and_nothing_is_lost_that_was_written() {
    let stage = Stage::new(Options::default());
    let small = stage.source("small");
    fs::create_dir(&small).expect("a directory");
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("small"), &small, Some("tmpfs"), flags, Some("size=1m")).expect("a small filesystem");
    let written = fs::write(stage.shown("small/kept"), vec![1; 500_000]);
    let too_much = errno(fs::write(stage.shown("small/full"), vec![2; 5_000_000]));
    let kept = fs::read(stage.source("small/kept")).map(|content| content == vec![1; 500_000]);
    fs::remove_file(stage.shown("small/full")).expect("making room");
    // The kernel does not wait for RELEASE in close(2): the removed file may keep its room for a moment.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let again = loop {
        let again = errno(fs::write(stage.shown("small/again"), vec![3; 400_000]));
        if again != Some(libc::ENOSPC) || std::time::Instant::now() > deadline {
            break again;
        }
        thread::yield_now();
    };
    nix::mount::umount2(&small, nix::mount::MntFlags::MNT_DETACH).expect("taking it away");
    assert_eq!((errno(written), too_much, again), (None, Some(libc::ENOSPC), None));
    assert!(kept.expect("reading"));
}

#[test]
fn source_without_attributes_says_so_and_is_written_all_the_same() {
    let stage = Stage::new(Options::default());
    let plain = stage.source("plain");
    fs::create_dir(&plain).expect("a directory");
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("plain"), &plain, Some("ramfs"), flags, None::<&str>)
        .expect("a filesystem without attributes");
    let outcomes = |file: &Path| {
        let written = errno(fs::write(file, "text"));
        let (name, none) = ("user.name", XattrFlags::empty());
        let set = rustix::fs::setxattr(file, name, b"value", none).err();
        let found = rustix::fs::getxattr(file, name, &mut [0_u8; 10]).err();
        let listed = rustix::fs::listxattr(file, &mut [0_u8; 10]);
        let removed = rustix::fs::removexattr(file, name).err();
        let acl = rustix::fs::getxattr(file, "system.posix_acl_access", &mut [0_u8; 10]).err();
        (written, set, found, listed, removed, acl)
    };
    let native = outcomes(&stage.source("plain/native"));
    let shown = outcomes(&stage.shown("plain/shown"));
    nix::mount::umount2(&plain, nix::mount::MntFlags::MNT_DETACH).expect("taking it away");
    assert_eq!((native.0, native.1), (None, Some(rustix::io::Errno::OPNOTSUPP)));
    assert_eq!(shown, native);
}

#[test]
fn sources_that_cannot_be_mirrored_are_told_in_one_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("a file");
    let problem = |source: &Path, options: Options| Mirror::new(source, options).expect_err("no mirror").to_string();
    let missing = problem(&directory.path().join("missing"), Options::default());
    assert!(missing.ends_with("missing: No such file or directory (os error 2)"), "{missing}");
    assert!(problem(&file, Options::default()).ends_with("file: it is not a directory"));
    let mut options = Options::default().writeback();
    options.passthrough = true;
    assert_eq!(problem(directory.path(), options), "setting up passthrough: it excludes writeback");
}
