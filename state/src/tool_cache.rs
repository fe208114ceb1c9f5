//! What tools found: results by question, in namespaces that operators can clear.
//!
//! An entry is served until its end and never after. Whoever finds none is given a [`Fill`], the
//! right to put one in: it says which clearing of the namespace it has seen, so a result that was
//! under way while the namespace was cleared does not come back by it. What is full makes room by
//! dropping what has ended, then what was written first.
//!
//! Durability: snapshotted. A result that is lost is fetched again.
//!
//! # Invariants
//! - TC-1: an expired entry is never served.
//! - TC-2: clearing a namespace hides all written before, and all that was asked for before.
//! - TC-3: bytes stay bounded.

mod key;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine::{Apply, Decision};
use crate::rate_shard::ByHash;
use crate::timestamp::Timestamp;
pub use key::{CacheKey, namespace};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheRules {
    /// Entries at most.
    pub entries_max: usize,
    /// Bytes of all entries at most, with what each costs besides its value.
    pub bytes_max: usize,
    /// Bytes of one value at most; a longer one is not kept.
    pub value_bytes_max: usize,
}

/// What an entry costs besides its value and its namespace.
const ENTRY_BYTES: usize = 96;

/// Clearings that are remembered one by one; those before them count for every namespace.
const CLEARED_MAX: usize = 64;

/// The right to put a result in, given to whoever found none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// How many clearings there had been.
    seen: u64,
}

/// What a look-up comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// This was found, and still holds.
    Hit(String),
    /// There is nothing; whoever fetches it may put it in with this.
    Miss(Fill),
}

/// What becomes of a result that is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is kept.
    Kept,
    /// Its namespace was cleared since it was asked for.
    Outdated,
    /// It is longer than a value may be.
    TooLong,
}

/// A result on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewResult {
    /// What was asked.
    pub key: CacheKey,
    /// What its look-up gave.
    pub fill: Fill,
    /// What was found.
    pub value: String,
    /// How long it holds.
    pub ttl: Duration,
}

/// The results of every tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCache {
    next: u64,
    /// By number, which is the order they were written in.
    entries: BTreeMap<u64, Entry>,
    /// The number of each key's entry.
    numbers: ByHash<u64>,
    bytes: usize,
    clears: u64,
    /// Which clearing was the last of each namespace.
    cleared: BTreeMap<String, u64>,
    /// The last clearing that is not remembered by its namespace.
    floor: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    key: CacheKey,
    value: String,
    written: Timestamp,
    ends: Timestamp,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.value.len() + self.key.namespace().len() + ENTRY_BYTES
    }
}

/// What a verb makes of the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheChange {
    /// A result came in, in the place of the one before.
    Put {
        /// What was asked.
        key: CacheKey,
        /// What was found.
        value: String,
        /// When.
        written: Timestamp,
        /// Until when it holds.
        ends: Timestamp,
        /// Entries that make room for it.
        dropped: Vec<u64>,
    },
    /// A namespace is empty, whatever is still under way to it.
    Cleared {
        /// Which.
        namespace: String,
    },
    /// Entries whose time had ended by then are gone.
    Expired {
        /// By when.
        by: Timestamp,
    },
}

/// What operators see of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespaceView {
    /// Entries that hold.
    pub entries: usize,
    /// What they cost.
    pub bytes: usize,
    /// When the oldest of them was written.
    pub oldest: Option<Timestamp>,
}

impl ToolCache {
    /// What is known about a question.
    pub fn get(&self, now: Timestamp, key: &CacheKey) -> Decision<Lookup, CacheChange> {
        let live = self.entry(key).filter(|entry| now < entry.ends);
        Decision::unchanged(match live {
            Some(entry) => Lookup::Hit(entry.value.clone()),
            None => Lookup::Miss(Fill { seen: self.clears }),
        })
    }

    /// Puts a result in, in the place of the one before.
    pub fn put(
        &self,
        now: Timestamp,
        rules: &CacheRules,
        result: NewResult,
    ) -> Decision<Kept, CacheChange> {
        let NewResult { key, fill, value, ttl } = result;
        if fill.seen < self.last_clearing(key.namespace()) {
            return Decision::unchanged(Kept::Outdated);
        }
        let entry = Entry { key, value, written: now, ends: now.after(ttl) };
        let fits = entry.bytes() <= rules.bytes_max && rules.entries_max > 0;
        if entry.value.len() > rules.value_bytes_max || !fits {
            return Decision::unchanged(Kept::TooLong);
        }
        let dropped = self.making_room(now, rules, &entry);
        let Entry { key, value, written, ends } = entry;
        Decision::new(Kept::Kept, CacheChange::Put { key, value, written, ends, dropped })
    }

