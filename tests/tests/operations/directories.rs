//! Operations on open directories.

use std::collections::BTreeSet;
use std::fs::{self, File};

use fusewire::{FsyncFlags, InitFlags, NodeId, Opcode, OpenedFlags, Request};
use fusewire_tests::{Config, Stage, Tree, is, saw};
use nix::sys::stat::Mode;

/// More names than one request has room for.
const MANY: usize = 400;

fn fill(stage: &Stage) {
    for number in 0..MANY {
        nix::unistd::mkfifo(&stage.path(&format!("dir/name-{number:04}-{number:060}")), Mode::S_IRWXU).unwrap();
    }
}

fn names(stage: &Stage) -> BTreeSet<String> {
    fs::read_dir(stage.path("dir")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
pub(crate) fn readdir_goes_on_behind_the_last_offset() {
    let stage = Stage::new(Config::default());
    fill(&stage);
    assert_eq!(names(&stage).len(), MANY + 1);
    let opened = saw!(stage.log(), Opendir { node: Tree::DIR });
    let Request::Opendir(opened) = opened.request() else { unreachable!() };
    assert!(opened.flags.contains(libc::O_DIRECTORY), "{opened:?}");
    let released = stage.log().last("Releasedir");
    let Request::Releasedir(released) = released.request() else { unreachable!() };
    let offsets: Vec<_> = stage
        .log()
        .all(Opcode::READDIR)
        .iter()
        .map(|one| {
            is!(one, Readdir { node: Tree::DIR, handle: released.handle });
            let Request::Readdir(op) = one.request() else { unreachable!() };
            assert!(op.size >= 4096, "{op:?}");
            op.offset
        })
        .collect();
    // The tree counts its entries, and `.`, `..` and `inner` are among them.
    assert_eq!((offsets.first(), offsets.last()), (Some(&0), Some(&(MANY as u64 + 3))));
    assert!(offsets.len() >= 3 && offsets.is_sorted(), "{offsets:?}");
}

#[test]
pub(crate) fn readdirplus_counts_a_lookup_for_each_entry() {
    let stage = Stage::new(Config::require(InitFlags::DO_READDIRPLUS));
    fs::metadata(stage.path("dir")).unwrap();
    assert_eq!(names(&stage), BTreeSet::from([String::from("inner")]));
    saw!(stage.log(), Readdirplus { node: Tree::DIR });
    assert_eq!(stage.log().count(Opcode::READDIR), 0);
    // Known without a lookup, and forgotten with the one that the entry was.
    fs::metadata(stage.path("dir/inner")).unwrap();
    assert_eq!(stage.log().count(Opcode::LOOKUP), 1, "only that of the directory");
    fs::remove_file(stage.path("dir/inner")).unwrap();
    saw!(stage.log(), Forget { node: Tree::INNER, nlookup: 1 });
}

#[test]
fn kernel_chooses_between_the_two_where_it_may() {
    let stage = Stage::new(Config::require(InitFlags::DO_READDIRPLUS | InitFlags::READDIRPLUS_AUTO));
    fill(&stage);
    stage.log().clear();
    assert_eq!(names(&stage).len(), MANY + 1);
    let asked = stage.log().asked();
    assert!(asked.contains(&"readdirplus") && asked.contains(&"readdir"), "{asked:?}");
}

#[test]
fn entries_are_asked_for_once_if_they_may_be_cached() {
    let caching = OpenedFlags::CACHE_DIR | OpenedFlags::KEEP_CACHE;
    for (opened, again) in [(caching, false), (OpenedFlags::empty(), true)] {
        let stage = Stage::new(Config::opened(opened));
        assert_eq!(names(&stage).len(), 1);
        let before = stage.log().count(Opcode::READDIR);
        assert_eq!(names(&stage).len(), 1);
        assert_eq!(stage.log().count(Opcode::READDIR) > before, again, "{opened:?}");
    }
}

#[test]
pub(crate) fn fsyncdir_says_whether_data_are_enough() {
    let stage = Stage::new(Config::default());
    let root = File::open(stage.root()).unwrap();
    root.sync_all().unwrap();
    saw!(stage.log(), Fsyncdir { node: NodeId::ROOT, fsync_flags: FsyncFlags::empty() });
    root.sync_data().unwrap();
    saw!(stage.log(), Fsyncdir { node: NodeId::ROOT, fsync_flags: FsyncFlags::FDATASYNC });
}
