//! The first program of the guide: a directory with one file in it.
// ANCHOR: all
#![forbid(unsafe_code)]

// ANCHOR: head
use std::process::ExitCode;
use std::time::Duration;

use fusewire::reply::Dirent;
use fusewire::{Attr, Context, Errno, FileType, Filesystem, Name, NodeId, op, reply, sink};
use fusewire_launch::{Command, run};

/// Our only file: its name, the node id that we give it, and what is in it.
const NAME: &str = "hello.txt";
const FILE: NodeId = NodeId(2);
const TEXT: &str = "Hello from my own filesystem!\n";

/// How long the kernel may believe our answers: for ever, since nothing ever changes here.
const FOREVER: Duration = Duration::MAX;
// ANCHOR_END: head

// ANCHOR: main
fn main() -> ExitCode {
    let command = Command::new("firstfs", env!("CARGO_PKG_VERSION")).about("Shows one file");
    run(command, |_| Ok(Hello))
}
// ANCHOR_END: main

// ANCHOR: attr
struct Hello;

/// The attributes of a node, as `stat` shows them. Everything that is not set here is 0.
fn attr(node: NodeId) -> Result<Attr, Errno> {
    match node {
        NodeId::ROOT => Ok(Attr::new(1, FileType::DIRECTORY, 0o755)),
        FILE => {
            let mut attr = Attr::new(2, FileType::REGULAR, 0o444);
            attr.size = TEXT.len() as u64;
            Ok(attr)
        }
        _ => Err(Errno::ENOENT),
    }
}
// ANCHOR_END: attr

impl Filesystem for Hello {
    // ANCHOR: getattr
    /// Asked by `stat`, `ls -l` and many others: what kind of file is it, how large, whose?
    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        Ok(reply::Attributes::new(attr(op.node)?, FOREVER))
    }
    // ANCHOR_END: getattr

    // ANCHOR: lookup
    /// Asked for each part of a path: is there a file of this name in this directory?
    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        if op.parent == NodeId::ROOT && op.name.as_bytes() == NAME.as_bytes() {
            Ok(reply::Entry::new(FILE, attr(FILE)?, FOREVER))
        } else {
            Err(Errno::ENOENT)
        }
    }
    // ANCHOR_END: lookup

    // ANCHOR: readdir
    /// Asked by `ls`: what is in this directory, behind the entry with the offset `op.offset`?
    fn readdir(&self, _: &Context<'_>, op: op::Readdir, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
        let entries = [
            (NodeId::ROOT, FileType::DIRECTORY, "."),
            (NodeId::ROOT, FileType::DIRECTORY, ".."),
            (FILE, FileType::REGULAR, NAME),
        ];
        for ((node, kind, name), offset) in entries.into_iter().zip(1..) {
            let name = Name::new(name.as_bytes()).map_err(|_| Errno::EINVAL)?;
            if offset > op.offset && out.push(&Dirent::new(node.0, offset, kind, name)).is_err() {
                break; // no room: the kernel will ask again, with the offset of the last entry that it got
            }
        }
        Ok(())
    }
    // ANCHOR_END: readdir

    // ANCHOR: read
    /// Asked by `cat`: what are the bytes of this file, from `op.offset` on?
    fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        let start = usize::try_from(op.offset).unwrap_or(usize::MAX);
        out.put(TEXT.as_bytes().get(start..).unwrap_or_default());
        Ok(())
    }
    // ANCHOR_END: read
}
// ANCHOR_END: all

#[cfg(test)]
mod tests;
