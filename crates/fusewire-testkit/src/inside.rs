//! What cannot be seen from outside a daemon: how many nodes and handles it holds, and why it did not begin.
//!
//! The daemon's side leaves it here, the kernel's side reads it. Nothing is judged here.

use std::fmt;
use std::sync::{Arc, OnceLock};

/// A look inside a daemon, for the laws `lookups-balanced` and `handles-released`, which cannot be seen from outside.
///
/// Unmounting looks twice. Before anything is given back, the daemon must hold no fewer nodes than the kernel knows. When all
/// was given back, it must hold nothing: in a session of `fusewire` that look is after the last request, and before the
/// filesystem is told of its end (`destroy`); in any other daemon after it has ended.
///
/// ```
/// use std::sync::Arc;
/// use fusewire_testkit::{Inspect, Running, kernel::Config};
/// # use std::time::Duration;
/// # use fusewire::{Attr, Context, Errno, FileType, Filesystem, op, reply};
/// # struct Empty;
/// # impl Filesystem for Empty {
/// #     fn getattr(&self, _: &Context<'_>, _: op::Getattr) -> Result<reply::Attributes, Errno> {
/// #         Ok(reply::Attributes::new(Attr::new(1, FileType::DIRECTORY, 0o755), Duration::MAX))
/// #     }
/// # }
///
/// impl Inspect for Empty {
///     fn nodes(&self) -> Option<u64> {
///         Some(0) // there is nothing but the root, which does not count
///     }
/// }
///
/// let empty = Arc::new(Empty);
/// let running = Running::session_direct(Arc::clone(&empty)).inspected_by(empty);
/// running.connect(Config::default())?.unmount();
/// # Ok::<(), Errno>(())
/// ```
pub trait Inspect: Send + Sync {
    /// How many nodes the daemon holds for the kernel's lookups, the root not counted. `None` if it does not know.
    fn nodes(&self) -> Option<u64> {
        None
    }

    /// How many open files and directories the daemon holds. `None` if it does not know.
    fn handles(&self) -> Option<u64> {
        None
    }
}

/// What the daemon's side leaves for the kernel's side.
#[derive(Default)]
pub(crate) struct Inside {
    inspect: OnceLock<Arc<dyn Inspect>>,
    last: OnceLock<Counts>,
    refusal: OnceLock<String>,
}

/// How many nodes and handles there are, as far as is known.
type Counts = (Option<u64>, Option<u64>);

impl Inside {
    /// Who can look. The first one counts.
    pub(crate) fn inspect_by(&self, inspect: Arc<dyn Inspect>) {
        let _ = self.inspect.set(inspect);
    }

    fn look(&self) -> Counts {
        self.inspect.get().map_or((None, None), |inspect| (inspect.nodes(), inspect.handles()))
    }

    /// How many nodes the daemon holds now, if that is known.
    pub(crate) fn nodes(&self) -> Option<u64> {
        self.inspect.get()?.nodes()
    }

    /// The daemon is about to be told of its end: what it holds now is what counts.
    #[cfg(feature = "session")]
    pub(crate) fn note_end(&self) {
        let _ = self.last.set(self.look());
    }

    /// What the daemon held at its end, or else holds now.
    pub(crate) fn at_end(&self) -> Counts {
        self.last.get().copied().unwrap_or_else(|| self.look())
    }

    /// Why the daemon did not begin.
    #[cfg(feature = "session")]
    pub(crate) fn note_refusal(&self, why: String) {
        let _ = self.refusal.set(why);
    }

    /// Why the daemon did not begin, if it has said so.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").field("last", &self.last).field("refusal", &self.refusal).finish_non_exhaustive()
    }
}
