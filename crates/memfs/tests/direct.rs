//! memfs called directly, without a mount: lookup counts, node ids, listing, and a file against a model of it.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use fusewire::reply::{DirEntries, Dirent, ReplyBody};
use fusewire::{
    Context, Errno, FallocateMode, FileHandle, Filesystem, LinkTarget, Name, Negotiated, NodeId, OpenFlags,
    RenameFlags, RequestHeader, Slot, Unique, op, sink,
};
use memfs::{MemFs, Options};

/// A filesystem, and a caller of it.
struct Caller {
    fs: MemFs,
    negotiated: Negotiated,
    slot: Slot,
}

fn name(name: &str) -> &Name {
    Name::new(name.as_bytes()).expect("a name")
}

impl Caller {
    fn new(options: &[(&str, &str)]) -> Self {
        let mut wanted = Options::default();
        for (option, value) in options {
            assert_eq!(wanted.set(option, value), Ok(true));
        }
        Self { fs: MemFs::new(wanted), negotiated: Negotiated::default(), slot: Slot::default() }
    }

    fn cx(&self) -> Context<'_> {
        Context::detached(RequestHeader::new(Unique(2)), &self.negotiated, &self.slot)
    }

    fn create(&self, parent: NodeId, file: &str) -> Result<NodeId, Errno> {
        let op = op::Create::new(parent, 0o644, OpenFlags::from_libc(libc::O_RDWR), name(file));
        self.fs.create(&self.cx(), op).map(|created| created.entry.node)
    }

    fn mkdir(&self, parent: NodeId, directory: &str) -> Result<NodeId, Errno> {
        self.fs.mkdir(&self.cx(), op::Mkdir::new(parent, 0o755, name(directory))).map(|entry| entry.node)
    }

    fn look_up(&self, parent: NodeId, file: &str) -> Result<NodeId, Errno> {
        let entry = self.fs.lookup(&self.cx(), op::Lookup::new(parent, name(file)))?;
        if entry.is_negative() { Err(Errno::ENOENT) } else { Ok(entry.node) }
    }

    fn unlink(&self, parent: NodeId, file: &str) -> Result<(), Errno> {
        self.fs.unlink(&self.cx(), op::Unlink::new(parent, name(file))).map(drop)
    }

    fn rename(&self, from: (NodeId, &str), to: (NodeId, &str), flags: RenameFlags) -> Result<(), Errno> {
        let op = op::Rename2::new(from.0, to.0, flags, name(from.1), name(to.1));
        self.fs.rename2(&self.cx(), op).map(drop)
    }

    fn forget(&self, node: NodeId, lookups: u64) {
        self.fs.forget(&self.cx(), op::Forget::new(node, lookups));
    }

    fn links(&self, node: NodeId) -> Result<u32, Errno> {
        self.fs.getattr(&self.cx(), op::Getattr::new(node)).map(|reply| reply.attr.nlink)
    }

    fn inodes_used(&self) -> u64 {
        let statfs = self.fs.statfs(&self.cx(), op::Statfs::new(NodeId::ROOT)).expect("statfs");
        statfs.files - statfs.ffree
    }

    fn blocks_used(&self) -> u64 {
        let statfs = self.fs.statfs(&self.cx(), op::Statfs::new(NodeId::ROOT)).expect("statfs");
        statfs.blocks - statfs.bfree
    }

    fn write(&self, node: NodeId, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        self.fs.write(&self.cx(), op::Write::new(node, FileHandle(0), offset, data)).map(|written| written.size)
    }

    fn read(&self, node: NodeId, offset: u64, length: u32) -> Vec<u8> {
        let mut room = vec![0xaa; usize::try_from(length).expect("a length")];
        let mut out = sink::Data::over(&mut room);
        self.fs.read(&self.cx(), op::Read::new(node, FileHandle(0), offset, length), &mut out).expect("reading");
        out.written().to_vec()
    }

    /// Up to `room` bytes of entries behind `offset`: names, and where to go on.
    fn list(&self, node: NodeId, offset: u64, room: usize) -> Vec<(String, u64)> {
        let mut room = vec![0; room];
        let mut out = sink::DirEntries::over(&mut room);
        self.fs.readdir(&self.cx(), op::Readdir::new(node, FileHandle(0), offset, 0), &mut out).expect("listing");
        let entries = DirEntries::decode(&self.negotiated, None, out.written()).expect("entries");
        let shown = |entry: Dirent<'_>| (String::from_utf8_lossy(entry.name.as_bytes()).into_owned(), entry.offset);
        entries.iter(&self.negotiated).map(|entry| shown(entry.expect("a whole entry"))).collect()
    }
}

