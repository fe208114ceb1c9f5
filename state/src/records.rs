//! Small records that somebody owns: favorites, packages, evidence, and one set of preferences.
//!
//! Rules over records, as those of threads are: each verb runs alone on the journal's thread. A
//! record's data is the product's own JSON object; nothing here looks into it. Whose a record is
//! stands in its key, so another owner's record is not there, and its name tells nothing.
//!
//! A list shows the newest first, and its order never changes: a record keeps its place when it is
//! replaced. Whoever goes through the pages of a list sees each record that was there all the while
//! exactly once, whatever is made and removed meanwhile.
//!
//! Durability: journalled. The caller hears yes when the rows are on disk.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::machine::{Order, ReadError, RecordWrite, Records, Scan, Table};
use crate::timestamp::Timestamp;

/// What an owner can have many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collection {
    /// What somebody likes.
    Favorites,
    /// What somebody put together.
    Packages,
    /// What a source said.
    Evidence,
}

impl Collection {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Favorites, Self::Packages, Self::Evidence];

    /// Its name in paths and sentences.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Favorites => "favorites",
            Self::Packages => "packages",
            Self::Evidence => "evidence",
        }
    }

    const fn table(self) -> Table {
        match self {
            Self::Favorites => Table::Favorites,
            Self::Packages => Table::Packages,
            Self::Evidence => Table::Evidence,
        }
    }

    const fn count(self, owner: &mut OwnerRow) -> &mut u64 {
        match self {
            Self::Favorites => &mut owner.favorites,
            Self::Packages => &mut owner.packages,
            Self::Evidence => &mut owner.evidence,
        }
    }
}

/// How much someone owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerRow {
    /// Threads.
    pub threads: u64,
    /// Pieces of evidence.
    pub evidence: u64,
    /// Favorites.
    pub favorites: u64,
    /// Packages.
    pub packages: u64,
}

/// How much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLimits {
    /// Records of one owner in one collection.
    pub records: u64,
    /// Bytes of one record's data, as compact JSON.
    pub data_bytes: usize,
}

/// A record as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its identifier among its owner's.
    pub id: String,
    /// When it was first made.
    pub created_at: Timestamp,
    /// When its data was last written.
    pub updated_at: Timestamp,
    /// The product's own object.
    pub data: Map<String, Value>,
}

/// A record's row. What a later version has added is passed over.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    created_at: Timestamp,
    updated_at: Timestamp,
    data: Map<String, Value>,
}

/// An owner's preferences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preferences {
    /// When they were last written.
    pub updated_at: Timestamp,
    /// The product's own object.
    pub data: Map<String, Value>,
}

/// A record that is to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRecord {
    /// Whose it is.
    pub owner: String,
    /// Its identifier; one that is there already is replaced.
    pub id: String,
    /// The product's own object.
    pub data: Map<String, Value>,
}

/// What became of a record that was to be kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    /// There was none of that identifier.
    Made(Record),
    /// There was one; it kept its place and the time it was made.
    Replaced(Record),
}

