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
                for byte in bytes {
                    match byte {
                        $($refused => return Err(InvalidBytes::$why),)+
                        _ => {}
                    }
                }
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
