//! Open files and directories: the handles that the kernel was given, and what they stand for.
//!
//! What an open file is, is up to the filesystem.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use fusewire_proto::FileHandle;

/// The bits of a handle that say where it is; those above count how often the place was used.
const PLACE_BITS: u32 = 32;

/// What is open, found by its handle. Methods take `&self`, from any thread.
///
/// A handle that was given back is not given out again soon: its place is, with another number in the upper bits, so a
/// handle of before is not mistaken for it. No handle is 0.
///
/// ```
/// use fusewire::HandleTable;
///
/// let open = HandleTable::new();
/// let handle = open.insert("a file");
/// assert_eq!(open.get(handle).as_deref(), Some(&"a file"));
/// assert_eq!(open.remove(handle).as_deref(), Some(&"a file"));
/// assert_eq!(open.get(handle), None);
/// ```
pub struct HandleTable<T> {
    slots: RwLock<Slots<T>>,
}

struct Slots<T> {
    all: Vec<Slot<T>>,
    /// Slots that are not used.
    free: Vec<usize>,
}

struct Slot<T> {
    /// Which use of the slot this is; never 0.
    uses: u32,
    value: Option<Arc<T>>,
}

impl<T> Slots<T> {
    fn slot(&mut self, handle: FileHandle) -> Option<(usize, &mut Slot<T>)> {
        let (index, uses) = place(handle)?;
        let slot = self.all.get_mut(index)?;
        (slot.uses == uses).then_some((index, slot))
    }
}

/// Where a handle leads: the slot, and which use of it.
fn place(handle: FileHandle) -> Option<(usize, u32)> {
    let index = usize::try_from(handle.0 & ((1 << PLACE_BITS) - 1)).ok()?;
    Some((index, u32::try_from(handle.0 >> PLACE_BITS).ok()?))
}

impl<T> Default for HandleTable<T> {
    fn default() -> Self {
        Self { slots: RwLock::new(Slots { all: Vec::new(), free: Vec::new() }) }
    }
}

impl<T> HandleTable<T> {
    /// A table with nothing open.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new handle for `value`.
    pub fn insert(&self, value: T) -> FileHandle {
        let value = Arc::new(value);
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let index = slots.free.pop().unwrap_or_else(|| {
            slots.all.push(Slot { uses: 1, value: None });
            slots.all.len() - 1
        });
        let uses = slots.all.get_mut(index).map_or(0, |slot| {
            slot.value = Some(value);
            slot.uses
        });
        FileHandle(u64::from(uses) << PLACE_BITS | index as u64)
    }

    /// What `handle` stands for. `None` if it was given back, or never given out: `EBADF` is the right answer then.
    #[inline]
    #[must_use]
    pub fn get(&self, handle: FileHandle) -> Option<Arc<T>> {
        let (index, uses) = place(handle)?;
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.all.get(index).filter(|slot| slot.uses == uses)?;
        slot.value.clone()
    }

    /// Takes `handle` back. It is dropped when nobody is at it any more; `None` if it is not known.
    pub fn remove(&self, handle: FileHandle) -> Option<Arc<T>> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let (index, slot) = slots.slot(handle)?;
        let value = slot.value.take()?;
        slot.uses = slot.uses.checked_add(1).unwrap_or(1);
        slots.free.push(index);
        Some(value)
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self) -> usize {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.all.len() - slots.free.len()
    }
}

impl<T> fmt::Debug for HandleTable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandleTable").field("count", &self.count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handle_of_before_is_not_mistaken_for_the_one_in_its_place() {
        let open = HandleTable::new();
        let first = open.insert(1);
        assert_eq!(open.remove(first).as_deref(), Some(&1));
        let second = open.insert(2);
        assert_ne!(first, second);
        assert_eq!((open.get(first), open.remove(first)), (None, None));
        assert_eq!(open.get(second).as_deref(), Some(&2));
        assert_eq!(open.count(), 1);
    }

    #[test]
    fn unknown_handles_are_tolerated() {
        let open = HandleTable::<u8>::new();
        for handle in [0, 1, 1 << 32, u64::MAX] {
            assert_eq!((open.get(FileHandle(handle)), open.remove(FileHandle(handle))), (None, None));
        }
    }

    #[test]
    fn what_is_in_use_outlives_its_handle() {
        let open = HandleTable::new();
        let handle = open.insert(String::from("open"));
        let used = open.get(handle).unwrap();
        drop(open.remove(handle));
        assert_eq!(*used, "open");
        assert!(Arc::into_inner(used).is_some());
    }
}
