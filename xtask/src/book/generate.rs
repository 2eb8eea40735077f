//! The pages of the protocol: one for each operation, from the table in `fusewire-proto`, its structs as compiled, and the
//! comments of its sources. What is said on other pages of the guide is not made here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use fusewire_proto::abi::{STRUCTS, Struct};
use fusewire_proto::opcode::{Answer, Enosys, LookupEffect, Row, rows};

use super::measured;
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
    let tests = files(&root.join(MOUNT_TESTS))?;
    let mut pages = BTreeMap::new();
    for row in rows() {
        pages.insert(format!("protocol/{}.md", row.method), page(row, &operations, &methods, &tests)?);
    }
    pages.insert(OVERVIEW.to_owned(), overview());
    let measured = measured::page(root)?;
    let summary = summary(&read(&root.join(PAGES).join(SUMMARY))?, measured.is_some());
    pages.insert(SUMMARY.to_owned(), summary);
    pages.extend(measured.map(|page| (measured::PAGE.to_owned(), page)));
    Ok(pages)
}

fn page(row: &Row, operations: &Comments, methods: &Comments, tests: &[(String, String)]) -> Result<String> {
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
    writeln!(out, "| opcode | {} |\n|---|---|", row.opcode.0)?;
    writeln!(out, "| since | {} |", since(row))?;
    writeln!(out, "| lookup count | {} |", lookup(row.lookup))?;
    writeln!(out, "| the answer `ENOSYS` | {} |", enosys(row.enosys))?;
    writeln!(out, "| in Rust | {} |\n", in_rust(row))?;

    writeln!(out, "## The request\n")?;
    writeln!(out, "After the header, [`fuse_in_header`](../protocol.md#the-headers), comes:\n")?;
    if wire.fixed.is_none() && wire.then.is_empty() {
        writeln!(out, "Nothing. The header says it all.\n")?;
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
    let file = tests.iter().find(|(_, text)| text.contains(&format!("fn {}()", wire.test)));
    let (place, command) = if let Some((file, _)) = file {
        let place = format!("`{}` in `{MOUNT_TESTS}/{file}`, on a real mount", wire.test);
        (place, format!("cargo test --package fusewire-tests --test operations {}", wire.test))
    } else if wire.test == "requests" {
        let place = "`crates/fusewire-proto/tests/roundtrip/requests.rs`: it is encoded and decoded; no mount on `/dev/fuse` makes it come";
        (place.to_owned(), "cargo test --package fusewire-proto --test roundtrip requests".to_owned())
    } else {
        bail!("{}: there is no test `{}` in {MOUNT_TESTS}", row.op, wire.test)
    };
    writeln!(out, "{place}:\n\n```text\n{command}\n```")?;
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
        0 => return "the beginnings of FUSE".to_owned(),
        34 => "Linux 5.14",
        37 => "Linux 6.1",
        39 => "Linux 6.6",
        45 => "Linux 6.18",
        _ => "in every kernel that Fusewire runs on",
    };
    format!("7.{} ({kernel})", row.since)
}

fn lookup(effect: LookupEffect) -> &'static str {
    match effect {
        LookupEffect::Unchanged => "unchanged",
        LookupEffect::AddsOne => "a successful answer adds one to the count of its node",
        LookupEffect::AddsOneEach => "adds one to the count of each node in the answer, except `.` and `..`",
        LookupEffect::Subtracts => "falls by the number in the request",
    }
}

fn enosys(effect: Enosys) -> &'static str {
    match effect {
        Enosys::Passed => "is passed on to the caller; the next call asks again",
        Enosys::Succeeds => "is remembered until unmounted: from then on, the call succeeds and nothing is sent",
        Enosys::Unsupported => {
            "is remembered until unmounted: from then on, the call fails as not supported and nothing is sent"
        }
        Enosys::FallsBack => "is remembered until unmounted: from then on, the kernel does it in another way",
        Enosys::Translated => "becomes another error for the caller; the next call asks again",
        Enosys::NotAnswered => "has no effect: nobody looks at the answer, or there is none",
    }
}