const ROOT: NodeId = NodeId::ROOT;

#[test]
fn forget_to_zero_frees_an_unlinked_node() {
    let caller = Caller::new(&[]);
    let node = caller.create(ROOT, "a").expect("creating");
    assert_eq!(caller.look_up(ROOT, "a"), Ok(node));
    caller.write(node, 0, &[1; 5000]).expect("writing");
    caller.unlink(ROOT, "a").expect("unlinking");
    assert_eq!((caller.links(node), caller.inodes_used(), caller.blocks_used()), (Ok(0), 2, 2));
    caller.forget(node, 1);
    assert_eq!(caller.read(node, 4999, 10), [1]);
    caller.forget(node, 1);
    assert_eq!((caller.links(node), caller.inodes_used(), caller.blocks_used()), (Err(Errno::ESTALE), 1, 0));
}

#[test]
fn linked_node_outlives_being_forgotten() {
    let caller = Caller::new(&[]);
    let node = caller.create(ROOT, "a").expect("creating");
    caller.forget(node, 1);
    assert_eq!(caller.look_up(ROOT, "a"), Ok(node));
    caller.forget(node, u64::MAX);
    caller.unlink(ROOT, "a").expect("unlinking");
    assert_eq!(caller.links(node), Err(Errno::ESTALE));
    assert_ne!(caller.create(ROOT, "a"), Ok(node), "a node id is never given again");
}

#[test]
fn end_of_the_connection_frees_what_only_the_kernel_knew() {
    let caller = Caller::new(&[]);
    let gone = caller.create(ROOT, "a").expect("creating");
    let kept = caller.create(ROOT, "b").expect("creating");
    caller.unlink(ROOT, "a").expect("unlinking");
    caller.fs.destroy();
    assert_eq!((caller.links(gone), caller.links(kept), caller.inodes_used()), (Err(Errno::ESTALE), Ok(1), 2));
}

#[test]
fn replaced_and_removed_are_freed() {
    let caller = Caller::new(&[]);
    let (a, b) = (caller.create(ROOT, "a").expect("creating"), caller.create(ROOT, "b").expect("creating"));
    caller.forget(a, 1);
    caller.forget(b, 1);
    caller.rename((ROOT, "a"), (ROOT, "b"), RenameFlags::empty()).expect("renaming");
    assert_eq!((caller.links(b), caller.inodes_used()), (Err(Errno::ESTALE), 2));
    let directory = caller.mkdir(ROOT, "d").expect("a directory");
    caller.forget(directory, 1);
    caller.fs.rmdir(&caller.cx(), op::Rmdir::new(ROOT, name("d"))).expect("removing");
    assert_eq!((caller.inodes_used(), caller.links(ROOT)), (2, Ok(2)));
    caller.rename((ROOT, "b"), (ROOT, "c"), RenameFlags::WHITEOUT).expect("renaming");
    assert_eq!(caller.inodes_used(), 3);
    caller.unlink(ROOT, "b").expect("the whiteout");
    assert_eq!(caller.inodes_used(), 2);
}

#[test]
fn failed_creation_takes_nothing() {
    let caller = Caller::new(&[("size", "4k")]);
    let target = LinkTarget::new(&[b't'; 500]).expect("a target");
    let link = |file| caller.fs.symlink(&caller.cx(), op::Symlink::new(ROOT, name(file), target));
    link("a").expect("the only block");
    assert_eq!(link("b").map(drop), Err(Errno::ENOSPC));
    assert_eq!(link("a").map(drop), Err(Errno::EEXIST));
    assert_eq!((caller.inodes_used(), caller.blocks_used()), (2, 1));
}

