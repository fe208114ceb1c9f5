//! What of an answer outlives its process: the parts that a running one has sent, and the whole
//! stream of one whose caller gave a key.
//!
//! Rules over records, as those of threads are. A running answer notes its parts in runs, a row
//! each, and its end removes them in the commit that stores the message. So rows that are there
//! when a process starts are of answers that the one before did not end.
//!
//! Durability: noted for parts, a crash loses the last run; journalled for streams of a key.

use serde::{Deserialize, Serialize};

use crate::key::{IdempotencyKey, TimedId};
use crate::machine::{Order, ReadError, RecordWrite, Records, Scan, Table};
use crate::timestamp::Timestamp;

/// Expired keys that one write removes at most: more than it adds, so that they run out.
const SWEPT_AT_ONCE: usize = 4;

/// Whose key an answer was asked for with, and the body it came with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyedBody {
    /// The key, its caller included.
    pub key: IdempotencyKey,
    /// A digest of the body.
    pub digest: String,
}

/// A run of parts that a running answer has sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SentParts {
    /// Whose answer it is.
    pub owner: String,
    /// In which thread.
    pub thread_id: String,
    /// What it was asked for with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<KeyedBody>,
    /// The events, as they were sent.
    pub parts: Vec<String>,
}

/// An answer that its process did not end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutAnswer {
    /// Which.
    pub id: TimedId,
    /// All that was noted of it, in order.
    pub sent: SentParts,
}

/// A stream that a key's request was answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptStream {
    /// The digest of the request's body.
    pub digest: String,
    /// Every event of the answer, to `[DONE]`.
    pub stream: String,
    /// Until when the key is known.
    pub until: Timestamp,
}

/// Notes run `number` of an answer.
pub fn note(answer: TimedId, number: u32, sent: &SentParts) -> RecordWrite {
    let key = [answer.to_bytes().as_slice(), &number.to_be_bytes()].concat();
    RecordWrite::put(Table::Answers, key, sent)
}

/// Removes all that was noted of an answer.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn forget(records: &dyn Records, answer: TimedId) -> Result<Vec<RecordWrite>, ReadError> {
    let rows = all_below(records, Table::Answers, &answer.to_bytes(), usize::MAX)?;
    Ok(rows.into_iter().map(|(key, _)| RecordWrite::remove(Table::Answers, key)).collect())
}

/// Every answer of which something is noted, oldest first.
///
/// # Errors
/// [`ReadError`] if the store cannot be read, or holds what is no run of parts.
pub fn left_over(records: &dyn Records) -> Result<Vec<CutAnswer>, ReadError> {
    let mut answers: Vec<CutAnswer> = Vec::new();
    for (key, value) in all_below(records, Table::Answers, &[], usize::MAX)? {
        let id = key.get(..16).and_then(TimedId::from_bytes);
        let id = id.ok_or_else(|| ReadError("a run of parts has no answer's key".into()))?;
        let sent: SentParts = decode(&value)?;
        match answers.last_mut().filter(|answer| answer.id == id) {
            Some(answer) => answer.sent.parts.extend(sent.parts),
            None => answers.push(CutAnswer { id, sent }),
        }
    }
    Ok(answers)
}

/// Keeps the stream that a key was answered with, and drops keys that are known no longer.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn keep_stream(
    records: &dyn Records,
    now: Timestamp,
    key: &IdempotencyKey,
    kept: &KeptStream,
) -> Result<Vec<RecordWrite>, ReadError> {
    let mut writes = Vec::new();
    for (expiry, _) in all_below(records, Table::ChatKeys, &[EXPIRIES], SWEPT_AT_ONCE)? {
        let ends = expiry.get(1..9).and_then(|ends| ends.try_into().ok()).map(u64::from_be_bytes);
        if ends.is_some_and(|ends| now.as_millis() < ends) {
            break;
        }
        // A key that was used anew since has a later end of its own.
        let row = stream_row(expiry.get(9..).unwrap_or_default());
        let stored = records.get(Table::ChatKeys, &row)?;
        let is_over = stored.as_deref().map(decode::<KeptStream>).transpose()?;
        if is_over.is_some_and(|stored| stored.until <= now) {
            writes.push(RecordWrite::remove(Table::ChatKeys, row));
        }
        writes.push(RecordWrite::remove(Table::ChatKeys, expiry));
    }
    let name = key.row();
    let ends = kept.until.as_millis().to_be_bytes();
    let expiry = [&[EXPIRIES], ends.as_slice(), name.as_slice()].concat();
    writes.push(RecordWrite::put(Table::ChatKeys, expiry, &()));
    writes.push(RecordWrite::put(Table::ChatKeys, stream_row(&name), kept));
    Ok(writes)
}

/// The stream that a key was answered with, if it is still known.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn kept_stream(
    records: &dyn Records,
    now: Timestamp,
    key: &IdempotencyKey,
) -> Result<Option<KeptStream>, ReadError> {
    let row = records.get(Table::ChatKeys, &stream_row(&key.row()))?;
    let kept: Option<KeptStream> = row.as_deref().map(decode).transpose()?;
    Ok(kept.filter(|kept| now < kept.until))
}

/// What the keys of ends begin with; they sort before those of streams.
const EXPIRIES: u8 = 0;
const STREAMS: u8 = 1;

fn stream_row(name: &[u8]) -> Vec<u8> {
    [&[STREAMS], name].concat()
}

fn all_below(
    records: &dyn Records,
    table: Table,
    prefix: &[u8],
    limit: usize,
) -> Result<Vec<crate::machine::Entry>, ReadError> {
    records.scan(table, Scan { prefix, beyond: None, order: Order::Ascending, limit })
}

fn decode<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(value).map_err(|error| ReadError(format!("a saved answer: {error}")))
}
