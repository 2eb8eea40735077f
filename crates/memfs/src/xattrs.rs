//! The extended attributes of a node.
//!
//! Who may see and set which is checked by the kernel, but for what is said here. ACLs are attributes as the others; what they
//! mean is in `acl`.

use fusewire::{Errno, XattrFlags, XattrName};

use crate::space::{BLOCK, Space};

/// The longest list of names, in bytes: listxattr(2) cannot return more.
const LONGEST_LIST: usize = 64 << 10;
/// The longest value, in bytes: setxattr(2) cannot pass more.
const LONGEST_VALUE: usize = 64 << 10;

/// Namespaces that are kept.
const NAMESPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// The ACL that access is checked with.
pub(crate) const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// The ACL that new entries of a directory get.
pub(crate) const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
/// The capabilities of a program.
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

/// A name and its value.
#[derive(Debug)]
struct Xattr {
    name: Box<[u8]>,
    value: Box<[u8]>,
}

/// The attributes of a node, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Xattrs {
    entries: Vec<Xattr>,
    /// Bytes of names and values.
    bytes: usize,
    /// Blocks that are counted for them.
    blocks: u64,
}

fn blocks_for(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BLOCK)
}

/// Refuses names that no namespace has.
///
/// # Errors
/// `EOPNOTSUPP`; `EINVAL` for a namespace without a name, as `fs/xattr.c xattr_resolve_name()` has it.
pub(crate) fn check_name(name: &XattrName) -> Result<(), Errno> {
    let name = name.as_bytes();
    if name == ACL_ACCESS || name == ACL_DEFAULT {
        return Ok(());
    }
    match NAMESPACES.iter().find_map(|space| name.strip_prefix(*space)) {
        Some([]) => Err(Errno::EINVAL),
        Some(_) => Ok(()),
        None => Err(Errno::EOPNOTSUPP),
    }
}

impl Xattrs {
    fn position(&self, name: &[u8]) -> Option<usize> {
        self.entries.iter().position(|entry| *entry.name == *name)
    }

    pub(crate) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.entries.iter().find(|entry| *entry.name == *name).map(|entry| &*entry.value)
    }

    /// The names, in order. Those in `trusted.` are for whoever may use them.
    pub(crate) fn names(&self, with_trusted: bool) -> impl Iterator<Item = &[u8]> {
        let names = self.entries.iter().map(|entry| &*entry.name);
        names.filter(move |name| with_trusted || !name.starts_with(b"trusted."))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// `EEXIST` or `ENODATA` as `flags` have it; `E2BIG` if the value is longer than any may be; `ENOSPC` if there is no room.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8], flags: XattrFlags, space: &Space) -> Result<(), Errno> {
        let position = self.position(name);
        if value.len() > LONGEST_VALUE {
            return Err(Errno::E2BIG);
        }
        if position.is_some() && flags.contains(XattrFlags::CREATE) {
            return Err(Errno::EEXIST);
        }
        if position.is_none() && flags.contains(XattrFlags::REPLACE) {
            return Err(Errno::ENODATA);
        }
        let list: usize = self.entries.iter().map(|entry| entry.name.len() + 1).sum();
        if position.is_none() && list + name.len() + 1 > LONGEST_LIST {
            return Err(Errno::ENOSPC);
        }
        let old =
            position.and_then(|index| self.entries.get(index)).map_or(0, |entry| entry.name.len() + entry.value.len());
        self.resize(self.bytes - old + name.len() + value.len(), space)?;
        match position.and_then(|index| self.entries.get_mut(index)) {
            Some(entry) => entry.value = value.into(),
            None => self.entries.push(Xattr { name: name.into(), value: value.into() }),
        }
        Ok(())
    }

    /// Removes an attribute; says whether it was there.
    pub(crate) fn remove(&mut self, name: &[u8], space: &Space) -> bool {
        let Some(index) = self.position(name) else { return false };
        let entry = self.entries.remove(index);
        // Less always fits.
        let _ = self.resize(self.bytes - entry.name.len() - entry.value.len(), space);
        true
    }

    /// Counts `bytes` from now on.
    fn resize(&mut self, bytes: usize, space: &Space) -> Result<(), Errno> {
        let blocks = blocks_for(bytes);
        if blocks > self.blocks {
            space.take_blocks(blocks - self.blocks)?;
        } else {
            space.give_blocks(self.blocks - blocks);
        }
        self.bytes = bytes;
        self.blocks = blocks;
        Ok(())
    }

    /// Gives back what was counted.
    pub(crate) fn dismantle(&mut self, space: &Space) {
        self.entries = Vec::new();
        let _ = self.resize(0, space);
    }
}
