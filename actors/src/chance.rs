//! The only file that draws lots: numbers that spread retries and cooldowns.
//!
//! No decision of a machine depends on more than the number it is handed, so a simulation that
//! seeds its thread sees the same run again.

/// A number, evenly drawn.
pub(crate) fn number() -> u64 {
    #[cfg(feature = "testing")]
    if let Some(drawn) = seeded::next() {
        return drawn;
    }
    getrandom::u64().unwrap_or_default()
}

#[cfg(feature = "testing")]
pub use seeded::seed;

#[cfg(feature = "testing")]
mod seeded {
    use std::cell::Cell;

    thread_local! {
        static STATE: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Has this thread draw the same numbers in every run from here on.
    pub fn seed(seed: u64) {
        STATE.set(Some(seed));
    }

    /// The next number of a seeded thread (splitmix64).
    pub(super) fn next() -> Option<u64> {
        let state = STATE.get()?.wrapping_add(0x9e37_79b9_7f4a_7c15);
        STATE.set(Some(state));
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(mixed ^ (mixed >> 31))
    }
}
