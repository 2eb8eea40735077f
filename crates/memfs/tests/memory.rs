//! How much memory memfs takes, and that it gives it back. One test: what it measures is the whole process.
#![forbid(unsafe_code)]

use std::fmt::Write;
use std::fs;

use fusewire::{Context, FileHandle, Filesystem, Name, Negotiated, NodeId, OpenFlags, RequestHeader, Slot, Unique, op};
use memfs::{MemFs, Options};

const FILES: u64 = 200_000;
const LARGE: u64 = 200 << 20;

/// Bytes of memory that this process has for itself.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("statm");
    let mut fields = statm.split(' ').skip(1);
    let mut field = || fields.next().and_then(|field| field.parse::<u64>().ok()).expect("a number");
    let (resident, shared) = (field(), field());
    (resident - shared) * 4096
}

fn create(fs: &MemFs, cx: &Context<'_>, name: &str) -> NodeId {
    let name = Name::new(name.as_bytes()).expect("a name");
    let op = op::Create::new(NodeId::ROOT, 0o644, OpenFlags::from_libc(libc::O_RDWR), name);
    fs.create(cx, op).expect("creating").entry.node
}

fn unlink(fs: &MemFs, cx: &Context<'_>, name: &str, node: NodeId) {
    fs.unlink(cx, op::Unlink::new(NodeId::ROOT, Name::new(name.as_bytes()).expect("a name"))).expect("removing");
    fs.forget(cx, op::Forget::new(node, 1));
}

#[test]
fn memory_is_within_bounds_and_given_back() {
    let negotiated = Negotiated::default();
    let slot = Slot::default();
    let cx = Context::detached(RequestHeader::new(Unique(2)), &negotiated, &slot);
    let mut options = Options::default();
    options.set("size", "1g").expect("a size");
    let fs = MemFs::new(options);

    let before = resident();
    let file = create(&fs, &cx, "large");
    let piece = vec![1; 128 << 10];
    for offset in (0..LARGE).step_by(piece.len()) {
        fs.write(&cx, op::Write::new(file, FileHandle(0), offset, &piece)).expect("writing");
    }
    let taken = resident() - before;
    println!("{:.4} bytes of memory for a byte of a large file", taken as f64 / LARGE as f64);
    assert!(taken * 100 <= LARGE * 115, "{taken} bytes for {LARGE}");

    let holes = before + LARGE / 2 + (LARGE / 10);
    let punch = fusewire::FallocateMode::PUNCH_HOLE | fusewire::FallocateMode::KEEP_SIZE;
    for offset in (0..LARGE).step_by(512 << 10) {
        let op = op::Fallocate::new(file, FileHandle(0), offset, 256 << 10, punch);
        fs.fallocate(&cx, op).expect("punching");
    }
    assert!(resident() < holes, "memory of holes is not given back");
    unlink(&fs, &cx, "large", file);
    assert!(resident() < before + LARGE / 20, "memory of a large file is not given back");

    let before = resident();
    let mut name = String::new();
    let mut name_bytes = 0;
    let mut last = NodeId(0);
    for number in 0..FILES {
        name.clear();
        write!(name, "file-{number}").expect("a string");
        name_bytes += name.len() as u64;
        last = create(&fs, &cx, &name);
    }
    let taken = resident() - before - name_bytes;
    println!("{} bytes of memory for an empty file, its name excluded", taken / FILES);
    assert!(taken <= 400 * FILES, "{taken} bytes for {FILES} files");

    let first = last.0 - FILES + 1;
    for number in 0..FILES {
        name.clear();
        write!(name, "file-{number}").expect("a string");
        unlink(&fs, &cx, &name, NodeId(first + number));
    }
    // The heap keeps some of it for what comes next: a second round must not take more.
    let kept = resident();
    for number in 0..FILES {
        name.clear();
        write!(name, "file-{number}").expect("a string");
        create(&fs, &cx, &name);
    }
    let again = resident().saturating_sub(kept.max(before + taken));
    println!("{} of {} bytes kept when the files were gone", kept.saturating_sub(before), taken);
    assert!(again < taken / 10, "the second round took {again} bytes more");
}
