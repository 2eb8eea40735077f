//! Changing attributes, extended ones included, and what that does to others.

use fusewire::op::SetTime;
use fusewire::{Attr, Context, Errno, Gid, SetxattrFlags, Uid, op, reply, sink};

use crate::acl::Acl;
use crate::memfs::MemFs;
use crate::node::{State, now};
use crate::space::Space;
use crate::xattrs::{ACL_ACCESS, ACL_DEFAULT, CAPABILITY, Xattrs, check_name};

impl MemFs {
    pub(crate) fn set_attributes(&self, cx: &Context<'_>, op: &op::Setattr) -> Result<Attr, Errno> {
        let node = self.nodes.find(op.node)?;
        let mut state = node.write();
        if let Some(size) = op.size {
            state.file_mut()?.truncate(size, &self.space)?;
            // Also if that is the size that it has: the kernel does not say whether it is open(2) with O_TRUNC.
            state.modified();
        }
        if op.kill_suidgid {
            clear_privileges(cx, &mut state, &self.space);
        }
        if let Some(uid) = op.uid {
            state.uid = uid;
        }
        if let Some(gid) = op.gid {
            state.gid = gid;
        }
        if let Some(mode) = op.mode {
            state.permissions = mode & 0o7777;
            self.acl_follows(&mut state)?;
        }
        // chown(2) to nobody comes as a change of nothing, and so does a write before which the kernel would have the filesystem
        // clear suid. Both clear it for the owner; what root means cannot be told.
        let nothing = *op == op::Setattr::new(op.node);
        if nothing && !node.is_directory() && cx.uid() != Some(Uid(0)) {
            if cx.uid() != Some(state.uid) {
                return Ok(node.attributes_of(&state));
            }
            clear_privileges(cx, &mut state, &self.space);
        }
        let time = |time| if let SetTime::At(time) = time { time } else { now() };
        if let Some(atime) = op.atime {
            state.atime = time(atime);
        }
        if let Some(mtime) = op.mtime {
            state.mtime = time(mtime);
        }
        state.changed();
        Ok(node.attributes_of(&state))
    }

    /// The access ACL follows the permission bits.
    fn acl_follows(&self, state: &mut State) -> Result<(), Errno> {
        let permissions = state.permissions;
        let Some(xattrs) = &mut state.xattrs else { return Ok(()) };
        let Some(value) = xattrs.value(ACL_ACCESS) else { return Ok(()) };
        let mut acl = Acl::parse(value)?;
        acl.follow(permissions);
        xattrs.set(ACL_ACCESS, &acl.value(), fusewire::XattrFlags::empty(), &self.space)
    }

    pub(crate) fn set_xattr(&self, op: &op::Setxattr<'_>) -> Result<reply::Done, Errno> {
        check_name(op.name)?;
        let node = self.nodes.find(op.node)?;
        let mut state = node.write();
        let name = op.name.as_bytes();
        if name == ACL_ACCESS {
            let acl = Acl::parse(op.value)?;
            let mut permissions = acl.permissions(state.permissions);
            if op.setxattr_flags.contains(SetxattrFlags::ACL_KILL_SGID) {
                permissions &= !libc::S_ISGID;
            }
            if acl.is_minimal() {
                // The permission bits say it all.
                remove(&mut state, name, &self.space);
            } else {
                state.xattrs.get_or_insert_default().set(name, op.value, op.flags, &self.space)?;
            }
            state.permissions = permissions;
        } else {
            if name == ACL_DEFAULT {
                if !node.is_directory() {
                    return Err(Errno::EACCES);
                }
                Acl::parse(op.value)?;
            }
            let set = state.xattrs.get_or_insert_default().set(name, op.value, op.flags, &self.space);
            drop_if_empty(&mut state);
            set?;
        }
        state.changed();
        Ok(reply::Done)
    }

    pub(crate) fn remove_xattr(&self, cx: &Context<'_>, op: &op::Removexattr<'_>) -> Result<reply::Done, Errno> {
        check_name(op.name)?;
        let node = self.nodes.find(op.node)?;
        let mut state = node.write();
        // That there is no ACL is as good as removing it (`fs/posix_acl.c vfs_remove_acl()`).
        let name = op.name.as_bytes();
        if !remove(&mut state, name, &self.space) && name != ACL_ACCESS && name != ACL_DEFAULT {
            return Err(Errno::ENODATA);
        }
        // As setting one, removing an ACL takes sgid away from who is not in the group (`posix_acl_update_mode()`).
        if name == ACL_ACCESS && state.permissions & libc::S_ISGID != 0 && !is_in_group(cx, state.gid) {
            state.permissions &= !libc::S_ISGID;
        }
        state.changed();
        Ok(reply::Done)
    }

    pub(crate) fn xattr(&self, op: &op::Getxattr<'_>, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        check_name(op.name)?;
        let node = self.nodes.find(op.node)?;
        let state = node.read();
        let value = state.xattrs.as_ref().and_then(|xattrs| xattrs.value(op.name.as_bytes()));
        out.value(value.ok_or(Errno::ENODATA)?)
    }

    pub(crate) fn list_xattrs(
        &self,
        cx: &Context<'_>,
        op: &op::Listxattr,
        out: &mut sink::Xattr<'_>,
    ) -> Result<(), Errno> {
        let node = self.nodes.find(op.node)?;
        let state = node.read();
        let mut list = Vec::new();
        for name in state.xattrs.iter().flat_map(|xattrs| xattrs.names(cx.uid() == Some(Uid(0)))) {
            list.extend_from_slice(name);
            list.push(0);
        }
        out.value(&list)
    }
}

/// Removes an attribute; says whether it was there.
fn remove(state: &mut State, name: &[u8], space: &Space) -> bool {
    let removed = state.xattrs.as_mut().is_some_and(|xattrs| xattrs.remove(name, space));
    drop_if_empty(state);
    removed
}

fn drop_if_empty(state: &mut State) {
    if state.xattrs.as_deref().is_some_and(Xattrs::is_empty) {
        state.xattrs = None;
    }
}

/// Clears suid, sgid and capabilities of a file that is written, truncated, or given away. Sgid without the group's permission to
/// execute stays if the caller is in the group (`fs/attr.c setattr_should_drop_sgid()`).
pub(crate) fn clear_privileges(cx: &Context<'_>, state: &mut State, space: &Space) {
    let mut permissions = state.permissions & !libc::S_ISUID;
    if permissions & libc::S_ISGID != 0 && (permissions & libc::S_IXGRP != 0 || !is_in_group(cx, state.gid)) {
        permissions &= !libc::S_ISGID;
    }
    state.permissions = permissions;
    remove(state, CAPABILITY, space);
}

/// Whether the caller is in a group, or root. Asks the system only if it is not the caller's first group.
fn is_in_group(cx: &Context<'_>, gid: Gid) -> bool {
    cx.uid() == Some(Uid(0)) || cx.gid() == Some(gid) || cx.supplementary_groups().contains(&gid)
}
