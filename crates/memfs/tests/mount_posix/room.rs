//! Limits: reached exactly, never exceeded, and everything goes on working when they are.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, StatVfs, XattrFlags};

use crate::stage::{Stage, on_memfs};

fn statfs(path: &Path) -> StatVfs {
    rustix::fs::statvfs(path).expect("statfs")
}

fn no_space<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.raw_os_error() == Some(libc::ENOSPC))
}

/// Waits until that many blocks are free: the kernel forgets files a little later than it lets them go.
fn wait_for_free_blocks(path: &Path, blocks: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while statfs(path).f_bfree != blocks {
        assert!(Instant::now() < deadline, "{} blocks are free, {blocks} should be", statfs(path).f_bfree);
        std::thread::yield_now();
    }
}

#[test]
fn file_can_fill_the_filesystem_to_the_last_byte() {
    on_memfs(&["size=1m"], |root| {
        assert_eq!((statfs(root).f_blocks, statfs(root).f_bfree), (256, 256));
        let file = File::create_new(root.join("file")).expect("creating");
        let bytes = vec![7; 3 << 20];
        let written = (&file).write(&bytes).expect("a part of it");
        assert_eq!(written, 1 << 20);
        assert_eq!(statfs(root).f_bfree, 0);
        assert!(no_space((&file).write(b"x")));
        assert_eq!(file.metadata().expect("its size").len(), 1 << 20);
        // What is there can be written and read.
        file.write_all_at(b"again", 4000).expect("overwriting");
        assert_eq!(&fs::read(root.join("file")).expect("reading")[3999..4006], b"\x07again\x07");
        // Names and attributes take no blocks.
        fs::create_dir(root.join("directory")).expect("a directory");
        fs::rename(root.join("file"), root.join("directory/file")).expect("renaming");
        fs::remove_file(root.join("directory/file")).expect("removing");
        drop(file);
        wait_for_free_blocks(root, 256);
        fs::write(root.join("file"), vec![1; 1 << 20]).expect("the room is there again");
    });
}

#[test]
fn size_that_is_no_multiple_of_a_block_counts_as_the_next_one() {
    on_memfs(&["size=5000"], |root| {
        assert_eq!(statfs(root).f_blocks, 2);
        fs::write(root.join("file"), vec![1; 8192]).expect("two blocks");
        assert!(no_space(fs::write(root.join("other"), b"1")));
    });
}

#[test]
fn write_across_the_last_block_is_short() {
    on_memfs(&["size=12k"], |root| {
        let file = File::create_new(root.join("file")).expect("creating");
        // The pages 1 and 3 are there, one more is free.
        file.write_all_at(b"x", 4096).expect("a page");
        file.write_all_at(b"x", 3 * 4096).expect("a page");
        assert_eq!(file.write_at(&[1; 5 * 4096], 0).expect("two pages"), 2 * 4096);
        assert_eq!(statfs(root).f_bfree, 0);
        assert!(no_space(file.write_at(b"x", 2 * 4096)));
        assert_eq!(file.write_at(&[2; 8192], 3 * 4096).expect("one page"), 4096);
    });
}

#[test]
fn reserving_too_much_changes_nothing() {
    on_memfs(&["size=64k"], |root| {
        let file = File::create_new(root.join("file")).expect("creating");
        for length in [65537, 1 << 40, i64::MAX.cast_unsigned()] {
            let reserved = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, length);
            assert_eq!(reserved, Err(rustix::io::Errno::NOSPC), "{length}");
        }
        assert_eq!((file.metadata().expect("its size").len(), statfs(root).f_bfree), (0, 16));
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 65536).expect("all of it");
        assert_eq!(statfs(root).f_bfree, 0);
        assert!(no_space(fs::write(root.join("other"), b"x")));
        file.write_all_at(&[1; 65536], 0).expect("what was reserved is there");
    });
}

