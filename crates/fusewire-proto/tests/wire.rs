//! Every field stands where the header has it: one message of each struct, taken apart by the header's own names.
//!
//! A round trip cannot see two fields that change places in both directions. Here the bytes are read by the layout that
//! `abi.rs` holds against the header.

use std::time::Duration;

use fusewire_proto::op::{self, FileLock, Forgotten, LockKind, Mapping, Operation, SetTime, WireList};
use fusewire_proto::reply::{self, ReplyBody, ReplyWriter};
use fusewire_proto::uring::{self, CommandArgs, EntryHeader};
use fusewire_proto::{
    Attr, AttrFlags, BackingId, CuseInitFlags, FallocateMode, FileHandle, FsyncFlags, Generation, Gid, InitFlags,
    InvalEntryFlags, IoctlFlags, LockFlags, LockOwner, MappingFlags, Name, Negotiated, NodeId, Notification,
    NotifyUnique, OpenFlags, OpenRequestFlags, OpenedFlags, Pid, PollEvents, PollFlags, PollHandle, ReadFlags,
    ReleaseFlags, RenameFlags, ReplyHeader, RequestHeader, RequestWriter, SetxattrFlags, StatxAttr, StatxMask,
    Timestamp, Uid, Unique, WriteFlags, XattrFlags, XattrName, abi, encode_request,
};

const NODE: NodeId = NodeId(0x0102_0304_0506_0708);
const FH: FileHandle = FileHandle(0x1112_1314_1516_1718);
const OWNER: LockOwner = LockOwner(0x2122_2324_2526_2728);

fn layout(name: &str) -> &'static abi::Struct {
    abi::STRUCTS.iter().find(|layout| layout.name == name).expect("the header has this struct")
}

/// Offset and size of a field; a dot leads into a struct within a struct.
fn place(layout: &abi::Struct, path: &str) -> (usize, usize) {
    let (name, inner) = path.split_once('.').unwrap_or((path, ""));
    let field = layout.fields.iter().find(|field| field.name.trim_start_matches("r#") == name);
    let field = field.unwrap_or_else(|| unreachable!("{} has no field {name}", layout.name));
    match field.type_name {
        "u16" => (field.offset, 2),
        "u32" | "i32" => (field.offset, 4),
        "u64" | "i64" => (field.offset, 8),
        other => {
            let (offset, size) = place(self::layout(other), inner);
            (field.offset + offset, size)
        }
    }
}

/// Checks that `bytes` begin with this struct, with these values in these fields and zeros elsewhere; gives what follows.
fn take<'a>(bytes: &'a [u8], name: &str, fields: &[(&str, u64)]) -> &'a [u8] {
    let layout = layout(name);
    let (found, rest) = bytes.split_at(layout.size);
    let mut unnamed = found.to_vec();
    for (path, value) in fields {
        let (offset, size) = place(layout, path);
        let field = unnamed.get_mut(offset..offset + size).expect("a field is within its struct");
        if cfg!(target_endian = "big") {
            field.reverse();
        }
        let number = field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        assert_eq!(number, *value, "{name}.{path}");
        assert_ne!(number, 0, "{name}.{path} proves nothing");
        field.fill(0);
    }
    assert!(unnamed.iter().all(|byte| *byte == 0), "{name}: a field that is not named has a value");
    rest
}

fn newest() -> Negotiated {
    let mut negotiated = Negotiated::default();
    negotiated.flags = InitFlags::SETXATTR_EXT;
    negotiated
}

/// Checks the fixed struct of an operation; gives the names and data behind it.
fn request<'a>(op: impl Operation<'a>, name: &str, fields: &[(&str, u64)]) -> Vec<u8> {
    let mut out = RequestWriter::default();
    op.encode(&newest(), &mut out).expect("it is short");
    take(out.as_bytes(), name, fields).to_vec()
}

/// The body of a reply.
fn body<'a>(reply: impl ReplyBody<'a>) -> Vec<u8> {
    let mut room = [0; 512];
    let mut out = ReplyWriter::new(&mut room);
    reply.encode(&newest(), &mut out).expect("there is room");
    out.written().to_vec()
}

