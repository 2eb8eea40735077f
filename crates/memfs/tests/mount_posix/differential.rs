//! One random sequence of system calls, on memfs and on tmpfs: results, errors, times and the final trees are the same.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{FallocateFlags, StatxTimestamp};
use rustix::io::Errno;

use crate::calls::{Call, Caller, Outcome, Random, Side, list, random_call, status, statx, xattrs};
use crate::stage::{Stage, as_user};

/// Calls in a sequence. Each sequence begins with empty trees.
const CALLS: u32 = 2500;

/// Whether times of a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Changes {
    modified: Change,
    changed: Change,
}

/// Whether a time changed. The kernel's own filesystems take times from a clock that ticks slowly: what did not change may
/// have been set to the same time again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Changed,
    Unchanged,
    /// Unchanged, but so new that this says nothing.
    Perhaps,
}

impl Changes {
    /// Whether these, seen on tmpfs, are those on memfs.
    fn agree(self, ours: Self) -> bool {
        let agree = |native, ours| {
            native == ours || native == Change::Perhaps || ours == Change::Perhaps && native == Change::Unchanged
        };
        agree(self.modified, ours.modified) && agree(self.changed, ours.changed)
    }
}

type Times = (StatxTimestamp, StatxTimestamp);

fn times(path: &Path) -> Option<(u64, Times)> {
    statx(path).ok().map(|found| (found.stx_ino, (found.stx_mtime, found.stx_ctime)))
}

fn change(before: &StatxTimestamp, after: &StatxTimestamp) -> Change {
    if (before.tv_sec, before.tv_nsec) != (after.tv_sec, after.tv_nsec) {
        return Change::Changed;
    }
    let Ok(seconds) = u64::try_from(before.tv_sec) else { return Change::Unchanged };
    let age = (UNIX_EPOCH + Duration::new(seconds, before.tv_nsec)).elapsed();
    if age.is_ok_and(|age| age < Duration::from_millis(50)) { Change::Perhaps } else { Change::Unchanged }
}

fn changes(before: Option<(u64, Times)>, after: Option<(u64, Times)>) -> Option<Changes> {
    let ((ino, before), (ino_after, after)) = (before?, after?);
    (ino == ino_after).then(|| Changes { modified: change(&before.0, &after.0), changed: change(&before.1, &after.1) })
}

/// The paths whose times a call may change: what it names, and their directories.
fn concerned(call: &Call) -> Vec<String> {
    let named: Vec<&String> = match call {
        Call::Mkdir(path, _)
        | Call::Rmdir(path)
        | Call::Open(_, path, _, _)
        | Call::Truncate(path, _)
        | Call::Unlink(path)
        | Call::LinkSlot(_, path)
        | Call::Symlink(_, path)
        | Call::Mknod(path, ..)
        | Call::Chmod(path, _)
        | Call::Chown(path, ..)
        | Call::Setxattr(path, ..)
        | Call::Removexattr(path, _) => vec![path],
        Call::Rename(from, to, _) | Call::Link(from, to) => vec![from, to],
        _ => vec![],
    };
    let parents = named.iter().map(|path| path.rsplit_once('/').map_or(".", |(parent, _)| parent).to_owned());
    parents.chain(named.iter().map(|path| (*path).clone())).collect()
}

/// Carries a call out on one side: what came of it, and which times changed.
fn observe(side: &mut Side, caller: Caller, call: &Call) -> (Outcome, Vec<(String, Option<Changes>)>) {
    let paths = concerned(call);
    let before: Vec<_> = paths.iter().map(|path| times(&side.at(path))).collect();
    let outcome = match caller {
        Caller::Root => side.carry_out(call),
        Caller::User => as_user(|| side.carry_out(call)),
    };
    let after = paths.iter().zip(before).map(|(path, before)| (path.clone(), changes(before, times(&side.at(path)))));
    (outcome, after.collect())
}

/// What makes two trees alike: every path with its status, attributes, contents and holes.
fn tree(root: &Path, at: &Path, tainted: &dyn Fn(&Path) -> bool, lines: &mut Vec<String>) {
    let shown = at.strip_prefix(root).expect("below the root").display();
    lines.push(format!("{shown}: {:?} {:?}", status(at, !tainted(at)), xattrs(at)));
    if let Ok(target) = std::fs::read_link(at) {
        lines.push(format!("{shown} -> {}", target.display()));
    } else if at.is_dir() {
        for (name, kind) in list(at).expect("listing") {
            lines.push(format!("{shown} has {name} {kind}"));
            if name != "." && name != ".." {
                tree(root, &at.join(name), tainted, lines);
            }
        }
    } else if at.is_file() {
        lines.push(format!("{shown} holds {}", contents(at)));
    }
}

