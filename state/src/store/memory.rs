//! A store in memory: for tests, and for the simulation of the whole tree.
//!
//! It keeps two pictures, what was applied and what was synced, so that a test can cut the power.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use super::{Commit, JournalRecord, Store, StoreError, decode_change, encode_change};
use crate::machine::{Entry, Order, ReadError, Records, Scan, Table};

/// Everything a store holds.
#[derive(Clone, Debug, Default)]
struct Picture {
    seq: u64,
    journal: BTreeMap<u64, Vec<u8>>,
    snapshots: BTreeMap<String, Vec<u8>>,
    records: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

/// What outlives the store: hand it to the next one, as a disk is handed to the next process.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    applied: Arc<RwLock<Picture>>,
    synced: Arc<RwLock<Picture>>,
}

impl MemoryDisk {
    /// Loses what was applied but not synced, as a power cut does.
    pub fn cut_power(&self) {
        let synced = self.synced.read().expect("no writer panics").clone();
        *self.applied.write().expect("no writer panics") = synced;
    }
}

/// The store on such a disk.
#[derive(Debug, Default)]
pub struct MemoryStore {
    disk: MemoryDisk,
}

impl MemoryStore {
    /// Opens what `disk` holds.
    pub fn open(disk: &MemoryDisk) -> Self {
        Self { disk: disk.clone() }
    }

    fn read<T>(&self, of: impl FnOnce(&Picture) -> T) -> T {
        of(&self.disk.applied.read().expect("no writer panics"))
    }

    fn write<T>(&self, of: impl FnOnce(&mut Picture) -> T) -> T {
        of(&mut self.disk.applied.write().expect("no writer panics"))
    }
}

impl Store for MemoryStore {
    fn apply(&mut self, commits: &[Commit]) -> Result<u64, StoreError> {
        for commit in commits {
            let change = commit.change.as_ref().map(encode_change).transpose()?;
            self.write(|picture| {
                if let Some(change) = change {
                    picture.seq += 1;
                    picture.journal.insert(picture.seq, change);
                }
                for write in &commit.writes {
                    let key = (write.table, write.key.clone());
                    match &write.value {
                        Some(value) => picture.records.insert(key, value.clone()),
                        None => picture.records.remove(&key),
                    };
                }
            });
        }
        Ok(self.last_seq())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let applied = self.read(Picture::clone);
        *self.disk.synced.write().expect("no writer panics") = applied;
        Ok(())
    }

    fn last_seq(&self) -> u64 {
        self.read(|picture| picture.seq)
    }

    fn journal_after(&self, after: u64) -> Result<Vec<JournalRecord>, StoreError> {
        let beyond = after.saturating_add(1);
        self.read(|picture| {
            picture
                .journal
                .range(beyond..)
                .map(|(seq, stored)| decode_change(*seq, stored))
                .collect()
        })
    }

    fn cut_journal(&mut self, upto: u64) -> Result<(), StoreError> {
        self.write(|picture| picture.journal.retain(|seq, _| *seq > upto));
        Ok(())
    }

    fn put_snapshot(&mut self, name: &str, sealed: &[u8]) -> Result<(), StoreError> {
        self.write(|picture| picture.snapshots.insert(name.into(), sealed.into()));
        Ok(())
    }

    fn snapshot(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read(|picture| picture.snapshots.get(name).cloned()))
    }

    fn reader(&self) -> Arc<dyn Records + Send + Sync> {
        Arc::new(MemoryReader { applied: Arc::clone(&self.disk.applied) })
    }

    fn size_on_disk(&self) -> u64 {
        0
    }
}

struct MemoryReader {
    applied: Arc<RwLock<Picture>>,
}

impl Records for MemoryReader {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let picture = self.applied.read().expect("no writer panics");
        Ok(picture.records.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, scan: Scan<'_>) -> Result<Vec<Entry>, ReadError> {
        let picture = self.applied.read().expect("no writer panics");
        let fits = |key: &[u8]| {
            let beyond = match (scan.beyond, scan.order) {
                (None, _) => true,
                (Some(beyond), Order::Ascending) => key > beyond,
                (Some(beyond), Order::Descending) => key < beyond,
            };
            beyond && key.starts_with(scan.prefix)
        };
        let all = picture.records.range((table, scan.prefix.to_vec())..);
        let mut found: Vec<_> = all
            .take_while(|((of, key), _)| *of == table && key.starts_with(scan.prefix))
            .filter(|((_, key), _)| fits(key))
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect();
        if scan.order == Order::Descending {
            found.reverse();
        }
        found.truncate(scan.limit);
        Ok(found)
    }
}