/// A value with some of its fields set.
macro_rules! with {
    ($value:expr, $($field:ident = $set:expr),+) => {{
        let mut value = $value;
        $(value.$field = $set;)+
        value
    }};
}

fn name() -> &'static Name {
    Name::new(b"name").expect("it is a name")
}

#[test]
fn headers() {
    let header = with!(RequestHeader::new(Unique(0x31)), uid = Some(Uid(0x32)), gid = Some(Gid(0x33)), pid = Pid(0x34));
    let bytes = encode_request(&header, &op::Readlink::new(NODE), &newest()).unwrap();
    let rest = take(
        &bytes,
        "fuse_in_header",
        &[
            ("len", 40),
            ("opcode", 5),
            ("unique", 0x31),
            ("nodeid", NODE.0),
            ("uid", 0x32),
            ("gid", 0x33),
            ("pid", 0x34),
        ],
    );
    assert!(rest.is_empty());
    let bytes = ReplyHeader::new(Unique(0x31), fusewire_proto::Errno::from_raw(2)).encode(4);
    let minus_two = u64::from(2u32.wrapping_neg());
    take(&bytes, "fuse_out_header", &[("len", 20), ("error", minus_two), ("unique", 0x31)]);
    let bytes = CommandArgs { flags: 1, commit_id: 2, queue: 3 }.encode();
    take(&bytes, "fuse_uring_cmd_req", &[("flags", 1), ("commit_id", 2), ("qid", 3)]);
    let mut bytes = [0; uring::HEADER_SIZE];
    let entry = EntryHeader { flags: 1, commit_id: 2, payload_size: 3 };
    uring::encode_entry(&mut bytes, b"a", b"b", entry).unwrap();
    assert!(uring::encode_entry(&mut bytes[1..], b"a", b"b", entry).is_err());
    assert!(uring::encode_entry(&mut bytes, &[0; 129], b"b", entry).is_err());
    assert_eq!((bytes[0], bytes[128]), (b'a', b'b'));
    take(&bytes[256..], "fuse_uring_ent_in_out", &[("flags", 1), ("commit_id", 2), ("payload_sz", 3)]);
}

#[test]
fn operations_on_names() {
    assert_eq!(request(op::Forget::new(NODE, 7), "fuse_forget_in", &[("nlookup", 7)]), b"");
    let mknod = with!(op::Mknod::new(NODE, 1, name()), rdev = 2, umask = 3);
    assert_eq!(request(mknod, "fuse_mknod_in", &[("mode", 1), ("rdev", 2), ("umask", 3)]), b"name\0");
    let mkdir = with!(op::Mkdir::new(NODE, 1, name()), umask = 2);
    assert_eq!(request(mkdir, "fuse_mkdir_in", &[("mode", 1), ("umask", 2)]), b"name\0");
    let new = Name::new(b"new").unwrap();
    let rename = op::Rename::new(NODE, NodeId(9), name(), new);
    assert_eq!(request(rename, "fuse_rename_in", &[("newdir", 9)]), b"name\0new\0");
    let rename2 = op::Rename2::new(NODE, NodeId(9), RenameFlags::EXCHANGE, name(), new);
    assert_eq!(request(rename2, "fuse_rename2_in", &[("newdir", 9), ("flags", 2)]), b"name\0new\0");
    assert_eq!(request(op::Link::new(NODE, NodeId(9), new), "fuse_link_in", &[("oldnodeid", 9)]), b"new\0");
    assert_eq!(
        request(op::Access::new(NODE, fusewire_proto::AccessMask::WRITE), "fuse_access_in", &[("mask", 2)]),
        b""
    );
    let list = WireList::bytes_of(&[Forgotten { node: NODE, nlookup: 4 }]);
    let rest = request(op::BatchForget::new(WireList::new(&list)), "fuse_batch_forget_in", &[("count", 1)]);
    assert_eq!(take(&rest, "fuse_forget_one", &[("nodeid", NODE.0), ("nlookup", 4)]), b"");
}

