//! A `PathFilesystem` through a real mount: names, open files and hard links stay right whatever is renamed or removed.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fusewire::mount::MountOptions;
use fusewire::{
    Attr, ByPath, Context, Errno, FileHandle, FileType, Mounted, PathEntry, PathFilesystem, RenameFlags, SessionConfig,
    op, sink,
};

/// Shows what is below a directory, by paths and nothing else: no handle is kept between calls.
struct Below(PathBuf);

impl Below {
    fn real(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").expect("an absolute path"))
    }
}

impl PathFilesystem for Below {
    fn timeout(&self) -> Duration {
        Duration::ZERO
    }

    fn getattr(&self, _: &Context<'_>, path: &Path, _: Option<FileHandle>) -> Result<Attr, Errno> {
        let meta = fs::symlink_metadata(self.real(path))?;
        let mut attr = Attr::new(meta.ino(), FileType::from_mode(meta.mode()), meta.mode() & 0o7777);
        attr.size = meta.size();
        attr.nlink = u32::try_from(meta.nlink()).map_err(|_| Errno::EOVERFLOW)?;
        Ok(attr)
    }

    fn mknod(&self, _: &Context<'_>, path: &Path, _: &op::Mknod<'_>) -> Result<(), Errno> {
        fs::File::create_new(self.real(path))?;
        Ok(())
    }

    fn mkdir(&self, _: &Context<'_>, path: &Path, _: &op::Mkdir<'_>) -> Result<(), Errno> {
        Ok(fs::create_dir(self.real(path))?)
    }

    fn unlink(&self, _: &Context<'_>, path: &Path) -> Result<(), Errno> {
        Ok(fs::remove_file(self.real(path))?)
    }

    fn rmdir(&self, _: &Context<'_>, path: &Path) -> Result<(), Errno> {
        Ok(fs::remove_dir(self.real(path))?)
    }

    fn rename(&self, _: &Context<'_>, from: &Path, to: &Path, flags: RenameFlags) -> Result<(), Errno> {
        if !flags.is_empty() {
            return Err(Errno::EINVAL);
        }
        Ok(fs::rename(self.real(from), self.real(to))?)
    }

    fn link(&self, _: &Context<'_>, existing: &Path, new: &Path) -> Result<(), Errno> {
        Ok(fs::hard_link(self.real(existing), self.real(new))?)
    }

    fn read(&self, _: &Context<'_>, path: &Path, op: &op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        out.put_file(fs::File::open(self.real(path))?, op.offset)?;
        Ok(())
    }

    fn write(&self, _: &Context<'_>, path: &Path, op: &op::Write<'_>) -> Result<u32, Errno> {
        fs::OpenOptions::new().write(true).open(self.real(path))?.write_all_at(op.data, op.offset)?;
        u32::try_from(op.data.len()).map_err(|_| Errno::EFBIG)
    }

    fn readdir(&self, _: &Context<'_>, path: &Path) -> Result<Vec<PathEntry>, Errno> {
        fs::read_dir(self.real(path))?.map(|entry| Ok(PathEntry::new(entry?.file_name(), FileType::UNKNOWN))).collect()
    }
}

struct Stage {
    mounted: Mounted,
    source: tempfile::TempDir,
    dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let source = tempfile::tempdir().expect("a directory");
        let dir = tempfile::tempdir().expect("a directory");
        let served = ByPath::new(Below(source.path().to_owned()));
        let options = MountOptions::new().subtype("below");
        let mounted = fusewire::mount(served, dir.path(), &options, SessionConfig::default()).expect("mounting");
        Self { mounted, source, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn create(&self, name: &str, content: &str) -> fs::File {
        let mut file =
            fs::File::options().read(true).write(true).create_new(true).open(self.path(name)).expect("creating");
        file.write_all(content.as_bytes()).expect("writing");
        file
    }

    /// Unmounts, and says which names are left in the source.
    fn end(mut self) -> Vec<String> {
        self.mounted.unmount().expect("unmounting");
        let entries = fs::read_dir(self.source.path()).expect("listing");
        entries.map(|entry| entry.expect("an entry").file_name().display().to_string()).collect()
    }
}

fn content(file: &mut fs::File) -> String {
    let mut text = String::new();
    file.rewind().expect("seeking");
    file.read_to_string(&mut text).expect("reading");
    text
}

#[test]
fn open_file_follows_its_renamed_directory() {
    let stage = Stage::new();
    fs::create_dir(stage.path("old")).expect("a directory");
    let mut file = stage.create("old/f", "text");
    fs::rename(stage.path("old"), stage.path("new")).expect("renaming");
    assert_eq!(content(&mut file), "text");
    file.write_all(b" and more").expect("writing");
    assert_eq!(fs::read_to_string(stage.path("new/f")).expect("reading"), "text and more");
    drop(file);
    assert_eq!(stage.end(), ["new"]);
}

#[test]
fn removed_file_is_read_and_written_while_it_is_open() {
    let stage = Stage::new();
    let mut file = stage.create("f", "text");
    fs::remove_file(stage.path("f")).expect("removing");
    assert!(!stage.path("f").exists());
    file.write_all(b" and more").expect("writing");
    assert_eq!(content(&mut file), "text and more");
    drop(file);
    assert_eq!(stage.end(), [""; 0]);
}

#[test]
fn replaced_file_is_read_while_it_is_open() {
    let stage = Stage::new();
    let mut old = stage.create("f", "old");
    drop(stage.create("g", "new"));
    fs::rename(stage.path("g"), stage.path("f")).expect("renaming");
    assert_eq!(content(&mut old), "old");
    assert_eq!(fs::read_to_string(stage.path("f")).expect("reading"), "new");
    drop(old);
    assert_eq!(stage.end(), ["f"]);
}

#[test]
fn hard_links_are_one_file_in_every_respect() {
    let stage = Stage::new();
    drop(stage.create("one", "text"));
    fs::hard_link(stage.path("one"), stage.path("two")).expect("linking");
    let (one, two) = (fs::metadata(stage.path("one")), fs::metadata(stage.path("two")));
    let (one, two) = (one.expect("attributes"), two.expect("attributes"));
    assert_eq!((one.ino(), one.nlink()), (two.ino(), two.nlink()));
    fs::remove_file(stage.path("one")).expect("removing");
    assert_eq!(fs::read_to_string(stage.path("two")).expect("reading"), "text");
    assert_eq!(stage.end(), ["two"]);
}

#[test]
fn listing_goes_on_where_it_was_though_entries_come_and_go() {
    let stage = Stage::new();
    for number in 0..2000 {
        fs::write(stage.source.path().join(format!("file-{number}")), "").expect("a file");
    }
    let mut seen = Vec::new();
    for (index, entry) in fs::read_dir(stage.dir.path()).expect("listing").enumerate() {
        let name = entry.expect("an entry").file_name();
        if index == 100 {
            fs::write(stage.path("late"), "").expect("a file");
        }
        seen.push(name);
    }
    seen.retain(|name| name != "late");
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((count, seen.len()), (2000, 2000));
}
