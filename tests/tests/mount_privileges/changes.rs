//! The ways to change a file, as data. Who makes them is not known here.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::FallocateFlags;

/// A way to change a file.
pub(crate) struct Change {
    pub(crate) name: &'static str,
    /// Changes this file, of 8192 bytes; beside it is another, `source`.
    pub(crate) make: fn(&Path) -> io::Result<()>,
    /// Of what others do, the kernel tells a daemon too little.
    pub(crate) only_by_owner: bool,
}

const fn change(name: &'static str, make: fn(&Path) -> io::Result<()>) -> Change {
    Change { name, make, only_by_owner: false }
}

pub(crate) const CHANGES: &[Change] = &[
    change("write(2)", |file| write_only().open(file)?.write_all(b"x")),
    change("write(2) of nothing", |file| write_only().open(file)?.write(b"").map(drop)),
    change("write(2) at the end", |file| OpenOptions::new().append(true).open(file)?.write_all(b"x")),
    change("truncate(2)", |file| Ok(nix::unistd::truncate(file, 3)?)),
    change("truncate(2) to the same size", |file| Ok(nix::unistd::truncate(file, 8192)?)),
    change("ftruncate(2)", |file| write_only().open(file)?.set_len(3)),
    change("open(2) with O_TRUNC", |file| write_only().truncate(true).open(file).map(drop)),
    change("fallocate(2)", |file| allocate(file, FallocateFlags::empty(), 9000)),
    change("fallocate(2) that keeps the size", |file| allocate(file, FallocateFlags::KEEP_SIZE, 9000)),
    change("fallocate(2) of a hole", |file| {
        allocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 4096)
    }),
    change("copy_file_range(2)", |file| {
        let (from, to) = (File::open(file.with_file_name("source"))?, write_only().open(file)?);
        Ok(rustix::fs::copy_file_range(from, None, to, None, 5).map(drop)?)
    }),
    change("splice(2)", |file| {
        let (from, to) = nix::unistd::pipe()?;
        nix::unistd::write(&to, b"abc")?;
        Ok(nix::fcntl::splice(from, None, write_only().open(file)?, None, 3, nix::fcntl::SpliceFFlags::empty())
            .map(drop)?)
    }),
    change("sendfile(2)", |file| {
        let (from, to) = (File::open(file.with_file_name("source"))?, write_only().open(file)?);
        Ok(rustix::fs::sendfile(to, from, None, 5).map(drop)?)
    }),
    change("chown(2) to the owner", |file| chown(file, Some(fs::metadata(file)?.uid()), None)),
    change("chown(2) to the group", |file| chown(file, None, Some(fs::metadata(file)?.gid()))),
    change("chown(2) to somebody else", |file| chown(file, Some(1234), None)),
    change("chown(2) to another group", |file| chown(file, None, Some(1234))),
    Change { name: "chown(2) to nobody", make: |file| chown(file, None, None), only_by_owner: true },
    change("chmod(2) to the same mode", |file| {
        let mode = fs::metadata(file)?.mode() & 0o7777;
        fs::set_permissions(file, fs::Permissions::from_mode(mode))
    }),
    change("utimensat(2)", |file| {
        let now = SystemTime::now();
        File::open(file)?.set_times(FileTimes::new().set_modified(now).set_accessed(now))
    }),
    change("utimensat(2) to now", |file| {
        let now = nix::sys::time::TimeSpec::UTIME_NOW;
        Ok(nix::sys::stat::utimensat(
            nix::fcntl::AT_FDCWD,
            file,
            &now,
            &now,
            nix::sys::stat::UtimensatFlags::FollowSymlink,
        )?)
    }),
    change("read(2)", |file| fs::read(file).map(drop)),
];

fn write_only() -> OpenOptions {
    OpenOptions::new().write(true).clone()
}

fn allocate(file: &Path, mode: FallocateFlags, length: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(write_only().open(file)?, mode, 0, length)?)
}
