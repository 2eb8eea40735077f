//! Programs of others that the suite runs and cargo can install: put below the target directory when they are needed first.
//!
//! Programs that come from Debian's packages are looked for by the doctor.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::stage::Stage;

/// A program in a crate of the same name.
pub(super) struct Tool {
    pub(super) name: &'static str,
    version: &'static str,
}

pub(super) const PJDFSTEST: Tool = Tool { name: "pjdfstest", version: "0.2.2" };
pub(super) const FSX: Tool = Tool { name: "fsx", version: "0.3.2" };

/// Where everybody can run it, or why it cannot be had.
pub(super) fn find(stage: &Stage<'_>, tool: &Tool) -> Result<Result<PathBuf, String>> {
    let place = stage.binary(tool.name);
    if place.exists() {
        return Ok(Ok(place));
    }
    let root = stage.target().join("tools").join(format!("{}-{}", tool.name, tool.version));
    let installed = root.join("bin").join(tool.name);
    if !installed.exists() {
        println!("installing {} {} below {}", tool.name, tool.version, root.display());
        let status = Command::new("cargo")
            .args(["install", "--locked", "--quiet", "--version", tool.version, "--root"])
            .arg(&root)
            .arg(tool.name)
            .current_dir("/")
            // What is set for the workspace is not meant for it.
            .env("CARGO_TARGET_DIR", stage.target().join("tools/target"))
            .env_remove("RUSTFLAGS")
            .status()
            .context("running cargo install")?;
        if !status.success() {
            return Ok(Err(format!("cargo install {} {} ended with {status}", tool.name, tool.version)));
        }
    }
    stage.show(&installed, tool.name).map(Ok)
}
