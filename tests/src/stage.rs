//! A mount to play on: the filesystem of `tree` behind a recorder, on a directory of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fusewire::mount::MountOptions;
use fusewire::{Mounted, Notifier, SessionConfig};
use tempfile::TempDir;

use crate::log::Log;
use crate::recorder::Recorder;
use crate::tree::{Config, Tree};

/// A mounted, recorded tree. Dropping it unmounts.
#[derive(Debug)]
pub struct Stage {
    /// The mount.
    pub mounted: Mounted,
    /// The filesystem.
    pub fs: Arc<Recorder<Tree>>,
    directory: TempDir,
}

impl Stage {
    /// Mounts a tree.
    ///
    /// # Panics
    /// It cannot be mounted: these tests need root and `/dev/fuse`.
    pub fn new(config: Config) -> Self {
        Self::with(config, &MountOptions::new(), SessionConfig::default())
    }

    /// Mounts a tree with these options beside the subtype, in such a session.
    ///
    /// # Panics
    /// It cannot be mounted: these tests need root and `/dev/fuse`.
    pub fn with(config: Config, options: &MountOptions, session: SessionConfig) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let fs = Arc::new(Recorder::new(Tree::new(config)));
        let options = options.clone().subtype("tree");
        let mounted = fusewire::mount(Arc::clone(&fs), directory.path(), &options, session)
            .expect("mounting, which needs root and /dev/fuse");
        Self { mounted, fs, directory }
    }

    /// The root of the mount.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// What is called `name` in the mount.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// What the filesystem received.
    pub fn log(&self) -> &Log {
        self.fs.log()
    }

    /// What tells the kernel things.
    pub fn notifier(&self) -> &Notifier {
        self.mounted.notifier()
    }

    /// Unmounts, and waits for the end of the session.
    ///
    /// # Panics
    /// It cannot be unmounted.
    pub fn unmount(&mut self) {
        self.mounted.unmount().expect("unmounting");
    }
}
