//! What the limiter refused of late: events, each counted once, and how many of which kind.
//!
//! Equal events (one caller refused again under the same limit for the same reason) count as one
//! for `same_for`. Rows are kept for `kept_for`, at most `rows_max` of them: beyond that the oldest
//! row of the kind that has most is folded into a count by the minute, so that a flood of one kind
//! never makes another look quiet, and no summary loses an event. What tells equal events apart is
//! bounded too: with `keys_max` callers refused within `same_for`, further ones are not recorded,
//! and counted as dropped.
//!
//! Durability: snapshotted, inside the monitor.
//!
//! # Invariants
//! - AL-2: an event counts once in a summary.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::{Bucket, ClientKey, names};
use crate::machine::{Apply, Decision};
use crate::rate_shard::ByHash;
use crate::timestamp::Timestamp;

names! {
    /// Who asked the limiter.
    EventSource {
        /// A route that counts addresses or signed senders.
        Http = "http",
        /// A route that counts the callers of chats.
        Chat = "chat",
        /// A function that counts its user, such as the one that makes linking codes.
        Function = "function",
    }
}

names! {
    /// Why a call was refused.
    EventOutcome {
        /// It was over the limit.
        Blocked = "blocked",
        /// The limiter gave no answer, and fails closed (log 1.1).
        ContentionFallback = "contention_fallback",
    }
}

/// Events that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Series {
    /// Who asked the limiter.
    pub source: EventSource,
    /// Which limit.
    pub bucket: Bucket,
    /// Why the call was refused.
    pub outcome: EventOutcome,
}

impl fmt::Display for Series {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}", self.source, self.bucket, self.outcome)
    }
}

/// One refusal, as it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Who asked the limiter.
    pub source: EventSource,
    /// Who was refused, by the hash that the limiter knows the caller by, and under which limit.
    pub key: ClientKey,
    /// Why.
    pub outcome: EventOutcome,
    /// What wait was named.
    pub retry_after: Duration,
    /// Which route, as the table of routes has it.
    pub path: String,
    /// Which method.
    pub method: String,
}

impl Refused {
    /// With what it is counted.
    pub fn series(&self) -> Series {
        Series { source: self.source, bucket: self.key.bucket, outcome: self.outcome }
    }

    /// Two events with the same are equal.
    pub fn sameness(&self) -> u128 {
        // The hash covers the bucket; what is left are a handful of kinds.
        let kind = self.source.index() * EventOutcome::ALL.len() + self.outcome.index();
        self.key.hash.wrapping_add(kind as u128 + 1)
    }
}

/// A kept event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub refused: Refused,
    /// When.
    pub created: Timestamp,
    /// Until when it is kept.
    pub ends: Timestamp,
}

/// How long events count as one, and how many are kept for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRules {
    /// For how long an equal event is the same one.
    pub same_for: Duration,
    /// How long events are kept.
    pub kept_for: Duration,
    /// Rows at most.
    pub rows_max: usize,
    /// Callers at most that are told apart at once.
    pub keys_max: usize,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is kept and counted.
    Kept,
    /// It is one that was recorded a moment ago.
    Same,
    /// Too many callers are told apart already: it is neither kept nor counted.
    Dropped,
}

/// The events of the last day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Oldest first.
    rows: VecDeque<Event>,
    /// Until when an event that is equal to a recorded one is that one.
    same_until: ByHash<Timestamp>,
    /// Events whose rows made room, by the minute they were recorded in; oldest first.
    folded: VecDeque<Folded>,
    dropped: u64,
}

/// Events of one minute and kind that have no rows any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Folded {
    /// When the minute began.
    minute: Timestamp,
    /// Until when it is counted.
    ends: Timestamp,
    series: Series,
    events: u64,
}

const MINUTE: Duration = Duration::from_secs(60);

/// What a verb makes of the events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventChange {
    /// An event was recorded.
    Kept {
        /// The event.
        event: Event,
        /// Until when equal ones are the same.
        same_until: Timestamp,
        /// The kind whose oldest row makes room for it.
        folds: Option<Series>,
    },
    /// An event found no room.
    Dropped,
    /// What has ended by then is gone.
    Ended {
        /// By when.
        by: Timestamp,
    },
}