/// A digest of what is in a file, data by data: one may be sparse and huge.
fn contents(path: &Path) -> String {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::open(path).expect("opening");
    let size = file.metadata().expect("its size").len();
    let mut digest: u64 = 14_695_981_039_346_656_037;
    let mut at = 0;
    while let Ok(data) = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
        let end = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(data)).expect("the end of the data");
        let mut bytes = vec![0; usize::try_from(end - data).expect("a length")];
        file.read_exact_at(&mut bytes, data).expect("reading");
        for (index, byte) in bytes.iter().enumerate().filter(|(_, byte)| **byte != 0) {
            let position = data + index as u64;
            digest = (digest ^ position ^ u64::from(*byte) << 56).wrapping_mul(1_099_511_628_211);
        }
        at = end;
        if at >= size {
            break;
        }
    }
    format!("{digest:x}")
}

fn compare_sequence(seed: u64) {
    Stage::run(|stage| {
        let (memfs, mounted) = stage.memfs("memfs", &["size=64m"]);
        let tmpfs = stage.tmpfs("tmpfs", "size=64m");
        let mut native = Side { root: tmpfs.clone(), ..Side::default() };
        let mut ours = Side { root: memfs.clone(), ..Side::default() };
        // Inodes of tmpfs whose blocks and holes need not be the same: copying fills holes there, and reading what is reserved
        // makes it data.
        let mut tainted: HashSet<u64> = HashSet::new();
        let mut random = Random::new(seed);
        let mut done = Vec::new();
        for number in 0..CALLS {
            let (caller, call) = random_call(&mut random);
            let ino = |side: &Side, slot: usize| {
                side.slots[slot].as_ref().and_then(|file| rustix::fs::fstat(file).ok()).map(|stat| stat.st_ino)
            };
            match &call {
                Call::Copy(_, _, to, _, _) => tainted.extend(ino(&native, *to)),
                Call::Fallocate(slot, flags, ..) if !flags.contains(FallocateFlags::PUNCH_HOLE) => {
                    tainted.extend(ino(&native, *slot));
                }
                Call::Seek(slot, _) if ino(&native, *slot).is_some_and(|ino| tainted.contains(&ino)) => continue,
                // Seeking data in a directory never gets to a daemon (fs/fuse/dir.c fuse_dir_operations).
                Call::Seek(slot, _) if native.is_directory(*slot) => continue,
                _ => {}
            }
            let expected = observe(&mut native, caller, &call);
            let found = observe(&mut ours, caller, &call);
            done.push(format!("{number} {caller:?} {call:?} = {:?}", expected.0));
            let times_agree = expected.1.iter().zip(&found.1).all(|((_, native), (_, ours))| match (native, ours) {
                (Some(native), Some(ours)) => native.agree(*ours),
                (native, ours) => native.is_none() == ours.is_none(),
            });
            if expected.0 != found.0 || !times_agree {
                let history = done[done.len().saturating_sub(25)..].join("\n");
                panic!("seed {seed}:\n{history}\ntmpfs: {expected:?}\nmemfs: {found:?}");
            }
        }
        let is_tainted = |at: &Path| {
            let relative = at.strip_prefix(&memfs).or_else(|_| at.strip_prefix(&tmpfs)).expect("below a root");
            statx(&tmpfs.join(relative)).is_ok_and(|found| tainted.contains(&found.stx_ino))
        };
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        tree(&tmpfs, &tmpfs, &is_tainted, &mut expected);
        tree(&memfs, &memfs, &is_tainted, &mut found);
        assert_eq!(expected, found, "seed {seed}");
        let worked = done.iter().filter(|line| line.contains("= Ok")).count();
        assert!(worked > done.len() / 5, "most calls fail: the test says little ({worked} of {})", done.len());
        drop((native, ours, mounted));
    });
}

#[test]
fn random_calls_do_what_they_do_on_tmpfs() {
    // Another seed, or many of them, can be given to look further.
    let given = std::env::var("MEMFS_SEEDS").unwrap_or_else(|_| String::from("1..9"));
    let (first, end) = given.split_once("..").expect("MEMFS_SEEDS=FIRST..END");
    for seed in first.parse().expect("a number")..end.parse().expect("a number") {
        compare_sequence(seed);
    }
}

#[test]
fn comparison_sees_a_difference() {
    Stage::run(|stage| {
        let (memfs, _mounted) = stage.memfs("memfs", &[]);
        let tmpfs = stage.tmpfs("tmpfs", "size=1m");
        std::fs::write(memfs.join("a"), "1").expect("writing");
        std::fs::write(tmpfs.join("a"), "2").expect("writing");
        assert_ne!(contents(&memfs.join("a")), contents(&tmpfs.join("a")));
        std::fs::write(memfs.join("a"), "2").expect("writing");
        assert_eq!(contents(&memfs.join("a")), contents(&tmpfs.join("a")));
        assert_eq!(statx(&memfs.join("b")).err(), Some(Errno::NOENT));
    });
}
