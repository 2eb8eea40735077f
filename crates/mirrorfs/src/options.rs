//! How a mirror behaves: the options, as a value. Parsing them is left to the program.

use std::time::Duration;

/// How much the kernel may remember of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheMode {
    /// Nothing: every question comes to the source, and data go past the page cache where the kernel allows mapping files
    /// then. For sources that others change all the time.
    None,
    /// Names and attributes for a second, and data as long as size and time of modification stay the same when a file is
    /// opened.
    #[default]
    Auto,
    /// Everything, for as long as the kernel likes. For sources that nobody else changes.
    Always,
}

/// How a [`Mirror`](crate::Mirror) behaves. The default suits a source that others change now and then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How much the kernel may remember.
    pub cache: CacheMode,
    /// How long names may be believed, if not as long as [`cache`](Self::cache) says.
    pub entry_timeout: Option<Duration>,
    /// How long attributes may be believed, if not as long as [`cache`](Self::cache) says.
    pub attr_timeout: Option<Duration>,
    /// How long it may be believed that a name is not there, if not as long as [`cache`](Self::cache) says.
    pub negative_timeout: Option<Duration>,
    /// Whether the kernel gathers writes in its page cache. Then size and times are the kernel's, so nobody else may change
    /// the files.
    pub writeback: bool,
}

impl Options {
    /// The same with this cache mode.
    #[must_use]
    pub fn cache(self, cache: CacheMode) -> Self {
        Self { cache, ..self }
    }

    /// The same, with writes gathered by the kernel.
    #[must_use]
    pub fn writeback(self) -> Self {
        Self { writeback: true, ..self }
    }
}
