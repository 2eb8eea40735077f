//! The entries of a directory, by name and in the order in which they were made.
//!
//! Each entry has a cookie, larger than those of all entries before it, which it keeps as long as it lives: listing goes on
//! behind a cookie, whether its entry is still there or not.

use std::hash::BuildHasher;
use std::sync::Arc;

use fusewire::{LastListing, Name};
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::node::Node;

/// Cookies of `.` and `..`; those of entries are larger.
pub(crate) const DOT: u64 = 1;
/// See [`DOT`].
pub(crate) const DOT_DOT: u64 = 2;

/// The fewest dead entries that are worth a clean-up.
const FEW: usize = 16;

/// A name and what it stands for.
#[derive(Debug)]
struct Slot {
    cookie: u64,
    name: Box<[u8]>,
    /// `None` when the entry is gone.
    node: Option<Arc<Node>>,
}

/// The entries of a directory.
#[derive(Debug)]
pub(crate) struct Directory {
    /// The id of the directory that it is in; of the root, its own.
    pub(crate) parent: u64,
    last_cookie: u64,
    /// In the order of their cookies, some of them dead.
    slots: Vec<Slot>,
    /// The cookies of the living, by name.
    names: HashTable<u64>,
    hasher: DefaultHashBuilder,
    pub(crate) last_listing: LastListing,
}

/// An entry, as a listing shows it.
#[derive(Debug)]
pub(crate) struct Listed<'a> {
    pub(crate) cookie: u64,
    pub(crate) name: &'a Name,
    pub(crate) node: &'a Arc<Node>,
}

/// The slot of the entry with this cookie, living or dead.
fn index_of(slots: &[Slot], cookie: u64) -> Option<usize> {
    // Cookies rise by one at least: the entry is no further from the end than its cookie is from the last one.
    let last = slots.last()?.cookie;
    let back = usize::try_from(last.checked_sub(cookie)?).unwrap_or(usize::MAX);
    let low = (slots.len() - 1).saturating_sub(back);
    if slots.get(low)?.cookie == cookie {
        return Some(low);
    }
    let found = slots.get(low..)?.binary_search_by_key(&cookie, |slot| slot.cookie);
    found.ok().map(|index| low + index)
}

fn slot_of(slots: &[Slot], cookie: u64) -> Option<&Slot> {
    slots.get(index_of(slots, cookie)?)
}

impl Directory {
    pub(crate) fn new(parent: u64, hasher: DefaultHashBuilder) -> Self {
        let (slots, names) = (Vec::new(), HashTable::new());
        Self { parent, last_cookie: DOT_DOT, slots, names, hasher, last_listing: LastListing::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn cookie_of(&self, name: &Name) -> Option<u64> {
        let hash = self.hasher.hash_one(name.as_bytes());
        let is_it = |cookie: &u64| slot_of(&self.slots, *cookie).is_some_and(|slot| *slot.name == *name.as_bytes());
        self.names.find(hash, is_it).copied()
    }

    pub(crate) fn find(&self, name: &Name) -> Option<&Arc<Node>> {
        slot_of(&self.slots, self.cookie_of(name)?)?.node.as_ref()
    }

    /// Adds an entry whose name is not there yet.
    pub(crate) fn insert(&mut self, name: &Name, node: Arc<Node>) {
        self.last_cookie += 1;
        let cookie = self.last_cookie;
        self.slots.push(Slot { cookie, name: name.as_bytes().into(), node: Some(node) });
        let Self { slots, names, hasher, .. } = self;
        let hash_of = |cookie: &u64| slot_of(slots, *cookie).map_or(0, |slot| hasher.hash_one(&*slot.name));
        names.insert_unique(hasher.hash_one(name.as_bytes()), cookie, hash_of);
    }

    /// Makes an existing name stand for something else. The entry keeps its place.
    pub(crate) fn replace(&mut self, name: &Name, node: Arc<Node>) {
        let index = self.cookie_of(name).and_then(|cookie| index_of(&self.slots, cookie));
        if let Some(slot) = index.and_then(|index| self.slots.get_mut(index)) {
            slot.node = Some(node);
        }
    }

    /// Takes an entry away.
    pub(crate) fn remove(&mut self, name: &Name) {
        let hash = self.hasher.hash_one(name.as_bytes());
        let Self { slots, names, .. } = self;
        let is_it = |cookie: &u64| slot_of(slots, *cookie).is_some_and(|slot| *slot.name == *name.as_bytes());
        let Ok(found) = names.find_entry(hash, is_it) else { return };
        let (cookie, _) = found.remove();
        if let Some(slot) = index_of(slots, cookie).and_then(|index| slots.get_mut(index)) {
            slot.node = None;
            slot.name = Box::default();
        }
        self.clean_up();
    }

    /// Drops the dead when they are more than the living, so that it costs little for each that died.
    fn clean_up(&mut self) {
        let dead = self.slots.len() - self.names.len();
        if dead > FEW && dead > self.names.len() {
            self.slots.retain(|slot| slot.node.is_some());
            self.slots.shrink_to(self.slots.len() * 2);
            let Self { slots, names, hasher, .. } = self;
            let hash_of = |cookie: &u64| slot_of(slots, *cookie).map_or(0, |slot| hasher.hash_one(&*slot.name));
            if names.len() < names.capacity() / 4 {
                names.shrink_to(names.len() * 2, hash_of);
            }
        }
    }

    /// The entries behind `cookie`, in order.
    pub(crate) fn entries_after(&self, cookie: u64) -> impl Iterator<Item = Listed<'_>> {
        let start = match index_of(&self.slots, cookie) {
            Some(index) => index + 1,
            None => self.slots.partition_point(|slot| slot.cookie <= cookie),
        };
        self.slots.get(start..).unwrap_or(&[]).iter().filter_map(|slot| {
            let node = slot.node.as_ref()?;
            Some(Listed { cookie: slot.cookie, name: Name::new(&slot.name).ok()?, node })
        })
    }
}
