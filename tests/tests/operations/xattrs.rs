//! Operations on extended attributes.

use fusewire::{InitFlags, Opcode, SetxattrFlags, XattrFlags, XattrName};
use fusewire_tests::{Config, Stage, Tree, is, saw};
use rustix::fs::{XattrFlags as Native, getxattr, getxattr_query, listxattr, listxattr_query, removexattr, setxattr};

#[test]
pub(crate) fn attributes_are_set_read_listed_and_removed() {
    // The request has another form on the wire with the extension.
    for capability in [InitFlags::empty(), InitFlags::SETXATTR_EXT] {
        let stage = Stage::new(Config::require(capability));
        let path = stage.path("file");
        let name = XattrName::new(b"user.colour").unwrap();
        for flags in [XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE] {
            setxattr(&path, "user.colour", b"green", Native::from_bits_retain(flags.bits())).unwrap();
            let op = stage.log().last("Setxattr");
            is!(op, Setxattr { node: Tree::FILE, name: name, value: b"green", flags: flags });
            is!(op, Setxattr { setxattr_flags: SetxattrFlags::empty() });
        }
        assert_eq!(getxattr_query(&path, "user.colour"), Ok(5));
        saw!(stage.log(), Getxattr { node: Tree::FILE, name: name, size: 0 });
        let mut room = [0_u8; 9];
        assert_eq!(getxattr(&path, "user.colour", &mut room), Ok(5));
        assert_eq!(&room[..5], b"green");
        saw!(stage.log(), Getxattr { node: Tree::FILE, name: name, size: 9 });
        let mut little = [0_u8; 2];
        assert_eq!(getxattr(&path, "user.colour", &mut little), Err(rustix::io::Errno::RANGE));

        assert_eq!(listxattr_query(&path), Ok(12));
        saw!(stage.log(), Listxattr { node: Tree::FILE, size: 0 });
        let mut room = [0_u8; 64];
        assert_eq!(listxattr(&path, &mut room), Ok(12));
        assert_eq!(&room[..12], b"user.colour\0");
        saw!(stage.log(), Listxattr { node: Tree::FILE, size: 64 });

        removexattr(&path, "user.colour").unwrap();
        saw!(stage.log(), Removexattr { node: Tree::FILE, name: name });
        assert_eq!(removexattr(&path, "user.colour"), Err(rustix::io::Errno::NODATA));
        assert_eq!(stage.log().count(Opcode::SETXATTR), 3);
    }
}

#[test]
fn values_of_the_greatest_length_pass() {
    let stage = Stage::new(Config::default());
    let (path, value) = (stage.path("file"), vec![7_u8; 65536]);
    setxattr(&path, "user.long", &value, Native::empty()).unwrap();
    let mut room = vec![0_u8; 65536];
    assert_eq!(getxattr(&path, "user.long", room.as_mut_slice()), Ok(65536));
    assert!(room == value);
}
