//! Strategies for the values that messages are made of, and the connections that they travel on.
//!
//! What is borrowed by a message is leaked: a test makes a few megabytes of it, and values stay simple.

use std::time::Duration;

use fusewire_proto::ext::{Extensions, ExtensionsBuilder, SecurityContext};
use fusewire_proto::{
    Attr, AttrFlags, FileHandle, Gid, InitFlags, LinkTarget, LockOwner, Name, Negotiated, NodeId, OpenFlags, Pid,
    RequestHeader, Timestamp, Uid, Unique, XattrName,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Numbers, with the ends of their range more often than chance would have them.
pub(crate) fn number() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 1 => Just(u64::MAX), 6 => any::<u64>()]
}

pub(crate) fn node() -> impl Strategy<Value = NodeId> {
    number().prop_map(NodeId)
}

pub(crate) fn handle() -> impl Strategy<Value = FileHandle> {
    number().prop_map(FileHandle)
}

pub(crate) fn owner() -> impl Strategy<Value = LockOwner> {
    number().prop_map(LockOwner)
}

pub(crate) fn open_flags() -> impl Strategy<Value = OpenFlags> {
    any::<u32>().prop_map(OpenFlags)
}

/// A flag word of any type, with bits that have no name among them.
pub(crate) fn flags<F>() -> impl Strategy<Value = F>
where
    F: bitflags::Flags + std::fmt::Debug,
    F::Bits: Arbitrary,
{
    any::<F::Bits>().prop_map(F::from_bits_retain)
}

pub(crate) fn data(longest: usize) -> impl Strategy<Value = &'static [u8]> {
    vec(any::<u8>(), 0..=longest).prop_map(|bytes| &*bytes.leak())
}

/// Bytes without NUL, at least one.
fn string(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(1..=u8::MAX, 1..=longest)
}

pub(crate) fn name() -> impl Strategy<Value = &'static Name> {
    string(40).prop_map(|mut bytes| {
        bytes.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'.');
        Name::new(bytes.leak()).expect("neither NUL nor slash")
    })
}

pub(crate) fn xattr_name() -> impl Strategy<Value = &'static XattrName> {
    string(40).prop_map(|bytes| XattrName::new(bytes.leak()).expect("no NUL"))
}

pub(crate) fn link_target() -> impl Strategy<Value = &'static LinkTarget> {
    string(100).prop_map(|bytes| LinkTarget::new(bytes.leak()).expect("no NUL"))
}

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    (any::<i64>(), 0..1_000_000_000u32).prop_map(|(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds))
}

pub(crate) fn duration() -> impl Strategy<Value = Duration> {
    (number(), 0..1_000_000_000u32).prop_map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds))
}

pub(crate) fn attr() -> impl Strategy<Value = Attr> {
    let sizes = (number(), number(), number());
    let times = (timestamp(), timestamp(), timestamp());
    (sizes, times, any::<[u32; 6]>(), flags::<AttrFlags>()).prop_map(|(sizes, times, numbers, flags)| {
        let mut attr = Attr::default();
        (attr.ino, attr.size, attr.blocks) = sizes;
        (attr.atime, attr.mtime, attr.ctime) = times;
        [attr.mode, attr.nlink, attr.uid.0, attr.gid.0, attr.rdev, attr.blksize] = numbers;
        attr.flags = flags;
        attr
    })
}

pub(crate) fn header() -> impl Strategy<Value = RequestHeader> {
    // All ones stand for an id without a mapping.
    let id = || option::of(0..u32::MAX);
    (number(), id(), id(), any::<u32>()).prop_map(|(unique, uid, gid, pid)| {
        let mut header = RequestHeader::new(Unique(unique));
        header.uid = uid.map(Uid);
        header.gid = gid.map(Gid);
        header.pid = Pid(pid);
        header
    })
}

/// None, some or more than the kernel would send of each kind.
pub(crate) fn extensions() -> impl Strategy<Value = Extensions<'static>> {
    let contexts = vec((xattr_name(), data(40)), 0..3);
    (contexts, vec(any::<u32>(), 0..4)).prop_map(|(contexts, groups)| {
        let mut builder = ExtensionsBuilder::default();
        for (name, value) in contexts {
            builder.security_context(SecurityContext { name, value }).expect("it is short");
        }
        for group in groups {
            builder.group(Gid(group));
        }
        Box::leak(Box::new(builder)).build()
    })
}

/// A connection of each minor, with each set of capabilities that changes the form of a message.
pub(crate) fn connections() -> impl Iterator<Item = Negotiated> {
    let context = InitFlags::INIT_EXT | InitFlags::SECURITY_CTX;
    let sets = [
        (0, InitFlags::empty()),
        (33, InitFlags::SETXATTR_EXT),
        (36, context),
        (36, context | InitFlags::SETXATTR_EXT),
        (38, context | InitFlags::CREATE_SUPP_GROUP),
    ];
    (31..=45).flat_map(move |minor| {
        sets.into_iter().filter(move |(since, _)| minor >= *since).map(move |(_, flags)| connection(minor, flags))
    })
}

pub(crate) fn connection(minor: u32, flags: InitFlags) -> Negotiated {
    let mut connection = Negotiated::default();
    connection.minor = minor;
    connection.flags = flags;
    connection
}

/// Any of [`connections`].
pub(crate) fn any_connection() -> impl Strategy<Value = Negotiated> {
    prop::sample::select(connections().collect::<Vec<_>>())
}

/// Whether security contexts of new inodes stand behind the names without a header of their own.
pub(crate) fn has_bare_context(negotiated: &Negotiated) -> bool {
    (36..38).contains(&negotiated.minor) && negotiated.has(InitFlags::SECURITY_CTX)
}
