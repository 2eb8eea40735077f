//! Notifications: what the daemon tells the kernel unasked.
//!
//! On the wire a notification is a reply to request 0, with its code where the error would be. Sending one from inside a
//! handler that the kernel holds a lock for deadlocks; see the notifier of the session.

use alloc::vec::Vec;

use zerocopy::{FromZeros, Immutable, IntoBytes};

use crate::abi;
use crate::codec::{DecodeError, EncodeError, length_u32, length_usize, read_struct, read_whole};
use crate::flags::InvalEntryFlags;
use crate::header::ReplyHeader;
use crate::ids::{NodeId, NotifyUnique, PollHandle};
use crate::name::Name;
use crate::op::{WireItem, WireList};

/// What the daemon tells the kernel. Errors are those that writing it to the device gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notification<'a> {
    /// A file became ready: wakes whoever polls it. Since 7.11.
    Poll {
        /// What the `POLL` request named.
        poll_handle: PollHandle,
    },
    /// Cached data and attributes of a node are stale. `ENOENT` if the kernel does not know the node. Since 7.12.
    InvalInode {
        /// The node.
        node: NodeId,
        /// The first byte that is stale; negative: attributes only.
        offset: i64,
        /// How many bytes; 0 or less: to the end.
        length: i64,
    },
    /// A name may mean something else now. `ENOENT` if the kernel does not know the directory or the name. Since 7.12.
    InvalEntry {
        /// The directory.
        parent: NodeId,
        /// The name in it.
        name: &'a Name,
        /// Whether the entry goes, or only expires.
        flags: InvalEntryFlags,
    },
    /// Data for the page cache of a file. Since 7.15.
    Store {
        /// The file.
        node: NodeId,
        /// Where they go.
        offset: u64,
        /// The data.
        data: &'a [u8],
    },
    /// Asks for data of the page cache, which come as a `NOTIFY_REPLY`. Regular files only. Since 7.15.
    Retrieve {
        /// What the answer will name.
        notify_unique: NotifyUnique,
        /// The file.
        node: NodeId,
        /// The first byte.
        offset: u64,
        /// How many bytes.
        size: u32,
    },
    /// A name is gone. Since 7.18.
    Delete {
        /// The directory.
        parent: NodeId,
        /// The node that had the name.
        child: NodeId,
        /// The name.
        name: &'a Name,
    },
    /// Asks for every request again that was read and not answered. Since 7.40.
    Resend,
    /// All cached entries are to be looked up once more. Since 7.44.
    IncEpoch,
    /// The kernel should forget these nodes if nobody uses them. Since 7.45.
    Prune {
        /// The nodes.
        nodes: WireList<'a, NodeId>,
    },
}

impl WireItem for NodeId {
    type Raw = u64;

    fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    fn to_raw(self) -> u64 {
        self.0
    }
}

impl Notification<'_> {
    /// The code on the wire, `FUSE_NOTIFY_*`.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::Poll { .. } => abi::FUSE_NOTIFY_POLL,
            Self::InvalInode { .. } => abi::FUSE_NOTIFY_INVAL_INODE,
            Self::InvalEntry { .. } => abi::FUSE_NOTIFY_INVAL_ENTRY,
            Self::Store { .. } => abi::FUSE_NOTIFY_STORE,
            Self::Retrieve { .. } => abi::FUSE_NOTIFY_RETRIEVE,
            Self::Delete { .. } => abi::FUSE_NOTIFY_DELETE,
            Self::Resend => abi::FUSE_NOTIFY_RESEND,
            Self::IncEpoch => abi::FUSE_NOTIFY_INC_EPOCH,
            Self::Prune { .. } => abi::FUSE_NOTIFY_PRUNE,
        }
    }

    /// The protocol minor that it came with.
    #[must_use]
    pub fn since(&self) -> u32 {
        match self {
            Self::Poll { .. } => 11,
            Self::InvalInode { .. } | Self::InvalEntry { .. } => 12,
            Self::Store { .. } | Self::Retrieve { .. } => 15,
            Self::Delete { .. } => 18,
            Self::Resend => 40,
            Self::IncEpoch => 44,
            Self::Prune { .. } => 45,
        }
    }

    /// The whole message, header included.
    ///
    /// # Errors
    /// The name or the data are too long for the 32 bits of their length.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = alloc::vec![0; ReplyHeader::LENGTH];
        match *self {
            Self::Poll { poll_handle } => put(&mut out, &abi::fuse_notify_poll_wakeup_out { kh: poll_handle.0 }),
            Self::InvalInode { node, offset, length } => {
                put(&mut out, &abi::fuse_notify_inval_inode_out { ino: node.0, off: offset, len: length });
            }
            Self::InvalEntry { parent, name, flags } => {
                let namelen = length_u32(name.as_bytes().len(), "the name")?;
                put(&mut out, &abi::fuse_notify_inval_entry_out { parent: parent.0, namelen, flags: flags.bits() });
                put_name(&mut out, name);
            }
            Self::Store { node, offset, data } => {
                let size = length_u32(data.len(), "the data")?;
                put(&mut out, &abi::fuse_notify_store_out { nodeid: node.0, offset, size, padding: 0 });
                out.extend_from_slice(data);
            }
            Self::Retrieve { notify_unique, node, offset, size } => put(
                &mut out,
                &abi::fuse_notify_retrieve_out {
                    notify_unique: notify_unique.0,
                    nodeid: node.0,
                    offset,
                    size,
                    padding: 0,
                },
            ),
            Self::Delete { parent, child, name } => {
                let namelen = length_u32(name.as_bytes().len(), "the name")?;
                put(&mut out, &abi::fuse_notify_delete_out { parent: parent.0, child: child.0, namelen, padding: 0 });
                put_name(&mut out, name);
            }
            Self::Resend | Self::IncEpoch => {}
            Self::Prune { nodes } => {
                let mut raw = abi::fuse_notify_prune_out::new_zeroed();
                raw.count = nodes.count()?;
                put(&mut out, &raw);
                out.extend_from_slice(nodes.as_bytes());
            }
        }
        let header = abi::fuse_out_header {
            len: length_u32(out.len(), "the notification")?,
            error: self.code().cast_signed(),
            unique: 0,
        };
        if let Some(place) = out.get_mut(..ReplyHeader::LENGTH) {
            place.copy_from_slice(header.as_bytes());
        }
        Ok(out)
    }
}

