//! The mirror itself: its source, what the kernel knows of it, and how inodes are found.
//!
//! The operations are in `operations`; they begin and end here.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError};

use fusewire::{
    Backing, Errno, FileHandle, HandleTable, InitFlags, InodeTable, LookAhead, Name, NodeId, Notifier, OpenedFlags,
    reply,
};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, fstatfs, openat, statat};

use crate::attributes;
use crate::cache::Caching;
use crate::credentials::{Identity, as_ordinary_writer, errno};
use crate::directory::Directory;
use crate::error::Error;
use crate::inode::{Held, Inode, Key, Place};
use crate::open::OpenFile;
use crate::options::{Options, Xattrs};
use crate::places::Places;
use crate::pruning::Pruner;
use crate::reopen::Reopener;
use crate::view::View;
use crate::xattrs;

/// To hold an inode without opening it, and never by following a link.
const PLACE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory shown somewhere else: a [`Filesystem`](fusewire::Filesystem) over its *source*.
///
/// # Permissions
/// Mount it with [`default_permissions`](fusewire::mount::MountOptions::default_permissions): the kernel then checks what
/// callers may do by the modes and ACLs of the source. Served by root, operations of other users are carried out with their
/// own user, group and supplementary groups, so that the source checks them once more; served by somebody else, with the
/// rights of that user.
///
/// # Limits
/// Served by root, inodes that the kernel remembers take half of the file descriptors that the process may have, at most;
/// the rest is found by file handles, where the source's filesystem has them. Without them, each inode takes a descriptor;
/// when half of those are taken, the kernel is asked to forget what it does not use (Linux 6.18). Before that,
/// [`raise_descriptor_limit`](crate::raise_descriptor_limit) is what helps.
#[derive(Debug)]
pub struct Mirror {
    pub(crate) options: Options,
    pub(crate) caching: Caching,
    pub(crate) identity: Identity,
    pub(crate) view: Option<View>,
    pub(crate) reopener: Reopener,
    pub(crate) inodes: Arc<InodeTable<Key, Inode>>,
    pub(crate) places: Places,
    pub(crate) pruner: Pruner,
    pub(crate) files: HandleTable<OpenFile>,
    pub(crate) directories: HandleTable<Directory>,
    pub(crate) look_ahead: LookAhead,
    source: Source,
    agreed: OnceLock<Agreed>,
}

/// What was agreed with the kernel, and how to tell it things.
#[derive(Debug)]
struct Agreed {
    flags: InitFlags,
    notifier: Notifier,
}

/// What is known of the source's own filesystem.
#[derive(Clone, Copy, Debug)]
struct Source {
    device: u64,
    acls: Has,
    close: Close,
}

/// Whether the source has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    Yes,
    No,
}

/// What closing a file of the source may bring up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    /// Errors of writes before: the close of a file must reach the source.
    Errors,
    /// Nothing: its filesystem has nothing to do then.
    Nothing,
}

/// Filesystems that do nothing when a file is closed (they have no `flush` in their `file_operations`), by `f_type`.
const NOTHING_AT_CLOSE: &[u32] = &[
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0xf2f5_2010, // f2fs
];

impl Mirror {
    /// A mirror of the directory `source`.
    ///
    /// # Errors
    /// The source is not there, is no directory or cannot be opened, or `/proc` is missing.
    pub fn new(source: &Path, options: Options) -> Result<Self, Error> {
        let failed =
            |error: rustix::io::Errno| Error::Source { path: source.to_owned(), cause: io::Error::from(error) };
        Reopener::check().map_err(|error| Error::Proc(io::Error::from(error)))?;
        let place = openat(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let stat = fstat(&place).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(Error::NotADirectory(source.to_owned()));
        }
        let identity = Identity::new(&options);
        if !identity.can_give_away() {
            return Err(Error::GivingAway);
        }
        if options.passthrough && !rustix::process::geteuid().is_root() {
            return Err(Error::Passthrough("it needs root"));
        }
        if options.passthrough && options.writeback {
            return Err(Error::Passthrough("it excludes writeback"));
        }
        let key = Key::of(&stat);
        let source = Source { device: key.device, acls: acls(&place), close: close(&place) };
        let places = Places::new(options.descriptors);
        let root = Inode::new(places.hold_open(place), key);
        Ok(Self {
            caching: Caching::new(&options),
            view: View::new(&options),
            identity,
            reopener: Reopener::default(),
            source,
            pruner: Pruner::new(places.budget()),
            places,
            inodes: Arc::new(InodeTable::new(key, root)),
            files: HandleTable::new(),
            directories: HandleTable::new(),
            look_ahead: LookAhead::default(),
            agreed: OnceLock::new(),
            options,
        })
    }

