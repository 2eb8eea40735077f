//! What the kernel asks: one struct an operation, named as its opcode.
//!
//! Each struct knows its wire form in both directions. Fields that a minor does not have are left at their default when
//! decoding, and not sent when encoding. What is answered is in [`reply`](crate::reply).

use core::fmt::Debug;

use crate::codec::{Args, DecodeError, EncodeError, RequestWriter};
use crate::ids::{NodeId, Unique};
use crate::init::Negotiated;
use crate::opcode::Opcode;

mod directory;
mod file;
mod filesystem;
mod inode;
mod list;
mod lock;
mod namespace;
mod range;
mod xattr;

pub use directory::*;
pub use file::*;
pub use filesystem::*;
pub use inode::*;
pub use list::{WireItem, WireList};
pub use lock::*;
pub use namespace::*;
pub use range::*;
pub use xattr::*;

/// An operation: the arguments of a request, as a value.
///
/// ```
/// use fusewire_proto::op::{Getattr, Operation, Readdir};
/// use fusewire_proto::{FileHandle, NodeId, Opcode};
///
/// let op = Getattr::new(NodeId::ROOT);
/// assert_eq!((op.opcode(), op.node(), op.reply_limit()), (Opcode::GETATTR, NodeId::ROOT, None));
/// assert_eq!(Readdir::new(NodeId(7), FileHandle(1), 0, 4096).reply_limit(), Some(4096));
/// ```
pub trait Operation<'a>: Copy + Debug + PartialEq {
    /// Which operation it is.
    fn opcode(&self) -> Opcode;

    /// Which node it is about, as the header of the request names it; 0 where there is none.
    fn node(&self) -> NodeId;

    /// How many bytes of reply the caller has room for, where the request says so; 0 asks only for the length.
    fn reply_limit(&self) -> Option<u32> {
        None
    }

    /// Takes the operation out of the arguments of a request.
    ///
    /// # Errors
    /// The bytes are too few, or a name or number in them is not allowed.
    fn decode(unique: Unique, node: NodeId, args: &mut Args<'a>, negotiated: &Negotiated) -> Result<Self, DecodeError>;

    /// Appends the operation in its wire form.
    ///
    /// # Errors
    /// A part is too long for the 32 bits of its length.
    fn encode(&self, negotiated: &Negotiated, out: &mut RequestWriter) -> Result<(), EncodeError>;
}

/// Declares an operation whose fields stand one for one in a struct of the header, followed by names.
///
/// `also` fields are left out of the constructor: protocol growth adds a field there and breaks nobody. Operations with the
/// same arguments are declared together, behind `alike`.
macro_rules! operation {
    (alike $arguments:tt $($(#[$doc:meta])* $name:ident = $opcode:ident;)+) => {
        $($crate::op::operation! {
            $(#[$doc])*
            $name = $opcode $arguments
        })+
    };
    (
        $(#[$doc:meta])*
        $name:ident $(<$lt:lifetime>)? = $opcode:ident {
            $(#[$node_doc:meta])*
            node $node:ident;
            $(
                fixed $abi:ident {
                    $($(#[$field_doc:meta])* $field:ident: $ty:ty = $wire:ident;)*
                }
                $(also {
                    $($(#[$also_doc:meta])* $also:ident: $also_ty:ty = $also_wire:ident $(since $since:literal)?;)*
                })?
            )?
            $(then { $($(#[$tail_doc:meta])* $tail:ident: $tail_ty:ty;)* })?
            $(limit $limit:ident;)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name $(<$lt>)? {
            $(#[$node_doc])*
            pub $node: $crate::ids::NodeId,
            $(
                $($(#[$field_doc])* pub $field: $ty,)*
                $($($(#[$also_doc])* pub $also: $also_ty,)*)?
            )?
            $($($(#[$tail_doc])* pub $tail: $tail_ty,)*)?
        }

        impl $(<$lt>)? $name $(<$lt>)? {
            /// The operation with these arguments, and all others at their default.
            #[must_use]
            pub fn new(
                $node: $crate::ids::NodeId,
                $($($field: $ty,)*)?
                $($($tail: $tail_ty,)*)?
            ) -> Self {
                Self {
                    $node,
                    $($($field,)* $($($also: Default::default(),)*)?)?
                    $($($tail,)*)?
                }
            }
        }

        impl<'a> $crate::op::Operation<'a> for $name $(<$lt>)? {
            fn opcode(&self) -> $crate::opcode::Opcode {
                $crate::opcode::Opcode::$opcode
            }

            fn node(&self) -> $crate::ids::NodeId {
                self.$node
            }

            $(
                fn reply_limit(&self) -> Option<u32> {
                    Some(self.$limit)
                }
            )?

            #[inline]
            #[expect(clippy::allow_attributes, reason = "which names are used depends on the operation")]
            #[allow(unused_variables, reason = "an operation may have no arguments")]
            fn decode(
                _unique: $crate::ids::Unique,
                $node: $crate::ids::NodeId,
                args: &mut $crate::codec::Args<'a>,
                negotiated: &$crate::init::Negotiated,
            ) -> Result<Self, $crate::codec::DecodeError> {
                $(let raw: $crate::abi::$abi = args.fixed(stringify!($abi))?;)?
                Ok(Self {
                    $node,
                    $(
                        $($field: $crate::codec::WireField::from_wire(raw.$wire),)*
                        $($($also: {
                            $crate::op::if_since!(negotiated, $($since)?, {
                                $crate::codec::WireField::from_wire(raw.$also_wire)
                            }, { Default::default() })
                        },)*)?
                    )?
                    $($($tail: $crate::codec::Tail::take(args, stringify!($tail))?,)*)?
                })
            }

            #[expect(clippy::allow_attributes, reason = "which names are used depends on the operation")]
            #[allow(unused_variables, unused_mut, reason = "an operation may have no arguments")]
            fn encode(
                &self,
                negotiated: &$crate::init::Negotiated,
                out: &mut $crate::codec::RequestWriter,
            ) -> Result<(), $crate::codec::EncodeError> {
                $(
                    let mut raw: $crate::abi::$abi = zerocopy::FromZeros::new_zeroed();
                    $(raw.$wire = $crate::codec::WireField::to_wire(self.$field);)*
                    $($(
                        $crate::op::if_since!(negotiated, $($since)?, {
                            raw.$also_wire = $crate::codec::WireField::to_wire(self.$also);
                        }, {});
                    )*)?
                    out.fixed(&raw);
                )?
                $($($crate::codec::Tail::put(&self.$tail, out);)*)?
                Ok(())
            }
        }
    };
}

/// Chooses by the negotiated minor, if a minor is named.
macro_rules! if_since {
    ($negotiated:ident, , $then:block, $otherwise:block) => {
        $then
    };
    ($negotiated:ident, $since:literal, $then:block, $otherwise:block) => {
        if $negotiated.minor >= $since $then else $otherwise
    };
}

pub(crate) use {if_since, operation};