#[test]
fn unlinked_file_keeps_its_room_while_it_is_open() {
    on_memfs(&["size=1m"], |root| {
        let file =
            OpenOptions::new().create_new(true).read(true).write(true).open(root.join("file")).expect("creating");
        file.write_all_at(&[3; 8192], 0).expect("writing");
        fs::remove_file(root.join("file")).expect("removing");
        assert_eq!(statfs(root).f_bfree, 254);
        let mut bytes = [0; 3];
        file.read_exact_at(&mut bytes, 8189).expect("reading");
        assert_eq!(bytes, [3; 3]);
        drop(file);
        wait_for_free_blocks(root, 256);
    });
}

#[test]
fn inodes_run_out_exactly_and_come_back() {
    on_memfs(&["nr_inodes=10"], |root| {
        assert_eq!((statfs(root).f_files, statfs(root).f_ffree), (10, 9));
        for number in 0..9 {
            File::create_new(root.join(number.to_string())).expect("creating");
        }
        assert!(no_space(File::create_new(root.join("more"))));
        assert!(no_space(fs::create_dir(root.join("more"))));
        assert!(no_space(symlink("target", root.join("more"))));
        // Another name needs none.
        fs::hard_link(root.join("1"), root.join("more")).expect("linking");
        fs::remove_file(root.join("2")).expect("removing");
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = File::create_new(root.join("2")) {
            assert!(error.raw_os_error() == Some(libc::ENOSPC) && Instant::now() < deadline, "{error}");
        }
    });
}

#[test]
fn attributes_and_long_links_count() {
    on_memfs(&["size=16k"], |root| {
        let path = root.join("file");
        File::create_new(&path).expect("creating");
        let set = |name: &str, length| rustix::fs::setxattr(&path, name, &vec![0; length], XattrFlags::empty());
        set("user.a", 8000).expect("two blocks");
        assert_eq!(statfs(root).f_bfree, 2);
        assert_eq!(set("user.b", 9000), Err(rustix::io::Errno::NOSPC));
        symlink("t".repeat(1000), root.join("link")).expect("a block");
        assert_eq!(statfs(root).f_bfree, 1);
        rustix::fs::removexattr(&path, "user.a").expect("removing");
        assert_eq!(statfs(root).f_bfree, 3);
        set("user.b", 9000).expect("three blocks");
        assert!(no_space(symlink("t".repeat(1000), root.join("another"))));
        symlink("short", root.join("another")).expect("no block");
    });
}

#[test]
fn zero_is_no_limit() {
    on_memfs(&["size=0", "nr_inodes=0"], |root| {
        assert_eq!((statfs(root).f_blocks, statfs(root).f_files), (0, 0));
        fs::write(root.join("file"), vec![1; 1 << 20]).expect("writing");
    });
}

#[test]
fn everything_is_given_back() {
    Stage::run(|stage| {
        let (root, mut mounted) = stage.memfs("memfs", &["size=64m"]);
        let before = (statfs(&root).f_bfree, statfs(&root).f_ffree);
        for number in 0..50 {
            let directory = root.join(format!("d{number}"));
            fs::create_dir(&directory).expect("a directory");
            fs::write(directory.join("small"), vec![1; 100 * number]).expect("writing");
            fs::write(directory.join("large"), vec![1; 300_000]).expect("writing");
            symlink("t".repeat(500), directory.join("link")).expect("linking");
            rustix::fs::setxattr(&directory, "user.a", &[1; 5000], XattrFlags::empty()).expect("an attribute");
        }
        assert!(statfs(&root).f_bfree < before.0);
        for number in 0..50 {
            fs::remove_dir_all(root.join(format!("d{number}"))).expect("removing");
        }
        wait_for_free_blocks(&root, before.0);
        let deadline = Instant::now() + Duration::from_secs(20);
        while statfs(&root).f_ffree != before.1 {
            assert!(Instant::now() < deadline, "inodes are missing");
        }
        mounted.unmount().expect("unmounting");
    });
}
