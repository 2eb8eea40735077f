//! The checks of the doctor, as data: a name, what it is for, and a function that looks. A new check is a new row.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::machine::{Machine, Module};
use super::{Check, Verdict};
use crate::test::TEST_USER;

/// The check that decides whether mounting works at all.
pub(super) const MOUNT: &str = "mount";

/// The checks of what the workspace's own tasks need; a guest's kernel has nothing to do with them.
pub(super) const OF_THE_WORKSPACE: &[&str] = &[
    "test-user",
    "nextest",
    "loop-devices",
    "stress-ng",
    "fio",
    "git",
    "sqlite3",
    "python3",
    "python3-tests",
    "postgresql",
    "qemu",
    "guest-kernel",
];

/// The oldest protocol minor that Fusewire speaks; the kernel must offer at least this.
const OLDEST_MINOR: u32 = 31;
/// The newest protocol minor that Fusewire knows.
const NEWEST_MINOR: u32 = 45;

/// Every check, in the order in which they are shown.
pub(super) const ALL: &[Check] = &[
    Check { name: "kernel-fuse", purpose: "every mount", look: kernel_fuse },
    Check { name: "dev-fuse", purpose: "every mount", look: dev_fuse },
    Check { name: "dev-fuse-mode", purpose: "mounts by ordinary users", look: dev_fuse_mode },
    Check { name: "protocol", purpose: "what operations the kernel sends", look: protocol },
    Check { name: "fusermount3", purpose: "mounts by ordinary users outside a user namespace", look: fusermount },
    Check {
        name: "user-allow-other",
        purpose: "mounts by ordinary users that others may enter",
        look: user_allow_other,
    },
    Check { name: "user-namespaces", purpose: "mounts by ordinary users without any helper", look: user_namespaces },
    Check { name: MOUNT, purpose: "any mount by this user", look: mount },
    Check { name: "io-uring", purpose: "requests over io_uring", look: io_uring },
    Check { name: "passthrough", purpose: "file data that bypasses the daemon", look: passthrough },
    Check { name: "fusectl", purpose: "aborting a connection that hangs", look: fusectl },
    Check { name: "tracepoints", purpose: "watching requests of a mount from outside", look: tracepoints },
    Check { name: "cuse", purpose: "character devices in user space", look: cuse },
    Check { name: "virtiofs", purpose: "guests that mount what a daemon serves (virtio-fs)", look: virtiofs },
    Check { name: "root", purpose: "tests of what only root may do, and the suite posix", look: root },
    Check { name: "test-user", purpose: "tests that mount as an ordinary user", look: test_user },
    Check { name: "nextest", purpose: "running the test suites", look: nextest },
    Check { name: "loop-devices", purpose: "the suite posix: an ext4 in a file", look: loop_devices },
    Check { name: "stress-ng", purpose: "the suite posix", look: |machine| program(machine, "stress-ng", "stress-ng") },
    Check { name: "fio", purpose: "the suite posix", look: |machine| program(machine, "fio", "fio") },
    Check { name: "git", purpose: "the suite posix", look: |machine| program(machine, "git", "git") },
    Check { name: "sqlite3", purpose: "the suite posix", look: |machine| program(machine, "sqlite3", "sqlite3") },
    Check { name: "python3", purpose: "the suite posix", look: python },
    Check { name: "python3-tests", purpose: "the suite posix, all of it", look: python_tests },
    Check { name: "postgresql", purpose: "the suite posix, all of it", look: postgresql },
    Check { name: "qemu", purpose: "tests in virtual machines", look: qemu },
    Check { name: "guest-kernel", purpose: "tests in virtual machines", look: guest_kernel },
];

fn kernel_fuse(machine: &Machine) -> Verdict {
    let module = machine.module("fuse");
    if machine.knows_filesystem("fuse") {
        return Verdict::ok(match module {
            Module::Loaded => "a module, loaded",
            _ => "in the kernel",
        });
    }
    match module {
        Module::Available => Verdict::warn("a module, not loaded", "as root: modprobe fuse"),
        _ => Verdict::missing(
            "this kernel has no fuse",
            "boot a kernel with CONFIG_FUSE_FS, or install the modules of this one (Debian: linux-image-$(uname -r))",
        ),
    }
}

