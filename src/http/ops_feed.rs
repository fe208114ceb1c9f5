//! What `GET /ops/stream` tells, made once a second for all its readers.
//!
//! There is no task behind it: the first reader who finds the last snapshot a second old takes the
//! next one, and the others are handed the same bytes. Nobody reads, nothing is made.
//!
//! # Always
//! - A delta has every top-level section that differs from the snapshot before, whole; so a reader
//!   who has every delta since a snapshot has the snapshot of now.
//! - A reader who was away for longer than deltas are kept is told everything anew.
//! - Of [`OPS_STREAMS_MAX`](fixed::OPS_STREAMS_MAX) slots each reader holds one, until dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sendcat_state::timestamp::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use crate::config::fixed;
use crate::contract::ops;

/// Deltas that are kept for readers who come late.
const DELTAS_KEPT: usize = 8;

/// A snapshot by its sections.
pub(super) type Sections = Map<String, Value>;

/// See the module.
pub struct OpsFeed {
    /// When the process began.
    pub(super) started: Timestamp,
    readers: Arc<AtomicUsize>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// The number of the newest snapshot; 0 if there is none.
    number: u64,
    at: Option<Timestamp>,
    sections: Sections,
    deltas: VecDeque<(u64, Bytes)>,
}

/// A reader's place among those there may be; dropping it gives it back.
pub(super) struct Slot(Arc<AtomicUsize>);

/// What a reader is told, and up to which number that is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) number: u64,
    pub(super) bytes: Bytes,
}

impl OpsFeed {
    /// Of a process that began then.
    pub fn since(started: Timestamp) -> Self {
        Self { started, readers: Arc::default(), told: Mutex::default() }
    }

    /// A place for a reader; `None` if all are taken.
    pub(super) fn slot(&self) -> Option<Slot> {
        let more = |taken: usize| (taken < fixed::OPS_STREAMS_MAX).then_some(taken + 1);
        let taken = self.readers.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.is_ok().then(|| Slot(Arc::clone(&self.readers)))
    }

    /// What a reader has to be told who knows everything up to a number, or nothing yet: `None` if
    /// there is nothing new. If it is time for a snapshot, `take` takes it.
    pub(super) async fn after(
        &self,
        known: Option<u64>,
        now: Timestamp,
        take: impl AsyncFnOnce() -> Sections,
    ) -> Option<News> {
        // Held while one reader takes the snapshot that the others wait for. Whoever goes away in
        // the middle of it, or panics, has changed nothing.
        let mut told = self.told.lock().await;
        if told.at.is_none_or(|at| now.since(at) >= fixed::OPS_STREAM_EVERY) {
            told.renew(now, take().await);
        }
        told.after(known)
    }

    /// How long until the next snapshot is due.
    pub(super) async fn due_in(&self, now: Timestamp) -> Duration {
        let told = self.told.lock().await;
        told.at.map_or(Duration::ZERO, |at| now.until(at.after(fixed::OPS_STREAM_EVERY)))
    }
}

impl Told {
    fn renew(&mut self, now: Timestamp, sections: Sections) {
        let is_new =
            |(name, section): &(&String, &Value)| self.sections.get(*name) != Some(section);
        let delta: Vec<_> = sections.iter().filter(is_new).collect();
        let number = self.number + 1;
        let delta: Sections =
            delta.into_iter().map(|(name, section)| (name.clone(), section.clone())).collect();
        if self.deltas.len() == DELTAS_KEPT {
            self.deltas.pop_front();
        }
        self.deltas.push_back((number, event(Some(number), ops::DELTA_EVENT, &delta)));
        (self.number, self.at, self.sections) = (number, Some(now), sections);
    }