    /// Empties a namespace; how many entries held until now.
    pub fn clear(&self, now: Timestamp, namespace: &str) -> Decision<usize, CacheChange> {
        let held = self.view(now).get(namespace).map_or(0, |view| view.entries);
        Decision::new(held, CacheChange::Cleared { namespace: namespace.to_owned() })
    }

    /// Drops what has ended: it is not served any more, and costs room.
    pub fn sweep(&self, now: Timestamp) -> Decision<(), CacheChange> {
        if self.entries.values().any(|entry| entry.ends <= now) {
            return Decision::new((), CacheChange::Expired { by: now });
        }
        Decision::unchanged(())
    }

    /// What each namespace holds; those that hold nothing are left out.
    pub fn view(&self, now: Timestamp) -> BTreeMap<String, NamespaceView> {
        let mut namespaces: BTreeMap<String, NamespaceView> = BTreeMap::new();
        for entry in self.entries.values().filter(|entry| now < entry.ends) {
            let view = namespaces.entry(entry.key.namespace().to_owned()).or_default();
            view.entries += 1;
            view.bytes += entry.bytes();
            view.oldest.get_or_insert(entry.written);
        }
        namespaces
    }

    /// Entries, with those that have ended and were not swept yet.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What all entries cost.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets which namespaces were cleared: whoever was given a fill died with the process.
    pub fn forget_fills(&mut self) {
        self.cleared.clear();
        self.floor = self.clears;
    }

    fn entry(&self, key: &CacheKey) -> Option<&Entry> {
        self.entries.get(self.numbers.get(&key.hash())?)
    }

    fn last_clearing(&self, namespace: &str) -> u64 {
        self.cleared.get(namespace).copied().unwrap_or(self.floor)
    }

    /// Which entries must go for `new` to fit: what it replaces is not among them.
    fn making_room(&self, now: Timestamp, rules: &CacheRules, new: &Entry) -> Vec<u64> {
        let replaced = self.numbers.get(&new.key.hash()).copied();
        let freed = replaced.map_or(0, |number| self.entries[&number].bytes());
        let mut entries = self.entries.len() + 1 - usize::from(replaced.is_some());
        let mut bytes = self.bytes + new.bytes() - freed;
        let others = || self.entries.iter().filter(|(number, _)| Some(**number) != replaced);
        let ended = others().filter(|(_, entry)| entry.ends <= now);
        let live = others().filter(|(_, entry)| now < entry.ends);
        let mut dropped = Vec::new();
        for (number, entry) in ended.chain(live) {
            if entries <= rules.entries_max && bytes <= rules.bytes_max {
                break;
            }
            entries -= 1;
            bytes -= entry.bytes();
            dropped.push(*number);
        }
        dropped
    }

    fn drop_entry(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else { return };
        self.numbers.remove(&entry.key.hash());
        self.bytes = self.bytes.saturating_sub(entry.bytes());
    }

    fn drop_all(&mut self, gone: impl Fn(&Entry) -> bool) {
        let gone = self.entries.iter().filter(|(_, entry)| gone(entry));
        let gone: BTreeSet<u64> = gone.map(|(number, _)| *number).collect();
        for number in gone {
            self.drop_entry(number);
        }
    }
}

impl Apply<CacheChange> for ToolCache {
    fn apply(&mut self, change: &CacheChange) {
        match change {
            CacheChange::Put { key, value, written, ends, dropped } => {
                let replaced = self.numbers.get(&key.hash()).copied();
                for number in dropped.iter().copied().chain(replaced) {
                    self.drop_entry(number);
                }
                let (key, value) = (key.clone(), value.clone());
                let entry = Entry { key, value, written: *written, ends: *ends };
                self.bytes += entry.bytes();
                self.numbers.insert(entry.key.hash(), self.next);
                self.entries.insert(self.next, entry);
                self.next += 1;
            }
            CacheChange::Cleared { namespace } => {
                self.clears += 1;
                self.cleared.insert(namespace.clone(), self.clears);
                if self.cleared.len() > CLEARED_MAX {
                    let oldest = self.cleared.iter().min_by_key(|(_, clearing)| **clearing);
                    if let Some((name, clearing)) = oldest.map(|(name, at)| (name.clone(), *at)) {
                        self.cleared.remove(&name);
                        self.floor = self.floor.max(clearing);
                    }
                }
                self.drop_all(|entry| entry.key.namespace() == namespace);
            }
            CacheChange::Expired { by } => self.drop_all(|entry| entry.ends <= *by),
        }
    }
}

#[cfg(test)]
mod tests;
