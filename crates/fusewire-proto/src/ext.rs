//! Extensions of a request that makes an inode: a security context for it, and groups of the caller.
//!
//! Before 7.38 a security context stood bare behind the names; since then every extension has a header of its own and the
//! request says how long they are together. Unknown extensions are passed over.

use alloc::vec::Vec;

use zerocopy::{FromBytes, IntoBytes};

use crate::abi;
use crate::codec::{DecodeError, EncodeError, RequestWriter, length_u32, length_usize, read_struct};
use crate::ids::Gid;
use crate::name::XattrName;

/// What came along with a request that makes an inode. Empty for all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions<'a> {
    /// Records of `fuse_secctx`, checked.
    contexts: &'a [u8],
    /// Numbers of groups, checked to be whole.
    groups: &'a [u8],
}

/// A label that a security module gives the new inode, to be stored as an extended attribute. Since 7.36.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecurityContext<'a> {
    /// The name of the attribute, such as `security.selinux`.
    pub name: &'a XattrName,
    /// The label.
    pub value: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Takes apart what the length in the request's header set aside.
    pub(crate) fn decode(mut bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut found = Self::default();
        while !bytes.is_empty() {
            let mut record = bytes;
            let header: abi::fuse_ext_header = read_struct(&mut record, "fuse_ext_header")?;
            let size = length_usize(header.size);
            let (record, rest) = match (size.checked_sub(size_of::<abi::fuse_ext_header>()), size % 8) {
                (Some(size), 0) => record.split_at_checked(size).ok_or(DecodeError::Truncated {
                    what: "an extension",
                    needed: size,
                    found: record.len(),
                })?,
                _ => {
                    return Err(DecodeError::Value { what: "fuse_ext_header.size", value: u64::from(header.size) });
                }
            };
            match header.r#type {
                count if count <= abi::FUSE_MAX_NR_SECCTX => found.contexts = check_contexts(record, count)?,
                abi::FUSE_EXT_GROUPS => found.groups = check_groups(record)?,
                _ => {}
            }
            bytes = rest;
        }
        Ok(found)
    }

    /// Takes apart a security context that stands bare behind the names (7.36 and 7.37).
    pub(crate) fn decode_bare(mut bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let header: abi::fuse_secctx_header = read_struct(&mut bytes, "fuse_secctx_header")?;
        if header.nr_secctx > abi::FUSE_MAX_NR_SECCTX {
            return Err(DecodeError::Value {
                what: "fuse_secctx_header.nr_secctx",
                value: u64::from(header.nr_secctx),
            });
        }
        Ok(Self { contexts: check_contexts(bytes, header.nr_secctx)?, groups: &[] })
    }

    /// The security contexts; the kernel sends one at most.
    pub fn security_contexts(&self) -> impl Iterator<Item = SecurityContext<'a>> + use<'a> {
        let mut rest = self.contexts;
        core::iter::from_fn(move || next_context(&mut rest).ok())
    }

    /// Groups of the caller that matter for the new inode: the kernel sends the group of the parent directory if the caller
    /// is in it. Since 7.38.
    pub fn groups(&self) -> impl Iterator<Item = Gid> + use<'a> {
        let mut rest = self.groups;
        core::iter::from_fn(move || {
            let (group, tail) = u32::read_from_prefix(rest).ok()?;
            rest = tail;
            Some(Gid(group))
        })
    }

    /// Encodes them in records, each with a header; or, if `bare`, only the security contexts, as before 7.38.
    ///
    /// # Errors
    /// They are too many, or too long for the 32 bits of a length.
    pub(crate) fn encode(&self, bare: bool, out: &mut RequestWriter) -> Result<(), EncodeError> {
        let too_long = EncodeError::TooLong { what: "the security context" };
        let count = u32::try_from(self.security_contexts().count()).map_err(|_| too_long)?;
        if count > abi::FUSE_MAX_NR_SECCTX {
            return Err(too_long);
        }
        let header = size_of::<abi::fuse_ext_header>();
        if count > 0 {
            let size = length_u32(header + self.contexts.len(), "the security context")?;
            out.payload(abi::fuse_secctx_header { size, nr_secctx: count }.as_bytes());
            out.payload(self.contexts);
        }
        if !self.groups.is_empty() && !bare {
            let what = "the groups";
            let fixed = header + size_of::<abi::fuse_supp_groups>();
            let size = (fixed + self.groups.len()).next_multiple_of(8);
            let nr_groups = length_u32(self.groups.len() / size_of::<u32>(), what)?;
            let r#type = abi::FUSE_EXT_GROUPS;
            out.payload(abi::fuse_ext_header { size: length_u32(size, what)?, r#type }.as_bytes());
            out.payload(abi::fuse_supp_groups { nr_groups }.as_bytes());
            out.payload(self.groups);
            out.payload([0; 8].get(..size - fixed - self.groups.len()).unwrap_or(&[]));
        }
        Ok(())
    }
}

/// Builds [`Extensions`]: what the kernel's side does.
#[derive(Clone, Debug, Default)]
pub struct ExtensionsBuilder {
    contexts: Vec<u8>,
    groups: Vec<u8>,
}

impl ExtensionsBuilder {
    /// Adds a security context.
    ///
    /// # Errors
    /// The value is longer than 32 bits can say.
    pub fn security_context(&mut self, context: SecurityContext<'_>) -> Result<&mut Self, EncodeError> {
        self.contexts.extend_from_slice(&length_u32(context.value.len(), "the security context")?.to_ne_bytes());
        self.contexts.extend_from_slice(&[0; 4]);
        self.contexts.extend_from_slice(context.name.as_bytes());
        self.contexts.push(0);
        self.contexts.extend_from_slice(context.value);
        self.contexts.resize(self.contexts.len().next_multiple_of(8), 0);
        Ok(self)
    }

    /// Adds a group.
    pub fn group(&mut self, group: Gid) -> &mut Self {
        self.groups.extend_from_slice(&group.0.to_ne_bytes());
        self
    }

    /// What was added.
    #[must_use]
    pub fn build(&self) -> Extensions<'_> {
        Extensions { contexts: &self.contexts, groups: &self.groups }
    }
}

