//! The files that tidy looks at, read once: Rust sources, the members' manifests, pages. It judges nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::source::Source;

/// Directories that are never the project's own text.
const FOREIGN: &[&str] = &["target", "corpus", "artifacts"];

/// A workspace, read.
pub(super) struct Tree {
    pub(super) root: PathBuf,
    /// The names of what lies there.
    pub(super) top: Vec<String>,
    /// Every Rust file, those of excluded packages too.
    pub(super) sources: Vec<Source>,
    /// The workspace's own manifest.
    pub(super) workspace: Manifest,
    /// The members' manifests.
    pub(super) members: Vec<Manifest>,
    /// The book's pages and those at the root.
    pub(super) pages: Vec<Page>,
}

/// A `Cargo.toml`.
pub(super) struct Manifest {
    /// Relative to the root.
    pub(super) path: String,
    pub(super) text: String,
    pub(super) table: Table,
}

/// A Markdown file.
pub(super) struct Page {
    /// Relative to the root.
    pub(super) path: String,
    pub(super) text: String,
}

impl Tree {
    /// Reads the workspace at `root`.
    pub(super) fn load(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        walk(root, &mut files)?;
        files.sort();
        let relative = |file: &Path| file.strip_prefix(root).unwrap_or(file).to_string_lossy().into_owned();

        let workspace = Manifest::read(root, "Cargo.toml")?;
        let mut members = Vec::new();
        let mut sources = Vec::new();
        let mut pages = Vec::new();
        for file in &files {
            let path = relative(file);
            if path.ends_with(".rs") {
                sources.push(Source::parse(path, read(file)?));
            } else if workspace.has_member(&path) {
                members.push(Manifest::read(root, &path)?);
            } else if path.ends_with(".md")
                && (!path.contains('/') || path.starts_with("book/src/") || path.ends_with("/README.md"))
            {
                pages.push(Page { path, text: read(file)? });
            }
        }
        Ok(Self { root: root.to_path_buf(), top: names(root)?, sources, workspace, members, pages })
    }
}

impl Manifest {
    fn read(root: &Path, path: &str) -> Result<Self> {
        let text = read(&root.join(path))?;
        let table = text.parse().with_context(|| format!("reading {path}"))?;
        Ok(Self { path: path.to_owned(), text, table })
    }

    /// The value below nested tables.
    pub(super) fn value(&self, keys: &[&str]) -> Option<&Value> {
        let (first, rest) = keys.split_first()?;
        rest.iter().try_fold(self.table.get(*first)?, |value, key| value.get(*key))
    }

    /// The package's name; empty for a workspace without one.
    pub(super) fn package(&self) -> &str {
        self.value(&["package", "name"]).and_then(Value::as_str).unwrap_or_default()
    }