#[test]
fn operations_on_names_without_a_struct() {
    let encoded = |op: &dyn Fn(&mut RequestWriter)| {
        let mut out = RequestWriter::default();
        op(&mut out);
        out.as_bytes().to_vec()
    };
    let target = fusewire_proto::LinkTarget::new(b"../to").unwrap();
    let symlink = op::Symlink::new(NODE, name(), target);
    assert_eq!(encoded(&|out| symlink.encode(&newest(), out).unwrap()), b"name\0../to\0");
    let lookup = op::Lookup::new(NODE, name());
    assert_eq!(encoded(&|out| lookup.encode(&newest(), out).unwrap()), b"name\0");
    let remove = op::Removexattr::new(NODE, XattrName::new(b"user.a").unwrap());
    assert_eq!(encoded(&|out| remove.encode(&newest(), out).unwrap()), b"user.a\0");
}

#[test]
fn operations_on_attributes() {
    let getattr = with!(op::Getattr::new(NODE), handle = Some(FH));
    request(getattr, "fuse_getattr_in", &[("getattr_flags", 1), ("fh", FH.0)]);
    let statx = with!(op::Statx::new(NODE, StatxMask::BTIME), handle = Some(FH), flags = 3);
    let fields = [("getattr_flags", 1), ("fh", FH.0), ("sx_flags", 3), ("sx_mask", 0x800)];
    request(statx, "fuse_statx_in", &fields);

    let setattr = with!(
        op::Setattr::new(NODE),
        mode = Some(1),
        uid = Some(Uid(2)),
        gid = Some(Gid(3)),
        size = Some(4),
        atime = Some(SetTime::At(Timestamp::new(5, 6))),
        mtime = Some(SetTime::At(Timestamp::new(7, 8))),
        ctime = Some(Timestamp::new(9, 10)),
        handle = Some(FH),
        lock_owner = Some(OWNER),
        kill_suidgid = true
    );
    let all_but_now = 0b1110_0111_1111;
    let fields = [
        ("valid", all_but_now),
        ("mode", 1),
        ("uid", 2),
        ("gid", 3),
        ("size", 4),
        ("atime", 5),
        ("atimensec", 6),
        ("mtime", 7),
        ("mtimensec", 8),
        ("ctime", 9),
        ("ctimensec", 10),
        ("fh", FH.0),
        ("lock_owner", OWNER.0),
    ];
    request(setattr, "fuse_setattr_in", &fields);
    let now = Some(SetTime::Now);
    let touch = with!(op::Setattr::new(NODE), atime = now);
    request(touch, "fuse_setattr_in", &[("valid", 1 << 4 | 1 << 7)]);
    let touch = with!(op::Setattr::new(NODE), mtime = now);
    request(touch, "fuse_setattr_in", &[("valid", 1 << 5 | 1 << 8)]);
}

