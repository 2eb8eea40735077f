//! Operations on ranges: copying between two files, and the shared window of virtio-fs.
//!
//! Reading and writing are in the module of files.

use crate::abi;
use crate::codec::{Args, DecodeError, EncodeError, RequestWriter};
use crate::flags::MappingFlags;
use crate::ids::{FileHandle, NodeId, Unique};
use crate::init::Negotiated;
use crate::op::list::{WireItem, WireList};
use crate::op::{Operation, operation};
use crate::opcode::Opcode;

operation! {
    alike {
        /// The file that is read.
        node node;
        fixed fuse_copy_file_range_in {
            /// The open file that is read.
            handle: FileHandle = fh_in;
            /// Where to begin reading.
            offset: u64 = off_in;
            /// The file that is written.
            out_node: NodeId = nodeid_out;
            /// The open file that is written.
            out_handle: FileHandle = fh_out;
            /// Where to begin writing.
            out_offset: u64 = off_out;
            /// How many bytes.
            length: u64 = len;
        }
        also {
            /// No flag is defined yet.
            flags: u64 = flags;
        }
    }
    /// Copies data from one open file to another of the same filesystem.
    ///
    /// Sent by copy_file_range(2). The number of bytes is answered in 32 bits, and the kernel takes `length` down to fit. `ENOSYS`
    /// is remembered: the kernel reads and writes instead.
    CopyFileRange = COPY_FILE_RANGE;
    /// As `COPY_FILE_RANGE`, but the number of bytes is answered in 64 bits. Since 7.45.
    ///
    /// Sent by copy_file_range(2). `ENOSYS` is remembered: the kernel uses `COPY_FILE_RANGE` from then on.
    CopyFileRange64 = COPY_FILE_RANGE_64;
}

/// The same, for no more bytes than the older operation can answer with.
impl From<CopyFileRange> for CopyFileRange64 {
    fn from(op: CopyFileRange) -> Self {
        let CopyFileRange { node, handle, offset, out_node, out_handle, out_offset, length, flags } = op;
        Self { node, handle, offset, out_node, out_handle, out_offset, length: length.min(u32::MAX.into()), flags }
    }
}

operation! {
    /// Maps a part of a file into the window that host and guest share. Sent by virtio-fs only.
    Setupmapping = SETUPMAPPING {
        /// The file.
        node node;
        fixed fuse_setupmapping_in {
            /// The open file; all ones if there is none.
            handle: FileHandle = fh;
            /// Where the part begins in the file.
            file_offset: u64 = foffset;
            /// How long it is, in bytes.
            length: u64 = len;
            /// What the mapping is for.
            flags: MappingFlags = flags;
            /// Where it goes in the window.
            window_offset: u64 = moffset;
        }
    }
}

/// One part of the window that a [`Removemapping`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Where it begins in the window.
    pub window_offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

impl WireItem for Mapping {
    type Raw = abi::fuse_removemapping_one;

    fn from_raw(raw: Self::Raw) -> Self {
        Self { window_offset: raw.moffset, length: raw.len }
    }

    fn to_raw(self) -> Self::Raw {
        abi::fuse_removemapping_one { moffset: self.window_offset, len: self.length }
    }
}

/// Takes mappings out of the window that host and guest share. Sent by virtio-fs only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removemapping<'a> {
    /// The file, or 0 for the whole filesystem.
    pub node: NodeId,
    /// The parts that go.
    pub mappings: WireList<'a, Mapping>,
}

impl<'a> Removemapping<'a> {
    /// Takes these parts out.
    #[must_use]
    pub fn new(node: NodeId, mappings: WireList<'a, Mapping>) -> Self {
        Self { node, mappings }
    }
}

impl<'a> Operation<'a> for Removemapping<'a> {
    fn opcode(&self) -> Opcode {
        Opcode::REMOVEMAPPING
    }

    fn node(&self) -> NodeId {
        self.node
    }

    fn decode(_: Unique, node: NodeId, args: &mut Args<'a>, _: &Negotiated) -> Result<Self, DecodeError> {
        let raw: abi::fuse_removemapping_in = args.fixed("fuse_removemapping_in")?;
        Ok(Self { node, mappings: WireList::take(args, "fuse_removemapping_one", raw.count)? })
    }

    fn encode(&self, _: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
        out.fixed(&abi::fuse_removemapping_in { count: self.mappings.count()? });
        out.payload(self.mappings.as_bytes());
        Ok(())
    }
}
