//! What the kernel remembers of a daemon's answers: nodes with their lookup counts, and open handles.
//!
//! Names and timeouts are the business of the [`vfs`](crate::vfs).

use std::collections::HashMap;

use fusewire_proto::reply::Entry;
use fusewire_proto::{Attr, FileHandle, FileType, Generation, NodeId};

use crate::laws::{Law, LawBook};

/// Nodes and handles that the daemon has given out and that were not given back.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    nodes: HashMap<NodeId, Node>,
    handles: HashMap<Handle, u64>,
}

/// What is known of a node.
#[derive(Debug)]
struct Node {
    lookups: u64,
    generation: Generation,
    kind: FileType,
    ino: u64,
}

/// An open file or directory, as its release names it.
///
/// Two that are open at a time may have the same number: a daemon that keeps nothing for an open file answers the same each
/// time, and the kernel does not look at it (`fs/fuse/file.c fuse_file_open()`). So the ledger counts and does not demand
/// that numbers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Handle {
    pub(crate) node: NodeId,
    pub(crate) handle: FileHandle,
    pub(crate) kind: HandleKind,
}

/// What was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HandleKind {
    File,
    Directory,
}

impl Ledger {
    /// Counts a lookup of a valid node.
    pub(crate) fn looked_up(&mut self, entry: &Entry, book: &mut LawBook) {
        let kind = entry.attr.file_type();
        let node = self.nodes.entry(entry.node).or_insert(Node {
            lookups: 0,
            generation: entry.generation,
            kind,
            ino: entry.attr.ino,
        });
        book.demand(Law::NodeIdentity, node.generation == entry.generation && node.kind == kind, || {
            format!(
                "node {} was generation {}, mode {:o}; now it is generation {}, mode {:o}",
                entry.node,
                node.generation,
                node.kind.mode_bits(),
                entry.generation,
                kind.mode_bits()
            )
        });
        book.demand(Law::InoStable, node.ino == entry.attr.ino, || {
            format!("node {} had inode number {}, now it has {}", entry.node, node.ino, entry.attr.ino)
        });
        node.lookups += 1;
        // Believed from now on, so that one fault is one violation.
        (node.generation, node.kind, node.ino) = (entry.generation, kind, entry.attr.ino);
    }

    /// Compares attributes with what is known of the node.
    pub(crate) fn seen(&mut self, id: NodeId, attr: &Attr, book: &mut LawBook) {
        let kind = attr.file_type();
        if id == NodeId::ROOT {
            book.demand(Law::FileTypeValid, kind == FileType::DIRECTORY, || {
                format!("the root has mode {:o}", attr.mode)
            });
        }
        let Some(node) = self.nodes.get_mut(&id) else { return };
        book.demand(Law::NodeIdentity, node.kind == kind, || {
            format!("node {id} had the type {:o}, now it has mode {:o}", node.kind.mode_bits(), attr.mode)
        });
        book.demand(Law::InoStable, node.ino == attr.ino, || {
            format!("node {id} had inode number {}, now it has {}", node.ino, attr.ino)
        });
        (node.kind, node.ino) = (kind, attr.ino);
    }

    /// Takes lookups back: as many as there are, if that is fewer than `count`.
    pub(crate) fn forgotten(&mut self, id: NodeId, count: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.lookups = node.lookups.saturating_sub(count);
            if node.lookups == 0 {
                self.nodes.remove(&id);
            }
        }
    }

    /// How often the node is looked up.
    pub(crate) fn lookups(&self, id: NodeId) -> u64 {
        self.nodes.get(&id).map_or(0, |node| node.lookups)
    }

    /// All nodes with their counts, by number.
    pub(crate) fn nodes(&self) -> Vec<(NodeId, u64)> {
        let mut all: Vec<_> = self.nodes.iter().map(|(id, node)| (*id, node.lookups)).collect();
        all.sort_unstable();
        all
    }

    /// Counts a handle as open.
    pub(crate) fn opened(&mut self, handle: Handle) {
        *self.handles.entry(handle).or_default() += 1;
    }

    /// Counts a handle as given back.
    pub(crate) fn released(&mut self, handle: Handle) {
        if let Some(count) = self.handles.get_mut(&handle) {
            *count -= 1;
            if *count == 0 {
                self.handles.remove(&handle);
            }
        }
    }

    /// All handles that are open, each as often as it is.
    pub(crate) fn handles(&self) -> Vec<Handle> {
        let mut all: Vec<Handle> = Vec::new();
        for (handle, count) in &self.handles {
            all.extend((0..*count).map(|_| *handle));
        }
        all.sort_unstable_by_key(|handle| (handle.node, handle.handle));
        all
    }
}
