//! The shape every machine has: a verb decides, `apply` alone writes.
//!
//! A verb takes `&self` and `now` and returns a [`Decision`]: the answer, the change the machine
//! needs, and the records that must be written with it. Because a verb cannot write, a panic in one
//! leaves the machine as it was; because a change is a value, it can be journalled, replayed, and
//! compared with what a machine that never stopped would have done.

use serde::{Deserialize, Serialize};

/// What a verb decided.
#[must_use = "a decision changes nothing until its change is applied"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<A, C> {
    /// What the caller is told.
    pub answer: A,
    /// What the machine must become for the answer to be true; `None` if it already is.
    pub change: Option<C>,
    /// Records that must reach the disk together with the change.
    pub writes: Vec<RecordWrite>,
}

impl<A, C> Decision<A, C> {
    /// An answer that needs a change.
    pub fn new(answer: A, change: C) -> Self {
        Self { answer, change: Some(change), writes: Vec::new() }
    }

    /// An answer that changes nothing.
    pub fn unchanged(answer: A) -> Self {
        Self { answer, change: None, writes: Vec::new() }
    }

    /// The same decision with records to write beside it.
    pub fn writing(mut self, writes: Vec<RecordWrite>) -> Self {
        self.writes.extend(writes);
        self
    }

    /// The same decision with its answer translated.
    pub fn map<B>(self, translate: impl FnOnce(A) -> B) -> Decision<B, C> {
        Decision { answer: translate(self.answer), change: self.change, writes: self.writes }
    }

    /// The same decision with its change wrapped.
    pub fn wrap<D>(self, wrap: impl FnOnce(C) -> D) -> Decision<A, D> {
        Decision { answer: self.answer, change: self.change.map(wrap), writes: self.writes }
    }

    /// Applies the change to `machine` and hands out the answer: one whole turn, for tests and
    /// simulations, and for machines that live inside another.
    pub fn settle(self, machine: &mut impl Apply<C>) -> A {
        if let Some(change) = &self.change {
            machine.apply(change);
        }
        self.answer
    }
}

/// Writes a decided change into a machine. The only way one changes.
pub trait Apply<C> {
    /// Makes the change true. It must be total: what it is handed was decided by this machine, or
    /// by one of the same history.
    fn apply(&mut self, change: &C);
}

/// One key of one table to be put or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordWrite {
    /// Which table.
    pub table: Table,
    /// The key; keys of one table sort as bytes.
    pub key: Vec<u8>,
    /// The new value, or `None` to remove the key.
    pub value: Option<Vec<u8>>,
}

impl RecordWrite {
    /// Puts `value` as JSON under `key`.
    pub fn put(table: Table, key: impl Into<Vec<u8>>, value: &impl Serialize) -> Self {
        let value = serde_json::to_vec(value).expect("a record's type always encodes");
        Self { table, key: key.into(), value: Some(value) }
    }

    /// Removes `key`.
    pub fn remove(table: Table, key: impl Into<Vec<u8>>) -> Self {
        Self { table, key: key.into(), value: None }
    }
}

/// The tables of records: what grows with users and time and is read through the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Table {
    /// Finished claims: scope and key → when first seen, until when kept.
    Claims = 1,
    /// Accepted events: identifier (time first) → source, key, status, attempts.
    Events = 2,
    /// What an accepted event said, apart so that a change of status does not rewrite it.
    EventBodies = 3,
    /// Threads: identifier → owner, times, next message number.
    Threads = 4,
    /// Messages: thread and number → role, text, how it ended.
    Messages = 5,
    /// Evidence: owner and identifier → what a source said.
    Evidence = 6,
    /// Owners: who → how much they own.
    Owners = 7,
    /// What running answers have sent: answer and number → a run of parts.
    Answers = 8,
    /// Chat requests with a key of their caller: key → the stream they were answered with.
    ChatKeys = 9,
    /// Favorites: owner and identifier → what was kept.
    Favorites = 10,
    /// Packages: owner and identifier → what was put together.
    Packages = 11,
    /// Preferences: owner → how they want things.
    Preferences = 12,
    /// Threads by owner: owner, when founded, identifier → nothing; the thread's row has the rest.
    OwnedThreads = 13,
    /// Connected mailboxes: owner → address, sealed token, up to where it was read.
    Mailboxes = 14,
    /// Who has connected an address: address and owner → nothing.
    MailboxOwners = 15,
    /// Questions to connect a mailbox that are not answered yet, by owner.
    Askings = 16,
    /// WhatsApp: linking codes, links, hints, replies under way, statuses of our messages.
    Whatsapp = 20,
}

impl Table {
    /// Every table, in the order of their numbers on disk.
    pub const ALL: [Self; 17] = [
        Self::Claims,
        Self::Events,
        Self::EventBodies,
        Self::Threads,
        Self::Messages,
        Self::Evidence,
        Self::Owners,
        Self::Answers,
        Self::ChatKeys,
        Self::Favorites,
        Self::Packages,
        Self::Preferences,
        Self::OwnedThreads,
        Self::Mailboxes,
        Self::MailboxOwners,
        Self::Askings,
        Self::Whatsapp,
    ];
}

/// Reads records. What is asked through it is what the last finished commit left, or newer.
pub trait Records {
    /// The value under `key`.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError>;

    /// Up to `limit` entries whose key starts with `prefix`, in order of their keys.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read.
    fn scan(&self, table: Table, scan: Scan<'_>) -> Result<Vec<Entry>, ReadError>;
}

/// A key and what stands under it.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Which entries of a table a scan returns.
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    /// Only keys that start with this.
    pub prefix: &'a [u8],
    /// Only keys beyond this one in the scan's direction; the key itself is left out.
    pub beyond: Option<&'a [u8]>,
    /// From the smallest key up, or from the largest down.
    pub order: Order,
    /// At most this many entries.
    pub limit: usize,
}

/// The direction of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// The store could not be read.
#[derive(Debug, thiserror::Error)]
#[error("records cannot be read: {0}")]
pub struct ReadError(pub String);
