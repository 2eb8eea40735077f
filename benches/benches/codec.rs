//! What decoding a request and encoding a reply costs, for the requests that come most often.
//!
//! No filesystem and no system call: see `session` and `mount` for those.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fusewire::op::Operation;
use fusewire::reply::{self, ReplyBody, ReplyWriter};
use fusewire::{
    Attr, FileHandle, FileType, Incoming, Name, Negotiated, NodeId, Opcode, ReplyHeader, Request, RequestHeader,
    Unique, encode_request, op, sink,
};

fn message<'a>(op: &impl Operation<'a>) -> Vec<u8> {
    encode_request(&RequestHeader::new(Unique(2)), op, &Negotiated::default()).expect("it is short")
}

fn decode(criterion: &mut Criterion) {
    let name = Name::new(b"a-name.txt").expect("it is a name");
    let node = NodeId(7);
    let data = vec![7; 4096];
    let requests = [
        ("getattr", message(&op::Getattr::new(node))),
        ("lookup", message(&op::Lookup::new(node, name))),
        ("read", message(&op::Read::new(node, FileHandle(1), 4096, 4096))),
        ("write 4 KiB", message(&op::Write::new(node, FileHandle(1), 4096, &data))),
        ("create", message(&op::Create::new(node, 0o644, fusewire::OpenFlags(0), name))),
        ("release", message(&op::Release::new(node, FileHandle(1)))),
    ];
    let negotiated = Negotiated::default();
    let mut group = criterion.benchmark_group("decode");
    for (what, bytes) in &requests {
        group.bench_function(*what, |bencher| {
            bencher.iter(|| {
                let incoming = Incoming::parse(black_box(bytes)).expect("it was encoded");
                Request::decode(&negotiated, &incoming).map(|(request, _)| request.opcode() == Opcode::INIT)
            });
        });
    }
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let negotiated = Negotiated::default();
    let attr = Attr::new(7, FileType::REGULAR, 0o644);
    let second = Duration::from_secs(1);
    let mut room = vec![0; 1 << 20];
    let mut group = criterion.benchmark_group("encode");
    group.bench_function("attributes", |bencher| {
        bencher.iter(|| {
            let mut out = ReplyWriter::new(&mut room);
            let encoded = reply::Attributes::new(black_box(attr), second).encode(&negotiated, &mut out);
            encoded.map(|()| ReplyHeader::new(Unique(2), None).encode(out.length()))
        });
    });
    group.bench_function("entry", |bencher| {
        bencher.iter(|| {
            let mut out = ReplyWriter::new(&mut room);
            let encoded = reply::Entry::new(NodeId(7), black_box(attr), second).encode(&negotiated, &mut out);
            encoded.map(|()| ReplyHeader::new(Unique(2), None).encode(out.length()))
        });
    });
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("directory of 10,000", |bencher| {
        bencher.iter(|| {
            let mut out = sink::DirEntries::over(&mut room);
            for number in 0..10_000 {
                let name = Name::new(black_box(b"file-01234")).expect("it is a name");
                let pushed = out.push(&reply::Dirent::new(number, number + 1, FileType::REGULAR, name));
                pushed.expect("there is room");
            }
            out.written().len()
        });
    });
    group.finish();
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