impl<'a> Notification<'a> {
    /// Reads a message whose header has the number 0: what the kernel's side does.
    ///
    /// # Errors
    /// The bytes are not as many as the header says, it is not for request 0, the code is not known, or a part is cut short,
    /// too long or not a name.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut body = bytes;
        let header: abi::fuse_out_header = read_struct(&mut body, "fuse_out_header")?;
        let length = length_usize(header.len);
        if length != bytes.len() {
            return Err(DecodeError::Length { header: length, found: bytes.len() });
        }
        if header.unique != 0 {
            return Err(DecodeError::Value { what: "fuse_out_header.unique", value: header.unique });
        }
        let unknown = DecodeError::UnknownNotification(header.error);
        match u32::try_from(header.error).map_err(|_| unknown)? {
            abi::FUSE_NOTIFY_POLL => {
                let raw: abi::fuse_notify_poll_wakeup_out = read_whole(body, "fuse_notify_poll_wakeup_out")?;
                Ok(Self::Poll { poll_handle: PollHandle(raw.kh) })
            }
            abi::FUSE_NOTIFY_INVAL_INODE => {
                let raw: abi::fuse_notify_inval_inode_out = read_whole(body, "fuse_notify_inval_inode_out")?;
                Ok(Self::InvalInode { node: NodeId(raw.ino), offset: raw.off, length: raw.len })
            }
            abi::FUSE_NOTIFY_INVAL_ENTRY => {
                let what = "fuse_notify_inval_entry_out";
                let raw: abi::fuse_notify_inval_entry_out = read_struct(&mut body, what)?;
                Ok(Self::InvalEntry {
                    parent: NodeId(raw.parent),
                    name: take_name(body, raw.namelen, what)?,
                    flags: InvalEntryFlags::from_bits_retain(raw.flags),
                })
            }
            abi::FUSE_NOTIFY_STORE => {
                let what = "fuse_notify_store_out";
                let raw: abi::fuse_notify_store_out = read_struct(&mut body, what)?;
                let data = exactly(body, length_usize(raw.size), what)?;
                Ok(Self::Store { node: NodeId(raw.nodeid), offset: raw.offset, data })
            }
            abi::FUSE_NOTIFY_RETRIEVE => {
                let raw: abi::fuse_notify_retrieve_out = read_whole(body, "fuse_notify_retrieve_out")?;
                Ok(Self::Retrieve {
                    notify_unique: NotifyUnique(raw.notify_unique),
                    node: NodeId(raw.nodeid),
                    offset: raw.offset,
                    size: raw.size,
                })
            }
            abi::FUSE_NOTIFY_DELETE => {
                let what = "fuse_notify_delete_out";
                let raw: abi::fuse_notify_delete_out = read_struct(&mut body, what)?;
                Ok(Self::Delete {
                    parent: NodeId(raw.parent),
                    child: NodeId(raw.child),
                    name: take_name(body, raw.namelen, what)?,
                })
            }
            abi::FUSE_NOTIFY_RESEND => exactly(body, 0, "fuse_out_header").map(|_| Self::Resend),
            abi::FUSE_NOTIFY_INC_EPOCH => exactly(body, 0, "fuse_out_header").map(|_| Self::IncEpoch),
            abi::FUSE_NOTIFY_PRUNE => {
                let what = "fuse_notify_prune_out";
                let raw: abi::fuse_notify_prune_out = read_struct(&mut body, what)?;
                let length = length_usize(raw.count).saturating_mul(size_of::<u64>());
                Ok(Self::Prune { nodes: WireList::new(exactly(body, length, what)?) })
            }
            _ => Err(unknown),
        }
    }
}

fn put(out: &mut Vec<u8>, value: &(impl IntoBytes + Immutable)) {
    out.extend_from_slice(value.as_bytes());
}

/// The NUL is sent and not counted (`fs/fuse/dev.c fuse_notify_inval_entry()`).
fn put_name(out: &mut Vec<u8>, name: &Name) {
    out.extend_from_slice(name.as_bytes());
    out.push(0);
}

/// The body, which must have this length: the kernel refuses one that is longer, too.
fn exactly<'a>(body: &'a [u8], length: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
    match body.len() {
        found if found == length => Ok(body),
        found if found < length => Err(DecodeError::Truncated { what, needed: length, found }),
        found => Err(DecodeError::Length { header: length, found }),
    }
}

fn take_name<'a>(body: &'a [u8], length: u32, what: &'static str) -> Result<&'a Name, DecodeError> {
    match exactly(body, length_usize(length).saturating_add(1), what)?.split_last() {
        Some((0, name)) => Name::new(name).map_err(|_| DecodeError::Name { what }),
        _ => Err(DecodeError::Name { what }),
    }
}