#[test]
fn unknown_nodes_are_stale_and_files_no_directories() {
    let caller = Caller::new(&[]);
    let file = caller.create(ROOT, "file").expect("creating");
    assert_eq!(caller.links(NodeId(0)), Err(Errno::ESTALE));
    assert_eq!(caller.create(NodeId(u64::MAX), "x"), Err(Errno::ESTALE));
    assert_eq!(caller.create(file, "x"), Err(Errno::ENOTDIR));
    assert_eq!(caller.look_up(file, ".."), Err(Errno::ENOTDIR));
    assert_eq!(caller.write(ROOT, 0, b"x"), Err(Errno::EISDIR));
    assert_eq!(caller.unlink(ROOT, "nothing"), Err(Errno::ENOENT));
    assert_eq!(caller.rename((ROOT, "file"), (file, "x"), RenameFlags::empty()), Err(Errno::ENOTDIR));
    caller.forget(NodeId(12345), 1);
}

#[test]
fn dot_and_dot_dot_are_found_for_an_nfs_server() {
    let caller = Caller::new(&[]);
    let outer = caller.mkdir(ROOT, "outer").expect("a directory");
    let inner = caller.mkdir(outer, "inner").expect("a directory");
    assert_eq!((caller.look_up(inner, "."), caller.look_up(inner, "..")), (Ok(inner), Ok(outer)));
    caller.rename((outer, "inner"), (ROOT, "inner"), RenameFlags::empty()).expect("moving");
    assert_eq!((caller.look_up(inner, ".."), caller.look_up(ROOT, "..")), (Ok(ROOT), Ok(ROOT)));
}

#[test]
fn listing_goes_on_behind_an_entry_that_is_gone() {
    let caller = Caller::new(&[]);
    for number in 0..100 {
        caller.create(ROOT, &format!("f{number}")).expect("creating");
    }
    let first = caller.list(ROOT, 0, 1000);
    assert_eq!(first[..3].iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), [".", "..", "f0"]);
    let (last, offset) = first.last().expect("an entry").clone();
    let next = caller.list(ROOT, offset, 100)[0].clone();
    caller.unlink(ROOT, &last).expect("unlinking");
    assert_eq!(caller.list(ROOT, offset, 100)[0], next);
    // So many go that the directory is cleaned up: offsets stay what they were.
    for number in 0..90 {
        let _ = caller.unlink(ROOT, &format!("f{number}"));
    }
    assert_eq!(caller.list(ROOT, offset, 100)[0].0, "f90");
    let all = caller.list(ROOT, 0, 10_000);
    assert_eq!(all.len(), 12);
    caller.create(ROOT, "new").expect("creating");
    let behind = caller.list(ROOT, all.last().expect("an entry").1, 1000);
    assert_eq!(behind.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["new"]);
    assert_eq!(caller.list(ROOT, u64::MAX, 1000), []);
}

#[test]
fn deep_tree_is_dropped_without_a_deep_stack() {
    let caller = Caller::new(&[]);
    let mut at = ROOT;
    for _ in 0..200_000 {
        at = caller.mkdir(at, "d").expect("a directory");
    }
    drop(caller);
}

#[test]
fn directories_cannot_be_moved_below_themselves_by_threads_either() {
    let caller = Caller::new(&[]);
    let [a, b, c] = ["a", "b", "c"].map(|name| caller.mkdir(ROOT, name).expect("a directory"));
    let places = [ROOT, a, b, c];
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let (caller, places) = (&caller, &places);
            scope.spawn(move || {
                for round in 0..20_000 {
                    let mixed = round * 7 + thread * 13;
                    let (from, to) = (places[mixed % 4], places[(mixed / 4) % 4]);
                    let names = ["a", "b", "c", "d"];
                    let (old, new) = (names[(mixed / 16) % 4], names[(mixed / 64) % 4]);
                    let flags = if round % 5 == 0 { RenameFlags::EXCHANGE } else { RenameFlags::empty() };
                    let _ = caller.rename((from, old), (to, new), flags);
                    let _ = caller.mkdir(from, new);
                    let _ = caller.fs.rmdir(&caller.cx(), op::Rmdir::new(to, name(old)));
                }
            });
        }
    });
    // What is still linked leads up to the root, and the links of each directory are those that are there.
    fn walk(caller: &Caller, node: NodeId) -> usize {
        let names: Vec<_> = caller.list(node, 0, 100_000).into_iter().skip(2).collect();
        assert_eq!(caller.links(node), Ok(u32::try_from(names.len()).expect("a few") + 2));
        let children = names.iter().map(|(name, _)| caller.look_up(node, name).expect("it is listed"));
        children.map(|child| 1 + walk(caller, child)).sum()
    }
    assert!(walk(&caller, ROOT) < 1000);
}

