//! memfs without a mount: under the law book, the model test, the fault schedule and the conformance report.
//!
//! What it does through a real mount is tested elsewhere.

use std::sync::Arc;

use fusewire::{Handler, SessionConfig};
use fusewire_testkit::faults::{self, Faults};
use fusewire_testkit::laws::Law;
use fusewire_testkit::model::{self, Model};
use fusewire_testkit::{Inspect, Mutant, Mutation, Running, report};
use memfs::{MemFs, Options};

/// The law that counts lookups needs to see the nodes. Handles there are none: memfs opens nothing.
struct Held(Arc<MemFs>);

impl Inspect for Held {
    fn nodes(&self) -> Option<u64> {
        u64::try_from(self.0.known_nodes()).ok()
    }
}

/// Starts what `serve` makes of an empty memfs.
fn start_as<H: Handler + 'static>(serve: impl FnOnce(Arc<MemFs>) -> H, run: impl FnOnce(H) -> Running) -> Running {
    let fs = Arc::new(MemFs::new(Options::default()));
    run(serve(Arc::clone(&fs))).inspected_by(Arc::new(Held(fs)))
}

fn start() -> Running {
    start_as(|fs| fs, Running::session_direct)
}

fn start_with_threads() -> Running {
    start_as(|fs| fs, |fs| Running::session(fs, SessionConfig::default()).expect("a thread can be made"))
}

#[test]
fn it_does_what_the_model_does() {
    model::check(&Model::default(), start);
}

#[test]
fn ten_thousand_seeds_of_faults_keep_the_laws() {
    let book = faults::check(0..10_000, Faults::all(), start);
    assert!(book.checked(Law::LookupsBalanced) > 5000);
}

#[test]
fn threads_keep_the_laws_under_faults() {
    faults::check(0..1000, Faults::all(), start_with_threads);
}

#[test]
fn a_lookup_count_off_by_one_is_caught() {
    for (mutation, law) in
        [(Mutation::ForgetsOneLess, Law::LookupsBalanced), (Mutation::ForgetsOneMore, Law::NodeLives)]
    {
        let mutant = || start_as(|fs| Mutant::of(fs, mutation), Running::session_direct);
        assert_eq!(report::examine("a mutant", mutant).broken(), [law.name()]);
    }
}

#[test]
fn the_report_has_nothing_to_name() {
    let report = report::examine("memfs", start);
    assert!(report.broken().is_empty() && report.ended().is_empty(), "{report}");
}
