//! memfs and mirrorfs list directories with attributes only for those who want them, through real mounts.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fusewire::mount::MountOptions;
use fusewire::{Filesystem, Name, NodeId, Notifier, Opcode, SessionConfig};
use fusewire_tests::{Log, Recorder};
use memfs::MemFs;
use mirrorfs::{CacheMode, Mirror};

const DIRECTORIES: u32 = 60;

/// Makes directories with a file in each.
fn make(root: &Path) {
    for number in 0..DIRECTORIES {
        fs::create_dir(root.join(number.to_string())).expect("a directory");
        fs::write(root.join(format!("{number}/file")), "content").expect("a file");
    }
}

/// Lists a directory of `root`, and no more than that.
fn list(root: &Path, number: u32) {
    let names = fs::read_dir(root.join(number.to_string())).expect("the directory").map(|entry| {
        let entry = entry.expect("an entry");
        assert!(entry.file_type().expect("its type").is_file());
        entry.file_name()
    });
    assert_eq!(names.collect::<Vec<_>>(), ["file"]);
}

/// Asks for the file in a directory of `root`. Whether it had to be looked up.
fn is_looked_up(root: &Path, log: &Log, number: u32) -> bool {
    log.clear();
    assert_eq!(fs::metadata(root.join(format!("{number}/file"))).expect("the file").len(), 7);
    log.all(Opcode::LOOKUP).iter().any(|lookup| format!("{:?}", lookup.request()).contains("file"))
}

/// Has the kernel forget the names of the files.
fn forget(root: &Path, notifier: &Notifier) {
    let name = Name::new(b"file").expect("a name");
    for number in 0..DIRECTORIES {
        let directory = NodeId(fs::metadata(root.join(number.to_string())).expect("the directory").ino());
        notifier.inval_entry(directory, name).expect("telling the kernel");
    }
}

/// Lists directories of what `filesystem` shows, which are there when `make` has run, with and without asking for their files.
fn check(filesystem: impl Filesystem + 'static, make: impl FnOnce(&Path, &Notifier)) {
    let recorder = Recorder::new(filesystem);
    let log = recorder.log().clone();
    let directory = tempfile::tempdir().expect("a directory");
    let options = MountOptions::new().default_permissions();
    let mounted = fusewire::mount(recorder, directory.path(), &options, SessionConfig::default()).expect("mounting");
    let root = mounted.mountpoint();
    make(root, mounted.notifier());
    let mut numbers = 0..DIRECTORIES;
    let first = numbers.next().expect("a number");
    list(root, first);
    assert!(!is_looked_up(root, &log, first), "the first one is listed with attributes");
    numbers.by_ref().take(30).for_each(|number| list(root, number));
    let next = numbers.next().expect("a number");
    list(root, next);
    assert!(is_looked_up(root, &log, next), "nobody seemed to want attributes");
    let next = numbers.next().expect("a number");
    list(root, next);
    assert!(!is_looked_up(root, &log, next), "somebody did");
}

#[test]
fn memfs_looks_ahead_for_who_looks_up() {
    // Its inode numbers are its node ids.
    check(MemFs::new(memfs::Options::default()), |root, notifier| {
        make(root);
        forget(root, notifier);
    });
}

#[test]
fn mirrorfs_looks_ahead_for_who_looks_up() {
    let source = tempfile::tempdir().expect("a directory");
    make(source.path());
    let options = mirrorfs::Options::default().cache(CacheMode::Always);
    check(Mirror::new(source.path(), options).expect("a mirror"), |_, _| ());
}