fn check_contexts(bytes: &[u8], count: u32) -> Result<&[u8], DecodeError> {
    let mut rest = bytes;
    for _ in 0..count {
        next_context(&mut rest)?;
    }
    let used = bytes.len() - rest.len();
    Ok(bytes.get(..used).unwrap_or(bytes))
}

fn next_context<'a>(rest: &mut &'a [u8]) -> Result<SecurityContext<'a>, DecodeError> {
    let what = "fuse_secctx";
    let before = rest.len();
    let header: abi::fuse_secctx = read_struct(rest, what)?;
    let size = length_usize(header.size);
    let truncated = |found: usize| DecodeError::Truncated { what, needed: size, found };
    let nul = rest.iter().position(|byte| *byte == 0).ok_or(truncated(rest.len()))?;
    let (name, after) = rest.split_at_checked(nul).ok_or(truncated(rest.len()))?;
    let name = XattrName::new(name).map_err(|_| DecodeError::Name { what })?;
    let after = after.get(1..).unwrap_or(&[]);
    let (value, after) = after.split_at_checked(size).ok_or(truncated(after.len()))?;
    let used = before - after.len();
    let padding = used.next_multiple_of(8) - used;
    *rest = after.get(padding..).unwrap_or(&[]);
    Ok(SecurityContext { name, value })
}

fn check_groups(mut bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let found = bytes.len();
    let header: abi::fuse_supp_groups = read_struct(&mut bytes, "fuse_supp_groups")?;
    let needed = length_usize(header.nr_groups).saturating_mul(size_of::<u32>());
    bytes.get(..needed).ok_or(DecodeError::Truncated { what: "fuse_supp_groups", needed, found })
}
