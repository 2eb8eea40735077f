//! What the filesystem tells the kernel, each with its effect; and that a handler cannot deadlock itself with it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use fusewire::mount::MountOptions;
use fusewire::{
    Channel, Context, Errno, Filesystem, Negotiated, NodeId, Notifier, NotifyUnique, Opcode, OpenedFlags, Request,
    SessionConfig, op, reply,
};
use fusewire_tests::{Config, Stage, Tree, eventually, is, saw};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::stat;

use crate::name;

/// A node that no tree has.
const NOBODY: NodeId = NodeId(999);

/// A call of the notifier.
type Notify = fn(&Notifier) -> Result<(), Errno>;

/// A stage on which the page cache outlives a close.
/// Through the device: what there is no way to do over io_uring.
fn through_the_device(config: Config) -> Stage {
    Stage::with(config, &MountOptions::new(), SessionConfig::default().channel(Channel::Device))
}

fn keeping() -> Stage {
    Stage::new(Config::opened(OpenedFlags::KEEP_CACHE))
}

fn text(stage: &Stage) -> String {
    fs::read_to_string(stage.path("file")).unwrap()
}

/// Changes the bytes of `file`, and not how many there are, in secret.
fn change(stage: &Stage) {
    stage.fs.inner().replace(Tree::FILE, b"TWENTY BYTES OF TEXT");
}

#[test]
fn inval_inode_drops_cached_data_in_its_range() {
    let stage = keeping();
    let before = text(&stage);
    change(&stage);
    assert_eq!(text(&stage), before, "as the page cache has it");
    // Nothing of the file is cached there.
    stage.notifier().inval_inode(Tree::FILE, 4096..).unwrap();
    assert_eq!(text(&stage), before);
    stage.notifier().inval_inode(Tree::FILE, ..).unwrap();
    assert_eq!(text(&stage), "TWENTY BYTES OF TEXT");
    assert_eq!(stage.notifier().inval_inode(NOBODY, ..), Err(Errno::ENOENT));
}

#[test]
fn inval_attributes_leaves_cached_data_alone() {
    let stage = keeping();
    text(&stage);
    // Reading left the time of access open.
    stat(&stage.path("file")).unwrap();
    let count = |opcode| stage.log().count(opcode);
    let (getattrs, reads) = (count(Opcode::GETATTR), count(Opcode::READ));
    stat(&stage.path("file")).unwrap();
    assert_eq!(count(Opcode::GETATTR), getattrs);
    stage.notifier().inval_attributes(Tree::FILE).unwrap();
    stat(&stage.path("file")).unwrap();
    assert_eq!(count(Opcode::GETATTR), getattrs + 1);
    text(&stage);
    assert_eq!(count(Opcode::READ), reads);
}

#[test]
fn inval_entry_and_expire_entry_make_the_kernel_look_again() {
    let cases: [Notify; 2] = [
        |notifier| notifier.inval_entry(NodeId::ROOT, name("file")),
        |notifier| notifier.expire_entry(NodeId::ROOT, name("file")),
    ];
    for notify in cases {
        let stage = Stage::new(Config::default());
        let look = || assert!(fs::exists(stage.path("file")).unwrap());
        (0..2).for_each(|_| look());
        assert_eq!(stage.log().count(Opcode::LOOKUP), 1);
        notify(stage.notifier()).unwrap();
        (0..2).for_each(|_| look());
        assert_eq!(stage.log().count(Opcode::LOOKUP), 2);
    }
    let stage = Stage::new(Config::default());
    assert_eq!(stage.notifier().inval_entry(NodeId::ROOT, name("nothing")), Err(Errno::ENOENT));
}

#[test]
fn delete_takes_the_name_away_and_tells_who_watches_the_file() {
    let cases: [(Notify, bool); 2] = [
        (|notifier| notifier.delete(Tree::DIR, Tree::INNER, name("inner")), true),
        (|notifier| notifier.inval_entry(Tree::DIR, name("inner")), false),
    ];
    for (notify, told) in cases {
        let stage = Stage::new(Config::default());
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
        let path = stage.path("dir/inner");
        inotify.add_watch(&path, AddWatchFlags::IN_DELETE_SELF).unwrap();
        let lookups = stage.log().count(Opcode::LOOKUP);
        notify(stage.notifier()).unwrap();
        let events = inotify.read_events().unwrap_or_default();
        let deleted = events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_DELETE_SELF));
        assert_eq!(deleted, told, "{events:?}");
        fs::metadata(&path).unwrap();
        assert_eq!(stage.log().count(Opcode::LOOKUP), lookups + 1);
    }
    // It must mean the node that is named.
    let stage = Stage::new(Config::default());
    fs::metadata(stage.path("dir/inner")).unwrap();
    assert_eq!(stage.notifier().delete(Tree::DIR, Tree::FILE, name("inner")), Err(Errno::ENOENT));
}

#[test]
fn stored_data_are_read_without_a_request() {
    let stage = keeping();
    let mut file = File::open(stage.path("file")).unwrap();
    stage.notifier().store(Tree::FILE, 0, b"put into the cache!!").unwrap();
    let mut text = [0; 20];
    file.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"put into the cache!!");
    assert_eq!(stage.log().count(Opcode::READ), 0);
}

