//! memfs without a mount: under the law book, the model test, the fault schedule and the conformance report.
//!
//! What it does through a real mount is tested elsewhere.

use fusewire_testkit::faults::{self, Faults};
use fusewire_testkit::model::{self, Model};
use fusewire_testkit::{Running, report};
use memfs::{MemFs, Options};

fn start() -> Running {
    Running::session_direct(MemFs::new(Options::default()))
}

#[test]
fn it_does_what_the_model_does() {
    model::check(&Model::default(), start);
}

#[test]
fn it_keeps_the_laws_under_faults() {
    faults::check(0..2000, Faults::all(), start);
}

#[test]
fn the_report_has_nothing_to_name() {
    let report = report::examine("memfs", start);
    assert!(report.broken().is_empty() && report.ended().is_empty(), "{report}");
}
