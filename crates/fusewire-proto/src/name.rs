//! Byte strings that the protocol ends with a NUL: names, xattr names and symlink targets, each checked once.
//!
//! None of them has to be UTF-8. With the `std` feature they act as [`OsStr`](std::ffi::OsStr).

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Why bytes are not a [`Name`], an [`XattrName`] or a [`LinkTarget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidBytes {
    /// There are none.
    Empty,
    /// There is a NUL among them.
    Nul,
    /// There is a slash among them, where one component of a path is expected.
    Slash,
}

impl fmt::Display for InvalidBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the name is empty",
            Self::Nul => "the name has a NUL in it",
            Self::Slash => "the name has a slash in it",
        })
    }
}

impl core::error::Error for InvalidBytes {}

/// Whether `byte` is among `bytes`, eight at a time: a directory is listed at a few nanoseconds an entry.
fn has_byte(bytes: &[u8], byte: u8) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);
    let in_word = |word: &[u8; 8]| {
        // What is looked for is zero now; subtracting borrows into its top bit.
        let word = u64::from_ne_bytes(*word) ^ u64::from_ne_bytes([byte; 8]);
        word.wrapping_sub(ONES) & !word & TOPS != 0
    };
    match bytes.last_chunk() {
        // The last word covers again a part of the one before it.
        Some(last) => in_word(last) || bytes.as_chunks().0.iter().any(in_word),
        None => bytes.contains(&byte),
    }
}

macro_rules! byte_strings {
    ($($(#[$doc:meta])* $name:ident: $($refused:literal => $why:ident),+;)*) => {$(
        $(#[$doc])*
        #[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(C)]
        pub struct $name([u8]);

        impl $name {
            /// Takes `bytes` for what this type stands for.
            ///
            /// # Errors
            /// What is wrong with them, if this type refuses them.
            pub fn new(bytes: &[u8]) -> Result<&Self, InvalidBytes> {
                if bytes.is_empty() {
                    return Err(InvalidBytes::Empty);
                }
                $(if has_byte(bytes, $refused) {
                    return Err(InvalidBytes::$why);
                })+
                Self::ref_from_bytes(bytes).map_err(|_| InvalidBytes::Empty)
            }

            /// The bytes, without a NUL at the end.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// The same, as the standard library's type for such strings.
            #[cfg(feature = "std")]
            #[must_use]
            pub fn as_os_str(&self) -> &std::ffi::OsStr {
                std::os::unix::ffi::OsStrExt::from_bytes(&self.0)
            }
        }

        #[cfg(feature = "std")]
        impl core::ops::Deref for $name {
            type Target = std::ffi::OsStr;

            fn deref(&self) -> &std::ffi::OsStr {
                self.as_os_str()
            }
        }

        #[cfg(feature = "std")]
        impl AsRef<std::path::Path> for $name {
            fn as_ref(&self) -> &std::path::Path {
                self.as_os_str().as_ref()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"{}\"", self.0.escape_ascii())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.escape_ascii().fmt(f)
            }
        }
    )*};
}

byte_strings! {
    /// One component of a path: not empty, no NUL, no slash. `.` and `..` occur in lookups for an NFS server.
    Name: 0 => Nul, b'/' => Slash;
    /// The name of an extended attribute, with its namespace: `user.comment`. Slashes are allowed.
    XattrName: 0 => Nul;
    /// What a symbolic link points to. Nobody checks that it leads anywhere.
    LinkTarget: 0 => Nul;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_byte_is_found_wherever_it_is() {
        for length in 1..40 {
            for other in [1, b'.', b'a', 0x7f, 0x80, 0xff] {
                let mut bytes = alloc::vec![other; length];
                assert!(Name::new(&bytes).is_ok());
                for at in 0..length {
                    for (refused, why) in [(0, InvalidBytes::Nul), (b'/', InvalidBytes::Slash)] {
                        bytes[at] = refused;
                        assert_eq!(Name::new(&bytes), Err(why));
                    }
                    bytes[at] = other;
                }
            }
        }
    }
}