impl Events {
    /// Records one refusal.
    pub fn record(
        &self,
        now: Timestamp,
        rules: &EventRules,
        refused: Refused,
    ) -> Decision<Recorded, EventChange> {
        if self.same_until.get(&refused.sameness()).is_some_and(|until| now < *until) {
            return Decision::unchanged(Recorded::Same);
        }
        if self.same_until.len() >= rules.keys_max {
            return Decision::new(Recorded::Dropped, EventChange::Dropped);
        }
        let full = self.rows.len() >= rules.rows_max;
        let folds = full.then(|| self.fullest()).flatten();
        let event = Event { refused, created: now, ends: now.after(rules.kept_for) };
        let same_until = now.after(rules.same_for);
        Decision::new(Recorded::Kept, EventChange::Kept { event, same_until, folds })
    }

    /// Forgets what has ended.
    pub fn sweep(&self, now: Timestamp) -> Decision<(), EventChange> {
        let ended = self.rows.front().is_some_and(|event| event.ends <= now)
            || self.folded.front().is_some_and(|folded| folded.ends <= now)
            || self.same_until.values().any(|until| *until <= now);
        if ended {
            return Decision::new((), EventChange::Ended { by: now });
        }
        Decision::unchanged(())
    }

    /// How many events of each kind the last `window` has; kinds without any are left out. Events
    /// without rows are counted from the beginning of their minute.
    pub fn summary(&self, now: Timestamp, window: Duration) -> BTreeMap<Series, u64> {
        let from = now.before(window);
        let mut counts = BTreeMap::new();
        for event in self.rows.iter().rev().take_while(|event| event.created > from) {
            *counts.entry(event.refused.series()).or_default() += 1;
        }
        let within = |folded: &&Folded| folded.minute.after(MINUTE) > from;
        for folded in self.folded.iter().rev().take_while(within) {
            *counts.entry(folded.series).or_default() += folded.events;
        }
        counts
    }

    /// Every kept event, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Event> {
        self.rows.iter().rev()
    }

    /// Events that found no room, since the beginning.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Callers that are told apart now.
    pub fn keys(&self) -> usize {
        self.same_until.len()
    }

    /// The kind with most rows.
    fn fullest(&self) -> Option<Series> {
        let mut counts: BTreeMap<Series, usize> = BTreeMap::new();
        for event in &self.rows {
            *counts.entry(event.refused.series()).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, rows)| *rows).map(|(series, _)| series)
    }

    /// Counts the oldest row of a kind without keeping it.
    fn fold(&mut self, series: Series) {
        let oldest = self.rows.iter().position(|event| event.refused.series() == series);
        let Some(event) = oldest.and_then(|at| self.rows.remove(at)) else { return };
        let millis = event.created.as_millis();
        let minute = Timestamp::from_millis(millis - millis % 60_000);
        let same = |folded: &&mut Folded| folded.minute == minute && folded.series == series;
        if let Some(folded) = self.folded.iter_mut().rev().find(same) {
            folded.events += 1;
            folded.ends = folded.ends.max(event.ends);
            return;
        }
        // Kinds are folded each in its own order of time.
        let behind = self.folded.partition_point(|folded| folded.minute <= minute);
        self.folded.insert(behind, Folded { minute, ends: event.ends, series, events: 1 });
    }
}

impl Apply<EventChange> for Events {
    fn apply(&mut self, change: &EventChange) {
        match change {
            EventChange::Kept { event, same_until, folds } => {
                if let Some(series) = folds {
                    self.fold(*series);
                }
                self.same_until.insert(event.refused.sameness(), *same_until);
                self.rows.push_back(event.clone());
            }
            EventChange::Dropped => self.dropped += 1,
            EventChange::Ended { by } => {
                self.rows.retain(|event| event.ends > *by);
                self.folded.retain(|folded| folded.ends > *by);
                self.same_until.retain(|_, until| *until > *by);
            }
        }
    }
}
