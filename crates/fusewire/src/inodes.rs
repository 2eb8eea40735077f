//! The inodes that the kernel knows: node ids, what they stand for, and how often each was looked up.
//!
//! What an inode is, and what tells two apart, is up to the filesystem. Names and parents are not kept here.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fusewire_proto::NodeId;
use hashbrown::{DefaultHashBuilder, HashTable};

/// Parts with a lock each: lookups of different inodes seldom meet.
const SHARDS: usize = 16;
/// The first node id that is given out; 0 means none, and 1 is the root.
const FIRST: u64 = 2;
/// The bits of a node id that say where the inode is; those above count how often the place was used.
const PLACE_BITS: u32 = 32;

/// The inodes that the kernel knows, each found by its node id and by a key of the filesystem's choice, such as device and
/// inode number.
///
/// An inode is in the table as long as its lookup count is above zero; the root always is. A node id is given out once:
/// when its place in the table is used again, the id is another one, so ids of different times are never confused and
/// [`Generation`](crate::Generation) can stay 0. Methods take `&self`, from any thread.
///
/// ```
/// use fusewire::{InodeTable, NodeId};
///
/// let table = InodeTable::new(1, "the root");
/// let (node, inode) = table.insert(7, "a file");
/// assert_eq!(table.look_up(&7), Some((node, inode)));
/// assert_eq!(table.get(node).as_deref(), Some(&"a file"));
/// assert_eq!(table.forget(node, 1), None);
/// assert_eq!(table.forget(node, 1).as_deref(), Some(&"a file"));
/// assert_eq!(table.get(node), None);
/// assert_eq!(table.get(NodeId::ROOT).as_deref(), Some(&"the root"));
/// ```
pub struct InodeTable<K, T> {
    shards: [RwLock<Shard<K, T>>; SHARDS],
    hasher: DefaultHashBuilder,
    root: Arc<T>,
    root_key: K,
}

/// A part of the table.
struct Shard<K, T> {
    slots: Vec<Slot<K, T>>,
    /// Slots that are not used.
    free: Vec<u32>,
    by_key: HashTable<u32>,
}

/// A place for an inode.
struct Slot<K, T> {
    /// How often the place was used before.
    uses: u32,
    inode: Option<Known<K, T>>,
}

struct Known<K, T> {
    key: K,
    lookups: AtomicU64,
    value: Arc<T>,
}

impl<K, T> Default for Shard<K, T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), by_key: HashTable::new() }
    }
}

impl<K, T> Shard<K, T> {
    fn known(&self, slot: u32) -> Option<&Known<K, T>> {
        self.slots.get(index(slot))?.inode.as_ref()
    }

    /// The inode in `slot`, if it is the one that was there at use number `uses`.
    fn known_at(&self, slot: u32, uses: u32) -> Option<&Known<K, T>> {
        let slot = self.slots.get(index(slot))?;
        slot.inode.as_ref().filter(|_| slot.uses == uses)
    }
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

/// Where an inode is: its shard, its slot there, and the use of the slot that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    shard: usize,
    slot: u32,
    uses: u32,
}

impl Place {
    fn of(node: NodeId) -> Option<Self> {
        let number = (node.0 & ((1 << PLACE_BITS) - 1)).checked_sub(FIRST)?;
        let shards = SHARDS as u64;
        Some(Self {
            shard: usize::try_from(number % shards).ok()?,
            slot: u32::try_from(number / shards).ok()?,
            uses: u32::try_from(node.0 >> PLACE_BITS).ok()?,
        })
    }

    fn node(self) -> NodeId {
        let number = u64::from(self.slot) * SHARDS as u64 + self.shard as u64 + FIRST;
        NodeId(u64::from(self.uses) << PLACE_BITS | number)
    }
}

