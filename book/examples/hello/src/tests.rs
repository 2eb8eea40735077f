//! The program without a mount: under the law book, the model test and the fault schedule.

use fusewire_testkit::Running;
use fusewire_testkit::faults::{self, Faults};
use fusewire_testkit::model::{self, Features, Model};

use crate::Hello;

fn start() -> Running {
    Running::session_direct(Hello)
}

#[test]
fn it_does_what_the_model_does() {
    model::check(&Model::of(Features::empty()), start);
}

#[test]
fn ten_thousand_seeds_of_faults_keep_the_laws() {
    faults::check(0..10_000, Faults::all(), start);
}
