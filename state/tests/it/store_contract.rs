//! What every store promises, tried on each of them: in memory, on disk, and one that could fail
//! but does not.
#![expect(clippy::unwrap_used, reason = "these are tests; a macro makes them so for each store")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sendcat_state::machine::{Order, RecordWrite, Records, Scan, Table};
use sendcat_state::store::memory::{MemoryDisk, MemoryStore};
use sendcat_state::store::sled::SledStore;
use sendcat_state::store::{Commit, JournalledChange, Store};
use tempfile::TempDir;

use crate::properties::cases;
use crate::store_readers::{beside, is_whole, telling};

/// What outlives a store, so that it can be opened again.
pub(crate) trait Disk {
    fn open(&self) -> Box<dyn Store>;

    /// Cases that a property may take: opening costs a file system something.
    fn cases(&self) -> u32;
}

impl Disk for MemoryDisk {
    fn open(&self) -> Box<dyn Store> {
        Box::new(MemoryStore::open(self))
    }

    fn cases(&self) -> u32 {
        200
    }
}

impl Disk for TempDir {
    fn open(&self) -> Box<dyn Store> {
        Box::new(SledStore::open(self.path()).expect("nobody else has it open"))
    }

    fn cases(&self) -> u32 {
        24
    }
}

#[cfg(feature = "testing")]
#[derive(Default)]
struct NoFaults(MemoryDisk);

#[cfg(feature = "testing")]
impl Disk for NoFaults {
    fn open(&self) -> Box<dyn Store> {
        use sendcat_state::store::faulty::{DiskFaults, FaultyStore};
        let faults = DiskFaults::default();
        Box::new(FaultyStore::new(MemoryStore::open(&self.0), &faults))
    }

    fn cases(&self) -> u32 {
        50
    }
}

/// Runs every promise on one kind of disk, a new one each.
macro_rules! contract {
    ($kind:ident, $new:expr => $($promise:ident,)+) => {
        mod $kind {
            $(#[test] fn $promise() { super::$promise(&|| Box::new($new)); })+
        }
    };
}

/// The promises, on every kind of disk.
macro_rules! on_every_disk {
    ($($promise:ident,)+) => {
        contract! {
            in_memory, sendcat_state::store::memory::MemoryDisk::default() => $($promise,)+
        }
        contract! { on_disk, tempfile::tempdir().expect("a directory") => $($promise,)+ }
        #[cfg(feature = "testing")]
        contract! { that_may_fail, crate::store_contract::NoFaults::default() => $($promise,)+ }
    };
}

on_every_disk! {
    commits_and_scans_agree_with_a_map,
    values_of_every_length_read_back,
    a_commit_may_name_a_key_twice_and_the_last_write_counts,
    journal_numbers_rise_and_are_never_used_twice,
    the_journal_is_read_from_any_number_on,
    a_snapshot_takes_the_place_of_the_one_before,
    no_reader_sees_a_torn_or_missing_value,
    no_reader_mistakes_a_value_put_again_for_the_one_before,
    a_reader_that_is_still_held_keeps_nobody_from_opening,
    a_change_that_is_not_json_is_refused_before_anything_is_written,
}

type NewDisk<'a> = &'a dyn Fn() -> Box<dyn Disk>;

pub(crate) fn put(table: Table, key: &[u8], value: &[u8]) -> RecordWrite {
    RecordWrite { table, key: key.to_vec(), value: Some(value.to_vec()) }
}

pub(crate) fn writes(writes: Vec<RecordWrite>) -> Commit {
    Commit { change: None, writes }
}

pub(crate) fn change(text: &str) -> Commit {
    let change = JournalledChange {
        machine: "job_queue".into(),
        incarnation: 3,
        change: serde_json::to_vec(text).expect("text encodes"),
    };
    Commit { change: Some(change), writes: Vec::new() }
}

const ALL: Scan<'static> =
    Scan { prefix: b"", beyond: None, order: Order::Ascending, limit: usize::MAX };

/// Keys in each other's way: empty, all zeros, all ones, one the beginning of another.
fn nasty_key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(vec![0x00_u8, 0x01, 0x7f, 0xfe, 0xff]);
    prop::collection::vec(byte, 0..4)
}