impl<K: Eq + Hash, T> InodeTable<K, T> {
    /// A table with only the root in it.
    #[must_use]
    pub fn new(root_key: K, root: T) -> Self {
        let shards = std::array::from_fn(|_| RwLock::default());
        Self { shards, hasher: DefaultHashBuilder::default(), root: Arc::new(root), root_key }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &Arc<T> {
        &self.root
    }

    /// What `node` stands for. Does not touch the lookup count.
    ///
    /// `None` if the kernel was never told of it, or has forgotten it: `ESTALE` is the right answer then.
    #[inline]
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<Arc<T>> {
        if node == NodeId::ROOT {
            return Some(Arc::clone(&self.root));
        }
        let place = Place::of(node)?;
        let shard = self.read(place.shard)?;
        shard.known_at(place.slot, place.uses).map(|known| Arc::clone(&known.value))
    }

    /// The inode with this key, if the kernel knows it. Adds one to its lookup count.
    #[must_use]
    pub fn look_up(&self, key: &K) -> Option<(NodeId, Arc<T>)> {
        if *key == self.root_key {
            return Some((NodeId::ROOT, Arc::clone(&self.root)));
        }
        let (hash, number) = self.hash(key);
        let shard = self.read(number)?;
        let slot = *shard.by_key.find(hash, |slot| shard.known(*slot).is_some_and(|known| known.key == *key))?;
        let known = shard.known(slot)?;
        add(&known.lookups, 1);
        let uses = shard.slots.get(index(slot))?.uses;
        Some((Place { shard: number, slot, uses }.node(), Arc::clone(&known.value)))
    }

    /// Whether the kernel knows an inode with this key. Does not touch the lookup count; others may change the answer before
    /// it is used.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        let (hash, number) = self.hash(key);
        let found = |shard: &Shard<K, T>| {
            shard.by_key.find(hash, |slot| shard.known(*slot).is_some_and(|known| known.key == *key)).is_some()
        };
        *key == self.root_key || self.read(number).is_some_and(|shard| found(&shard))
    }

    /// The inode with this key, which becomes `value` if the kernel does not know it yet; else `value` is dropped. Adds one
    /// to its lookup count.
    ///
    /// # Panics
    /// If there are more than 4 billion inodes.
    pub fn insert(&self, key: K, value: T) -> (NodeId, Arc<T>) {
        if key == self.root_key {
            return (NodeId::ROOT, Arc::clone(&self.root));
        }
        let (hash, number) = self.hash(&key);
        let mut guard = self.write(number);
        let shard = &mut *guard;
        let there = shard.by_key.find(hash, |slot| shard.known(*slot).is_some_and(|known| known.key == key)).copied();
        if let Some((slot, known)) = there.and_then(|slot| Some((slot, shard.known(slot)?))) {
            add(&known.lookups, 1);
            let uses = shard.slots.get(index(slot)).map_or(0, |slot| slot.uses);
            return (Place { shard: number, slot, uses }.node(), Arc::clone(&known.value));
        }
        let value = Arc::new(value);
        let inode = Some(Known { key, lookups: AtomicU64::new(1), value: Arc::clone(&value) });
        let slot = shard.free.pop().unwrap_or_else(|| {
            shard.slots.push(Slot { uses: 0, inode: None });
            u32::try_from(shard.slots.len() - 1).expect("node ids have 32 bits for a place")
        });
        let mut uses = 0;
        if let Some(slot) = shard.slots.get_mut(index(slot)) {
            slot.inode = inode;
            uses = slot.uses;
        }
        let (slots, hasher) = (&shard.slots, &self.hasher);
        let rehash = |slot: &u32| {
            let known = slots.get(index(*slot)).and_then(|slot| slot.inode.as_ref());
            known.map_or(0, |known| hasher.hash_one(&known.key))
        };
        shard.by_key.insert_unique(hash, slot, rehash);
        (Place { shard: number, slot, uses }.node(), value)
    }

    /// Takes `nlookup` lookups of `node` back. Returns the inode if that was the last one, and it has left the table.
    ///
    /// An id that is not known, the root, and more lookups than there were are all right: after a restart the counts need
    /// not be the kernel's.
    pub fn forget(&self, node: NodeId, nlookup: u64) -> Option<Arc<T>> {
        let place = Place::of(node)?;
        let mut guard = self.shards.get(place.shard).map(write)?;
        let shard = &mut *guard;
        let known = shard.known_at(place.slot, place.uses)?;
        // Nobody else is in this shard.
        let left = known.lookups.load(Ordering::Relaxed).saturating_sub(nlookup);
        known.lookups.store(left, Ordering::Relaxed);
        if left > 0 {
            return None;
        }
        let hash = self.hasher.hash_one(&known.key);
        if let Ok(entry) = shard.by_key.find_entry(hash, |slot| *slot == place.slot) {
            entry.remove();
        }
        let slot = shard.slots.get_mut(index(place.slot))?;
        let known = slot.inode.take()?;
        // A place whose ids are used up is never used again.
        if let Some(uses) = slot.uses.checked_add(1) {
            slot.uses = uses;
            shard.free.push(place.slot);
        }
        drop(guard);
        Some(known.value)
    }

