//! From a path to a node, as `fs/namei.c` does: one name after the other, through symbolic links.
//!
//! The root of the mount is the root of all paths: `..` does not lead out of it, and an absolute link begins there.

use std::collections::VecDeque;
use std::path::Path;

use fusewire_proto::op;
use fusewire_proto::{Errno, FileType, Name, NodeId};

use crate::vfs::cache::{Known, Pin};
use crate::vfs::{Mount, bytes};

/// How many symbolic links a path may go through (`linux/namei.h MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;
/// The longest name that is sent (`fs/fuse/fuse_i.h FUSE_NAME_MAX` of kernels before 6.13).
const LONGEST_NAME: usize = 1024;
/// The longest path, with its NUL.
const LONGEST_PATH: usize = 4096;

/// What to do with a symbolic link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Follow,
    Stay,
}

/// The last name of a path, and the directory that it is in.
pub(super) struct Place {
    /// The directory, and those above it.
    above: Vec<Pin>,
    /// The name; `None` if the path ends in `.` or `..` or is the root.
    pub(super) name: Option<Vec<u8>>,
    /// A slash behind the name: only a directory will do.
    pub(super) slash: bool,
}

impl Place {
    /// The directory.
    ///
    /// # Errors
    /// Never, in truth: the root is always above.
    pub(super) fn dir(&self) -> Result<&Pin, Errno> {
        self.above.last().ok_or(Errno::ENOENT)
    }

    /// Whether the place is in `node`, or below it.
    pub(super) fn has_above(&self, node: NodeId) -> bool {
        self.above.iter().any(|pin| pin.node == node)
    }
}

/// The names of a path that are still to be walked.
struct Route {
    names: VecDeque<Vec<u8>>,
    slash: bool,
}

impl Route {
    fn of(path: &[u8]) -> Result<Self, Errno> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path.len() >= LONGEST_PATH {
            return Err(Errno::ENAMETOOLONG);
        }
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
        Ok(Self { names, slash: path.ends_with(b"/") })
    }

    /// Puts the target of a link in front.
    fn detour(&mut self, target: &[u8]) -> Result<(), Errno> {
        let target = Self::of(target)?;
        if self.names.is_empty() {
            self.slash |= target.slash;
        }
        for name in target.names.into_iter().rev() {
            self.names.push_front(name);
        }
        Ok(())
    }
}

impl Mount {
    /// The node that a path leads to.
    pub(super) fn walk(&self, path: impl AsRef<Path>, last: Last) -> Result<Pin, Errno> {
        let mut route = Route::of(bytes(path.as_ref()))?;
        let mut above = vec![self.root()];
        self.follow(&mut above, &mut route, last, false)?;
        above.pop().ok_or(Errno::ENOENT)
    }

    /// The directory that a path leads into, and the last name.
    pub(super) fn place(&self, path: impl AsRef<Path>) -> Result<Place, Errno> {
        let mut route = Route::of(bytes(path.as_ref()))?;
        let mut above = vec![self.root()];
        let name = self.follow(&mut above, &mut route, Last::Stay, true)?;
        Ok(Place { above, name, slash: route.slash })
    }

    /// The place that a symbolic link at `place` leads to.
    pub(super) fn place_behind(&self, place: Place, link: &Pin) -> Result<Place, Errno> {
        let mut above = place.above;
        let target = self.read_link(link)?;
        let mut route = Route::of(&target)?;
        if target.starts_with(b"/") {
            above.truncate(1);
        }
        let name = self.follow(&mut above, &mut route, Last::Stay, true)?;
        Ok(Place { above, name, slash: place.slash || route.slash })
    }

    /// Walks a route; `above` is where it stands, and the way there. Stops in front of the last name if that is wanted, and
    /// returns it.
    fn follow(
        &self,
        above: &mut Vec<Pin>,
        route: &mut Route,
        last: Last,
        stop_before: bool,
    ) -> Result<Option<Vec<u8>>, Errno> {
        let mut links = 0;
        while let Some(name) = route.names.pop_front() {
            let here = above.last().ok_or(Errno::ENOENT)?;
            if !here.is_directory() {
                return Err(Errno::ENOTDIR);
            }
            let is_last = route.names.is_empty();
            match name.as_slice() {
                b"." => continue,
                b".." => {
                    if above.len() > 1 {
                        above.pop();
                    }
                    continue;
                }
                _ if is_last && stop_before => return Ok(Some(name)),
                _ => {}
            }
            let found = self.look_up(here, &name)?;
            let follow = !is_last || last == Last::Follow || route.slash;
            if found.kind() == FileType::SYMLINK && follow {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::ELOOP);
                }
                let target = self.read_link(&found)?;
                if target.starts_with(b"/") {
                    above.truncate(1);
                }
                route.detour(&target)?;
                continue;
            }
            above.push(found);
        }
        let at_directory = above.last().is_some_and(Pin::is_directory);
        if route.slash && !at_directory { Err(Errno::ENOTDIR) } else { Ok(None) }
    }

    /// The node that a name in a directory means: from the cache if that may be believed, else with `LOOKUP`.
    pub(super) fn look_up(&self, dir: &Pin, name: &[u8]) -> Result<Pin, Errno> {
        match self.known(dir, name) {
            Known::Node(pin) => return Ok(pin),
            Known::Absent => return Err(Errno::ENOENT),
            Known::Stale => {}
        }
        if name.len() > LONGEST_NAME {
            return Err(Errno::ENAMETOOLONG);
        }
        let wire_name = Name::new(name).map_err(|_| Errno::EINVAL)?;
        let entry = match self.ask(op::Lookup::new(dir.node, wire_name)) {
            Ok(answer) => answer.entry()?,
            Err(errno) => {
                let forgotten = self.cache().drop_name(dir.node, name);
                self.forget(&forgotten);
                return Err(errno);
            }
        };
        if entry.is_negative() {
            self.remember(dir, name, None, entry.entry_timeout);
            return Err(Errno::ENOENT);
        }
        Ok(self.adopt_name(dir, name, &entry))
    }

    /// What a symbolic link points to.
    pub(super) fn read_link(&self, link: &Pin) -> Result<Vec<u8>, Errno> {
        if link.kind() != FileType::SYMLINK {
            return Err(Errno::EINVAL);
        }
        Ok(self.ask(op::Readlink::new(link.node))?.data()?.to_vec())
    }
}
