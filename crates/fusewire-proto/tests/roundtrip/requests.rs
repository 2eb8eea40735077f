//! Strategies for requests: a function an operation, named as its method.
//!
//! The table chooses among them, so that a row without a strategy does not compile.

use fusewire_proto::op::*;
use fusewire_proto::{
    CuseInitFlags, FileHandle, FsyncFlags, Gid, InitFlags, LockFlags, LockOwner, Negotiated, NodeId, NotifyUnique,
    Opcode, OpenFlags, OpenRequestFlags, Pid, PollHandle, ReadFlags, ReleaseFlags, Request, RequestWriter, StatxMask,
    Uid, Unique, WriteFlags, for_each_opcode,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::values::{data, flags, handle, link_target, name, node, number, open_flags, owner, timestamp, xattr_name};

macro_rules! strategies {
    ($(($kernel:ident, $name:ident, $op:ident $(<$lt:lifetime>)?, $method:ident, $since:literal,
        $answer:ident $reply:ident, $lookup:ident, $enosys:ident, $doc:literal);)*) => {
        /// Requests with this opcode, as a kernel of 7.45 could send them with every capability on.
        pub(crate) fn with_opcode(opcode: Opcode) -> BoxedStrategy<Request<'static>> {
            match opcode {
                $(Opcode::$name => $method().prop_map(Request::$op).boxed(),)*
                unknown => unreachable!("{unknown:?} is not in the table"),
            }
        }
    };
}

for_each_opcode!(strategies);

/// What is left of a request that has travelled on this connection: a field that it does not have is at its default.
pub(crate) fn after_travel(request: Request<'static>, negotiated: &Negotiated) -> Request<'static> {
    match request {
        Request::Open(mut op) if negotiated.minor < 33 => {
            op.open_flags = Default::default();
            op.into()
        }
        Request::Opendir(mut op) if negotiated.minor < 33 => {
            op.open_flags = Default::default();
            op.into()
        }
        Request::Create(mut op) if negotiated.minor < 33 => {
            op.open_flags = Default::default();
            op.into()
        }
        Request::Setxattr(mut op) if !negotiated.has(InitFlags::SETXATTR_EXT) => {
            op.setxattr_flags = Default::default();
            op.into()
        }
        all_others => all_others,
    }
}

/// An operation on a node and a name, and nothing else.
macro_rules! node_and_name {
    ($($method:ident: $op:ident, $name:ident;)*) => {$(
        fn $method() -> impl Strategy<Value = $op<'static>> {
            (node(), $name()).prop_map(|(node, name)| $op::new(node, name))
        }
    )*};
}

node_and_name! {
    lookup: Lookup, name;
    unlink: Unlink, name;
    rmdir: Rmdir, name;
    removexattr: Removexattr, xattr_name;
}

/// An operation on a node, and nothing else.
macro_rules! node_only {
    ($($method:ident: $op:ident;)*) => {$(
        fn $method() -> impl Strategy<Value = $op> {
            node().prop_map($op::new)
        }
    )*};
}

node_only! {
    readlink: Readlink;
    statfs: Statfs;
    destroy: Destroy;
    syncfs: Syncfs;
}

/// Operations of the same form.
macro_rules! same_form {
    ($($method:ident: $op:ident, |$of:ident: $source:ty| $strategy:expr;)*) => {$(
        fn $method() -> impl Strategy<Value = $op> {
            let make: fn($source) -> $op = |$of| $strategy;
            any_of::<$source>().prop_map(make)
        }
    )*};
}

/// What operations of the same form are made of.
trait Form: std::fmt::Debug + Sized {
    fn any() -> BoxedStrategy<Self>;
}

fn any_of<T: Form>() -> BoxedStrategy<T> {
    T::any()
}

/// `OPEN` and `OPENDIR`.
#[derive(Debug)]
struct Opening(NodeId, OpenFlags, OpenRequestFlags);

impl Form for Opening {
    fn any() -> BoxedStrategy<Self> {
        (node(), open_flags(), flags()).prop_map(|(node, flags, open)| Self(node, flags, open)).boxed()
    }
}

/// `READDIR` and `READDIRPLUS`.
#[derive(Debug)]
struct Listing {
    node: NodeId,
    handle: FileHandle,
    offset: u64,
    size: u32,
    read_flags: ReadFlags,
    lock_owner: LockOwner,
    flags: OpenFlags,
}

impl Form for Listing {
    fn any() -> BoxedStrategy<Self> {
        (node(), handle(), number(), any::<u32>(), flags(), owner(), open_flags())
            .prop_map(|(node, handle, offset, size, read_flags, lock_owner, flags)| Self {
                node,
                handle,
                offset,
                size,
                read_flags,
                lock_owner,
                flags,
            })
            .boxed()
    }
}

