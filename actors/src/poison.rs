//! Commands that made their actor panic before, and are refused for a while.
//!
//! Without this one hostile input could walk an actor into its restart intensity, and a limiter
//! that fails closed into an outage for everybody in its shard. A command is known by a fingerprint
//! that its machine gives it; after three panics it is refused unexecuted for ten minutes. Only
//! what is asked is refused: what is told undoes or settles what came true, and must come true as
//! well.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sendcat_state::timestamp::Timestamp;

/// Panics after which a command is refused.
const STRIKES: u32 = 3;

/// How long it is refused after the last of them.
const REFUSED_FOR: Duration = Duration::from_secs(600);

/// Fingerprints that are remembered at most; the oldest make way.
const MOST: usize = 1024;

/// The commands of one actor that made it panic.
#[derive(Debug, Default)]
pub(crate) struct PoisonBook {
    /// Nothing is looked up while nothing ever panicked.
    any: AtomicBool,
    strikes: Mutex<HashMap<u128, (u32, Timestamp)>>,
}

impl PoisonBook {
    /// Whether a command is refused.
    pub(crate) fn refuses(&self, now: Timestamp, fingerprint: Option<u128>) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let Some(fingerprint) = fingerprint else { return false };
        let strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        strikes
            .get(&fingerprint)
            .is_some_and(|(times, last)| *times >= STRIKES && now < last.after(REFUSED_FOR))
    }

    /// A command made the actor panic.
    pub(crate) fn strike(&self, now: Timestamp, fingerprint: Option<u128>) {
        let Some(fingerprint) = fingerprint else { return };
        let mut strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        strikes.retain(|_, (_, last)| now < last.after(REFUSED_FOR));
        if strikes.len() >= MOST && !strikes.contains_key(&fingerprint) {
            let oldest = strikes.iter().min_by_key(|(_, (_, last))| *last).map(|(key, _)| *key);
            oldest.map(|oldest| strikes.remove(&oldest));
        }
        let (times, last) = strikes.entry(fingerprint).or_insert((0, now));
        *times = times.saturating_add(1);
        *last = now;
        self.any.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn three_panics_refuse_a_command_for_ten_minutes_and_no_other() {
        let book = PoisonBook::default();
        for second in 0..3 {
            assert!(!book.refuses(at(second), Some(7)));
            book.strike(at(second), Some(7));
        }
        assert!(book.refuses(at(3), Some(7)));
        assert!(!book.refuses(at(3), Some(8)));
        assert!(!book.refuses(at(3), None));
        assert!(!book.refuses(at(602), Some(7)));
    }

    #[test]
    fn the_book_is_bounded() {
        let book = PoisonBook::default();
        for command in 0..2000 {
            book.strike(at(command / 100), Some(u128::from(command)));
        }
        assert_eq!(book.strikes.lock().unwrap().len(), MOST);
    }
}
