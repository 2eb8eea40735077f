//! Lists of fixed structs at the end of a request, read one at a time from the bytes that came.
//!
//! Nothing is allocated by a count from the wire; the bytes that it promises must be there first.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::codec::{Args, DecodeError, EncodeError, length_u32, length_usize};

/// What a [`WireList`] is made of.
///
/// ```
/// use fusewire_proto::op::{Forgotten, WireList};
/// use fusewire_proto::NodeId;
///
/// let two = Forgotten { node: NodeId(2), nlookup: 1 };
/// let three = Forgotten { node: NodeId(3), nlookup: 5 };
/// let bytes = WireList::bytes_of(&[two, three]);
/// let counts: Vec<_> = WireList::<Forgotten>::new(&bytes).iter().map(|item| item.nlookup).collect();
/// assert_eq!(counts, [1, 5]);
/// ```
pub trait WireItem: Copy + fmt::Debug {
    /// The struct of the header that holds it.
    #[doc(hidden)]
    type Raw: FromBytes + IntoBytes + KnownLayout + Immutable;
    /// From the struct of the header.
    #[doc(hidden)]
    fn from_raw(raw: Self::Raw) -> Self;
    /// To the struct of the header.
    #[doc(hidden)]
    fn to_raw(self) -> Self::Raw;
}

/// A list of items, borrowed from the bytes of a request.
#[derive(Clone, Copy)]
pub struct WireList<'a, T> {
    /// Whole items only.
    bytes: &'a [u8],
    items: PhantomData<T>,
}

impl<'a, T: WireItem> WireList<'a, T> {
    /// The list whose wire form is `bytes`, as [`bytes_of`](Self::bytes_of) makes it. A part of an item at the end is left
    /// out.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let whole = bytes.len() - bytes.len() % size_of::<T::Raw>();
        Self { bytes: bytes.get(..whole).unwrap_or(&[]), items: PhantomData }
    }

    /// The wire form of `items`, to be borrowed by a list.
    #[must_use]
    pub fn bytes_of(items: &[T]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size_of::<T::Raw>().saturating_mul(items.len()));
        for item in items {
            bytes.extend_from_slice(item.to_raw().as_bytes());
        }
        bytes
    }

    /// The items, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let (raw, tail) = T::Raw::read_from_prefix(rest).ok()?;
            rest = tail;
            Some(T::from_raw(raw))
        })
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / size_of::<T::Raw>()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn take(args: &mut Args<'a>, what: &'static str, count: u32) -> Result<Self, DecodeError> {
        let length = length_usize(count).saturating_mul(size_of::<T::Raw>());
        Ok(Self::new(args.data(what, length)?))
    }

    pub(crate) fn count(&self) -> Result<u32, EncodeError> {
        length_u32(self.len(), "the list")
    }

    pub(crate) fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<T> PartialEq for WireList<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> Eq for WireList<'_, T> {}

impl<T: WireItem> fmt::Debug for WireList<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