#[test]
fn operations_on_files() {
    let kill = OpenRequestFlags::KILL_SUIDGID;
    let open = with!(op::Open::new(NODE, OpenFlags(2)), open_flags = kill);
    request(open, "fuse_open_in", &[("flags", 2), ("open_flags", 1)]);
    let create = with!(op::Create::new(NODE, 1, OpenFlags(2), name()), umask = 3, open_flags = kill);
    let fields = [("mode", 1), ("flags", 2), ("umask", 3), ("open_flags", 1)];
    assert_eq!(request(create, "fuse_create_in", &fields), b"name\0");
    let tmpfile = with!(op::Tmpfile::new(NODE, 1, OpenFlags(2)), umask = 3, open_flags = kill);
    assert_eq!(request(tmpfile, "fuse_create_in", &fields), b"/\0");

    let cached = ReadFlags::from_bits_retain(1);
    let (owner, flags) = (Some(OWNER), OpenFlags(5));
    let read = with!(op::Read::new(NODE, FH, 3, 4), lock_owner = owner, read_flags = cached, flags = flags);
    let fields = [("fh", FH.0), ("offset", 3), ("size", 4), ("read_flags", 3), ("lock_owner", OWNER.0), ("flags", 5)];
    request(read, "fuse_read_in", &fields);
    let cached = WriteFlags::CACHE;
    let write = with!(op::Write::new(NODE, FH, 3, b"data"), lock_owner = owner, write_flags = cached, flags = flags);
    let fields = [("fh", FH.0), ("offset", 3), ("size", 4), ("write_flags", 3), ("lock_owner", OWNER.0), ("flags", 5)];
    assert_eq!(request(write, "fuse_write_in", &fields), b"data");

    request(op::Flush::new(NODE, FH, OWNER), "fuse_flush_in", &[("fh", FH.0), ("lock_owner", OWNER.0)]);
    let unlock = ReleaseFlags::FLOCK_UNLOCK;
    let release = with!(op::Release::new(NODE, FH), flags = flags, release_flags = unlock, lock_owner = OWNER);
    let fields = [("fh", FH.0), ("flags", 5), ("release_flags", 2), ("lock_owner", OWNER.0)];
    request(release, "fuse_release_in", &fields);
    let fsync = with!(op::Fsync::new(NODE, FH), fsync_flags = FsyncFlags::FDATASYNC);
    request(fsync, "fuse_fsync_in", &[("fh", FH.0), ("fsync_flags", 1)]);
    let fallocate = op::Fallocate::new(NODE, FH, 1, 2, FallocateMode::ZERO_RANGE);
    request(fallocate, "fuse_fallocate_in", &[("fh", FH.0), ("offset", 1), ("length", 2), ("mode", 16)]);
    let lseek = op::Lseek::new(NODE, FH, 1, op::Whence::HOLE);
    request(lseek, "fuse_lseek_in", &[("fh", FH.0), ("offset", 1), ("whence", 4)]);
    request(op::Bmap::new(NODE, 1, 2), "fuse_bmap_in", &[("block", 1), ("blocksize", 2)]);
    let poll = op::Poll::new(NODE, FH, PollHandle(7), PollFlags::SCHEDULE_NOTIFY, PollEvents::OUT);
    request(poll, "fuse_poll_in", &[("fh", FH.0), ("kh", 7), ("flags", 1), ("events", 4)]);
    let ioctl = op::Ioctl::new(NODE, FH, 1, b"data");
    let ioctl = with!(ioctl, flags = IoctlFlags::DIR, argument = 2, out_size = 3);
    let fields = [("fh", FH.0), ("flags", 16), ("cmd", 1), ("arg", 2), ("in_size", 4), ("out_size", 3)];
    assert_eq!(request(ioctl, "fuse_ioctl_in", &fields), b"data");
}

#[test]
fn operations_on_directories() {
    let opendir = with!(op::Opendir::new(NODE, OpenFlags(2)), open_flags = OpenRequestFlags::KILL_SUIDGID);
    request(opendir, "fuse_open_in", &[("flags", 2), ("open_flags", 1)]);
    let (more, flags) = (ReadFlags::LOCKOWNER, OpenFlags(5));
    let fields = [("fh", FH.0), ("offset", 3), ("size", 4), ("read_flags", 2), ("lock_owner", OWNER.0), ("flags", 5)];
    let list = with!(op::Readdir::new(NODE, FH, 3, 4), read_flags = more, lock_owner = OWNER, flags = flags);
    request(list, "fuse_read_in", &fields);
    let list = with!(op::Readdirplus::new(NODE, FH, 3, 4), read_flags = more, lock_owner = OWNER, flags = flags);
    request(list, "fuse_read_in", &fields);
    let unlock = ReleaseFlags::FLOCK_UNLOCK;
    let close = with!(op::Releasedir::new(NODE, FH), flags = flags, release_flags = unlock, lock_owner = OWNER);
    let fields = [("fh", FH.0), ("flags", 5), ("release_flags", 2), ("lock_owner", OWNER.0)];
    request(close, "fuse_release_in", &fields);
    let fsync = with!(op::Fsyncdir::new(NODE, FH), fsync_flags = FsyncFlags::FDATASYNC);
    request(fsync, "fuse_fsync_in", &[("fh", FH.0), ("fsync_flags", 1)]);
}

