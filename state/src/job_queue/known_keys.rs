//! Which events the queue has taken of late: those in it, and those that ended within a minute.
//!
//! Claims and rows recognise a delivery that comes again; this closes the gap that they leave while
//! an accept has timed out and may still be written: the queue is the one writer of its jobs, so it
//! takes an event once whatever its callers believe.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::job::{JobKind, NewJob};
use crate::key::hash_of;
use crate::timestamp::Timestamp;

/// How long an event that ended is still known: longer than any accept can be under way.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// Ended events that are known at most.
const MOST_ENDED: usize = 100_000;

/// The keys of accepted events that must not be taken again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownKeys {
    /// How many live or lately ended jobs have this key.
    counts: BTreeMap<u128, u32>,
    ended: VecDeque<(Timestamp, u128)>,
}

impl KnownKeys {
    /// Whether an event of this key was taken of late. Tools are asked again and again.
    pub(super) fn knows(&self, job: &NewJob) -> bool {
        key_of(job.kind, &job.key).is_some_and(|key| self.counts.contains_key(&key))
    }

    /// An event came in.
    pub(super) fn begin(&mut self, kind: JobKind, key: &str) {
        if let Some(key) = key_of(kind, key) {
            *self.counts.entry(key).or_default() += 1;
        }
    }

    /// An event ended; it is known for a while longer.
    pub(super) fn end(&mut self, at: Timestamp, kind: JobKind, key: &str) {
        if let Some(key) = key_of(kind, key) {
            self.ended.push_back((at, key));
        }
        while let Some((ended, key)) = self.ended.front().copied() {
            if self.ended.len() <= MOST_ENDED && at < ended.after(KNOWN_FOR) {
                return;
            }
            self.ended.pop_front();
            self.forget_one(key);
        }
    }

    fn forget_one(&mut self, key: u128) {
        if let Some(count) = self.counts.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&key);
            }
        }
    }
}

fn key_of(kind: JobKind, key: &str) -> Option<u128> {
    match kind {
        JobKind::Inbox(source) => Some(hash_of(&["event", source.as_str(), key])),
        JobKind::Tool(_) => None,
    }
}
