//! Names: listing under change, very many of them, renames with flags, files without any.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::stage::on_memfs;

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("listing");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect()
}

fn rename(root: &Path, from: &str, to: &str, flags: RenameFlags) -> Result<(), Errno> {
    rustix::fs::renameat_with(CWD, root.join(from), CWD, root.join(to), flags)
}

#[test]
fn hundred_thousand_files_in_one_directory() {
    on_memfs(&[], |root| {
        // Of each half, the quickest of many parts: others use the machine, too, but not all the time.
        let time = |act: &dyn Fn(u32)| -> [Duration; 2] {
            [0, 50_000].map(|first| {
                let parts = (first..first + 50_000).step_by(1000).map(|part| {
                    let start = Instant::now();
                    (part..part + 1000).for_each(act);
                    start.elapsed()
                });
                parts.min().expect("fifty parts")
            })
        };
        let path = |number: u32| root.join(format!("file-{number:06}"));
        let made = time(&|number| drop(File::create_new(path(number)).expect("creating")));
        let found = names(root);
        assert_eq!(found.len(), 100_000);
        assert_eq!(found.iter().collect::<HashSet<_>>().len(), 100_000);
        assert_eq!(fs::metadata(root).expect("the directory").nlink(), 2);
        let removed = time(&|number| fs::remove_file(path(number)).expect("removing"));
        assert_eq!(names(root), Vec::<String>::new());
        // Were it not linear, the quickest part of the second half would take fifty times as long as that of the first.
        for [first, second] in [made, [removed[1], removed[0]]] {
            assert!(second < first * 3, "{first:?}, then {second:?}");
        }
    });
}

#[test]
fn listing_under_change_shows_every_entry_that_stays_once() {
    on_memfs(&[], |root| {
        for number in 0..3000 {
            File::create_new(root.join(format!("stays-{number}"))).expect("creating");
            File::create_new(root.join(format!("goes-{number}"))).expect("creating");
        }
        let mut seen = Vec::new();
        for (round, entry) in fs::read_dir(root).expect("listing").enumerate() {
            seen.push(entry.expect("an entry").file_name().into_string().expect("text"));
            // Some that were listed go, some that were not, and new ones come.
            let _ = fs::remove_file(root.join(format!("goes-{round}")));
            if round < 3000 {
                let _ = fs::remove_file(root.join(format!("goes-{}", 2999 - round)));
                File::create_new(root.join(format!("new-{round}"))).expect("creating");
            }
        }
        let stayed: Vec<_> = seen.iter().filter(|name| name.starts_with("stays")).collect();
        assert_eq!(stayed.len(), 3000);
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len(), "something was listed twice");
        let after: HashSet<_> = names(root).into_iter().collect();
        assert_eq!(after.len(), 6000);
        // Open again, now from the cache of the kernel, and after a change that it has to see.
        fs::remove_file(root.join("new-0")).expect("removing");
        assert_eq!(names(root).len(), 5999);
    });
}

