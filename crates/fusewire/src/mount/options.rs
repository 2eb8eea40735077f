//! What to mount and how: the builder that a program fills in.
//!
//! It checks nothing against the system and parses nothing; `table` turns `-o` words into calls of this builder.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use rustix::mount::MountAttrFlags;

/// The type of the filesystem's root, which must be the type of the mountpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RootKind {
    /// The root is a directory, as it nearly always is.
    #[default]
    Directory,
    /// The root is one regular file, mounted over a regular file.
    RegularFile,
}

impl RootKind {
    /// The `rootmode` option: the type bits of `st_mode` in octal.
    pub(super) fn rootmode(self) -> &'static str {
        match self {
            Self::Directory => "40000",
            Self::RegularFile => "100000",
        }
    }
}

/// How the kernel is asked to mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MountMethod {
    /// `fsopen`, `fsconfig`, `fsmount`, `move_mount` (Linux 5.2). Needs `CAP_SYS_ADMIN` in the user namespace that owns
    /// the mount namespace.
    NewApi,
    /// `mount(2)`, with the same need.
    Mount2,
    /// The setuid helper `fusermount3`, for ordinary users.
    Fusermount,
    /// Somebody else opened the device, or a socket that speaks the protocol: the mountpoint is `/dev/fd/N`.
    GivenFd,
}

/// A mount flag that every filesystem type has; see `mount(8)`, "filesystem-independent mount options".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MountFlag {
    /// `ro`: nothing can be written.
    ReadOnly,
    /// `nosuid`: set-user-ID bits and file capabilities have no effect. On unless cleared.
    NoSuid,
    /// `nodev`: device nodes cannot be opened. On unless cleared.
    NoDev,
    /// `noexec`: programs cannot be run.
    NoExec,
    /// `sync`: writes are synchronous.
    Synchronous,
    /// `dirsync`: changes of directories are synchronous.
    DirSync,
    /// `noatime`: reading does not update access times. Excludes `RelAtime` and `StrictAtime`.
    NoAtime,
    /// `nodiratime`: reading directories does not update access times.
    NoDirAtime,
    /// `relatime`: access times are updated when older than the last change. Excludes `NoAtime` and `StrictAtime`.
    RelAtime,
    /// `strictatime`: access times are always updated. Excludes `NoAtime` and `RelAtime`.
    StrictAtime,
    /// `lazytime`: times are kept in memory and written late.
    LazyTime,
}

/// One generic flag in the three languages that mounting speaks.
pub(super) struct FlagRow {
    pub(super) flag: MountFlag,
    /// The `-o` word that sets it, and that `fusermount3` understands.
    pub(super) on: &'static str,
    /// The `-o` word that clears it.
    pub(super) off: &'static str,
    /// The `mount(2)` flag.
    pub(super) ms: MsFlags,
    /// The `fsmount` attribute; empty for flags of the superblock only.
    pub(super) attr: MountAttrFlags,
    /// The flag key for `fsconfig`, for flags of the superblock.
    pub(super) key: Option<&'static str>,
}

const fn row(
    flag: MountFlag,
    on: &'static str,
    off: &'static str,
    ms: MsFlags,
    attr: MountAttrFlags,
    key: Option<&'static str>,
) -> FlagRow {
    FlagRow { flag, on, off, ms, attr, key }
}

/// Every generic flag, once.
#[rustfmt::skip]
pub(super) const FLAGS: &[FlagRow] = &[
    row(MountFlag::ReadOnly, "ro", "rw", MsFlags::MS_RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY, Some("ro")),
    row(MountFlag::NoSuid, "nosuid", "suid", MsFlags::MS_NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID, None),
    row(MountFlag::NoDev, "nodev", "dev", MsFlags::MS_NODEV, MountAttrFlags::MOUNT_ATTR_NODEV, None),
    row(MountFlag::NoExec, "noexec", "exec", MsFlags::MS_NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC, None),
    row(MountFlag::Synchronous, "sync", "async", MsFlags::MS_SYNCHRONOUS, MountAttrFlags::empty(), Some("sync")),
    row(MountFlag::DirSync, "dirsync", "nodirsync", MsFlags::MS_DIRSYNC, MountAttrFlags::empty(), Some("dirsync")),
    row(MountFlag::NoAtime, "noatime", "atime", MsFlags::MS_NOATIME, MountAttrFlags::MOUNT_ATTR_NOATIME, None),
    row(MountFlag::NoDirAtime, "nodiratime", "diratime", MsFlags::MS_NODIRATIME, MountAttrFlags::MOUNT_ATTR_NODIRATIME, None),
    row(MountFlag::RelAtime, "relatime", "norelatime", MsFlags::MS_RELATIME, MountAttrFlags::MOUNT_ATTR_RELATIME, None),
    row(MountFlag::StrictAtime, "strictatime", "nostrictatime", MsFlags::MS_STRICTATIME, MountAttrFlags::MOUNT_ATTR_STRICTATIME, None),
    row(MountFlag::LazyTime, "lazytime", "nolazytime", MsFlags::MS_LAZYTIME, MountAttrFlags::empty(), Some("lazytime")),
];

impl MountFlag {
    pub(super) fn ms(self) -> MsFlags {
        FLAGS.iter().find(|row| row.flag == self).map_or(MsFlags::empty(), |row| row.ms)
    }
}

