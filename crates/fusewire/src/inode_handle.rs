//! Handles of inodes that outlast descriptors: name_to_handle_at(2) and open_by_handle_at(2), which no crate has yet.
//!
//! For filesystems that mirror others and cannot keep a descriptor for each inode. What is kept where is up to them.
#![expect(unsafe_code, reason = "two system calls that nix and rustix do not have")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// The longest handle (`MAX_HANDLE_SZ`), in bytes.
const LONGEST: usize = 128;

/// What identifies an inode within its filesystem for good: the number of an inode that is gone may be given to another one,
/// its handle is not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InodeHandle {
    kind: i32,
    bytes: Box<[u8]>,
}

/// As the system calls have it: `struct file_handle`, with room for the longest.
#[repr(C)]
struct Raw {
    length: u32,
    kind: i32,
    bytes: [u8; LONGEST],
}

impl InodeHandle {
    /// The handle of what `file` is open on, which may be opened with `O_PATH`.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the filesystem has no handles; others of name_to_handle_at(2).
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        let mut raw = Raw { length: 0, kind: 0, bytes: [0; LONGEST] };
        raw.length = u32::try_from(LONGEST).unwrap_or(0);
        let mut mount = 0;
        let fd = file.as_fd().as_raw_fd();
        // SAFETY: the path is a string with a NUL. `raw` has the layout of `struct file_handle` with `length` bytes behind
        // it, which is all that the call writes to, and `mount` is an int. All three outlive the call.
        let result = unsafe {
            libc::name_to_handle_at(fd, c"".as_ptr(), (&raw mut raw).cast(), &raw mut mount, libc::AT_EMPTY_PATH)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        let length = usize::try_from(raw.length).unwrap_or(LONGEST).min(LONGEST);
        Ok(Self { kind: raw.kind, bytes: raw.bytes.get(..length).unwrap_or(&[]).into() })
    }

    /// Opens the inode, with flags of open(2); close-on-exec is added. `mount` is anything that is open, not with `O_PATH`,
    /// in the mount that the inode is to be opened in.
    ///
    /// # Errors
    /// `ESTALE` if the inode is gone; `EPERM` without `CAP_DAC_READ_SEARCH`; others of open_by_handle_at(2).
    pub fn open(&self, mount: impl AsFd, flags: i32) -> io::Result<OwnedFd> {
        let mut raw = Raw { length: 0, kind: self.kind, bytes: [0; LONGEST] };
        raw.length = u32::try_from(self.bytes.len()).unwrap_or(0);
        for (place, byte) in raw.bytes.iter_mut().zip(&self.bytes) {
            *place = *byte;
        }
        let fd = mount.as_fd().as_raw_fd();
        // SAFETY: `raw` has the layout of `struct file_handle` with `length` bytes behind it, which is all that the call
        // reads, and outlives the call.
        let opened = unsafe { libc::open_by_handle_at(fd, (&raw mut raw).cast(), flags | libc::O_CLOEXEC) };
        if opened < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just made this descriptor, so nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(opened) })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn handle_is_the_same_for_every_name_and_another_for_every_inode() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("one"), "").unwrap();
        fs::hard_link(path("one"), path("other")).unwrap();
        fs::write(path("two"), "").unwrap();
        let handle = |name: &str| InodeHandle::of(File::open(path(name)).unwrap()).unwrap();
        assert_eq!(handle("one"), handle("other"));
        assert_ne!(handle("one"), handle("two"));
    }

    #[test]
    fn handle_opens_the_inode_or_tells_that_it_may_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "").unwrap();
        let handle = InodeHandle::of(File::open(&path).unwrap()).unwrap();
        let mount = File::open(directory.path()).unwrap();
        fs::rename(&path, directory.path().join("moved")).unwrap();
        match handle.open(&mount, libc::O_PATH) {
            Ok(opened) => {
                let ino = fs::metadata(directory.path().join("moved")).unwrap().ino();
                assert_eq!(File::from(opened).metadata().unwrap().ino(), ino);
            }
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
        }
    }
}
