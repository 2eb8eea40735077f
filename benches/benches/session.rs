//! A whole session in memory, in one thread: from the bytes of a request to the bytes of the reply, without a system call.
//!
//! What a mount adds to this is the kernel's.

#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fusewire::op::Operation;
use fusewire::session::Connection;
use fusewire::transport::{ReplyBuffer, Service, respond};
use fusewire::{FileHandle, Name, Negotiated, NodeId, OpenFlags, RequestHeader, Slot, Unique, encode_request, op};
use fusewire_benches::fusewire_table::Table;
use fusewire_benches::tree;

fn message<'a>(op: &impl Operation<'a>) -> Vec<u8> {
    encode_request(&RequestHeader::new(Unique(2)), op, &Negotiated::default()).expect("it is short")
}

fn requests(criterion: &mut Criterion) {
    let connection = Connection::new(Table::default(), Negotiated::default());
    let slot = Slot::default();
    let name = |bytes: &'static [u8]| Name::new(bytes).expect("it is a name");
    let root = NodeId::ROOT;
    let handle = FileHandle(0);
    let mut buffer = ReplyBuffer::new(connection.room());
    let mut group = criterion.benchmark_group("session");
    group.throughput(Throughput::Elements(1));
    let requests = [
        ("getattr", vec![message(&op::Getattr::new(root))]),
        ("lookup", vec![message(&op::Lookup::new(root, name(b"data")))]),
        ("lookup, ENOENT", vec![message(&op::Lookup::new(root, name(b"absent")))]),
        ("read 1 byte", vec![message(&op::Read::new(NodeId(tree::NULL), handle, 0, 1))]),
        ("read 4 KiB", vec![message(&op::Read::new(NodeId(tree::NULL), handle, 0, 4096))]),
        ("readdir", vec![message(&op::Readdir::new(NodeId(tree::MANY), handle, 0, 32 << 10))]),
        (
            "lookup, open, read, release",
            vec![
                message(&op::Lookup::new(root, name(b"null"))),
                message(&op::Open::new(NodeId(tree::NULL), OpenFlags(0))),
                message(&op::Read::new(NodeId(tree::NULL), handle, 0, 4096)),
                message(&op::Release::new(NodeId(tree::NULL), handle)),
            ],
        ),
    ];
    for (what, messages) in &requests {
        group.throughput(Throughput::Elements(u64::try_from(messages.len()).unwrap_or(1)));
        group.bench_function(*what, |bencher| {
            bencher.iter(|| {
                for bytes in messages {
                    black_box(respond(&connection, &slot, black_box(bytes), &mut buffer)).expect("it has a reply");
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
