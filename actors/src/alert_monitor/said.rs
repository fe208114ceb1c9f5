//! Events that were offered a moment ago, so that a caller who is refused again and again costs the
//! monitor one message in five seconds and leaves its queue to others.
//!
//! A place is overwritten by whoever hashes to it: an event that is forgotten so is offered again,
//! and the monitor, which knows all of them, finds it to be the same one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sendcat_state::timestamp::Timestamp;

/// Places; a power of two.
const PLACES: usize = 1024;

/// What was said last at each place: half a hash above, half a time below.
pub(super) struct Said(Box<[AtomicU64]>);

impl Default for Said {
    fn default() -> Self {
        Self((0..PLACES).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Said {
    /// Whether nothing equal was offered within that span; it was from now on.
    pub(super) fn is_new(&self, sameness: u128, now: Timestamp, same_for: Duration) -> bool {
        const LOW: u64 = u32::MAX as u64;
        let hash = sameness as u64;
        let place = &self.0[(hash as usize) & (PLACES - 1)];
        let (half, millis) = ((sameness >> 64) as u64 & LOW, now.as_millis() & LOW);
        let said = place.load(Ordering::Relaxed);
        // Times wrap after 49 days, and differences with them.
        let ago = millis.wrapping_sub(said) & LOW;
        if said != 0 && said >> 32 == half && u128::from(ago) < same_for.as_millis() {
            return false;
        }
        place.store((half << 32) | millis, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: Duration = Duration::from_secs(5);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn an_event_is_offered_once_in_its_span_also_where_times_wrap() {
        for start in [1, u64::from(u32::MAX) - 2000] {
            let said = Said::default();
            assert!(said.is_new(7, at(start), FIVE));
            assert!(!said.is_new(7, at(start + 4999), FIVE));
            assert!(said.is_new(7, at(start + 5000), FIVE), "counted from the first, as it is");
        }
    }

    #[test]
    fn another_event_at_the_same_place_is_new_and_takes_it() {
        let said = Said::default();
        let (one, other) = (7, 7 | (1 << 64));
        assert!(said.is_new(one, at(1000), FIVE));
        assert!(said.is_new(other, at(1001), FIVE));
        assert!(said.is_new(one, at(1002), FIVE), "it is told again, not lost");
    }
}
