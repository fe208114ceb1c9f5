//! How often calls may be made again, all callers of a process together.
//!
//! A provider that fails gets every call again if nothing forbids it, just when it can take least.
//! So of the calls of the last [`WINDOW`] at most a fifth may be retries; [`FLOOR`] retries are
//! free, or a quiet service could never retry at all (PRIMITIVES.md §2). A call to another model is
//! no retry: it is made once for each model that is configured.
//!
//! # Always
//! - In the window that ends with a retry there are, with it, at most [`FLOOR`] retries or a fifth
//!   of the first calls, whichever is more.
//! - Whoever is refused sends nothing: a retry is paid for before it waits.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sendcat_state::backoff::Backoff;
use sendcat_state::timestamp::Timestamp;

use super::classify::Repeat;
use crate::config::fixed;

/// How far back calls count: ten seconds.
pub const WINDOW: Duration = Duration::from_millis(SLOTS as u64 * SLOT_MILLIS);

/// Retries within a window that need no calls to pay for them.
pub const FLOOR: u32 = 3;

/// So many calls pay for one retry: 20 %.
const CALLS_PER_RETRY: u32 = 5;

const SLOTS: usize = 10;
const SLOT_MILLIS: u64 = 1000;

/// Delays before a call is made again, where the provider named none.
const BACKOFF: Backoff = Backoff { base: fixed::RETRY_BASE, cap: fixed::RETRY_CAP };

/// How long to wait before a call is made again after so many failed attempts; `None` if it is not
/// to be. What the provider asked for is waited out, else a delay drawn between zero and the full.
pub fn delay(repeat: Repeat, attempts: u32, random: u64) -> Option<Duration> {
    if attempts >= fixed::RETRY_ATTEMPTS {
        return None;
    }
    match repeat {
        Repeat::No => None,
        Repeat::Yes => Some(BACKOFF.full_jitter(attempts, random)),
        Repeat::After(wait) => Some(wait),
    }
}

/// The budget of a process.
#[derive(Debug, Default)]
pub struct RetryBudget(Mutex<Ring>);

impl RetryBudget {
    /// Counts a call that is made for the first time.
    pub fn count_call(&self, now: Timestamp) {
        self.ring().slot(now).calls += 1;
    }

    /// Takes one retry out of the budget; `false` if none is left now.
    pub fn take_retry(&self, now: Timestamp) -> bool {
        let mut ring = self.ring();
        let (calls, retries) = ring.within(now);
        if retries >= FLOOR.max(calls / CALLS_PER_RETRY) {
            return false;
        }
        ring.slot(now).retries += 1;
        true
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last seconds, each in the slot of its number.
#[derive(Debug, Default)]
struct Ring([Slot; SLOTS]);

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Counted from the clock's beginning.
    second: u64,
    calls: u32,
    retries: u32,
}

impl Ring {
    fn slot(&mut self, now: Timestamp) -> &mut Slot {
        let second = now.as_millis() / SLOT_MILLIS;
        let place = usize::try_from(second % SLOTS as u64).expect("a remainder of ten fits");
        let slot = &mut self.0[place];
        // A clock that is read on another thread may be a moment behind; it counts as now.
        if slot.second < second {
            *slot = Slot { second, calls: 0, retries: 0 };
        }
        slot
    }

    /// Calls and retries of the window that ends now.
    fn within(&self, now: Timestamp) -> (u32, u32) {
        let second = now.as_millis() / SLOT_MILLIS;
        let live = self.0.iter().filter(|slot| slot.second + SLOTS as u64 > second);
        live.fold((0, 0), |(calls, retries), slot| (calls + slot.calls, retries + slot.retries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// How many retries are granted at that time.
    fn granted(budget: &RetryBudget, now: Timestamp) -> u32 {
        (0..1000).map(|_| u32::from(budget.take_retry(now))).sum()
    }

    #[test]
    fn a_quiet_service_has_the_floor_and_a_busy_one_a_fifth() {
        for (calls, retries) in [(0, 3), (1, 3), (19, 3), (20, 4), (100, 20), (104, 20)] {
            let budget = RetryBudget::default();
            (0..calls).for_each(|_| budget.count_call(at(5000)));
            assert_eq!(granted(&budget, at(5000)), retries, "{calls} calls");
            assert!(!budget.take_retry(at(14_999)), "they are spent for the whole window");
            assert_eq!(granted(&budget, at(15_000)), 3, "and calls of before pay for none");
        }
    }

    #[test]
    fn the_window_that_ends_with_a_retry_never_holds_more_than_it_may() {
        let budget = RetryBudget::default();
        let mut made: Vec<(u64, bool)> = Vec::new();
        // A provider that fails every call: asked fast, then ever more slowly.
        for round in 0..600_u64 {
            let now = round * round / 8;
            budget.count_call(at(now));
            made.push((now, false));
            if !budget.take_retry(at(now)) {
                continue;
            }
            made.push((now, true));
            let second = now / SLOT_MILLIS;
            let window = made.iter().filter(|(then, _)| then / SLOT_MILLIS + 10 > second);
            let (retries, calls) = window.fold((0, 0), |(retries, calls), (_, is_retry)| {
                if *is_retry { (retries + 1, calls) } else { (retries, calls + 1) }
            });
            assert!(retries <= 3.max(calls / 5), "in the window to {now} ms");
        }
        let retries = made.iter().filter(|(_, is_retry)| *is_retry).count();
        assert!((30..=200).contains(&retries), "{retries} retries");
    }

    #[test]
    fn what_the_provider_asks_for_is_waited_out_and_three_attempts_are_all() {
        let wait = Duration::from_secs(7);
        assert_eq!(delay(Repeat::After(wait), 1, 0), Some(wait));
        assert_eq!(delay(Repeat::After(wait), 3, 0), None);
        assert_eq!(delay(Repeat::Yes, 1, 1000), Some(Duration::from_millis(200)));
        assert_eq!(delay(Repeat::Yes, 2, 1000), Some(Duration::from_millis(400)));
        assert_eq!(delay(Repeat::Yes, 2, 0), Some(Duration::ZERO));
        assert_eq!(delay(Repeat::Yes, 3, 0), None);
        assert_eq!(delay(Repeat::No, 1, 0), None);
    }
}
