//! The pages of the protocol: one for each operation, from the table in `fusewire-proto`, its structs as compiled, and the
//! comments of its sources. What is said on other pages of the guide is not made here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use fusewire_proto::abi::{STRUCTS, Struct};
use fusewire_proto::opcode::{Answer, Enosys, LookupEffect, Row, rows};

use super::pages::{REPLIES, WIRES};

const PAGES: &str = "book/src";
const OVERVIEW: &str = "protocol.md";
const SUMMARY: &str = "SUMMARY.md";
/// Where the operations and their comments are.
pub(crate) const OPERATIONS: &str = "crates/fusewire-proto/src/op";
const TRAIT: &str = "crates/fusewire/src/filesystem.rs";
const MOUNT_TESTS: &str = "tests/tests/operations";

/// Writes the pages.
pub(crate) fn write(root: &Path) -> Result<()> {
    for (path, text) in pages(root)? {
        let file = root.join(PAGES).join(&path);
        if let Some(above) = file.parent() {
            fs::create_dir_all(above).with_context(|| format!("making {}", above.display()))?;
        }
        if fs::read_to_string(&file).ok().as_deref() != Some(&text) {
            fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
            println!("{PAGES}/{path}");
        }
    }
    Ok(())
}

/// The pages that are not as they would be made now, relative to `root`.
pub(crate) fn faults(root: &Path) -> Result<Vec<String>> {
    let stale = |(path, text): &(String, String)| {
        fs::read_to_string(root.join(PAGES).join(path)).ok().as_deref() != Some(text.as_str())
    };
    let pages: Vec<_> = pages(root)?.into_iter().collect();
    Ok(pages.iter().filter(|page| stale(page)).map(|(path, _)| format!("{PAGES}/{path}")).collect())
}

fn pages(root: &Path) -> Result<BTreeMap<String, String>> {
    let operations = Comments::of(&sources(&root.join(OPERATIONS))?);
    let methods = Comments::of(&read(&root.join(TRAIT))?);
    let tests = sources(&root.join(MOUNT_TESTS))?;
    let mut pages = BTreeMap::new();
    for row in rows() {
        pages.insert(format!("protocol/{}.md", row.method), page(row, &operations, &methods, &tests)?);
    }
    pages.insert(OVERVIEW.to_owned(), overview());
    pages.insert(SUMMARY.to_owned(), summary(&read(&root.join(PAGES).join(SUMMARY))?));
    Ok(pages)
}

fn page(row: &Row, operations: &Comments, methods: &Comments, tests: &str) -> Result<String> {
    let Some(wire) = WIRES.iter().find(|wire| wire.op == row.op) else {
        bail!("{}: no wire form in xtask/src/book/pages.rs", row.op)
    };
    let Some(reply) = REPLIES.iter().find(|form| form.reply == row.reply) else {
        bail!("{}: no form of the reply {} in xtask/src/book/pages.rs", row.op, row.reply)
    };
    let mut out = String::new();
    writeln!(out, "# {}\n", row.kernel_name)?;
    writeln!(
        out,
        "<!-- Made by `cargo xtask book --generate`. Change the sources that it names, not this page. -->\n"
    )?;
    let comment = operations.find(row.op).with_context(|| format!("{}: no comment", row.op))?;
    writeln!(out, "{comment}\n")?;
    writeln!(out, "| | |\n|---|---|")?;
    writeln!(out, "| opcode | {} |", row.opcode.0)?;
    writeln!(out, "| since | {} |", since(row))?;
    writeln!(out, "| lookup count | {} |", lookup(row.lookup))?;
    writeln!(out, "| `ENOSYS` | {} |", enosys(row.enosys))?;
    writeln!(out, "| in Rust | {} |\n", in_rust(row))?;

    writeln!(out, "## The request\n")?;
    writeln!(out, "Behind the header, [`fuse_in_header`](../protocol.md#the-headers):\n")?;
    if wire.fixed.is_none() && wire.then.is_empty() {
        writeln!(out, "Nothing: the header says it all.\n")?;
    }
    if let Some(name) = wire.fixed {
        table(&mut out, name)?;
    }
    for (part, number) in wire.then.iter().zip(1..) {
        writeln!(out, "{number}. {part}")?;
    }
    if !wire.then.is_empty() {
        out.push('\n');
    }
    writeln!(out, "## The answer\n\n{}\n", reply.words)?;
    for name in reply.structs {
        table(&mut out, name)?;
    }
    if let Some(comment) = methods.find(&format!("fn {}(", row.method)).filter(|_| row.answer != Answer::Session) {
        // The first line is the operation's own sentence once more.
        let rest = comment.split_once("\n\n").map_or("", |(_, rest)| rest);
        let rest = rest.split("# Errors").next().unwrap_or_default().trim();
        if !rest.is_empty() {
            writeln!(out, "## The method\n\n{rest}\n")?;
        }
    }
    writeln!(out, "## The test\n")?;
    let place = if tests.contains(&format!("fn {}()", wire.test)) {
        format!("`{}` in `{MOUNT_TESTS}`, on a real mount", wire.test)
    } else if wire.test == "requests" {
        "`crates/fusewire-proto/tests/roundtrip`: it is encoded and decoded; no mount on `/dev/fuse` makes it come"
            .to_owned()
    } else {
        bail!("{}: there is no test `{}` in {MOUNT_TESTS}", row.op, wire.test)
    };
    writeln!(out, "{place}.")?;
    Ok(out)
}

