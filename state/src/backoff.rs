//! How long to wait before the next attempt: exponential, capped, with jitter handed in.
//!
//! Jitter is a number from outside, so that a rule can be proved and a run repeated.

use std::time::Duration;

/// A delay that doubles with each attempt, up to a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The delay after the first failure.
    pub base: Duration,
    /// The longest delay.
    pub cap: Duration,
}

impl Backoff {
    /// The delay after `failures` failures, before jitter; zero after none.
    pub fn delay(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings.min(31)).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// The delay spread evenly over ±20 %; `random` is any number, evenly drawn.
    pub fn jittered(&self, failures: u32, random: u64) -> Duration {
        let permille = 800 + u32::try_from(random % 401).expect("401 fits");
        self.delay(failures).saturating_mul(permille) / 1000
    }

    /// A delay drawn evenly from zero up to the full one: clients that failed together spread out.
    pub fn full_jitter(&self, failures: u32, random: u64) -> Duration {
        let permille = u32::try_from(random % 1001).expect("1001 fits");
        self.delay(failures).saturating_mul(permille) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { base: Duration::from_millis(50), cap: Duration::from_secs(5) };

    #[test]
    fn the_first_restart_is_immediate_and_later_ones_double_up_to_the_cap() {
        let delays: Vec<u128> = (0..10).map(|n| BACKOFF.delay(n).as_millis()).collect();
        assert_eq!(delays, [0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(BACKOFF.delay(u32::MAX), BACKOFF.cap);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        assert_eq!(BACKOFF.jittered(2, 0).as_millis(), 80);
        assert_eq!(BACKOFF.jittered(2, 400).as_millis(), 120);
        assert_eq!(BACKOFF.full_jitter(2, 0), Duration::ZERO);
        assert_eq!(BACKOFF.full_jitter(2, 1000).as_millis(), 100);
    }
}
