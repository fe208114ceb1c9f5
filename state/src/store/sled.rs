//! A store on disk, by sled 0.34.
//!
//! Four facts of that engine shape this file. Its flush does not fsync on Linux, so `sync` also
//! syncs the data file itself. Values over 4 KiB grow pages that it moves into files which nothing
//! syncs, so longer values are kept in pieces (`pieces.rs`). A batch costs a write and a hop to a
//! thread of its own, for its guard closes the log's buffer before and after it, so what is applied
//! together is one batch. And a second open of the same files fails while any handle of the first
//! lives, so readers borrow the tree and never keep it.
//!
//! All of it is one tree, for only a batch on one tree is atomic. Keys begin with a letter:
//! `j` journal, `s` snapshot, `r` record (table number, key), `p` further piece of one of these.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use sled::{Batch, Tree};

use super::pieces::{Turnstile, put, remove, whole};
use super::seal::Seal;
use super::{Commit, JournalRecord, Store, StoreError, decode_change, encode_change};
use crate::machine::{Entry, Order, ReadError, Records, Scan, Table};

/// Memory for pages; a store larger than that is read from disk.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// How often the files are asked for before they count as in use, half a second in all.
const OPEN_ATTEMPTS: u32 = 50;

/// The pause between two such attempts.
const OPEN_PAUSE: Duration = Duration::from_millis(10);

/// Records that one step of cutting the journal removes.
const CUT_STEP: usize = 512;

/// A store in a directory.
pub struct SledStore {
    tree: Arc<RwLock<Option<Tree>>>,
    turnstile: Arc<Turnstile>,
    db: sled::Db,
    data_file: File,
    seq: u64,
    seal: Seal,
    damage: Option<String>,
}

impl SledStore {
    /// Opens the store in `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it open, [`StoreError::Corrupt`] if its files
    /// make no sense, [`StoreError::Io`] for all else.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let db = open_engine(directory)?;
        let tree = db.open_tree("sendcat").map_err(|error| opening(directory, error))?;
        let data_file = File::open(data_file_of(directory))
            .map_err(|error| StoreError::Io(format!("{}: {error}", directory.display())))?;
        let seq = last_seq_of(&tree)?;
        let (mut seal, sealed) = Seal::open(directory);
        let damage = sealed.filter(|sealed| *sealed > seq).map(|sealed| {
            format!("the journal ends at record {seq}, and had reached {sealed} on disk")
        });
        if damage.is_some() {
            seal.write(seq);
        }
        let tree = Arc::new(RwLock::new(Some(tree)));
        Ok(Self { tree, turnstile: Arc::default(), db, data_file, seq, seal, damage })
    }

    /// The same store, opened in the place of one that makes no sense.
    #[must_use]
    pub fn in_place_of(mut self, damaged: String) -> Self {
        self.damage = Some(damaged);
        self
    }

    fn with<T>(&self, work: impl FnOnce(&Tree) -> Result<T, sled::Error>) -> Result<T, StoreError> {
        let tree = self.tree.read().expect("no holder panics");
        let tree = tree.as_ref().ok_or_else(|| StoreError::Io("the store is closed".into()))?;
        work(tree).map_err(engine)
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // Readers hold the lock, not the tree: once this is gone the files can be opened again.
        *self.tree.write().expect("no holder panics") = None;
    }
}

