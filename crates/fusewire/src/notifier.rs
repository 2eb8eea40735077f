//! What a filesystem tells the kernel unasked: that something it remembers is stale, or became ready.
//!
//! The bytes are made by `fusewire_proto::notify`; here is the sending, and the guard against a known deadlock.

use std::cell::Cell;
use std::fmt;
use std::ops::RangeBounds;
use std::os::fd::AsFd;
use std::sync::Weak;

use fusewire_proto::op::WireList;
use fusewire_proto::{
    Errno, InitFlags, InvalEntryFlags, Name, Negotiated, NodeId, Notification, NotifyUnique, PollHandle,
};

use crate::backing::Backing;
use crate::transport::Transport;

/// Sends notifications. Clones are the same; any thread may use one. It does not keep the connection alive.
///
/// # Deadlocks
/// The kernel holds locks of a node while it waits for some requests about it, and takes the same locks to carry a
/// notification out. So a handler must not notify about the nodes of its own request, nor wait for a thread that does.
/// The first is refused here with `EDEADLK`; the second cannot be seen from here. Notify from a thread of your own, or after
/// the reply.
#[derive(Clone)]
pub struct Notifier {
    transport: Weak<dyn Transport>,
    negotiated: Negotiated,
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").field("negotiated", &self.negotiated).finish_non_exhaustive()
    }
}

thread_local! {
    /// The nodes of the request that this thread is serving; 0: none.
    static SERVING: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
}

/// Marks this thread as serving a request about these nodes, until the value is dropped.
pub(crate) struct Serving;

impl Serving {
    pub(crate) fn nodes(node: NodeId, other: NodeId) -> Self {
        SERVING.set([node.0, other.0]);
        Self
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        SERVING.set([0; 2]);
    }
}

impl Notifier {
    pub(crate) fn new(transport: Weak<dyn Transport>, negotiated: Negotiated) -> Self {
        Self { transport, negotiated }
    }

    /// Whoever polls the file that `poll_handle` stands for is to look again. Since 7.11.
    ///
    /// # Errors
    /// `ENODEV` if the connection is over.
    pub fn poll(&self, poll_handle: PollHandle) -> Result<(), Errno> {
        self.send(&Notification::Poll { poll_handle })
    }

    /// The attributes of `node` and its cached data in `range` (bytes) are stale. Writes of the page cache that are under way
    /// are waited for. Since 7.12.
    ///
    /// # Errors
    /// `ENOENT` if the kernel does not remember the node, which is as good; `EDEADLK` from a handler of the same node;
    /// `ENODEV` if the connection is over.
    pub fn inval_inode(&self, node: NodeId, range: impl RangeBounds<u64>) -> Result<(), Errno> {
        let (offset, length) = wire_range(range);
        self.check(node)?;
        self.send(&Notification::InvalInode { node, offset, length })
    }

    /// The attributes of `node` are stale, and its cached data are not. Since 7.12.
    ///
    /// # Errors
    /// As [`inval_inode`](Self::inval_inode).
    pub fn inval_attributes(&self, node: NodeId) -> Result<(), Errno> {
        self.check(node)?;
        self.send(&Notification::InvalInode { node, offset: -1, length: 0 })
    }

    /// `name` in `parent` may mean something else now; the kernel drops what it remembers. Since 7.12.
    ///
    /// # Errors
    /// `ENOENT` if the kernel does not remember it, which is as good; `EDEADLK` from a handler of the directory; `ENODEV` if
    /// the connection is over.
    pub fn inval_entry(&self, parent: NodeId, name: &Name) -> Result<(), Errno> {
        self.check(parent)?;
        self.send(&Notification::InvalEntry { parent, name, flags: InvalEntryFlags::empty() })
    }

    /// `name` in `parent` is to be looked up again when it is used next; nothing is dropped, so mounts and open files below
    /// it stay. Since 7.38.
    ///
    /// # Errors
    /// As [`inval_entry`](Self::inval_entry); `EOPNOTSUPP` if the protocol is older.
    pub fn expire_entry(&self, parent: NodeId, name: &Name) -> Result<(), Errno> {
        if self.negotiated.minor < 38 {
            return Err(Errno::EOPNOTSUPP);
        }
        self.check(parent)?;
        self.send(&Notification::InvalEntry { parent, name, flags: InvalEntryFlags::EXPIRE_ONLY })
    }

    /// `name` in `parent`, which meant `child`, is gone; who watches the file itself with inotify(7) is told, and who
    /// watches the directory is not. Since 7.18.
    ///
    /// # Errors
    /// As [`inval_entry`](Self::inval_entry).
    pub fn delete(&self, parent: NodeId, child: NodeId, name: &Name) -> Result<(), Errno> {
        self.check(parent)?;
        self.check(child)?;
        self.send(&Notification::Delete { parent, child, name })
    }