/// Why a verb did nothing.
#[derive(Debug, thiserror::Error)]
pub enum RecordRefusal {
    /// This owner has no such record.
    #[error("there is no such record")]
    NotFound,
    /// The owner is at the limit.
    #[error("there is no room for more {0}")]
    Full(&'static str),
    /// The data is larger than a record may be.
    #[error("the data is larger than {limit_bytes} bytes")]
    TooLarge {
        /// How large it may be.
        limit_bytes: usize,
    },
    /// The store could not be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}

/// An answer and what has to be written for it to be true.
pub type Written<T> = Result<(T, Vec<RecordWrite>), RecordRefusal>;

/// Keeps a record, in the place of the one of its identifier if there is one.
///
/// # Errors
/// [`RecordRefusal::TooLarge`]; [`RecordRefusal::Full`] for a new one that has no room.
pub fn keep(
    records: &dyn Records,
    now: Timestamp,
    collection: Collection,
    limits: RecordLimits,
    new: NewRecord,
) -> Written<Kept> {
    check_size(&new.data, limits.data_bytes)?;
    let NewRecord { owner, id, data } = new;
    let key = row_key(&owner, &id);
    let known: Option<Row> = decoded(records.get(collection.table(), &key)?)?;
    let created_at = known.as_ref().map_or(now, |row| row.created_at);
    let row = Row { created_at, updated_at: now, data };
    let mut writes = vec![RecordWrite::put(collection.table(), key, &row)];
    let Row { data, .. } = row;
    let record = Record { id, created_at, updated_at: now, data };
    if known.is_some() {
        return Ok((Kept::Replaced(record), writes));
    }
    let mut owned = owner_row(records, &owner)?;
    let count = collection.count(&mut owned);
    if *count >= limits.records {
        return Err(RecordRefusal::Full(collection.as_str()));
    }
    *count += 1;
    let place = place_key(&owner, &place_of(created_at, &record.id));
    writes.push(RecordWrite::put(collection.table(), place, &()));
    writes.push(RecordWrite::put(Table::Owners, owner.as_bytes(), &owned));
    Ok((Kept::Made(record), writes))
}

/// Keeps those of an owner's records that are not there yet, all of them or none; how many.
///
/// # Errors
/// [`RecordRefusal::TooLarge`] for one of them; [`RecordRefusal::Full`] if not all have room.
pub fn keep_new(
    records: &dyn Records,
    now: Timestamp,
    collection: Collection,
    limits: RecordLimits,
    owner: &str,
    new: Vec<(String, Map<String, Value>)>,
) -> Written<u64> {
    let mut owned = owner_row(records, owner)?;
    let count = collection.count(&mut owned);
    let before = *count;
    let mut writes = Vec::new();
    let mut seen = BTreeSet::new();
    for (id, data) in new {
        check_size(&data, limits.data_bytes)?;
        if is_kept(records, collection, owner, &id)? || !seen.insert(id.clone()) {
            continue;
        }
        if *count >= limits.records {
            return Err(RecordRefusal::Full(collection.as_str()));
        }
        *count += 1;
        let row = Row { created_at: now, updated_at: now, data };
        writes.push(RecordWrite::put(collection.table(), row_key(owner, &id), &row));
        let place = place_key(owner, &place_of(now, &id));
        writes.push(RecordWrite::put(collection.table(), place, &()));
    }
    let kept = *count - before;
    if kept > 0 {
        writes.push(RecordWrite::put(Table::Owners, owner.as_bytes(), &owned));
    }
    Ok((kept, writes))
}

/// Whether an owner has a record of that identifier.
///
/// # Errors
/// [`ReadError`].
pub fn is_kept(
    records: &dyn Records,
    collection: Collection,
    owner: &str,
    id: &str,
) -> Result<bool, ReadError> {
    Ok(records.get(collection.table(), &row_key(owner, id))?.is_some())
}

/// Removes a record of an owner.
///
/// # Errors
/// [`RecordRefusal::NotFound`] if the owner has none of that identifier: it was removed before, it
/// never was, or it is somebody else's.
pub fn remove(records: &dyn Records, collection: Collection, owner: &str, id: &str) -> Written<()> {
    let key = row_key(owner, id);
    let row: Option<Row> = decoded(records.get(collection.table(), &key)?)?;
    let row = row.ok_or(RecordRefusal::NotFound)?;
    let mut owned = owner_row(records, owner)?;
    let count = collection.count(&mut owned);
    *count = count.saturating_sub(1);
    let place = place_key(owner, &place_of(row.created_at, id));
    let writes = vec![
        RecordWrite::remove(collection.table(), key),
        RecordWrite::remove(collection.table(), place),
        RecordWrite::put(Table::Owners, owner.as_bytes(), &owned),
    ];
    Ok(((), writes))
}

/// One page of an owner's records, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordPage {
    /// The records.
    pub items: Vec<Record>,
    /// The place of the last one, to hand in for the next page; `None` at the end.
    pub next: Option<Vec<u8>>,
}

/// Reads a page of records beyond the place `after`. Any bytes are a place: what is no record's
/// lies between two of the same owner.
///
/// # Errors
/// [`RecordRefusal::Unreadable`].
pub fn page(
    records: &dyn Records,
    collection: Collection,
    owner: &str,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<RecordPage, RecordRefusal> {
    let (places, more) = places(records, collection.table(), owner, after, limit)?;
    let mut items = Vec::with_capacity(places.len());
    for place in &places {
        let id = id_of(place)?;
        // Between the two reads it may have been removed.
        let row: Option<Row> = decoded(records.get(collection.table(), &row_key(owner, &id))?)?;
        items.extend(row.map(|Row { created_at, updated_at, data }| Record {
            id,
            created_at,
            updated_at,
            data,
        }));
    }
    Ok(RecordPage { items, next: places.last().cloned().filter(|_| more) })
}

/// An owner's preferences; `None` if none were ever written.
///
/// # Errors
/// [`RecordRefusal::Unreadable`].
pub fn preferences(
    records: &dyn Records,
    owner: &str,
) -> Result<Option<Preferences>, RecordRefusal> {
    Ok(decoded(records.get(Table::Preferences, owner.as_bytes())?)?)
}

/// Writes an owner's preferences, all of them.
///
/// # Errors
/// [`RecordRefusal::TooLarge`].
pub fn set_preferences(
    now: Timestamp,
    owner: &str,
    limits: RecordLimits,
    data: Map<String, Value>,
) -> Written<Preferences> {
    check_size(&data, limits.data_bytes)?;
    let preferences = Preferences { updated_at: now, data };
    let write = RecordWrite::put(Table::Preferences, owner.as_bytes(), &preferences);
    Ok((preferences, vec![write]))
}

fn check_size(data: &Map<String, Value>, limit_bytes: usize) -> Result<(), RecordRefusal> {
    let bytes = serde_json::to_vec(data).map_or(usize::MAX, |json| json.len());
    if bytes > limit_bytes { Err(RecordRefusal::TooLarge { limit_bytes }) } else { Ok(()) }
}

/// Places of an owner in a table, newest first, beyond `after`; and whether there are more.
pub(crate) fn places(
    records: &dyn Records,
    table: Table,
    owner: &str,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<(Vec<Vec<u8>>, bool), ReadError> {
    let prefix = place_key(owner, &[]);
    let beyond = after.map(|place| place_key(owner, place));
    let scan = Scan {
        prefix: &prefix,
        beyond: beyond.as_deref(),
        order: Order::Descending,
        limit: limit.saturating_add(1),
    };
    let rows = records.scan(table, scan)?;
    let more = rows.len() > limit;
    let places = rows.into_iter().take(limit).map(|(key, _)| key[prefix.len()..].to_vec());
    Ok((places.collect(), more))
}

/// Where something stands in its owner's list: when it was made, and its identifier to tell it
/// from others of the same moment.
pub(crate) fn place_of(created_at: Timestamp, id: &str) -> Vec<u8> {
    [&created_at.as_millis().to_be_bytes(), id.as_bytes()].concat()
}

/// The identifier in a place that was read from a table.
pub(crate) fn id_of(place: &[u8]) -> Result<String, ReadError> {
    let id = place.get(8..).and_then(|id| String::from_utf8(id.to_vec()).ok());
    id.ok_or_else(|| ReadError("a place in a list has no identifier".into()))
}

pub(crate) fn place_key(owner: &str, place: &[u8]) -> Vec<u8> {
    key_of(owner, b't', place)
}

fn row_key(owner: &str, id: &str) -> Vec<u8> {
    key_of(owner, b'r', id.as_bytes())
}

/// The length stands first, so that no owner's name is the beginning of another's keys.
fn key_of(owner: &str, kind: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(owner.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), owner.as_bytes(), &[kind], rest].concat()
}

pub(crate) fn owner_row(records: &dyn Records, owner: &str) -> Result<OwnerRow, ReadError> {
    Ok(decoded(records.get(Table::Owners, owner.as_bytes())?)?.unwrap_or_default())
}

pub(crate) fn decoded<T: serde::de::DeserializeOwned>(
    found: Option<Vec<u8>>,
) -> Result<Option<T>, ReadError> {
    found.as_deref().map(decode).transpose()
}

pub(crate) fn decode<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(value).map_err(|error| ReadError(format!("a row: {error}")))
}
