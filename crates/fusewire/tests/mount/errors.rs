//! Each thing that can be wrong is said in one line that names the step, the object and what to do; nothing is left mounted.

use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use fusewire::mount::{MountFault, MountFlag, MountMethod, MountOptions, RootKind, prepare};

use crate::stage::{Stage, Who, argument, listed, message, mount};

pub(crate) const SCENARIOS: &[(&str, fn())] = &[
    ("forbidden_device", forbidden_device),
    ("forbidden_allow_other", forbidden_allow_other),
    ("forbidden_suid", forbidden_suid),
    ("no_helper", no_helper),
    ("no_setuid", no_setuid),
    ("not_writable", not_writable),
    ("not_permitted", not_permitted),
];

fn options() -> MountOptions {
    MountOptions::new().subtype("testfs")
}

/// The message of a mount that must fail, without its beginning, which must name filesystem and mountpoint.
fn failure(at: &Path, options: &MountOptions) -> String {
    let text = message(mount(at, options));
    let beginning = format!("mounting testfs on {}: ", at.display());
    match text.strip_prefix(&beginning) {
        Some(rest) => rest.to_owned(),
        None => panic!("{text:?} does not begin with {beginning:?}"),
    }
}

#[test]
fn a_missing_mountpoint_is_said() {
    Stage::run(|stage| {
        assert_eq!(
            failure(&stage.path("nowhere"), &options()),
            "opening the mountpoint: No such file or directory (os error 2); create it first, as with mkdir -p"
        );
    });
}

#[test]
fn the_os_error_is_kept() {
    Stage::run(|stage| {
        let error = prepare(&stage.path("nowhere"), &options()).unwrap_err();
        assert!(matches!(error.fault(), MountFault::NoMountpoint { .. }));
        assert_eq!(error.os_error().unwrap().raw_os_error(), Some(libc::ENOENT));
        assert_eq!(error.mountpoint(), stage.path("nowhere"));
    });
}

#[test]
fn a_file_where_a_directory_is_needed_is_said() {
    Stage::run(|stage| {
        assert_eq!(
            failure(&stage.file("file", ""), &options()),
            "checking the mountpoint: it is a regular file, and the filesystem's root is a directory; give a directory as the mountpoint"
        );
        assert_eq!(
            failure(&stage.directory("dir"), &options().root(RootKind::RegularFile)),
            "checking the mountpoint: it is a directory, and the filesystem's root is a regular file; give a regular file as the mountpoint"
        );
    });
}

#[test]
fn a_fuse_mount_at_the_mountpoint_is_said_alive_or_dead() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let first = mount(&at, &MountOptions::new().subtype("first").source("a b")).unwrap();
        let expected = format!(
            "checking the mountpoint: a b (type fuse.first) is mounted there already; unmount it first: fusermount3 -u {}",
            at.display()
        );
        assert_eq!(failure(&at, &options()), expected);
        let root = first.guard.root().unwrap();
        assert!(nix::mount::umount2(&at, nix::mount::MntFlags::MNT_FORCE).is_err());
        drop(root);
        assert!(std::fs::metadata(&at).is_err());
        assert_eq!(failure(&at, &options()), expected);

        let below = at.join("sub/dir");
        assert_eq!(
            failure(&below, &options()),
            format!(
                "opening the mountpoint: Transport endpoint is not connected (os error 107): the daemon behind the mount at {0} is gone; unmount that first: fusermount3 -u {0}",
                at.display()
            )
        );
    });
}

#[test]
fn a_fuse_mount_of_another_user_at_the_mountpoint_is_said() {
    Stage::run(|stage| {
        stage.device_mode(0o666);
        let at = stage.users_directory("mnt");
        let mut child = stage.start_child("serve_unwatched", Who::User, &[&at]);
        // Not even root may look into it.
        assert!(std::fs::metadata(&at).is_err());
        assert_eq!(
            failure(&at, &options()),
            format!(
                "checking the mountpoint: fuse (type fuse) is mounted there already; unmount it first: fusermount3 -u {}",
                at.display()
            )
        );
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        assert_eq!(listed(&at), None);
    });
}

#[test]
fn a_missing_device_is_said() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        for method in [MountMethod::NewApi, MountMethod::Mount2] {
            assert_eq!(
                failure(&at, &options().device("/dev/fusible").method(method)),
                "opening /dev/fusible: No such file or directory (os error 2); load the kernel module with modprobe fuse, or in a container pass the device in"
            );
            let said = failure(&at, &options().device("/dev/null").method(method));
            let steps: &[&str] = match method {
                // The younger kernel looks at the descriptor when it is given: seen on Linux 7.3, and not on 6.18.
                MountMethod::NewApi => &["creating the mount", "setting mount option fd"],
                _ => &["calling mount(2)"],
            };
            assert!(said.split(':').next().is_some_and(|step| steps.contains(&step)), "{said}");
        }
    });
}

