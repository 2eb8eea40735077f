//! What the kernel may remember of the source, and for how long.

use std::time::Duration;

use fusewire::{InitFlags, OpenedFlags};

use crate::options::{CacheMode, Options};

/// As good as for ever, and far from where sums of times overflow.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);
const SECOND: Duration = Duration::from_secs(1);

/// How long answers may be believed, and what open files and directories are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caching {
    pub(crate) mode: CacheMode,
    pub(crate) entry: Duration,
    pub(crate) attr: Duration,
    pub(crate) negative: Duration,
}

impl Caching {
    pub(crate) fn new(options: &Options) -> Self {
        let (entry, attr, negative) = match options.cache {
            CacheMode::None => (Duration::ZERO, Duration::ZERO, Duration::ZERO),
            // A name that is made in the source is to be seen at once.
            CacheMode::Auto => (SECOND, SECOND, Duration::ZERO),
            CacheMode::Always => (LONG, LONG, LONG),
        };
        Self {
            mode: options.cache,
            entry: options.entry_timeout.unwrap_or(entry),
            attr: options.attr_timeout.unwrap_or(attr),
            negative: options.negative_timeout.unwrap_or(negative),
        }
    }

    /// How an open file is cached. `same_data` tells whether the data are those that the kernel may have; it is asked only
    /// if that matters.
    pub(crate) fn file_flags(&self, agreed: InitFlags, same_data: impl FnOnce() -> bool) -> OpenedFlags {
        match self.mode {
            CacheMode::None if agreed.contains(InitFlags::DIRECT_IO_ALLOW_MMAP) => {
                OpenedFlags::DIRECT_IO | OpenedFlags::PARALLEL_DIRECT_WRITES
            }
            CacheMode::Auto if same_data() => OpenedFlags::KEEP_CACHE,
            CacheMode::None | CacheMode::Auto => OpenedFlags::empty(),
            CacheMode::Always => OpenedFlags::KEEP_CACHE,
        }
    }

    /// How an open directory is cached.
    pub(crate) fn directory_flags(&self) -> OpenedFlags {
        match self.mode {
            CacheMode::None | CacheMode::Auto => OpenedFlags::empty(),
            CacheMode::Always => OpenedFlags::CACHE_DIR | OpenedFlags::KEEP_CACHE,
        }
    }
}
