//! Listing directories.

use std::sync::Arc;

use fusewire::reply::{Dirent, Entry};
use fusewire::sink::Full;
use fusewire::{Errno, FileType, LookAhead, Name, NodeId, op, sink};

use crate::directory::{DOT, DOT_DOT, Directory};
use crate::memfs::{MemFs, entry};
use crate::node::{Node, now};

/// Where entries go, with the node to look up, if it is to be looked up: never those of `.` and `..`.
trait Listing {
    /// Whether the files of a directory that is listed from `offset` on are looked up.
    fn looks_up(&self, _: &LookAhead, _: &Directory, _: u64) -> bool {
        false
    }

    fn push(&mut self, dirent: &Dirent<'_>, node: Option<&Node>) -> Result<(), Full>;
}

impl Listing for sink::DirEntries<'_> {
    fn push(&mut self, dirent: &Dirent<'_>, _: Option<&Node>) -> Result<(), Full> {
        sink::DirEntries::push(self, dirent)
    }
}

impl Listing for sink::DirEntriesPlus<'_> {
    fn looks_up(&self, look_ahead: &LookAhead, directory: &Directory, offset: u64) -> bool {
        look_ahead.is_useful(&directory.last_listing, offset)
    }

    fn push(&mut self, dirent: &Dirent<'_>, node: Option<&Node>) -> Result<(), Full> {
        let look_up = |node: &Node| -> Entry {
            node.look_up();
            entry(node.attributes())
        };
        match node {
            Some(node) => sink::DirEntriesPlus::push(self, dirent, || look_up(node)),
            None => self.push_plain(dirent),
        }
    }
}

impl MemFs {
    pub(crate) fn list(&self, op: &op::Readdir, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
        self.fill(op.node, op.offset, out)
    }

    pub(crate) fn list_plus(&self, op: &op::Readdirplus, out: &mut sink::DirEntriesPlus<'_>) -> Result<(), Errno> {
        self.fill(op.node, op.offset, out)
    }

    fn fill(&self, node: NodeId, offset: u64, out: &mut impl Listing) -> Result<(), Errno> {
        let node = self.nodes.find(node)?;
        let state = node.read();
        let directory = state.directory()?;
        let files = out.looks_up(&self.look_ahead, directory, offset);
        // Full is the end of this answer, not a failure.
        let _ = fill_from(&node, directory, offset, files, out);
        if self.wants_access_time(&state) {
            drop(state);
            node.write().atime = now();
        }
        Ok(())
    }
}

fn fill_from(
    node: &Arc<Node>,
    directory: &Directory,
    offset: u64,
    files: bool,
    out: &mut impl Listing,
) -> Result<(), Full> {
    for (cookie, name, ino) in [(DOT, ".", node.id()), (DOT_DOT, "..", directory.parent)] {
        if let Some(name) = Name::new(name.as_bytes()).ok().filter(|_| offset < cookie) {
            out.push(&Dirent::new(ino, cookie, FileType::DIRECTORY, name), None)?;
        }
    }
    for listed in directory.entries_after(offset.max(DOT_DOT)) {
        let dirent = Dirent::new(listed.node.id(), listed.cookie, listed.node.kind(), listed.name);
        let looked_up = files || listed.node.kind() == FileType::DIRECTORY;
        out.push(&dirent, looked_up.then_some(&**listed.node))?;
    }
    Ok(())
}