#[test]
fn a_forbidden_device_is_said_with_its_mode_and_group() {
    Stage::run(|stage| {
        stage.device_mode(0o600);
        let at = stage.users_directory("mnt");
        stage.run_child("forbidden_device", Who::User, &[&at]);
    });
}

fn forbidden_device() {
    assert_eq!(
        failure(&argument(0), &options()),
        "opening /dev/fuse: Permission denied (os error 13): it has mode 0600 and group 0; have root run chmod 0666 /dev/fuse, or add this user to that group"
    );
}

#[test]
fn forbidden_options_of_an_ordinary_user_are_said() {
    Stage::run(|stage| {
        stage.device_mode(0o666);
        let at = stage.users_directory("mnt");
        let config = stage.file("fuse.conf", "# user_allow_other\n");
        stage.replace("/etc/fuse.conf", &config);
        stage.run_child("forbidden_allow_other", Who::User, &[&at]);
        stage.run_child("forbidden_suid", Who::User, &[&at]);
        stage.run_child("not_permitted", Who::User, &[&at]);
        assert_eq!(listed(&at), None);
    });
}

fn forbidden_allow_other() {
    assert_eq!(
        failure(&argument(0), &options().allow_other()),
        "running /usr/bin/fusermount3 with option allow_other: /etc/fuse.conf has no line user_allow_other; have root add it, or leave allow_other out"
    );
}

fn forbidden_suid() {
    assert_eq!(
        failure(&argument(0), &options().clear(MountFlag::NoSuid)),
        "checking option suid: only root may set it; leave it out or mount as root"
    );
    assert_eq!(
        failure(&argument(0), &options().clear(MountFlag::NoDev)),
        "checking option dev: only root may set it; leave it out or mount as root"
    );
}

fn not_permitted() {
    for (method, step) in
        [(MountMethod::NewApi, "opening a filesystem context (fsopen)"), (MountMethod::Mount2, "calling mount(2)")]
    {
        assert_eq!(
            failure(&argument(0), &options().method(method)),
            format!(
                "{step}: Operation not permitted (os error 1); run as root or in a user namespace (unshare -Urm), or let the fusermount3 helper mount"
            )
        );
    }
}

#[test]
fn a_missing_helper_is_said() {
    Stage::run(|stage| {
        stage.device_mode(0o666);
        stage.replace("/usr/bin/fusermount3", Path::new("/dev/null"));
        let at = stage.users_directory("mnt");
        stage.run_child("no_helper", Who::User, &[&at]);
    });
}

fn no_helper() {
    let text = failure(&argument(0), &options());
    assert!(text.starts_with("looking for fusermount3: not found on PATH="), "{text}");
    assert!(text.ends_with("; install the package fuse3, run as root, or work in a shell of unshare -Urm"), "{text}");
    let helper = Path::new("/nowhere/fusermount3");
    assert_eq!(
        failure(&argument(0), &options().helper(helper)),
        "starting /nowhere/fusermount3: No such file or directory (os error 2); reinstall the package fuse3"
    );
}

#[test]
fn a_helper_that_lost_its_setuid_bit_is_said() {
    Stage::run(|stage| {
        stage.device_mode(0o666);
        let at = stage.users_directory("mnt");
        let copy = stage.path("fusermount3");
        std::fs::copy("/usr/bin/fusermount3", &copy).unwrap();
        let plain = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&copy, plain).unwrap();
        stage.run_child("no_setuid", Who::User, &[&at, &copy]);
    });
}

fn no_setuid() {
    let helper = argument(1);
    let text = failure(&argument(0), &options().helper(&helper));
    assert!(text.starts_with(&format!("running {}: exit status: 1: ", helper.display())), "{text}");
    assert!(
        text.ends_with(&format!("; it is not setuid root: have root run chmod u+s {}", helper.display())),
        "{text}"
    );
}

#[test]
fn a_mountpoint_of_somebody_else_is_said_in_the_helpers_words_with_advice() {
    Stage::run(|stage| {
        stage.device_mode(0o666);
        let at = stage.directory("mnt");
        stage.run_child("not_writable", Who::User, &[&at]);
    });
}

fn not_writable() {
    let at = argument(0);
    assert_eq!(
        failure(&at, &options()),
        format!(
            "running /usr/bin/fusermount3: exit status: 1: fusermount3: user has no write access to mountpoint {}; an ordinary \
             user mounts on a directory of their own, so give one that this user may write to",
            at.display()
        )
    );
}