type Model = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

fn scanned(model: &Model, table: Table, scan: Scan<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found: Vec<_> = model
        .iter()
        .filter(|((of, key), _)| *of == table && key.starts_with(scan.prefix))
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect();
    if scan.order == Order::Descending {
        found.reverse();
    }
    let beyond = |key: &[u8]| match (scan.beyond, scan.order) {
        (None, _) => true,
        (Some(beyond), Order::Ascending) => key > beyond,
        (Some(beyond), Order::Descending) => key < beyond,
    };
    found.into_iter().filter(|(key, _)| beyond(key)).take(scan.limit).collect()
}

fn commits_and_scans_agree_with_a_map(new: NewDisk<'_>) {
    let table = || prop::sample::select(vec![Table::Events, Table::EventBodies]);
    let value =
        prop_oneof![Just(vec![]), Just(vec![7; 5]), Just(vec![8; 3993]), Just(vec![9; 9000])];
    let write = (table(), nasty_key(), prop::option::weighted(0.8, value))
        .prop_map(|(table, key, value)| RecordWrite { table, key, value });
    let commits = prop::collection::vec(prop::collection::vec(write, 1..6), 1..8);
    let order = prop::sample::select(vec![Order::Ascending, Order::Descending]);
    let scan = (nasty_key(), prop::option::of(nasty_key()), order, 0..5_usize, table());
    let scans = prop::collection::vec(scan, 8);
    let mut runner = TestRunner::new(cases(new().cases()));
    let outcome = runner.run(&(commits, scans), |(commits, scans)| {
        let disk = new();
        let mut store = disk.open();
        let mut model = Model::new();
        for write in commits.iter().flatten() {
            let key = (write.table, write.key.clone());
            match &write.value {
                Some(value) => model.insert(key, value.clone()),
                None => model.remove(&key),
            };
        }
        let commits: Vec<_> = commits.into_iter().map(writes).collect();
        prop_assert_eq!(store.apply(&commits), Ok(0), "no change, no journal record");
        let agree = |records: &dyn Records| {
            for (prefix, beyond, order, limit, table) in &scans {
                let limit = if *limit == 4 { usize::MAX } else { *limit };
                let scan = Scan { prefix, beyond: beyond.as_deref(), order: *order, limit };
                let found = records.scan(*table, scan).expect("readable");
                prop_assert_eq!(found, scanned(&model, *table, scan), "{:?}", scan);
                let key = (*table, prefix.clone());
                let one = records.get(*table, prefix).expect("readable");
                prop_assert_eq!(one, model.get(&key).cloned());
            }
            for table in Table::ALL {
                let found = records.scan(table, ALL).expect("readable");
                prop_assert_eq!(found, scanned(&model, table, ALL));
            }
            Ok(())
        };
        agree(&*store.reader())?;
        store.sync().expect("the disk works");
        drop(store);
        agree(&*disk.open().reader())
    });
    outcome.unwrap_or_else(|failed| panic!("{failed}"));
}

/// Around the lengths where a value is cut into pieces.
const LENGTHS: [usize; 13] =
    [0, 1, 3991, 3992, 3993, 4000, 4096, 7991, 7992, 7993, 8 * 1024, 300 * 1024, 2];

fn bytes(length: usize, salt: usize) -> Vec<u8> {
    (0..length).map(|place| u8::try_from((place * 7 + salt) % 251).expect("a byte")).collect()
}

