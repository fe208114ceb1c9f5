//! What an owner does with threads beside chatting: lists, founds, names and deletes them, and
//! reads their messages.
//!
//! Threads are listed by when they were founded, the newest first. By when they last changed would
//! be another order on every page: a thread that is answered while its owner turns pages would be
//! shown twice, and another not at all.

use super::{
    Message, ThreadLimits, ThreadRefusal, ThreadRow, Written, message_key, messages_prefix,
    read_messages, thread,
};
use crate::machine::{Order, RecordWrite, Records, Scan, Table};
use crate::records::{id_of, owner_row, place_key, place_of, places};
use crate::timestamp::Timestamp;

/// Characters of a title that is taken from a question.
const TITLE_CHARS: usize = 80;

/// Messages that are read at once: an answer may be megabytes, and most pages end before that.
const CHUNK: usize = 8;

/// A thread as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its name.
    pub id: String,
    /// The rest.
    pub row: ThreadRow,
}

/// A thread that is founded without a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewThread {
    /// Whose it is.
    pub owner: String,
    /// Its name.
    pub id: String,
    /// What it is called.
    pub title: Option<String>,
    /// How much anyone may own.
    pub limits: ThreadLimits,
}

/// Founds a thread without a message.
///
/// # Errors
/// [`ThreadRefusal::Taken`] if the caller has one of that name, [`ThreadRefusal::Forbidden`] if
/// somebody else has, [`ThreadRefusal::Full`].
pub fn create(records: &dyn Records, now: Timestamp, new: NewThread) -> Written<Thread> {
    let NewThread { owner, id, title, limits } = new;
    match thread(records, &id)? {
        Some(row) if row.owner == owner => return Err(ThreadRefusal::Taken),
        Some(_) => return Err(ThreadRefusal::Forbidden),
        None => {}
    }
    let (row, mut writes) = founded(records, now, &owner, &id, limits, title)?;
    writes.push(RecordWrite::put(Table::Threads, id.as_bytes(), &row));
    Ok((Thread { id, row }, writes))
}

/// The row of a new thread, and what else founding it writes.
pub(super) fn founded(
    records: &dyn Records,
    now: Timestamp,
    owner: &str,
    id: &str,
    limits: ThreadLimits,
    title: Option<String>,
) -> Written<ThreadRow> {
    let mut owned = owner_row(records, owner)?;
    if owned.threads >= limits.threads {
        return Err(ThreadRefusal::Full("threads"));
    }
    owned.threads += 1;
    let (created_at, updated_at, owner) = (now, now, owner.to_owned());
    let place = place_key(&owner, &place_of(created_at, id));
    let writes = vec![
        RecordWrite::put(Table::OwnedThreads, place, &()),
        RecordWrite::put(Table::Owners, owner.as_bytes(), &owned),
    ];
    Ok((ThreadRow { owner, created_at, updated_at, next: 0, messages: 0, title }, writes))
}

/// The beginning of a text as a title; `None` if there is nothing to read in it.
pub(super) fn title_of(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    match line.char_indices().nth(TITLE_CHARS) {
        None => Some(line.to_owned()),
        Some((end, _)) => Some(format!("{}…", line[..end].trim_end())),
    }
}

/// Reads a thread of an owner.
///
/// # Errors
/// [`ThreadRefusal::NotFound`] for an unknown thread, [`ThreadRefusal::Forbidden`] for another's.
pub fn get(records: &dyn Records, owner: &str, id: &str) -> Result<Thread, ThreadRefusal> {
    let row = thread(records, id)?.ok_or(ThreadRefusal::NotFound("thread"))?;
    if row.owner != owner {
        return Err(ThreadRefusal::Forbidden);
    }
    Ok(Thread { id: id.to_owned(), row })
}

/// Calls a thread something else, or nothing.
///
/// # Errors
/// As [`get`].
pub fn rename(
    records: &dyn Records,
    now: Timestamp,
    owner: &str,
    id: &str,
    title: Option<String>,
) -> Written<Thread> {
    let mut thread = get(records, owner, id)?;
    thread.row.title = title;
    thread.row.updated_at = now;
    let write = RecordWrite::put(Table::Threads, id.as_bytes(), &thread.row);
    Ok((thread, vec![write]))
}

