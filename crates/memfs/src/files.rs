//! The data of files: reading, writing, reserving, seeking, copying.

use fusewire::{Context, Errno, FallocateMode, Uid, WriteFlags, op, reply, sink};

use crate::attributes::clear_privileges;
use crate::contents::{Copying, Grow};
use crate::memfs::MemFs;
use crate::node::{State, now};

/// The most that one request copies, in bytes: callers come again for the rest, and others get at the files in between.
const MOST_COPIED: u64 = 256 << 20;

impl MemFs {
    pub(crate) fn read_data(&self, op: &op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        let node = self.nodes.find(op.node)?;
        let state = node.read();
        let length = state.file()?.read(op.offset, out.spare());
        out.advance(length);
        if length > 0 && !op.flags.contains(libc::O_NOATIME) && self.wants_access_time(&state) {
            drop(state);
            node.write().atime = now();
        }
        Ok(())
    }

    pub(crate) fn write_data(&self, cx: &Context<'_>, op: &op::Write<'_>) -> Result<reply::Written, Errno> {
        let node = self.nodes.find(op.node)?;
        let mut state = node.write();
        let written = state.file_mut()?.write(op.offset, op.data, &self.space)?;
        if op.write_flags.contains(WriteFlags::KILL_SUIDGID) {
            clear_privileges(cx, &mut state, &self.space);
        }
        state.modified();
        Ok(reply::Written { size: u32::try_from(written).map_err(|_| Errno::EIO)? })
    }

    pub(crate) fn reserve(&self, cx: &Context<'_>, op: &op::Fallocate) -> Result<reply::Done, Errno> {
        let node = self.nodes.find(op.node)?;
        let mut state = node.write();
        let file = state.file_mut()?;
        let grow = if op.mode.contains(FallocateMode::KEEP_SIZE) { Grow::Nothing } else { Grow::Size };
        let what = op.mode - FallocateMode::KEEP_SIZE;
        if op.length == 0 {
            return Err(Errno::EINVAL);
        }
        if what.is_empty() {
            file.allocate(op.offset, op.length, grow, &self.space)?;
        } else if what == FallocateMode::ZERO_RANGE {
            file.zero(op.offset, op.length, grow, &self.space)?;
        } else if what == FallocateMode::PUNCH_HOLE && grow == Grow::Nothing {
            file.punch(op.offset, op.length, &self.space);
        } else {
            return Err(Errno::EOPNOTSUPP);
        }
        changed_by(cx, &mut state, self);
        Ok(reply::Done)
    }

    pub(crate) fn seek(&self, op: &op::Lseek) -> Result<reply::Offset, Errno> {
        let node = self.nodes.find(op.node)?;
        let state = node.read();
        let file = state.file()?;
        let offset = match op.whence {
            op::Whence::DATA => file.seek_data(op.offset)?,
            op::Whence::HOLE => file.seek_hole(op.offset)?,
            _ => return Err(Errno::EINVAL),
        };
        Ok(reply::Offset { offset })
    }

    pub(crate) fn copy_range(&self, cx: &Context<'_>, op: &op::CopyFileRange64) -> Result<u64, Errno> {
        if op.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let length = op.length.min(MOST_COPIED);
        let (from, to) = (self.nodes.find(op.node)?, self.nodes.find(op.out_node)?);
        if from.id() == to.id() {
            let apart = op.offset.abs_diff(op.out_offset) >= length;
            if !apart {
                return Err(Errno::EINVAL);
            }
            let mut state = to.write();
            let copied = Copying::Within(state.file_mut()?).copy(op.offset, op.out_offset, length, &self.space)?;
            changed_by(cx, &mut state, self);
            return Ok(copied);
        }
        // By id, as the order of locks has it.
        let (source, mut target) = if from.id() < to.id() {
            let source = from.read();
            (source, to.write())
        } else {
            let target = to.write();
            (from.read(), target)
        };
        let mut copying = Copying::Between(source.file()?, target.file_mut()?);
        let copied = copying.copy(op.offset, op.out_offset, length, &self.space)?;
        changed_by(cx, &mut target, self);
        let note = self.wants_access_time(&source);
        drop((source, target));
        if note {
            from.write().atime = now();
        }
        Ok(copied)
    }
}

/// The contents changed by a request that does not say whether the caller may keep suid and sgid: root may, as `CAP_FSETID`
/// would have it (`fs/fuse/file.c` leaves that to the filesystem).
fn changed_by(cx: &Context<'_>, state: &mut State, fs: &MemFs) {
    if cx.uid() != Some(Uid(0)) {
        clear_privileges(cx, state, &fs.space);
    }
    state.modified();
}