/// Links into the documentation of the libraries, which the built book has beside it.
fn in_rust(row: &Row) -> String {
    let proto = |module: &str, name: &str| {
        let kind = if name == "Xattr" { "enum" } else { "struct" };
        format!("[`{module}::{name}`](../api/fusewire_proto/{module}/{kind}.{name}.html)")
    };
    let method = match row.answer {
        Answer::Session => "the session answers it".to_owned(),
        _ => format!("[`Filesystem::{0}`](../api/fusewire/trait.Filesystem.html#method.{0})", row.method),
    };
    format!("{}, {}; {method}", proto("op", row.op), proto("reply", row.reply))
}

fn overview() -> String {
    let mut out = String::from(
        "# The protocol\n\n\
         <!-- Made by `cargo xtask book --generate`. Change the sources that it names, not this page. -->\n\n\
         This part of the guide is for looking things up: it has a page for each message that the kernel may send. You need it \
         to debug, to decide what a method must do, or out of curiosity; you need not read it to write a filesystem.\n\n\
         The kernel sends *requests*, and the daemon answers with *replies*, both through `/dev/fuse`. Each message is one `read` \
         or one `write` of the device, and numbers are in the byte order of the machine. The page of an operation says what it \
         is for and who sends it, which fields it has and at which offsets, what the answer looks like, what the kernel does if \
         the answer is `ENOSYS`, and which test shows it on a real mount.\n\n\
         The pages are made from the table of operations in `fusewire-proto`, the same table that the library's decoder is \
         made from, so they cannot disagree with it.\n\n\
         ## The headers\n\nEvery request begins with a `fuse_in_header`, and every reply with a `fuse_out_header`. `len` is the \
         length of the whole message, header included. `unique` is the number of the request, which the reply repeats. `error` is 0, \
         or a negative errno; a reply with an error has no body.\n\n",
    );
    for name in ["fuse_in_header", "fuse_out_header"] {
        // Both are in the list, as a test holds.
        let _ = table(&mut out, name);
    }
    out.push_str("## All operations\n\n| opcode | name | what it is for |\n|---:|---|---|\n");
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

/// The summary with the pages of the operations below that of the protocol, and the figures below what they are about.
fn summary(text: &str, measured: bool) -> String {
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.contains("](protocol/") && *line != measured::LINE) {
        out.push_str(line);
        out.push('\n');
        if measured && line.contains(measured::ABOVE) {
            let _ = writeln!(out, "{}", measured::LINE);
        }
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

fn sources(directory: &Path) -> Result<String> {
    Ok(files(directory)?.into_iter().map(|(_, text)| text).collect())
}

/// The Rust sources in a directory and below: paths from there, and texts, by path.
fn files(directory: &Path) -> Result<Vec<(String, String)>> {
    let reading = || format!("reading {}", directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path)?.into_iter().map(|(below, text)| (format!("{name}/{below}"), text)));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push((name, read(&path)?));
        }
    }
    found.sort();
    Ok(found)
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
        assert!(rows().all(|row| pages.contains_key(&format!("protocol/{}.md", row.method))));
        assert_eq!(WIRES.len(), rows().count());
        assert!(layout("fuse_in_header").is_ok() && layout("fuse_out_header").is_ok());
        assert!(REPLIES.iter().all(|form| rows().any(|row| row.reply == form.reply)));
    }

    /// "Who sends it" is what a reader of such a page asks first.
    #[test]
    fn every_page_says_who_sends_it() {
        let operations = Comments::of(&sources(&crate::workspace::root().unwrap().join(OPERATIONS)).unwrap());
        let silent = |row: &&Row| !operations.find(row.op).unwrap_or_default().contains("Sent ");
        let silent: Vec<_> = rows().filter(silent).map(|row| row.op).collect();
        assert!(silent.is_empty(), "{silent:?}");
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
