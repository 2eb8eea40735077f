//! How a mirror behaves: the options, as a value. Reading them from a command line is left to the program.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::ids::{GroupId, IdMap, UserId};
use crate::permissions::Permissions;

/// How much the kernel may remember of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheMode {
    /// Nothing: every question comes to the source, and data go past the page cache where the kernel allows mapping files
    /// then. For sources that others change all the time.
    None,
    /// Names and attributes for a second, and data as long as size and time of modification stay the same when a file is
    /// opened.
    #[default]
    Auto,
    /// Everything, for as long as the kernel likes. For sources that nobody else changes.
    Always,
}

/// Which extended attributes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Xattrs {
    /// Those of the source, to be read and set.
    #[default]
    ReadWrite,
    /// Those of the source, to be read only: setting one is answered with `EACCES`.
    ReadOnly,
    /// None at all: `EOPNOTSUPP`. Then there are no POSIX ACLs either.
    None,
}

/// What becomes of a change of owner, group or mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// It is made in the source.
    #[default]
    Allow,
    /// It succeeds and does nothing.
    Ignore,
    /// `EPERM`.
    Deny,
}

/// How a [`Mirror`](crate::Mirror) behaves. The default suits a source that others change now and then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How much the kernel may remember.
    pub cache: CacheMode,
    /// How long names may be believed, if not as long as [`cache`](Self::cache) says.
    pub entry_timeout: Option<Duration>,
    /// How long attributes may be believed, if not as long as [`cache`](Self::cache) says.
    pub attr_timeout: Option<Duration>,
    /// How long it may be believed that a name is not there, if not as long as [`cache`](Self::cache) says.
    pub negative_timeout: Option<Duration>,
    /// Whether the kernel gathers writes in its page cache. Then size and times are the kernel's, so nobody else may change
    /// the files.
    pub writeback: bool,
    /// Which users and groups of the source are shown as which others.
    pub map: IdMap,
    /// Everything is shown as this user's.
    pub force_user: Option<UserId>,
    /// Everything is shown as this group's.
    pub force_group: Option<GroupId>,
    /// How the permission bits that are shown differ from those of the source.
    pub permissions: Option<Permissions>,
    /// What is made belongs to this user in the source, and not to who makes it. Needs root.
    pub create_for_user: Option<UserId>,
    /// What is made belongs to this group in the source. Needs root.
    pub create_for_group: Option<GroupId>,
    /// How the permission bits of what is made differ from those that its maker asks for.
    pub create_with_permissions: Option<Permissions>,
    /// What becomes of a change of the owner.
    pub chown: Change,
    /// What becomes of a change of the group.
    pub chgrp: Change,
    /// What becomes of a change of the mode.
    pub chmod: Change,
    /// How the permission bits that a change of the mode sets differ from those that are asked for.
    pub chmod_filter: Option<Permissions>,
    /// Whether removing files and directories is refused, with `EPERM`. A rename may replace them all the same.
    pub deny_delete: bool,
    /// Whether renaming is refused, with `EPERM`.
    pub deny_rename: bool,
    /// Which extended attributes there are.
    pub xattrs: Xattrs,
    /// Whether files with several names show a link count of 1, so that programs take each name for a file of its own.
    pub hide_hard_links: bool,
    /// Whether the kernel reads and writes the files of the source itself, past the mirror (Linux 6.9). Needs root, and
    /// excludes [`writeback`](Self::writeback). Any write takes suid and sgid away then, also one of root.
    pub passthrough: bool,
    /// How many inodes may be held by a file descriptor each, where there is another way; half of the process's limit if
    /// `None`.
    pub descriptors: Option<usize>,
}

impl Options {
    /// The same with this cache mode.
    #[must_use]
    pub fn cache(self, cache: CacheMode) -> Self {
        Self { cache, ..self }
    }

    /// The same, with writes gathered by the kernel.
    #[must_use]
    pub fn writeback(self) -> Self {
        Self { writeback: true, ..self }
    }

    /// Whether owners or permissions are shown that are not those of the source in a way that has no way back. Then the
    /// source cannot check what a caller may do, and only the kernel does.
    pub(crate) fn shows_others(&self) -> bool {
        self.force_user.is_some() || self.force_group.is_some() || self.permissions.is_some()
    }
}

/// A word that an option does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord {
    known: &'static str,
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it must be one of {}", self.known)
    }
}

impl std::error::Error for UnknownWord {}

impl FromStr for CacheMode {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "none" => Ok(Self::None),
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            _ => Err(UnknownWord { known: "none, auto, always" }),
        }
    }
}
