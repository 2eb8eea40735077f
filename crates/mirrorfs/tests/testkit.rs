//! mirrorfs without a mount: under the law book, the model test, the fault schedule and the conformance report.
//!
//! What it does through a real mount is tested elsewhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fusewire::{Handler, SessionConfig};
use fusewire_testkit::faults::{self, Faults};
use fusewire_testkit::laws::Law;
use fusewire_testkit::model::{self, Model};
use fusewire_testkit::{Inspect, Mutant, Mutation, Running, report};
use mirrorfs::{Mirror, Options};
use tempfile::TempDir;

/// The laws that count lookups and handles need to see both.
struct Held(Arc<Mirror>);

impl Inspect for Held {
    fn nodes(&self) -> Option<u64> {
        u64::try_from(self.0.known_inodes()).ok()
    }

    fn handles(&self) -> Option<u64> {
        u64::try_from(self.0.open_handles()).ok()
    }
}

/// Directories to mirror, a new one each time.
struct Sources {
    dir: TempDir,
    count: AtomicU64,
}

impl Sources {
    fn new() -> Self {
        let shm = PathBuf::from("/dev/shm");
        let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        Self { dir: dir.expect("a temporary directory can be made"), count: AtomicU64::new(0) }
    }

    /// Starts what `serve` makes of a mirror of an empty directory.
    fn start_as<H: Handler + 'static>(
        &self,
        serve: impl FnOnce(Arc<Mirror>) -> H,
        run: impl FnOnce(H) -> Running,
    ) -> Running {
        let source = self.dir.path().join(self.count.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&source).expect("a directory can be made");
        let mirror = Arc::new(Mirror::new(&source, Options::default()).expect("the directory can be mirrored"));
        run(serve(Arc::clone(&mirror))).inspected_by(Arc::new(Held(mirror)))
    }

    fn start(&self) -> Running {
        self.start_as(|mirror| mirror, Running::session_direct)
    }

    fn start_with_threads(&self) -> Running {
        let run = |mirror| Running::session(mirror, SessionConfig::default()).expect("a thread can be made");
        self.start_as(|mirror| mirror, run)
    }
}

mod as_root {
    use super::*;

    /// The model's caller may do everything, and so must the daemon.
    #[test]
    fn it_does_what_the_model_does() {
        let sources = Sources::new();
        model::check(&Model::default(), || sources.start());
    }
}

#[test]
fn ten_thousand_seeds_of_faults_keep_the_laws() {
    let sources = Sources::new();
    let book = faults::check(0..10_000, Faults::all(), || sources.start());
    assert!(book.checked(Law::LookupsBalanced) > 5000);
    assert!(book.checked(Law::HandlesReleased) > 5000);
}

#[test]
fn threads_keep_the_laws_under_faults() {
    let sources = Sources::new();
    faults::check(0..1000, Faults::all(), || sources.start_with_threads());
}

#[test]
fn a_lookup_count_off_by_one_and_a_leaked_handle_are_caught() {
    let sources = Sources::new();
    for (mutation, law) in [
        (Mutation::ForgetsOneLess, Law::LookupsBalanced),
        (Mutation::ForgetsOneMore, Law::NodeLives),
        (Mutation::LeaksHandles, Law::HandlesReleased),
    ] {
        let mutant = || sources.start_as(|mirror| Mutant::of(mirror, mutation), Running::session_direct);
        assert_eq!(report::examine("a mutant", mutant).broken(), [law.name()]);
    }
}

#[test]
fn the_report_has_nothing_to_name() {
    let sources = Sources::new();
    let report = report::examine("mirrorfs", || sources.start());
    assert!(report.broken().is_empty() && report.ended().is_empty(), "{report}");
}
