//! Replies of a number or two.
//!
//! Those that name or describe a node are in the module of entries.

use zerocopy::FromZeros;

use crate::abi;
use crate::codec::{DecodeError, EncodeError, WireField, read_whole};
use crate::errno::Errno;
use crate::flags::PollEvents;
use crate::init::Negotiated;
use crate::op::FileLock;
use crate::reply::{ReplyBody, ReplyWriter};

/// There is no reply at all: `FORGET` and its kin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nothing;

impl<'a> ReplyBody<'a> for Nothing {
    fn encode(&self, _: &Negotiated, _: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        Ok(())
    }

    fn decode(_: &Negotiated, _: Option<u32>, body: &'a [u8]) -> Result<Self, DecodeError> {
        empty(body).map(|()| Self)
    }
}

/// It is done: an empty body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done;

impl<'a> ReplyBody<'a> for Done {
    fn encode(&self, _: &Negotiated, _: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        Ok(())
    }

    fn decode(_: &Negotiated, _: Option<u32>, body: &'a [u8]) -> Result<Self, DecodeError> {
        empty(body).map(|()| Self)
    }
}

fn empty(body: &[u8]) -> Result<(), DecodeError> {
    if body.is_empty() { Ok(()) } else { Err(DecodeError::Length { header: 0, found: body.len() }) }
}

/// Declares replies that are one number in a struct of the header.
macro_rules! number_replies {
    ($($(#[$doc:meta])* $name:ident { $(#[$field_doc:meta])* $field:ident: $ty:ty = $abi:ident.$wire:ident };)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $(#[$field_doc])*
            pub $field: $ty,
        }

        impl<'a> ReplyBody<'a> for $name {
            fn encode(&self, _: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
                let mut raw = abi::$abi::new_zeroed();
                raw.$wire = self.$field.to_wire();
                out.put(&raw)
            }

            fn decode(_: &Negotiated, _: Option<u32>, body: &'a [u8]) -> Result<Self, DecodeError> {
                let raw: abi::$abi = read_whole(body, stringify!($abi))?;
                Ok(Self { $field: WireField::from_wire(raw.$wire) })
            }
        }
    )*};
}

number_replies! {
    /// The answer to `WRITE` and `COPY_FILE_RANGE`: how much was written.
    Written {
        /// Bytes, no more than were sent.
        size: u32 = fuse_write_out.size
    };
    /// The answer to `COPY_FILE_RANGE_64`: how much was copied. Since 7.45.
    Copied {
        /// Bytes, no more than were asked for.
        size: u64 = fuse_copy_file_range_out.bytes_copied
    };
    /// The answer to `BMAP`.
    Block {
        /// The block of the device; 0 if the file has none there.
        block: u64 = fuse_bmap_out.block
    };
    /// The answer to `LSEEK`.
    Offset {
        /// Bytes from the start of the file.
        offset: u64 = fuse_lseek_out.offset
    };
    /// The answer to `POLL`.
    Polled {
        /// The events that have happened.
        events: PollEvents = fuse_poll_out.revents
    };
}

/// The same in 32 bits; `EIO` if it does not fit, as more was copied than was asked for.
impl TryFrom<Copied> for Written {
    type Error = Errno;

    fn try_from(copied: Copied) -> Result<Self, Errno> {
        u32::try_from(copied.size).map(|size| Self { size }).map_err(|_| Errno::EIO)
    }
}

/// The answer to `GETLK`: the lock that is in the way, or the kind `UNLOCK` if there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// The lock.
    pub lock: FileLock,
}

impl<'a> ReplyBody<'a> for Lock {
    fn encode(&self, _: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        out.put(&abi::fuse_lk_out { lk: self.lock.to_abi() })
    }

    fn decode(_: &Negotiated, _: Option<u32>, body: &'a [u8]) -> Result<Self, DecodeError> {
        let raw: abi::fuse_lk_out = read_whole(body, "fuse_lk_out")?;
        Ok(Self { lock: FileLock::from_abi(raw.lk) })
    }
}

/// The answer to `STATFS`.
pub use crate::attr::Statfs;

impl<'a> ReplyBody<'a> for Statfs {
    fn encode(&self, _: &Negotiated, out: &mut ReplyWriter<'_>) -> Result<(), EncodeError> {
        out.put(&abi::fuse_statfs_out {
            st: abi::fuse_kstatfs {
                blocks: self.blocks,
                bfree: self.bfree,
                bavail: self.bavail,
                files: self.files,
                ffree: self.ffree,
                bsize: self.bsize,
                namelen: self.namelen,
                frsize: self.frsize,
                padding: 0,
                spare: [0; 6],
            },
        })
    }

    fn decode(_: &Negotiated, _: Option<u32>, body: &'a [u8]) -> Result<Self, DecodeError> {
        let raw: abi::fuse_statfs_out = read_whole(body, "fuse_statfs_out")?;
        let st = raw.st;
        Ok(Self {
            blocks: st.blocks,
            bfree: st.bfree,
            bavail: st.bavail,
            files: st.files,
            ffree: st.ffree,
            bsize: st.bsize,
            namelen: st.namelen,
            frsize: st.frsize,
        })
    }
}
