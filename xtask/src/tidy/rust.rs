//! Rules for every Rust file by itself: docs, length, words that have no place. Rules between files are elsewhere.

use super::source::Source;
use super::tree::Tree;
use super::{Fault, Gravity};

/// More lines than this fail.
const MOST_LINES: usize = 900;
/// More lines than this are shown.
const MANY_LINES: usize = 600;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helpers", "misc"];
/// Words in comments that put work off. Spelt apart, so that this file passes its own rule.
const LATER_WORDS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// Macros that mark unfinished work.
const LATER_MACROS: &[&str] = &["todo !", "unimplemented !", "dbg !"];

/// A file that cannot be read as Rust cannot be checked.
pub(super) fn syntax(tree: &Tree) -> Vec<Fault> {
    let broken = |source: &Source| {
        let (line, what) = source.broken.as_ref()?;
        Some(Fault::new(&source.path, *line, format!("not Rust: {what}")))
    };
    tree.sources.iter().filter_map(broken).collect()
}

/// Every file begins with `//!`.
pub(super) fn module_docs(tree: &Tree) -> Vec<Fault> {
    let bare = |source: &&Source| !source.text.starts_with("//!");
    let fault = |source: &Source| Fault::new(&source.path, 1, "the file must begin with `//!`: what it is for");
    tree.sources.iter().filter(bare).map(fault).collect()
}

/// Over 600 lines is a warning, over 900 fails.
pub(super) fn file_length(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in &tree.sources {
        let lines = source.text.lines().count();
        if lines > MANY_LINES {
            let message = format!("{lines} lines; {MANY_LINES} is a smell, {MOST_LINES} the limit");
            let fault = Fault::new(&source.path, lines, message);
            faults.push(if lines > MOST_LINES { fault } else { fault.warning() });
        }
    }
    faults.sort_by_key(|fault| fault.gravity == Gravity::Warning);
    faults
}

/// No comment and no macro puts work off.
pub(super) fn no_todo(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in &tree.sources {
        for comment in &source.comments {
            for (index, line) in comment.text.lines().enumerate() {
                let mut words = line.split(|character: char| !character.is_alphanumeric() && character != '_');
                if let Some(word) = words.find(|word| LATER_WORDS.contains(word)) {
                    faults.push(Fault::new(
                        &source.path,
                        comment.line + index,
                        format!("`{word}` in a comment: do it or file it"),
                    ));
                }
            }
        }
        for later in LATER_MACROS {
            faults.extend(at_each(source, later, &format!("`{}` has no place in a commit", later.replace(' ', ""))));
        }
    }
    faults
}

/// `#[expect]` and not `#[allow]`: an expectation that is no longer met is told. A macro whose expansions differ may
/// allow right below an `#[expect(clippy::allow_attributes, reason = "...")]`, which says why.
pub(super) fn no_allow(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in &tree.sources {
        for index in source.find("allow (") {
            let Some(token) = source.token(index).filter(|token| token.in_attribute) else { continue };
            if !is_explained(source, index) {
                let message = "use `#[expect(lint, reason = \"...\")]`, not `allow`";
                faults.push(Fault::new(&source.path, token.line, message));
            }
        }
    }
    faults
}

/// Whether the attribute before the one that begins with the token at `index` expects `clippy::allow_attributes`.
fn is_explained(source: &Source, index: usize) -> bool {
    let before = source.tokens.get(..index.saturating_sub(2)).unwrap_or_default();
    let attribute = before.iter().rev().take_while(|token| token.in_attribute && token.text != "[");
    let mut words = attribute.map(|token| token.text.as_str());
    words.next() == Some("]") && words.any(|word| word == "allow_attributes")
}

/// No test is ignored, and no example in the docs.
pub(super) fn no_ignore(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in &tree.sources {
        for pattern in ["[ ignore", ", ignore"] {
            for index in source.find(pattern) {
                if let Some(token) = source.token(index + 1).filter(|token| token.in_attribute) {
                    faults.push(Fault::new(&source.path, token.line, "an ignored test is a silent skip"));
                }
            }
        }
        for comment in &source.comments {
            for (index, line) in comment.text.lines().enumerate() {
                let fence = line.trim_start_matches(['/', '!', '*', ' ']).strip_prefix("```");
                if fence.is_some_and(|words| words.split([',', ' ']).any(|word| word == "ignore")) {
                    faults.push(Fault::new(
                        &source.path,
                        comment.line + index,
                        "an ignored example: use `no_run` or `text`",
                    ));
                }
            }
        }
    }
    faults
}

/// No file and no module with a name that says nothing.
pub(super) fn no_utils(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in &tree.sources {
        let mut parts = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
        if let Some(name) = parts.find(|part| EMPTY_NAMES.contains(part)) {
            faults.push(Fault::new(&source.path, 1, format!("`{name}` does not say what is inside")));
        }
        for name in EMPTY_NAMES {
            for end in [";", "{"] {
                faults.extend(at_each(
                    source,
                    &format!("mod {name} {end}"),
                    &format!("module `{name}` does not say what is inside"),
                ));
            }
        }
    }
    faults
}

