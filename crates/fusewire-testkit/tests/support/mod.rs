//! What the tests of the testkit share: a filesystem in memory that can be told to be wrong in one way, and ways to run it.
//!
//! No test is in here.
#![expect(dead_code, reason = "each test uses a part of this")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

pub(crate) mod spoiler;
mod state;
mod tree;

use std::sync::Arc;

use fusewire::SessionConfig;
use fusewire_testkit::kernel::Config;
use fusewire_testkit::{Inspect, Mount, Mutant, Mutation, Running};

pub(crate) use tree::{Flaw, Tree};

/// The filesystem, served directly.
pub(crate) fn direct(flaw: Flaw) -> Running {
    let tree = Arc::new(Tree::new(flaw));
    Running::session_direct(Arc::clone(&tree)).inspected_by(tree)
}

/// The filesystem, served by the threads of a session.
pub(crate) fn threaded(flaw: Flaw) -> Running {
    let tree = Arc::new(Tree::new(flaw));
    Running::session(Arc::clone(&tree), SessionConfig::default()).unwrap().inspected_by(tree)
}

/// The filesystem with a mutation, served directly.
pub(crate) fn mutant(mutation: Mutation) -> Running {
    let tree = Arc::new(Tree::new(Flaw::None));
    Running::session_direct(Mutant::of(Arc::clone(&tree), mutation)).inspected_by(tree)
}

/// The filesystem, mounted, served directly.
pub(crate) fn mounted() -> Mount {
    Mount::new(direct(Flaw::None), Config::default()).unwrap()
}

impl Inspect for Tree {
    fn nodes(&self) -> Option<u64> {
        Some(self.count_nodes())
    }

    fn handles(&self) -> Option<u64> {
        Some(self.count_handles())
    }
}
