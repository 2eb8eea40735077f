//! `port-after` without a mount: under the law book, the model test and the fault schedule.

use fusewire_testkit::Running;
use fusewire_testkit::faults::{self, Faults};
use fusewire_testkit::laws::Law;
use fusewire_testkit::model::{self, Features, Model};

use crate::Flat;

fn start() -> Running {
    Running::session_direct(Flat::default())
}

#[test]
fn it_does_what_the_model_does() {
    model::check(&Model::of(Features::WRITE), start);
}

#[test]
fn ten_thousand_seeds_of_faults_keep_the_laws_but_one() {
    // What is removed is gone at once, also for those who use it: keeping it needs the lookup counts.
    let book = faults::survey(0..10_000, Faults::all(), start);
    assert_eq!(book.broken(), [Law::NodeLives.name()]);
}