#[test]
fn operations_on_locks() {
    let lock = FileLock { start: 1, end: 2, kind: LockKind(3), pid: Pid(4) };
    let inner = [("lk.start", 1), ("lk.end", 2), ("lk.type", 3), ("lk.pid", 4)];
    let outer = [("fh", FH.0), ("owner", OWNER.0), ("lk_flags", 1)];
    let fields = [inner.as_slice(), outer.as_slice()].concat();
    let flags = LockFlags::FLOCK;
    request(with!(op::Getlk::new(NODE, FH, OWNER, lock), flags = flags), "fuse_lk_in", &fields);
    request(with!(op::Setlk::new(NODE, FH, OWNER, lock), flags = flags), "fuse_lk_in", &fields);
    request(with!(op::Setlkw::new(NODE, FH, OWNER, lock), flags = flags), "fuse_lk_in", &fields);
    take(&body(reply::Lock { lock }), "fuse_lk_out", &inner);
}

#[test]
fn operations_on_extended_attributes() {
    let name = XattrName::new(b"user.a").unwrap();
    let set = op::Setxattr::new(NODE, name, b"value");
    let set = with!(set, flags = XattrFlags::REPLACE, setxattr_flags = SetxattrFlags::ACL_KILL_SGID);
    let fields = [("size", 5), ("flags", 2), ("setxattr_flags", 1)];
    assert_eq!(request(set, "fuse_setxattr_in", &fields), b"user.a\0value");
    assert_eq!(request(op::Getxattr::new(NODE, 1, name), "fuse_getxattr_in", &[("size", 1)]), b"user.a\0");
    assert_eq!(request(op::Listxattr::new(NODE, 1), "fuse_getxattr_in", &[("size", 1)]), b"");
    let mut old = RequestWriter::default();
    set.encode(&Negotiated::default(), &mut old).unwrap();
    let (numbers, rest) = old.as_bytes().split_at(8);
    assert_eq!(numbers, [5u32.to_ne_bytes(), 2u32.to_ne_bytes()].concat());
    assert_eq!(rest, b"user.a\0value");
}

#[test]
fn operations_on_ranges() {
    let fields =
        [("fh_in", FH.0), ("off_in", 1), ("nodeid_out", 2), ("fh_out", 3), ("off_out", 4), ("len", 5), ("flags", 6)];
    let (node, fh) = (NodeId(2), FileHandle(3));
    let copy = with!(op::CopyFileRange::new(NODE, FH, 1, node, fh, 4, 5), flags = 6);
    request(copy, "fuse_copy_file_range_in", &fields);
    let copy = with!(op::CopyFileRange64::new(NODE, FH, 1, node, fh, 4, 5), flags = 6);
    request(copy, "fuse_copy_file_range_in", &fields);
    let map = op::Setupmapping::new(NODE, FH, 1, 2, MappingFlags::READ, 3);
    let fields = [("fh", FH.0), ("foffset", 1), ("len", 2), ("flags", 2), ("moffset", 3)];
    request(map, "fuse_setupmapping_in", &fields);
    let list = WireList::bytes_of(&[Mapping { window_offset: 1, length: 2 }]);
    let rest = request(op::Removemapping::new(NODE, WireList::new(&list)), "fuse_removemapping_in", &[("count", 1)]);
    take(&rest, "fuse_removemapping_one", &[("moffset", 1), ("len", 2)]);
}

