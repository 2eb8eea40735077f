//! How far a run is, as a bar on a terminal. Where standard error is no terminal there is no bar, only the lines.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that goes away on drop.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Of so many cases.
    pub(crate) fn of(cases: usize) -> Self {
        let bar = ProgressBar::new(u64::try_from(cases).unwrap_or(u64::MAX));
        let style = ProgressStyle::with_template("{elapsed:>5} [{bar:24}] {pos}/{len} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(500));
        Self(bar)
    }

    /// A case begins.
    pub(crate) fn begin(&self, name: &str) {
        self.0.set_message(name.to_owned());
    }

    /// A case has ended; `show` prints what there is to say about it.
    pub(crate) fn end(&self, show: impl FnOnce()) {
        self.0.suspend(show);
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
