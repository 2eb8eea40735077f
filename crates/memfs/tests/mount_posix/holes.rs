//! Sparse files: holes are kept, made, found, and cost nothing.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use crate::stage::on_memfs;

const PAGE: u64 = 4096;

fn new_file(path: &Path) -> File {
    OpenOptions::new().create_new(true).read(true).write(true).open(path).expect("creating")
}

fn blocks(file: &File) -> u64 {
    file.metadata().expect("its blocks").blocks() / 8
}

/// Where data begin and end.
fn extents(file: &File) -> Vec<(u64, u64)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Ok(data) = rustix::fs::seek(file, SeekFrom::Data(at)) {
        at = rustix::fs::seek(file, SeekFrom::Hole(data)).expect("an end");
        found.push((data, at));
    }
    assert_eq!(rustix::fs::seek(file, SeekFrom::Data(at)), Err(Errno::NXIO));
    found
}

fn bytes(file: &File, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xaa; length];
    file.read_exact_at(&mut bytes, offset).expect("reading");
    bytes
}

#[test]
fn far_page_costs_one_block() {
    on_memfs(&["size=1m"], |root| {
        let file = new_file(&root.join("file"));
        file.write_all_at(b"near", 10).expect("writing");
        let far = 1 << 50;
        file.write_all_at(b"far", far + 5000).expect("writing");
        assert_eq!(blocks(&file), 2);
        assert_eq!(extents(&file), [(0, PAGE), (far + PAGE, far + 5003)]);
        assert_eq!(bytes(&file, far + 4990, 13), b"\0\0\0\0\0\0\0\0\0\0far");
        file.set_len(far + 10_000).expect("growing");
        assert_eq!(extents(&file), [(0, PAGE), (far + PAGE, far + 2 * PAGE)]);
        file.set_len(12).expect("cutting");
        assert_eq!(
            (blocks(&file), fs::read(root.join("file")).expect("reading")),
            (1, b"\0\0\0\0\0\0\0\0\0\0ne".to_vec())
        );
        // What was cut off does not come back.
        file.set_len(20).expect("growing");
        assert_eq!(bytes(&file, 10, 10), b"ne\0\0\0\0\0\0\0\0");
    });
}

#[test]
fn file_that_is_all_hole_has_no_data() {
    on_memfs(&[], |root| {
        let file = new_file(&root.join("file"));
        file.set_len(i64::MAX.cast_unsigned()).expect("the longest file");
        assert_eq!((extents(&file), blocks(&file)), (vec![], 0));
        assert_eq!(rustix::fs::seek(&file, SeekFrom::Hole(1 << 60)), Ok(1 << 60));
        assert_eq!(bytes(&file, 1 << 61, 5), [0; 5]);
    });
}

#[test]
fn punching_gives_room_back_and_zeros_the_edges() {
    on_memfs(&[], |root| {
        let file = new_file(&root.join("file"));
        // More than one chunk, so that the memory of both is taken apart.
        let length = 3 << 20;
        file.write_all_at(&vec![1; length], 0).expect("writing");
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&file, punch, 100, (2 << 20) + 4000).expect("punching");
        let hole_end = (2 << 20) + 4100;
        assert_eq!(extents(&file), [(0, PAGE), ((2 << 20) + PAGE, 3 << 20)]);
        assert_eq!(blocks(&file), 1 + 256 - 1);
        assert_eq!(bytes(&file, 98, 4), [1, 1, 0, 0]);
        assert_eq!(bytes(&file, hole_end - 2, 4), [0, 0, 1, 1]);
        assert_eq!(bytes(&file, 1 << 20, 100), [0; 100]);
        rustix::fs::fallocate(&file, punch, 0, 1 << 40).expect("punching behind the end");
        assert_eq!((extents(&file), blocks(&file)), (vec![], 0));
        assert_eq!(file.metadata().expect("its size").len(), 3 << 20);
        file.write_all_at(b"new", 1 << 20).expect("writing");
        assert_eq!(bytes(&file, (1 << 20) - 1, 5), b"\0new\0");
    });
}

