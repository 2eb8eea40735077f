//! The documentation of the libraries, as rustdoc makes it, beside the built book: pages of the protocol lead into it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::workspace::Metadata;

/// Where it lies in the built book.
pub(super) const DIRECTORY: &str = "api";
/// What readers of the book use.
const CRATES: &[&str] = &["fusewire-proto", "fusewire", "fusewire-launch", "fusewire-testkit"];
/// What all pages of rustdoc need.
const SHARED: &[&str] = &["static.files", "trait.impl", "type.impl", "search.index"];

/// Makes it, and puts it into the book in `built`.
pub(super) fn add(shell: &Shell, built: &Path) -> Result<()> {
    let packages = CRATES.iter().flat_map(|name| ["--package", name]);
    cmd!(shell, "cargo doc --no-deps --lib --quiet {packages...}").run()?;
    let made = Metadata::read(shell)?.target().join("doc");
    let place = built.join(DIRECTORY);
    let crates: Vec<_> = CRATES.iter().map(|name| name.replace('-', "_")).collect();
    let reading = || format!("reading {}", made.display());
    for entry in fs::read_dir(&made).with_context(reading)? {
        let from = entry.with_context(reading)?.path();
        let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if from.is_file() || SHARED.contains(&name.as_str()) || crates.contains(&name) {
            copy(&from, &place.join(name))?;
        }
    }
    for name in &crates {
        copy(&made.join("src").join(name), &place.join("src").join(name))?;
    }
    // Other packages may have been documented in the same place; they are not here.
    let list = serde_json::to_string(&crates).context("writing the list of crates")?;
    let file = place.join("crates.js");
    fs::write(&file, format!("window.ALL_CRATES = {list};\n")).with_context(|| format!("writing {}", file.display()))
}

/// Copies a file, or a directory with all in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copying = || format!("copying {}", from.display());
    if from.is_dir() {
        fs::create_dir_all(to).with_context(copying)?;
        for entry in fs::read_dir(from).with_context(copying)? {
            let entry = entry.with_context(copying)?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(above) = to.parent() {
        fs::create_dir_all(above).with_context(copying)?;
    }
    fs::copy(from, to).with_context(copying).map(|_| ())
}
