//! Operations on extended attributes. POSIX ACLs come as the attributes `system.posix_acl_access` and `_default`.
//!
//! All of them are remembered as not supported once they were answered with `ENOSYS`.

use zerocopy::IntoBytes;

use crate::abi;
use crate::codec::{Args, DecodeError, EncodeError, RequestWriter, Tail, WireField, length_u32, length_usize};
use crate::flags::{SetxattrFlags, XattrFlags};
use crate::ids::{NodeId, Unique};
use crate::init::{InitFlags, Negotiated};
use crate::name::XattrName;
use crate::op::{Operation, operation};
use crate::opcode::Opcode;

operation! {
    /// Reads an extended attribute. With `size` 0, asks how long it is.
    ///
    /// Sent by getxattr(2); also before writes, for `security.capability`, unless `HANDLE_KILLPRIV_V2` is negotiated. The
    /// answer is `ENODATA` if it is not there, and `ERANGE` if it does not fit into `size`.
    Getxattr<'a> = GETXATTR {
        /// The node.
        node node;
        fixed fuse_getxattr_in {
            /// Bytes of room for the value; 0 asks for its length.
            size: u32 = size;
        }
        then {
            /// The name of the attribute.
            name: &'a XattrName;
        }
        limit size;
    }
}

operation! {
    /// Lists the names of the extended attributes, each ended by a NUL. With `size` 0, asks how long the list is.
    ///
    /// Sent by listxattr(2).
    Listxattr = LISTXATTR {
        /// The node.
        node node;
        fixed fuse_getxattr_in {
            /// Bytes of room for the list; 0 asks for its length.
            size: u32 = size;
        }
        limit size;
    }
}

operation! {
    /// Removes an extended attribute; `ENODATA` if it is not there.
    ///
    /// Sent by removexattr(2).
    Removexattr<'a> = REMOVEXATTR {
        /// The node.
        node node;
        then {
            /// The name of the attribute.
            name: &'a XattrName;
        }
    }
}

/// Sets an extended attribute.
///
/// Sent by setxattr(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setxattr<'a> {
    /// The node.
    pub node: NodeId,
    /// The name of the attribute.
    pub name: &'a XattrName,
    /// Its new value.
    pub value: &'a [u8],
    /// Whether it must, or must not, be there already.
    pub flags: XattrFlags,
    /// What is asked along with it. Since 7.33, if `SETXATTR_EXT` is negotiated.
    pub setxattr_flags: SetxattrFlags,
}

impl<'a> Setxattr<'a> {
    /// Sets `name` to `value`, whether it is there or not.
    #[must_use]
    pub fn new(node: NodeId, name: &'a XattrName, value: &'a [u8]) -> Self {
        Self { node, name, value, flags: XattrFlags::empty(), setxattr_flags: SetxattrFlags::empty() }
    }
}

impl<'a> Operation<'a> for Setxattr<'a> {
    fn opcode(&self) -> Opcode {
        Opcode::SETXATTR
    }

    fn node(&self) -> NodeId {
        self.node
    }

    fn decode(_: Unique, node: NodeId, args: &mut Args<'a>, negotiated: &Negotiated) -> Result<Self, DecodeError> {
        let what = "fuse_setxattr_in";
        let (size, flags, setxattr_flags) = if negotiated.has(InitFlags::SETXATTR_EXT) {
            let raw: abi::fuse_setxattr_in = args.fixed(what)?;
            (raw.size, raw.flags, raw.setxattr_flags)
        } else {
            let [size, flags]: [u32; 2] = args.fixed(what)?;
            (size, flags, 0)
        };
        Ok(Self {
            node,
            name: Tail::take(args, "name")?,
            value: args.data("value", length_usize(size))?,
            flags: WireField::from_wire(flags),
            setxattr_flags: WireField::from_wire(setxattr_flags),
        })
    }

    fn encode(&self, negotiated: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError> {
        let raw = abi::fuse_setxattr_in {
            size: length_u32(self.value.len(), "value")?,
            flags: self.flags.bits(),
            setxattr_flags: self.setxattr_flags.bits(),
            padding: 0,
        };
        if negotiated.has(InitFlags::SETXATTR_EXT) {
            out.fixed(&raw);
        } else {
            out.fixed(raw.as_bytes().get(..abi::FUSE_COMPAT_SETXATTR_IN_SIZE).unwrap_or(&[]));
        }
        self.name.put(out);
        out.payload(self.value);
        Ok(())
    }
}
