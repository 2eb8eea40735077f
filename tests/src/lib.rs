//! What the integration tests stand on: a small filesystem in memory, a recorder around it that keeps every request, and
//! a stage that mounts both. The tests themselves are in `tests/`.
#![forbid(unsafe_code)]

mod log;
mod recorder;
mod spy;
mod stage;
mod tree;

pub use log::{Log, PATIENCE, Recorded, eventually, seen_by_this_process};
pub use recorder::Recorder;
pub use spy::{BareMount, Spy};
pub use stage::Stage;
pub use tree::{Config, HOUR, Tree};