#[test]
fn renames_with_flags() {
    on_memfs(&[], |root| {
        fs::write(root.join("a"), "a").expect("writing");
        fs::write(root.join("b"), "b").expect("writing");
        fs::create_dir_all(root.join("d/sub")).expect("directories");
        fs::create_dir(root.join("e")).expect("a directory");
        let links = |name: &str| fs::metadata(root.join(name)).expect("links").nlink();
        assert_eq!(rename(root, "a", "b", RenameFlags::NOREPLACE), Err(Errno::EXIST));
        assert_eq!(rename(root, "a", "c", RenameFlags::EXCHANGE), Err(Errno::NOENT));
        rename(root, "a", "b", RenameFlags::EXCHANGE).expect("exchanging");
        assert_eq!(fs::read_to_string(root.join("a")).expect("reading"), "b");
        // A directory with a file, in two directories.
        assert_eq!((links("d"), links("e")), (3, 2));
        rename(root, "a", "e/a", RenameFlags::NOREPLACE).expect("moving");
        rename(root, "e/a", "d/sub", RenameFlags::EXCHANGE).expect("exchanging");
        assert_eq!((links("d"), links("e")), (2, 3));
        assert!(root.join("d/sub").is_file() && root.join("e/a").is_dir());
        rename(root, "e/a", "d/dir", RenameFlags::empty()).expect("moving");
        assert_eq!((links("d"), links("e"), links("d/dir/..")), (3, 2, 3));
        assert_eq!(rename(root, "d", "d/dir/x", RenameFlags::empty()), Err(Errno::INVAL));
        assert_eq!(rename(root, "d/dir", "d", RenameFlags::empty()), Err(Errno::NOTEMPTY));
        assert_eq!(rename(root, "d/dir", "d", RenameFlags::EXCHANGE), Err(Errno::INVAL));
        // What was is a device without a number.
        rename(root, "b", "moved", RenameFlags::WHITEOUT).expect("moving");
        let whiteout = fs::symlink_metadata(root.join("b")).expect("the whiteout");
        assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
        assert_eq!(fs::read_to_string(root.join("moved")).expect("reading"), "a");
        // Two names of one file: nothing happens.
        fs::hard_link(root.join("moved"), root.join("same")).expect("linking");
        rename(root, "moved", "same", RenameFlags::empty()).expect("nothing to do");
        assert!(root.join("moved").exists() && root.join("same").exists());
    });
}

#[test]
fn nameless_file_gets_a_name() {
    on_memfs(&[], |root| {
        let file = rustix::fs::open(root, OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR).expect("opening");
        rustix::io::write(&file, b"something").expect("writing");
        assert_eq!(rustix::fs::fstat(&file).expect("its links").st_nlink, 0);
        assert_eq!(names(root), Vec::<String>::new());
        let link = |fd: i32, name| {
            rustix::fs::linkat(CWD, format!("/proc/self/fd/{fd}"), CWD, root.join(name), AtFlags::SYMLINK_FOLLOW)
        };
        link(file.as_raw_fd(), "named").expect("linking");
        drop(file);
        assert_eq!(fs::read_to_string(root.join("named")).expect("reading"), "something");
        assert_eq!(fs::metadata(root.join("named")).expect("its links").nlink(), 1);
        let exclusive = OFlags::TMPFILE | OFlags::RDWR | OFlags::EXCL;
        let file = rustix::fs::open(root, exclusive, Mode::RUSR).expect("opening");
        assert_eq!(link(file.as_raw_fd(), "never"), Err(Errno::NOENT));
    });
}

#[test]
fn truncating_open_is_not_lost() {
    on_memfs(&[], |root| {
        let path = root.join("file");
        for _ in 0..3 {
            fs::write(&path, "a longer text").expect("writing");
            drop(File::create(&path).expect("truncating"));
            assert_eq!(fs::metadata(&path).expect("its size").len(), 0);
            let file = File::options().read(true).append(true).open(&path).expect("opening");
            file.set_len(5).expect("growing");
            assert_eq!(fs::read(&path).expect("reading"), [0; 5]);
        }
    });
}

#[test]
fn names_of_255_bytes_and_no_more() {
    on_memfs(&[], |root| {
        let (longest, longer) = ("n".repeat(255), "n".repeat(256));
        File::create_new(root.join(&longest)).expect("creating");
        assert_eq!(names(root), [longest]);
        for error in [
            File::create_new(root.join(&longer)).err(),
            fs::create_dir(root.join(&longer)).err(),
            fs::metadata(root.join(&longer)).err(),
            fs::remove_file(root.join(&longer)).err(),
        ] {
            assert_eq!(error.and_then(|error| error.raw_os_error()), Some(libc::ENAMETOOLONG));
        }
    });
}

#[test]
fn removed_directory_is_empty_to_those_in_it() {
    on_memfs(&[], |root| {
        fs::create_dir(root.join("d")).expect("a directory");
        let open =
            rustix::fs::open(root.join("d"), OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).expect("opening");
        fs::remove_dir(root.join("d")).expect("removing");
        assert_eq!(rustix::fs::mkdirat(&open, "x", Mode::RWXU), Err(Errno::NOENT));
        assert_eq!(rustix::fs::fstat(&open).expect("its links").st_nlink, 0);
    });
}