    fn after(&self, known: Option<u64>) -> Option<News> {
        let number = self.number;
        if known == Some(number) {
            return None;
        }
        let oldest = self.deltas.front().map_or(number, |(oldest, _)| *oldest);
        let follows = known.filter(|known| known + 1 >= oldest);
        let bytes = match follows {
            None => event(Some(number), ops::SNAPSHOT_EVENT, &self.sections),
            Some(known) => {
                let missed = self.deltas.iter().filter(|(number, _)| *number > known);
                let bytes = missed.flat_map(|(_, delta)| delta.iter().copied());
                bytes.collect::<BytesMut>().freeze()
            }
        };
        Some(News { number, bytes })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A server-sent event.
pub(super) fn event(id: Option<u64>, name: &str, data: &impl Serialize) -> Bytes {
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    // What cannot be written as JSON does not stand in these types.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("{id}event: {name}\ndata: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use serde_json::json;

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn sections(value: Value) -> Sections {
        value.as_object().unwrap().clone()
    }

    fn text(news: Option<News>) -> (u64, String) {
        let News { number, bytes } = news.unwrap();
        (number, String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn unasked() -> Value {
        panic!("nobody has to take a snapshot")
    }

    /// What a reader is told, where nothing has to be waited for.
    fn after(
        feed: &OpsFeed,
        known: Option<u64>,
        now: Timestamp,
        take: impl FnOnce() -> Value,
    ) -> Option<News> {
        let told = feed.after(known, now, async || sections(take())).now_or_never();
        told.expect("nobody holds the feed")
    }

    fn due_in(feed: &OpsFeed, now: Timestamp) -> Duration {
        feed.due_in(now).now_or_never().expect("nobody holds the feed")
    }

    #[test]
    fn the_first_thing_told_is_everything_and_then_only_sections_that_changed() {
        let feed = OpsFeed::since(at(0));
        let first = after(&feed, None, at(5), || json!({"a": 1, "b": {"c": null}}));
        let whole = "id: 1\nevent: snapshot\ndata: {\"a\":1,\"b\":{\"c\":null}}\n\n";
        assert_eq!(text(first), (1, whole.to_owned()));
        assert_eq!(after(&feed, Some(1), at(1004), unasked), None);
        assert_eq!(due_in(&feed, at(1004)), Duration::from_millis(1));
        let second = after(&feed, Some(1), at(1005), || json!({"a": 2, "b": {"c": null}}));
        assert_eq!(text(second), (2, "id: 2\nevent: delta\ndata: {\"a\":2}\n\n".to_owned()));
    }

    #[test]
    fn one_snapshot_a_second_serves_all_readers() {
        let feed = OpsFeed::since(at(0));
        let first = after(&feed, None, at(0), || json!({"a": 1}));
        assert_eq!(after(&feed, None, at(999), unasked), first);
        let delta = after(&feed, Some(1), at(1000), || json!({"a": 2}));
        assert_eq!(after(&feed, Some(1), at(1500), unasked), delta);
        let late = text(after(&feed, None, at(1999), unasked));
        assert_eq!(late, (2, "id: 2\nevent: snapshot\ndata: {\"a\":2}\n\n".to_owned()));
    }

    #[test]
    fn who_comes_late_is_told_every_delta_and_who_comes_too_late_everything() {
        let feed = OpsFeed::since(at(0));
        let count = DELTAS_KEPT as u64 + 2;
        for number in 1..=count {
            after(&feed, None, at(number * 1000), || json!({"a": number}));
        }
        let now = at(count * 1000);
        let (number, late) = text(after(&feed, Some(2), now, unasked));
        assert_eq!(number, count);
        let told: Vec<_> = late.lines().filter(|line| line.starts_with("data")).collect();
        let every: Vec<_> = (3..=count).map(|n| format!("data: {{\"a\":{n}}}")).collect();
        assert_eq!(told, every);
        let (_, too_late) = text(after(&feed, Some(1), now, unasked));
        assert_eq!(too_late, format!("id: {count}\nevent: snapshot\ndata: {{\"a\":{count}}}\n\n"));
    }

    #[test]
    fn a_slot_that_is_dropped_is_free_again() {
        let feed = OpsFeed::since(at(0));
        let mut slots: Vec<_> = std::iter::from_fn(|| feed.slot()).collect();
        assert_eq!(slots.len(), fixed::OPS_STREAMS_MAX);
        slots.pop();
        assert!(feed.slot().is_some());
    }
}