/// The docs of a public trait of a library show it implemented or used. Whether that compiles, the tests of docs find out.
pub(super) fn trait_examples(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in
        tree.sources.iter().filter(|source| source.path.starts_with("crates/") && source.path.contains("/src/"))
    {
        let mut shown = false;
        for (index, line) in source.text.lines().map(str::trim_start).enumerate() {
            if let Some(name) = line.strip_prefix("pub trait ").filter(|_| !shown) {
                let name = name.split(|end: char| !end.is_alphanumeric() && end != '_').next().unwrap_or_default();
                let message = format!("the docs of the trait `{name}` have no example");
                faults.push(Fault::new(&source.path, index + 1, message));
            }
            // Docs and attributes belong to what follows.
            shown = (shown && (line.starts_with("///") || line.starts_with("#["))) || line.starts_with("/// ```");
        }
    }
    faults
}

fn at_each(source: &Source, pattern: &str, message: &str) -> Vec<Fault> {
    let found = source.find(pattern);
    let tokens = found.into_iter().filter_map(|index| source.token(index));
    tokens.map(|token| Fault::new(&source.path, token.line, message)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture::{places, tree};
    use super::*;

    const FILE: &str = "crates/hellofs/src/a.rs";

    fn at(line: usize) -> String {
        format!("{FILE}:{line}")
    }

    #[test]
    fn syntax_fires_on_an_open_brace() {
        assert_eq!(places(syntax, &[(FILE, "//! A.\nfn f() {\n")]).len(), 1);
        assert!(places(syntax, &[]).is_empty());
    }

    #[test]
    fn module_docs_fires_without_them_also_in_tests_and_benches() {
        let bench = "crates/hellofs/benches/b.rs";
        let found = places(module_docs, &[(FILE, "// no\n"), (bench, "fn main() {}\n")]);
        assert_eq!(found, [format!("{bench}:1"), at(1)]);
        assert!(places(module_docs, &[]).is_empty());
    }

    #[test]
    fn file_length_warns_over_600_and_fails_over_900() {
        let lines = |count: usize| format!("//! A.\n{}", "\n".repeat(count - 1));
        let gravity = |count| file_length(&tree(&[(FILE, &lines(count))])).first().map(|fault| fault.gravity);
        assert_eq!(gravity(600), None);
        assert_eq!(gravity(601), Some(Gravity::Warning));
        assert_eq!(gravity(900), Some(Gravity::Warning));
        assert_eq!(gravity(901), Some(Gravity::Error));
    }

    #[test]
    fn no_todo_fires_in_comments_and_macros_but_not_in_strings() {
        let word = LATER_WORDS[0];
        let text = format!(
            "//! A.\n/// One.\n/// {word}: two.\nfn f() {{\n    // {word} x\n    todo!();\n    dbg!(\"{word}\");\n    unimplemented!()\n}}\n"
        );
        assert_eq!(places(no_todo, &[(FILE, &text)]), [at(3), at(5), at(6), at(8), at(7)]);
        let clean = format!("//! A.\nconst A: &str = \"{word}\";\nfn todo() {{}}\n");
        assert!(places(no_todo, &[(FILE, &clean)]).is_empty());
    }

    #[test]
    fn no_allow_fires_on_attributes_of_every_form() {
        let text = "//! A.\n#![allow(dead_code)]\n#[allow(x)]\nfn f() {}\n#[cfg_attr(test, allow(y))]\nfn g() {}\n";
        assert_eq!(places(no_allow, &[(FILE, text)]), [at(2), at(3), at(5)]);
        let clean = "//! A.\n#[expect(x, reason = \"r\")]\nfn allow() { allow(); }\n// #[allow(x)]\n\
                     #[expect(clippy::allow_attributes, reason = \"r\")]\n#[allow(x, reason = \"r\")]\nfn f() {}\n";
        assert!(places(no_allow, &[(FILE, clean)]).is_empty());
    }

    #[test]
    fn no_ignore_fires_on_tests_and_examples() {
        let text = "//! A.\n//! ```ignore\n//! ```\n#[ignore]\nfn f() {}\n#[ignore = \"slow\"]\nfn g() {}\n#[cfg_attr(x, ignore)]\nfn h() {}\n";
        assert_eq!(places(no_ignore, &[(FILE, text)]), [at(4), at(6), at(8), at(2)]);
        let clean = "//! A.\n//! ```no_run\n//! ```\n#[test]\nfn ignore() {}\n";
        assert!(places(no_ignore, &[(FILE, clean)]).is_empty());
    }

    #[test]
    fn trait_examples_fires_on_a_public_trait_without_one() {
        let text = "//! A.\n/// One.\npub trait One {}\n/// Two.\n/// ```\n/// ```\n#[x]\npub trait Two<T> {}\npub trait Three {}\n\
                    trait Private {}\n";
        assert_eq!(places(trait_examples, &[(FILE, text)]), [at(3), at(9)]);
        assert!(places(trait_examples, &[("xtask/src/x.rs", text)]).is_empty());
    }

    #[test]
    fn no_utils_fires_on_files_and_modules() {
        let file = "crates/hellofs/src/utils.rs";
        let found = places(no_utils, &[(file, "//! A.\n"), (FILE, "//! A.\nmod common {}\nmod helpers;\n")]);
        assert_eq!(found, [at(2), at(3), format!("{file}:1")]);
        assert!(places(no_utils, &[(FILE, "//! A.\nmod commonplace;\n")]).is_empty());
    }
}