fn dev_fuse(machine: &Machine) -> Verdict {
    let mode = match machine.device_mode("/dev/fuse") {
        Ok(mode) => mode,
        Err(why) => {
            return Verdict::missing(why, "as root: modprobe fuse; in a container, start it with --device /dev/fuse");
        }
    };
    match fs::File::options().read(true).write(true).open(machine.path("/dev/fuse")) {
        Ok(_) => Verdict::ok(format!("mode {mode:04o}, this user can open it")),
        Err(error) => {
            Verdict::missing(format!("opening /dev/fuse, mode {mode:04o}: {error}"), "as root: chmod 0666 /dev/fuse")
        }
    }
}

fn dev_fuse_mode(machine: &Machine) -> Verdict {
    match machine.device_mode("/dev/fuse") {
        Ok(mode) if mode & 0o006 == 0o006 => Verdict::ok(format!("mode {mode:04o}")),
        Ok(mode) => Verdict::warn(
            format!("mode {mode:04o}: ordinary users cannot open it"),
            "as root: chmod 0666 /dev/fuse (udev does so on a full Debian)",
        ),
        Err(why) => Verdict::missing(why, "as root: modprobe fuse"),
    }
}

fn protocol(machine: &Machine) -> Verdict {
    match &machine.offer {
        Ok(offer) if offer.major != 7 || offer.minor < OLDEST_MINOR => Verdict::missing(
            format!("the kernel speaks {}.{}", offer.major, offer.minor),
            format!("boot a kernel that speaks 7.{OLDEST_MINOR} or newer (Linux 5.4)"),
        ),
        Ok(offer) => {
            let newer = if offer.minor > NEWEST_MINOR { ", newer than what Fusewire knows" } else { "" };
            Verdict::ok(format!("{}.{}, flags 0x{:x}, asked by a probe{newer}", offer.major, offer.minor, offer.flags))
        }
        Err(why) => Verdict::warn(format!("unknown: {why}"), "run this as root, or where user namespaces are allowed"),
    }
}

fn fusermount(machine: &Machine) -> Verdict {
    let install = "as root: apt-get install fuse3";
    let Some(path) = &machine.fusermount else {
        return Verdict::missing("not on the PATH", install);
    };
    let version = machine.fusermount_version.as_deref().unwrap_or("of unknown version");
    let seen = format!("{} {version}", path.display());
    match path.metadata() {
        Ok(meta) if meta.mode() & 0o4000 != 0 && meta.uid() == 0 => Verdict::ok(format!("{seen}, setuid root")),
        Ok(_) => Verdict::missing(
            format!("{seen} is not setuid root"),
            format!("as root: chown root {0} && chmod u+s {0}", path.display()),
        ),
        Err(error) => Verdict::missing(format!("{seen}: {error}"), install),
    }
}

fn user_allow_other(machine: &Machine) -> Verdict {
    if machine.text("/etc/fuse.conf").lines().any(|line| line.trim() == "user_allow_other") {
        return Verdict::ok("set in /etc/fuse.conf");
    }
    Verdict::warn(
        "not set in /etc/fuse.conf",
        "as root: add a line `user_allow_other` to /etc/fuse.conf, if users may let others in",
    )
}

