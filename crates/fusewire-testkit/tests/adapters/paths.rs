//! A filesystem that thinks in paths: all it has is a map from paths to what is there.
//!
//! Node ids, lookup counts and what becomes of open files are the library's business.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use fusewire::op::SetTime;
use fusewire::{
    Attr, Context, Errno, FileHandle, FileType, PathEntry, PathFilesystem, RenameFlags, Timestamp, op, sink,
};

/// What is at a path.
struct Item {
    attr: Attr,
    /// The data of a file, or the target of a link.
    bytes: Vec<u8>,
}

impl Item {
    fn new(kind: FileType, mode: u32) -> Self {
        // No inode number: the library gives one.
        Self { attr: Attr::new(0, kind, mode & 0o7777), bytes: Vec::new() }
    }

    fn is_dir(&self) -> bool {
        self.attr.file_type() == FileType::DIRECTORY
    }

    fn resize(&mut self, size: u64) -> Result<(), Errno> {
        if size > 1 << 26 {
            return Err(Errno::EFBIG);
        }
        self.bytes.resize(usize::try_from(size).unwrap(), 0);
        self.attr.size = size;
        Ok(())
    }
}

type Items = BTreeMap<PathBuf, Item>;

pub(crate) struct Paths(Mutex<Items>);

impl Paths {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(BTreeMap::from([(PathBuf::from("/"), Item::new(FileType::DIRECTORY, 0o755))])))
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.0.lock().unwrap()
    }

    fn make(&self, path: &Path, item: Item) -> Result<(), Errno> {
        let mut items = self.items();
        if items.contains_key(path) {
            return Err(Errno::EEXIST);
        }
        let parent = items.get(path.parent().unwrap()).ok_or(Errno::ENOENT)?;
        if !parent.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        items.insert(path.to_owned(), item);
        Ok(())
    }
}

fn find<'i>(items: &'i mut Items, path: &Path) -> Result<&'i mut Item, Errno> {
    items.get_mut(path).ok_or(Errno::ENOENT)
}

fn is_empty(items: &Items, dir: &Path) -> bool {
    !items.keys().any(|path| path.parent() == Some(dir))
}

/// Takes out what is at a path and below it.
fn take(items: &mut Items, top: &Path) -> Vec<(PathBuf, Item)> {
    let moved: Vec<PathBuf> = items.keys().filter(|path| path.starts_with(top)).cloned().collect();
    moved
        .into_iter()
        .map(|path| {
            let item = items.remove(&path).unwrap();
            let below = path.strip_prefix(top).unwrap().to_owned();
            (below, item)
        })
        .collect()
}

fn put(items: &mut Items, top: &Path, moved: Vec<(PathBuf, Item)>) {
    for (below, item) in moved {
        let path = if below.as_os_str().is_empty() { top.to_owned() } else { top.join(below) };
        items.insert(path, item);
    }
}

impl PathFilesystem for Paths {
    fn getattr(&self, _: &Context<'_>, path: &Path, _: Option<FileHandle>) -> Result<Attr, Errno> {
        find(&mut self.items(), path).map(|item| item.attr)
    }

    fn setattr(&self, _: &Context<'_>, path: &Path, op: &op::Setattr) -> Result<(), Errno> {
        let mut items = self.items();
        let item = find(&mut items, path)?;
        if let Some(size) = op.size {
            if item.is_dir() {
                return Err(Errno::EISDIR);
            }
            item.resize(size)?;
        }
        if let Some(mode) = op.mode {
            item.attr.mode = item.attr.file_type().mode_bits() | mode & 0o7777;
        }
        match op.mtime {
            Some(SetTime::At(time)) => item.attr.mtime = time,
            Some(SetTime::Now) => item.attr.mtime = Timestamp::new(1, 0),
            None => {}
        }
        Ok(())
    }

    fn readlink(&self, _: &Context<'_>, path: &Path) -> Result<PathBuf, Errno> {
        let items = self.items();
        let item = items.get(path).ok_or(Errno::ENOENT)?;
        String::from_utf8(item.bytes.clone()).map(PathBuf::from).map_err(|_| Errno::EIO)
    }

