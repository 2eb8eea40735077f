//! Real mounts, this library's and fuser's side by side in this process: what each operation costs, with 1 and 2 clients.
//!
//! For a comparison that is fair to the last per cent (servers apart from the client, rounds in turn), run
//! `cargo xtask bench`.

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fusewire::{Manner, SessionConfig};
use fusewire_benches::load::Run;
use fusewire_benches::workload::Workload;
use fusewire_benches::{fuser_table, fusewire_table};

const ROWS: &[Workload] = &[
    Workload::NullRead,
    Workload::Getattr,
    Workload::Lookup,
    Workload::CreateUnlink,
    Workload::Readdir,
    Workload::Read1mDirect,
    Workload::Write1mDirect,
];

fn mounts(criterion: &mut Criterion) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let place = |name: &str| {
        let place = scratch.path().join(name);
        std::fs::create_dir(&place).expect("a mountpoint");
        place
    };
    let (ours, theirs) = (place("fusewire"), place("fuser"));
    let mounted = fusewire_table::mount(&ours, Manner::AtOnce, SessionConfig::default())
        .expect("mounting (see cargo xtask doctor)");
    let session = fuser_table::mount(&theirs, 1).expect("mounting with fuser");
    for row in ROWS {
        for threads in [1, 2] {
            let mut group = criterion.benchmark_group(format!("{}, {threads}", row.title()));
            for (name, directory) in [("fusewire", &ours), ("fuser", &theirs)] {
                group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                    bencher.iter_custom(|count| timed(*row, directory, threads, count));
                });
            }
            group.finish();
        }
    }
    drop(mounted);
    drop(session);
}

/// How long it takes to do it `count` times in each of so many threads.
fn timed(row: Workload, directory: &Path, threads: u8, count: u64) -> Duration {
    let mut run = Run::prepare(row, directory, threads).expect("the tree is there");
    let start = Instant::now();
    run.times(count).expect("every operation works");
    start.elapsed()
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = mounts
}
criterion_main!(benches);