fn user_namespaces(machine: &Machine) -> Verdict {
    match &machine.namespace {
        Ok(()) => Verdict::ok("unshare -Urm works"),
        Err(why) => Verdict::missing(
            format!("unshare -Urm does not work: {why}"),
            "as root: sysctl user.max_user_namespaces=10000, and where it exists kernel.unprivileged_userns_clone=1 \
             or kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    }
}

fn mount(machine: &Machine) -> Verdict {
    for step in [kernel_fuse, dev_fuse] {
        let Verdict { status, detail, mend } = step(machine);
        if status != super::Status::Ok {
            return Verdict { status: super::Status::Missing, detail, mend };
        }
    }
    let ways = [
        (machine.mounts_directly, "directly (a probe was mounted)"),
        (fusermount(machine).status == super::Status::Ok, "through fusermount3"),
        (machine.namespace.is_ok(), "in a user namespace"),
    ];
    let open: Vec<_> = ways.iter().filter(|(works, _)| *works).map(|(_, way)| *way).collect();
    if open.is_empty() {
        return Verdict::missing(
            "neither root, nor fusermount3, nor user namespaces",
            "as root: apt-get install fuse3",
        );
    }
    Verdict::ok(open.join(", "))
}

fn io_uring(machine: &Machine) -> Verdict {
    let switch = machine.text("/sys/module/fuse/parameters/enable_uring");
    let forbidden = machine.text("/proc/sys/kernel/io_uring_disabled");
    match (switch.trim(), forbidden.trim()) {
        ("", _) => {
            Verdict::missing("this kernel's fuse has none", "boot Linux 6.14 or newer with CONFIG_FUSE_IO_URING")
        }
        (_, "2") => {
            Verdict::missing("forbidden by kernel.io_uring_disabled=2", "as root: sysctl kernel.io_uring_disabled=0")
        }
        (_, "1") if !machine.is_host_admin() => Verdict::missing(
            "for privileged users only: kernel.io_uring_disabled=1",
            "as root: sysctl kernel.io_uring_disabled=0",
        ),
        ("Y" | "1", _) => match &machine.offer {
            Ok(offer) if !offer.io_uring() => {
                Verdict::warn("enabled, but INIT does not offer it", "reboot, or load the fuse module anew")
            }
            _ => Verdict::ok("enable_uring=Y"),
        },
        (value, _) => {
            Verdict::warn(format!("enable_uring={value}"), "as root: echo Y > /sys/module/fuse/parameters/enable_uring")
        }
    }
}

fn passthrough(machine: &Machine) -> Verdict {
    match &machine.offer {
        Ok(offer) if !offer.passthrough() => {
            Verdict::missing("INIT does not offer it", "boot Linux 6.9 or newer with CONFIG_FUSE_PASSTHROUGH")
        }
        Ok(_) if machine.is_host_admin() => Verdict::ok("offered, and this user may register files"),
        Ok(_) => Verdict::warn(
            "offered, but this user may not register files",
            "run the daemon with CAP_SYS_ADMIN in the first user namespace",
        ),
        Err(why) => Verdict::warn(format!("unknown: {why}"), "run this as root"),
    }
}

fn fusectl(machine: &Machine) -> Verdict {
    let mounted = machine.text("/proc/self/mounts");
    if let Some(at) = mounted.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let at = fields.next()?;
        (fields.next()? == "fusectl").then_some(at)
    }) {
        return Verdict::ok(format!("mounted at {at}"));
    }
    Verdict::warn("not mounted", "as root: mount -t fusectl none /sys/fs/fuse/connections")
}

fn tracepoints(machine: &Machine) -> Verdict {
    if !machine.knows_filesystem("tracefs") {
        return Verdict::missing("this kernel has no tracefs", "boot a kernel with CONFIG_FTRACE");
    }
    // A tracepoint has a function of its own. Addresses are hidden from ordinary users, names are not.
    if machine.text("/proc/kallsyms").contains(" __traceiter_fuse_request_send") {
        return Verdict::ok("fuse_request_send, fuse_request_end");
    }
    Verdict::missing("fuse has none in this kernel", "load the fuse module if it is one, or boot a newer kernel")
}

fn cuse(machine: &Machine) -> Verdict {
    if let Ok(mode) = machine.device_mode("/dev/cuse") {
        return Verdict::ok(format!("/dev/cuse, mode {mode:04o}"));
    }
    optional_module(machine.module("cuse"), "cuse", "CONFIG_CUSE")
}

fn virtiofs(machine: &Machine) -> Verdict {
    if machine.knows_filesystem("virtiofs") {
        return Verdict::ok("in /proc/filesystems");
    }
    optional_module(machine.module("virtiofs"), "virtiofs", "CONFIG_VIRTIO_FS")
}

