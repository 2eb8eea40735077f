//! Requests a second through a whole session without a mount, on one CPU: a transport in front, a filesystem behind.
//!
//! What the session costs is shown by `replayed`, where the transport is nothing but memory. The others have the testkit as
//! the kernel, which checks its laws on each message: they say what a test costs.

#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "a bench may fail")]

use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fusewire::session::Session;
use fusewire::transport::{Device, Received, RequestBuffer, Transport, Workers};
use fusewire::{
    InitFlags, Name, Negotiated, NodeId, Request, RequestHeader, SessionConfig, Unique, encode_request, op,
};
use fusewire_benches::fusewire_table::Table;
use fusewire_testkit::Running;
use fusewire_testkit::kernel::{Config, Kernel};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Requests of a connection that is replayed.
const REPLAYED: usize = 100_000;

/// Brings the same requests again and again, and drops the replies.
struct Replay {
    init: Vec<u8>,
    requests: [Vec<u8>; 2],
    brought: AtomicUsize,
}

impl Replay {
    fn new() -> Self {
        let lookup = op::Lookup::new(NodeId::ROOT, name());
        let header = RequestHeader::new(Unique(2));
        let encoded = |request: Request<'_>| {
            request.encode_with(&header, &Default::default(), &Negotiated::default()).expect("it is short")
        };
        let init = op::Init::new(45, InitFlags::all_named());
        Self {
            init: encode_request(&header, &init, &Negotiated::default()).expect("it is short"),
            requests: [encoded(op::Getattr::new(NodeId::ROOT).into()), encoded(lookup.into())],
            brought: AtomicUsize::new(0),
        }
    }
}

impl Transport for Replay {
    fn name(&self) -> &'static str {
        "replay"
    }

    fn receive<'b>(&self, buffer: &'b mut RequestBuffer) -> io::Result<Received<'b>> {
        let number = self.brought.fetch_add(1, Ordering::Relaxed);
        let message = match number {
            0 => &self.init,
            1..=REPLAYED => &self.requests[number % 2],
            _ => return Ok(Received::End),
        };
        let room = &mut buffer.room()[..message.len()];
        room.copy_from_slice(message);
        Ok(Received::Request(room))
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        black_box(message);
        Ok(())
    }
}

fn name() -> &'static Name {
    Name::new(b"data").expect("it is a name")
}

/// Stays on the first CPU that is allowed, with all threads that come later.
fn stay_on_one_cpu() {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("the CPUs of a process are known");
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or(false)).expect("a process has a CPU");
    let mut one = CpuSet::new();
    one.set(first).expect("it is a CPU");
    sched_setaffinity(Pid::from_raw(0), &one).expect("a process can stay on a CPU");
}

fn single() -> SessionConfig {
    SessionConfig::default().workers(Workers::single())
}

fn replayed(criterion: &mut Criterion) {
    stay_on_one_cpu();
    let mut group = criterion.benchmark_group("in memory");
    group.throughput(Throughput::Elements(u64::try_from(REPLAYED).unwrap_or(0)));
    group.sample_size(20);
    group.bench_function("replayed", |bencher| {
        let session = || Session::new(Replay::new(), Table::default(), single());
        bencher.iter_batched(session, |session| session.open().expect("INIT").serve(), BatchSize::PerIteration);
    });
    group.finish();
}

/// A way from the testkit's kernel to the session.
struct Way {
    name: &'static str,
    start: fn() -> Running,
}

const WAYS: [Way; 3] = [
    Way { name: "function call", start: || Running::session_direct(Table::default()) },
    Way { name: "queues", start: || Running::session(Table::default(), single()).expect("a thread can be made") },
    Way {
        name: "socket pair",
        start: || {
            let serve = |fd| Session::new(Device::from(fd), Table::default(), single()).open()?.serve();
            Running::over_socket(serve).expect("a thread can be made")
        },
    },
];

/// Sends so many requests at once, and waits for the answers.
fn ask(kernel: &Kernel, at_once: usize) {
    let requests: [Request<'_>; 2] =
        [op::Getattr::new(NodeId::ROOT).into(), op::Lookup::new(NodeId::ROOT, name()).into()];
    let ask = |number: usize| kernel.submit(requests[number % 2]).expect("it is sent");
    let tickets: Vec<_> = (0..at_once).map(ask).collect();
    for ticket in tickets {
        black_box(kernel.wait(ticket)).expect("it is answered");
    }
}

fn tested(criterion: &mut Criterion) {
    stay_on_one_cpu();
    let mut group = criterion.benchmark_group("in memory, under the law book");
    for way in WAYS {
        for at_once in [2, 64] {
            group.throughput(Throughput::Elements(u64::try_from(at_once).unwrap_or(0)));
            let connection = (way.start)().connect(Config::default()).expect("INIT is answered");
            group.bench_function(BenchmarkId::new(way.name, format_args!("{at_once} at once")), |bencher| {
                bencher.iter(|| ask(connection.kernel(), at_once));
            });
            assert!(connection.unmount().violations().is_empty());
        }
    }
    group.finish();
}

criterion_group!(benches, replayed, tested);
criterion_main!(benches);