/// `RELEASE` and `RELEASEDIR`.
#[derive(Debug)]
struct Closing(NodeId, FileHandle, OpenFlags, ReleaseFlags, LockOwner);

impl Form for Closing {
    fn any() -> BoxedStrategy<Self> {
        (node(), handle(), open_flags(), flags(), owner())
            .prop_map(|(node, handle, flags, release, owner)| Self(node, handle, flags, release, owner))
            .boxed()
    }
}

/// `FSYNC` and `FSYNCDIR`.
#[derive(Debug)]
struct Syncing(NodeId, FileHandle, FsyncFlags);

impl Form for Syncing {
    fn any() -> BoxedStrategy<Self> {
        (node(), handle(), flags()).prop_map(|(node, handle, flags)| Self(node, handle, flags)).boxed()
    }
}

/// `GETLK`, `SETLK` and `SETLKW`.
#[derive(Debug)]
struct Locking(NodeId, FileHandle, LockOwner, FileLock, LockFlags);

impl Form for Locking {
    fn any() -> BoxedStrategy<Self> {
        (node(), handle(), owner(), lock(), flags())
            .prop_map(|(node, handle, owner, lock, flags)| Self(node, handle, owner, lock, flags))
            .boxed()
    }
}

/// `COPY_FILE_RANGE` and `COPY_FILE_RANGE_64`.
#[derive(Debug)]
struct Copying {
    from: (NodeId, FileHandle, u64),
    to: (NodeId, FileHandle, u64),
    length: u64,
    flags: u64,
}

impl Form for Copying {
    fn any() -> BoxedStrategy<Self> {
        let place = || (node(), handle(), number());
        (place(), place(), number(), number())
            .prop_map(|(from, to, length, flags)| Self { from, to, length, flags })
            .boxed()
    }
}

macro_rules! with_fields {
    ($op:expr, $($field:ident = $value:expr),+) => {{
        let mut op = $op;
        $(op.$field = $value;)+
        op
    }};
}

same_form! {
    open: Open, |of: Opening| with_fields!(Open::new(of.0, of.1), open_flags = of.2);
    opendir: Opendir, |of: Opening| with_fields!(Opendir::new(of.0, of.1), open_flags = of.2);
    readdir: Readdir, |of: Listing| with_fields!(
        Readdir::new(of.node, of.handle, of.offset, of.size),
        read_flags = of.read_flags, lock_owner = of.lock_owner, flags = of.flags
    );
    readdirplus: Readdirplus, |of: Listing| with_fields!(
        Readdirplus::new(of.node, of.handle, of.offset, of.size),
        read_flags = of.read_flags, lock_owner = of.lock_owner, flags = of.flags
    );
    release: Release, |of: Closing| with_fields!(
        Release::new(of.0, of.1), flags = of.2, release_flags = of.3, lock_owner = of.4
    );
    releasedir: Releasedir, |of: Closing| with_fields!(
        Releasedir::new(of.0, of.1), flags = of.2, release_flags = of.3, lock_owner = of.4
    );
    fsync: Fsync, |of: Syncing| with_fields!(Fsync::new(of.0, of.1), fsync_flags = of.2);
    fsyncdir: Fsyncdir, |of: Syncing| with_fields!(Fsyncdir::new(of.0, of.1), fsync_flags = of.2);
    getlk: Getlk, |of: Locking| with_fields!(Getlk::new(of.0, of.1, of.2, of.3), flags = of.4);
    setlk: Setlk, |of: Locking| with_fields!(Setlk::new(of.0, of.1, of.2, of.3), flags = of.4);
    setlkw: Setlkw, |of: Locking| with_fields!(Setlkw::new(of.0, of.1, of.2, of.3), flags = of.4);
    copy_file_range: CopyFileRange, |of: Copying| with_fields!(
        CopyFileRange::new(of.from.0, of.from.1, of.from.2, of.to.0, of.to.1, of.to.2, of.length), flags = of.flags
    );
    copy_file_range_64: CopyFileRange64, |of: Copying| with_fields!(
        CopyFileRange64::new(of.from.0, of.from.1, of.from.2, of.to.0, of.to.1, of.to.2, of.length), flags = of.flags
    );
}

pub(crate) fn lock() -> impl Strategy<Value = FileLock> {
    (number(), number(), any::<u32>(), any::<u32>()).prop_map(|(start, end, kind, pid)| FileLock {
        start,
        end,
        kind: LockKind(kind),
        pid: Pid(pid),
    })
}

