//! Values longer than sled should be given, kept in pieces; and how they are read whole while
//! somebody writes.
//!
//! The first piece stands under the key itself and says how many follow. A batch puts all of them
//! at once, but a reader gets them one by one: a write that comes between is noticed by the count
//! of batches, and one read that is disturbed too often waits for the writer.
//!
//! A value that is there is always found, and never made of two.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sled::{Batch, Tree};

/// The longest piece of a value; sled keeps pages of such values out of its blob files.
const PIECE_BYTES: usize = 4000;

/// What stands before the first piece: how many follow, and which write made them.
const HEADER_BYTES: usize = 8;
/// How much of a value its first piece holds.
const FIRST_BYTES: usize = PIECE_BYTES - HEADER_BYTES;

/// Reads that may be disturbed by a writer before one asks it to wait.
const UNDISTURBED_ATTEMPTS: usize = 3;

/// Keeps those who read in pieces apart from the one who writes.
#[derive(Default)]
pub(super) struct Turnstile {
    /// Batches begun and batches ended: odd while one is being written.
    batches: AtomicU64,
    writing: Mutex<()>,
}

impl Turnstile {
    /// Writes a batch; whoever reads in pieces meanwhile reads again.
    pub(super) fn apply(&self, tree: &Tree, batch: Batch) -> Result<(), sled::Error> {
        let _writing = self.hold();
        self.batches.fetch_add(1, Ordering::SeqCst);
        let applied = tree.apply_batch(batch);
        self.batches.fetch_add(1, Ordering::SeqCst);
        applied
    }

    /// Puts one value. What is one piece, and was, needs no batch, which costs a write of its own.
    pub(super) fn put(&self, tree: &Tree, key: &[u8], value: &[u8]) -> Result<(), sled::Error> {
        let (stamp, pieces) = tree.get(key)?.as_deref().map_or((0, 0), header_of);
        if pieces == 0 && value.len() <= FIRST_BYTES {
            return tree.insert(key, first_piece(stamp.wrapping_add(1), 0, value)).map(drop);
        }
        let mut batch = Batch::default();
        put(tree, &mut batch, key, value)?;
        self.apply(tree, batch)
    }

    /// The whole value under `key`, as one write left it.
    pub(super) fn read(&self, tree: &Tree, key: &[u8]) -> Result<Option<Vec<u8>>, sled::Error> {
        for _ in 0..UNDISTURBED_ATTEMPTS {
            let before = self.batches.load(Ordering::SeqCst);
            let Some(first) = tree.get(key)? else { return Ok(None) };
            let value = whole(tree, key, &first)?;
            let is_one_piece = header_of(&first).1 == 0;
            let undisturbed =
                before.is_multiple_of(2) && self.batches.load(Ordering::SeqCst) == before;
            if is_one_piece || (undisturbed && value.is_some()) {
                return Ok(value);
            }
        }
        let _waiting_writer = self.hold();
        let Some(first) = tree.get(key)? else { return Ok(None) };
        let torn = || sled::Error::ReportableBug("a value lacks a piece".into());
        whole(tree, key, &first)?.map(Some).ok_or_else(torn)
    }

    /// The whole value of an entry that a scan met; `None` if it was removed meanwhile.
    pub(super) fn read_met(
        &self,
        tree: &Tree,
        key: &[u8],
        first: &[u8],
    ) -> Result<Option<Vec<u8>>, sled::Error> {
        if header_of(first).1 == 0 { whole(tree, key, first) } else { self.read(tree, key) }
    }

    fn hold(&self) -> MutexGuard<'_, ()> {
        // A batch that panicked leaves nothing in this lock that could be half done.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds to `batch` what puts `value` under `key`, and what removes the pieces it had before.
pub(super) fn put(
    tree: &Tree,
    batch: &mut Batch,
    key: &[u8],
    value: &[u8],
) -> Result<(), sled::Error> {
    let (old_stamp, old_pieces) = tree.get(key)?.as_deref().map_or((0, 0), header_of);
    for index in 0..old_pieces {
        batch.remove(piece_key(key, old_stamp, index));
    }
    let stamp = old_stamp.wrapping_add(1);
    let split = value.len().min(FIRST_BYTES);
    let (first, rest) = value.split_at(split);
    let mut pieces = 0_u32;
    for piece in rest.chunks(PIECE_BYTES) {
        batch.insert(piece_key(key, stamp, pieces), piece);
        pieces += 1;
    }
    batch.insert(key, first_piece(stamp, pieces, first));
    Ok(())
}

fn first_piece(stamp: u32, pieces: u32, value: &[u8]) -> Vec<u8> {
    [stamp.to_be_bytes().as_slice(), &pieces.to_be_bytes(), value].concat()
}

pub(super) fn remove(tree: &Tree, batch: &mut Batch, key: &[u8]) -> Result<(), sled::Error> {
    let (stamp, pieces) = tree.get(key)?.as_deref().map_or((0, 0), header_of);
    for index in 0..pieces {
        batch.remove(piece_key(key, stamp, index));
    }
    batch.remove(key);
    Ok(())
}

/// Which write made a value, and how many pieces follow its first.
fn header_of(first: &[u8]) -> (u32, u32) {
    let number = |at: usize| {
        let bytes = first.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    };
    (number(0), number(4))
}

/// The whole value whose first piece is `first`, read while nobody writes; `None` if a piece is
/// gone.
pub(super) fn whole(tree: &Tree, key: &[u8], first: &[u8]) -> Result<Option<Vec<u8>>, sled::Error> {
    let (stamp, pieces) = header_of(first);
    let mut value = first.get(HEADER_BYTES..).unwrap_or_default().to_vec();
    for index in 0..pieces {
        match tree.get(piece_key(key, stamp, index))? {
            Some(piece) => value.extend_from_slice(&piece),
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

/// The key of piece `index` of what write `stamp` put under `key`.
fn piece_key(key: &[u8], stamp: u32, index: u32) -> Vec<u8> {
    let length = u32::try_from(key.len()).expect("keys are short").to_be_bytes();
    [b"p".as_slice(), &length, key, &stamp.to_be_bytes(), &index.to_be_bytes()].concat()
}
