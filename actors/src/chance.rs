//! The only file that draws lots: numbers that spread retries and cooldowns, and names that nobody
//! else has.
//!
//! No decision of a machine depends on more than the number it is handed, so a simulation that
//! seeds its thread sees the same run again.

use sendcat_state::key::TimedId;
use sendcat_state::timestamp::Timestamp;

/// A number, evenly drawn.
pub fn number() -> u64 {
    #[cfg(feature = "testing")]
    if let Some(drawn) = seeded::next() {
        return drawn;
    }
    getrandom::u64().unwrap_or_default()
}

/// A new identifier of something that began at `now`.
pub fn id(now: Timestamp) -> TimedId {
    TimedId::new(now, number())
}

#[cfg(feature = "testing")]
pub use seeded::{Draws, seed};

#[cfg(feature = "testing")]
mod seeded {
    use std::cell::RefCell;

    /// Numbers that follow from a seed (splitmix64): the same in every run.
    #[derive(Debug)]
    pub struct Draws(u64);

    impl Draws {
        /// Those of that seed.
        pub fn of(seed: u64) -> Self {
            Self(seed)
        }

        /// The next number.
        #[expect(clippy::should_implement_trait, reason = "they never end")]
        pub fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }

        /// The next number, below `bound`.
        pub fn below(&mut self, bound: u64) -> u64 {
            self.next() % bound
        }
    }

    thread_local! {
        static DRAWS: RefCell<Option<Draws>> = const { RefCell::new(None) };
    }

    /// Has this thread draw the same numbers in every run from here on.
    pub fn seed(seed: u64) {
        DRAWS.set(Some(Draws::of(seed)));
    }

    /// The next number of a seeded thread.
    pub(super) fn next() -> Option<u64> {
        DRAWS.with_borrow_mut(|draws| draws.as_mut().map(Draws::next))
    }
}
