//! Where the workspace lies and what is in it, as cargo tells. It does not read manifests; `tidy` does.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use xshell::{Shell, cmd};

/// The root of the workspace: the directory above xtask's own.
pub(crate) fn root() -> Result<PathBuf> {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = manifest.parent().context("finding the workspace: xtask has no parent directory")?;
    Ok(root.to_path_buf())
}

/// A shell that stands in the root of the workspace.
pub(crate) fn shell() -> Result<Shell> {
    let shell = Shell::new().context("starting a shell")?;
    shell.change_dir(root()?);
    Ok(shell)
}

/// Whether this is a CI run (`CI=true`), where a missing need is a failure.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// What `cargo metadata` says, as far as it is needed here.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    target_directory: PathBuf,
}

impl Metadata {
    /// Asks cargo; reads no dependency, needs no network.
    pub(crate) fn read(shell: &Shell) -> Result<Self> {
        let json = cmd!(shell, "cargo metadata --no-deps --format-version 1").quiet().read()?;
        serde_json::from_str(&json).context("reading the answer of cargo metadata")
    }

    /// Where cargo puts everything.
    pub(crate) fn target(&self) -> &Path {
        &self.target_directory
    }

    /// Where `cargo build` puts the workspace's binaries.
    pub(crate) fn binaries(&self) -> PathBuf {
        self.target_directory.join("debug")
    }

    /// Where `cargo build --release` puts them.
    pub(crate) fn release_binaries(&self) -> PathBuf {
        self.target_directory.join("release")
    }
}

/// Looks a program up on the PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
