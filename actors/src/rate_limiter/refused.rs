//! Keys whose windows are used up, remembered until those end.
//!
//! A window only fills, so until it ends its shard would refuse every call under the same limit or
//! a lower one, with the same answer: the handle gives it instead. What is not remembered is asked
//! for; a memory that is full or forgets costs time and no call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sendcat_state::key::ClientKey;
use sendcat_state::rate_shard::ByHash;
use sendcat_state::rate_window::Limit;
use sendcat_state::timestamp::Timestamp;

/// Keys remembered at most, for one shard.
const MOST_KEYS: usize = 4096;

/// The used-up windows of one shard.
#[derive(Default)]
pub(super) struct RefusedKeys {
    /// How many there are, read without the lock: mostly there are none.
    count: AtomicUsize,
    refused: Mutex<Refused>,
}

#[derive(Default)]
struct Refused {
    keys: ByHash<(Limit, Timestamp)>,
    /// When the first of them ends, as far as is known: until then clearing frees nothing.
    first_end: Timestamp,
}

impl RefusedKeys {
    /// For how long `key` is still refused under `limit`; `None` if its shard must be asked.
    pub(super) fn refuses(
        &self,
        key: ClientKey,
        limit: Limit,
        now: impl FnOnce() -> Timestamp,
    ) -> Option<Duration> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let (refused_under, until) = self.lock().keys.get(&key.hash).copied()?;
        let now = now();
        let is_same = limit.per == refused_under.per && limit.calls <= refused_under.calls;
        (is_same && now < until).then(|| now.until(until))
    }

    /// Remembers that `key` is refused under `limit` until then, if there is room.
    pub(super) fn remember(&self, key: ClientKey, limit: Limit, until: Timestamp, now: Timestamp) {
        let mut refused = self.lock();
        if refused.keys.len() >= MOST_KEYS {
            if now < refused.first_end {
                return;
            }
            refused.keys.retain(|_, (_, until)| now < *until);
            let first_end = refused.keys.values().map(|(_, until)| *until).min();
            refused.first_end = first_end.unwrap_or_default();
        }
        if refused.keys.len() < MOST_KEYS {
            refused.keys.insert(key.hash, (limit, until));
        }
        self.count.store(refused.keys.len(), Ordering::Relaxed);
    }

    /// Asks the shard again for this key.
    pub(super) fn forget(&self, key: ClientKey) {
        let mut refused = self.lock();
        refused.keys.remove(&key.hash);
        self.count.store(refused.keys.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Refused> {
        // Whoever died with the lock left the map whole.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use sendcat_state::key::Bucket;

    use super::*;

    const LIMIT: Limit = Limit { calls: 5, per: Duration::from_secs(1) };

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn key(number: usize) -> ClientKey {
        ClientKey::session(Bucket::ChatStream, &number.to_string())
    }

    #[test]
    fn a_refusal_holds_until_its_window_ends_and_for_no_larger_limit() {
        let keys = RefusedKeys::default();
        keys.remember(key(1), LIMIT, at(1000), at(0));
        let asked = |calls, millis| keys.refuses(key(1), Limit { calls, ..LIMIT }, || at(millis));
        assert_eq!(asked(5, 999), Some(Duration::from_millis(1)));
        assert_eq!(asked(4, 0), Some(Duration::from_secs(1)));
        assert_eq!(asked(6, 0), None, "a raised limit asks the shard");
        assert_eq!(asked(5, 1000), None, "a new window may open");
        keys.forget(key(1));
        assert_eq!(asked(5, 0), None);
    }

    #[test]
    fn no_more_keys_are_remembered_than_there_is_room_for() {
        let keys = RefusedKeys::default();
        for number in 0..=MOST_KEYS {
            keys.remember(key(number), LIMIT, at(1000), at(0));
        }
        let refuses = |number, millis| keys.refuses(key(number), LIMIT, || at(millis)).is_some();
        assert!(refuses(0, 0));
        assert!(!refuses(MOST_KEYS, 0), "asked for instead");
        keys.remember(key(MOST_KEYS), LIMIT, at(2000), at(1000));
        assert!(refuses(MOST_KEYS, 1000), "what has ended made room");
    }
}
