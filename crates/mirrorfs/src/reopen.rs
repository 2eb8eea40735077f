//! Opening again what is held by a descriptor of its place only (`O_PATH`), through `/proc/self/fd`.
//!
//! Following such a link leads to the very inode that the descriptor holds, whatever its names are meanwhile.

use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io;
use rustix::path::DecInt;

/// The directory `/proc/self/fd`.
///
/// It is opened when it is needed first, since it belongs to the process that opened it: a program may fork before it
/// serves.
#[derive(Debug, Default)]
pub(crate) struct Reopener {
    directory: OnceLock<OwnedFd>,
}

impl Reopener {
    /// Whether `/proc` is there.
    ///
    /// # Errors
    /// Those of open(2).
    pub(crate) fn check() -> io::Result<()> {
        open_directory().map(drop)
    }

    fn directory(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(directory) = self.directory.get() {
            return Ok(directory.as_fd());
        }
        let directory = open_directory()?;
        Ok(self.directory.get_or_init(|| directory).as_fd())
    }

    /// Opens what `fd` holds.
    ///
    /// # Errors
    /// Those of open(2).
    pub(crate) fn open(&self, fd: BorrowedFd<'_>, flags: OFlags) -> io::Result<OwnedFd> {
        openat(self.directory()?, DecInt::from_fd(fd), flags | OFlags::CLOEXEC, Mode::empty())
    }

    /// Calls `act` with a directory and a name in it that is a link to what `fd` holds.
    ///
    /// # Errors
    /// Those of `act`.
    pub(crate) fn with_link<R>(
        &self,
        fd: BorrowedFd<'_>,
        act: impl FnOnce(BorrowedFd<'_>, &CStr) -> io::Result<R>,
    ) -> io::Result<R> {
        act(self.directory()?, DecInt::from_fd(fd).as_c_str())
    }
}

fn open_directory() -> io::Result<OwnedFd> {
    openat(CWD, c"/proc/self/fd", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The path of a link to what a descriptor holds, for the calls that know only paths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkPath {
    bytes: [u8; 32],
}

impl LinkPath {
    pub(crate) fn of(fd: BorrowedFd<'_>) -> Self {
        let mut bytes = [0; 32];
        // 14 bytes, at most 10 digits, and zeros.
        let _ = write!(&mut bytes[..], "/proc/self/fd/{}", fd.as_raw_fd());
        Self { bytes }
    }

    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reopens_the_inode_and_not_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let (name, other) = (dir.path().join("name"), dir.path().join("other"));
        std::fs::write(&name, "held").unwrap();
        let held = openat(CWD, &name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).unwrap();
        std::fs::rename(&name, &other).unwrap();
        std::fs::write(&name, "impostor").unwrap();
        let again = Reopener::default().open(held.as_fd(), OFlags::RDONLY).unwrap();
        assert_eq!(std::io::read_to_string(std::fs::File::from(again)).unwrap(), "held");
        let path = LinkPath::of(held.as_fd());
        assert_eq!(std::fs::read_to_string(path.as_c_str().to_str().unwrap()).unwrap(), "held");
    }
}
