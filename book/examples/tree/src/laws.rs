//! The program without a mount: under the law book, the model test and the fault schedule.

// ANCHOR: all
use std::sync::Arc;

use fusewire_testkit::faults::{self, Faults};
use fusewire_testkit::laws::Law;
use fusewire_testkit::model::{self, Features, Model};
use fusewire_testkit::{Inspect, Mutant, Mutation, Running};

use crate::Firstfs;

/// Lets the testkit see whether we forget what the kernel forgets.
impl Inspect for Firstfs {
    fn nodes(&self) -> Option<u64> {
        let tree = self.lock();
        let known = tree.nodes.iter().filter(|(id, node)| **id != 1 && node.lookups > 0).count();
        u64::try_from(known).ok()
    }
}

fn start() -> Running {
    let fs = Arc::new(Firstfs::default());
    Running::session_direct(Arc::clone(&fs)).inspected_by(fs)
}

// ANCHOR: model
#[test]
fn it_does_what_the_model_does() {
    let basics = Features::WRITE | Features::DIRECTORIES | Features::RENAME;
    model::check(&Model::of(basics | Features::ATTRIBUTES | Features::UNLINKED), start);
}
// ANCHOR_END: model

// ANCHOR: faults
#[test]
fn ten_thousand_seeds_of_faults_keep_the_laws() {
    let book = faults::check(0..10_000, Faults::all(), start);
    assert!(book.checked(Law::LookupsBalanced) > 5000);
}
// ANCHOR_END: faults

// ANCHOR: mutant
#[test]
fn a_lookup_count_off_by_one_would_be_caught() {
    let mutant = || {
        let fs = Arc::new(Firstfs::default());
        Running::session_direct(Mutant::of(Arc::clone(&fs), Mutation::ForgetsOneLess)).inspected_by(fs)
    };
    assert_eq!(faults::survey(0..100, Faults::LEGAL, mutant).broken(), ["lookups-balanced"]);
}
// ANCHOR_END: mutant
// ANCHOR_END: all
