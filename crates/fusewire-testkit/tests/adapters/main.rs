//! What the library puts between a session and the filesystem: `async` methods, and paths, under the law book.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod asynchronous;
mod paths;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use asynchronous::{Executor, eventually};
use fusewire::{ByPath, SessionConfig};
use fusewire_testkit::faults::{self, Faults};
use fusewire_testkit::laws::Law;
use fusewire_testkit::model::{self, Features, Model};
use fusewire_testkit::{Inspect, Running, report};
use paths::Paths;
use support::{Flaw, Tree};

/// Looks when nothing is under way any more.
struct Drained(Arc<Tree>, Arc<Executor>);

impl Inspect for Drained {
    fn nodes(&self) -> Option<u64> {
        self.1.drain();
        self.0.nodes()
    }

    fn handles(&self) -> Option<u64> {
        self.1.drain();
        self.0.handles()
    }
}

fn start_async() -> Running {
    let (tree, executor) = (Arc::new(Tree::new(Flaw::None)), Executor::new());
    let handler = eventually(Arc::clone(&tree), Arc::clone(&executor));
    let running = Running::session(handler, SessionConfig::default()).unwrap();
    running.inspected_by(Arc::new(Drained(tree, executor)))
}

#[test]
fn async_filesystem_does_what_the_model_does() {
    model::check(&Model::default().cases(100), start_async);
}

#[test]
fn ten_thousand_seeds_of_an_async_filesystem_keep_the_laws() {
    faults::check(0..10_000, Faults::all(), start_async);
}

#[test]
fn the_report_on_an_async_filesystem_has_nothing_to_name() {
    let report = report::examine("async", start_async);
    assert!(report.broken().is_empty() && report.ended().is_empty(), "{report}");
}

struct Known(Arc<ByPath<Paths>>);

impl Inspect for Known {
    fn nodes(&self) -> Option<u64> {
        u64::try_from(self.0.known_nodes()).ok()
    }
}

fn start_paths() -> Running {
    let served = Arc::new(ByPath::new(Paths::new()));
    Running::session_direct(Arc::clone(&served)).inspected_by(Arc::new(Known(served)))
}

#[test]
fn path_filesystem_does_what_the_model_does() {
    let basics = Features::WRITE | Features::DIRECTORIES | Features::RENAME | Features::RENAME_FLAGS;
    model::check(&Model::of(basics | Features::SYMLINK | Features::FIFO | Features::ATTRIBUTES), start_paths);
}

#[test]
fn ten_thousand_seeds_of_a_path_filesystem_keep_the_laws() {
    let book = faults::survey(0..10_000, Faults::all(), start_paths);
    // What has no name has no path, and cannot be asked for unless it is open.
    assert_eq!(book.broken(), [Law::NodeLives.name()]);
}