#[test]
fn reserved_room_is_no_data_and_reads_as_zeros() {
    on_memfs(&["size=1m"], |root| {
        let file = new_file(&root.join("file"));
        rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 10 * PAGE).expect("reserving");
        assert_eq!((file.metadata().expect("its size").len(), blocks(&file)), (0, 10));
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 4 * PAGE).expect("reserving");
        assert_eq!((file.metadata().expect("its size").len(), blocks(&file)), (4 * PAGE, 10));
        assert_eq!(extents(&file), []);
        assert_eq!(bytes(&file, 0, 8192), [0; 8192]);
        file.write_all_at(b"x", PAGE + 1).expect("writing");
        assert_eq!((extents(&file), blocks(&file)), (vec![(PAGE, 2 * PAGE)], 10));
        file.set_len(4 * PAGE).expect("to the same size");
        assert_eq!(blocks(&file), 4);
    });
}

#[test]
fn zeroing_keeps_room_and_loses_data() {
    on_memfs(&[], |root| {
        let file = new_file(&root.join("file"));
        file.write_all_at(&[1; 20_000], 0).expect("writing");
        rustix::fs::fallocate(&file, FallocateFlags::ZERO_RANGE, 1000, 10_000).expect("zeroing");
        assert_eq!((extents(&file), blocks(&file)), (vec![(0, PAGE), (2 * PAGE, 20_000)], 5));
        assert_eq!(bytes(&file, 999, 3), [1, 0, 0]);
        assert_eq!(bytes(&file, 10_998, 4), [0, 0, 1, 1]);
        let keep = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&file, keep, 30_000, 10_000).expect("zeroing behind the end");
        assert_eq!(file.metadata().expect("its size").len(), 20_000);
        for flags in [FallocateFlags::COLLAPSE_RANGE, FallocateFlags::INSERT_RANGE] {
            assert_eq!(rustix::fs::fallocate(&file, flags, 0, PAGE), Err(Errno::OPNOTSUPP));
        }
    });
}

#[test]
fn copying_keeps_holes() {
    on_memfs(&["size=1m"], |root| {
        let (from, to) = (new_file(&root.join("from")), new_file(&root.join("to")));
        from.write_all_at(&[1; 5000], 0).expect("writing");
        from.write_all_at(&[2; 5000], 40 << 20).expect("writing");
        from.set_len(50 << 20).expect("growing");
        to.write_all_at(&[9; 100_000], 0).expect("writing");
        let (mut source, mut target) = (0, 0);
        while rustix::fs::copy_file_range(&from, Some(&mut source), &to, Some(&mut target), 1 << 40).expect("copying")
            > 0
        {}
        assert_eq!((source, target), (50 << 20, 50 << 20));
        assert_eq!(extents(&to), extents(&from));
        assert_eq!(blocks(&to), blocks(&from));
        assert_eq!(bytes(&to, 4999, 3), [1, 0, 0]);
        assert_eq!(bytes(&to, (40 << 20) - 1, 3), [0, 2, 2]);
        // Within one file, and to places that are not at the start of a page.
        let (mut source, mut target) = (0, (45 << 20) + 7);
        assert_eq!(rustix::fs::copy_file_range(&to, Some(&mut source), &to, Some(&mut target), 6000), Ok(6000));
        assert_eq!(bytes(&to, (45 << 20) + 6, 3), [0, 1, 1]);
        assert_eq!(bytes(&to, (45 << 20) + 5006, 2), [1, 0]);
        let (mut source, mut target) = (0, 10);
        assert_eq!(rustix::fs::copy_file_range(&to, Some(&mut source), &to, Some(&mut target), 100), Err(Errno::INVAL));
    });
}

#[test]
fn pieces_of_every_size_are_read_back() {
    on_memfs(&["size=64m"], |root| {
        let file = new_file(&root.join("file"));
        let mut model = Vec::new();
        // From a file of a few bytes over one on the heap to several chunks.
        for (round, length) in
            [1, 60, 100, 3000, 5000, 20_000, 100_000, 300_000, 1 << 20, 3 << 20].into_iter().enumerate()
        {
            let piece: Vec<u8> = (0..length).map(|index| ((index * 31 + round) % 251) as u8).collect();
            file.write_all_at(&piece, model.len() as u64).expect("writing");
            model.extend_from_slice(&piece);
            assert!(fs::read(root.join("file")).expect("reading") == model, "round {round}");
        }
        // The same without what the kernel has cached.
        let direct = rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::RDONLY;
        let uncached = rustix::fs::open(root.join("file"), direct, rustix::fs::Mode::empty()).expect("opening");
        let mut found = vec![0; model.len()];
        File::from(uncached).read_exact_at(&mut found, 0).expect("reading");
        assert!(found == model);
    });
}
