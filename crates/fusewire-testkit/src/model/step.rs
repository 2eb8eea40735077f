//! The steps of the model test, what comes of them, and how they are chosen.
//!
//! Names and open files are numbers here, so that a shorter sequence means the same.

use fusewire_proto::{Errno, FileType};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::strategy::{BoxedStrategy, Union};

use crate::model::Features;

/// A path, as the numbers of its names. None at all is the root.
pub type Path = Vec<u8>;

/// A step of the model test.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the system call of that name, with small numbers for names and open files")]
#[non_exhaustive]
pub enum Step {
    Stat(Path),
    Lstat(Path),
    Read { path: Path, offset: u16, length: u16 },
    Readlink(Path),
    Readdir(Path),
    DropCaches,
    Advance,
    Mkdir(Path),
    Write { path: Path, offset: u16, length: u16, byte: u8 },
    Truncate { path: Path, size: u16 },
    Unlink(Path),
    Rmdir(Path),
    Rename { from: Path, to: Path },
    RenameNoReplace { from: Path, to: Path },
    Exchange { from: Path, to: Path },
    Symlink { target: Path, absolute: Absolute, path: Path },
    Link { from: Path, to: Path },
    Mkfifo(Path),
    Chmod { path: Path, mode: u16 },
    SetTimes { path: Path, seconds: u32 },
    SetXattr { path: Path, name: u8, value: u8 },
    GetXattr { path: Path, name: u8 },
    RemoveXattr { path: Path, name: u8 },
    ListXattr(Path),
    Open { slot: u8, path: Path },
    ReadOpen { slot: u8, offset: u16, length: u16 },
    WriteOpen { slot: u8, offset: u16, length: u16, byte: u8 },
    Close { slot: u8 },
}

/// Whether the target of a link begins with a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absolute {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is done.
    Done,
    /// Data.
    Bytes(Vec<u8>),
    /// Names, sorted.
    Names(Vec<Vec<u8>>),
    /// Attributes: what the model knows of them.
    Attributes {
        /// The type.
        kind: FileType,
        /// Permission bits.
        mode: u32,
        /// Bytes; 0 for what is neither a file nor a link.
        size: u64,
        /// Names; 0 for directories.
        links: u32,
        /// The time of the last change of data, in seconds, if it was set.
        mtime: Option<i64>,
    },
}

/// Whether both come to the same.
pub(super) fn agree(expected: &Result<Outcome, Errno>, found: &Result<Outcome, Errno>, features: Features) -> bool {
    match (expected, found) {
        // rename(2), rmdir(2): either may be said.
        (Err(Errno::ENOTEMPTY | Errno::EEXIST), Err(Errno::ENOTEMPTY | Errno::EEXIST)) => true,
        (
            Ok(Outcome::Attributes { kind, mode, size, links, mtime }),
            Ok(Outcome::Attributes { kind: kind2, mode: mode2, size: size2, links: links2, mtime: mtime2 }),
        ) => {
            let same_links = !features.contains(Features::HARD_LINK) || links == links2;
            // What the model does not know may be anything.
            let same_time = mtime.is_none() || mtime == mtime2;
            (kind, mode, size) == (kind2, mode2, size2) && same_links && same_time
        }
        _ => expected == found,
    }
}

/// How many names paths are made of.
pub(super) const NAMES: u8 = 4;
/// How many files are held open.
pub(super) const SLOTS: u8 = 3;
/// How many extended attributes a file may have.
const XATTRS: u8 = 3;

fn path() -> impl Strategy<Value = Path> + Clone {
    vec(0..NAMES, 1..=3)
}

/// A path or the root.
fn any_path() -> impl Strategy<Value = Path> + Clone {
    vec(0..NAMES, 0..=3)
}

fn two() -> impl Strategy<Value = (Path, Path)> {
    (path(), path())
}

