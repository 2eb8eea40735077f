//! The model test: a filesystem that is right passes, one that is wrong is shown with the shortest sequence.

mod support;

use fusewire_testkit::kernel::Config;
use fusewire_testkit::model::{self, Features, Model, Step};
use support::{Flaw, direct, threaded};

#[test]
fn a_filesystem_that_is_right_passes() {
    model::check(&Model::default().cases(500), || direct(Flaw::None));
}

#[test]
fn a_session_with_threads_passes() {
    model::check(&Model::default().cases(100), || threaded(Flaw::None));
}

#[test]
fn an_old_kernel_sees_the_same() {
    let mut model = Model::default().cases(100);
    model.kernel = Config::of_minor(31);
    model::check(&model, || direct(Flaw::None));
}

#[test]
fn features_are_left_out() {
    model::check(&Model::of(Features::empty()).cases(50), || direct(Flaw::None));
}

#[test]
fn a_difference_is_shown_in_few_steps() {
    let difference = model::run(&Model::default().cases(1000), || direct(Flaw::RenameEmpties)).unwrap_err();
    let text = difference.to_string();
    assert_eq!(difference.steps.len(), 2, "{text}");
    assert!(difference.steps.iter().any(|step| matches!(step, Step::Rename { .. } | Step::RenameNoReplace { .. })));
    assert!(text.contains("differs from the model after 2 steps"), "{text}");
}

#[test]
fn a_broken_law_is_a_difference() {
    let difference = model::run(&Model::default().cases(1000), || direct(Flaw::WritesMore)).unwrap_err();
    assert!(difference.what.contains("law written-no-more is broken"), "{difference}");
}