impl Store for SledStore {
    // One batch for all: sled closes its buffer, writes it and starts another for each.
    fn apply(&mut self, commits: &[Commit]) -> Result<u64, StoreError> {
        let mut seq = self.seq;
        // A key named twice is written once, or the first write's pieces would stay.
        let mut last: BTreeMap<Vec<u8>, Option<Cow<'_, [u8]>>> = BTreeMap::new();
        for commit in commits {
            if let Some(change) = &commit.change {
                seq += 1;
                last.insert(journal_key(seq), Some(encode_change(change)?.into()));
            }
            for write in &commit.writes {
                let value = write.value.as_deref().map(Cow::Borrowed);
                last.insert(record_key(write.table, &write.key), value);
            }
        }
        self.with(|tree| {
            let mut batch = Batch::default();
            for (key, value) in &last {
                match value {
                    Some(value) => put(tree, &mut batch, key, value)?,
                    None => remove(tree, &mut batch, key)?,
                }
            }
            self.turnstile.apply(tree, batch)
        })?;
        self.seq = seq;
        Ok(seq)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.db.flush().map_err(engine)?;
        self.data_file.sync_data().map_err(|error| StoreError::Io(error.to_string()))?;
        self.seal.write(self.seq);
        Ok(())
    }

    fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    fn last_seq(&self) -> u64 {
        self.seq
    }

    fn journal_after(&self, after: u64) -> Result<Vec<JournalRecord>, StoreError> {
        let from = journal_key(after.saturating_add(1));
        let entries = self.with(|tree| {
            let within = tree.range(from..vec![b'k']);
            within
                .map(|entry| {
                    let (key, first) = entry?;
                    let value = whole(tree, &key, &first)?;
                    Ok((key, value))
                })
                .collect::<Result<Vec<_>, sled::Error>>()
        })?;
        entries
            .into_iter()
            .map(|(key, value)| {
                let seq = seq_of(&key)
                    .ok_or_else(|| StoreError::Corrupt("a journal key is not a number".into()))?;
                let torn = || StoreError::Corrupt(format!("journal record {seq} lacks a piece"));
                decode_change(seq, &value.ok_or_else(torn)?)
            })
            .collect()
    }

    fn cut_journal(&mut self, upto: u64) -> Result<(), StoreError> {
        loop {
            let gone = self.with(|tree| {
                // The newest record stays: its number is where counting goes on after a restart.
                let end = journal_key(upto.min(self.seq.saturating_sub(1)).saturating_add(1));
                let mut batch = Batch::default();
                let mut gone = 0;
                for entry in tree.range(journal_key(0)..end).keys().take(CUT_STEP) {
                    remove(tree, &mut batch, &entry?)?;
                    gone += 1;
                }
                self.turnstile.apply(tree, batch)?;
                Ok(gone)
            })?;
            if gone < CUT_STEP {
                return Ok(());
            }
        }
    }

    fn put_snapshot(&mut self, name: &str, sealed: &[u8]) -> Result<(), StoreError> {
        self.with(|tree| self.turnstile.put(tree, &snapshot_key(name), sealed))
    }

    fn snapshot(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = snapshot_key(name);
        self.with(|tree| self.turnstile.read(tree, &key))
    }

    fn reader(&self) -> Arc<dyn Records + Send + Sync> {
        let turnstile = Arc::clone(&self.turnstile);
        Arc::new(SledReader { tree: Arc::clone(&self.tree), turnstile })
    }

    fn size_on_disk(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }
}

/// Reads while the owner of the store writes.
struct SledReader {
    tree: Arc<RwLock<Option<Tree>>>,
    turnstile: Arc<Turnstile>,
}

impl SledReader {
    fn with<T>(&self, work: impl FnOnce(&Tree) -> Result<T, sled::Error>) -> Result<T, ReadError> {
        let tree = self.tree.read().expect("no holder panics");
        let tree = tree.as_ref().ok_or_else(|| ReadError("the store is closed".into()))?;
        work(tree).map_err(|error| ReadError(error.to_string()))
    }
}