/// What to mount and how. Everything has a default; [`prepare`](super::prepare) checks the whole.
///
/// A default mount is `nosuid,nodev`, seen by the mounting user only, with permission checks left to the filesystem.
///
/// ```
/// use fusewire::mount::{MountFlag, MountOptions};
///
/// let options = MountOptions::new()
///     .subtype("memfs")
///     .source("scratch")
///     .set(MountFlag::ReadOnly)
///     .default_permissions();
/// assert!(options.has(MountFlag::NoDev));
/// ```
#[derive(Clone, Debug)]
pub struct MountOptions {
    pub(super) source: Option<OsString>,
    pub(super) subtype: Option<OsString>,
    pub(super) flags: MsFlags,
    pub(super) allow_other: bool,
    pub(super) default_permissions: bool,
    pub(super) auto_unmount: bool,
    pub(super) max_read: Option<u32>,
    pub(super) root: RootKind,
    pub(super) method: Option<MountMethod>,
    pub(super) helper: Option<PathBuf>,
    pub(super) device: PathBuf,
    pub(super) kernel_options: Vec<(OsString, Option<OsString>)>,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            source: None,
            subtype: None,
            flags: MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            allow_other: false,
            default_permissions: false,
            auto_unmount: false,
            max_read: None,
            root: RootKind::Directory,
            method: None,
            helper: None,
            device: PathBuf::from("/dev/fuse"),
            kernel_options: Vec::new(),
        }
    }
}

impl MountOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is mounted, the first column of `df` and `/proc/mounts` (`-o fsname=`). Commas and backslashes are fine, a
    /// newline is refused. Defaults to the subtype, and without one to `fuse`.
    #[must_use]
    pub fn source(mut self, source: impl Into<OsString>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind of filesystem: the type is shown as `fuse.SUBTYPE` (`-o subtype=`).
    #[must_use]
    pub fn subtype(mut self, subtype: impl Into<OsString>) -> Self {
        self.subtype = Some(subtype.into());
        self
    }

    /// Sets a generic flag. Of the three access time policies the last one set wins.
    #[must_use]
    pub fn set(mut self, flag: MountFlag) -> Self {
        self.set_flag(flag);
        self
    }

    /// Clears a generic flag. Clearing `NoSuid` or `NoDev` is for root only.
    #[must_use]
    pub fn clear(mut self, flag: MountFlag) -> Self {
        self.clear_flag(flag);
        self
    }

    /// Lets other users in (`-o allow_other`). For an ordinary user `/etc/fuse.conf` must say `user_allow_other`.
    #[must_use]
    pub fn allow_other(mut self) -> Self {
        self.allow_other = true;
        self
    }

    /// Has the kernel check permissions by mode, owner and ACL (`-o default_permissions`).
    #[must_use]
    pub fn default_permissions(mut self) -> Self {
        self.default_permissions = true;
        self
    }

    /// Unmounts when this process ends in whatever way, SIGKILL included (`-o auto_unmount`). A small process watches
    /// for that; it holds nothing of the mount.
    #[must_use]
    pub fn auto_unmount(mut self) -> Self {
        self.auto_unmount = true;
        self
    }

    /// Bounds the size of a READ request, in bytes (`-o max_read=`). The kernel takes no less than 4096.
    #[must_use]
    pub fn max_read(mut self, bytes: u32) -> Self {
        self.max_read = Some(bytes);
        self
    }

    /// The type of the filesystem's root; the mountpoint must have the same.
    #[must_use]
    pub fn root(mut self, kind: RootKind) -> Self {
        self.root = kind;
        self
    }

    /// Uses this method only, rather than the first of them that works here.
    #[must_use]
    pub fn method(mut self, method: MountMethod) -> Self {
        self.method = Some(method);
        self
    }

    /// The setuid helper. By default `fusermount3`, then `fusermount`, is looked up on `PATH`, then in `/usr/bin` and
    /// `/bin`.
    #[must_use]
    pub fn helper(mut self, path: impl Into<PathBuf>) -> Self {
        self.helper = Some(path.into());
        self
    }

    /// The FUSE device; by default `/dev/fuse`. The helper always opens `/dev/fuse`.
    #[must_use]
    pub fn device(mut self, path: impl Into<PathBuf>) -> Self {
        self.device = path.into();
        self
    }

    /// Hands one more option to the kernel, as it is. What the kernel or the helper does not know makes the mount fail.
    #[must_use]
    pub fn kernel_option(mut self, name: impl Into<OsString>, value: Option<OsString>) -> Self {
        self.kernel_options.push((name.into(), value));
        self
    }

    /// Whether a generic flag is set.
    pub fn has(&self, flag: MountFlag) -> bool {
        self.flags.contains(flag.ms())
    }

    /// Whether `default_permissions` is set.
    pub fn has_default_permissions(&self) -> bool {
        self.default_permissions
    }

    /// Whether `allow_other` is set.
    pub fn has_allow_other(&self) -> bool {
        self.allow_other
    }

    /// The bound on READ requests in bytes, if one was set.
    pub fn max_read_limit(&self) -> Option<u32> {
        self.max_read
    }

    /// What messages call this filesystem: the subtype, else the source, else `fuse`.
    pub fn name(&self) -> &OsStr {
        self.subtype.as_deref().or(self.source.as_deref()).unwrap_or(OsStr::new("fuse"))
    }

    pub(super) fn set_flag(&mut self, flag: MountFlag) {
        let atime = MsFlags::MS_NOATIME | MsFlags::MS_RELATIME | MsFlags::MS_STRICTATIME;
        if atime.contains(flag.ms()) {
            self.flags.remove(atime);
        }
        self.flags.insert(flag.ms());
    }

    pub(super) fn clear_flag(&mut self, flag: MountFlag) {
        self.flags.remove(flag.ms());
    }

    /// The source as the kernel is told.
    pub(super) fn source_or_default(&self) -> &OsStr {
        self.source.as_deref().or(self.subtype.as_deref()).unwrap_or(OsStr::new("fuse"))
    }

    pub(super) fn helper_path(&self) -> Option<&Path> {
        self.helper.as_deref()
    }
}
