//! Whether mounting has begun: until then there is nothing to take back, and a command may end at once.
//!
//! Two threads pass here, and only one of them gets through.

use std::sync::atomic::{AtomicU8, Ordering};

const OPEN: u8 = 0;
const MOUNTING: u8 = 1;
const GIVEN_UP: u8 = 2;

/// Between building a filesystem and mounting it.
#[derive(Debug, Default)]
pub(crate) struct Gate(AtomicU8);

impl Gate {
    /// Mounting begins; whether it may.
    pub(crate) fn begin_mounting(&self) -> bool {
        self.pass(MOUNTING)
    }

    /// Nothing shall be mounted any more; whether that is so.
    pub(crate) fn give_up(&self) -> bool {
        self.pass(GIVEN_UP)
    }

    fn pass(&self, to: u8) -> bool {
        self.0.compare_exchange(OPEN, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_gets_through() {
        let gate = Gate::default();
        assert!(gate.begin_mounting());
        assert!(!gate.give_up());
        let gate = Gate::default();
        assert!(gate.give_up());
        assert!(!gate.begin_mounting());
    }
}
