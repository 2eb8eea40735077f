//! Each way of mounting gives a mount that works and that the kernel lists as asked.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use fusewire::mount::{self, MountFault, MountFlag, MountMethod, MountOptions, RootKind, Unmount};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::mount::MsFlags;

use crate::stage::{Answer, Stage, listed, mount, mount_kind, serve, served};

const METHODS: [MountMethod; 3] = [MountMethod::NewApi, MountMethod::Mount2, MountMethod::Fusermount];

#[test]
fn every_method_mounts_and_unmounts_as_root() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        for method in METHODS {
            let options = MountOptions::new().subtype("testfs").method(method);
            let mut mounted = mount(&at, &options).unwrap();
            assert_eq!(mounted.guard.method(), method);
            assert_eq!(mounted.guard.mountpoint(), at);
            assert!(served(&at), "{method:?}");
            let (options, fstype, source, _) = listed(&at).unwrap();
            assert_eq!((fstype.as_str(), source.as_str()), ("fuse.testfs", "testfs"));
            assert!(options.starts_with("rw,nosuid,nodev"), "{method:?}: {options}");

            mounted.guard.unmount(Unmount::Plain).unwrap();
            mounted.guard.unmount(Unmount::Plain).unwrap();
            mounted.guard.unmount(Unmount::Lazy).unwrap();
            assert_eq!(listed(&at), None);
            assert_eq!(mounted.daemon_end(), Some(libc::ENODEV));
        }
    });
}

#[test]
fn root_gets_the_new_api_without_asking() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let mounted = mount(&at, &MountOptions::new()).unwrap();
        assert_eq!(mounted.guard.method(), MountMethod::NewApi);
        let (_, fstype, source, _) = listed(&at).unwrap();
        assert_eq!((fstype.as_str(), source.as_str()), ("fuse", "fuse"));
    });
}

#[test]
fn every_option_reaches_the_kernel_by_every_method() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        for method in METHODS {
            let options = MountOptions::new()
                .source("src")
                .method(method)
                .set(MountFlag::ReadOnly)
                .set(MountFlag::NoExec)
                .set(MountFlag::NoAtime)
                .set(MountFlag::Synchronous)
                .set(MountFlag::DirSync)
                .clear(MountFlag::NoSuid)
                .max_read(65536)
                .default_permissions()
                .allow_other();
            let _mounted = mount(&at, &options).unwrap();
            let (generic, _, source, own) = listed(&at).unwrap();
            assert_eq!(generic, "ro,nodev,noexec,noatime", "{method:?}");
            assert_eq!(source, "src");
            assert_eq!(
                own, "ro,sync,dirsync,user_id=0,group_id=0,default_permissions,allow_other,max_read=65536",
                "{method:?}"
            );
        }
    });
}

#[test]
fn access_time_flags_reach_the_kernel() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        for method in [MountMethod::NewApi, MountMethod::Mount2] {
            for (flag, listed_as) in [
                (MountFlag::NoDirAtime, "rw,nosuid,nodev,nodiratime,relatime"),
                (MountFlag::RelAtime, "rw,nosuid,nodev,relatime"),
                (MountFlag::StrictAtime, "rw,nosuid,nodev"),
                (MountFlag::LazyTime, "rw,nosuid,nodev,relatime"),
            ] {
                let options = MountOptions::new().method(method).set(flag);
                let _mounted = mount(&at, &options).unwrap();
                let (generic, _, _, own) = listed(&at).unwrap();
                assert_eq!(generic, listed_as, "{method:?} {flag:?}");
                assert_eq!(own.contains("lazytime"), flag == MountFlag::LazyTime, "{own}");
            }
        }
    });
}

#[test]
fn commas_and_backslashes_in_names_stay_in_the_names() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        for method in METHODS {
            let options = MountOptions::new().source(r"a,ro,b\c d").subtype(r"x,allow_other\y").method(method);
            let _mounted = mount(&at, &options).unwrap();
            let (generic, fstype, source, own) = listed(&at).unwrap();
            assert_eq!(source, r"a,ro,b\134c\040d", "{method:?}");
            assert_eq!(fstype, r"fuse.x,allow_other\134y", "{method:?}");
            assert!(generic.starts_with("rw,"), "{method:?}: {generic}");
            assert!(!own.contains("allow_other"), "{method:?}: {own}");
        }
    });
}

#[test]
fn a_name_too_long_for_the_new_api_is_mounted_by_mount2() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        for (length, method) in [(255, MountMethod::NewApi), (256, MountMethod::Mount2)] {
            let options = MountOptions::new().source("x".repeat(length));
            let mounted = mount(&at, &options).unwrap();
            assert_eq!(mounted.guard.method(), method);
            assert_eq!(listed(&at).unwrap().2, "x".repeat(length));
        }
    });
}

#[test]
fn a_file_is_mounted_over_a_file_by_every_method() {
    Stage::run(|stage| {
        let at = stage.file("mnt", "below");
        for method in METHODS {
            let kind = RootKind::RegularFile;
            let options = MountOptions::new().method(method).root(kind);
            let mounted = mount_kind(&at, &options, kind).unwrap();
            assert!(served(&at) && at.is_file(), "{method:?}");
            drop(mounted);
            assert_eq!(fs::read(&at).unwrap(), b"below");
        }
    });
}

#[test]
fn strange_mountpoint_paths_are_mounted_by_every_method() {
    Stage::run(|stage| {
        for name in ["with space", "new\nline", "-u", "a,b\\c", "x (deleted)"] {
            let at = stage.directory(name);
            for method in METHODS {
                let mounted = mount(&at, &MountOptions::new().method(method)).unwrap();
                assert!(served(&at), "{name:?} {method:?}");
                drop(mounted);
                assert!(!served(&at), "{name:?} {method:?}");
            }
        }
    });
}