fn forget() -> impl Strategy<Value = Forget> {
    (node(), number()).prop_map(|(node, nlookup)| Forget::new(node, nlookup))
}

fn batch_forget() -> impl Strategy<Value = BatchForget<'static>> {
    let one = (node(), number()).prop_map(|(node, nlookup)| Forgotten { node, nlookup });
    vec(one, 0..5).prop_map(|list| BatchForget::new(WireList::new(WireList::bytes_of(&list).leak())))
}

fn getattr() -> impl Strategy<Value = Getattr> {
    (node(), option::of(handle())).prop_map(|(node, handle)| with_fields!(Getattr::new(node), handle = handle))
}

fn statx() -> impl Strategy<Value = Statx> {
    (node(), option::of(handle()), any::<u32>(), flags::<StatxMask>())
        .prop_map(|(node, handle, flags, mask)| with_fields!(Statx::new(node, mask), handle = handle, flags = flags))
}

fn set_time() -> impl Strategy<Value = SetTime> {
    prop_oneof![Just(SetTime::Now), timestamp().prop_map(SetTime::At)]
}

fn setattr() -> impl Strategy<Value = Setattr> {
    let words = || option::of(any::<u32>());
    let who = (words(), words(), words(), option::of(number()));
    let times = (option::of(set_time()), option::of(set_time()), option::of(timestamp()));
    let rest = (option::of(handle()), option::of(owner()), any::<bool>());
    (node(), who, times, rest).prop_map(|(node, who, times, rest)| {
        with_fields!(
            Setattr::new(node),
            mode = who.0,
            uid = who.1.map(Uid),
            gid = who.2.map(Gid),
            size = who.3,
            atime = times.0,
            mtime = times.1,
            ctime = times.2,
            handle = rest.0,
            lock_owner = rest.1,
            kill_suidgid = rest.2
        )
    })
}

fn symlink() -> impl Strategy<Value = Symlink<'static>> {
    (node(), name(), link_target()).prop_map(|(parent, name, target)| Symlink::new(parent, name, target))
}

fn mknod() -> impl Strategy<Value = Mknod<'static>> {
    (node(), any::<[u32; 3]>(), name()).prop_map(|(parent, [mode, rdev, umask], name)| {
        with_fields!(Mknod::new(parent, mode, name), rdev = rdev, umask = umask)
    })
}

fn mkdir() -> impl Strategy<Value = Mkdir<'static>> {
    (node(), any::<[u32; 2]>(), name())
        .prop_map(|(parent, [mode, umask], name)| with_fields!(Mkdir::new(parent, mode, name), umask = umask))
}

fn rename() -> impl Strategy<Value = Rename<'static>> {
    (node(), node(), name(), name()).prop_map(|(parent, to, name, new_name)| Rename::new(parent, to, name, new_name))
}

fn rename2() -> impl Strategy<Value = Rename2<'static>> {
    (node(), node(), flags(), name(), name())
        .prop_map(|(parent, to, flags, name, new_name)| Rename2::new(parent, to, flags, name, new_name))
}

fn link() -> impl Strategy<Value = Link<'static>> {
    (node(), node(), name()).prop_map(|(parent, old, name)| Link::new(parent, old, name))
}

fn access() -> impl Strategy<Value = Access> {
    (node(), flags()).prop_map(|(node, mask)| Access::new(node, mask))
}

fn read() -> impl Strategy<Value = Read> {
    let rest = (option::of(owner()), flags::<ReadFlags>(), open_flags());
    (node(), handle(), number(), any::<u32>(), rest).prop_map(|(node, handle, offset, size, rest)| {
        with_fields!(
            Read::new(node, handle, offset, size),
            lock_owner = rest.0,
            read_flags = rest.1 - ReadFlags::LOCKOWNER,
            flags = rest.2
        )
    })
}

fn write() -> impl Strategy<Value = Write<'static>> {
    let rest = (option::of(owner()), flags::<WriteFlags>(), open_flags());
    (node(), handle(), number(), data(100), rest).prop_map(|(node, handle, offset, data, rest)| {
        with_fields!(
            Write::new(node, handle, offset, data),
            lock_owner = rest.0,
            write_flags = rest.1 - WriteFlags::LOCKOWNER,
            flags = rest.2
        )
    })
}

fn flush() -> impl Strategy<Value = Flush> {
    (node(), handle(), owner()).prop_map(|(node, handle, owner)| Flush::new(node, handle, owner))
}

fn setxattr() -> impl Strategy<Value = Setxattr<'static>> {
    (node(), xattr_name(), data(100), flags(), flags()).prop_map(|(node, name, value, flags, more)| {
        with_fields!(Setxattr::new(node, name, value), flags = flags, setxattr_flags = more)
    })
}

