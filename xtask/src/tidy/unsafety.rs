//! Rules about `unsafe`: it lives in a short list of files, and every crate that needs none forbids it. Whether a block
//! is right is for its `// SAFETY:` comment and its reader.

use super::Fault;
use super::tree::Tree;

/// The files that may say `unsafe`. A file that no longer does must leave the list.
pub(super) const UNSAFE_FILES: &[&str] = &[
    "crates/fusewire/src/backing.rs",
    "crates/fusewire/src/inode_handle.rs",
    "crates/fusewire/src/mount/device.rs",
    "crates/fusewire/src/mount/watcher.rs",
    "crates/fusewire/src/transport/ring/entry.rs",
    "crates/fusewire/src/transport/ring/submit.rs",
    "crates/fusewire/src/transport/schedule.rs",
    "crates/fusewire-launch/src/daemonize.rs",
    "crates/fusewire-launch/src/memory.rs",
    "tests/tests/operations/raw.rs",
];

/// The only members that may leave out `#![forbid(unsafe_code)]`: they deny instead, for the listed files.
const UNSAFE_CRATES: &[&str] = &["fusewire", "fusewire-launch"];

/// `unsafe` only in listed files, and in each of them.
pub(super) fn unsafe_list(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in &tree.sources {
        let found = source.find("unsafe");
        let listed = UNSAFE_FILES.contains(&source.path.as_str());
        if listed && found.is_empty() {
            faults.push(Fault::new(&source.path, 1, "listed as unsafe, but has none: take it off tidy's list"));
        }
        if !listed {
            let tokens = found.into_iter().filter_map(|index| source.token(index));
            faults
                .extend(tokens.map(|token| {
                    Fault::new(&source.path, token.line, "`unsafe` in a file that is not on tidy's list")
                }));
        }
    }
    for path in UNSAFE_FILES {
        if !tree.sources.iter().any(|source| source.path == *path) {
            faults.push(Fault::new(*path, 1, "listed as unsafe, but does not exist: take it off tidy's list"));
        }
    }
    faults
}

/// Every crate root has `#![forbid(unsafe_code)]`, but for the crates with unsafe files.
pub(super) fn forbid_unsafe(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for member in tree.members.iter().filter(|member| !UNSAFE_CRATES.contains(&member.package())) {
        let directory = member.directory();
        for source in &tree.sources {
            let inside = source.path.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/'));
            if inside.is_some_and(is_root) && source.find("# ! [ forbid ( unsafe_code ) ]").is_empty() {
                faults.push(Fault::new(&source.path, 1, "the crate root needs `#![forbid(unsafe_code)]`"));
            }
        }
    }
    faults
}

fn is_root(path: &str) -> bool {
    let binary = path.strip_prefix("src/bin/").is_some_and(|rest| !rest.contains('/'));
    binary || matches!(path, "src/lib.rs" | "src/main.rs" | "build.rs")
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture::places;
    use super::*;

    #[test]
    fn unsafe_list_fires_on_an_unlisted_file_but_not_on_words() {
        let file = "crates/fusewire/src/a.rs";
        let text = "//! A, unsafe.\nconst A: &str = \"unsafe\";\nfn f() { unsafe { g() } }\nunsafe fn g() {}\n";
        assert_eq!(places(unsafe_list, &[(file, text)]), [format!("{file}:3"), format!("{file}:4")]);
        assert!(places(unsafe_list, &[(file, "//! A, unsafe.\n#![deny(unsafe_code)]\n")]).is_empty());
    }

    #[test]
    fn unsafe_list_fires_on_a_listed_file_that_needs_it_no_more() {
        let file = UNSAFE_FILES[0];
        assert_eq!(places(unsafe_list, &[(file, "//! Calm.\n")]), [format!("{file}:1")]);
    }

    #[test]
    fn unsafe_list_fires_on_a_listed_file_that_is_gone() {
        let mut tree = super::super::tree::fixture::tree(&[]);
        tree.sources.retain(|source| source.path != UNSAFE_FILES[1]);
        let [fault] = &unsafe_list(&tree)[..] else { panic!("one fault") };
        assert_eq!(fault.path, UNSAFE_FILES[1]);
    }

    #[test]
    fn forbid_unsafe_fires_on_roots_of_libraries_and_binaries() {
        let main = "crates/hellofs/src/main.rs";
        let binary = "crates/hellofs/src/bin/b.rs";
        let weaker = "//! A.\n#![deny(unsafe_code)]\n// #![forbid(unsafe_code)]\n";
        let module = ("crates/hellofs/src/c.rs", "//! A.\n");
        let found = places(forbid_unsafe, &[(main, weaker), (binary, "//! A.\n"), module]);
        assert_eq!(found, [format!("{binary}:1"), format!("{main}:1")]);
        assert!(places(forbid_unsafe, &[module]).is_empty());
    }
}
