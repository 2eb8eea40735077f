//! The two places where calls are made, and what they begin with.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fusewire::mount::{MountFlag, MountOptions};
use fusewire::{Mounted, SessionConfig};
use mirrorfs::{Mirror, Options};

use crate::actor::{OTHER, USER};

/// What a sequence of calls works with: a directory, and the files that it has opened.
pub(crate) struct World<'a> {
    pub(crate) root: &'a Path,
    pub(crate) open: BTreeMap<u64, OwnedFd>,
}

impl<'a> World<'a> {
    pub(crate) fn new(root: &'a Path) -> Self {
        Self { root, open: BTreeMap::new() }
    }
}

/// A directory itself.
pub(crate) struct Native {
    root: PathBuf,
}

impl Native {
    pub(crate) fn new(root: &Path) -> Self {
        furnish(root);
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

/// A mirror of such a directory.
pub(crate) struct Mirrored {
    mounted: Mounted,
    root: PathBuf,
    source: PathBuf,
}

impl Mirrored {
    pub(crate) fn new(directory: &Path, options: Options) -> Self {
        let (source, root) = (directory.join("source"), directory.join("mirror"));
        furnish(&source);
        fs::create_dir(&root).expect("a mountpoint");
        let mirror = Mirror::new(&source, options).expect("a mirror");
        // Device nodes are opened, too.
        let how = MountOptions::new().subtype("mirrorfs").default_permissions().allow_other().clear(MountFlag::NoDev);
        let mounted = fusewire::mount(mirror, &root, &how, SessionConfig::default()).expect("mounting");
        Self { mounted, root, source }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Unmounts it, and returns where the source is.
    pub(crate) fn end(mut self) -> PathBuf {
        self.mounted.end(Duration::from_secs(10)).expect("unmounting");
        self.source.clone()
    }
}

/// Makes the directory that calls begin with: some things are the user's, some are not.
fn furnish(root: &Path) {
    let directory = |name: &str, owner: u32, group: u32, mode: u32| {
        let path = root.join(name);
        fs::create_dir(&path).expect("a directory");
        chown(&path, Some(owner), Some(group)).expect("giving it away");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
    };
    directory("", USER.uid, USER.gid, 0o777);
    directory("a", USER.uid, USER.gid, 0o755);
    // Closed, but for its group, which the user is in by a supplementary group; what is made there has that group.
    directory("b", 0, USER.group, 0o2770);
    directory("c", 0, 0, 0o755);
    directory("c/d", OTHER.uid, OTHER.group, 0o1777);
    for (name, owner, group, mode) in [
        ("a/b", USER.uid, USER.gid, 0o644),
        ("b/a", 0, USER.group, 0o664),
        ("c/a", 0, 0, 0o600),
        ("c/b", 0, 0, 0o666),
        ("c/d/a", 0, 0, 0o666),
        ("c/d/b", USER.uid, OTHER.gid, 0o4755),
    ] {
        let path = root.join(name);
        fs::write(&path, name.repeat(1000)).expect("a file");
        chown(&path, Some(owner), Some(group)).expect("giving it away");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
    }
}
