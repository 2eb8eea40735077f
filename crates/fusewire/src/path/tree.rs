//! The names of all nodes that the kernel knows: which path a node has, and which node a name.
//!
//! Nothing is known here of files, attributes or requests.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use fusewire_proto::{Errno, NodeId};

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) parent: NodeId,
    pub(super) name: OsString,
}

impl Place {
    pub(super) fn new(parent: NodeId, name: &OsStr) -> Self {
        Self { parent, name: name.to_owned() }
    }
}

/// What the tree knows of a node.
#[derive(Debug, Default)]
struct Node {
    /// Where it is; several for hard links, none once it is removed.
    places: Vec<Place>,
    lookups: u64,
    handles: u64,
    /// Children that are known keep their directory known.
    children: u64,
    /// The number by which hard links are recognised; 0: none.
    ino: u64,
    /// Its only name is a hidden one, to be removed with the last handle.
    hidden: bool,
}

/// All nodes that the kernel knows, and the directories above them.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: HashMap<NodeId, Node>,
    names: HashMap<Place, NodeId>,
    links: HashMap<u64, NodeId>,
    next: u64,
}

impl Tree {
    /// A tree with nothing but its root.
    pub(super) fn new() -> Self {
        let root = Node { lookups: 1, ..Node::default() };
        Self {
            nodes: HashMap::from([(NodeId::ROOT, root)]),
            names: HashMap::new(),
            links: HashMap::new(),
            next: NodeId::ROOT.0 + 1,
        }
    }

    /// The path of a node.
    ///
    /// # Errors
    /// `ESTALE` if it is not known, or has no name any more.
    pub(super) fn path(&self, node: NodeId) -> Result<PathBuf, Errno> {
        let mut names = Vec::new();
        let mut at = node;
        while at != NodeId::ROOT {
            let place = self.nodes.get(&at).and_then(|node| node.places.first()).ok_or(Errno::ESTALE)?;
            names.push(&place.name);
            at = place.parent;
        }
        let mut path = PathBuf::from("/");
        path.extend(names.into_iter().rev());
        Ok(path)
    }

    /// The path of a name.
    ///
    /// # Errors
    /// `ESTALE` if the directory is not known.
    pub(super) fn path_of(&self, parent: NodeId, name: &OsStr) -> Result<PathBuf, Errno> {
        Ok(self.path(parent)?.join(name))
    }

    /// Counts a lookup of the file at `place`, whose hard links are known by `ino` if that is not 0. Returns its node.
    pub(super) fn look_up(&mut self, place: &Place, ino: u64) -> NodeId {
        let known = self.names.get(place).copied();
        let linked = (ino != 0).then(|| self.links.get(&ino).copied()).flatten();
        let id = known.or(linked).unwrap_or_else(|| {
            self.next += 1;
            NodeId(self.next - 1)
        });
        if known.is_none() {
            self.put(id, place.clone());
        }
        let node = self.nodes.entry(id).or_default();
        node.lookups = node.lookups.saturating_add(1);
        if ino != 0 {
            node.ino = ino;
            self.links.insert(ino, id);
        }
        id
    }