fn optional_module(module: Module, name: &str, config: &str) -> Verdict {
    match module {
        Module::BuiltIn => Verdict::ok("in the kernel"),
        Module::Loaded => Verdict::ok("a module, loaded"),
        Module::Available => Verdict::warn("a module, not loaded", format!("as root: modprobe {name}")),
        Module::Absent => {
            Verdict::missing("not in this kernel", format!("boot a kernel with {config}, such as Debian's"))
        }
    }
}

fn test_user(machine: &Machine) -> Verdict {
    if machine.uid != 0 {
        return Verdict::ok("this user is an ordinary one");
    }
    let entry = format!("{TEST_USER}:");
    if machine.text("/etc/passwd").lines().any(|line| line.starts_with(&entry)) {
        return Verdict::ok(format!("the user {TEST_USER} exists"));
    }
    Verdict::warn(format!("no user {TEST_USER}"), "cargo xtask test --create-user")
}

fn nextest(machine: &Machine) -> Verdict {
    if machine.nextest {
        return Verdict::ok("installed");
    }
    Verdict::missing("not on the PATH", "cargo install cargo-nextest --locked")
}

fn root(machine: &Machine) -> Verdict {
    match machine.uid {
        0 => Verdict::ok("this user is root"),
        uid => Verdict::warn(
            format!("this user has the number {uid}"),
            "run the same as root, or in a guest: cargo xtask vm",
        ),
    }
}

fn loop_devices(machine: &Machine) -> Verdict {
    if !machine.knows_filesystem("ext4") {
        return Verdict::missing("this kernel has no ext4", "as root: modprobe ext4");
    }
    match fs::metadata(machine.path("/dev/loop-control")) {
        Ok(_) => program(machine, "mkfs.ext4", "e2fsprogs"),
        Err(error) => Verdict::missing(format!("/dev/loop-control: {error}"), "as root: modprobe loop"),
    }
}

/// A program that a package of the distribution has.
fn program(machine: &Machine, name: &str, package: &str) -> Verdict {
    match machine.programs.iter().find(|path| path.ends_with(name)) {
        Some(path) => Verdict::ok(path.display().to_string()),
        None => Verdict::missing("not on the PATH", format!("as root: apt-get install {package}")),
    }
}

/// Debian's own, which every user can run: another one on the PATH may be somebody's alone.
fn python(machine: &Machine) -> Verdict {
    let path = "/usr/bin/python3";
    match machine.path(path).exists() {
        true => Verdict::ok(path),
        false => Verdict::missing(format!("{path} is not there"), "as root: apt-get install python3"),
    }
}

fn python_tests(machine: &Machine) -> Verdict {
    below(machine, "/usr/lib", "python3.", "test/test_os.py", "libpython3.N-testsuite, for the N of python3 --version")
}

fn postgresql(machine: &Machine) -> Verdict {
    below(machine, "/usr/lib/postgresql", "", "bin/initdb", "postgresql")
}

/// A file in a directory whose name has a version in it.
fn below(machine: &Machine, parent: &str, start: &str, file: &str, package: &str) -> Verdict {
    let versions = fs::read_dir(machine.path(parent)).into_iter().flatten().flatten();
    let named = versions.filter(|version| version.file_name().to_string_lossy().starts_with(start));
    match named.map(|version| version.path().join(file)).find(|path| path.exists()) {
        Some(path) => Verdict::ok(path.display().to_string()),
        None => Verdict::missing(format!("no {file} below {parent}"), format!("as root: apt-get install {package}")),
    }
}

fn qemu(machine: &Machine) -> Verdict {
    match &machine.qemu {
        Some(path) => Verdict::ok(path.display().to_string()),
        None => Verdict::missing("not on the PATH", "as root: apt-get install qemu-system-x86"),
    }
}

fn guest_kernel(machine: &Machine) -> Verdict {
    let images = fs::read_dir(machine.path("/boot")).into_iter().flatten().flatten();
    let installed = images.map(|image| image.path()).find(|path| {
        let named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"));
        named && fs::File::open(path).is_ok()
    });
    match installed {
        Some(path) => Verdict::ok(path.display().to_string()),
        None if machine.packages => Verdict::ok("unpacked from its package when needed"),
        None => Verdict::missing("none in /boot that can be read, and no apt-get", "install a kernel package"),
    }
}

#[cfg(test)]
mod tests;
