//! Directories for the files of one run. They go with the run; what a killed run left is cleared away by the next.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

const PREFIX: &str = "run-";

/// A directory of this run below `store`, removed on drop. Those of runs that are no more are removed now.
pub(super) fn directory(store: &Path) -> Result<TempDir> {
    clear_away(store);
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(store)
        .with_context(|| format!("creating a directory in {}", store.display()))
}

/// The directories of a process, by which it can be told whether it left something.
pub(super) fn of_process(store: &Path, process: u32) -> Vec<String> {
    let prefix = format!("{PREFIX}{process}-");
    names(store).into_iter().filter(|name| name.starts_with(&prefix)).collect()
}

fn clear_away(store: &Path) {
    for name in names(store) {
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let gone = process.is_some_and(|process| !Path::new("/proc").join(process).exists());
        if gone {
            // Somebody else may do the same at this moment.
            let _ = fs::remove_dir_all(store.join(name));
        }
    }
}

fn names(store: &Path) -> Vec<String> {
    let entries = fs::read_dir(store).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_runs_that_are_no_more_are_cleared_away() {
        let store = tempfile::tempdir().unwrap();
        // The highest process id is 2^22.
        for name in ["run-9999999-abc", "packages"] {
            fs::create_dir(store.path().join(name)).unwrap();
        }
        let mine = directory(store.path()).unwrap();
        let other = directory(store.path()).unwrap();
        assert_eq!(of_process(store.path(), std::process::id()).len(), 2);
        assert_eq!(names(store.path()).len(), 3, "{:?}", names(store.path()));
        drop((mine, other));
        assert_eq!(names(store.path()), ["packages"]);
    }
}