    /// Counts a lookup of a node that is known, at one more place.
    pub(super) fn link(&mut self, id: NodeId, place: Place) {
        self.put(id, place);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.lookups = node.lookups.saturating_add(1);
        }
    }

    fn put(&mut self, id: NodeId, place: Place) {
        self.take(&place);
        if let Some(parent) = self.nodes.get_mut(&place.parent) {
            parent.children += 1;
        }
        self.nodes.entry(id).or_default().places.push(place.clone());
        self.names.insert(place, id);
    }

    /// Takes a name away from whatever has it. Returns the node.
    pub(super) fn take(&mut self, place: &Place) -> Option<NodeId> {
        let id = self.names.remove(place)?;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.places.retain(|other| other != place);
        }
        if let Some(parent) = self.nodes.get_mut(&place.parent) {
            parent.children = parent.children.saturating_sub(1);
        }
        self.drop_unused(id);
        self.drop_unused(place.parent);
        Some(id)
    }

    /// Moves a name; what has the new one loses it.
    pub(super) fn rename(&mut self, from: &Place, to: Place) {
        match self.names.get(from).copied() {
            // Both names mean one node: rename(2) then does nothing.
            Some(id) if self.names.get(&to) == Some(&id) => {}
            Some(id) => {
                self.put(id, to);
                self.take(from);
            }
            None => {
                self.take(&to);
            }
        }
    }

    /// Exchanges two names.
    pub(super) fn exchange(&mut self, one: &Place, other: &Place) {
        let (first, second) = (self.names.get(one).copied(), self.names.get(other).copied());
        // Put each in its new place before the old one goes, so that neither is forgotten in between.
        for (id, from, to) in [(first, one, other), (second, other, one)] {
            if let Some(id) = id
                && let Some(node) = self.nodes.get_mut(&id)
            {
                for place in &mut node.places {
                    if place == from {
                        place.clone_from(to);
                        break;
                    }
                }
            }
        }
        for (id, place) in [(second, one), (first, other)] {
            match id {
                Some(id) => self.names.insert(place.clone(), id),
                None => self.names.remove(place),
            };
        }
        let moved = [(first.is_some(), one.parent, other.parent), (second.is_some(), other.parent, one.parent)];
        for (_, from, to) in moved.into_iter().filter(|(known, ..)| *known) {
            if let Some(parent) = self.nodes.get_mut(&from) {
                parent.children = parent.children.saturating_sub(1);
            }
            if let Some(parent) = self.nodes.get_mut(&to) {
                parent.children += 1;
            }
        }
    }

    /// The node that has a name, if it is open and has no other name.
    pub(super) fn open_only_at(&self, place: &Place) -> Option<NodeId> {
        let id = *self.names.get(place)?;
        let node = self.nodes.get(&id)?;
        (node.handles > 0 && node.places.len() == 1).then_some(id)
    }

    /// Marks a node as having a hidden name only.
    pub(super) fn hide(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.hidden = true;
        }
    }

    /// A handle was opened.
    pub(super) fn opened(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.handles += 1;
        }
    }

    /// A handle was released. Returns the hidden place that is to be removed now, if that was the last.
    pub(super) fn released(&mut self, id: NodeId) -> Option<Place> {
        let node = self.nodes.get_mut(&id)?;
        node.handles = node.handles.saturating_sub(1);
        let last = node.handles == 0 && node.hidden;
        let place = if last { node.places.first().cloned() } else { None };
        self.drop_unused(id);
        place
    }

    /// The hidden places of files that are still open.
    pub(super) fn still_hidden(&self) -> Vec<Place> {
        let hidden = self.nodes.values().filter(|node| node.hidden);
        hidden.filter_map(|node| node.places.first().cloned()).collect()
    }

    /// Takes lookups back.
    pub(super) fn forget(&mut self, id: NodeId, nlookup: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.lookups = node.lookups.saturating_sub(nlookup);
        }
        self.drop_unused(id);
    }

    /// Drops a node that nothing refers to, and then its directories.
    fn drop_unused(&mut self, id: NodeId) {
        let mut candidates = vec![id];
        while let Some(id) = candidates.pop() {
            let unused = |node: &Node| node.lookups == 0 && node.handles == 0 && node.children == 0;
            if id == NodeId::ROOT || !self.nodes.get(&id).is_some_and(unused) {
                continue;
            }
            let Some(node) = self.nodes.remove(&id) else { continue };
            if self.links.get(&node.ino) == Some(&id) {
                self.links.remove(&node.ino);
            }
            for place in node.places {
                self.names.remove(&place);
                if let Some(parent) = self.nodes.get_mut(&place.parent) {
                    parent.children = parent.children.saturating_sub(1);
                }
                candidates.push(place.parent);
            }
        }
    }

    /// How many nodes are known, the root included.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(parent: NodeId, name: &str) -> Place {
        Place::new(parent, OsStr::new(name))
    }

    fn path(tree: &Tree, node: NodeId) -> String {
        tree.path(node).map_or_else(|errno| format!("{errno:?}"), |path| path.display().to_string())
    }

    #[test]
    fn names_below_a_renamed_directory_follow_it() {
        let mut tree = Tree::new();
        let dir = tree.look_up(&place(NodeId::ROOT, "a"), 0);
        let file = tree.look_up(&place(dir, "f"), 0);
        tree.rename(&place(NodeId::ROOT, "a"), place(NodeId::ROOT, "b"));
        assert_eq!(path(&tree, file), "/b/f");
        assert_eq!(tree.look_up(&place(dir, "f"), 0), file);
    }

    #[test]
    fn replaced_file_loses_its_name_and_keeps_its_node() {
        let mut tree = Tree::new();
        let old = tree.look_up(&place(NodeId::ROOT, "old"), 0);
        let new = tree.look_up(&place(NodeId::ROOT, "new"), 0);
        tree.rename(&place(NodeId::ROOT, "new"), place(NodeId::ROOT, "old"));
        assert_eq!(path(&tree, new), "/old");
        assert_eq!(path(&tree, old), "ESTALE");
        tree.forget(old, 1);
        assert_eq!(tree.len(), 2);
    }

    #[test]
    fn hard_links_are_one_node_until_the_last_name_goes() {
        let mut tree = Tree::new();
        let node = tree.look_up(&place(NodeId::ROOT, "one"), 77);
        assert_eq!(tree.look_up(&place(NodeId::ROOT, "two"), 77), node);
        tree.take(&place(NodeId::ROOT, "one"));
        assert_eq!(path(&tree, node), "/two");
        tree.take(&place(NodeId::ROOT, "two"));
        assert_eq!(path(&tree, node), "ESTALE");
    }

    #[test]
    fn exchange_swaps_paths_across_directories() {
        let mut tree = Tree::new();
        let dir = tree.look_up(&place(NodeId::ROOT, "d"), 0);
        let inner = tree.look_up(&place(dir, "x"), 0);
        let outer = tree.look_up(&place(NodeId::ROOT, "y"), 0);
        tree.exchange(&place(dir, "x"), &place(NodeId::ROOT, "y"));
        assert_eq!((path(&tree, inner).as_str(), path(&tree, outer).as_str()), ("/y", "/d/x"));
        for node in [inner, outer, dir] {
            tree.forget(node, 1);
        }
        assert_eq!(tree.len(), 1);
    }

    #[test]
    fn directory_is_known_as_long_as_something_in_it_is() {
        let mut tree = Tree::new();
        let dir = tree.look_up(&place(NodeId::ROOT, "d"), 0);
        let file = tree.look_up(&place(dir, "f"), 0);
        tree.forget(dir, 1);
        assert_eq!(path(&tree, file), "/d/f");
        tree.forget(file, 1);
        assert_eq!(tree.len(), 1);
    }

    #[test]
    fn node_ids_are_not_used_again() {
        let mut tree = Tree::new();
        let first = tree.look_up(&place(NodeId::ROOT, "a"), 0);
        tree.forget(first, 1);
        assert_ne!(tree.look_up(&place(NodeId::ROOT, "a"), 0), first);
    }

    #[test]
    fn hidden_name_is_given_back_with_the_last_handle() {
        let mut tree = Tree::new();
        let node = tree.look_up(&place(NodeId::ROOT, "f"), 0);
        tree.opened(node);
        tree.opened(node);
        assert_eq!(tree.open_only_at(&place(NodeId::ROOT, "f")), Some(node));
        tree.rename(&place(NodeId::ROOT, "f"), place(NodeId::ROOT, ".hidden"));
        tree.hide(node);
        assert_eq!(tree.released(node), None);
        assert_eq!(tree.still_hidden(), [place(NodeId::ROOT, ".hidden")]);
        assert_eq!(tree.released(node), Some(place(NodeId::ROOT, ".hidden")));
    }
}
