//! Extended attributes of what a descriptor holds: the system calls, through a link to it.
//!
//! Who may see or set which is decided elsewhere.

use std::os::fd::BorrowedFd;

use fusewire::XattrName;
use rustix::fs::{XattrFlags, getxattr, getxattr_query, listxattr, listxattr_query, removexattr, setxattr};
use rustix::io;

use crate::reopen::LinkPath;

/// The names of the attributes that hold POSIX ACLs begin with this.
const ACL: &[u8] = b"system.posix_acl_";

/// The name of the attribute that holds capabilities.
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

/// Whether the attribute holds an ACL.
pub(crate) fn is_acl(name: &XattrName) -> bool {
    name.as_bytes().starts_with(ACL)
}

/// Puts the value into `room`, and returns its length; without room, only that.
///
/// # Errors
/// Those of getxattr(2).
pub(crate) fn get(place: BorrowedFd<'_>, name: &XattrName, room: &mut [u8]) -> io::Result<usize> {
    let path = LinkPath::of(place);
    if room.is_empty() {
        getxattr_query(path.as_c_str(), name.as_os_str())
    } else {
        getxattr(path.as_c_str(), name.as_os_str(), room)
    }
}

/// Puts the names into `room`, each with a NUL behind it, and returns how long they are; without room, only that.
///
/// # Errors
/// Those of listxattr(2).
pub(crate) fn list(place: BorrowedFd<'_>, room: &mut [u8]) -> io::Result<usize> {
    let path = LinkPath::of(place);
    if room.is_empty() { listxattr_query(path.as_c_str()) } else { listxattr(path.as_c_str(), room) }
}

/// # Errors
/// Those of setxattr(2).
pub(crate) fn set(place: BorrowedFd<'_>, name: &XattrName, value: &[u8], flags: XattrFlags) -> io::Result<()> {
    setxattr(LinkPath::of(place).as_c_str(), name.as_os_str(), value, flags)
}

/// # Errors
/// Those of removexattr(2).
pub(crate) fn remove(place: BorrowedFd<'_>, name: &XattrName) -> io::Result<()> {
    removexattr(LinkPath::of(place).as_c_str(), name.as_os_str())
}

/// Whether the filesystem keeps POSIX ACLs: then it has one for the file, or says that there is none.
pub(crate) fn keeps_acls(place: BorrowedFd<'_>) -> bool {
    let found = getxattr_query(LinkPath::of(place).as_c_str(), c"system.posix_acl_access");
    matches!(found, Ok(_) | Err(io::Errno::NODATA))
}

/// Tags of entries of an ACL that name a user or a group, as `linux/posix_acl.h` has them.
const ACL_USER: u16 = 0x02;
const ACL_GROUP: u16 = 0x08;

/// An ACL with other users and groups (`linux/posix_acl_xattr.h`: a version of 32 bits, then entries of tag, permissions and
/// id). What is none is left as it is: the source refuses it.
pub(crate) fn map_acl(value: &[u8], user: impl Fn(u32) -> u32, group: impl Fn(u32) -> u32) -> Vec<u8> {
    let mut mapped = value.to_vec();
    for entry in mapped.get_mut(4..).unwrap_or(&mut []).chunks_exact_mut(8) {
        let Some((tag, rest)) = entry.split_first_chunk_mut::<2>() else { continue };
        let Some(place) = rest.last_chunk_mut::<4>() else { continue };
        let id = u32::from_le_bytes(*place);
        *place = match u16::from_le_bytes(*tag) {
            ACL_USER => user(id),
            ACL_GROUP => group(id),
            _ => id,
        }
        .to_le_bytes();
    }
    mapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acl_entries_that_name_somebody_are_mapped() {
        let entry = |tag: u16, id: u32| [&tag.to_le_bytes()[..], &7_u16.to_le_bytes(), &id.to_le_bytes()].concat();
        let acl = |user, group| {
            [2_u32.to_le_bytes().to_vec(), entry(1, 1), entry(2, user), entry(4, 1), entry(8, group), entry(32, 1)]
                .concat()
        };
        assert_eq!(map_acl(&acl(1, 1), |id| id + 10, |id| id + 20), acl(11, 21));
        assert_eq!(map_acl(b"abc", |id| id + 1, |id| id + 1), b"abc");
    }
}
