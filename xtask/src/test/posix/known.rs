//! The list of what is known not to pass: `tests/posix/known.toml`, which the guide shows. It judges nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Where the list is, below the workspace.
pub(super) const FILE: &str = "tests/posix/known.toml";

/// A case that does not pass.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    /// Its name, without the filesystem.
    pub(super) case: String,
    /// The filesystems where it does not; a `*` at the end stands for anything.
    pub(super) on: Vec<String>,
    /// Why, in a sentence.
    pub(super) reason: String,
    /// Where that can be read: a place in the kernel's source, a manual page.
    pub(super) source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    known: Vec<Known>,
}

impl Known {
    /// Whether it speaks of this case on this filesystem.
    pub(super) fn is_about(&self, ground: &str, case: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => ground.starts_with(start),
            None => ground == pattern,
        };
        self.case == case && self.on.iter().any(matches)
    }
}

/// Reads the list.
pub(super) fn read(workspace: &Path) -> Result<Vec<Known>> {
    let text = fs::read_to_string(workspace.join(FILE)).with_context(|| format!("reading {FILE}"))?;
    parse(&text).with_context(|| format!("reading {FILE}"))
}

fn parse(text: &str) -> Result<Vec<Known>> {
    let list: List = toml::from_str(text)?;
    for known in &list.known {
        for (what, text) in [("reason", &known.reason), ("source", &known.source)] {
            ensure!(!text.trim().is_empty(), "{} has no {what}", known.case);
        }
    }
    Ok(list.known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_without_a_reason_is_refused() {
        let text = "[[known]]\ncase = 'a'\non = ['x*']\nreason = ' '\nsource = 'somewhere'\n";
        assert!(parse(text).unwrap_err().to_string().contains("a has no reason"));
        assert!(parse("[[known]]\ncase = 'a'\n").is_err());
        let list = parse(&text.replace("' '", "'why'")).unwrap();
        assert!(list[0].is_about("xy", "a") && !list[0].is_about("y", "a") && !list[0].is_about("xy", "b"));
    }

    #[test]
    fn list_of_the_workspace_can_be_read() {
        read(&crate::workspace::root().unwrap()).unwrap();
    }
}
