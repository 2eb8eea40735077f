//! Strategies for replies, chosen by the table: a kind of reply without a strategy does not compile.
//!
//! They know the limit that the request set, and keep to it.

use fusewire_proto::reply::*;
use fusewire_proto::{
    AttrFlags, BackingId, CuseInitFlags, FileType, Generation, IoctlFlags, Negotiated, Opcode, OpenedFlags, StatxAttr,
    Timestamp, abi, for_each_opcode,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::requests::{init_flags, lock};
use crate::values::{attr, connection, data, duration, flags, handle, name, node, number, timestamp};

/// What a reply is made of when the caller has room for `limit` bytes.
trait Sample: Sized {
    fn within(limit: Option<u32>) -> BoxedStrategy<Self>;
}

macro_rules! strategies {
    ($(($kernel:ident, $name:ident, $op:ident $(<$lt:lifetime>)?, $method:ident, $since:literal,
        $answer:ident $reply:ident, $lookup:ident, $enosys:ident, $doc:literal);)*) => {
        /// Replies to this opcode, when the caller has room for `limit` bytes.
        pub(crate) fn to_opcode(opcode: Opcode, limit: Option<u32>) -> BoxedStrategy<Reply<'static>> {
            match opcode {
                $(Opcode::$name => <$reply as Sample>::within(limit).prop_map(Reply::$reply).boxed(),)*
                unknown => unreachable!("{unknown:?} is not in the table"),
            }
        }
    };
}

for_each_opcode!(strategies);

/// How much room a request may leave for its reply.
pub(crate) fn limit() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![Just(None), Just(Some(0)), (1..600u32).prop_map(Some)]
}

/// What is left of a reply that has travelled on this connection.
pub(crate) fn after_travel(reply: Reply<'static>, negotiated: &Negotiated) -> Reply<'static> {
    let plain = |flags: &mut AttrFlags| {
        if negotiated.minor < 32 {
            *flags = AttrFlags::empty();
        }
    };
    let unbacked = |opened: &mut Opened| opened.backing = opened.backing.filter(|_| negotiated.minor >= 40);
    match reply {
        Reply::Entry(mut entry) => {
            plain(&mut entry.attr.flags);
            entry.into()
        }
        Reply::Attributes(mut attributes) => {
            plain(&mut attributes.attr.flags);
            attributes.into()
        }
        Reply::Opened(mut opened) => {
            unbacked(&mut opened);
            opened.into()
        }
        Reply::Created(mut created) => {
            plain(&mut created.entry.attr.flags);
            unbacked(&mut created.opened);
            created.into()
        }
        all_others => all_others,
    }
}

/// The room of a limit as a size of memory; a page where there is no limit.
fn room(limit: Option<u32>) -> usize {
    limit.map_or(4096, |limit| usize::try_from(limit).expect("it is small"))
}

macro_rules! samples {
    ($($name:ty, |$limit:ident| $strategy:expr;)*) => {$(
        impl Sample for $name {
            fn within($limit: Option<u32>) -> BoxedStrategy<Self> {
                $strategy.boxed()
            }
        }
    )*};
}

samples! {
    Nothing, |_limit| Just(Nothing);
    Done, |_limit| Just(Done);
    Written, |_limit| any::<u32>().prop_map(|size| Written { size });
    Copied, |_limit| number().prop_map(|size| Copied { size });
    Block, |_limit| number().prop_map(|block| Block { block });
    Offset, |_limit| number().prop_map(|offset| Offset { offset });
    Polled, |_limit| flags().prop_map(|events| Polled { events });
    Lock, |_limit| lock().prop_map(|lock| Lock { lock });
    Data<'static>, |limit| data(room(limit).min(100)).prop_map(|bytes| Data { bytes });
    Xattr<'static>, |limit| match limit {
        Some(0) => any::<u32>().prop_map(Xattr::Size).boxed(),
        _ => data(room(limit).min(100)).prop_map(Xattr::Value).boxed(),
    };
    Ioctl<'static>, |limit| prop_oneof![answered_ioctl(limit), repeated_ioctl()];
    Entry, |_limit| entry();
    Attributes, |_limit| (attr(), duration()).prop_map(|(attr, timeout)| Attributes::new(attr, timeout));
    Opened, |_limit| opened();
    Created, |_limit| (entry(), opened()).prop_map(|(entry, opened)| Created::new(entry, opened));
    Statfs, |_limit| statfs();
    StatxReply, |_limit| (statx_attr(), duration()).prop_map(|(attr, timeout)| StatxReply::new(attr, timeout));
    Init, |_limit| init();
    CuseInit<'static>, |_limit| cuse_init();
    DirEntries<'static>, |limit| vec(dirent(), 0..6).prop_map(move |list| DirEntries::new(plain_list(&list, limit)));
    DirEntriesPlus<'static>, |limit| vec((dirent(), entry()), 0..4)
        .prop_map(move |list| DirEntriesPlus::new(plus_list(&list, limit)));
}

