//! Tests without a mount: by calling methods, and through a kernel in memory.

// ANCHOR: use
use fusewire::{Context, Errno, Name, Negotiated, NodeId, RequestHeader, Slot, Unique, op};
use fusewire_testkit::Mount;

use crate::Firstfs;
// ANCHOR_END: use

// ANCHOR: direct
#[test]
fn directory_is_found_under_its_name() {
    let (negotiated, slot) = (Negotiated::default(), Slot::default());
    let cx = Context::detached(RequestHeader::new(Unique(2)), &negotiated, &slot);
    let name = Name::new(b"music").unwrap();

    let fs = Firstfs::default();
    let made = fusewire::Filesystem::mkdir(&fs, &cx, op::Mkdir::new(NodeId::ROOT, 0o755, name)).unwrap();
    let found = fusewire::Filesystem::lookup(&fs, &cx, op::Lookup::new(NodeId::ROOT, name)).unwrap();
    assert_eq!(made.node, found.node);
    assert_eq!(found.attr.mode & 0o7777, 0o755);
}
// ANCHOR_END: direct

// ANCHOR: testkit
#[test]
fn removed_file_can_be_read_until_it_is_closed() {
    let mount = Mount::of(Firstfs::default()).unwrap();
    mount.mkdir("/music", 0o755).unwrap();
    mount.write("/music/notes", "for the left hand").unwrap();

    let read_only = 0;
    let file = mount.open("/music/notes", read_only).unwrap();
    mount.unlink("/music/notes").unwrap();
    assert_eq!(mount.read("/music/notes"), Err(Errno::ENOENT));
    assert_eq!(file.pread(0, 100).unwrap(), b"for the left hand");
    file.close().unwrap();

    let laws = mount.unmount();
    assert!(laws.violations().is_empty(), "{:?}", laws.violations());
}

#[test]
fn directory_with_entries_is_not_replaced() {
    let mount = Mount::of(Firstfs::default()).unwrap();
    mount.mkdir("/a", 0o755).unwrap();
    mount.mkdir("/b", 0o755).unwrap();
    mount.write("/b/file", "").unwrap();
    assert_eq!(mount.rename("/a", "/b"), Err(Errno::ENOTEMPTY));
    mount.unlink("/b/file").unwrap();
    assert_eq!(mount.rename("/a", "/b"), Ok(()));
    assert_eq!(mount.names("/").unwrap(), ["b"]);
}
// ANCHOR_END: testkit