#[test]
fn file_is_what_a_model_of_it_is() {
    let caller = Caller::new(&[("size", "64m")]);
    let node = caller.create(ROOT, "file").expect("creating");
    let mut model: Vec<u8> = Vec::new();
    let mut state = 12345_u64;
    let mut random = |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let grown = |model: &mut Vec<u8>, end: usize| {
        if model.len() < end {
            model.resize(end, 0);
        }
    };
    let mut kinds = HashMap::new();
    for round in 0..3000_u32 {
        // Around the limits of pages, of the heap and of chunks.
        let base =
            [0, 4096, 100_000, 256 << 10, 1 << 20, 2 << 20, 4 << 20][usize::try_from(random(7)).expect("an index")];
        let offset = base + random(9000);
        let length = random(3).pow(2) * random(40_000) + random(5000) + 1;
        let (start, end) = (usize::try_from(offset).expect("small"), usize::try_from(offset + length).expect("small"));
        let kind = random(10);
        *kinds.entry(kind).or_insert(0) += 1;
        match kind {
            0..=3 => {
                let bytes = vec![u8::try_from(round % 255 + 1).expect("a byte"); end - start];
                assert_eq!(caller.write(node, offset, &bytes).map(u64::from), Ok(length));
                grown(&mut model, end);
                model[start..end].copy_from_slice(&bytes);
            }
            4 => {
                let mut op = op::Setattr::new(node);
                op.size = Some(offset);
                caller.fs.setattr(&caller.cx(), op).expect("truncating");
                model.resize(start, 0);
            }
            5 | 6 => {
                let mode = if kind == 5 {
                    FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE
                } else {
                    FallocateMode::ZERO_RANGE
                };
                let op = op::Fallocate::new(node, FileHandle(0), offset, length, mode);
                caller.fs.fallocate(&caller.cx(), op).expect("clearing");
                if kind == 6 {
                    grown(&mut model, end);
                }
                let size = model.len();
                model[start.min(size)..end.min(size)].fill(0);
            }
            7 => {
                let to = random(8 << 20);
                let op = op::CopyFileRange64::new(node, FileHandle(0), offset, node, FileHandle(0), to, length);
                let copied = caller.fs.copy_file_range_64(&caller.cx(), op);
                if to.abs_diff(offset) < length {
                    assert_eq!(copied.map(drop), Err(Errno::EINVAL));
                } else {
                    let length = model.len().min(end).saturating_sub(start);
                    assert_eq!(copied.map(|copied| copied.size), Ok(length as u64));
                    let bytes = model.get(start..start + length).unwrap_or(&[]).to_vec();
                    let to = usize::try_from(to).expect("small");
                    if length > 0 {
                        grown(&mut model, to + length);
                        model[to..to + length].copy_from_slice(&bytes);
                    }
                }
            }
            _ => {
                let found = caller.read(node, offset, u32::try_from(length).expect("small"));
                let size = model.len();
                assert!(found == model[start.min(size)..end.min(size)], "round {round}");
            }
        }
    }
    assert_eq!(kinds.len(), 10);
    let found: Vec<u8> = (0..16).flat_map(|part| caller.read(node, part << 20, 1 << 20)).collect();
    assert!(found == model);
    // What counts is what has data or is reserved: no more than the file and a block for each edge.
    assert!(caller.blocks_used() * 4096 <= 16 << 20);
    caller.unlink(ROOT, "file").expect("unlinking");
    caller.forget(node, 1);
    assert_eq!(caller.blocks_used(), 0);
}
