//! What came back for a request: the body of a successful reply, owned, and read as what it is.
//!
//! That the body has the right form was checked when it came.

use fusewire_proto::reply::{
    Attributes, Copied, Created, DirEntries, DirEntriesPlus, Entry, Lock, Offset, Opened, Polled, Reply, StatxReply,
    Written,
};
use fusewire_proto::{Errno, Negotiated, Opcode, Statfs, reply};

/// The body of a successful reply.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(crate) opcode: Opcode,
    pub(crate) limit: Option<u32>,
    pub(crate) negotiated: Negotiated,
    pub(crate) body: Vec<u8>,
}

/// Declares the ways to read an answer: one a kind of reply.
macro_rules! kinds {
    ($($(#[$doc:meta])* $method:ident: $kind:ident -> $result:ty;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// `EIO` if it is another kind of answer.
        pub fn $method(&self) -> Result<$result, Errno> {
            match self.reply()? {
                Reply::$kind(body) => Ok(body),
                _ => Err(Errno::EIO),
            }
        }
    )*};
}

impl Answer {
    /// The operation that is answered.
    #[must_use]
    pub fn opcode(&self) -> Opcode {
        self.opcode
    }

    /// The bytes behind the header.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The answer, whichever kind it is.
    ///
    /// # Errors
    /// `EIO` if it is not one at all.
    pub fn reply(&self) -> Result<Reply<'_>, Errno> {
        Reply::decode(&self.negotiated, self.opcode, self.limit, &self.body).map_err(|_| Errno::EIO)
    }

    kinds! {
        /// The entry that was looked up or made.
        entry: Entry -> Entry;
        /// Attributes.
        attributes: Attributes -> Attributes;
        /// A handle.
        opened: Opened -> Opened;
        /// An entry and a handle.
        created: Created -> Created;
        /// How much was written.
        written: Written -> Written;
        /// How much was copied.
        copied: Copied -> Copied;
        /// The numbers of the filesystem.
        statfs: Statfs -> Statfs;
        /// The value of an extended attribute, or a list of names, or how long either is.
        xattr: Xattr -> reply::Xattr<'_>;
        /// The outcome of the negotiation.
        init: Init -> reply::Init;
        /// Directory entries.
        dir_entries: DirEntries -> DirEntries<'_>;
        /// Directory entries with attributes.
        dir_entries_plus: DirEntriesPlus -> DirEntriesPlus<'_>;
        /// A lock.
        lock: Lock -> Lock;
        /// The answer to an ioctl.
        ioctl: Ioctl -> reply::Ioctl<'_>;
        /// Events.
        polled: Polled -> Polled;
        /// A position.
        offset: Offset -> Offset;
        /// Attributes of statx.
        statx: StatxReply -> StatxReply;
    }

    /// The data that were read.
    ///
    /// # Errors
    /// `EIO` if it is another kind of answer.
    pub fn data(&self) -> Result<&[u8], Errno> {
        match self.reply()? {
            Reply::Data(data) => Ok(data.bytes),
            _ => Err(Errno::EIO),
        }
    }
}