    /// Takes the key of `node` away: it is not found by that key any more, and another inode may have it. The node id goes on
    /// to mean the same inode until it is forgotten.
    ///
    /// For keys that are used again: the number of an inode that is gone, for instance.
    pub fn detach(&self, node: NodeId) {
        let Some(place) = Place::of(node) else { return };
        let Some(mut guard) = self.shards.get(place.shard).map(write) else { return };
        let shard = &mut *guard;
        let Some(known) = shard.known_at(place.slot, place.uses) else { return };
        let hash = self.hasher.hash_one(&known.key);
        if let Ok(entry) = shard.by_key.find_entry(hash, |slot| *slot == place.slot) {
            entry.remove();
        }
    }

    /// Calls `visit` with each node and its inode, the root excepted. `visit` must not use the table.
    pub fn for_each(&self, mut visit: impl FnMut(NodeId, &Arc<T>)) {
        for (number, shard) in self.shards.iter().enumerate() {
            for (index, slot) in read(shard).slots.iter().enumerate() {
                let known = slot.inode.as_ref().zip(u32::try_from(index).ok());
                if let Some((known, place)) = known {
                    visit(Place { shard: number, slot: place, uses: slot.uses }.node(), &known.value);
                }
            }
        }
    }

    /// How often `node` was looked up and not forgotten; 0 if it is not known. The root counts as 1.
    #[must_use]
    pub fn lookups(&self, node: NodeId) -> u64 {
        if node == NodeId::ROOT {
            return 1;
        }
        let Some(place) = Place::of(node) else { return 0 };
        let Some(shard) = self.read(place.shard) else { return 0 };
        shard.known_at(place.slot, place.uses).map_or(0, |known| known.lookups.load(Ordering::Relaxed))
    }

    /// How many inodes the kernel knows, the root among them.
    #[must_use]
    pub fn count(&self) -> usize {
        let known = |shard: &Shard<K, T>| shard.slots.iter().filter(|slot| slot.inode.is_some()).count();
        1 + self.shards.iter().map(|shard| known(&read(shard))).sum::<usize>()
    }

    fn hash(&self, key: &K) -> (u64, usize) {
        let hash = self.hasher.hash_one(key);
        // The hash table uses the upper bits and the lowest ones; these are in between.
        let number = usize::try_from((hash >> 32) % SHARDS as u64).unwrap_or(0);
        (hash, number)
    }

    fn read(&self, number: usize) -> Option<RwLockReadGuard<'_, Shard<K, T>>> {
        self.shards.get(number).map(read)
    }

    fn write(&self, number: usize) -> RwLockWriteGuard<'_, Shard<K, T>> {
        write(self.shards.get(number).expect("a number below SHARDS"))
    }
}

fn read<S>(lock: &RwLock<S>) -> RwLockReadGuard<'_, S> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<S>(lock: &RwLock<S>) -> RwLockWriteGuard<'_, S> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Counts up, and stays at the top.
fn add(lookups: &AtomicU64, more: u64) {
    // Relaxed: the lock of the shard orders it.
    if lookups.fetch_add(more, Ordering::Relaxed).checked_add(more).is_none() {
        lookups.store(u64::MAX, Ordering::Relaxed);
    }
}