    fn symlink(&self, _: &Context<'_>, path: &Path, target: &Path) -> Result<(), Errno> {
        let mut item = Item::new(FileType::SYMLINK, 0o777);
        item.bytes = target.to_str().ok_or(Errno::EINVAL)?.as_bytes().to_vec();
        item.attr.size = u64::try_from(item.bytes.len()).unwrap();
        self.make(path, item)
    }

    fn mknod(&self, _: &Context<'_>, path: &Path, op: &op::Mknod<'_>) -> Result<(), Errno> {
        self.make(path, Item::new(FileType::from_mode(op.mode), op.mode))
    }

    fn mkdir(&self, _: &Context<'_>, path: &Path, op: &op::Mkdir<'_>) -> Result<(), Errno> {
        self.make(path, Item::new(FileType::DIRECTORY, op.mode))
    }

    fn unlink(&self, _: &Context<'_>, path: &Path) -> Result<(), Errno> {
        let mut items = self.items();
        if find(&mut items, path)?.is_dir() {
            return Err(Errno::EISDIR);
        }
        items.remove(path);
        Ok(())
    }

    fn rmdir(&self, _: &Context<'_>, path: &Path) -> Result<(), Errno> {
        let mut items = self.items();
        if !find(&mut items, path)?.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        if !is_empty(&items, path) {
            return Err(Errno::ENOTEMPTY);
        }
        items.remove(path);
        Ok(())
    }

    fn rename(&self, _: &Context<'_>, from: &Path, to: &Path, flags: RenameFlags) -> Result<(), Errno> {
        let mut items = self.items();
        let moves_dir = find(&mut items, from)?.is_dir();
        let over_dir = items.get(to).map(Item::is_dir);
        if to.starts_with(from) && to != from {
            return Err(Errno::EINVAL);
        }
        if flags.contains(RenameFlags::NOREPLACE) && over_dir.is_some() {
            return Err(Errno::EEXIST);
        }
        if flags.contains(RenameFlags::EXCHANGE) {
            if over_dir.is_none() {
                return Err(Errno::ENOENT);
            }
            if from.starts_with(to) && to != from {
                return Err(Errno::EINVAL);
            }
        } else if let Some(over_dir) = over_dir.filter(|_| to != from) {
            match (moves_dir, over_dir) {
                (true, false) => return Err(Errno::ENOTDIR),
                (_, true) if !is_empty(&items, to) => return Err(Errno::ENOTEMPTY),
                (false, true) => return Err(Errno::EISDIR),
                _ => drop(items.remove(to)),
            }
        }
        let (moved, back) = (take(&mut items, from), take(&mut items, to));
        put(&mut items, to, moved);
        put(&mut items, from, back);
        Ok(())
    }

    fn read(&self, _: &Context<'_>, path: &Path, op: &op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        let mut items = self.items();
        let start = usize::try_from(op.offset).unwrap_or(usize::MAX);
        out.put(find(&mut items, path)?.bytes.get(start..).unwrap_or_default());
        Ok(())
    }

    fn write(&self, _: &Context<'_>, path: &Path, op: &op::Write<'_>) -> Result<u32, Errno> {
        let mut items = self.items();
        let item = find(&mut items, path)?;
        let size = u32::try_from(op.data.len()).unwrap();
        let end = op.offset.checked_add(u64::from(size)).ok_or(Errno::EFBIG)?;
        item.resize(end.max(item.attr.size))?;
        let start = usize::try_from(op.offset).unwrap();
        item.bytes[start..start + op.data.len()].copy_from_slice(op.data);
        Ok(size)
    }

    fn readdir(&self, _: &Context<'_>, path: &Path) -> Result<Vec<PathEntry>, Errno> {
        let mut items = self.items();
        if !find(&mut items, path)?.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let inside = items.iter().filter(|(below, _)| below.parent() == Some(path));
        Ok(inside.map(|(below, item)| PathEntry::new(below.file_name().unwrap(), item.attr.file_type())).collect())
    }
}
