//! Reads the list of mounts of the calling thread's namespace, `/proc/thread-self/mountinfo`.
//!
//! It knows the fields that mounting needs and no others, and touches none of the mounts.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::table::octal;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The device number of the superblock, (major, minor).
    pub(super) device: (u32, u32),
    /// Where it is mounted, as seen from the root of the process.
    pub(super) mountpoint: PathBuf,
    /// The filesystem type, such as `ext4` or `fuse.memfs`.
    pub(super) fstype: OsString,
    /// What is mounted.
    pub(super) source: OsString,
}

impl Entry {
    /// Whether a FUSE daemon stands behind it. A virtio-fs mount is not meant: its server is outside.
    pub(super) fn is_fuse(&self) -> bool {
        let fstype = self.fstype.as_encoded_bytes();
        let kind = fstype.split(|byte| *byte == b'.').next();
        matches!(kind, Some(b"fuse" | b"fuseblk"))
    }
}

/// All mounts, the ones on top after those below them.
pub(super) fn read() -> io::Result<Vec<Entry>> {
    // A thread may have a mount namespace of its own, and then /proc/self shows the namespace of the first thread.
    let text = fs::read("/proc/thread-self/mountinfo").or_else(|_| fs::read("/proc/self/mountinfo"))?;
    Ok(parse(&text))
}

/// The mount on top at exactly this path.
pub(super) fn at<'e>(entries: &'e [Entry], mountpoint: &Path) -> Option<&'e Entry> {
    entries.iter().rev().find(|entry| entry.mountpoint == mountpoint)
}

/// The innermost FUSE mount at or above this path.
pub(super) fn fuse_above<'e>(entries: &'e [Entry], path: &Path) -> Option<&'e Entry> {
    entries
        .iter()
        .filter(|entry| entry.is_fuse() && path.starts_with(&entry.mountpoint))
        .max_by_key(|entry| entry.mountpoint.as_os_str().len())
}

fn parse(text: &[u8]) -> Vec<Entry> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`; proc_pid_mountinfo(5).
fn parse_line(line: &[u8]) -> Option<Entry> {
    let mut fields = line.split(|byte| *byte == b' ').skip(2);
    let device = parse_device(fields.next()?)?;
    let _root = fields.next()?;
    let mountpoint = PathBuf::from(unescape(fields.next()?));
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    Some(Entry { device, mountpoint, fstype: unescape(fields.next()?), source: unescape(fields.next()?) })
}

fn parse_device(field: &[u8]) -> Option<(u32, u32)> {
    let (major, minor) = std::str::from_utf8(field).ok()?.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Undoes the kernel's `\040` for space, tab, newline and backslash.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, rest) {
            (b'\\', [a, b, c, after @ ..]) if octal(*a, *b, *c).is_some() => {
                bytes.extend(octal(*a, *b, *c));
                rest = after;
            }
            _ => bytes.push(byte),
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
40 22 0:39 / /mnt/a\\040b rw,nosuid master:3 propagate_from:2 - fuse.x a,b\\134c rw,user_id=0\n\
41 40 0:40 / /mnt/a\\040b rw - tmpfs none rw\n\
42 22 0:41 / /mnt rw - fuse src rw\n\
43 22 0:42 / /data rw - virtiofs tag rw\n\
garbage\n";

    #[test]
    fn fields_are_found_behind_any_number_of_optional_ones() {
        let entries = parse(TEXT);
        assert_eq!(entries.len(), 5);
        assert_eq!(
            entries[1],
            Entry { device: (0, 39), mountpoint: "/mnt/a b".into(), fstype: "fuse.x".into(), source: "a,b\\c".into() }
        );
    }

    #[test]
    fn the_topmost_mount_at_a_path_is_the_last() {
        let entries = parse(TEXT);
        let top = at(&entries, Path::new("/mnt/a b")).unwrap();
        assert_eq!(top.fstype, "tmpfs");
        assert!(at(&entries, Path::new("/mnt/a")).is_none());
    }

    #[test]
    fn the_innermost_fuse_mount_above_a_path_is_found() {
        let entries = parse(TEXT);
        let found = |path: &str| fuse_above(&entries, Path::new(path)).map(|e| e.device);
        assert_eq!(found("/mnt/a b/c"), Some((0, 39)));
        assert_eq!(found("/mnt/x"), Some((0, 41)));
        assert_eq!(found("/mntx"), None);
        assert_eq!(found("/data"), None);
    }

    #[test]
    fn own_namespace_is_readable() {
        let entries = read().unwrap();
        assert!(at(&entries, Path::new("/")).is_some());
    }
}
