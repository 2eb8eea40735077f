//! Lists of directory entries that are kept while a directory is open, so that offsets stay good whatever changes.
//!
//! An offset is the index of the entry behind, plus one for the start.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fusewire_proto::reply::Dirent;
use fusewire_proto::{Errno, FileHandle, FileType, Name};

use crate::path::PathEntry;
use crate::sink;

/// The lists of all open directories.
#[derive(Debug, Default)]
pub(super) struct Listings {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    lists: HashMap<FileHandle, Option<Arc<[PathEntry]>>>,
}

impl Listings {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle for a directory that is opened.
    pub(super) fn open(&self) -> FileHandle {
        let mut state = self.state();
        state.next += 1;
        let handle = FileHandle(state.next);
        state.lists.insert(handle, None);
        handle
    }

    pub(super) fn close(&self, handle: FileHandle) {
        self.state().lists.remove(&handle);
    }

    /// The list of an open directory; it is read anew at offset 0, and if there is none yet.
    pub(super) fn at(
        &self,
        handle: FileHandle,
        offset: u64,
        read: impl FnOnce() -> Result<Vec<PathEntry>, Errno>,
    ) -> Result<Arc<[PathEntry]>, Errno> {
        let kept = self.state().lists.get(&handle).cloned().ok_or(Errno::EBADF)?;
        if let Some(list) = kept.filter(|_| offset > 0) {
            return Ok(list);
        }
        let list: Arc<[PathEntry]> = read()?.into();
        self.state().lists.insert(handle, Some(Arc::clone(&list)));
        Ok(list)
    }
}

/// An inode number for entries whose filesystem gives none: readdir(3) leaves out entries with 0.
const UNKNOWN_INO: u64 = u64::MAX;

/// Pushes the entries from `offset` on, `.` and `..` first.
pub(super) fn fill(list: &[PathEntry], offset: u64, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
    let dots = [".", ".."].map(|name| (name.as_bytes(), FileType::DIRECTORY, UNKNOWN_INO));
    let entries = list.iter().map(|entry| {
        let ino = if entry.ino == 0 { UNKNOWN_INO } else { entry.ino };
        (entry.name.as_bytes(), entry.kind, ino)
    });
    let start = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
    for ((name, kind, ino), next) in dots.into_iter().chain(entries).zip(1..).skip(start) {
        // A name that cannot be is left out; the kernel would refuse the whole answer.
        let Ok(name) = Name::new(name) else { continue };
        if out.push(&Dirent::new(ino, next, kind, name)).is_err() {
            break;
        }
    }
    Ok(())
}