    /// How many inodes the kernel knows, the root not counted: those that it looked up and has not forgotten.
    #[must_use]
    pub fn known_inodes(&self) -> usize {
        self.inodes.count() - 1
    }

    /// How many files and directories are open through the mirror.
    #[must_use]
    pub fn open_handles(&self) -> usize {
        self.files.count() + self.directories.count()
    }

    /// What was agreed with the kernel; nothing before there is one.
    pub(crate) fn agreed(&self) -> InitFlags {
        self.agreed.get().map(|agreed| agreed.flags).unwrap_or_default()
    }

    pub(crate) fn agree(&self, flags: InitFlags, notifier: Notifier) {
        // The first one counts: there is one session.
        let _ = self.agreed.set(Agreed { flags, notifier });
    }

    /// Whether the kernel is to enforce the POSIX ACLs of the source.
    pub(crate) fn has_acls(&self) -> bool {
        self.source.acls == Has::Yes && self.options.xattrs != Xattrs::None && !self.options.shows_others()
    }

    /// Whether writes are gathered by the kernel.
    pub(crate) fn gathers_writes(&self) -> bool {
        self.agreed().contains(InitFlags::WRITEBACK_CACHE)
    }

    /// # Errors
    /// `ESTALE` if the kernel was never told of the node, or has forgotten it, or its inode is gone.
    #[inline]
    pub(crate) fn inode(&self, node: NodeId) -> Result<Held, Errno> {
        self.places.held(node, self.inodes.get(node).ok_or(Errno::ESTALE)?)
    }

    /// # Errors
    /// `EBADF` if nothing is open by that handle.
    #[inline]
    pub(crate) fn file(&self, handle: FileHandle) -> Result<Arc<OpenFile>, Errno> {
        self.files.get(handle).ok_or(Errno::EBADF)
    }

    /// # Errors
    /// As for [`file`](Self::file).
    pub(crate) fn directory(&self, handle: FileHandle) -> Result<Arc<Directory>, Errno> {
        self.directories.get(handle).ok_or(Errno::EBADF)
    }

    /// The inode number that is shown. Numbers of filesystems below the source's own are made different from those of it.
    pub(crate) fn shown_ino(&self, key: Key) -> u64 {
        if key.device == self.source.device {
            return key.ino;
        }
        // Numbers that filesystems give seldom need the upper bits.
        key.ino ^ key.device.wrapping_mul(0x9e37_79b9_7f4a_7c15) & 0xffff_ff00_0000_0000
    }

    /// The attributes that are shown.
    #[inline]
    pub(crate) fn attr(&self, stat: &Stat) -> fusewire::Attr {
        let mut attr = attributes::attr(stat, self.shown_ino(Key::of(stat)));
        if let Some(view) = &self.view {
            view.show(&mut attr);
        }
        attr
    }

    /// # Errors
    /// Those of stat(2).
    pub(crate) fn attributes(&self, file: impl AsFd) -> Result<reply::Attributes, Errno> {
        let stat = fstat(file).map_err(errno)?;
        Ok(reply::Attributes::new(self.attr(&stat), self.caching.attr))
    }

    fn entry(&self, node: NodeId, stat: &Stat) -> reply::Entry {
        let mut entry = reply::Entry::new(node, self.attr(stat), self.caching.entry);
        entry.attr_timeout = self.caching.attr;
        entry
    }

    /// Looks `name` up in `parent`. Adds one to the lookup count of what is found.
    ///
    /// # Errors
    /// Those of open(2); `EINVAL` for the names that lead to other directories.
    pub(crate) fn child(&self, parent: &Held, name: &Name) -> Result<reply::Entry, Errno> {
        if matches!(name.as_bytes(), b"." | b"..") {
            return Err(Errno::EINVAL);
        }
        let stat =
            statat(parent, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT).map_err(errno)?;
        match self.inodes.look_up(&Key::of(&stat)) {
            Some((node, inode)) if inode.has_descriptor() => Ok(self.entry(node, &stat)),
            Some((node, _)) => {
                // It may be another inode that was given the number: that has to be looked at.
                let found = self.open_child(parent, name);
                self.inodes.forget(node, 1);
                found
            }
            None => self.open_child(parent, name),
        }
    }

    /// As [`child`](Self::child), for a name that is most likely not known yet.
    pub(crate) fn open_child(&self, parent: &Held, name: &Name) -> Result<reply::Entry, Errno> {
        let open = || openat(parent, name.as_os_str(), PLACE, Mode::empty());
        let place = self.pruner.make_room(open).map_err(errno)?;
        let stat = fstat(&place).map_err(errno)?;
        Ok(self.adopt(&stat, place))
    }