#[test]
fn mounting_on_another_kind_of_mount_is_allowed() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        stage.mount_tmpfs(&at);
        for method in METHODS {
            let mounted = mount(&at, &MountOptions::new().method(method)).unwrap();
            assert!(served(&at), "{method:?}");
            drop(mounted);
            assert_eq!(listed(&at).unwrap().1, "tmpfs", "{method:?}");
        }
    });
}

#[test]
fn a_symbolic_link_leads_to_the_mountpoint() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let link = stage.path("link");
        std::os::unix::fs::symlink(&at, &link).unwrap();
        let mounted = mount(&link, &MountOptions::new()).unwrap();
        assert_eq!(mounted.guard.mountpoint(), at);
    });
}

#[test]
fn every_descriptor_is_close_on_exec() {
    let closes = |fd: std::os::fd::BorrowedFd<'_>| {
        let flags = fcntl(fd, FcntlArg::F_GETFD).unwrap();
        FdFlag::from_bits_truncate(flags).contains(FdFlag::FD_CLOEXEC)
    };
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        for method in METHODS {
            let options = MountOptions::new().method(method);
            let prepared = mount::prepare(&at, &options).unwrap();
            assert!(closes(prepared.device()), "{method:?}");
            drop(prepared);
            let mounted = mount(&at, &options).unwrap();
            let root = mounted.guard.root().unwrap();
            assert!(closes(std::os::fd::AsFd::as_fd(&root)), "{method:?}");
        }
    });
}

#[test]
fn dropping_what_was_prepared_leaves_nothing_mounted() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        for method in METHODS {
            let prepared = mount::prepare(&at, &MountOptions::new().method(method)).unwrap();
            assert_eq!(prepared.method(), method);
            assert_eq!(listed(&at).is_some(), method == MountMethod::Fusermount);
            drop(prepared);
            assert_eq!(listed(&at), None, "{method:?}");
        }
    });
}

#[test]
fn a_refused_init_is_a_mount_error_where_init_is_synchronous() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        for method in [MountMethod::NewApi, MountMethod::Mount2] {
            let prepared = mount::prepare(&at, &MountOptions::new().method(method)).unwrap();
            assert_eq!(prepared.init_is_synchronous(), kernel_at_least(6, 18));
            if !prepared.init_is_synchronous() {
                prepared.finish().expect("an older kernel mounts before INIT");
                continue;
            }
            let device = prepared.device().try_clone_to_owned().unwrap();
            let daemon = thread::spawn(move || serve(device, RootKind::Directory, Answer::Refuse));
            let error = prepared.finish().unwrap_err();
            assert!(matches!(error.fault(), MountFault::InitRefused { .. }), "{error}");
            let text = error.to_string();
            let step = match method {
                MountMethod::NewApi => "creating the mount: ",
                _ => "calling mount(2): ",
            };
            assert!(text.contains(step), "{text}");
            assert_eq!(listed(&at), None);
            let end = daemon.join().unwrap();
            assert_eq!(end.raw_os_error(), Some(libc::ENODEV));
        }
    });
}

fn kernel_at_least(major: u32, minor: u32) -> bool {
    let release = nix::sys::utsname::uname().unwrap().release().to_owned();
    let release: OsString = release;
    let release = release.into_string().unwrap();
    let mut parts = release.split(|byte: char| !byte.is_ascii_digit());
    let mut number = || parts.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    (number(), number()) >= (major, minor)
}

#[test]
fn a_given_device_works_and_is_not_unmounted() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let device = fs::File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        nix::mount::mount(Some("given"), &at, Some("fuse"), MsFlags::empty(), Some(data.as_str())).unwrap();

        fcntl(&device, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let path = format!("/dev/fd/{}", device.as_raw_fd());
        let mut mounted = mount(Path::new(&path), &MountOptions::new()).unwrap();
        assert_eq!(mounted.guard.method(), MountMethod::GivenFd);
        let flags = fcntl(&device, FcntlArg::F_GETFD).unwrap();
        assert_eq!(FdFlag::from_bits_truncate(flags), FdFlag::FD_CLOEXEC);
        drop(device);
        assert!(served(&at));

        mounted.guard.unmount(Unmount::Plain).unwrap();
        assert_eq!(mounted.guard.root().unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert!(served(&at));
        nix::mount::umount(&at).unwrap();
        assert_eq!(mounted.daemon_end(), Some(libc::ENODEV));
    });
}

#[test]
fn a_given_socket_works() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let path = format!("/dev/fd/{}", theirs.as_raw_fd());
    let prepared = mount::prepare(Path::new(&path), &MountOptions::new()).unwrap();
    let device: OwnedFd = prepared.device().try_clone_to_owned().unwrap();
    (&ours).write_all(b"hello").unwrap();
    let mut buffer = [0; 5];
    std::io::Read::read_exact(&mut fs::File::from(device), &mut buffer).unwrap();
    assert_eq!(&buffer, b"hello");
    prepared.finish().unwrap();
}

#[test]
fn threads_mount_at_once_in_one_process() {
    Stage::run(|stage| {
        let before = std::env::current_dir().unwrap();
        let places: Vec<_> = (0..8).map(|n| stage.directory(&format!("mnt{n}"))).collect();
        thread::scope(|scope| {
            for (place, method) in places.iter().zip(METHODS.iter().cycle()) {
                scope.spawn(move || {
                    let mounted = mount(place, &MountOptions::new().method(*method)).unwrap();
                    assert!(served(place));
                    drop(mounted);
                    assert!(!served(place));
                });
            }
        });
        assert_eq!(std::env::current_dir().unwrap(), before);
    });
}
