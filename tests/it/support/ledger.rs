//! What a server that is dead has left on its disk: every accepted event, and every effect.
//!
//! Read from a copy, so that what heals the files after a kill is the server itself.

use std::collections::BTreeMap;
use std::path::Path;

use sendcat_state::job::EventRow;
use sendcat_state::machine::{Order, Scan, Table};
use sendcat_state::store::Store as _;
use sendcat_state::store::sled::SledStore;
use serde_json::Value;
use tempfile::TempDir;

/// See the module.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Rows of events, oldest first.
    pub(crate) events: Vec<EventRow>,
    /// What events have led to, by the identifier of the event: as it lies there.
    pub(crate) effects: BTreeMap<String, Vec<u8>>,
}

impl Ledger {
    /// Of a server whose process has ended.
    pub(crate) fn of(data: &Path) -> Self {
        let copy = TempDir::new().unwrap();
        copy_all(&data.join("state"), copy.path());
        let store = SledStore::open(copy.path()).expect("what it left can be opened");
        let all = |table| {
            let scan =
                Scan { prefix: &[], beyond: None, order: Order::Ascending, limit: usize::MAX };
            store.reader().scan(table, scan).expect("what it left can be read")
        };
        let events = all(Table::Events).into_iter();
        let events = events.map(|(_, row)| serde_json::from_slice(&row).expect("a row is whole"));
        let effects = all(Table::Evidence).into_iter().map(|(key, effect)| {
            let id = key.split(|byte| *byte == 0).next().expect("there is a first").len() + 1;
            (hex::encode(&key[id..]), effect)
        });
        Self { events: events.collect(), effects: effects.collect() }
    }

    /// Which event an effect is of, by its key.
    pub(crate) fn effects_by_key(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for effect in self.effects.values() {
            let effect: Value = serde_json::from_slice(effect).expect("an effect is whole");
            let key = effect["key"].as_str().expect("an effect names its event").to_owned();
            *counts.entry(key).or_default() += 1;
        }
        counts
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("the state is there") {
        let entry = entry.expect("the state can be listed");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&to).expect("there is room");
            copy_all(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("there is room");
        }
    }
}
