//! How the header's structs and constants look as data.
//!
//! The values are filled in by the macros that declare the structs, so they cannot differ from what was compiled.

/// A struct of the header.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Struct {
    /// The kernel's name for it.
    pub name: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// Its fields, in order.
    pub fields: &'static [Field],
}

/// A field of a [`Struct`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Field {
    /// The name as Rust spells it: the kernel's, with `r#` before a keyword.
    pub name: &'static str,
    /// The Rust type.
    pub type_name: &'static str,
    /// Bytes from the start of the struct.
    pub offset: usize,
}

/// A constant of the header.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Constant {
    /// The kernel's name for it.
    pub name: &'static str,
    /// Its value; flag words and numbers alike.
    pub value: u64,
}
