//! What may lie at the root of the workspace. A file that somebody left there is committed sooner than it is seen; what is
//! below the directories is not looked at here.

use super::Fault;
use super::tree::Tree;

/// All of it. Hidden names are those of tools, and of people's editors.
const ALLOWED: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "benches",
    "book",
    "clippy.toml",
    "crates",
    "rustfmt.toml",
    "target",
    "tests",
    "xtask",
];

/// Nothing is at the root but what belongs there.
pub(super) fn top_level(tree: &Tree) -> Vec<Fault> {
    let strange = |name: &&String| !name.starts_with('.') && !ALLOWED.contains(&name.as_str());
    let fault = |name: &String| {
        Fault::new(name, 1, "no name for the root of the workspace: move or remove it, or list it in tidy/top.rs")
    };
    tree.top.iter().filter(strange).map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture::places;
    use super::*;

    #[test]
    fn top_level_fires_for_a_stray_file_and_a_stray_directory() {
        let stray = [("out.log", "words"), ("scratch/a.txt", ""), ("crates/hellofs/notes.txt", ""), (".editor/x", "")];
        assert_eq!(places(top_level, &stray), ["out.log:1", "scratch:1"]);
        assert!(places(top_level, &[]).is_empty());
    }
}
