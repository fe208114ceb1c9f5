//! Where state is kept: a journal of changes, the newest snapshot of each machine, and records.
//!
//! A [`Commit`] is one atomic step: a journal record and the records that belong to it. `apply`
//! makes commits visible, `sync` makes all that were applied durable: one flush and one fsync for
//! every caller that waited. After an error the store is dropped and opened anew by whoever owns
//! it, for an engine may answer one failed write for ever.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::machine::{RecordWrite, Records};

#[cfg(feature = "testing")]
pub mod faulty;
pub mod memory;
mod pieces;
mod seal;
pub mod sled;

/// One atomic step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// The change of a journalled machine, if one led to this step.
    pub change: Option<JournalledChange>,
    /// Records to put or remove with it.
    pub writes: Vec<RecordWrite>,
}

/// A change on its way into the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalledChange {
    /// The machine that decided it, by its actor's name.
    pub machine: String,
    /// The incarnation of the actor that decided it.
    pub incarnation: u64,
    /// The change, as JSON.
    pub change: Vec<u8>,
}

/// A record read back from the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRecord {
    /// Its number; numbers rise and are never used twice.
    pub seq: u64,
    /// What was journalled.
    pub change: JournalledChange,
}

/// The engine below: disk or memory.
pub trait Store: Send {
    /// Makes commits visible, in order; durable is what [`Store::sync`] has covered. Each commit is
    /// atomic. Returns the number of the last journal record.
    ///
    /// # Errors
    /// [`StoreError`]: what was applied is undecided; the store must be dropped.
    fn apply(&mut self, commits: &[Commit]) -> Result<u64, StoreError>;

    /// Makes all that was applied durable.
    ///
    /// # Errors
    /// [`StoreError`]: what was applied is undecided; the store must be dropped.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// What was found to be lost when the store was opened, in a sentence; `None` if nothing was.
    fn damage(&self) -> Option<&str> {
        None
    }

    /// The number of the last journal record; 0 if there was none.
    fn last_seq(&self) -> u64;

    /// The journal's records beyond number `after`, in order.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    fn journal_after(&self, after: u64) -> Result<Vec<JournalRecord>, StoreError>;

    /// Forgets the journal's records up to number `upto`, whose changes are in snapshots. The
    /// newest
    /// may stay, where counting goes on from it; numbers are never used twice.
    ///
    /// # Errors
    /// [`StoreError`]: the store must be dropped.
    fn cut_journal(&mut self, upto: u64) -> Result<(), StoreError>;

    /// Puts a snapshot in the place of the one before; durable after [`Store::sync`].
    ///
    /// # Errors
    /// [`StoreError`]: the store must be dropped.
    fn put_snapshot(&mut self, name: &str, sealed: &[u8]) -> Result<(), StoreError>;

    /// The newest snapshot of that name.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    fn snapshot(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// What reads records while the store's owner writes on.
    fn reader(&self) -> Arc<dyn Records + Send + Sync>;

    /// Bytes the store takes on disk; 0 if it takes none.
    fn size_on_disk(&self) -> u64;
}

/// Why the store did not do as it was told.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum StoreError {
    /// The disk or its file system refused; it may work again later.
    #[error("store cannot be used: {0}")]
    Io(String),
    /// What is on disk makes no sense.
    #[error("store is corrupt: {0}")]
    Corrupt(String),
    /// Another process has it open.
    #[error("store is in use by another process: {0}")]
    InUse(String),
}

/// The journal's record as it lies in the store.
#[derive(Serialize, Deserialize)]
struct StoredChange<'a> {
    machine: &'a str,
    incarnation: u64,
    #[serde(borrow)]
    change: &'a RawValue,
}

/// Encodes a change for the journal.
fn encode_change(change: &JournalledChange) -> Result<Vec<u8>, StoreError> {
    let raw = std::str::from_utf8(&change.change)
        .ok()
        .and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
    let raw = raw.ok_or_else(|| StoreError::Io("a change to be journalled is not JSON".into()))?;
    let stored =
        StoredChange { machine: &change.machine, incarnation: change.incarnation, change: raw };
    serde_json::to_vec(&stored).map_err(|error| StoreError::Io(error.to_string()))
}

/// Decodes a change from the journal.
fn decode_change(seq: u64, stored: &[u8]) -> Result<JournalRecord, StoreError> {
    let stored: StoredChange<'_> = serde_json::from_slice(stored)
        .map_err(|error| StoreError::Corrupt(format!("journal record {seq}: {error}")))?;
    let change = JournalledChange {
        machine: stored.machine.to_owned(),
        incarnation: stored.incarnation,
        change: stored.change.get().as_bytes().to_vec(),
    };
    Ok(JournalRecord { seq, change })
}
