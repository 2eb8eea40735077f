//! The program without a mount: under the law book, the model test and the fault schedule.

use std::sync::Arc;

use fusewire_testkit::faults::{self, Faults};
use fusewire_testkit::laws::Law;
use fusewire_testkit::model::{self, Features, Model};
use fusewire_testkit::{Inspect, Running};

use crate::Firstfs;

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

#[test]
fn it_does_what_the_model_does() {
    let basics = Features::WRITE | Features::DIRECTORIES | Features::RENAME;
    model::check(&Model::of(basics | Features::ATTRIBUTES | Features::UNLINKED), start);
}

#[test]
fn ten_thousand_seeds_of_faults_keep_the_laws() {
    let book = faults::check(0..10_000, Faults::all(), start);
    assert!(book.checked(Law::LookupsBalanced) > 5000);
}
