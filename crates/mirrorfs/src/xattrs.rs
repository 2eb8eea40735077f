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
