//! What of an answer outlives its process: parts are found again in order, keys for a day.

use sendcat_state::key::{IdempotencyKey, TimedId};
use sendcat_state::machine::{Order, RecordWrite, Scan, Table};
use sendcat_state::saved_answers::{
    CutAnswer, KeptStream, KeyedBody, SentParts, forget, keep_stream, kept_stream, left_over, note,
};
use sendcat_state::store::memory::{MemoryDisk, MemoryStore};
use sendcat_state::store::{Commit, Store};

use crate::properties::at;

fn store() -> MemoryStore {
    MemoryStore::open(&MemoryDisk::default())
}

fn commit(store: &mut MemoryStore, writes: Vec<RecordWrite>) {
    store.apply(&[Commit { change: None, writes }]).expect("memory works");
}

fn id(number: u64) -> TimedId {
    TimedId::new(at(number), number)
}

fn sent(thread_id: &str, parts: &[&str]) -> SentParts {
    SentParts {
        owner: "ann".into(),
        thread_id: thread_id.into(),
        asked: Some(KeyedBody { key: key("k"), digest: "d".into() }),
        parts: parts.iter().map(|part| (*part).to_owned()).collect(),
    }
}

fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey::chat("ann", name)
}

fn rows(store: &MemoryStore, table: Table) -> usize {
    let all = Scan { prefix: &[], beyond: None, order: Order::Ascending, limit: usize::MAX };
    store.reader().scan(table, all).expect("readable").len()
}

#[test]
fn what_was_noted_is_found_again_in_order_and_gone_once_forgotten() {
    let mut store = store();
    let runs = (0..300_u32).map(|run| note(id(2), run, &sent("t", &[&format!("{run},")])));
    commit(&mut store, runs.collect());
    commit(&mut store, vec![note(id(1), 0, &sent("u", &["a", "b"]))]);
    let all: Vec<String> = (0..300).map(|run| format!("{run},")).collect();
    let long: Vec<&str> = all.iter().map(String::as_str).collect();
    let expected = [
        CutAnswer { id: id(1), sent: sent("u", &["a", "b"]) },
        CutAnswer { id: id(2), sent: sent("t", &long) },
    ];
    assert_eq!(left_over(&*store.reader()).unwrap(), expected);
    let gone = forget(&*store.reader(), id(2)).unwrap();
    commit(&mut store, gone);
    assert_eq!(left_over(&*store.reader()).unwrap(), expected[..1]);
}

/// Keeps a stream from that time on for ten milliseconds.
fn keep(store: &mut MemoryStore, now: u64, name: &str) {
    let kept = KeptStream { digest: "d".into(), stream: name.into(), until: at(now + 10) };
    let writes = keep_stream(&*store.reader(), at(now), &key(name), &kept).expect("readable");
    commit(store, writes);
}

fn stream(store: &MemoryStore, now: u64, name: &str) -> Option<String> {
    let kept = kept_stream(&*store.reader(), at(now), &key(name)).expect("readable");
    kept.map(|kept| kept.stream)
}

#[test]
fn a_stream_is_known_by_its_key_until_its_end() {
    let mut store = store();
    keep(&mut store, 0, "a");
    assert_eq!(stream(&store, 9, "a").as_deref(), Some("a"));
    assert_eq!(stream(&store, 10, "a"), None);
    assert_eq!(stream(&store, 0, "b"), None);
}

#[test]
fn streams_that_are_known_no_longer_are_swept_by_later_ones_and_live_ones_are_not() {
    let mut store = store();
    (0..6).for_each(|number| keep(&mut store, 0, &format!("old-{number}")));
    keep(&mut store, 9, "live");
    // Used anew: its first end must not take the second stream along.
    keep(&mut store, 10, "old-0");
    assert_eq!(stream(&store, 19, "old-0").as_deref(), Some("old-0"));
    keep(&mut store, 11, "new");
    keep(&mut store, 12, "newer");
    assert_eq!(stream(&store, 12, "old-0").as_deref(), Some("old-0"));
    assert_eq!(stream(&store, 12, "live").as_deref(), Some("live"));
    // Four are left, with a row for the stream and one for its end.
    assert_eq!(rows(&store, Table::ChatKeys), 8);
}
