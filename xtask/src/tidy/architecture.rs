//! The invariants of the architecture that show in source text: `mount` and `session` do not know each other, the
//! protocol does no I/O. Crate edges are a rule about manifests.

use super::Fault;
use super::source::Source;
use super::tree::Tree;

const LIBRARY: &str = "crates/fusewire/src/";
const PROTOCOL: &str = "crates/fusewire-proto/src/";
/// Modules of `std` that touch the world outside of the process, or its clock.
const WORLD: &[&str] = &["env", "fs", "io", "net", "os", "process", "thread", "time"];

/// In `fusewire`, `mount` and `session` meet in an `OwnedFd` only.
pub(super) fn mount_and_session(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (from, to) in [("mount", "session"), ("session", "mount")] {
        for source in tree.sources.iter().filter(|source| is_module(&source.path, LIBRARY, from)) {
            for index in source.find(to) {
                // A path's piece, not a variable: `::session`, or `session::` in a group of imports.
                let after = index.checked_sub(1).is_some_and(|before| source.text_at(before) == ":");
                let before = source.text_at(index + 1) == ":" && source.text_at(index + 2) == ":";
                if let Some(token) = source.token(index).filter(|_| after || before) {
                    let message = format!("`{from}` must not know `{to}`: they meet in an `OwnedFd`");
                    faults.push(Fault::new(&source.path, token.line, message));
                }
            }
        }
    }
    faults
}

/// The protocol does no I/O and reads no clock; what is there for `std`'s types alone is behind the feature.
pub(super) fn proto_without_io(tree: &Tree) -> Vec<Fault> {
    let sources: Vec<_> = tree.sources.iter().filter(|source| source.path.starts_with(PROTOCOL)).collect();
    let conditional: Vec<_> = sources.iter().flat_map(|source| conditional_modules(source)).collect();
    let mut faults = Vec::new();
    for source in sources {
        let whole = |module: &String| is_module(&source.path, PROTOCOL, module);
        if conditional.iter().any(whole) {
            continue;
        }
        for index in source.find("std : :") {
            let Some(token) = source.token(index).filter(|token| !token.conditional) else {
                continue;
            };
            if let Some(module) = imported(source, index + 3).into_iter().find(|module| WORLD.contains(module)) {
                let message = format!("`std::{module}` in the protocol: it does no I/O and reads no clock");
                faults.push(Fault::new(&source.path, token.line, message));
            }
        }
    }
    faults
}

/// Whether `path` is the file of a module right below `sources`, or of one inside it.
fn is_module(path: &str, sources: &str, module: &str) -> bool {
    let rest = path.strip_prefix(sources).and_then(|rest| rest.strip_prefix(module));
    rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Modules that a file declares below a condition: `#[cfg(...)] mod name;`.
fn conditional_modules(source: &Source) -> Vec<String> {
    let declared = source.find("mod").into_iter().filter(|index| {
        source.token(*index).is_some_and(|token| token.conditional) && source.text_at(index + 2) == ";"
    });
    declared.map(|index| source.text_at(index + 1).to_owned()).collect()
}

/// The first pieces of the path, or of each path of the group, that begins at `index`.
fn imported(source: &Source, index: usize) -> Vec<&str> {
    if source.text_at(index) != "{" {
        return vec![source.text_at(index)];
    }
    let mut pieces = Vec::new();
    let mut depth = 1_usize;
    let mut at = index + 1;
    let mut fresh = true;
    while depth > 0 && source.token(at).is_some() {
        match source.text_at(at) {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => fresh = true,
            piece if depth == 1 && fresh => {
                pieces.push(piece);
                fresh = false;
            }
            _ => {}
        }
        at += 1;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture::places;
    use super::*;

    #[test]
    fn mount_and_session_fires_on_paths_both_ways() {
        let mount = "crates/fusewire/src/mount/direct.rs";
        let session = "crates/fusewire/src/session.rs";
        let found = places(
            mount_and_session,
            &[
                (mount, "//! A.\nuse crate::session::Session;\nuse crate::{errno, session::X};\n"),
                (session, "//! A.\nuse super::mount;\n"),
            ],
        );
        assert_eq!(found, [format!("{mount}:2"), format!("{mount}:3"), format!("{session}:2")]);
    }

    #[test]
    fn mount_and_session_leaves_words_and_variables_alone() {
        let mount = "crates/fusewire/src/mount/direct.rs";
        let text = "//! Not crate::session.\nfn f(session: u8) { let mount = session; g(session) }\n";
        let lib = ("crates/fusewire/src/lib.rs", "//! A.\nuse crate::session::A;\nuse crate::mount::B;\n");
        assert!(places(mount_and_session, &[(mount, text), lib]).is_empty());
    }

    #[test]
    fn proto_without_io_fires_on_each_world_module() {
        let file = "crates/fusewire-proto/src/op.rs";
        let text = "//! A.\nuse std::fs::File;\nuse std::{ffi::OsStr, time};\nfn f() { std::thread::yield_now(); }\n";
        assert_eq!(places(proto_without_io, &[(file, text)]), [2, 3, 4].map(|line| format!("{file}:{line}")));
    }

    #[test]
    fn proto_without_io_allows_what_the_feature_and_tests_bring() {
        let file = "crates/fusewire-proto/src/op.rs";
        let text = "//! A, not std::io.\nuse core::time::Duration;\nuse std::ffi::OsStr;\n\
                    #[cfg(feature = \"std\")]\nimpl From<std::io::Error> for E {}\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        let lib = ("crates/fusewire-proto/src/lib.rs", "//! A.\n#[cfg(feature = \"std\")]\nmod host;\n");
        let host = ("crates/fusewire-proto/src/host.rs", "//! A.\nuse std::io;\n");
        assert!(places(proto_without_io, &[(file, text), lib, host]).is_empty());
        let open = ("crates/fusewire-proto/src/lib.rs", "//! A.\nmod host;\n");
        assert_eq!(places(proto_without_io, &[open, host]), ["crates/fusewire-proto/src/host.rs:2"]);
    }
}