fn values_of_every_length_read_back(new: NewDisk<'_>) {
    let disk = new();
    let mut store = disk.open();
    // Every length in the place of every other one, long to short and short to long.
    let order = LENGTHS.iter().chain(LENGTHS.iter().rev());
    for (round, length) in order.enumerate() {
        let value = bytes(*length, round);
        store.apply(&[writes(vec![put(Table::EventBodies, b"k", &value)])]).unwrap();
        store.put_snapshot("a machine", &value).unwrap();
        let text = "x".repeat(*length);
        let seq = store.apply(&[change(&text)]).unwrap();
        let reader = store.reader();
        assert_eq!(reader.get(Table::EventBodies, b"k").unwrap().as_ref(), Some(&value));
        let all = reader.scan(Table::EventBodies, ALL).unwrap();
        assert!(all == [(b"k".to_vec(), value.clone())], "{length} bytes in a scan");
        assert_eq!(store.snapshot("a machine").unwrap().as_ref(), Some(&value));
        let read = store.journal_after(seq - 1).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(Some(&read[0].change), change(&text).change.as_ref());
    }
    let last = bytes(LENGTHS[0], 2 * LENGTHS.len() - 1);
    store.sync().unwrap();
    drop(store);
    let store = disk.open();
    assert_eq!(store.reader().get(Table::EventBodies, b"k").unwrap(), Some(last.clone()));
    assert_eq!(store.snapshot("a machine").unwrap(), Some(last));
    assert_eq!(store.journal_after(0).unwrap().len(), 2 * LENGTHS.len());
}

fn a_commit_may_name_a_key_twice_and_the_last_write_counts(new: NewDisk<'_>) {
    let disk = new();
    let mut store = disk.open();
    let (long, short) = (bytes(20_000, 1), bytes(10, 2));
    let remove = || RecordWrite::remove(Table::Owners, b"k".as_slice());
    let put = |value: &[u8]| put(Table::Owners, b"k", value);
    let cases: [(Vec<RecordWrite>, Option<&Vec<u8>>); 5] = [
        (vec![put(&long), put(&short)], Some(&short)),
        (vec![put(&long), remove()], None),
        (vec![put(&short), put(&long)], Some(&long)),
        (vec![remove(), put(&short)], Some(&short)),
        (vec![put(&long), remove(), put(&long)], Some(&long)),
    ];
    for (writes_of_one, left) in cases {
        store.apply(&[writes(writes_of_one)]).unwrap();
        assert_eq!(store.reader().get(Table::Owners, b"k").unwrap().as_ref(), left);
    }
}

fn journal_numbers_rise_and_are_never_used_twice(new: NewDisk<'_>) {
    let disk = new();
    let mut used = Vec::new();
    let mut expected = 0;
    for round in 0..6 {
        let mut store = disk.open();
        assert_eq!(store.last_seq(), expected, "counting goes on after a restart");
        for _ in 0..3 {
            let seq = store.apply(&[change("a"), change("b")]).unwrap();
            used.extend([seq - 1, seq]);
        }
        expected = store.last_seq();
        match round % 3 {
            0 => store.cut_journal(expected).unwrap(),
            1 => store.cut_journal(u64::MAX).unwrap(),
            _ => store.cut_journal(expected - 2).unwrap(),
        }
        store.cut_journal(0).unwrap();
        assert_eq!(store.last_seq(), expected, "cutting does not turn the number back");
        store.sync().unwrap();
    }
    assert_eq!(used, (1..=36).collect::<Vec<u64>>());
}

fn the_journal_is_read_from_any_number_on(new: NewDisk<'_>) {
    let disk = new();
    let mut store = disk.open();
    assert_eq!(store.journal_after(0).unwrap(), []);
    // More than one step of cutting, some of them in pieces.
    let long = "y".repeat(5000);
    let texts: Vec<_> = (0..1300).map(|n| if n % 100 == 7 { long.as_str() } else { "z" }).collect();
    let commits: Vec<_> = texts.iter().map(|text| change(text)).collect();
    assert_eq!(store.apply(&commits), Ok(1300));
    let read = |store: &dyn Store, after| -> Vec<u64> {
        store.journal_after(after).unwrap().iter().map(|record| record.seq).collect()
    };
    assert_eq!(read(&*store, 0), (1..=1300).collect::<Vec<_>>());
    assert_eq!(read(&*store, 1298), [1299, 1300]);
    assert!(read(&*store, 1300).is_empty() && read(&*store, 5000).is_empty());
    store.cut_journal(1290).unwrap();
    assert_eq!(read(&*store, 0), (1291..=1300).collect::<Vec<_>>());
    store.sync().unwrap();
    drop(store);
    let store = disk.open();
    assert_eq!(read(&*store, 0), (1291..=1300).collect::<Vec<_>>());
    let seventh = &store.journal_after(1290).unwrap()[6];
    assert_eq!(Some(&seventh.change), change("z").change.as_ref());
}

