//! Operations on names: make, remove, move, link.
//!
//! What the kernel refuses without asking the daemon is refused here, too (`fs/namei.c`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use fusewire_proto::{Errno, FileType, InitFlags, LinkTarget, Name, NodeId, RenameFlags, op};

use crate::vfs::cache::Pin;
use crate::vfs::walk::{Last, Place};
use crate::vfs::{Mount, bytes};

/// The umask that callers have.
const UMASK: u32 = 0o022;

impl Mount {
    /// Makes a directory, as mkdir(2) with umask 022.
    ///
    /// # Errors
    /// What mkdir(2) says, or the daemon.
    pub fn mkdir(&self, path: impl AsRef<Path>, mode: u32) -> Result<(), Errno> {
        let place = self.place(path)?;
        let name = self.free_name(&place)?;
        let dir = place.dir()?;
        let mut request = op::Mkdir::new(dir.node, self.masked(mode & 0o7777), wire_name(name)?);
        request.umask = UMASK;
        let entry = self.ask(request)?.entry()?;
        self.made(dir, name, &entry)
    }

    /// Makes a file of any type but directory and symbolic link, as mknod(2) with umask 022. `mode` has the type.
    ///
    /// # Errors
    /// What mknod(2) says, or the daemon.
    pub fn mknod(&self, path: impl AsRef<Path>, mode: u32, rdev: u32) -> Result<(), Errno> {
        let place = self.place(path)?;
        let name = self.free_name(&place)?;
        if place.slash {
            return Err(Errno::ENOENT);
        }
        let dir = place.dir()?;
        let kind = match FileType::from_mode(mode) {
            FileType::UNKNOWN => FileType::REGULAR,
            kind => kind,
        };
        let mode = kind.mode_bits() | self.masked(mode & 0o7777);
        let mut request = op::Mknod::new(dir.node, mode, wire_name(name)?);
        request.rdev = rdev;
        request.umask = UMASK;
        let entry = self.ask(request)?.entry()?;
        self.made(dir, name, &entry)
    }

    /// Makes a symbolic link at `path` that points to `target`, as symlink(2).
    ///
    /// # Errors
    /// What symlink(2) says, or the daemon.
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<(), Errno> {
        let target = LinkTarget::new(bytes(target.as_ref())).map_err(|_| Errno::ENOENT)?;
        let place = self.place(path)?;
        let name = self.free_name(&place)?;
        if place.slash {
            return Err(Errno::ENOENT);
        }
        let dir = place.dir()?;
        let entry = self.ask(op::Symlink::new(dir.node, wire_name(name)?, target))?.entry()?;
        self.made(dir, name, &entry)
    }

    /// What a symbolic link points to, as readlink(2).
    ///
    /// # Errors
    /// `EINVAL` if it is no link; what the daemon says.
    pub fn readlink(&self, path: impl AsRef<Path>) -> Result<OsString, Errno> {
        let link = self.walk(path, Last::Stay)?;
        self.read_link(&link).map(OsString::from_vec)
    }

    /// Gives the file `old` the name `new`, too, as link(2).
    ///
    /// # Errors
    /// What link(2) says, or the daemon.
    pub fn link(&self, old: impl AsRef<Path>, new: impl AsRef<Path>) -> Result<(), Errno> {
        let old = self.walk(old, Last::Stay)?;
        let place = self.place(new)?;
        let name = self.free_name(&place)?;
        if place.slash {
            return Err(Errno::ENOENT);
        }
        if old.is_directory() {
            return Err(Errno::EPERM);
        }
        let dir = place.dir()?;
        let entry = self.ask(op::Link::new(dir.node, old.node, wire_name(name)?))?.entry()?;
        self.cache().changed(old.node);
        self.made(dir, name, &entry)
    }

    /// Takes the name of a file away, as unlink(2).
    ///
    /// # Errors
    /// What unlink(2) says, or the daemon.
    pub fn unlink(&self, path: impl AsRef<Path>) -> Result<(), Errno> {
        let place = self.place(path)?;
        let name = place.name.as_deref().ok_or(Errno::EISDIR)?;
        let dir = place.dir()?;
        let victim = self.look_up(dir, name)?;
        if victim.is_directory() {
            return Err(Errno::EISDIR);
        }
        if place.slash {
            return Err(Errno::ENOTDIR);
        }
        self.ask(op::Unlink::new(dir.node, wire_name(name)?))?;
        self.gone(dir, name, &victim);
        Ok(())
    }

    /// Removes an empty directory, as rmdir(2).
    ///
    /// # Errors
    /// What rmdir(2) says, or the daemon.
    pub fn rmdir(&self, path: impl AsRef<Path>) -> Result<(), Errno> {
        let path = path.as_ref();
        let place = self.place(path)?;
        let Some(name) = place.name.as_deref() else {
            return Err(match bytes(path).split(|byte| *byte == b'/').rfind(|name| !name.is_empty()) {
                Some(b"..") => Errno::ENOTEMPTY,
                Some(b".") => Errno::EINVAL,
                _ => Errno::EBUSY,
            });
        };
        let dir = place.dir()?;
        let victim = self.look_up(dir, name)?;
        if !victim.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        self.ask(op::Rmdir::new(dir.node, wire_name(name)?))?;
        self.gone(dir, name, &victim);
        Ok(())
    }

