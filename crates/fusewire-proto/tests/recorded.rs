//! Requests that a real kernel wrote decode to what its callers asked for, and encode to the same bytes.
//!
//! How they were recorded is said in `data/recorded-6.18.txt`.

use fusewire_proto::op::{self, SetTime};
use fusewire_proto::{
    FileHandle, Gid, Incoming, InitFlags, LockOwner, Name, Negotiated, NodeId, OpenFlags, Pid, Request, RequestHeader,
    Timestamp, Uid, Unique, XattrName,
};

/// The bytes that were recorded under this name.
fn recorded(name: &str) -> Vec<u8> {
    let mut lines = include_str!("data/recorded-6.18.txt").lines().filter_map(|line| line.split_once(": "));
    let (_, hex) = lines.find(|(found, _)| *found == name).expect("it was recorded");
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).expect("it is hexadecimal")).collect();
    let bytes = digits.chunks(2).map(|pair| u8::try_from(pair.iter().fold(0, |byte, digit| byte * 16 + digit)));
    bytes.collect::<Result<_, _>>().expect("two digits are a byte")
}

/// What the connection had agreed on.
fn negotiated() -> Negotiated {
    let mut negotiated = Negotiated::default();
    negotiated.flags = InitFlags::ASYNC_READ
        | InitFlags::MAX_PAGES
        | InitFlags::SETXATTR_EXT
        | InitFlags::INIT_EXT
        | InitFlags::CREATE_SUPP_GROUP;
    negotiated
}

fn header(unique: u64, pid: u32) -> RequestHeader {
    let mut header = RequestHeader::new(Unique(unique));
    header.uid = Some(Uid(0));
    header.gid = Some(Gid(0));
    header.pid = Pid(pid);
    header
}

/// Decodes what was recorded under this name, and checks that it is what is expected: both ways.
fn assert_recorded<'a>(name: &str, header: RequestHeader, expected: impl Into<Request<'a>>, groups: &[Gid]) {
    let bytes = recorded(name);
    let incoming = Incoming::parse(&bytes).expect("it is a request");
    assert_eq!(incoming.header, header);
    let (request, extensions) = Request::decode(&negotiated(), &incoming).expect("its arguments are whole");
    assert_eq!(request, expected.into());
    assert_eq!(extensions.groups().collect::<Vec<_>>(), groups);
    assert_eq!(extensions.security_contexts().count(), 0);
    assert_eq!(request.encode_with(&header, &extensions, &negotiated()), Ok(bytes.clone()));
}

fn name(bytes: &[u8]) -> &Name {
    Name::new(bytes).expect("it is a name")
}

fn xattr_name(bytes: &[u8]) -> &XattrName {
    XattrName::new(bytes).expect("it is a name")
}

/// `O_RDWR | O_LARGEFILE`, as the kernel passes it on; libc says 0 for the latter on 64-bit machines.
const READ_WRITE: OpenFlags = OpenFlags(0o100002);

#[test]
fn init_offers_what_the_kernel_can() {
    let not_offered = InitFlags::FILE_OPS
        | InitFlags::MAP_ALIGNMENT
        | InitFlags::SUBMOUNTS
        | InitFlags::INIT_RESERVED
        | InitFlags::HAS_INODE_DAX
        | InitFlags::OVER_IO_URING;
    let all_known = InitFlags::from_bits_retain((1 << 43) - 1);
    let mut expected = op::Init::new(45, all_known - not_offered);
    expected.max_readahead = 128 << 10;
    assert_recorded("init", header(2, 0), expected, &[]);
}

#[test]
fn lookup_names_what_is_not_there() {
    assert_recorded("lookup", header(4, 17957), op::Lookup::new(NodeId::ROOT, name(b"absent")), &[]);
}

#[test]
fn create_has_mode_flags_and_umask() {
    let flags = OpenFlags(READ_WRITE.0 | 0o300);
    let mut expected = op::Create::new(NodeId::ROOT, 0o100640, flags, name(b"new.txt"));
    expected.umask = 0o027;
    assert_recorded("create", header(8, 17957), expected, &[]);
    assert_recorded("create_with_group", header(10, 10509), expected, &[Gid(5)]);
}

#[test]
fn write_brings_its_data() {
    let mut expected = op::Write::new(NodeId(3), FileHandle(77), 0, b"hello, fuse\n");
    expected.flags = READ_WRITE;
    assert_recorded("write", header(12, 17957), expected, &[]);
}

#[test]
fn attributes_are_asked_for_and_changed() {
    assert_recorded("getattr", header(14, 17957), op::Getattr::new(NodeId(3)), &[]);
    let mut expected = op::Setattr::new(NodeId(2));
    expected.atime = Some(SetTime::At(Timestamp::new(1, 1)));
    expected.mtime = Some(SetTime::At(Timestamp::new(2, 2)));
    assert_recorded("setattr", header(24, 17957), expected, &[]);
}

#[test]
fn closing_flushes_and_releases() {
    let owner = LockOwner(0x0efa_aa6e_4288_a420);
    assert_recorded("flush", header(16, 17957), op::Flush::new(NodeId(3), FileHandle(77), owner), &[]);
    let mut expected = op::Release::new(NodeId(3), FileHandle(77));
    expected.flags = READ_WRITE;
    assert_recorded("release", header(18, 0), expected, &[]);
}

#[test]
fn extended_attributes_are_read_and_set() {
    let capability = xattr_name(b"security.capability");
    assert_recorded("getxattr", header(10, 17957), op::Getxattr::new(NodeId(3), 0, capability), &[]);
    let expected = op::Setxattr::new(NodeId(2), xattr_name(b"user.colour"), b"blue");
    assert_recorded("setxattr", header(22, 17957), expected, &[]);
}

#[test]
fn rename_has_two_names() {
    let expected = op::Rename::new(NodeId::ROOT, NodeId::ROOT, name(b"old"), name(b"older"));
    assert_recorded("rename", header(28, 17957), expected, &[]);
}
