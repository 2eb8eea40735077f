//! mirrorfs without a mount: under the law book, the model test, the fault schedule and the conformance report.
//!
//! What it does through a real mount is tested elsewhere.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use fusewire_testkit::faults::{self, Faults};
use fusewire_testkit::model::{self, Model};
use fusewire_testkit::{Running, report};
use mirrorfs::{Mirror, Options};
use tempfile::TempDir;

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

    fn start(&self) -> Running {
        let source = self.dir.path().join(self.count.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&source).expect("a directory can be made");
        Running::session_direct(Mirror::new(&source, Options::default()).expect("the directory can be mirrored"))
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
fn it_keeps_the_laws_under_faults() {
    let sources = Sources::new();
    faults::check(0..2000, Faults::all(), || sources.start());
}

#[test]
fn the_report_has_nothing_to_name() {
    let sources = Sources::new();
    let report = report::examine("mirrorfs", || sources.start());
    assert!(report.broken().is_empty() && report.ended().is_empty(), "{report}");
}
