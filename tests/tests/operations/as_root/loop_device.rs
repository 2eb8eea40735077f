//! Filesystems on a block device (`fuseblk`): what comes only there. The device is a loop device over a file.

use std::ffi::OsStr;
use std::fs::File;
use std::process::Command;
use std::sync::Arc;

use fusewire::opcode::Enosys;
use fusewire::{Errno, NodeId, Opcode};
use fusewire_tests::{BareMount, Config, Recorder, Tree, is, saw};

use crate::raw;

/// A loop device over a file without a name. Dropping it gives it back.
struct LoopDevice {
    path: String,
}

impl LoopDevice {
    fn new() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let made = Command::new("losetup").args(["--find", "--show"]).arg(file.path()).output().unwrap();
        assert!(made.status.success(), "losetup needs root and loop devices: {made:?}");
        Self { path: String::from_utf8(made.stdout).unwrap().trim().to_owned() }
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let gone = Command::new("losetup").arg("--detach").arg(&self.path).status();
        assert!(gone.is_ok_and(|status| status.success()), "{} is left", self.path);
    }
}

#[test]
pub(crate) fn bmap_and_destroy_come_for_fuseblk() {
    let device = LoopDevice::new();
    let fs = Arc::new(Recorder::new(Tree::new(Config::default())));
    let mut mount = BareMount::new("fuseblk", OsStr::new(&device.path), Arc::clone(&fs));
    let file = File::open(mount.root().join("file")).unwrap();
    assert_eq!(raw::fibmap(&file, 3), Ok(103));
    saw!(fs.log(), Bmap { node: Tree::FILE, block: 3, block_size: 4096 });
    drop(file);

    assert_eq!((mount.log.count(Opcode::DESTROY), fs.destroyed()), (0, 0));
    mount.unmount();
    // Unmounting waits for the answer, so all is over by now.
    assert_eq!((mount.log.count(Opcode::DESTROY), fs.destroyed()), (1, 1));
    is!(mount.log.last("Destroy"), Destroy { node: NodeId(0) });
    mount.running.wait().unwrap();
    assert_eq!(fs.destroyed(), 1, "told once only");
}

#[test]
fn bmap_is_asked_for_once_if_it_is_not_served() {
    let device = LoopDevice::new();
    let fs = Arc::new(Recorder::new(Tree::new(Config::default())));
    fs.fail(Opcode::BMAP, Errno::ENOSYS);
    let mount = BareMount::new("fuseblk", OsStr::new(&device.path), Arc::clone(&fs));
    let file = File::open(mount.root().join("file")).unwrap();
    assert_eq!([raw::fibmap(&file, 3), raw::fibmap(&file, 4)], [Ok(0), Ok(0)]);
    assert_eq!(fs.log().count(Opcode::BMAP), 1);
    assert_eq!(Opcode::BMAP.row().unwrap().enosys, Enosys::Succeeds);
    drop(file);
    mount.unmount();
}

#[test]
fn other_mounts_just_end() {
    let fs = Arc::new(Recorder::new(Tree::new(Config::default())));
    let mut mount = BareMount::new("fuse", OsStr::new("no device"), Arc::clone(&fs));
    let file = File::open(mount.root().join("file")).unwrap();
    assert_eq!(raw::fibmap(&file, 3), Ok(0), "there is no device to have blocks");
    drop(file);
    mount.unmount();
    mount.running.wait().unwrap();
    assert_eq!((mount.log.count(Opcode::DESTROY), fs.log().count(Opcode::BMAP), fs.destroyed()), (0, 0, 1));
}
