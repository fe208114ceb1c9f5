//! Many keys' windows under one bound of memory.
//!
//! A shard keeps at most `capacity` windows. When it is full, a window that has ended makes room;
//! if none has, the new key is counted in its bucket's one *overflow window*: a live window is
//! never dropped, for dropping one would admit its key anew.
//!
//! Durability: snapshotted. What was counted since the last snapshot is kept beside the actor, so
//! only a crash of the process can lose it.
//!
//! # Invariants
//! - RW-3: a key lives in one shard (the key itself names it: `ClientKey::shard`).
//! - RW-4: memory is bounded, and no live window is dropped to keep it so.

mod several;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::{Bucket, ClientKey};
use crate::machine::{Apply, Decision};
use crate::rate_window::{Admission, Counted, Limit, RateWindow};
use crate::timestamp::Timestamp;
pub use several::{CountedCall, Receipt, ShardAdmission, ShardChange};

/// Windows that one shard keeps by default: 16 shards hold a million callers.
pub const DEFAULT_CAPACITY: usize = 65_536;

/// Windows that an opening one may sweep away: two, so that ended ones go faster than new come.
const SWEPT_PER_OPENING: usize = 2;

/// The keys are hashes already; hashing them again would cost more than the look-up.
#[derive(Default, Clone)]
pub struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u128(&mut self, hash: u128) {
        // The low half, less the bits that chose the shard.
        self.0 = (hash >> 4) as u64;
    }
}

/// A map by hashed keys.
pub type ByHash<V> = HashMap<u128, V, BuildHasherDefault<AlreadyHashed>>;

/// A key's window and the span it was counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    bucket: Bucket,
    window: RateWindow,
    per: Duration,
}

impl Kept {
    fn has_ended(&self, now: Timestamp) -> bool {
        !self.window.is_live(now, self.per)
    }
}

/// One shard of the rate limiter.
#[derive(Clone, Debug)]
pub struct RateShard {
    capacity: usize,
    windows: ByHash<Kept>,
    /// Keys of each bucket in the order their windows opened; an entry whose window has opened
    /// anew since is stale and swept like an ended one.
    openings: Vec<VecDeque<(Timestamp, u128)>>,
    /// Where keys are counted that found no room, one window a bucket.
    overflow: Vec<RateWindow>,
    /// When the counts were lost, if they were: a window may have been used up then.
    lost_at: Option<Timestamp>,
}

/// What one admission makes of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardCounted {
    key: ClientKey,
    counted: Counted,
    per: Duration,
    place: Place,
}

/// Where a call is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    /// In the key's own window; this one goes to make room.
    Own { evicted: Option<u128> },
    /// In the bucket's overflow window.
    Overflow,
}

/// What one shard holds, for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShardView {
    /// Windows kept, ended ones included.
    pub windows: usize,
    /// The most it keeps.
    pub capacity: usize,
}

/// What decides a key, for `GET /ops/explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Calls used of the window that counts the key.
    pub used: u64,
    /// How long that window stays open; `None` if none is open.
    pub resets_in: Option<Duration>,
    /// Whether the key has no window of its own for want of room.
    pub overflow: bool,
}

