//! Operations on ranges of open files: copying, reserving, looking for data and holes.

use std::fs::File;

use fusewire::op::Whence;
use fusewire::{Errno, FallocateMode, Opcode, Request};
use fusewire_tests::{Config, Stage, Tree, is, saw};
use nix::fcntl::{FallocateFlags, copy_file_range, fallocate};
use nix::unistd::{Whence as Seek, lseek};

fn open(stage: &Stage, name: &str) -> File {
    File::options().read(true).write(true).open(stage.path(name)).unwrap()
}

#[test]
pub(crate) fn copies_go_by_the_newest_operation_that_is_served() {
    let refused: &[(&[Opcode], &str)] = &[
        (&[], "CopyFileRange64"),
        (&[Opcode::COPY_FILE_RANGE_64], "CopyFileRange"),
        (&[Opcode::COPY_FILE_RANGE_64, Opcode::COPY_FILE_RANGE], "Read"),
    ];
    for (opcodes, served) in refused {
        let stage = Stage::new(Config::default());
        opcodes.iter().for_each(|opcode| stage.fs.fail(*opcode, Errno::ENOSYS));
        let (from, to) = (open(&stage, "file"), open(&stage, "dir/inner"));
        let (mut start, mut end) = (2, 30);
        let copied = copy_file_range(&from, Some(&mut start), &to, Some(&mut end), 5).unwrap();
        assert_eq!((copied, start, end), (5, 7, 35), "{served}");
        assert_eq!(stage.fs.inner().content(Tree::INNER).unwrap()[30..], Tree::CONTENT[2..7], "{served}");
        let op = stage.log().last(served);
        match op.request() {
            Request::CopyFileRange64(_) => {
                is!(op, CopyFileRange64 { node: Tree::FILE, offset: 2, length: 5, flags: 0 });
                is!(op, CopyFileRange64 { out_node: Tree::INNER, out_offset: 30 });
            }
            Request::CopyFileRange(_) => {
                is!(op, CopyFileRange { node: Tree::FILE, offset: 2, length: 5, flags: 0 });
                is!(op, CopyFileRange { out_node: Tree::INNER, out_offset: 30 });
            }
            _ => {
                is!(op, Read { node: Tree::FILE });
                saw!(stage.log(), Write { node: Tree::INNER });
            }
        }
    }
}

#[test]
fn only_the_wide_copy_is_asked_for_more_than_32_bits_hold() {
    const FIVE_GIB: usize = 5 << 30;
    for (refuse, expected) in [(false, FIVE_GIB as u64), (true, u64::from(u32::MAX) & !0xfff)] {
        let stage = Stage::new(Config::default());
        if refuse {
            stage.fs.fail(Opcode::COPY_FILE_RANGE_64, Errno::ENOSYS);
        }
        // The kernel asks for no more than the file has.
        stage.fs.inner().claim_size(Tree::FILE, FIVE_GIB as u64);
        let (from, to) = (open(&stage, "file"), open(&stage, "dir/inner"));
        copy_file_range(&from, None, &to, None, FIVE_GIB).unwrap();
        let op = stage.log().last(if refuse { "CopyFileRange" } else { "CopyFileRange64" });
        let length = match op.request() {
            Request::CopyFileRange64(op) => op.length,
            Request::CopyFileRange(op) => op.length,
            other => panic!("{other:?}"),
        };
        assert_eq!(length, expected);
    }
}

#[test]
pub(crate) fn fallocate_brings_range_and_mode() {
    let stage = Stage::new(Config::default());
    let file = open(&stage, "file");
    for mode in [
        FallocateMode::empty(),
        FallocateMode::KEEP_SIZE,
        FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE,
        FallocateMode::ZERO_RANGE,
        FallocateMode::ZERO_RANGE | FallocateMode::KEEP_SIZE,
    ] {
        let native = FallocateFlags::from_bits_retain(mode.bits().cast_signed());
        fallocate(&file, native, 4, 9).unwrap();
        saw!(stage.log(), Fallocate { node: Tree::FILE, offset: 4, length: 9, mode: mode });
    }
    let before = stage.log().count(Opcode::FALLOCATE);
    let collapse = FallocateFlags::FALLOC_FL_COLLAPSE_RANGE;
    assert_eq!(fallocate(&file, collapse, 0, 4096), Err(nix::errno::Errno::EOPNOTSUPP));
    assert_eq!(stage.log().count(Opcode::FALLOCATE), before, "refused without being asked");
}

#[test]
pub(crate) fn lseek_comes_for_data_and_holes_only() {
    let stage = Stage::new(Config::default());
    let file = open(&stage, "file");
    lseek(&file, 3, Seek::SeekSet).unwrap();
    assert_eq!(stage.log().count(Opcode::LSEEK), 0);
    assert_eq!(lseek(&file, 5, Seek::SeekData), Ok(5));
    saw!(stage.log(), Lseek { node: Tree::FILE, offset: 5, whence: Whence::DATA });
    assert_eq!(lseek(&file, 5, Seek::SeekHole), Ok(20));
    saw!(stage.log(), Lseek { node: Tree::FILE, offset: 5, whence: Whence::HOLE });
    assert_eq!(lseek(&file, 99, Seek::SeekData), Err(nix::errno::Errno::ENXIO));
}