fn table(out: &mut String, name: &str) -> Result<()> {
    let layout = layout(name)?;
    writeln!(out, "`{name}`, {} bytes:\n\n| offset | field | type |\n|---:|---|---|", layout.size)?;
    for field in layout.fields {
        writeln!(out, "| {} | `{}` | `{}` |", field.offset, field.name.trim_start_matches("r#"), field.type_name)?;
    }
    out.push('\n');
    Ok(())
}

fn layout(name: &str) -> Result<&'static Struct> {
    STRUCTS.iter().find(|layout| layout.name == name).with_context(|| format!("there is no struct {name}"))
}

fn since(row: &Row) -> String {
    // Those that came before the oldest minor that is accepted are always there.
    let kernel = match row.since {
        0 => return "the beginning".to_owned(),
        34 => "Linux 5.14",
        37 => "Linux 6.1",
        39 => "Linux 6.6",
        45 => "Linux 6.18",
        _ => "in every kernel that Fusewire accepts",
    };
    format!("7.{} ({kernel})", row.since)
}

fn lookup(effect: LookupEffect) -> &'static str {
    match effect {
        LookupEffect::Unchanged => "unchanged",
        LookupEffect::AddsOne => "a good answer adds one to the count of its node",
        LookupEffect::AddsOneEach => "adds one to the count of each node that is answered, `.` and `..` excepted",
        LookupEffect::Subtracts => "the request says by how much it falls",
    }
}

fn enosys(effect: Enosys) -> &'static str {
    match effect {
        Enosys::Passed => "the caller sees it; the next one asks again",
        Enosys::Succeeds => "remembered for the connection: from then on it succeeds without being asked",
        Enosys::Unsupported => {
            "remembered for the connection: from then on it fails without being asked, as not supported"
        }
        Enosys::FallsBack => "remembered for the connection: the kernel does it in another way",
        Enosys::Translated => "the caller sees another error; the next one asks again",
        Enosys::NotAnswered => "nobody looks at the answer, or there is none",
    }
}

fn in_rust(row: &Row) -> String {
    let method = match row.answer {
        Answer::Session => "the session answers it".to_owned(),
        _ => format!("`Filesystem::{}`", row.method),
    };
    format!("`op::{}`, `reply::{}`; {method}", row.op, row.reply)
}

fn overview() -> String {
    let mut out = String::from(
        "# The protocol\n\n\
         <!-- Made by `cargo xtask book --generate`. Change the sources that it names, not this page. -->\n\n\
         The kernel writes *requests*, the daemon answers with *replies*, both through `/dev/fuse`. A message is one `read` or \
         one `write`. Numbers are in the byte order of the machine. There is a page for each operation: who sends it, its \
         fields with their offsets, the answer, and what the kernel does if the answer is `ENOSYS`. The pages are made from the \
         table of operations in `fusewire-proto`, from which the library's decoder is made, too.\n\n\
         ## The headers\n\nEvery request begins with `fuse_in_header`, every reply with `fuse_out_header`. `len` counts the \
         header, too. `unique` is the number of the request, which the reply repeats. `error` is 0 or a negative errno; a reply \
         with an error has no body.\n\n",
    );
    for name in ["fuse_in_header", "fuse_out_header"] {
        // Both are in the list, as a test holds.
        let _ = table(&mut out, name);
    }
    out.push_str("## All operations\n\n| opcode | name | what it asks for |\n|---:|---|---|\n");
    for row in rows() {
        let _ = writeln!(
            out,
            "| {} | [{}](protocol/{}.md) | {} |",
            row.opcode.0,
            row.kernel_name,
            row.method,
            row.doc.trim_end_matches('.')
        );
    }
    out
}