fn a_snapshot_takes_the_place_of_the_one_before(new: NewDisk<'_>) {
    let disk = new();
    let mut store = disk.open();
    assert_eq!(store.snapshot("one").unwrap(), None);
    for length in [10_000, 3, 40_000] {
        store.put_snapshot("one", &bytes(length, 1)).unwrap();
        store.put_snapshot("one-0", &bytes(length, 2)).unwrap();
    }
    store.sync().unwrap();
    drop(store);
    let store = disk.open();
    assert_eq!(store.snapshot("one").unwrap(), Some(bytes(40_000, 1)));
    assert_eq!(store.snapshot("one-0").unwrap(), Some(bytes(40_000, 2)));
    assert_eq!(store.snapshot("on").unwrap(), None);
    assert_eq!(store.last_seq(), 0);
}

fn no_reader_sees_a_torn_or_missing_value(new: NewDisk<'_>) {
    let disk = new();
    let mut store = disk.open();
    let write = |store: &mut dyn Store, round| {
        let put = put(Table::Messages, b"k", &telling(round));
        store.apply(&[writes(vec![put])]).unwrap();
    };
    write(&mut *store, 0);
    beside(&mut *store, 200, write, |records| {
        let one = records.get(Table::Messages, b"k").expect("a value that is there is readable");
        assert!(is_whole(&one.expect("it is always there")), "torn");
        let all = records.scan(Table::Messages, ALL).expect("readable");
        assert_eq!(all.len(), 1, "it is always there");
        assert!(is_whole(&all[0].1), "torn in a scan");
    });
}

fn no_reader_mistakes_a_value_put_again_for_the_one_before(new: NewDisk<'_>) {
    let disk = new();
    let mut store = disk.open();
    let write = |store: &mut dyn Store, round: usize| {
        let remove = RecordWrite::remove(Table::Messages, b"k".as_slice());
        // Long ones only: a removed value and its successor have as many pieces.
        let put = put(Table::Messages, b"k", &telling(round * 4));
        store.apply(&[writes(vec![remove]), writes(vec![put])]).unwrap();
    };
    beside(&mut *store, 100, write, |records| {
        if let Some(value) = records.get(Table::Messages, b"k").expect("readable") {
            assert!(is_whole(&value), "pieces of two values");
        }
    });
}

fn a_reader_that_is_still_held_keeps_nobody_from_opening(new: NewDisk<'_>) {
    let disk = new();
    for round in 0..20_u8 {
        let mut store = disk.open();
        let reader = store.reader();
        store.apply(&[writes(vec![put(Table::Owners, &[round], b"v")])]).unwrap();
        store.sync().unwrap();
        drop(store);
        let again = disk.open();
        assert_eq!(again.reader().scan(Table::Owners, ALL).unwrap().len(), usize::from(round) + 1);
        // The old reader reads on or says that its store is closed; it does not make things up.
        if let Ok(found) = reader.get(Table::Owners, &[round]) {
            assert_eq!(found, Some(b"v".to_vec()));
        }
    }
}

fn a_change_that_is_not_json_is_refused_before_anything_is_written(new: NewDisk<'_>) {
    let disk = new();
    let mut store = disk.open();
    let mut broken = change("a");
    broken.change.as_mut().unwrap().change = b"{\"torn".to_vec();
    broken.writes = vec![put(Table::Owners, b"k", b"v")];
    assert!(store.apply(&[broken]).is_err());
    assert_eq!(store.reader().get(Table::Owners, b"k").unwrap(), None);
    drop(store);
    assert_eq!(disk.open().last_seq(), 0);
}
