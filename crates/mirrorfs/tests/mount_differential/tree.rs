//! A whole tree as text, to compare two of them.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, lgetxattr_query, llistxattr, llistxattr_query};

use crate::Apart;

/// Times of set-up and of calls may differ by as much, in seconds.
const TOLERANCE: i64 = 120;

/// What is found at a path.
struct Found {
    path: PathBuf,
    text: String,
    /// Suid and sgid.
    special: u32,
    mtime: i64,
}

/// Checks that two trees are the same in names, types, modes, owners, link counts, sizes, contents, attributes and times.
pub(crate) fn assert_same(what: &str, expected: &Path, found: &Path, apart: Apart) {
    let (expected, found) = (all(expected, apart), all(found, apart));
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(expected.text, found.text, "{what}, {}", expected.path.display());
        assert_eq!(expected.special, found.special, "{what}, {}", expected.path.display());
        let seconds = expected.mtime.abs_diff(found.mtime);
        let close = seconds <= TOLERANCE.unsigned_abs() || apart == Apart::Times;
        assert!(close, "{what}, {}: mtimes are {seconds} s apart", expected.path.display());
    }
    assert_eq!(expected.len(), found.len(), "{what}");
}

fn all(root: &Path, apart: Apart) -> Vec<Found> {
    let mut found = Vec::new();
    let mut links = HashMap::new();
    walk(root, Path::new(""), &mut links, &mut found);
    if apart == Apart::Special {
        found.iter_mut().for_each(|found| found.special = 0);
    }
    found
}

fn walk(root: &Path, relative: &Path, links: &mut HashMap<u64, PathBuf>, found: &mut Vec<Found>) {
    let path = root.join(relative);
    let meta = fs::symlink_metadata(&path).expect("what is there");
    // Names of one file are told by the first of them.
    let first = links.entry(meta.ino()).or_insert_with(|| relative.to_owned()).clone();
    let content = match meta.file_type() {
        kind if kind.is_symlink() => format!("{:?}", fs::read_link(&path).expect("a target")),
        kind if kind.is_file() => format!("{:x}", digest(&fs::read(&path).expect("content"))),
        _ => String::new(),
    };
    let size = if meta.is_dir() { 0 } else { meta.len() };
    let text = format!(
        "{:o} {}:{} links {} size {size} rdev {} first {} [{}] {content}",
        meta.mode() & !0o6000,
        meta.uid(),
        meta.gid(),
        meta.nlink(),
        meta.rdev(),
        first.display(),
        attributes(&path)
    );
    found.push(Found { path: relative.to_owned(), text, special: meta.mode() & 0o6000, mtime: meta.mtime() });
    if meta.is_dir() {
        let entries = fs::read_dir(&path).expect("entries");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        for name in names {
            walk(root, &relative.join(name), links, found);
        }
    }
}

/// All extended attributes, by name.
fn attributes(path: &Path) -> String {
    let mut list = vec![0; llistxattr_query(path).expect("the length of the list")];
    let length = llistxattr(path, &mut list[..]).expect("the list");
    list.truncate(length);
    let mut shown: Vec<_> = list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let name = std::ffi::OsStr::from_bytes(name);
            let mut value = vec![0; lgetxattr_query(path, name).expect("the length of the value")];
            let length = lgetxattr(path, name, &mut value[..]).expect("the value");
            value.truncate(length);
            format!("{}={}", name.display(), value.escape_ascii())
        })
        .collect();
    shown.sort();
    shown.join(" ")
}

/// FNV-1a.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