#[test]
pub(crate) fn retrieve_brings_cached_data_back() {
    let stage = through_the_device(Config::opened(OpenedFlags::KEEP_CACHE));
    text(&stage);
    // Not what the filesystem has, but what the cache has.
    change(&stage);
    stage.notifier().retrieve(NotifyUnique(77), Tree::FILE, 7, 5).unwrap();
    let op = saw!(stage.log(), NotifyReply { node: Tree::FILE, notify_unique: NotifyUnique(77), offset: 7 });
    is!(op, NotifyReply { data: b"bytes" });
    // A directory has no such data. Linux 6.18.44 says so, 6.18.15 does not.
    let directory = stage.notifier().retrieve(NotifyUnique(78), NodeId::ROOT, 0, 5);
    assert!(matches!(directory, Ok(()) | Err(Errno::EINVAL)), "{directory:?}");
    assert_eq!(stage.notifier().retrieve(NotifyUnique(79), NOBODY, 0, 5), Err(Errno::ENOENT));
}

#[test]
fn resend_brings_requests_under_way_again() {
    let stage = through_the_device(Config::default());
    stage.fs.hold(Opcode::MKDIR);
    let path = stage.path("new");
    let caller = std::thread::spawn(move || fs::create_dir(path));
    let first = stage.log().wait_for(Opcode::MKDIR, 1);
    stage.notifier().resend().unwrap();
    // The second is not held, and so answered first; the answer to the first comes too late to be seen.
    let second = stage.log().wait_for(Opcode::MKDIR, 2);
    assert!(second.header.unique.is_resend() && !first.header.unique.is_resend());
    assert_eq!(second.header.unique.without_resend(), first.header.unique);
    assert_eq!(second.request(), first.request());
    caller.join().unwrap().unwrap();
    stage.fs.let_go(Opcode::MKDIR);
}

#[test]
fn new_epoch_makes_every_name_be_looked_up_once_more() {
    let stage = Stage::new(Config::default());
    let stat = || ["file", "dir", "link"].map(|name| fs::symlink_metadata(stage.path(name)).unwrap().ino());
    let nodes = stat();
    assert_eq!((stage.log().count(Opcode::LOOKUP), nodes), (3, [2, 3, 5]));
    stage.notifier().inc_epoch().unwrap();
    for _ in 0..2 {
        stat();
    }
    assert_eq!(stage.log().count(Opcode::LOOKUP), 6);
}

#[test]
fn pruned_nodes_are_forgotten_unless_they_are_used() {
    let stage = Stage::new(Config::default());
    let used = File::open(stage.path("file")).unwrap();
    fs::metadata(stage.path("dir/inner")).unwrap();
    stage.notifier().prune(&[Tree::FILE, Tree::INNER, NOBODY]).unwrap();
    let forgotten = || {
        let mut nodes: Vec<u64> = Vec::new();
        for recorded in stage.log().all(Opcode::FORGET).iter().chain(&stage.log().all(Opcode::BATCH_FORGET)) {
            match recorded.request() {
                Request::Forget(op) => nodes.push(op.node.0),
                Request::BatchForget(op) => nodes.extend(op.forgets.iter().map(|one| one.node.0)),
                other => panic!("{other:?}"),
            }
        }
        nodes
    };
    eventually("the one that nobody uses is forgotten", || forgotten().contains(&Tree::INNER.0));
    assert!(!forgotten().contains(&Tree::FILE.0));
    let mut byte = [0];
    used.read_exact_at(&mut byte, 0).unwrap();
}

/// Notifies from inside of a lookup, and answers with what came of it.
#[derive(Default)]
struct Nagging {
    notifier: Mutex<Option<Notifier>>,
}

impl Filesystem for Nagging {
    fn ready(&self, _: &Negotiated, notifier: &Notifier) {
        *self.notifier.lock().unwrap() = Some(notifier.clone());
    }

    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        let notifier = self.notifier.lock().unwrap().clone().unwrap();
        match op.name.as_bytes() {
            b"entry" => notifier.inval_entry(op.parent, op.name)?,
            b"inode" => notifier.inval_inode(op.parent, ..)?,
            b"prune" => notifier.prune(&[NOBODY, op.parent])?,
            b"delete" => notifier.delete(op.parent, NOBODY, op.name)?,
            // Another node's locks are not held.
            _ => notifier.inval_inode(NOBODY, ..)?,
        }
        Err(Errno::EIO)
    }
}

#[test]
fn handler_cannot_notify_about_its_own_node() {
    let directory = tempfile::tempdir().unwrap();
    let options = MountOptions::new().subtype("nagging");
    let mounted = fusewire::mount(Nagging::default(), directory.path(), &options, SessionConfig::default()).unwrap();
    for (name, errno) in [
        ("entry", libc::EDEADLK),
        ("inode", libc::EDEADLK),
        ("prune", libc::EDEADLK),
        ("delete", libc::EDEADLK),
        ("other", libc::ENOENT),
    ] {
        let error = fs::metadata(directory.path().join(name)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno), "{name}");
    }
    // Outside of a handler there is nothing to be refused.
    mounted.notifier().inval_inode(NodeId::ROOT, ..).unwrap();
}

#[test]
fn notifying_after_the_end_is_enodev() {
    let mut stage = Stage::new(Config::default());
    let notifier = stage.notifier().clone();
    stage.unmount();
    assert_eq!(notifier.inc_epoch(), Err(Errno::ENODEV));
}
