//! Directory entries: the answers to `READDIR` and `READDIRPLUS`.
//!
//! An entry is written only whole. Where listing goes on is up to the filesystem: the offset of an entry leads to the one
//! behind it.

use core::fmt;

use zerocopy::{FromZeros, IntoBytes};

use crate::abi;
use crate::attr::FileType;
use crate::codec::{DecodeError, EncodeError, length_u32, length_usize, read_struct};
use crate::init::Negotiated;
use crate::name::Name;
use crate::reply::{Entry, ReplyBody, ReplyWriter, within};

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dirent<'a> {
    /// The inode number (`d_ino`); not the node id.
    pub ino: u64,
    /// Where listing goes on behind this entry. Not 0, and no other entry's.
    pub offset: u64,
    /// The type of the file, or unknown.
    pub kind: FileType,
    /// The name.
    pub name: &'a Name,
}

impl<'a> Dirent<'a> {
    /// An entry with this inode number, type and name; listing goes on behind it at `offset`.
    #[must_use]
    pub fn new(ino: u64, offset: u64, kind: FileType, name: &'a Name) -> Self {
        Self { ino, offset, kind, name }
    }

    /// How many bytes the entry takes in a `READDIR` reply, padding included.
    #[must_use]
    pub fn size(&self) -> usize {
        (abi::FUSE_NAME_OFFSET + self.name.as_bytes().len()).next_multiple_of(8)
    }

    /// Appends the entry to a `READDIR` reply.
    ///
    /// # Errors
    /// It does not fit; then nothing is written.
    #[inline]
    pub fn put(&self, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        self.put_behind(&[], out)
    }

    /// Appends the entry to a `READDIRPLUS` reply. `entry` makes the lookup, and is called only if there is room: from then
    /// on the lookup counts.
    ///
    /// # Errors
    /// It does not fit; then nothing is written, and `entry` is not called.
    pub fn put_plus(
        &self,
        negotiated: &Negotiated,
        entry: impl FnOnce() -> Entry,
        out: &mut ReplyWriter<'_>,
    ) -> Result<(), EncodeError> {
        if out.remaining() < size_of::<abi::fuse_entry_out>() + self.size() {
            return Err(EncodeError::TooLong { what: "the entry" });
        }
        self.put_behind(entry().to_abi(negotiated).as_bytes(), out)
    }

    #[inline]
    fn put_behind(&self, front: &[u8], out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        let too_long = EncodeError::TooLong { what: "the entry" };
        let name = self.name.as_bytes();
        let raw = abi::fuse_dirent {
            ino: self.ino,
            off: self.offset,
            namelen: length_u32(name.len(), "the name")?,
            r#type: self.kind.dirent_type(),
        };
        let total = front.len() + self.size();
        let place = out.spare().get_mut(..total).ok_or(too_long)?;
        let (front_place, place) = place.split_at_mut_checked(front.len()).ok_or(too_long)?;
        let (fixed, place) = place.split_at_mut_checked(abi::FUSE_NAME_OFFSET).ok_or(too_long)?;
        // The padding is within the last eight bytes, if there is any; the name goes over the rest of them.
        if let Some(last) = place.last_chunk_mut::<8>() {
            *last = [0; 8];
        }
        front_place.copy_from_slice(front);
        fixed.copy_from_slice(raw.as_bytes());
        place.get_mut(..name.len()).ok_or(too_long)?.copy_from_slice(name);
        out.advance(total);
        Ok(())
    }

    fn take(rest: &mut &'a [u8]) -> Result<Self, DecodeError> {
        let what = "fuse_dirent";
        let raw: abi::fuse_dirent = read_struct(rest, what)?;
        let length = length_usize(raw.namelen);
        // The struct in front is a multiple of eight bytes, so the padding depends on the name alone.
        let padded = length.checked_next_multiple_of(8).unwrap_or(usize::MAX);
        let truncated = DecodeError::Truncated { what, needed: padded, found: rest.len() };
        let (place, tail) = rest.split_at_checked(padded).ok_or(truncated)?;
        let name = place.get(..length).ok_or(truncated)?;
        *rest = tail;
        let name = Name::new(name).map_err(|_| DecodeError::Name { what })?;
        Ok(Self { ino: raw.ino, offset: raw.off, kind: FileType::from_dirent(raw.r#type), name })
    }
}

macro_rules! entry_lists {
    ($($(#[$doc:meta])* $name:ident, $item:ty, $take:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name<'a> {
            bytes: &'a [u8],
        }

        impl<'a> $name<'a> {
            /// The entries whose wire form is `bytes`.
            #[must_use]
            pub fn new(bytes: &'a [u8]) -> Self {
                Self { bytes }
            }

            /// The entries, in order; an error ends them.
            pub fn iter(
                &self,
                negotiated: &Negotiated,
            ) -> impl Iterator<Item = Result<$item, DecodeError>> + use<'a> {
                let mut rest = self.bytes;
                let negotiated = *negotiated;
                core::iter::from_fn(move || {
                    if rest.is_empty() {
                        return None;
                    }
                    let item = $take(&negotiated, &mut rest);
                    if item.is_err() {
                        rest = &[];
                    }
                    Some(item)
                })
            }
        }

        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.iter(&Negotiated::default())).finish()
            }
        }

        impl<'a> ReplyBody<'a> for $name<'a> {
            fn encode(&self, _: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
                out.put_bytes(self.bytes)
            }

            fn decode(negotiated: &Negotiated, limit: Option<u32>, bytes: &'a [u8]) -> Result<Self, DecodeError> {
                within(limit, bytes)?;
                let list = Self { bytes };
                list.iter(negotiated).try_for_each(|item| item.map(|_| ()))?;
                Ok(list)
            }
        }
    )*};
}

fn take_plain<'a>(_: &Negotiated, rest: &mut &'a [u8]) -> Result<Dirent<'a>, DecodeError> {
    Dirent::take(rest)
}

fn take_plus<'a>(negotiated: &Negotiated, rest: &mut &'a [u8]) -> Result<(Entry, Dirent<'a>), DecodeError> {
    let raw: abi::fuse_entry_out = read_struct(rest, "fuse_entry_out")?;
    Ok((Entry::from_abi(&raw, negotiated), Dirent::take(rest)?))
}

entry_lists! {
    /// The answer to `READDIR`: no entries at all is the end of the directory.
    DirEntries, Dirent<'a>, take_plain;
    /// The answer to `READDIRPLUS`: each entry with what a lookup of it would answer. A node id of 0 says nothing about the
    /// node, and adds no lookup.
    DirEntriesPlus, (Entry, Dirent<'a>), take_plus;
}

// A name begins right behind the struct, which needs no padding.
const _: () =
    assert!(size_of::<abi::fuse_dirent>() == abi::FUSE_NAME_OFFSET && abi::FUSE_NAME_OFFSET.is_multiple_of(8));
const _: () =
    assert!(size_of::<abi::fuse_entry_out>() + size_of::<abi::fuse_dirent>() == abi::FUSE_NAME_OFFSET_DIRENTPLUS);

impl Entry {
    /// What stands in a `READDIRPLUS` reply for an entry that was not looked up, as `.` and `..` never are.
    #[must_use]
    pub fn not_looked_up() -> Self {
        let raw = abi::fuse_entry_out::new_zeroed();
        Self::from_abi(&raw, &Negotiated::default())
    }
}