fn getxattr() -> impl Strategy<Value = Getxattr<'static>> {
    (node(), any::<u32>(), xattr_name()).prop_map(|(node, size, name)| Getxattr::new(node, size, name))
}

fn listxattr() -> impl Strategy<Value = Listxattr> {
    (node(), any::<u32>()).prop_map(|(node, size)| Listxattr::new(node, size))
}

fn create() -> impl Strategy<Value = Create<'static>> {
    (node(), any::<[u32; 2]>(), open_flags(), flags(), name()).prop_map(|(parent, numbers, flags, more, name)| {
        let [mode, umask] = numbers;
        with_fields!(Create::new(parent, mode, flags, name), umask = umask, open_flags = more)
    })
}

fn tmpfile() -> impl Strategy<Value = Tmpfile> {
    (node(), any::<[u32; 2]>(), open_flags(), flags()).prop_map(|(parent, [mode, umask], flags, more)| {
        with_fields!(Tmpfile::new(parent, mode, flags), umask = umask, open_flags = more)
    })
}

fn interrupt() -> impl Strategy<Value = Interrupt> {
    (node(), number()).prop_map(|(node, target)| Interrupt::new(node, Unique(target)))
}

fn bmap() -> impl Strategy<Value = Bmap> {
    (node(), number(), any::<u32>()).prop_map(|(node, block, size)| Bmap::new(node, block, size))
}

fn ioctl() -> impl Strategy<Value = Ioctl<'static>> {
    let numbers = (flags(), any::<u32>(), number(), any::<u32>());
    (node(), handle(), numbers, data(100)).prop_map(|(node, handle, (flags, command, argument, out_size), data)| {
        with_fields!(Ioctl::new(node, handle, command, data), flags = flags, argument = argument, out_size = out_size)
    })
}

fn poll() -> impl Strategy<Value = Poll> {
    (node(), handle(), number(), flags(), flags())
        .prop_map(|(node, handle, wakeup, flags, events)| Poll::new(node, handle, PollHandle(wakeup), flags, events))
}

fn notify_reply() -> impl Strategy<Value = NotifyReply<'static>> {
    (node(), number(), number(), data(100))
        .prop_map(|(node, unique, offset, data)| NotifyReply::new(node, NotifyUnique(unique), offset, data))
}

fn fallocate() -> impl Strategy<Value = Fallocate> {
    (node(), handle(), number(), number(), flags())
        .prop_map(|(node, handle, offset, length, mode)| Fallocate::new(node, handle, offset, length, mode))
}

fn lseek() -> impl Strategy<Value = Lseek> {
    (node(), handle(), number(), any::<u32>())
        .prop_map(|(node, handle, offset, whence)| Lseek::new(node, handle, offset, Whence(whence)))
}

fn setupmapping() -> impl Strategy<Value = Setupmapping> {
    (node(), handle(), number(), number(), flags(), number())
        .prop_map(|(node, handle, from, length, flags, to)| Setupmapping::new(node, handle, from, length, flags, to))
}

fn removemapping() -> impl Strategy<Value = Removemapping<'static>> {
    let one = (number(), number()).prop_map(|(window_offset, length)| Mapping { window_offset, length });
    (node(), vec(one, 0..5))
        .prop_map(|(node, list)| Removemapping::new(node, WireList::new(WireList::bytes_of(&list).leak())))
}

/// The upper half of the flags travels with `INIT_EXT` only, so there is none without it.
pub(crate) fn init_flags() -> impl Strategy<Value = InitFlags> {
    flags::<InitFlags>().prop_map(|flags| {
        if flags.contains(InitFlags::INIT_EXT) { flags } else { flags & InitFlags::from_bits_retain(0xffff_ffff) }
    })
}

fn init() -> impl Strategy<Value = Init> {
    let minor = prop_oneof![31..=46u32, any::<u32>()];
    (any::<u32>(), minor, any::<u32>(), init_flags()).prop_map(|(major, minor, max_readahead, flags)| {
        with_fields!(Init::new(minor, flags), major = major, max_readahead = max_readahead)
    })
}

fn cuse_init() -> impl Strategy<Value = CuseInit> {
    (any::<[u32; 2]>(), flags::<CuseInitFlags>())
        .prop_map(|([major, minor], flags)| with_fields!(CuseInit::new(minor, flags), major = major))
}

/// Bytes that the operation takes by itself, without extensions.
pub(crate) fn length(request: &Request<'_>, negotiated: &Negotiated) -> usize {
    let mut out = RequestWriter::default();
    request.encode(negotiated, &mut out).expect("it is short");
    out.as_bytes().len()
}
