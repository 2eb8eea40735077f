//! Moving names, as renameat2(2) does with all its flags.

use std::sync::{Arc, PoisonError, RwLockWriteGuard};

use fusewire::{Context, Errno, NodeId, RenameFlags, op, reply};

use crate::memfs::MemFs;
use crate::names::{check, removed, unlinked};
use crate::node::{Node, State};

/// The directories of the old and of the new name, locked.
enum Parents<'a> {
    Same(RwLockWriteGuard<'a, State>),
    Two(RwLockWriteGuard<'a, State>, RwLockWriteGuard<'a, State>),
}

impl Parents<'_> {
    fn source(&mut self) -> &mut State {
        match self {
            Self::Same(state) | Self::Two(state, _) => state,
        }
    }

    fn target(&mut self) -> &mut State {
        match self {
            Self::Same(state) | Self::Two(_, state) => state,
        }
    }

    /// Moves one link for `..` from one to the other, if they are two.
    fn move_link(&mut self) {
        if let Self::Two(old, new) = self {
            old.nlink -= 1;
            new.nlink += 1;
        }
    }
}

impl MemFs {
    pub(crate) fn move_name(&self, cx: &Context<'_>, op: &op::Rename2<'_>) -> Result<reply::Done, Errno> {
        check(op.name)?;
        check(op.new_name)?;
        let known = RenameFlags::NOREPLACE | RenameFlags::EXCHANGE | RenameFlags::WHITEOUT;
        let exchange = op.flags.contains(RenameFlags::EXCHANGE);
        if !known.contains(op.flags) || exchange && op.flags != RenameFlags::EXCHANGE {
            return Err(Errno::EINVAL);
        }
        let (old_parent, new_parent) = (self.nodes.find(op.parent)?, self.nodes.find(op.new_parent)?);
        // No directory moves but under this lock, so who is above whom stays as it is found.
        let _moving = self.renames.lock().unwrap_or_else(PoisonError::into_inner);
        let (above_old, above_new) = if op.parent == op.new_parent {
            (Vec::new(), Vec::new())
        } else {
            (self.ancestry(&old_parent)?, self.ancestry(&new_parent)?)
        };
        let mut parents = if op.parent == op.new_parent {
            Parents::Same(old_parent.write())
        } else if above_new.contains(&op.parent.0) || !above_old.contains(&op.new_parent.0) && op.parent < op.new_parent
        {
            let old = old_parent.write();
            Parents::Two(old, new_parent.write())
        } else {
            let new = new_parent.write();
            Parents::Two(old_parent.write(), new)
        };
        let node = Arc::clone(parents.source().directory()?.find(op.name).ok_or(Errno::ENOENT)?);
        let target = parents.target().living_directory_mut()?.find(op.new_name).map(Arc::clone);
        // A directory cannot be moved below itself, nor something above it be replaced.
        if above_new.contains(&node.id()) {
            return Err(Errno::EINVAL);
        }
        if target.as_ref().is_some_and(|target| above_old.contains(&target.id())) {
            return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        match target {
            Some(_) if op.flags.contains(RenameFlags::NOREPLACE) => Err(Errno::EEXIST),
            None if exchange => Err(Errno::ENOENT),
            // Two names of one file: nothing is to be done (rename(2)).
            Some(target) if target.id() == node.id() => Ok(reply::Done),
            Some(target) if exchange => exchange_names(op, &mut parents, &node, &target),
            target => self.replace_name(cx, op, parents, &node, target),
        }
    }

    /// The ids of a directory and of all above it.
    fn ancestry(&self, directory: &Arc<Node>) -> Result<Vec<u64>, Errno> {
        let mut found = vec![directory.id()];
        let mut next = directory.read().directory()?.parent;
        while found.last() != Some(&next) {
            found.push(next);
            // One that was removed may be below another that is given back already.
            let Ok(node) = self.nodes.find(NodeId(next)) else { break };
            next = node.read().directory()?.parent;
        }
        Ok(found)
    }

    fn replace_name(
        &self,
        cx: &Context<'_>,
        op: &op::Rename2<'_>,
        mut parents: Parents<'_>,
        node: &Arc<Node>,
        target: Option<Arc<Node>>,
    ) -> Result<reply::Done, Errno> {
        match &target {
            Some(target) if node.is_directory() && !target.is_directory() => return Err(Errno::ENOTDIR),
            Some(target) if !node.is_directory() && target.is_directory() => return Err(Errno::EISDIR),
            _ => {}
        }
        let whiteout = match op.flags.contains(RenameFlags::WHITEOUT) {
            true => Some(self.make_whiteout(cx, parents.source())?),
            false => None,
        };
        if let Some(target) = &target {
            if target.is_directory() {
                if let Err(error) = removed(target) {
                    if let Some(whiteout) = &whiteout {
                        unlinked(whiteout);
                        self.reap(whiteout);
                    }
                    return Err(error);
                }
                parents.target().nlink -= 1;
            } else {
                unlinked(target);
            }
            parents.target().directory_mut()?.replace(op.new_name, Arc::clone(node));
        } else {
            parents.target().directory_mut()?.insert(op.new_name, Arc::clone(node));
        }
        match whiteout {
            Some(whiteout) => parents.source().directory_mut()?.replace(op.name, whiteout),
            None => parents.source().directory_mut()?.remove(op.name),
        }
        if node.is_directory() {
            parents.move_link();
        }
        moved(node, op.new_parent);
        parents.source().modified();
        parents.target().modified();
        drop(parents);
        if let Some(target) = target {
            self.reap(&target);
        }
        Ok(reply::Done)
    }
}

fn exchange_names(
    op: &op::Rename2<'_>,
    parents: &mut Parents<'_>,
    node: &Arc<Node>,
    target: &Arc<Node>,
) -> Result<reply::Done, Errno> {
    parents.source().directory_mut()?.replace(op.name, Arc::clone(target));
    parents.target().directory_mut()?.replace(op.new_name, Arc::clone(node));
    match (node.is_directory(), target.is_directory(), &mut *parents) {
        (true, false, parents) => parents.move_link(),
        (false, true, Parents::Two(old, new)) => {
            old.nlink += 1;
            new.nlink -= 1;
        }
        _ => {}
    }
    moved(node, op.new_parent);
    moved(target, op.parent);
    parents.source().modified();
    parents.target().modified();
    Ok(reply::Done)
}

/// A node is in this directory now.
fn moved(node: &Node, parent: NodeId) {
    let mut state = node.write();
    if let Ok(directory) = state.directory_mut() {
        directory.parent = parent.0;
    }
    state.changed();
}