    /// The entry of an inode that `place` is open on, with `O_PATH`. Adds one to its lookup count.
    fn adopt(&self, stat: &Stat, place: OwnedFd) -> reply::Entry {
        if let Some(entry) = self.known(stat, &place) {
            return entry;
        }
        let key = Key::of(stat);
        let place = self.places.hold(&self.reopener, place, key);
        if let Place::Descriptor(_) = place {
            self.pruner.held(self.places.descriptors());
        }
        let (node, _) = self.inodes.insert(key, Inode::new(place, key));
        self.entry(node, stat)
    }

    /// The entry of the inode that `file` is open on, if the kernel knows it. Adds one to its lookup count.
    fn known(&self, stat: &Stat, file: impl AsFd) -> Option<reply::Entry> {
        let (node, inode) = self.inodes.look_up(&Key::of(stat))?;
        if inode.is(file) {
            return Some(self.entry(node, stat));
        }
        // An inode that is gone had this number before.
        self.inodes.detach(node);
        self.inodes.forget(node, 1);
        None
    }

    /// The entry of a file that was just opened, and a handle for it. Adds one to the lookup count of its inode.
    ///
    /// # Errors
    /// Those of open(2); nothing was counted then. `ESTALE` if the name has come up since the kernel looked, and is no regular
    /// file: it looks again then, and opens that itself.
    pub(crate) fn created(&self, file: OpenFile) -> Result<reply::Created, Errno> {
        let stat = fstat(&file).map_err(errno)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::ESTALE);
        }
        let entry = match self.known(&stat, &file) {
            Some(entry) => entry,
            None => {
                let open = || self.reopener.open(file.as_fd(), OFlags::PATH);
                self.adopt(&stat, self.pruner.make_room(open).map_err(errno)?)
            }
        };
        let inode = self.inodes.get(entry.node).ok_or(Errno::ESTALE)?;
        let opened = self.opened(&inode, file, Some(&stat))?;
        Ok(reply::Created::new(entry, opened))
    }

    /// A handle for an open file, and how the kernel is to treat it. `stat` saves asking for it.
    ///
    /// # Errors
    /// Those of stat(2).
    pub(crate) fn opened(
        &self,
        inode: &Inode,
        mut file: OpenFile,
        stat: Option<&Stat>,
    ) -> Result<reply::Opened, Errno> {
        let same = || match stat {
            Some(stat) => inode.same_data(stat),
            None => fstat(&file).is_ok_and(|stat| inode.same_data(&stat)),
        };
        let backing = self.backing(inode, &file);
        let mut flags = match backing {
            Some(_) => OpenedFlags::PASSTHROUGH,
            None => self.caching.file_flags(self.agreed(), same),
        };
        let quiet = self.source.close == Close::Nothing && inode.key().device == self.source.device;
        if (quiet || file.writable().is_none()) && !self.gathers_writes() {
            flags |= OpenedFlags::NOFLUSH;
        }
        let id = backing.as_ref().map(|backing| backing.id());
        file.backing = backing;
        let mut opened = reply::Opened::new(self.files.insert(file)).with_flags(flags);
        opened.backing = id;
        Ok(opened)
    }

    /// What backs the open files of an inode, if the kernel reads and writes them itself.
    fn backing(&self, inode: &Inode, file: &OpenFile) -> Option<Arc<Backing>> {
        let agreed = self.agreed.get().filter(|agreed| agreed.flags.contains(InitFlags::PASSTHROUGH))?;
        let mut shared = inode.backing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(backing) = shared.upgrade() {
            return Some(backing);
        }
        let opened = as_ordinary_writer(|| agreed.notifier.open_backing(file)).map_err(errno);
        match opened.and_then(|opened| opened) {
            Ok(backing) => {
                let backing = Arc::new(backing);
                *shared = Arc::downgrade(&backing);
                Some(backing)
            }
            Err(error) => {
                // Data come through here then, which is slower and as right.
                tracing::debug!(%error, "passing a file through");
                None
            }
        }
    }
}

fn acls(place: &OwnedFd) -> Has {
    if xattrs::keeps_acls(place.as_fd()) { Has::Yes } else { Has::No }
}

fn close(place: &OwnedFd) -> Close {
    let kind = fstatfs(place).ok().and_then(|found| u32::try_from(found.f_type).ok());
    if kind.is_some_and(|kind| NOTHING_AT_CLOSE.contains(&kind)) { Close::Nothing } else { Close::Errors }
}
