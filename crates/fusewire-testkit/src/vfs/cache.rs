//! What is remembered of names and nodes: which name means which node for how long, and who uses a node.
//!
//! Nothing is sent from here. What is to be forgotten is returned to whoever holds no lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use fusewire_proto::op::Forgotten;
use fusewire_proto::reply::Entry;
use fusewire_proto::{Attr, FileType, NodeId};

use crate::kernel::Heard;
use crate::vfs::{Inner, Mount};

/// Names and nodes.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// The logical time since mounting.
    now: Duration,
    /// Counts the times at which all entries became stale at once.
    epoch: u64,
    /// Counts what was changed through this mount.
    changes: u64,
    /// How many changes are under way.
    changing: u64,
    names: HashMap<NodeId, BTreeMap<Vec<u8>, Name>>,
    nodes: HashMap<NodeId, Node>,
}

/// What a name means.
#[derive(Clone, Copy, Debug)]
struct Name {
    /// `None`: it is known not to be there.
    node: Option<NodeId>,
    /// Believed before this time.
    until: Duration,
    epoch: u64,
}

/// A node that is in use. The root is one from the beginning on, and is never forgotten.
#[derive(Debug)]
struct Node {
    /// How often it is looked up, as far as this cache has taken notice.
    lookups: u64,
    /// How many pins and names use it.
    users: u64,
    kind: FileType,
    attr: Attr,
    /// The attributes are believed before this time.
    until: Duration,
}

/// What the cache says of a name.
pub(super) enum Known {
    /// It means this node.
    Node(Pin),
    /// It is not there.
    Absent,
    /// The daemon has to be asked.
    Stale,
}

impl Cache {
    pub(super) fn advance(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
    }

    /// How much was changed through this mount so far; `None` if something is being changed right now.
    pub(super) fn quiet(&self) -> Option<u64> {
        (self.changing == 0).then_some(self.changes)
    }

    /// A change begins.
    pub(super) fn begin_change(&mut self) {
        self.changing += 1;
        self.changes += 1;
    }

    /// A change has ended.
    pub(super) fn end_change(&mut self) {
        self.changing = self.changing.saturating_sub(1);
    }

    /// The attributes of `node` have changed and are asked for again.
    pub(super) fn changed(&mut self, node: NodeId) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.until = Duration::ZERO;
        }
    }

    fn use_node(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.users += 1;
        }
    }

    /// Counts an answer that has looked the node up, and a user of it.
    fn adopt(&mut self, entry: &Entry) {
        let until = self.now.saturating_add(entry.attr_timeout);
        let node = self.nodes.entry(entry.node).or_insert(Node {
            lookups: 0,
            users: 0,
            kind: entry.attr.file_type(),
            attr: entry.attr,
            until,
        });
        node.lookups += 1;
        node.users += 1;
        node.attr = entry.attr;
        node.kind = entry.attr.file_type();
        node.until = until;
    }

    /// A user is gone.
    fn leave(&mut self, id: NodeId, forgotten: &mut Vec<Forgotten>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.users = node.users.saturating_sub(1);
        if node.users == 0 && id != NodeId::ROOT {
            forgotten.push(Forgotten { node: id, nlookup: node.lookups });
            self.nodes.remove(&id);
        }
    }

    /// Remembers what a name means. The name uses its directory and its node.
    pub(super) fn put_name(
        &mut self,
        dir: NodeId,
        name: &[u8],
        node: Option<NodeId>,
        timeout: Duration,
    ) -> Vec<Forgotten> {
        self.use_node(dir);
        if let Some(node) = node {
            self.use_node(node);
        }
        let new = Name { node, until: self.now.saturating_add(timeout), epoch: self.epoch };
        let old = self.names.entry(dir).or_default().insert(name.to_vec(), new);
        let mut forgotten = Vec::new();
        if let Some(old) = old {
            self.abandon(dir, old, &mut forgotten);
        }
        forgotten
    }

    /// Remembers a name no longer.
    pub(super) fn drop_name(&mut self, dir: NodeId, name: &[u8]) -> Vec<Forgotten> {
        let mut forgotten = Vec::new();
        if let Some(old) = self.take_name(dir, name) {
            self.abandon(dir, old, &mut forgotten);
        }
        forgotten
    }

    fn take_name(&mut self, dir: NodeId, name: &[u8]) -> Option<Name> {
        let names = self.names.get_mut(&dir)?;
        let old = names.remove(name);
        if names.is_empty() {
            self.names.remove(&dir);
        }
        old
    }

    fn abandon(&mut self, dir: NodeId, name: Name, forgotten: &mut Vec<Forgotten>) {
        if let Some(node) = name.node {
            self.leave(node, forgotten);
        }
        self.leave(dir, forgotten);
    }

    /// The name `from` becomes `to`, as after a rename.
    pub(super) fn move_name(&mut self, from: (NodeId, &[u8]), to: (NodeId, &[u8]), exchange: bool) -> Vec<Forgotten> {
        let mut forgotten = Vec::new();
        let moved = self.take_name(from.0, from.1);
        let replaced = self.take_name(to.0, to.1);
        if let Some(name) = moved {
            self.use_node(to.0);
            self.names.entry(to.0).or_default().insert(to.1.to_vec(), name);
            self.leave(from.0, &mut forgotten);
        }
        match replaced {
            Some(name) if exchange => {
                self.use_node(from.0);
                self.names.entry(from.0).or_default().insert(from.1.to_vec(), name);
                self.leave(to.0, &mut forgotten);
            }
            Some(name) => self.abandon(to.0, name, &mut forgotten),
            None => {}
        }
        forgotten
    }

    /// Drops names that nothing below uses, until there are none.
    pub(super) fn drop_unused(&mut self) -> Vec<Forgotten> {
        let mut forgotten = Vec::new();
        loop {
            let unused: Vec<(NodeId, Vec<u8>)> = self
                .names
                .iter()
                .flat_map(|(dir, names)| names.iter().map(move |(name, means)| (*dir, name, means)))
                .filter(|(_, _, means)| {
                    means.node.is_none_or(|node| self.nodes.get(&node).is_none_or(|node| node.users <= 1))
                })
                .map(|(dir, name, _)| (dir, name.clone()))
                .collect();
            if unused.is_empty() {
                forgotten.sort_unstable_by_key(|forgotten: &Forgotten| forgotten.node);
                return forgotten;
            }
            for (dir, name) in unused {
                forgotten.extend(self.drop_name(dir, &name));
            }
        }
    }

    /// Takes to heart what the daemon has told.
    fn heed(&mut self, heard: &Heard) -> Vec<Forgotten> {
        match heard {
            Heard::InvalInode { node, .. } => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.until = Duration::ZERO;
                }
                Vec::new()
            }
            Heard::InvalEntry { parent, name, .. } => {
                self.expire(*parent, name);
                Vec::new()
            }
            Heard::Delete { parent, name, .. } => self.drop_name(*parent, name),
            Heard::IncEpoch => {
                self.epoch += 1;
                Vec::new()
            }
            Heard::Prune(_) => self.drop_unused(),
            Heard::Poll(_) | Heard::Store { .. } => Vec::new(),
        }
    }

    /// The next one who uses the name asks the daemon.
    fn expire(&mut self, dir: NodeId, name: &[u8]) {
        if let Some(name) = self.names.get_mut(&dir).and_then(|names| names.get_mut(name)) {
            name.until = Duration::ZERO;
        }
        if let Some(dir) = self.nodes.get_mut(&dir) {
            dir.until = Duration::ZERO;
        }
    }

    fn name(&self, dir: NodeId, name: &[u8]) -> Option<&Name> {
        let name = self.names.get(&dir)?.get(name)?;
        (self.now < name.until && self.epoch == name.epoch).then_some(name)
    }

    /// The type of what a name means, if that is known.
    pub(super) fn kind_of_name(&self, dir: NodeId, name: &[u8]) -> Option<FileType> {
        let node = self.name(dir, name)?.node?;
        self.nodes.get(&node).map(|node| node.kind)
    }

    /// The attributes of a node, if they may be believed.
    pub(super) fn attr(&self, id: NodeId) -> Option<Attr> {
        let node = self.nodes.get(&id)?;
        (self.now < node.until).then_some(node.attr)
    }

    pub(super) fn put_attr(&mut self, id: NodeId, attr: Attr, timeout: Duration) {
        let until = self.now.saturating_add(timeout);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.attr = attr;
            node.kind = attr.file_type();
            node.until = until;
        }
    }

    fn kind(&self, id: NodeId) -> FileType {
        self.nodes.get(&id).map_or(FileType::DIRECTORY, |node| node.kind)
    }
}

