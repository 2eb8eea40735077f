//! Each check on a made-up machine, with the thing and without it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::super::probe::Offer;
use super::super::{Status, Verdict, examine_on};
use super::*;

struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(self, path: &str, text: &str) -> Self {
        let file = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        self
    }

    fn machine(&self) -> Machine {
        Machine::bare(self.0.path())
    }
}

fn status(verdict: &Verdict) -> Status {
    verdict.status
}

#[test]
fn kernel_fuse_is_ok_only_when_registered() {
    let there = Tree::new().with("/proc/filesystems", "\tfuseblk\nnodev\tfuse\nnodev\tfusectl\n");
    assert_eq!(status(&kernel_fuse(&there.machine())), Status::Ok);
    let other = Tree::new().with("/proc/filesystems", "\tfuseblk\nnodev\tfusectl\n");
    assert_eq!(status(&kernel_fuse(&other.machine())), Status::Missing);
}

#[test]
fn module_file_that_is_not_loaded_is_a_warning_with_modprobe() {
    let tree = Tree::new()
        .with("/proc/sys/kernel/osrelease", "6.1.0-38-amd64\n")
        .with("/lib/modules/6.1.0-38-amd64/modules.dep", "kernel/fs/fuse/fuse.ko.xz:\n");
    let verdict = kernel_fuse(&tree.machine());
    assert_eq!(status(&verdict), Status::Warn);
    assert_eq!(verdict.mend.as_deref(), Some("as root: modprobe fuse"));
}

#[test]
fn module_is_told_apart_from_its_neighbours() {
    let tree = Tree::new()
        .with("/proc/sys/kernel/osrelease", "6.1.0\n")
        .with("/proc/modules", "virtiofs 40960 0 - Live 0x0\n")
        .with("/lib/modules/6.1.0/modules.builtin", "kernel/fs/fuse/fuse.ko\n")
        .with("/lib/modules/6.1.0/modules.dep", "kernel/fs/fuse/cuse.ko.zst: kernel/fs/fuse/fuse.ko\n");
    let machine = tree.machine();
    assert_eq!(machine.module("virtiofs"), Module::Loaded);
    assert_eq!(machine.module("fuse"), Module::BuiltIn);
    assert_eq!(machine.module("cuse"), Module::Available);
    assert_eq!(machine.module("use"), Module::Absent);
}

#[test]
fn dev_fuse_must_be_a_device() {
    assert_eq!(status(&dev_fuse(&Tree::new().machine())), Status::Missing);
    let file = Tree::new().with("/dev/fuse", "");
    let verdict = dev_fuse(&file.machine());
    assert_eq!(status(&verdict), Status::Missing);
    assert!(verdict.detail.contains("not a character device"), "{}", verdict.detail);
}

#[test]
fn guest_kernel_is_an_installed_one_or_comes_from_a_package() {
    let bare = Tree::new();
    assert_eq!(status(&guest_kernel(&bare.machine())), Status::Missing);
    let mut machine = bare.machine();
    machine.packages = true;
    assert_eq!(status(&guest_kernel(&machine)), Status::Ok);
    let installed = Tree::new().with("/boot/vmlinuz-6.1.0", "image").with("/boot/config-6.1.0", "");
    assert_eq!(status(&guest_kernel(&installed.machine())), Status::Ok);
    assert_eq!(status(&qemu(&bare.machine())), Status::Missing);
    machine.qemu = Some("/usr/bin/qemu".into());
    assert_eq!(status(&qemu(&machine)), Status::Ok);
}

#[test]
fn protocol_is_unknown_without_a_probe_and_refused_when_old() {
    let tree = Tree::new();
    let mut machine = tree.machine();
    assert_eq!(status(&protocol(&machine)), Status::Warn);
    machine.offer = Ok(Offer { major: 7, minor: 30, flags: 0 });
    assert_eq!(status(&protocol(&machine)), Status::Missing);
    machine.offer = Ok(Offer { major: 7, minor: 31, flags: 0 });
    assert_eq!(status(&protocol(&machine)), Status::Ok);
}

#[test]
fn fusermount_without_setuid_is_missing() {
    let tree = Tree::new().with("/bin/fusermount3", "");
    let mut machine = tree.machine();
    assert_eq!(status(&fusermount(&machine)), Status::Missing);
    let path = machine.path("/bin/fusermount3");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    machine.fusermount = Some(path);
    let verdict = fusermount(&machine);
    assert_eq!(status(&verdict), Status::Missing);
    assert!(verdict.mend.unwrap().contains("chmod u+s"));
}

