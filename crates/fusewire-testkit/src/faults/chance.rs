//! Chance that can be repeated: all that follows from a seed.
//!
//! Good enough to choose what to test, and for nothing else.

/// A sequence of numbers that its seed determines (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Self { state: seed };
        // Small seeds differ in few bits; the first number does not.
        chance.next();
        chance
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// Whether something happens that happens once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub(crate) fn pick<'s, T>(&mut self, of: &'s [T]) -> Option<&'s T> {
        let index = self.below(u64::try_from(of.len()).unwrap_or(0));
        of.get(usize::try_from(index).unwrap_or(0))
    }

    /// Puts things into another order.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for end in (1..things.len()).rev() {
            let other = self.below(u64::try_from(end).unwrap_or(0) + 1);
            things.swap(end, usize::try_from(other).unwrap_or(0));
        }
    }
}