/// The summary with the pages of the operations below that of the protocol.
fn summary(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.contains("](protocol/")) {
        out.push_str(line);
        out.push('\n');
        if line.contains(&format!("]({OVERVIEW})")) {
            for row in rows() {
                let _ = writeln!(out, "  - [{}](protocol/{}.md)", row.kernel_name, row.method);
            }
        }
    }
    out
}

/// The doc comments of a source, by the line below them.
struct Comments(Vec<(String, String)>);

impl Comments {
    fn of(text: &str) -> Self {
        let mut found = Vec::new();
        let mut comment: Vec<&str> = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some(words) = line.strip_prefix("///") {
                comment.push(words.strip_prefix(' ').unwrap_or(words));
            } else if !line.starts_with("#[") {
                if !comment.is_empty() {
                    found.push((line.to_owned(), comment.join("\n")));
                }
                comment.clear();
            }
        }
        Self(found)
    }

    /// The comment above the declaration of `name`: a method's beginning, or a struct, also within a macro.
    fn find(&self, name: &str) -> Option<String> {
        let declares = |line: &str| {
            let line = line.strip_prefix("pub struct ").unwrap_or(line);
            line.strip_prefix(name).is_some_and(|rest| {
                name.ends_with('(') || rest.starts_with([' ', '<', ',', ';']) && line.ends_with(['{', ';'])
            })
        };
        self.0.iter().find(|(line, _)| declares(line)).map(|(_, comment)| plain_links(comment))
    }
}

/// Rustdoc's links by name, as plain code: there is no page for them here.
fn plain_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((name, tail)) = after.split_once("`]") else { break };
        out.push_str(before);
        let _ = write!(out, "`{name}`");
        rest = match tail.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, tail)) => tail,
            None => tail,
        };
    }
    out.push_str(rest);
    out
}

/// What all the Rust files below a directory hold, in the order of their paths.
fn sources(directory: &Path) -> Result<String> {
    let reading = || format!("reading {}", directory.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).with_context(reading)? {
        paths.push(entry.with_context(reading)?.path());
    }
    paths.sort();
    let mut text = String::new();
    for path in paths {
        if path.is_dir() {
            text += &sources(&path)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            text += &read(&path)?;
        }
    }
    Ok(text)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_page_and_every_struct_a_layout() {
        let pages = pages(&crate::workspace::root().unwrap()).unwrap();
        assert_eq!(pages.len(), rows().count() + 2);
        assert_eq!(WIRES.len(), rows().count());
        assert!(layout("fuse_in_header").is_ok() && layout("fuse_out_header").is_ok());
        assert!(REPLIES.iter().all(|form| rows().any(|row| row.reply == form.reply)));
    }

    #[test]
    fn generated_pages_are_fresh() {
        let stale = faults(&crate::workspace::root().unwrap()).unwrap();
        assert!(stale.is_empty(), "run cargo xtask book --generate: {stale:?}");
    }

    #[test]
    fn comments_are_found_by_what_they_stand_above() {
        let comments = Comments::of(
            "operation! {\n    /// Looks up. See [`x`](a::x).\n    Lookup<'a> = LOOKUP {\n/// One.\n#[derive()]\npub struct Write<'a> {\n/// Two.\nfn read(&self)",
        );
        assert_eq!(comments.find("Lookup").unwrap(), "Looks up. See `x`.");
        assert_eq!(comments.find("Write").unwrap(), "One.");
        assert_eq!(comments.find("fn read(").unwrap(), "Two.");
        assert_eq!(comments.find("Look"), None);
    }
}
