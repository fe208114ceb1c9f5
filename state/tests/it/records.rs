//! The rules of small records, against a list so plain that it needs no proof: each verb is run and
//! its rows committed, as the journal's thread does it.

use proptest::prelude::*;
use sendcat_state::machine::{Order, RecordWrite, Scan, Table};
use sendcat_state::records::{
    Collection, Kept, NewRecord, OwnerRow, Preferences, Record, RecordLimits, RecordRefusal, keep,
    page, preferences, remove, set_preferences,
};
use sendcat_state::store::memory::{MemoryDisk, MemoryStore};
use sendcat_state::store::{Commit, Store};
use serde_json::{Map, Value, json};

use crate::properties::{at, cases};

const LIMITS: RecordLimits = RecordLimits { records: 4, data_bytes: 64 };

/// Names of owners of which one begins another, also where a key might end its name.
const OWNERS: [&str; 4] = ["user:a", "user:ab", "user:a\0", "user:a\0t"];

fn data(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

/// A store, and the verbs on it at the time that the test says.
struct Shelf {
    store: MemoryStore,
    now: u64,
}

impl Shelf {
    fn new() -> Self {
        Self { store: MemoryStore::open(&MemoryDisk::default()), now: 1 }
    }

    fn commit(&mut self, writes: Vec<RecordWrite>) {
        self.store.apply(&[Commit { change: None, writes }]).expect("memory works");
    }

    fn keep(
        &mut self,
        of: Collection,
        owner: &str,
        id: &str,
        what: &Value,
    ) -> Result<Kept, String> {
        let new = NewRecord { owner: owner.into(), id: id.into(), data: data(what) };
        let kept = keep(&*self.store.reader(), at(self.now), of, LIMITS, new);
        let (kept, writes) = kept.map_err(|refusal| refusal.to_string())?;
        self.commit(writes);
        Ok(kept)
    }

    fn remove(&mut self, of: Collection, owner: &str, id: &str) -> Result<(), String> {
        let removed = remove(&*self.store.reader(), of, owner, id);
        let ((), writes) = removed.map_err(|refusal| refusal.to_string())?;
        self.commit(writes);
        Ok(())
    }

    /// Every record of an owner, read by pages of `limit`.
    fn all(&self, of: Collection, owner: &str, limit: usize) -> Vec<Record> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let read = page(&*self.store.reader(), of, owner, after.as_deref(), limit);
            let read = read.expect("readable");
            assert!(read.items.len() <= limit, "no page is longer than was asked");
            all.extend(read.items);
            after = read.next;
            if after.is_none() {
                return all;
            }
        }
    }

    fn owner(&self, owner: &str) -> OwnerRow {
        let row = self.store.reader().get(Table::Owners, owner.as_bytes()).expect("readable");
        row.map(|row| serde_json::from_slice(&row).expect("a row")).unwrap_or_default()
    }
}

/// What is done to a shelf.
#[derive(Clone, Debug)]
enum Step {
    Keep { of: usize, owner: usize, id: usize, bytes: usize },
    Remove { of: usize, owner: usize, id: usize },
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_usize, 0..4_usize, 0..6_usize, 0..80_usize)
            .prop_map(|(of, owner, id, bytes)| Step::Keep { of, owner, id, bytes }),
        2 => (0..3_usize, 0..4_usize, 0..6_usize)
            .prop_map(|(of, owner, id)| Step::Remove { of, owner, id }),
        2 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 1..80)
}

