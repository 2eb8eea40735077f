//! `linux/fuse.h` of FUSE 7.45 in Rust: structs, constants, and both once more as data.
//!
//! The names are the kernel's, so that a search for `fuse_entry_out` finds the header and this crate alike. Nothing is
//! interpreted here. [`STRUCTS`] and [`CONSTANTS`] describe what was compiled, for tests and for generated pages.
#![expect(missing_docs, reason = "the kernel's header is the documentation of its structs")]

mod layout;

/// Declares structs of the header and, in the same breath, their layout as data.
macro_rules! abi_structs {
    ($($name:ident { $($field:ident: $ty:ty,)* })*) => {
        $(
            #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
            #[repr(C)]
            pub struct $name {
                $(pub $field: $ty,)*
            }
        )*

        /// Every struct above, as compiled.
        pub const STRUCTS: &[Struct] = &[$(
            Struct {
                name: stringify!($name),
                size: size_of::<$name>(),
                fields: &[$(
                    Field {
                        name: stringify!($field),
                        type_name: stringify!($ty),
                        offset: core::mem::offset_of!($name, $field),
                    },
                )*],
            },
        )*];
    };
}

/// Declares constants of the header and, in the same breath, a list of them.
macro_rules! abi_constants {
    ($($name:ident: $ty:ty = $value:expr;)*) => {
        $(pub const $name: $ty = $value;)*

        /// Every constant above, by name.
        pub const CONSTANTS: &[Constant] = &[$(
            Constant { name: stringify!($name), value: $name as u64 },
        )*];
    };
}

mod constants;
mod structs;

pub use constants::*;
pub use layout::{Constant, Field, Struct};
pub use structs::*;
