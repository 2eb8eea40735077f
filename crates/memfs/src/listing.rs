//! Listing directories.

use std::sync::Arc;

use fusewire::reply::{Dirent, Entry};
use fusewire::sink::Full;
use fusewire::{Errno, FileType, Name, NodeId, op, sink};

use crate::directory::{DOT, DOT_DOT};
use crate::memfs::{MemFs, entry};
use crate::node::{Node, now};

/// Where entries go. One that makes lookups gives the node to look up, but for `.` and `..`.
trait Listing {
    fn push(&mut self, dirent: &Dirent<'_>, node: Option<&Node>) -> Result<(), Full>;
}

impl Listing for sink::DirEntries<'_> {
    fn push(&mut self, dirent: &Dirent<'_>, _: Option<&Node>) -> Result<(), Full> {
        sink::DirEntries::push(self, dirent)
    }
}

impl Listing for sink::DirEntriesPlus<'_> {
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
        // Full is the end of this answer, not a failure.
        let _ = fill_from(&node, directory, offset, out);
        if self.wants_access_time(&state) {
            drop(state);
            node.write().atime = now();
        }
        Ok(())
    }
}

fn fill_from(
    node: &Arc<Node>,
    directory: &crate::directory::Directory,
    offset: u64,
    out: &mut impl Listing,
) -> Result<(), Full> {
    for (cookie, name, ino) in [(DOT, ".", node.id()), (DOT_DOT, "..", directory.parent)] {
        if let Some(name) = Name::new(name.as_bytes()).ok().filter(|_| offset < cookie) {
            out.push(&Dirent::new(ino, cookie, FileType::DIRECTORY, name), None)?;
        }
    }
    for listed in directory.entries_after(offset.max(DOT_DOT)) {
        let dirent = Dirent::new(listed.node.id(), listed.cookie, listed.node.kind(), listed.name);
        out.push(&dirent, Some(listed.node))?;
    }
    Ok(())
}