    /// Puts `data` into the page cache of the file `node`, from `offset` on. Since 7.15.
    ///
    /// # Errors
    /// As [`inval_inode`](Self::inval_inode).
    pub fn store(&self, node: NodeId, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.check(node)?;
        self.send(&Notification::Store { node, offset, data })
    }

    /// Asks for `size` bytes of what the page cache has of the file `node`, from `offset` on; they come to
    /// [`Filesystem::notify_reply`](crate::Filesystem::notify_reply) with the same `notify_unique`. Since 7.15.
    ///
    /// # Errors
    /// As [`inval_inode`](Self::inval_inode); `EINVAL` if the node is not a regular file; `EOPNOTSUPP` if requests come through
    /// io_uring, as the kernel (6.18) leaves out there where the data begin.
    pub fn retrieve(&self, notify_unique: NotifyUnique, node: NodeId, offset: u64, size: u32) -> Result<(), Errno> {
        self.check(node)?;
        self.check_no_rings()?;
        self.send(&Notification::Retrieve { notify_unique, node, offset, size })
    }

    /// Asks for every request again that was received and not answered. They come with a mark in their number
    /// ([`Unique::is_resend`](fusewire_proto::Unique::is_resend)). Since 7.40.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the protocol is older, or requests come through io_uring, where the kernel sends none again; `ENODEV` if
    /// the connection is over.
    pub fn resend(&self) -> Result<(), Errno> {
        self.check_no_rings()?;
        self.send(&Notification::Resend)
    }

    /// Every cached entry is to be looked up once more when it is used next. Attributes and open files stay as they are. Since
    /// 7.44.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the protocol is older; `ENODEV` if the connection is over.
    pub fn inc_epoch(&self) -> Result<(), Errno> {
        self.send(&Notification::IncEpoch)
    }

    /// The kernel should forget these nodes, if nobody uses them: their `forget` comes soon. Since 7.45.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the protocol is older; `ENODEV` if the connection is over.
    pub fn prune(&self, nodes: &[NodeId]) -> Result<(), Errno> {
        nodes.iter().try_for_each(|node| self.check(*node))?;
        let bytes = WireList::bytes_of(nodes);
        self.send(&Notification::Prune { nodes: WireList::new(&bytes) })
    }

    /// Registers `file`, so that the kernel can read and write it itself where files are opened with it
    /// ([`Opened::backing`](crate::reply::Opened::backing)). Access is not checked by anybody after that. Since 7.40, with
    /// the capability `PASSTHROUGH`.
    ///
    /// All files that are open on one node at a time must have the same.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN` or without the capability; `ELOOP` if the file's filesystem is stacked too deep;
    /// `EOPNOTSUPP` if the transport does not lead to the kernel; `ENODEV` if the connection is over.
    pub fn open_backing(&self, file: impl AsFd) -> Result<Backing, Errno> {
        let transport = self.transport.upgrade().ok_or(Errno::ENODEV)?;
        let id = transport.open_backing(file.as_fd())?;
        Ok(Backing::new(id, self.transport.clone()))
    }

    /// A filesystem that needs what rings cannot do refuses `OVER_IO_URING` in its `init`.
    fn check_no_rings(&self) -> Result<(), Errno> {
        if self.negotiated.has(InitFlags::OVER_IO_URING) { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
    }

    fn check(&self, node: NodeId) -> Result<(), Errno> {
        if node.0 != 0 && SERVING.get().contains(&node.0) { Err(Errno::EDEADLK) } else { Ok(()) }
    }

    fn send(&self, notification: &Notification<'_>) -> Result<(), Errno> {
        if notification.since() > self.negotiated.minor {
            return Err(Errno::EOPNOTSUPP);
        }
        let message = notification.encode().map_err(|_| Errno::E2BIG)?;
        tracing::debug!(?notification, "notifying");
        let transport = self.transport.upgrade().ok_or(Errno::ENODEV)?;
        transport.send(&message).map_err(Errno::from)
    }
}

/// A range of bytes as the wire has it: the length 0 reaches to the end.
fn wire_range(range: impl RangeBounds<u64>) -> (i64, i64) {
    use std::ops::Bound;
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => Some(end.saturating_add(1)),
        Bound::Excluded(end) => Some(*end),
        Bound::Unbounded => None,
    };
    let wire = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    match end.map(|end| end.saturating_sub(start)) {
        // Nothing at all: a single byte behind all data, since 0 would reach to the end.
        Some(0) => (i64::MAX - 1, 1),
        Some(length) => (wire(start), wire(length)),
        None => (wire(start), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_reach_as_far_as_they_say() {
        assert_eq!(wire_range(..), (0, 0));
        assert_eq!(wire_range(5..), (5, 0));
        assert_eq!(wire_range(5..9), (5, 4));
        assert_eq!(wire_range(5..=9), (5, 5));
        assert_eq!(wire_range(7..7), (i64::MAX - 1, 1));
    }
}