/// All records there are, as (collection, owner, record), in no order.
type Model = Vec<(Collection, &'static str, Record)>;

fn expected_of(model: &Model, of: Collection, owner: &str) -> Vec<Record> {
    let theirs = model.iter().filter(|(kind, whose, _)| *kind == of && *whose == owner);
    let mut theirs: Vec<_> = theirs.map(|(_, _, record)| record.clone()).collect();
    theirs.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    theirs
}

fn play(shelf: &mut Shelf, model: &mut Model, step: &Step) {
    let find = |model: &Model, of, owner, id: &str| {
        model.iter().position(|(a, b, record)| *a == of && *b == owner && record.id == id)
    };
    match *step {
        Step::Wait => shelf.now += 1,
        Step::Keep { of, owner, id, bytes } => {
            let (of, owner, id) = (Collection::ALL[of], OWNERS[owner], format!("r{id}"));
            let what = json!({"x": "y".repeat(bytes)});
            let (known, now) = (find(model, of, owner, &id), at(shelf.now));
            let full = expected_of(model, of, owner).len() >= 4;
            let expected = if what.to_string().len() > 64 {
                Err("the data is larger than 64 bytes".to_owned())
            } else if let Some(known) = known {
                model[known].2.updated_at = now;
                model[known].2.data = data(&what);
                Ok(Kept::Replaced(model[known].2.clone()))
            } else if full {
                Err(format!("there is no room for more {}", of.as_str()))
            } else {
                let id = id.clone();
                let record = Record { id, created_at: now, updated_at: now, data: data(&what) };
                model.push((of, owner, record.clone()));
                Ok(Kept::Made(record))
            };
            assert_eq!(shelf.keep(of, owner, &id, &what), expected);
        }
        Step::Remove { of, owner, id } => {
            let (of, owner, id) = (Collection::ALL[of], OWNERS[owner], format!("r{id}"));
            let known = find(model, of, owner, &id);
            let expected = match known {
                Some(known) => {
                    model.swap_remove(known);
                    Ok(())
                }
                None => Err("there is no such record".to_owned()),
            };
            assert_eq!(shelf.remove(of, owner, &id), expected);
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn records_are_kept_listed_and_removed_as_the_plain_list_says(
        steps in steps(), limit in 1..6_usize,
    ) {
        let (mut shelf, mut model) = (Shelf::new(), Model::new());
        for step in &steps {
            play(&mut shelf, &mut model, step);
        }
        for owner in OWNERS {
            let counted = shelf.owner(owner);
            for (of, count) in [
                (Collection::Favorites, counted.favorites),
                (Collection::Packages, counted.packages),
                (Collection::Evidence, counted.evidence),
            ] {
                let expected = expected_of(&model, of, owner);
                prop_assert_eq!(count, expected.len() as u64);
                prop_assert_eq!(shelf.all(of, owner, limit), expected);
            }
        }
        for (of, owner, record) in model {
            shelf.remove(of, owner, &record.id).expect("it was there");
        }
        for table in [Table::Favorites, Table::Packages, Table::Evidence] {
            let all = Scan {
                prefix: b"",
                beyond: None,
                order: Order::Ascending,
                limit: 1,
            };
            let left = shelf.store.reader().scan(table, all).expect("readable");
            prop_assert_eq!(left, vec![], "nothing is left behind of what was removed");
        }
    }

    #[test]
    fn whoever_turns_pages_sees_what_stays_exactly_once_whatever_comes_and_goes(
        before in steps(), between in prop::collection::vec(steps(), 1..6), limit in 1..4_usize,
    ) {
        let (mut shelf, mut model) = (Shelf::new(), Model::new());
        for step in &before {
            play(&mut shelf, &mut model, step);
        }
        // What is made from here on is newer than any page.
        shelf.now += 1;
        let (of, owner) = (Collection::Favorites, OWNERS[0]);
        let ids = |model: &Model| -> Vec<(u64, String)> {
            let all = expected_of(model, of, owner).into_iter();
            all.map(|record| (record.created_at.as_millis(), record.id)).collect()
        };
        let mut stays = ids(&model);
        let (mut seen, mut after) = (Vec::new(), None::<Vec<u8>>);
        let mut between = between.into_iter();
        loop {
            let read = page(&*shelf.store.reader(), of, owner, after.as_deref(), limit).unwrap();
            seen.extend(read.items.into_iter().map(|it| (it.created_at.as_millis(), it.id)));
            after = read.next;
            if after.is_none() {
                break;
            }
            for step in between.next().unwrap_or_default() {
                play(&mut shelf, &mut model, &step);
                let now = ids(&model);
                stays.retain(|id| now.contains(id));
            }
        }
        for id in &stays {
            prop_assert_eq!(seen.iter().filter(|each| *each == id).count(), 1, "{:?}", id);
        }
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), seen.len(), "nothing is seen twice");
    }
}

#[test]
fn a_row_of_a_later_version_is_read_and_its_new_members_are_passed_over() {
    let mut shelf = Shelf::new();
    shelf.keep(Collection::Packages, "user:a", "p", &json!({"a": 1})).unwrap();
    let prefix = [&[0, 6], b"user:a".as_slice(), b"rp"].concat();
    let row = json!({"createdAt": 1, "updatedAt": 2, "data": {"b": 2}, "pinned": true});
    let owner = json!({"packages": 1, "notes": 7});
    shelf.commit(vec![
        RecordWrite::put(Table::Packages, prefix, &row),
        RecordWrite::put(Table::Owners, b"user:a".as_slice(), &owner),
    ]);
    let expected = Record {
        id: "p".into(),
        created_at: at(1),
        updated_at: at(2),
        data: data(&json!({"b": 2})),
    };
    assert_eq!(shelf.all(Collection::Packages, "user:a", 9), [expected]);
    assert_eq!(shelf.owner("user:a"), OwnerRow { packages: 1, ..OwnerRow::default() });
    let later = json!({"updatedAt": 3, "data": {}, "theme": "dark"});
    shelf.commit(vec![RecordWrite::put(Table::Preferences, b"user:a".as_slice(), &later)]);
    let read = preferences(&*shelf.store.reader(), "user:a").unwrap();
    assert_eq!(read, Some(Preferences { updated_at: at(3), data: Map::new() }));
}

#[test]
fn preferences_are_one_set_an_owner_and_are_written_whole() {
    let mut shelf = Shelf::new();
    let of = |shelf: &Shelf, owner: &str| {
        preferences(&*shelf.store.reader(), owner).expect("readable").map(|it| it.data)
    };
    assert_eq!(of(&shelf, "ann"), None);
    for value in [json!({"a": 1, "b": 2}), json!({"b": 3})] {
        let (set, writes) = set_preferences(at(5), "ann", LIMITS, data(&value)).unwrap();
        assert_eq!(set, Preferences { updated_at: at(5), data: data(&value) });
        shelf.commit(writes);
        assert_eq!(of(&shelf, "ann"), Some(data(&value)));
    }
    assert_eq!(of(&shelf, "bob"), None);
    let large = data(&json!({"x": "y".repeat(64)}));
    let refused = set_preferences(at(6), "ann", LIMITS, large);
    assert!(matches!(refused, Err(RecordRefusal::TooLarge { limit_bytes: 64 })));
}

#[test]
fn a_place_that_nobody_gave_out_is_a_place_between_two() {
    let mut shelf = Shelf::new();
    for id in ["a", "b", "c"] {
        shelf.keep(Collection::Favorites, "ann", id, &json!({})).unwrap();
        shelf.now += 1;
    }
    let read = |after: &[u8]| {
        let read = page(&*shelf.store.reader(), Collection::Favorites, "ann", Some(after), 9);
        read.unwrap().items.into_iter().map(|record| record.id).collect::<Vec<_>>()
    };
    assert_eq!(read(&[0xff]), ["c", "b", "a"]);
    assert_eq!(read(&[0, 0, 0, 0, 0, 0, 0, 2, b'~']), ["b", "a"]);
    assert_eq!(read(b""), Vec::<String>::new());
}

#[test]
fn a_row_that_is_no_row_is_unreadable_and_nothing_is_written() {
    let mut shelf = Shelf::new();
    shelf.keep(Collection::Evidence, "ann", "e", &json!({})).unwrap();
    let key = [&[0, 3], b"ann".as_slice(), b"re"].concat();
    let torn = RecordWrite { table: Table::Evidence, key, value: Some(b"{\"cre".to_vec()) };
    shelf.commit(vec![torn]);
    let records = shelf.store.reader();
    let removed = remove(&*records, Collection::Evidence, "ann", "e");
    assert!(matches!(removed, Err(RecordRefusal::Unreadable(_))));
    let listed = page(&*records, Collection::Evidence, "ann", None, 9);
    assert!(matches!(listed, Err(RecordRefusal::Unreadable(_))));
}