#[test]
fn user_allow_other_in_a_comment_does_not_count() {
    let comment = Tree::new().with("/etc/fuse.conf", "#user_allow_other\n");
    assert_eq!(status(&user_allow_other(&comment.machine())), Status::Warn);
    let set = Tree::new().with("/etc/fuse.conf", "# x\nuser_allow_other\n");
    assert_eq!(status(&user_allow_other(&set.machine())), Status::Ok);
}

#[test]
fn nothing_at_all_cannot_mount_and_says_why() {
    let tree = Tree::new();
    let findings = examine_on(&tree.machine());
    let finding = findings.find(MOUNT).unwrap();
    assert_eq!(finding.status, Status::Missing);
    assert!(finding.complaint().contains("this kernel has no fuse"), "{}", finding.complaint());
}

#[test]
fn io_uring_needs_the_switch_and_the_sysctl() {
    let absent = Tree::new();
    assert_eq!(status(&io_uring(&absent.machine())), Status::Missing);
    let switch = "/sys/module/fuse/parameters/enable_uring";
    let off = Tree::new().with(switch, "N\n");
    assert_eq!(status(&io_uring(&off.machine())), Status::Warn);
    let on = Tree::new().with(switch, "Y\n").with("/proc/sys/kernel/io_uring_disabled", "0\n");
    assert_eq!(status(&io_uring(&on.machine())), Status::Ok);
    let forbidden = Tree::new().with(switch, "Y\n").with("/proc/sys/kernel/io_uring_disabled", "2\n");
    assert_eq!(status(&io_uring(&forbidden.machine())), Status::Missing);
}

#[test]
fn tracepoints_are_those_of_fuse() {
    assert_eq!(status(&tracepoints(&Tree::new().machine())), Status::Missing);
    let filesystems = "nodev\ttracefs\n";
    let others = Tree::new().with("/proc/filesystems", filesystems).with("/proc/kallsyms", "0 d __traceiter_ext4_x\n");
    assert_eq!(status(&tracepoints(&others.machine())), Status::Missing);
    let there = Tree::new()
        .with("/proc/filesystems", filesystems)
        .with("/proc/kallsyms", "0000000000000000 d __traceiter_fuse_request_send\n");
    assert_eq!(status(&tracepoints(&there.machine())), Status::Ok);
}

#[test]
fn passthrough_needs_power_outside_of_any_namespace() {
    let in_namespace = Tree::new()
        .with("/proc/self/status", "CapEff:\t000001ffffffffff\n")
        .with("/proc/self/uid_map", "         0       1000          1\n");
    let mut machine = in_namespace.machine();
    machine.offer = Ok(Offer { major: 7, minor: 45, flags: 1 << 37 });
    assert_eq!(status(&passthrough(&machine)), Status::Warn);

    let host = Tree::new()
        .with("/proc/self/status", "CapEff:\t000001ffffffffff\n")
        .with("/proc/self/uid_map", "         0          0 4294967295\n");
    let mut machine = host.machine();
    machine.offer = Ok(Offer { major: 7, minor: 45, flags: 1 << 37 });
    assert_eq!(status(&passthrough(&machine)), Status::Ok);
    machine.offer = Ok(Offer { major: 7, minor: 38, flags: 0 });
    assert_eq!(status(&passthrough(&machine)), Status::Missing);
}

#[test]
fn fusectl_is_found_in_the_mounts() {
    let tree =
        Tree::new().with("/proc/self/mounts", "proc /proc proc rw 0 0\nnone /sys/fs/fuse/connections fusectl rw 0 0\n");
    assert_eq!(fusectl(&tree.machine()).detail, "mounted at /sys/fs/fuse/connections");
    assert_eq!(status(&fusectl(&Tree::new().machine())), Status::Warn);
}

#[test]
fn root_needs_the_test_user_and_an_ordinary_user_does_not() {
    let tree = Tree::new().with("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    let mut machine = tree.machine();
    assert_eq!(status(&test_user(&machine)), Status::Ok);
    machine.uid = 0;
    assert_eq!(status(&test_user(&machine)), Status::Warn);
    let tree = tree.with("/etc/passwd", "fusewire-test:x:999:999::/home/fusewire-test:/bin/sh\n");
    let mut machine = tree.machine();
    machine.uid = 0;
    assert_eq!(status(&test_user(&machine)), Status::Ok);
}