#[test]
fn operations_on_the_connection() {
    let offer = with!(op::Init::new(45, InitFlags::INIT_EXT | InitFlags::HAS_RESEND), max_readahead = 3);
    let fields = [("major", 7), ("minor", 45), ("max_readahead", 3), ("flags", 1 << 30), ("flags2", 1 << 7)];
    request(offer, "fuse_init_in", &fields);
    let offer = op::CuseInit::new(45, CuseInitFlags::UNRESTRICTED_IOCTL);
    request(offer, "cuse_init_in", &[("major", 7), ("minor", 45), ("flags", 1)]);
    request(op::Interrupt::new(NODE, Unique(8)), "fuse_interrupt_in", &[("unique", 8)]);
    request(op::Syncfs::new(NODE), "fuse_syncfs_in", &[]);
    let retrieved = op::NotifyReply::new(NODE, NotifyUnique(1), 2, b"data");
    assert_eq!(request(retrieved, "fuse_notify_retrieve_in", &[("offset", 2), ("size", 4)]), b"data");

    let answer = reply::Init::refusing_major();
    let answer = with!(
        answer,
        max_readahead = 1,
        flags = InitFlags::INIT_EXT | InitFlags::HAS_RESEND,
        max_background = 2,
        congestion_threshold = 3,
        max_write = 4,
        time_gran = 5,
        max_pages = 6,
        map_alignment = 7,
        max_stack_depth = 8,
        request_timeout = 9
    );
    let fields = [
        ("major", 7),
        ("minor", 45),
        ("max_readahead", 1),
        ("flags", 1 << 30),
        ("max_background", 2),
        ("congestion_threshold", 3),
        ("max_write", 4),
        ("time_gran", 5),
        ("max_pages", 6),
        ("map_alignment", 7),
        ("flags2", 1 << 7),
        ("max_stack_depth", 8),
        ("request_timeout", 9),
    ];
    take(&body(answer), "fuse_init_out", &fields);
    let device = reply::CuseInit::new(b"DEVNAME=x\0");
    let flags = CuseInitFlags::UNRESTRICTED_IOCTL;
    let device = with!(device, flags = flags, max_read = 1, max_write = 2, dev_major = 3, dev_minor = 4);
    let fields = [
        ("major", 7),
        ("minor", 45),
        ("flags", 1),
        ("max_read", 1),
        ("max_write", 2),
        ("dev_major", 3),
        ("dev_minor", 4),
    ];
    assert_eq!(take(&body(device), "cuse_init_out", &fields), b"DEVNAME=x\0");
}

#[test]
fn init_is_short_before_7_36() {
    for (minor, length) in [(31, 16), (35, 16), (36, 64), (45, 64)] {
        let mut out = RequestWriter::default();
        op::Init::new(minor, InitFlags::ASYNC_READ).encode(&newest(), &mut out).unwrap();
        assert_eq!(out.as_bytes().len(), length);
    }
}

