//! What of the inbox goes when: page by page, until nothing more goes.

use std::time::Duration;

use sendcat_state::idempotency::ClaimRow;
use sendcat_state::job::{EventRow, EventStatus, write_body};
use sendcat_state::key::{IdempotencyKey, InboxSource, TimedId};
use sendcat_state::machine::{Order, ReadError, RecordWrite, Records, Scan, Table};
use sendcat_state::retention::{PAGE, Swept, count_dead, sweep_claims, sweep_events};
use sendcat_state::store::memory::{MemoryDisk, MemoryStore};
use sendcat_state::store::{Commit, Store};

use crate::properties::at;

const KEPT: Duration = Duration::from_millis(100);

fn put(store: &mut MemoryStore, writes: Vec<RecordWrite>) {
    store.apply(&[Commit { change: None, writes }]).expect("memory works");
}

fn event(number: u64, status: EventStatus, done: Option<u64>) -> [RecordWrite; 2] {
    let id = TimedId::new(at(number), number);
    let row = EventRow {
        id,
        source: InboxSource::Whatsapp,
        key: format!("k{number}"),
        status,
        attempts: 1,
        accepted_at: at(number),
        done_at: done.map(at),
        error: None,
    };
    [row.write(), write_body(id, b"{}")]
}

fn left(store: &MemoryStore, table: Table) -> usize {
    let scan = Scan { prefix: &[], beyond: None, order: Order::Ascending, limit: usize::MAX };
    store.reader().scan(table, scan).expect("readable").len()
}

/// Runs every page; what all of them came to.
fn all_pages(
    store: &mut MemoryStore,
    mut page: impl FnMut(
        &dyn Records,
        Option<&[u8]>,
        &Swept,
    ) -> Result<(Swept, Vec<RecordWrite>), ReadError>,
) -> Swept {
    let mut all = Swept::default();
    loop {
        let from = all.next.clone();
        let (swept, writes) = page(&*store.reader(), from.as_deref(), &all).expect("readable");
        put(store, writes);
        all.done += swept.done;
        all.dead += swept.dead;
        all.claims += swept.claims;
        all.next = swept.next;
        if all.next.is_none() {
            return all;
        }
    }
}

#[test]
fn done_events_go_with_their_time_and_the_oldest_dead_ones_when_there_are_too_many() {
    let mut store = MemoryStore::open(&MemoryDisk::default());
    let many = PAGE as u64 + 50;
    for number in 0..many {
        put(&mut store, event(number, EventStatus::Dead, Some(number)).to_vec());
    }
    put(&mut store, event(many, EventStatus::Done, Some(900)).to_vec());
    put(&mut store, event(many + 1, EventStatus::Done, Some(901)).to_vec());
    put(&mut store, event(many + 2, EventStatus::Pending, None).to_vec());
    let (first, next) = count_dead(&*store.reader(), None).unwrap();
    let (second, end) = count_dead(&*store.reader(), next.as_deref()).unwrap();
    assert_eq!((first + second, end), (PAGE + 50, None));
    let too_many = PAGE + 20;
    let swept = all_pages(&mut store, |records, from, so_far| {
        sweep_events(records, at(1000), from, (KEPT, too_many - so_far.dead))
    });
    assert_eq!(swept, Swept { done: 1, dead: too_many, ..Swept::default() });
    assert_eq!(left(&store, Table::Events), 30 + 2);
    assert_eq!(left(&store, Table::EventBodies), 30 + 2);
    let first_left = TimedId::new(at(too_many as u64), too_many as u64).to_bytes();
    assert!(store.reader().get(Table::Events, &first_left).unwrap().is_some());
    let again =
        all_pages(&mut store, |records, from, _| sweep_events(records, at(1000), from, (KEPT, 0)));
    assert_eq!(again, Swept::default());
}

#[test]
fn claims_go_when_they_are_known_long_enough() {
    let mut store = MemoryStore::open(&MemoryDisk::default());
    for number in 0..PAGE as u64 * 2 {
        let key = IdempotencyKey::whatsapp_message(&format!("m{number}"));
        put(&mut store, vec![ClaimRow::write(&key, at(0), at(number))]);
    }
    let swept = all_pages(&mut store, |records, from, _| sweep_claims(records, at(9), from));
    assert_eq!(swept, Swept { claims: 10, ..Swept::default() });
    assert_eq!(left(&store, Table::Claims), PAGE * 2 - 10);
}
