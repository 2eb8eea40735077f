//! All nodes by their id. What a node is linked by or kept for is not known here.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fusewire::{Errno, NodeId};
use hashbrown::HashMap;

use crate::node::Node;

/// Parts that are locked apart, so that workers do not wait for one another.
const SHARDS: usize = 64;

type Shard = RwLock<HashMap<u64, Arc<Node>>>;

/// The nodes of a filesystem.
#[derive(Debug)]
pub(crate) struct Table {
    shards: [Shard; SHARDS],
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()) }
    }

    fn shard(&self, id: u64) -> Option<&Shard> {
        let index = usize::try_from(id % SHARDS as u64).unwrap_or(0);
        self.shards.get(index)
    }

    fn read(&self, id: u64) -> Option<RwLockReadGuard<'_, HashMap<u64, Arc<Node>>>> {
        self.shard(id).map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, id: u64) -> Option<RwLockWriteGuard<'_, HashMap<u64, Arc<Node>>>> {
        self.shard(id).map(|shard| shard.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The node with this id.
    ///
    /// # Errors
    /// `ESTALE` if there is none any more.
    pub(crate) fn find(&self, id: NodeId) -> Result<Arc<Node>, Errno> {
        self.read(id.0).and_then(|nodes| nodes.get(&id.0).map(Arc::clone)).ok_or(Errno::ESTALE)
    }

    pub(crate) fn insert(&self, node: Arc<Node>) {
        if let Some(mut nodes) = self.write(node.id()) {
            nodes.insert(node.id(), node);
        }
    }

    /// Takes a node out; says whether it was there.
    pub(crate) fn remove(&self, id: u64) -> Option<Arc<Node>> {
        let mut nodes = self.write(id)?;
        let gone = nodes.remove(&id);
        if nodes.len() < nodes.capacity() / 8 {
            let length = nodes.len();
            nodes.shrink_to(length * 2);
        }
        gone
    }

    /// All nodes there are, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Node>> {
        let shards = self.shards.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner));
        shards.flat_map(|nodes| nodes.values().map(Arc::clone).collect::<Vec<_>>()).collect()
    }
}
