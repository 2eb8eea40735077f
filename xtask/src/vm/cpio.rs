//! Writes a cpio archive in the `newc` form, which is what the kernel unpacks as initramfs. Directories above a file are
//! added by themselves. It reads no file.

use std::collections::BTreeSet;

/// Type bits of a mode, `linux/stat.h`.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

/// The name of the last entry.
const TRAILER: &str = "TRAILER!!!";

/// An archive in memory. Everything in it belongs to root.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    files: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    /// Adds a file, unless there is one of this path. `path` is absolute; `mode` is permission bits.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.directories_above(path);
        // Programs share libraries: what is there stays.
        if self.files.insert(path.to_owned()) {
            self.entry(path, REGULAR | mode, (0, 0), content);
        }
    }

    /// Adds a symbolic link.
    pub(super) fn symlink(&mut self, path: &str, target: &str) {
        self.directories_above(path);
        self.entry(path, SYMLINK | 0o777, (0, 0), target.as_bytes());
    }

    /// Adds a character device.
    pub(super) fn device(&mut self, path: &str, mode: u32, major: u32, minor: u32) {
        self.directories_above(path);
        self.entry(path, CHARACTER | mode, (major, minor), &[]);
    }

    /// Adds a directory with a mode that is not 0755.
    pub(super) fn directory(&mut self, path: &str, mode: u32) {
        self.directories_above(path);
        if self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY | mode, (0, 0), &[]);
        }
    }

    /// The finished archive. Archives may follow each other in one initramfs; the later one adds to the earlier.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, (0, 0), &[]);
        self.bytes
    }

    fn directories_above(&mut self, path: &str) {
        for (end, _) in path.match_indices('/').filter(|(end, _)| *end > 0) {
            let above = path.get(..end).unwrap_or_default();
            if self.directories.insert(above.to_owned()) {
                self.entry(above, DIRECTORY | 0o755, (0, 0), &[]);
            }
        }
    }

    /// A header of thirteen eight-digit fields, the name with a NUL, the content; name and content end at multiples of 4.
    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let name = path.trim_start_matches('/');
        self.entries += 1;
        let size = |length: usize| u32::try_from(length).expect("no file of an initramfs has 4 GiB");
        let links = if mode & DIRECTORY != 0 { 2 } else { 1 };
        let fields = [
            self.entries,
            mode,
            0,
            0,
            links,
            0,
            size(content.len()),
            0,
            0,
            device.0,
            device.1,
            size(name.len() + 1),
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, modes and contents, as the kernel would read them.
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |number: usize| {
                let digits = std::str::from_utf8(&bytes[6 + number * 8..14 + number * 8]).unwrap();
                u32::from_str_radix(digits, 16).unwrap()
            };
            let (mode, size, length) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(bytes[110..110 + length - 1].to_vec()).unwrap();
            let start = (110 + length).next_multiple_of(4);
            let content = bytes[start..start + size].to_vec();
            bytes = &bytes[(start + size).next_multiple_of(4)..];
            if name == TRAILER {
                assert!(bytes.is_empty());
                return entries;
            }
            entries.push((name, mode, content));
        }
    }

    #[test]
    fn archive_reads_back_with_directories_before_what_is_in_them() {
        let mut archive = Archive::default();
        archive.file("/init", 0o755, b"run");
        archive.file("/usr/bin/a", 0o4755, b"12345");
        archive.symlink("/usr/bin/b", "a");
        archive.directory("/tmp", 0o1777);
        archive.device("/dev/console", 0o600, 5, 1);
        let expected = [
            ("init", 0o100_755, "run"),
            ("usr", 0o040_755, ""),
            ("usr/bin", 0o040_755, ""),
            ("usr/bin/a", 0o104_755, "12345"),
            ("usr/bin/b", 0o120_777, "a"),
            ("tmp", 0o041_777, ""),
            ("dev", 0o040_755, ""),
            ("dev/console", 0o020_600, ""),
        ];
        let expected = expected.map(|(name, mode, content)| (name.to_owned(), mode, content.as_bytes().to_vec()));
        assert_eq!(read(&archive.finish()), expected);
    }

    #[test]
    fn archives_end_at_a_multiple_of_four_so_that_another_may_follow() {
        for length in 0..8 {
            let mut archive = Archive::default();
            archive.file("/a", 0o644, &vec![b'x'; length]);
            assert_eq!(archive.finish().len() % 4, 0, "{length}");
        }
    }
}