impl<K, T> fmt::Debug for InodeTable<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InodeTable").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn same_key_is_the_same_node_and_counts() {
        let table = InodeTable::new(0, 0);
        let (first, _) = table.insert(5, 50);
        let (second, value) = table.insert(5, 51);
        assert_eq!((second, *value), (first, 50));
        assert_eq!(table.look_up(&5).map(|(node, _)| node), Some(first));
        assert_eq!(table.lookups(first), 3);
        assert_eq!(table.count(), 2);
        assert!(table.contains(&5) && !table.contains(&6));
        assert!(table.forget(first, 2).is_none());
        assert_eq!(table.forget(first, 1).as_deref(), Some(&50));
        assert_eq!((table.look_up(&5), table.count()), (None, 1));
    }

    #[test]
    fn root_is_never_forgotten_and_found_by_its_key() {
        let table = InodeTable::new(9, 90);
        assert!(table.forget(NodeId::ROOT, u64::MAX).is_none());
        assert_eq!(table.get(NodeId::ROOT).as_deref(), Some(&90));
        assert_eq!(table.insert(9, 91).0, NodeId::ROOT);
        assert_eq!(table.look_up(&9).map(|(node, _)| node), Some(NodeId::ROOT));
    }

    #[test]
    fn unknown_forgets_and_too_many_are_tolerated() {
        let table = InodeTable::new(0, 0);
        for node in [0, 1, 2, 77, u64::MAX, 1 << 32] {
            assert!(table.forget(NodeId(node), 1).is_none());
            assert_eq!(table.lookups(NodeId(node)), u64::from(node == 1));
        }
        let (node, _) = table.insert(5, 50);
        assert!(table.forget(node, u64::MAX).is_some());
        assert!(table.forget(node, 1).is_none());
    }

    #[test]
    fn node_ids_are_never_given_out_twice() {
        let table = InodeTable::new(0, 0);
        let mut given = HashSet::new();
        for round in 0..1000 {
            let (node, _) = table.insert(round % 7 + 1, round);
            assert!(node.0 > 1 && given.insert(node), "{node}");
            assert!(table.forget(node, 1).is_some());
            assert_eq!(table.get(node), None);
        }
        let (node, _) = table.insert(1, 1);
        for old in &given {
            assert!(table.get(*old).is_none() && table.forget(*old, 1).is_none());
        }
        assert_eq!(table.get(node).as_deref(), Some(&1));
    }

    #[test]
    fn detached_node_lives_on_and_its_key_is_free() {
        let table = InodeTable::new(0, 0);
        let (old, _) = table.insert(5, 50);
        table.detach(old);
        let (new, _) = table.insert(5, 51);
        assert_ne!(old, new);
        assert_eq!((table.get(old).as_deref(), table.get(new).as_deref()), (Some(&50), Some(&51)));
        assert_eq!(table.count(), 3);
        table.detach(old);
        assert_eq!(table.forget(old, 1).as_deref(), Some(&50));
        assert_eq!(table.look_up(&5).map(|(node, _)| node), Some(new));
        table.detach(NodeId(77));
    }

    #[test]
    fn each_node_is_visited_once() {
        let table = InodeTable::new(0, 0);
        let mut given: Vec<_> = (1..100).map(|key| (table.insert(key, key).0, key)).collect();
        let (gone, _) = given.swap_remove(50);
        table.forget(gone, 1);
        let mut visited = Vec::new();
        table.for_each(|node, value| visited.push((node, **value)));
        visited.sort();
        given.sort();
        assert_eq!(visited, given);
    }

    #[test]
    fn full_lookup_count_stays_full() {
        let lookups = AtomicU64::new(u64::MAX - 1);
        add(&lookups, 1);
        add(&lookups, 1);
        assert_eq!(lookups.load(Ordering::Relaxed), u64::MAX);
    }

    #[test]
    fn many_threads_agree_on_one_node_a_key() {
        let table = InodeTable::new(u64::MAX, 0);
        let nodes: Vec<Vec<NodeId>> = std::thread::scope(|scope| {
            let work = || {
                (0..2000_u64)
                    .map(|key| {
                        let (node, _) = table.insert(key, key);
                        assert_eq!(table.get(node).as_deref(), Some(&key));
                        node
                    })
                    .collect()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(nodes.iter().all(|other| *other == nodes[0]));
        assert_eq!(table.count(), 2001);
        for node in &nodes[0] {
            assert_eq!(table.lookups(*node), 4);
            assert!(table.forget(*node, 3).is_none() && table.forget(*node, 1).is_some());
        }
        assert_eq!(table.count(), 1);
    }
}