fn answered_ioctl(limit: Option<u32>) -> impl Strategy<Value = Ioctl<'static>> {
    let numbers = (any::<i32>(), flags::<IoctlFlags>(), any::<[u32; 2]>());
    (numbers, data(room(limit).min(100))).prop_map(|((result, flags, [in_areas, out_areas]), data)| Ioctl {
        result,
        flags: flags - IoctlFlags::RETRY,
        in_areas,
        out_areas,
        data,
    })
}

fn repeated_ioctl() -> impl Strategy<Value = Ioctl<'static>> {
    (any::<i32>(), flags::<IoctlFlags>(), 0..5u32, vec(any::<[u64; 2]>(), 5..10)).prop_map(
        |(result, flags, in_areas, areas)| {
            let out_areas = u32::try_from(areas.len()).expect("it is short") - in_areas;
            let data: Vec<u8> = areas.concat().into_iter().flat_map(u64::to_ne_bytes).collect();
            Ioctl { result, flags: flags | IoctlFlags::RETRY, in_areas, out_areas, data: data.leak() }
        },
    )
}

pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    (node(), number(), attr(), duration(), duration()).prop_map(|(node, generation, attr, entry_timeout, timeout)| {
        let mut entry = Entry::new(node, attr, timeout);
        entry.generation = Generation(generation);
        entry.entry_timeout = entry_timeout;
        entry
    })
}

fn opened() -> impl Strategy<Value = Opened> {
    (handle(), flags::<OpenedFlags>(), option::of(any::<i32>())).prop_map(|(handle, flags, backing)| {
        let mut opened = Opened::new(handle).with_flags(flags - OpenedFlags::PASSTHROUGH);
        opened.backing = backing.map(BackingId);
        opened
    })
}

fn statfs() -> impl Strategy<Value = Statfs> {
    (any::<[u64; 5]>(), any::<[u32; 3]>()).prop_map(|(longs, words)| {
        let mut statfs = Statfs::default();
        [statfs.blocks, statfs.bfree, statfs.bavail, statfs.files, statfs.ffree] = longs;
        [statfs.bsize, statfs.namelen, statfs.frsize] = words;
        statfs
    })
}

fn statx_attr() -> impl Strategy<Value = StatxAttr> {
    let times = vec(timestamp(), 4);
    (any::<[u64; 5]>(), any::<[u32; 8]>(), any::<u16>(), times, flags()).prop_map(
        |(longs, words, mode, times, mask)| {
            let mut attr = StatxAttr::default();
            [attr.attributes, attr.attributes_mask, attr.ino, attr.size, attr.blocks] = longs;
            [attr.blksize, attr.nlink, attr.uid.0, attr.gid.0, attr.rdev.0, attr.rdev.1, attr.dev.0, attr.dev.1] =
                words;
            attr.mode = mode;
            let times: [Timestamp; 4] = times.try_into().expect("there are four");
            [attr.atime, attr.btime, attr.ctime, attr.mtime] = times;
            attr.mask = mask;
            attr
        },
    )
}

fn init() -> impl Strategy<Value = Init> {
    (any::<[u32; 6]>(), any::<[u16; 5]>(), init_flags()).prop_map(|(words, halves, flags)| {
        let mut init = Init::refusing_major();
        let Init { major, minor, max_readahead, max_write, time_gran, max_stack_depth, .. } = &mut init;
        [*major, *minor, *max_readahead, *max_write, *time_gran, *max_stack_depth] = words;
        let Init { max_background, congestion_threshold, max_pages, map_alignment, request_timeout, .. } = &mut init;
        [*max_background, *congestion_threshold, *max_pages, *map_alignment, *request_timeout] = halves;
        init.flags = flags;
        init
    })
}