impl RateShard {
    /// A shard that keeps at most `capacity` windows.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            windows: ByHash::default(),
            openings: vec![VecDeque::new(); Bucket::ALL.len()],
            overflow: vec![RateWindow::default(); Bucket::ALL.len()],
            lost_at: None,
        }
    }

    /// A shard whose counts were lost then. It refuses every call for as long as a window that was
    /// open may last, for it must not admit anew what it has forgotten.
    pub fn without_counts(capacity: usize, lost_at: Timestamp) -> Self {
        Self { lost_at: Some(lost_at), ..Self::new(capacity) }
    }

    /// For how long calls under a limit are refused for want of the counts.
    fn closed_for(&self, now: Timestamp, limit: Limit) -> Option<Duration> {
        let opens = self.lost_at?.after(limit.per);
        (now < opens).then(|| now.until(opens))
    }

    /// Decides one call of `key`.
    pub fn admit(
        &self,
        now: Timestamp,
        key: ClientKey,
        limit: Limit,
    ) -> Decision<Admission, ShardCounted> {
        if let Some(retry_after) = self.closed_for(now, limit) {
            return Decision::unchanged(Admission::Refused { retry_after });
        }
        let own = self.windows.get(&key.hash).map(|kept| kept.window);
        let (window, place) = match own {
            Some(window) => (window, Place::Own { evicted: None }),
            None => self.place_for_new(now, key),
        };
        window.admit(now, limit).wrap(|counted| ShardCounted {
            key,
            counted,
            per: limit.per,
            place,
        })
    }

    /// Says what would decide a call of `key`, and decides none.
    pub fn explain(&self, now: Timestamp, key: ClientKey, limit: Limit) -> Explained {
        if let Some(closed) = self.closed_for(now, limit) {
            return Explained { used: limit.calls, resets_in: Some(closed), overflow: false };
        }
        let own = self.windows.get(&key.hash).map(|kept| kept.window);
        let (window, place) = match own {
            Some(window) => (window, Place::Own { evicted: None }),
            None => self.place_for_new(now, key),
        };
        let live = window.is_live(now, limit.per);
        Explained {
            used: if live { window.used() } else { 0 },
            resets_in: live.then(|| now.until(window.opened().after(limit.per))),
            overflow: place == Place::Overflow,
        }
    }

    /// What operators see.
    pub fn view(&self) -> ShardView {
        ShardView { windows: self.windows.len(), capacity: self.capacity }
    }

    /// Where a key without a window is counted.
    fn place_for_new(&self, now: Timestamp, key: ClientKey) -> (RateWindow, Place) {
        let fresh = RateWindow::default();
        if self.windows.len() < self.capacity {
            return (fresh, Place::Own { evicted: None });
        }
        match self.first_ended(now) {
            Some(ended) => (fresh, Place::Own { evicted: Some(ended) }),
            None => (self.overflow[key.bucket.index()], Place::Overflow),
        }
    }

    /// An ended window, if the oldest of some bucket has ended.
    fn first_ended(&self, now: Timestamp) -> Option<u128> {
        self.openings.iter().find_map(|opened| {
            let (_, key) = opened.iter().find(|(when, key)| !self.is_stale(*when, *key))?;
            self.windows.get(key).filter(|kept| kept.has_ended(now)).map(|_| *key)
        })
    }

    /// Whether an entry of the openings speaks of a window that is gone or has opened anew.
    fn is_stale(&self, opened: Timestamp, key: u128) -> bool {
        self.windows.get(&key).is_none_or(|kept| kept.window.opened() != opened)
    }

    /// Forgets stale openings of a bucket once they are the greater part. Windows of one span end
    /// in the order they opened and the sweep is enough; but one opened before its bucket's span
    /// was cut stays at the front for long, and keys behind it open anew again and again.
    fn forget_stale(&mut self, bucket: Bucket) {
        if self.openings[bucket.index()].len() <= 2 * self.capacity {
            return;
        }
        let mut openings = std::mem::take(&mut self.openings[bucket.index()]);
        let mut listed = HashSet::new();
        openings.retain(|(opened, key)| !self.is_stale(*opened, *key) && listed.insert(*key));
        self.openings[bucket.index()] = openings;
    }

    /// Drops up to a few ended windows of a bucket, oldest first. Stale openings go beside and are
    /// not counted, for a restored shard has none and must drop the same windows (SN-1).
    fn sweep(&mut self, bucket: Bucket, now: Timestamp) {
        let mut left = SWEPT_PER_OPENING;
        while let Some(&(opened, key)) = self.openings[bucket.index()].front() {
            let stale = self.is_stale(opened, key);
            if !stale && (left == 0 || !self.windows[&key].has_ended(now)) {
                return;
            }
            self.openings[bucket.index()].pop_front();
            if !stale {
                self.windows.remove(&key);
                left -= 1;
            }
        }
    }
}

impl Apply<ShardCounted> for RateShard {
    fn apply(&mut self, change: &ShardCounted) {
        let bucket = change.key.bucket;
        let Place::Own { evicted } = change.place else {
            self.overflow[bucket.index()].apply(&change.counted);
            return;
        };
        if let Some(key) = evicted {
            self.windows.remove(&key);
        }
        let opened_now = change.counted.used == 1;
        if opened_now {
            self.sweep(bucket, change.counted.opened);
            self.forget_stale(bucket);
            self.openings[bucket.index()].push_back((change.counted.opened, change.key.hash));
        }
        let kept = self.windows.entry(change.key.hash).or_insert_with(|| Kept {
            bucket,
            window: RateWindow::default(),
            per: change.per,
        });
        kept.window.apply(&change.counted);
        kept.per = change.per;
    }
}

/// The saved form: each bucket's windows in the order they opened, so that the openings can be made
/// again. Windows of one moment keep their order too: swept in another one, a shard put together
/// from this and a journal would drop what an eviction in the journal counts on (SN-2).
#[derive(Serialize, Deserialize)]
struct Saved {
    capacity: usize,
    windows: Vec<(u128, Kept)>,
    overflow: Vec<(Bucket, RateWindow)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_at: Option<Timestamp>,
}

impl Serialize for RateShard {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut listed = HashSet::new();
        let openings = self.openings.iter().flatten();
        let fresh = openings.filter(|(opened, key)| !self.is_stale(*opened, *key));
        let windows = fresh
            .filter(|(_, key)| listed.insert(*key))
            .map(|(_, key)| (*key, self.windows[key]))
            .collect();
        let overflow = Bucket::ALL.iter().copied().zip(self.overflow.iter().copied()).collect();
        let lost_at = self.lost_at;
        Saved { capacity: self.capacity, windows, overflow, lost_at }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for RateShard {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let saved = Saved::deserialize(from)?;
        let mut shard = Self { lost_at: saved.lost_at, ..Self::new(saved.capacity) };
        for (key, kept) in saved.windows {
            shard.openings[kept.bucket.index()].push_back((kept.window.opened(), key));
            shard.windows.insert(key, kept);
        }
        // A bucket added since the snapshot was written starts with a fresh overflow window.
        for (bucket, window) in saved.overflow {
            shard.overflow[bucket.index()] = window;
        }
        Ok(shard)
    }
}

#[cfg(test)]
mod tests;