/// Sequences of steps that a filesystem with these features can do.
pub(super) fn sequences(features: Features, most: usize) -> impl Strategy<Value = Vec<Step>> {
    let numbers = || (0..12_000_u16, 0..6_000_u16);
    let mut choices: Vec<(u32, BoxedStrategy<Step>)> = vec![
        (2, any_path().prop_map(Step::Stat).boxed()),
        (1, any_path().prop_map(Step::Lstat).boxed()),
        (2, (path(), numbers()).prop_map(|(path, (offset, length))| Step::Read { path, offset, length }).boxed()),
        (1, path().prop_map(Step::Readlink).boxed()),
        (2, any_path().prop_map(Step::Readdir).boxed()),
        (1, Just(Step::DropCaches).boxed()),
        (1, Just(Step::Advance).boxed()),
    ];
    let mut with = |needed: Features, weight: u32, strategy: BoxedStrategy<Step>| {
        if features.contains(needed) {
            choices.push((weight, strategy));
        }
    };
    let write = Features::WRITE;
    with(write | Features::DIRECTORIES, 5, path().prop_map(Step::Mkdir).boxed());
    with(
        write,
        6,
        (path(), numbers(), any::<u8>())
            .prop_map(|(path, (offset, length), byte)| Step::Write { path, offset, length, byte })
            .boxed(),
    );
    with(write, 2, (path(), 0..20_000_u16).prop_map(|(path, size)| Step::Truncate { path, size }).boxed());
    with(write, 3, path().prop_map(Step::Unlink).boxed());
    with(write | Features::DIRECTORIES, 2, path().prop_map(Step::Rmdir).boxed());
    let rename = write | Features::RENAME;
    with(rename, 5, two().prop_map(|(from, to)| Step::Rename { from, to }).boxed());
    let flags = rename | Features::RENAME_FLAGS;
    with(flags, 1, two().prop_map(|(from, to)| Step::RenameNoReplace { from, to }).boxed());
    with(flags, 2, two().prop_map(|(from, to)| Step::Exchange { from, to }).boxed());
    with(
        write | Features::SYMLINK,
        3,
        (path(), any::<bool>(), path())
            .prop_map(|(target, absolute, path)| {
                let absolute = if absolute { Absolute::Yes } else { Absolute::No };
                Step::Symlink { target, absolute, path }
            })
            .boxed(),
    );
    with(write | Features::HARD_LINK, 3, two().prop_map(|(from, to)| Step::Link { from, to }).boxed());
    with(write | Features::FIFO, 1, path().prop_map(Step::Mkfifo).boxed());
    let attributes = write | Features::ATTRIBUTES;
    with(attributes, 1, (any_path(), 0..0o1000_u16).prop_map(|(path, mode)| Step::Chmod { path, mode }).boxed());
    with(attributes, 1, (path(), any::<u32>()).prop_map(|(path, seconds)| Step::SetTimes { path, seconds }).boxed());
    let xattr = write | Features::XATTR;
    with(
        xattr,
        2,
        (any_path(), 0..XATTRS, any::<u8>())
            .prop_map(|(path, name, value)| Step::SetXattr { path, name, value })
            .boxed(),
    );
    with(Features::XATTR, 1, (any_path(), 0..XATTRS).prop_map(|(path, name)| Step::GetXattr { path, name }).boxed());
    with(xattr, 1, (any_path(), 0..XATTRS).prop_map(|(path, name)| Step::RemoveXattr { path, name }).boxed());
    with(Features::XATTR, 1, any_path().prop_map(Step::ListXattr).boxed());
    let held = write | Features::UNLINKED;
    with(held, 3, (0..SLOTS, path()).prop_map(|(slot, path)| Step::Open { slot, path }).boxed());
    with(
        held,
        2,
        (0..SLOTS, numbers()).prop_map(|(slot, (offset, length))| Step::ReadOpen { slot, offset, length }).boxed(),
    );
    with(
        held,
        2,
        (0..SLOTS, numbers(), any::<u8>())
            .prop_map(|(slot, (offset, length), byte)| Step::WriteOpen { slot, offset, length, byte })
            .boxed(),
    );
    with(held, 1, (0..SLOTS).prop_map(|slot| Step::Close { slot }).boxed());
    vec(Union::new_weighted(choices), 1..=most)
}