fn cuse_init() -> impl Strategy<Value = CuseInit<'static>> {
    (any::<[u32; 6]>(), flags::<CuseInitFlags>(), data(100)).prop_map(|(words, flags, info)| {
        let mut init = CuseInit::new(info);
        [init.major, init.minor, init.max_read, init.max_write, init.dev_major, init.dev_minor] = words;
        init.flags = flags;
        init
    })
}

pub(crate) fn dirent() -> impl Strategy<Value = Dirent<'static>> {
    let kind = any::<u32>().prop_map(FileType::from_mode);
    (number(), number(), kind, name()).prop_map(|(ino, offset, kind, name)| Dirent::new(ino, offset, kind, name))
}

/// The bytes of as many of these entries as there is room for.
pub(crate) fn plain_list(entries: &[Dirent<'_>], limit: Option<u32>) -> &'static [u8] {
    let mut bytes = vec![0xa5; room(limit)];
    let mut out = ReplyWriter::new(&mut bytes);
    let whole = entries.iter().take_while(|entry| entry.put(&mut out).is_ok()).count();
    let sizes = entries.iter().take(whole).map(Dirent::size);
    assert_eq!(out.length(), sizes.sum::<usize>());
    out.written().to_vec().leak()
}

/// The bytes of as many of these entries as there is room for.
pub(crate) fn plus_list(entries: &[(Dirent<'_>, Entry)], limit: Option<u32>) -> &'static [u8] {
    let mut bytes = vec![0xa5; room(limit)];
    let mut out = ReplyWriter::new(&mut bytes);
    let newest = connection(45, Default::default());
    let mut looked_up = 0;
    let lookup = |entry: &Entry, looked_up: &mut usize| {
        *looked_up += 1;
        *entry
    };
    let put = |(dirent, entry): &&(Dirent<'_>, Entry)| {
        dirent.put_plus(&newest, || lookup(entry, &mut looked_up), &mut out).is_ok()
    };
    let whole = entries.iter().take_while(put).count();
    assert_eq!(looked_up, whole, "an entry that does not fit must not be looked up");
    out.written().to_vec().leak()
}

/// Whether the first `kept` bytes of a reply's body are a reply by themselves.
///
/// Data may have any length. A list of entries may end behind each of them. The daemons of before 7.23 answered `INIT` with
/// 24 bytes. The rest are structs, of which every byte must be there.
pub(crate) fn is_whole(reply: &Reply<'_>, kept: usize, negotiated: &Negotiated) -> bool {
    match reply {
        Reply::Data(_) | Reply::Xattr(Xattr::Value(_)) => true,
        Reply::Ioctl(ioctl) if !ioctl.flags.contains(IoctlFlags::RETRY) => kept >= size_of::<abi::fuse_ioctl_out>(),
        Reply::CuseInit(_) => kept >= size_of::<abi::cuse_init_out>(),
        Reply::Init(_) => kept >= abi::FUSE_COMPAT_22_INIT_OUT_SIZE,
        Reply::DirEntries(list) => {
            is_end(kept, list.iter(negotiated).map(|entry| entry.expect("the list is whole").size()))
        }
        Reply::DirEntriesPlus(list) => is_end(
            kept,
            list.iter(negotiated)
                .map(|entry| size_of::<abi::fuse_entry_out>() + entry.expect("the list is whole").1.size()),
        ),
        _ => false,
    }
}

/// Whether entries of these sizes leave off at `place`.
fn is_end(place: usize, sizes: impl Iterator<Item = usize>) -> bool {
    let mut ends = sizes.scan(0, |end, size| {
        *end += size;
        Some(*end)
    });
    place == 0 || ends.any(|end| end == place)
}

/// Whether a reply may be longer than it is: only data may.
pub(crate) fn may_grow(reply: &Reply<'_>) -> bool {
    match reply {
        Reply::Data(_) | Reply::Xattr(Xattr::Value(_)) | Reply::CuseInit(_) => true,
        Reply::Ioctl(ioctl) => !ioctl.flags.contains(IoctlFlags::RETRY),
        _ => false,
    }
}
