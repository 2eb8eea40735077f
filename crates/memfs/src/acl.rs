//! POSIX ACLs, in the form in which extended attributes hold them: what they do to modes, and modes to them.
//!
//! The kernel enforces them; a filesystem keeps them and the mode in step (`fs/posix_acl.c`).

use fusewire::Errno;

/// `linux/posix_acl_xattr.h` POSIX_ACL_XATTR_VERSION.
const VERSION: u32 = 2;
/// Bytes before the entries: the version.
const HEADER: usize = 4;
/// Bytes of an entry: a tag and permissions of 16 bits each, an id of 32.
const ENTRY: usize = 8;

/// Whom an entry is about (`linux/posix_acl.h`).
const USER_OBJ: u16 = 0x01;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// An ACL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acl {
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u16,
    permissions: u16,
    id: u32,
}

/// What becomes of an ACL that a new file inherits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inherited {
    /// The permission bits of the file.
    pub(crate) permissions: u32,
    /// Its ACL, if it says more than those.
    pub(crate) access: Option<Acl>,
}

/// Three bits of a mode.
fn class(permissions: u32, shift: u32) -> u16 {
    u16::try_from(permissions >> shift & 0o7).unwrap_or(0)
}

impl Acl {
    /// Reads the value of an attribute.
    ///
    /// # Errors
    /// `EINVAL` if it is none, `EOPNOTSUPP` if it is of another version.
    pub(crate) fn parse(value: &[u8]) -> Result<Self, Errno> {
        let (version, rest) = value.split_first_chunk::<HEADER>().ok_or(Errno::EINVAL)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(Errno::EOPNOTSUPP);
        }
        let (entries, []) = rest.as_chunks::<ENTRY>() else { return Err(Errno::EINVAL) };
        let entries = entries.iter().map(|[t0, t1, p0, p1, i0, i1, i2, i3]| Entry {
            tag: u16::from_le_bytes([*t0, *t1]),
            permissions: u16::from_le_bytes([*p0, *p1]),
            id: u32::from_le_bytes([*i0, *i1, *i2, *i3]),
        });
        Ok(Self { entries: entries.collect() })
    }

    /// The value of an attribute.
    pub(crate) fn value(&self) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for entry in &self.entries {
            value.extend_from_slice(&entry.tag.to_le_bytes());
            value.extend_from_slice(&entry.permissions.to_le_bytes());
            value.extend_from_slice(&entry.id.to_le_bytes());
        }
        value
    }

    fn find(&mut self, tag: u16) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.tag == tag)
    }

    fn permissions_of(&self, tag: u16) -> Option<u32> {
        self.entries.iter().find(|entry| entry.tag == tag).map(|entry| u32::from(entry.permissions & 0o7))
    }

    /// Whether it says no more than permission bits can.
    pub(crate) fn is_minimal(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.tag, USER_OBJ | GROUP_OBJ | OTHER))
    }

    /// The permission bits that go with it; those above the lower nine are of `permissions`.
    pub(crate) fn permissions(&self, permissions: u32) -> u32 {
        let group = self.permissions_of(MASK).or(self.permissions_of(GROUP_OBJ)).unwrap_or(0);
        let user = self.permissions_of(USER_OBJ).unwrap_or(0);
        (permissions & !0o777) | user << 6 | group << 3 | self.permissions_of(OTHER).unwrap_or(0)
    }

    /// Follows a change of the permission bits, as chmod(2) has it.
    pub(crate) fn follow(&mut self, permissions: u32) {
        let group = if self.permissions_of(MASK).is_some() { MASK } else { GROUP_OBJ };
        for (tag, shift) in [(USER_OBJ, 6), (group, 3), (OTHER, 0)] {
            if let Some(entry) = self.find(tag) {
                entry.permissions = class(permissions, shift);
            }
        }
    }

    /// What a new file gets in a directory that has this as its default ACL, if it is made with these permission bits.
    pub(crate) fn inherit(&self, permissions: u32) -> Inherited {
        let mut access = self.clone();
        let group = if self.permissions_of(MASK).is_some() { MASK } else { GROUP_OBJ };
        for (tag, shift) in [(USER_OBJ, 6), (group, 3), (OTHER, 0)] {
            if let Some(entry) = access.find(tag) {
                entry.permissions &= class(permissions, shift);
            }
        }
        let permissions = access.permissions(permissions);
        Inherited { permissions, access: (!access.is_minimal()).then_some(access) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Acl {
        Acl {
            entries: entries
                .iter()
                .map(|(tag, permissions, id)| Entry { tag: *tag, permissions: *permissions, id: *id })
                .collect(),
        }
    }

    #[test]
    fn value_is_read_back() {
        let acl = acl(&[
            (USER_OBJ, 7, u32::MAX),
            (0x02, 6, 1000),
            (GROUP_OBJ, 5, u32::MAX),
            (MASK, 7, u32::MAX),
            (OTHER, 0, u32::MAX),
        ]);
        assert_eq!(Acl::parse(&acl.value()), Ok(acl.clone()));
        assert_eq!(acl.value().len(), 4 + 5 * 8);
        assert_eq!(acl.permissions(0o4000), 0o4770);
        assert!(!acl.is_minimal());
    }

    #[test]
    fn broken_values_are_refused() {
        assert_eq!(Acl::parse(&[2, 0, 0]), Err(Errno::EINVAL));
        assert_eq!(Acl::parse(&[1, 0, 0, 0]), Err(Errno::EOPNOTSUPP));
        assert_eq!(Acl::parse(&[2, 0, 0, 0, 1]), Err(Errno::EINVAL));
    }

    #[test]
    fn inheriting_masks_by_the_mode_that_is_asked_for() {
        let default = acl(&[(USER_OBJ, 7, 0), (0x02, 7, 1000), (GROUP_OBJ, 5, 0), (MASK, 7, 0), (OTHER, 5, 0)]);
        let inherited = default.inherit(0o640);
        assert_eq!(inherited.permissions, 0o640);
        let access = inherited.access.expect("it names a user");
        assert_eq!(access.permissions_of(MASK), Some(4));
        assert_eq!(access.permissions_of(GROUP_OBJ), Some(5));
        let minimal = acl(&[(USER_OBJ, 7, 0), (GROUP_OBJ, 5, 0), (OTHER, 0, 0)]);
        assert_eq!(minimal.inherit(0o2777), Inherited { permissions: 0o2750, access: None });
    }

    #[test]
    fn chmod_changes_the_mask_and_not_the_group() {
        let mut acl = acl(&[(USER_OBJ, 7, 0), (0x02, 7, 1000), (GROUP_OBJ, 5, 0), (MASK, 7, 0), (OTHER, 5, 0)]);
        acl.follow(0o640);
        assert_eq!((acl.permissions(0), acl.permissions_of(GROUP_OBJ)), (0o640, Some(5)));
    }
}