impl Records for SledReader {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let key = record_key(table, key);
        self.with(|tree| self.turnstile.read(tree, &key))
    }

    fn scan(&self, table: Table, scan: Scan<'_>) -> Result<Vec<Entry>, ReadError> {
        let prefix = record_key(table, scan.prefix);
        let beyond = scan.beyond.map(|key| record_key(table, key));
        let stays = |key: &[u8]| match (&beyond, scan.order) {
            (None, _) => true,
            (Some(beyond), Order::Ascending) => key > beyond.as_slice(),
            (Some(beyond), Order::Descending) => key < beyond.as_slice(),
        };
        let wanted = |tree: &Tree, key: sled::IVec, first: sled::IVec| {
            let value = self.turnstile.read_met(tree, &key, &first)?;
            Ok::<_, sled::Error>(value.map(|value| (key[2..].to_vec(), value)))
        };
        let start = match (&beyond, scan.order) {
            (Some(beyond), Order::Ascending) if *beyond > prefix => beyond.clone(),
            (_, _) => prefix.clone(),
        };
        let end = match (&beyond, scan.order) {
            (Some(beyond), Order::Descending) => Some(beyond.clone()),
            (_, _) => successor(&prefix),
        };
        self.with(|tree| {
            let range = match end {
                Some(end) if end <= start => return Ok(Vec::new()),
                Some(end) => tree.range(start..end),
                None => tree.range(start..),
            };
            let mut found = Vec::new();
            let mut take = |entry: Result<(sled::IVec, sled::IVec), sled::Error>| {
                let (key, first) = entry?;
                if stays(&key) && key.starts_with(&prefix) {
                    found.extend(wanted(tree, key, first)?);
                }
                Ok::<_, sled::Error>(found.len() < scan.limit)
            };
            match scan.order {
                Order::Ascending => for_each_while(range, &mut take)?,
                Order::Descending => for_each_while(range.rev(), &mut take)?,
            }
            found.truncate(scan.limit);
            Ok(found)
        })
    }
}

fn for_each_while<T>(
    items: impl Iterator<Item = T>,
    take: &mut impl FnMut(T) -> Result<bool, sled::Error>,
) -> Result<(), sled::Error> {
    for item in items {
        if !take(item)? {
            break;
        }
    }
    Ok(())
}

/// Opens the files. A store dropped a moment ago may still hold them: a thread of the engine that
/// wrote its last buffer lets go after the call that waited for it has returned.
fn open_engine(directory: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(directory)
        .cache_capacity(CACHE_BYTES)
        .mode(sled::Mode::HighThroughput)
        .flush_every_ms(None);
    let mut attempts_left = OPEN_ATTEMPTS;
    loop {
        attempts_left -= 1;
        match config.open().map_err(|error| opening(directory, error)) {
            Err(StoreError::InUse(_)) if attempts_left > 0 => thread::sleep(OPEN_PAUSE),
            opened => return opened,
        }
    }
}

fn data_file_of(directory: &Path) -> PathBuf {
    directory.join("db")
}

fn journal_key(seq: u64) -> Vec<u8> {
    [b"j".as_slice(), &seq.to_be_bytes()].concat()
}

fn seq_of(journal_key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(journal_key.get(1..)?.try_into().ok()?))
}

fn snapshot_key(name: &str) -> Vec<u8> {
    [b"s".as_slice(), name.as_bytes()].concat()
}

fn record_key(table: Table, key: &[u8]) -> Vec<u8> {
    [[b'r', table as u8].as_slice(), key].concat()
}

/// The smallest key that is larger than every key with this prefix.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

fn last_seq_of(tree: &Tree) -> Result<u64, StoreError> {
    let last = tree.range(journal_key(0)..vec![b'k']).next_back().transpose().map_err(engine)?;
    Ok(last.and_then(|(key, _)| seq_of(&key)).unwrap_or(0))
}

fn engine(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => {
            StoreError::Corrupt(error.to_string())
        }
        sled::Error::Io(_) | sled::Error::Unsupported(_) | sled::Error::CollectionNotFound(_) => {
            StoreError::Io(error.to_string())
        }
    }
}

fn opening(directory: &Path, error: sled::Error) -> StoreError {
    let text = error.to_string();
    // sled wraps the lock's WouldBlock into an error of kind Other and leaves only its words.
    if text.contains("could not acquire lock") {
        return StoreError::InUse(directory.display().to_string());
    }
    engine(error)
}