/// Attributes with another number in each field, and what they look like in a struct that has them in `attr`.
fn attr() -> (Attr, Vec<(&'static str, u64)>) {
    let attr = with!(
        Attr::default(),
        ino = 101,
        size = 102,
        blocks = 103,
        atime = Timestamp::new(104, 105),
        mtime = Timestamp::new(106, 107),
        ctime = Timestamp::new(108, 109),
        mode = 110,
        nlink = 111,
        uid = Uid(112),
        gid = Gid(113),
        rdev = 114,
        blksize = 115,
        flags = AttrFlags::DAX
    );
    let fields = [
        ("attr.ino", 101),
        ("attr.size", 102),
        ("attr.blocks", 103),
        ("attr.atime", 104),
        ("attr.atimensec", 105),
        ("attr.mtime", 106),
        ("attr.mtimensec", 107),
        ("attr.ctime", 108),
        ("attr.ctimensec", 109),
        ("attr.mode", 110),
        ("attr.nlink", 111),
        ("attr.uid", 112),
        ("attr.gid", 113),
        ("attr.rdev", 114),
        ("attr.blksize", 115),
        ("attr.flags", 2),
    ];
    (attr, fields.to_vec())
}

#[test]
fn replies_about_nodes() {
    let (attr, attr_fields) = attr();
    let entry = reply::Entry::new(NODE, attr, Duration::new(1, 2));
    let entry = with!(entry, generation = Generation(3), entry_timeout = Duration::new(4, 5));
    let timeouts = [("attr_valid", 1), ("attr_valid_nsec", 2), ("entry_valid", 4), ("entry_valid_nsec", 5)];
    let node = [("nodeid", NODE.0), ("generation", 3)];
    let entry_fields = [attr_fields.as_slice(), &timeouts, &node].concat();
    assert_eq!(take(&body(entry), "fuse_entry_out", &entry_fields), b"");

    let fields = [attr_fields.as_slice(), &[("attr_valid", 1), ("attr_valid_nsec", 2)]].concat();
    take(&body(reply::Attributes::new(attr, Duration::new(1, 2))), "fuse_attr_out", &fields);

    let opened = reply::Opened::new(FH).with_flags(OpenedFlags::KEEP_CACHE);
    take(&body(opened), "fuse_open_out", &[("fh", FH.0), ("open_flags", 2)]);
    let opened = with!(opened, backing = Some(BackingId(6)));
    let opened_fields = [("fh", FH.0), ("open_flags", 0x82), ("backing_id", 6)];
    take(&body(opened), "fuse_open_out", &opened_fields);
    let created = body(reply::Created::new(entry, opened));
    assert_eq!(take(take(&created, "fuse_entry_out", &entry_fields), "fuse_open_out", &opened_fields), b"");

    let mut room = [0; 256];
    let mut out = ReplyWriter::new(&mut room);
    let dirent = reply::Dirent::new(1, 2, fusewire_proto::FileType::DIRECTORY, name());
    dirent.put_plus(&newest(), || entry, &mut out).unwrap();
    let rest = take(out.written(), "fuse_entry_out", &entry_fields);
    let fields = [("ino", 1), ("off", 2), ("namelen", 4), ("type", 4)];
    assert_eq!(take(rest, "fuse_dirent", &fields), b"name\0\0\0\0");
}

#[test]
fn regression_backing_file_means_nothing_before_its_minor() {
    let bytes = body(with!(reply::Opened::new(FH), backing = Some(BackingId(6))));
    for (minor, backing) in [(39, None), (40, Some(BackingId(6)))] {
        let negotiated = with!(Negotiated::default(), minor = minor);
        let opened = reply::Opened::decode(&negotiated, None, &bytes).unwrap();
        assert_eq!((opened.handle, opened.flags, opened.backing), (FH, OpenedFlags::empty(), backing));
    }
}

#[test]
fn replies_of_statx() {
    let attr = with!(
        StatxAttr::default(),
        mask = StatxMask::BTIME,
        blksize = 1,
        attributes = 2,
        attributes_mask = 3,
        nlink = 4,
        uid = Uid(5),
        gid = Gid(6),
        mode = 7,
        ino = 8,
        size = 9,
        blocks = 10,
        atime = Timestamp::new(11, 12),
        btime = Timestamp::new(13, 14),
        ctime = Timestamp::new(15, 16),
        mtime = Timestamp::new(17, 18),
        rdev = (19, 20),
        dev = (21, 22)
    );
    let fields = [
        ("attr_valid", 23),
        ("attr_valid_nsec", 24),
        ("stat.mask", 0x800),
        ("stat.blksize", 1),
        ("stat.attributes", 2),
        ("stat.attributes_mask", 3),
        ("stat.nlink", 4),
        ("stat.uid", 5),
        ("stat.gid", 6),
        ("stat.mode", 7),
        ("stat.ino", 8),
        ("stat.size", 9),
        ("stat.blocks", 10),
        ("stat.atime.tv_sec", 11),
        ("stat.atime.tv_nsec", 12),
        ("stat.btime.tv_sec", 13),
        ("stat.btime.tv_nsec", 14),
        ("stat.ctime.tv_sec", 15),
        ("stat.ctime.tv_nsec", 16),
        ("stat.mtime.tv_sec", 17),
        ("stat.mtime.tv_nsec", 18),
        ("stat.rdev_major", 19),
        ("stat.rdev_minor", 20),
        ("stat.dev_major", 21),
        ("stat.dev_minor", 22),
    ];
    take(&body(reply::StatxReply::new(attr, Duration::new(23, 24))), "fuse_statx_out", &fields);
}

#[test]
fn replies_of_numbers() {
    take(&body(reply::Written { size: 1 }), "fuse_write_out", &[("size", 1)]);
    take(&body(reply::Copied { size: 1 }), "fuse_copy_file_range_out", &[("bytes_copied", 1)]);
    take(&body(reply::Block { block: 1 }), "fuse_bmap_out", &[("block", 1)]);
    take(&body(reply::Offset { offset: 1 }), "fuse_lseek_out", &[("offset", 1)]);
    take(&body(reply::Polled { events: PollEvents::OUT }), "fuse_poll_out", &[("revents", 4)]);
    take(&body(reply::Xattr::Size(1)), "fuse_getxattr_out", &[("size", 1)]);
    assert_eq!(body(reply::Xattr::Value(b"value")), b"value");
    let flags = IoctlFlags::DIR;
    let ioctl = body(reply::Ioctl { result: 1, flags, in_areas: 2, out_areas: 3, data: b"data" });
    let fields = [("result", 1), ("flags", 16), ("in_iovs", 2), ("out_iovs", 3)];
    assert_eq!(take(&ioctl, "fuse_ioctl_out", &fields), b"data");

    let statfs = with!(
        reply::Statfs::default(),
        blocks = 1,
        bfree = 2,
        bavail = 3,
        files = 4,
        ffree = 5,
        bsize = 6,
        namelen = 7,
        frsize = 8
    );
    let fields = [
        ("st.blocks", 1),
        ("st.bfree", 2),
        ("st.bavail", 3),
        ("st.files", 4),
        ("st.ffree", 5),
        ("st.bsize", 6),
        ("st.namelen", 7),
        ("st.frsize", 8),
    ];
    take(&body(statfs), "fuse_statfs_out", &fields);
}

/// Checks header and struct of a notification; gives what follows.
fn notification(message: Notification<'_>, name: &str, fields: &[(&str, u64)]) -> Vec<u8> {
    let bytes = message.encode().expect("it is short");
    let length = u64::try_from(bytes.len()).expect("it is short");
    let body = take(&bytes, "fuse_out_header", &[("len", length), ("error", message.code().into())]);
    take(body, name, fields).to_vec()
}

#[test]
fn notifications() {
    let (node, parent) = (NODE, NodeId(9));
    notification(Notification::Poll { poll_handle: PollHandle(7) }, "fuse_notify_poll_wakeup_out", &[("kh", 7)]);
    notification(
        Notification::InvalInode { node, offset: 1, length: 2 },
        "fuse_notify_inval_inode_out",
        &[("ino", NODE.0), ("off", 1), ("len", 2)],
    );
    let rest = notification(
        Notification::InvalEntry { parent, name: name(), flags: InvalEntryFlags::EXPIRE_ONLY },
        "fuse_notify_inval_entry_out",
        &[("parent", 9), ("namelen", 4), ("flags", 1)],
    );
    assert_eq!(rest, b"name\0");
    let rest = notification(
        Notification::Store { node, offset: 1, data: b"data" },
        "fuse_notify_store_out",
        &[("nodeid", NODE.0), ("offset", 1), ("size", 4)],
    );
    assert_eq!(rest, b"data");
    notification(
        Notification::Retrieve { notify_unique: NotifyUnique(1), node, offset: 2, size: 3 },
        "fuse_notify_retrieve_out",
        &[("notify_unique", 1), ("nodeid", NODE.0), ("offset", 2), ("size", 3)],
    );
    let rest = notification(
        Notification::Delete { parent, child: node, name: name() },
        "fuse_notify_delete_out",
        &[("parent", 9), ("child", NODE.0), ("namelen", 4)],
    );
    assert_eq!(rest, b"name\0");
    let nodes = WireList::bytes_of(&[node]);
    let rest =
        notification(Notification::Prune { nodes: WireList::new(&nodes) }, "fuse_notify_prune_out", &[("count", 1)]);
    assert_eq!(rest, node.0.to_ne_bytes());
}