/// Deletes a thread with all its messages. An answer that still runs ends as if nobody had asked:
/// what comes of it is not kept.
///
/// # Errors
/// As [`get`].
pub fn delete(records: &dyn Records, owner: &str, id: &str) -> Written<()> {
    let Thread { row, .. } = get(records, owner, id)?;
    let mut owned = owner_row(records, owner)?;
    owned.threads = owned.threads.saturating_sub(1);
    let place = place_key(owner, &place_of(row.created_at, id));
    let mut writes = vec![
        RecordWrite::remove(Table::Threads, id.as_bytes()),
        RecordWrite::remove(Table::OwnedThreads, place),
        RecordWrite::put(Table::Owners, owner.as_bytes(), &owned),
    ];
    let prefix = messages_prefix(id);
    let mut last: Option<Vec<u8>> = None;
    loop {
        let order = Order::Ascending;
        let scan = Scan { prefix: &prefix, beyond: last.as_deref(), order, limit: CHUNK };
        let chunk = records.scan(Table::Messages, scan)?;
        let Some((key, _)) = chunk.last() else { break };
        last = Some(key.clone());
        let removed = chunk.into_iter().map(|(key, _)| RecordWrite::remove(Table::Messages, key));
        writes.extend(removed);
    }
    Ok(((), writes))
}

/// One page of an owner's threads, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadPage {
    /// The threads.
    pub items: Vec<Thread>,
    /// The place of the last one, to hand in for the next page; `None` at the end.
    pub next: Option<Vec<u8>>,
}

/// Reads a page of an owner's threads beyond the place `after`.
///
/// # Errors
/// [`ThreadRefusal::Unreadable`].
pub fn owned_page(
    records: &dyn Records,
    owner: &str,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<ThreadPage, ThreadRefusal> {
    let (places, more) = places(records, Table::OwnedThreads, owner, after, limit)?;
    let mut items = Vec::with_capacity(places.len());
    for place in &places {
        let id = id_of(place)?;
        // Between the two reads it may have been deleted, and founded anew by somebody else.
        let row = thread(records, &id)?.filter(|row| row.owner == owner);
        items.extend(row.map(|row| Thread { id, row }));
    }
    Ok(ThreadPage { items, next: places.last().cloned().filter(|_| more) })
}

/// One page of a thread's messages, oldest first, and the cursor of the next page.
#[derive(Clone, Debug, PartialEq)]
pub struct MessagePage {
    /// The messages.
    pub items: Vec<Message>,
    /// What to hand in for the next page; `None` at the end.
    pub next: Option<u64>,
}

/// Reads a page of messages beyond number `after`: at most `limit` of them, and none after their
/// texts and parts are more than `most_bytes` together, so that one page of long answers stays one
/// page. A page that is not the last has at least one message.
///
/// # Errors
/// As [`get`].
pub fn message_page(
    records: &dyn Records,
    owner: &str,
    thread_id: &str,
    after: Option<u64>,
    limit: usize,
    most_bytes: usize,
) -> Result<MessagePage, ThreadRefusal> {
    get(records, owner, thread_id)?;
    let prefix = messages_prefix(thread_id);
    let mut items = Vec::new();
    let (mut last, mut bytes) = (after, 0_usize);
    loop {
        let beyond = last.map(|seq| message_key(thread_id, seq));
        let order = Order::Ascending;
        let scan = Scan { prefix: &prefix, beyond: beyond.as_deref(), order, limit: CHUNK };
        let chunk = read_messages(records, scan)?;
        let ended = chunk.len() < CHUNK;
        for (seq, message) in chunk {
            if items.len() == limit || bytes > most_bytes {
                return Ok(MessagePage { items, next: last });
            }
            bytes += size_of(&message);
            items.push(message);
            last = Some(seq);
        }
        if ended {
            return Ok(MessagePage { items, next: None });
        }
    }
}

/// How much of a page a message takes.
fn size_of(message: &Message) -> usize {
    let parts = serde_json::to_vec(&message.parts).map_or(0, |parts| parts.len());
    message.text.len() + parts
}