/// Keeps a node from being forgotten.
#[derive(Debug)]
pub(super) struct Pin {
    inner: Arc<Inner>,
    pub(super) node: NodeId,
}

impl Pin {
    /// The type of the file, as far as is known.
    pub(super) fn kind(&self) -> FileType {
        self.inner.cache.lock().unwrap_or_else(PoisonError::into_inner).kind(self.node)
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind() == FileType::DIRECTORY
    }
}

impl Clone for Pin {
    fn clone(&self) -> Self {
        let mut cache = self.inner.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.use_node(self.node);
        Self { inner: Arc::clone(&self.inner), node: self.node }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut forgotten = Vec::new();
        self.inner.cache.lock().unwrap_or_else(PoisonError::into_inner).leave(self.node, &mut forgotten);
        self.inner.forget(&forgotten);
    }
}

impl Mount {
    /// The root of the mount.
    pub(super) fn root(&self) -> Pin {
        let mut cache = self.cache();
        cache.nodes.entry(NodeId::ROOT).or_insert(Node {
            lookups: 0,
            users: 1,
            kind: FileType::DIRECTORY,
            attr: Attr::default(),
            until: Duration::ZERO,
        });
        cache.use_node(NodeId::ROOT);
        Pin { inner: Arc::clone(&self.inner), node: NodeId::ROOT }
    }

    /// Takes over the lookup that an answer has brought.
    pub(super) fn adopt(&self, entry: &Entry) -> Pin {
        self.cache().adopt(entry);
        Pin { inner: Arc::clone(&self.inner), node: entry.node }
    }

    /// Takes over the lookup that an answer has brought, and remembers the name.
    pub(super) fn adopt_name(&self, dir: &Pin, name: &[u8], entry: &Entry) -> Pin {
        let pin = self.adopt(entry);
        self.remember(dir, name, Some(entry.node), entry.entry_timeout);
        pin
    }

    pub(super) fn remember(&self, dir: &Pin, name: &[u8], node: Option<NodeId>, timeout: Duration) {
        let forgotten = self.cache().put_name(dir.node, name, node, timeout);
        self.forget(&forgotten);
    }

    /// What is known of a name, after taking to heart what the daemon has told.
    pub(super) fn known(&self, dir: &Pin, name: &[u8]) -> Known {
        for heard in self.kernel().heard() {
            let forgotten = self.cache().heed(&heard);
            self.forget(&forgotten);
        }
        let mut cache = self.cache();
        match cache.name(dir.node, name).copied() {
            Some(Name { node: Some(node), .. }) => {
                cache.use_node(node);
                Known::Node(Pin { inner: Arc::clone(&self.inner), node })
            }
            Some(Name { node: None, .. }) => Known::Absent,
            None => Known::Stale,
        }
    }
}
