//! What of the inbox is kept for how long: events that are done, dead letters, claims of keys.
//!
//! Rules over records, a page at a time, so that nobody waits long for a sweep. What still waits is
//! never touched, however old it is.

use std::time::Duration;

use crate::idempotency::ClaimRow;
use crate::job::{EventRow, EventStatus};
use crate::machine::{Order, ReadError, RecordWrite, Records, Scan, Table};
use crate::timestamp::Timestamp;

/// Rows of one page.
pub const PAGE: usize = 500;

/// What a page came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Behind which the next page begins; `None` at the end.
    pub next: Option<Vec<u8>>,
    /// Events that were done long ago, now gone.
    pub done: usize,
    /// Dead letters that were too many, now gone.
    pub dead: usize,
    /// Claims that were known long enough, now gone.
    pub claims: usize,
}

/// How many dead letters a page has, and behind which the next one begins.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn count_dead(
    records: &dyn Records,
    beyond: Option<&[u8]>,
) -> Result<(usize, Option<Vec<u8>>), ReadError> {
    let page = page_of(records, Table::Events, beyond)?;
    let rows = page.iter().map(|(_, row)| decode::<EventRow>(row));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let dead = rows.iter().filter(|row| row.status == EventStatus::Dead).count();
    Ok((dead, next_of(page)))
}

/// Removes events of one page that were done before `now` less `kept`, and of its dead letters the
/// oldest `too_many`, with what they said.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn sweep_events(
    records: &dyn Records,
    now: Timestamp,
    beyond: Option<&[u8]>,
    (kept, too_many): (Duration, usize),
) -> Result<(Swept, Vec<RecordWrite>), ReadError> {
    let page = page_of(records, Table::Events, beyond)?;
    let (mut swept, mut writes) = (Swept::default(), Vec::new());
    for (key, row) in &page {
        let row: EventRow = decode(row)?;
        let is_old = row.done_at.is_some_and(|done| done.after(kept) <= now);
        match row.status {
            EventStatus::Done if is_old => swept.done += 1,
            EventStatus::Dead if swept.dead < too_many => swept.dead += 1,
            EventStatus::Done | EventStatus::Dead | EventStatus::Pending => continue,
        }
        writes.push(RecordWrite::remove(Table::Events, key.clone()));
        writes.push(RecordWrite::remove(Table::EventBodies, key.clone()));
    }
    swept.next = next_of(page);
    Ok((swept, writes))
}

/// Removes claims of one page that are known long enough.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn sweep_claims(
    records: &dyn Records,
    now: Timestamp,
    beyond: Option<&[u8]>,
) -> Result<(Swept, Vec<RecordWrite>), ReadError> {
    let page = page_of(records, Table::Claims, beyond)?;
    let mut writes = Vec::new();
    for (key, row) in &page {
        if decode::<ClaimRow>(row)?.until <= now {
            writes.push(RecordWrite::remove(Table::Claims, key.clone()));
        }
    }
    let claims = writes.len();
    Ok((Swept { claims, next: next_of(page), ..Swept::default() }, writes))
}

fn page_of(
    records: &dyn Records,
    table: Table,
    beyond: Option<&[u8]>,
) -> Result<Vec<crate::machine::Entry>, ReadError> {
    records.scan(table, Scan { prefix: &[], beyond, order: Order::Ascending, limit: PAGE })
}

fn next_of(page: Vec<crate::machine::Entry>) -> Option<Vec<u8>> {
    let is_last = page.len() < PAGE;
    page.into_iter().next_back().map(|(key, _)| key).filter(|_| !is_last)
}

fn decode<T: serde::de::DeserializeOwned>(row: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(row).map_err(|error| ReadError(format!("a row: {error}")))
}
