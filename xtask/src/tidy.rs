//! `cargo xtask tidy`: the rules of the house that no compiler knows. Each rule is a row of [`RULES`] and a function
//! over the [`Tree`]; every fault is reported as `file:line: rule: message`. It mends nothing.

mod architecture;
mod generated;
mod links;
mod manifests;
mod rust;
mod source;
mod top;
mod tree;
mod unsafety;

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;

use crate::workspace;
use tree::Tree;

/// Flags of `cargo xtask tidy`.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// A rule, as data.
struct Rule {
    name: &'static str,
    check: fn(&Tree) -> Vec<Fault>,
}

const RULES: &[Rule] = &[
    Rule { name: "syntax", check: rust::syntax },
    Rule { name: "module-docs", check: rust::module_docs },
    Rule { name: "file-length", check: rust::file_length },
    Rule { name: "no-todo", check: rust::no_todo },
    Rule { name: "no-allow", check: rust::no_allow },
    Rule { name: "no-ignore", check: rust::no_ignore },
    Rule { name: "no-utils", check: rust::no_utils },
    Rule { name: "trait-examples", check: rust::trait_examples },
    Rule { name: "unsafe-list", check: unsafety::unsafe_list },
    Rule { name: "forbid-unsafe", check: unsafety::forbid_unsafe },
    Rule { name: "crate-edges", check: manifests::crate_edges },
    Rule { name: "dependency-keys", check: manifests::dependency_keys },
    Rule { name: "dependency-reasons", check: manifests::dependency_reasons },
    Rule { name: "inherited-lints", check: manifests::inherited_lints },
    Rule { name: "licences", check: manifests::licences },
    Rule { name: "mount-and-session", check: architecture::mount_and_session },
    Rule { name: "proto-without-io", check: architecture::proto_without_io },
    Rule { name: "top-level", check: top::top_level },
    Rule { name: "generated-pages", check: generated::generated },
    Rule { name: "links", check: links::links },
];

/// Something that breaks a rule, or is close to it.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    path: String,
    /// Counted from 1.
    line: usize,
    message: String,
    gravity: Gravity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gravity {
    Error,
    /// Shown, but nothing fails.
    Warning,
}

impl Fault {
    fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line, message: message.into(), gravity: Gravity::Error }
    }

    fn warning(self) -> Self {
        Self { gravity: Gravity::Warning, ..self }
    }
}

/// A fault together with the rule's name, as it is printed.
struct Line<'a>(&'a str, &'a Fault);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(rule, Fault { path, line, message, gravity }) = self;
        let word = if *gravity == Gravity::Warning { "warning: " } else { "" };
        write!(f, "{path}:{line}: {rule}: {word}{message}")
    }
}

/// Runs the command. The exit status is 1 when a rule is broken.
pub(crate) fn run(_: &Args) -> Result<ExitCode> {
    let tree = Tree::load(&workspace::root()?)?;
    let mut broken = 0_usize;
    for rule in RULES {
        for fault in (rule.check)(&tree) {
            println!("{}", Line(rule.name, &fault));
            broken += usize::from(fault.gravity == Gravity::Error);
        }
    }
    if broken > 0 {
        eprintln!("error: tidy: {broken} faults");
        return Ok(ExitCode::FAILURE);
    }
    println!("tidy: {} rules hold for {} Rust files", RULES.len(), tree.sources.len());
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_is_printed_with_file_line_and_rule() {
        let fault = Fault::new("src/a.rs", 7, "too long");
        assert_eq!(Line("file-length", &fault).to_string(), "src/a.rs:7: file-length: too long");
        let fault = fault.warning();
        assert_eq!(Line("file-length", &fault).to_string(), "src/a.rs:7: file-length: warning: too long");
    }

    #[test]
    fn names_of_rules_are_unique() {
        let mut names: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
    }
}