    /// The directory that the manifest lies in, relative to the root.
    pub(super) fn directory(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(directory, _)| directory)
    }

    /// The line, counted from 1, that sets `key` in a table whose header satisfies `inside`; else 1.
    pub(super) fn line_of(&self, key: &str, inside: impl Fn(&str) -> bool) -> usize {
        let mut here = false;
        for (index, line) in self.text.lines().enumerate() {
            let line = line.trim();
            if let Some(header) = line.strip_prefix('[') {
                here = inside(header.trim_end_matches(']'));
                if here && header.trim_end_matches(']').ends_with(&format!(".{key}")) {
                    return index + 1;
                }
            } else if here && line.split(['=', '.', ' ']).next() == Some(key) {
                return index + 1;
            }
        }
        1
    }

    /// Whether `path` is the manifest of a member of this workspace: a literal directory, or one below `directory/*`.
    fn has_member(&self, path: &str) -> bool {
        let Some(directory) = path.strip_suffix("/Cargo.toml") else {
            return false;
        };
        let members = self.value(&["workspace", "members"]).and_then(Value::as_array);
        members.into_iter().flatten().filter_map(Value::as_str).any(|member| match member.strip_suffix("/*") {
            Some(above) => directory.rsplit_once('/').is_some_and(|(parent, _)| parent == above),
            None => directory == member,
        })
    }
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.with_context(|| format!("reading the directory {}", directory.display()))?;
    let mut names: Vec<_> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let reading = || format!("reading the directory {}", directory.display());
    for entry in fs::read_dir(directory).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let kind = entry.file_type().with_context(reading)?;
        if kind.is_dir() && !name.starts_with('.') && !FOREIGN.contains(&&*name) {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

#[cfg(test)]
pub(super) mod fixture {
    //! A made-up workspace: clean, or with one thing changed.

    use super::*;

    const CLEAN: &[(&str, &str)] = &[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"crates/*\", \"xtask\"]\n[workspace.package]\nlicense = \"MIT OR Apache-2.0\"\n\
             [workspace.dependencies]\n# The kernel's numbers.\nlibc = \"0.2\"\n# Ours.\nfusewire = { path = \"crates/fusewire\" }\n",
        ),
        ("LICENSE-MIT", "text"),
        ("LICENSE-APACHE", "text"),
        ("README.md", "See [the book](book/src/SUMMARY.md#top) and <https://example.org>.\n"),
        ("book/src/SUMMARY.md", "- [Start](start.md)\n"),
        ("book/src/start.md", "[up](../../README.md) and [here](#here)\n\n```text\n[no link](nowhere.md)\n```\n"),
        (
            "crates/fusewire/Cargo.toml",
            "[package]\nname = \"fusewire\"\nlicense.workspace = true\n[dependencies]\nlibc.workspace = true\n\
             [lints]\nworkspace = true\n",
        ),
        ("crates/fusewire/src/lib.rs", "//! The library.\n#![deny(unsafe_code)]\npub mod mount;\n"),
        ("crates/fusewire/src/mount/watcher.rs", "//! Watches.\nfn f() {\n    // SAFETY: so.\n    unsafe { g() }\n}\n"),
        (
            "crates/hellofs/Cargo.toml",
            "[package]\nname = \"hellofs\"\nlicense.workspace = true\n[dependencies]\nfusewire = { workspace = true }\n\
             [lints]\nworkspace = true\n",
        ),
        (
            "crates/hellofs/src/main.rs",
            "//! Says hello, unsafe only in words.\n#![forbid(unsafe_code)]\nfn main() {}\n",
        ),
    ];

    /// A clean tree with some files replaced or added.
    pub(in super::super) fn tree(changes: &[(&str, &str)]) -> Tree {
        let dir = tempfile::tempdir().unwrap();
        let calls = "//! Calls.\nunsafe extern \"C\" {}\n";
        let listed: Vec<_> = super::super::unsafety::UNSAFE_FILES.iter().map(|path| (*path, calls)).collect();
        for (path, text) in listed.iter().chain(CLEAN).chain(changes) {
            let file = dir.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let mut tree = Tree::load(dir.path()).unwrap();
        // Rules that look at files again (links) do so while the tree is there.
        tree.root = dir.keep();
        tree
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            if self.root.starts_with(std::env::temp_dir()) {
                fs::remove_dir_all(&self.root).unwrap();
            }
        }
    }

    /// What the rule says about a clean tree with these changes: `path:line`.
    pub(in super::super) fn places(
        rule: fn(&Tree) -> Vec<super::super::Fault>,
        changes: &[(&str, &str)],
    ) -> Vec<String> {
        rule(&tree(changes)).iter().map(|fault| format!("{}:{}", fault.path, fault.line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::tree;
    use super::*;

    #[test]
    fn members_are_what_the_workspace_lists() {
        let tree = tree(&[
            ("crates/fusewire/fuzz/Cargo.toml", "[package]\nname = \"fuzz\"\n"),
            ("xtask/Cargo.toml", "[package]\nname = \"xtask\"\n"),
            ("crates/hellofs/target/a.rs", "broken"),
        ]);
        let names: Vec<_> = tree.members.iter().map(Manifest::package).collect();
        assert_eq!(names, ["fusewire", "hellofs", "xtask"]);
        assert!(tree.sources.iter().all(|source| !source.path.contains("target")));
    }

    #[test]
    fn every_rule_holds_for_a_clean_tree() {
        let tree = tree(&[]);
        for rule in super::super::RULES {
            assert_eq!((rule.check)(&tree), [], "{}", rule.name);
        }
    }

    #[test]
    fn line_of_a_key_is_found_in_its_table() {
        let tree = tree(&[]);
        let hellofs = tree.members.iter().find(|member| member.package() == "hellofs").unwrap();
        assert_eq!(hellofs.line_of("fusewire", |header| header == "dependencies"), 5);
        assert_eq!(hellofs.line_of("fusewire", |header| header == "package"), 1);
    }
}
