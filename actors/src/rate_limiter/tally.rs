//! How many calls each bucket let in and turned away, for whoever looks on.

use std::sync::atomic::{AtomicU64, Ordering};

use sendcat_state::key::Bucket;

/// What the limits of a bucket came to since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that were counted and let in.
    pub admitted: u64,
    /// Calls that a used-up window turned away.
    pub refused: u64,
    /// Calls that were turned away because their shard gave no answer.
    pub unanswered: u64,
}

/// One bucket's counters.
#[derive(Default)]
struct Counts([AtomicU64; 3]);

/// What came of a call under a limit.
#[derive(Clone, Copy)]
pub(super) enum Came {
    Admitted = 0,
    Refused = 1,
    Unanswered = 2,
}

/// Every bucket's counters.
pub(super) struct Tallies([Counts; Bucket::ALL.len()]);

impl Default for Tallies {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counts::default()))
    }
}

impl Tallies {
    pub(super) fn count(&self, bucket: Bucket, came: Came) {
        self.0[bucket.index()].0[came as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn of(&self, bucket: Bucket) -> Tally {
        let [admitted, refused, unanswered] =
            [0, 1, 2].map(|came| self.0[bucket.index()].0[came].load(Ordering::Relaxed));
        Tally { admitted, refused, unanswered }
    }
}
