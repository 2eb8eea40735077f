//! Real programs on a mirror of a real source tree, as root, as an ordinary user and in a user namespace: what they say
//! must be what they say on the directory itself. Single operations are compared elsewhere.
#![forbid(unsafe_code)]

mod programs;
mod stage;

use std::time::Duration;

use mirrorfs::{CacheMode, Options};
use stage::{Stage, Who};

#[test]
fn programs_agree_on_a_mirror_and_on_the_directory() {
    Stage::run(Who::Oneself, "auto");
}

#[test]
fn programs_agree_when_nothing_is_cached() {
    Stage::run(Who::Oneself, "none");
}

#[test]
fn programs_agree_when_everything_is_cached() {
    Stage::run(Who::Oneself, "always");
}

#[test]
fn programs_agree_when_the_kernel_gathers_writes() {
    Stage::run(Who::Oneself, "writeback");
}

#[test]
fn programs_agree_when_the_kernel_reads_and_writes_itself() {
    Stage::run(Who::Oneself, "passthrough");
}

mod as_user {
    use super::{Stage, Who};

    #[test]
    fn programs_agree_on_a_mirror_and_on_the_directory() {
        Stage::run(Who::User, "auto");
    }

    #[test]
    fn programs_agree_when_everything_is_cached() {
        Stage::run(Who::User, "always");
    }

    #[test]
    fn programs_agree_on_the_mirror_that_root_serves() {
        Stage::run(Who::UserServedByRoot, "auto");
    }

    mod user_namespace {
        use super::{Stage, Who};

        #[test]
        fn programs_agree_without_a_helper() {
            Stage::run(Who::UserNamespace, "auto");
        }
    }
}

/// The options that a word stands for.
fn options(word: &str) -> Options {
    let mut passthrough = Options::default();
    passthrough.passthrough = true;
    let known = [
        ("passthrough", passthrough),
        ("none", Options::default().cache(CacheMode::None)),
        ("auto", Options::default()),
        ("always", Options::default().cache(CacheMode::Always)),
        ("writeback", Options::default().cache(CacheMode::Always).writeback()),
    ];
    known.into_iter().find(|(name, _)| *name == word).expect("a word for options").1
}

/// How long any program may take.
const PATIENCE: Duration = Duration::from_secs(240);