#[test]
fn a_helper_that_dies_half_way_is_said() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let by = |helper: &Path| failure(&at, &options().method(MountMethod::Fusermount).helper(helper));
        let killed = stage.script("killed", "echo 'about to die' >&2; kill -9 $$");
        assert_eq!(by(&killed), format!("running {}: signal: 9 (SIGKILL): about to die", killed.display()));
        let idle = stage.script("idle", "exit 0");
        assert_eq!(by(&idle), format!("running {}: ended without handing over the device", idle.display()));
        let failing = stage.script("failing", "echo one >&2; echo two >&2; exit 3");
        assert_eq!(by(&failing), format!("running {}: exit status: 3: one; two", failing.display()));
        let program = stage.file("program-not", "");
        assert_eq!(
            by(&program),
            format!("starting {}: Permission denied (os error 13); reinstall the package fuse3", program.display())
        );
        assert_eq!(listed(&at), None);
    });
}

#[test]
fn a_helper_that_mounts_and_then_dies_leaves_nothing_mounted() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        // It keeps the device to itself: its real helper hands it to nobody.
        let body = r#"
            case "$1" in
            -u) exec /usr/bin/fusermount3 "$@" ;;
            esac
            exec 9<>/dev/fuse
            mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 half "$4" || exit 9
            grep -q " half " /proc/self/mountinfo || exit 8
            kill -9 $$"#;
        let helper = stage.script("half", body);
        assert_eq!(
            failure(&at, &options().method(MountMethod::Fusermount).helper(&helper)),
            format!("running {}: signal: 9 (SIGKILL)", helper.display())
        );
        assert_eq!(listed(&at), None);
    });
}

#[test]
fn names_that_break_lists_are_refused() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        for (name, expected) in [
            (
                "a\nb",
                "checking option fsname=a\\nb: it contains a newline, which would corrupt the list of mounts; take the newline out",
            ),
            (
                "a\0b",
                "checking option fsname=a\\u{0}b: it contains a NUL byte, which the kernel cannot take; take the byte out",
            ),
            ("", "checking option fsname=: it is empty; give a name or leave the option out"),
        ] {
            assert_eq!(failure(&at, &options().source(name)), expected);
        }
        let text = message(mount(&at, &MountOptions::new().subtype("x\ny")));
        assert!(text.starts_with("mounting x\\ny on "), "{text}");
        assert!(text.contains(": checking option subtype=x\\ny: it contains a newline"), "{text}");
        let bytes = OsString::from_vec(b"\xff\xfe".to_vec());
        drop(mount(&at, &options().source(bytes)).unwrap());
    });
}

#[test]
fn an_option_that_the_kernel_does_not_know_is_said_in_its_words() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let bogus = options().kernel_option("bogus", Some("1".into()));
        assert_eq!(
            failure(&at, &bogus.clone().method(MountMethod::NewApi)),
            "setting mount option bogus: Invalid argument (os error 22): the kernel says: fuse: Unknown parameter 'bogus'"
        );
        assert_eq!(
            failure(&at, &bogus.clone().method(MountMethod::Mount2)),
            "calling mount(2): Invalid argument (os error 22)"
        );
        assert_eq!(
            failure(&at, &bogus.method(MountMethod::Fusermount)),
            "running /usr/bin/fusermount3: exit status: 1: fusermount3: unknown option 'bogus=1'"
        );
        let comma = options().kernel_option("bogus", Some("1,ro".into()));
        assert_eq!(
            failure(&at, &comma.method(MountMethod::Mount2)),
            "checking option bogus: mount(2) cannot express a comma in it; leave the comma out"
        );
    });
}

#[test]
fn a_given_descriptor_that_cannot_serve_is_said() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let path = format!("/dev/fd/{}", file.as_raw_fd());
    assert_eq!(
        failure(Path::new(&path), &options()),
        format!(
            "taking the given file descriptor {0}: it is neither /dev/fuse nor a socket; whoever starts this program must open /dev/fuse or a socket as {0}",
            file.as_raw_fd()
        )
    );
    assert_eq!(
        failure(Path::new("/dev/fd/987654"), &options()),
        "taking the given file descriptor 987654: Bad file descriptor (os error 9); whoever starts this program must open /dev/fuse or a socket as 987654"
    );
    assert_eq!(
        failure(Path::new("/tmp"), &options().method(MountMethod::GivenFd)),
        "checking option method: a given descriptor needs the mountpoint /dev/fd/N"
    );
}