    /// Moves a name, over another one if there is one, as rename(2).
    ///
    /// # Errors
    /// What rename(2) says, or the daemon.
    pub fn rename(&self, old: impl AsRef<Path>, new: impl AsRef<Path>) -> Result<(), Errno> {
        self.rename_with(old, new, RenameFlags::empty())
    }

    /// Moves or exchanges a name, as renameat2(2).
    ///
    /// # Errors
    /// What renameat2(2) says, or the daemon; `EINVAL` if the daemon does not know flags.
    pub fn rename_with(&self, old: impl AsRef<Path>, new: impl AsRef<Path>, flags: RenameFlags) -> Result<(), Errno> {
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        if exchange && flags.intersects(RenameFlags::NOREPLACE | RenameFlags::WHITEOUT) {
            return Err(Errno::EINVAL);
        }
        let (from, to) = (self.place(old)?, self.place(new)?);
        let (old_name, new_name) = (
            from.name.as_deref().ok_or(Errno::EBUSY)?,
            to.name.as_deref().ok_or(if flags.contains(RenameFlags::NOREPLACE) {
                Errno::EEXIST
            } else {
                Errno::EBUSY
            })?,
        );
        let (from_dir, to_dir) = (from.dir()?, to.dir()?);
        let source = self.look_up(from_dir, old_name)?;
        let target = match self.look_up(to_dir, new_name) {
            Ok(pin) => Some(pin),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(errno),
        };
        if flags.contains(RenameFlags::NOREPLACE) && target.is_some() {
            return Err(Errno::EEXIST);
        }
        if exchange {
            let target = target.as_ref().ok_or(Errno::ENOENT)?;
            if to.slash && !target.is_directory() {
                return Err(Errno::ENOTDIR);
            }
        }
        if !source.is_directory() && (from.slash || (!exchange && to.slash)) {
            return Err(Errno::ENOTDIR);
        }
        // A directory into itself, or over one that it is in.
        if to.has_above(source.node) {
            return Err(Errno::EINVAL);
        }
        if target.as_ref().is_some_and(|target| from.has_above(target.node)) {
            return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        if let Some(target) = &target {
            if target.node == source.node {
                return Ok(());
            }
            if !exchange && source.is_directory() != target.is_directory() {
                return Err(if source.is_directory() { Errno::ENOTDIR } else { Errno::EISDIR });
            }
        }
        let (wire_old, wire_new) = (wire_name(old_name)?, wire_name(new_name)?);
        if flags.is_empty() {
            self.ask(op::Rename::new(from_dir.node, to_dir.node, wire_old, wire_new))?;
        } else {
            let request = op::Rename2::new(from_dir.node, to_dir.node, flags, wire_old, wire_new);
            self.ask(request).map_err(|errno| match errno {
                Errno::EOPNOTSUPP if !self.supports(fusewire_proto::Opcode::RENAME2) => Errno::EINVAL,
                errno => errno,
            })?;
        }
        let mut cache = self.cache();
        for pin in [Some(from_dir), Some(to_dir), Some(&source), target.as_ref()].into_iter().flatten() {
            cache.changed(pin.node);
        }
        let forgotten = cache.move_name((from_dir.node, old_name), (to_dir.node, new_name), exchange);
        drop(cache);
        self.forget(&forgotten);
        Ok(())
    }

    /// The umask is applied by the kernel unless the daemon wants to do it.
    pub(super) fn masked(&self, mode: u32) -> u32 {
        if self.has(InitFlags::DONT_MASK) { mode } else { mode & !UMASK }
    }

    /// The umask as requests carry it.
    pub(super) fn umask() -> u32 {
        UMASK
    }

    /// The name at `place`, where nothing may be yet.
    fn free_name<'p>(&self, place: &'p Place) -> Result<&'p [u8], Errno> {
        let name = place.name.as_deref().ok_or(Errno::EEXIST)?;
        match self.look_up(place.dir()?, name) {
            Ok(_) => Err(Errno::EEXIST),
            Err(Errno::ENOENT) => Ok(name),
            Err(errno) => Err(errno),
        }
    }

    /// Takes notice of a name that was made.
    fn made(&self, dir: &Pin, name: &[u8], entry: &fusewire_proto::reply::Entry) -> Result<(), Errno> {
        self.cache().changed(dir.node);
        if entry.node == NodeId(0) || entry.node == NodeId::ROOT {
            // fs/fuse/dir.c create_new_entry(), invalid_nodeid().
            return Err(Errno::EIO);
        }
        self.adopt_name(dir, name, entry);
        Ok(())
    }

    /// Takes notice of a name that is gone.
    fn gone(&self, dir: &Pin, name: &[u8], victim: &Pin) {
        let mut cache = self.cache();
        cache.changed(dir.node);
        cache.changed(victim.node);
        let forgotten = cache.drop_name(dir.node, name);
        drop(cache);
        self.forget(&forgotten);
    }
}

pub(super) fn wire_name(name: &[u8]) -> Result<&Name, Errno> {
    Name::new(name).map_err(|_| Errno::EINVAL)
}
