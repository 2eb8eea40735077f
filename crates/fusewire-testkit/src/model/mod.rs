//! The model test: random sequences of file operations, run against a filesystem and against a simple one in memory, compared
//! step by step, and shrunk to the shortest sequence that shows a difference.
//!
//! Whatever is in the filesystem at the start is read first, so that it need not be empty.

use std::fmt;

use bitflags::bitflags;
use proptest::test_runner::{Config as TestConfig, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::kernel::Config;
use crate::running::Running;
use crate::vfs::Mount;

mod real;
mod reference;
mod step;

use real::Real;
use reference::Reference;
pub use step::{Absolute, Outcome, Path, Step};

bitflags! {
    /// What a filesystem has, and the model test may use. Looking and reading are always used. All others but
    /// [`XATTR`](Self::XATTR) are used only together with [`WRITE`](Self::WRITE).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u32 {
        /// Files can be made, written, cut short and removed.
        const WRITE = 1;
        /// Directories can be made and removed.
        const DIRECTORIES = 1 << 1;
        /// Files and directories can be moved.
        const RENAME = 1 << 2;
        /// Symbolic links can be made.
        const SYMLINK = 1 << 3;
        /// Files can have several names.
        const HARD_LINK = 1 << 4;
        /// Extended attributes of the namespace `user` are kept.
        const XATTR = 1 << 5;
        /// renameat2(2) with `RENAME_EXCHANGE` and `RENAME_NOREPLACE`; with [`RENAME`](Self::RENAME).
        const RENAME_FLAGS = 1 << 6;
        /// Fifos can be made.
        const FIFO = 1 << 7;
        /// Permission bits and times can be set, also those of the root.
        const ATTRIBUTES = 1 << 8;
        /// Open files live on when their last name is gone.
        const UNLINKED = 1 << 9;
    }
}

/// How the model test is made. The default uses all features, in 200 sequences of up to 40 steps.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Model {
    /// What the filesystem has.
    pub features: Features,
    /// How many sequences are tried.
    pub cases: u32,
    /// How many steps a sequence has at most.
    pub steps: usize,
    /// From which everything random follows.
    pub seed: u64,
    /// Which kernel is played.
    pub kernel: Config,
}

impl Default for Model {
    fn default() -> Self {
        Self { features: Features::all(), cases: 200, steps: 40, seed: 0, kernel: Config::default() }
    }
}

impl Model {
    /// The default for a filesystem that has these features only.
    #[must_use]
    pub fn of(features: Features) -> Self {
        Self { features, ..Self::default() }
    }

    /// The same with this many sequences.
    #[must_use]
    pub fn cases(self, cases: u32) -> Self {
        Self { cases, ..self }
    }
}

/// The shortest sequence that shows a difference.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Difference {
    /// The steps; the last one shows it.
    pub steps: Vec<Step>,
    /// What differs, or which law is broken.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the filesystem differs from the model after {} steps:", self.steps.len())?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {:3}. {step:?}", number + 1)?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Difference {}

/// Runs the model test against filesystems that `start` starts, a new one for each sequence; panics with the shortest sequence
/// that shows a difference or breaks a law.
///
/// # Panics
/// There is a difference.
#[expect(clippy::panic, reason = "a difference fails the test: that is what this crate is for")]
pub fn check(model: &Model, start: impl Fn() -> Running) {
    if let Err(difference) = run(model, start) {
        panic!("{difference}");
    }
}

/// Runs the model test, and returns the shortest sequence that shows a difference or breaks a law.
///
/// # Errors
/// There is a difference.
pub fn run(model: &Model, start: impl Fn() -> Running) -> Result<(), Difference> {
    let mut seed = [0; 32];
    if let Some(place) = seed.first_chunk_mut() {
        *place = model.seed.to_le_bytes();
    }
    let config =
        TestConfig { cases: model.cases, failure_persistence: None, max_shrink_iters: 20_000, ..TestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let steps = step::sequences(model.features, model.steps);
    let outcome = runner.run(&steps, |steps| compare(model, &steps, &start).map_err(TestCaseError::fail));
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, steps)) => {
            Err(shorten(model, Difference { steps, what: reason.message().to_owned() }, &start))
        }
        Err(TestError::Abort(reason)) => Err(Difference { steps: Vec::new(), what: reason.message().to_owned() }),
    }
}

/// Leaves out what can be left out, which the shrinking of single steps may have made more.
fn shorten(model: &Model, mut shortest: Difference, start: &impl Fn() -> Running) -> Difference {
    let mut at = shortest.steps.len();
    while at > 0 {
        at -= 1;
        let mut steps = shortest.steps.clone();
        steps.remove(at);
        if let Err(what) = compare(model, &steps, start) {
            at = steps.len();
            shortest = Difference { steps, what };
        }
    }
    shortest
}

/// Runs one sequence against both.
fn compare(model: &Model, steps: &[Step], start: &impl Fn() -> Running) -> Result<(), String> {
    let mount = Mount::new(start(), model.kernel.lenient()).map_err(|refused| refused.to_string())?;
    let mut reference = Reference::import(&mount).map_err(|errno| format!("reading what is there: {errno:?}"))?;
    let mut real = Real::new(mount.clone(), reference.names());
    for step in steps {
        let expected = reference.apply(step);
        let found = real.apply(step);
        if !step::agree(&expected, &found, model.features) {
            return Err(format!("{step:?}: the model says {expected:?}, the filesystem {found:?}"));
        }
        lawful(&mount)?;
    }
    drop(real);
    let found = Reference::import(&mount).map_err(|errno| format!("reading what is there in the end: {errno:?}"))?;
    reference.same_tree(&found)?;
    mount.unmount();
    lawful(&mount)
}

fn lawful(mount: &Mount) -> Result<(), String> {
    if mount.kernel().is_lawful() {
        return Ok(());
    }
    let laws = mount.kernel().laws();
    Err(laws.violations().first().map(ToString::to_string).unwrap_or_default())
}
