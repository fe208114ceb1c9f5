//! What is known of people on WhatsApp: whose number is whose, which codes may link one, who was
//! told how to link, how far an answer to a message has got, and how far our messages got.
//!
//! Rules over records, as those of threads are: the journal's thread runs each verb alone, so of
//! two numbers that send one code at once one is linked. Every verb may run again for the same
//! event: a worker that died after it must not change the outcome.
//!
//! Durability: journalled. The caller hears yes when the rows are on disk.
//!
//! # Always
//! - A code links one sender, and only while it lives; the store has its digest alone.
//! - A reply that may have left is never made again.
//! - The status of a message never goes back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::{TimedId, hash_of};
use crate::machine::{ReadError, RecordWrite, Records, Table};
use crate::threads;
use crate::timestamp::Timestamp;

/// What rows of each kind begin with.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Row {
    /// Digest of a code → [`CodeRow`].
    Code = b'C',
    /// Owner → the digest of their newest code.
    Owner = b'O',
    /// Sender → [`Link`].
    Link = b'L',
    /// Sender → [`HintRow`].
    Hint = b'H',
    /// Event → [`Reply`].
    Reply = b'R',
    /// Message of ours → [`StatusRow`].
    Status = b'S',
}

fn key(row: Row, name: &[u8]) -> Vec<u8> {
    [&[row as u8], name].concat()
}

fn get<T: serde::de::DeserializeOwned>(
    records: &dyn Records,
    key: &[u8],
) -> Result<Option<T>, ReadError> {
    let found = records.get(Table::Whatsapp, key)?;
    let read = found.as_deref().map(serde_json::from_slice).transpose();
    read.map_err(|error| ReadError(format!("a row of WhatsApp: {error}")))
}

fn put(key: Vec<u8>, row: &impl Serialize) -> RecordWrite {
    RecordWrite::put(Table::Whatsapp, key, row)
}

/// Who a message is from: a number, a business-scoped user id, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// The number, digits alone.
    pub number: Option<String>,
    /// The user id.
    pub user_id: Option<String>,
}

impl Sender {
    /// The names that the sender's rows have; the first is the one for hints and threads.
    fn names(&self) -> impl Iterator<Item = String> {
        let number = self.number.as_ref().map(|number| format!("number:{number}"));
        let user_id = self.user_id.as_ref().map(|id| format!("user:{id}"));
        number.into_iter().chain(user_id)
    }

    /// What a thread is called by the sender: what no thread's name may hold is left out.
    fn plain(&self) -> String {
        let name = self.number.as_ref().or(self.user_id.as_ref());
        let name = name.map(String::as_str).unwrap_or_default();
        let plain = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        name.chars().filter(plain).take(64).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CodeRow {
    owner: String,
    expires_at: Timestamp,
    used_by: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HintRow {
    at: Timestamp,
    event: TimedId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusRow {
    status: String,
    at: Timestamp,
}

/// Whose a sender is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// The user.
    pub owner: String,
    /// The thread of what the sender writes.
    pub thread_id: String,
    /// Since when.
    pub since: Timestamp,
}

/// Gives `owner` a code that is good until `expires_at`, in place of the one before. `digest` is
/// the code's; the code itself is not kept.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn issue_code(
    records: &dyn Records,
    owner: &str,
    digest: &str,
    expires_at: Timestamp,
) -> Result<Vec<RecordWrite>, ReadError> {
    let of_owner = key(Row::Owner, owner.as_bytes());
    let mut writes = Vec::new();
    if let Some(before) = get::<String>(records, &of_owner)? {
        writes.push(RecordWrite::remove(Table::Whatsapp, key(Row::Code, before.as_bytes())));
    }
    let row = CodeRow { owner: owner.to_owned(), expires_at, used_by: None };
    writes.push(put(key(Row::Code, digest.as_bytes()), &row));
    writes.push(put(of_owner, &digest));
    Ok(writes)
}

/// Links the sender to whoever has the code of that digest; `None` if there is no such code, it has
/// expired, or another sender has used it.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn link(
    records: &dyn Records,
    now: Timestamp,
    digest: &str,
    sender: &Sender,
) -> Result<(Option<Link>, Vec<RecordWrite>), ReadError> {
    let of_code = key(Row::Code, digest.as_bytes());
    let code = get::<CodeRow>(records, &of_code)?;
    let (Some(code), Some(name)) = (code, sender.names().next()) else {
        return Ok((None, Vec::new()));
    };
    if code.used_by.as_ref() == Some(&name) {
        return Ok((link_of(records, sender)?, Vec::new()));
    }
    if code.used_by.is_some() || code.expires_at <= now {
        return Ok((None, Vec::new()));
    }
    let thread_id = thread_for(records, &code.owner, sender)?;
    let link = Link { owner: code.owner.clone(), thread_id, since: now };
    let mut writes: Vec<_> =
        sender.names().map(|name| put(key(Row::Link, name.as_bytes()), &link)).collect();
    writes.push(put(of_code, &CodeRow { used_by: Some(name), ..code }));
    Ok((Some(link), writes))
}

/// A thread's name for what a sender writes: one that nobody else owns, for a number may have been
/// another user's before.
fn thread_for(records: &dyn Records, owner: &str, sender: &Sender) -> Result<String, ReadError> {
    let name = format!("whatsapp-{}", sender.plain());
    let taken = threads::owner_of(records, &name)?.is_some_and(|other| other != owner);
    Ok(if taken { format!("{name}-{:08x}", hash_of(&[owner]) >> 96) } else { name })
}

/// Whose a sender is, if anybody has linked it.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn link_of(records: &dyn Records, sender: &Sender) -> Result<Option<Link>, ReadError> {
    for name in sender.names() {
        let link = get(records, &key(Row::Link, name.as_bytes()))?;
        if link.is_some() {
            return Ok(link);
        }
    }
    Ok(None)
}

/// Whether the sender may be told how to link, for this event: once within `per`.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn claim_hint(
    records: &dyn Records,
    now: Timestamp,
    sender: &Sender,
    (event, per): (TimedId, Duration),
) -> Result<(bool, Vec<RecordWrite>), ReadError> {
    let Some(name) = sender.names().next() else { return Ok((false, Vec::new())) };
    let key = key(Row::Hint, name.as_bytes());
    match get::<HintRow>(records, &key)? {
        Some(told) if told.event == event => Ok((true, Vec::new())),
        Some(told) if now < told.at.after(per) => Ok((false, Vec::new())),
        Some(_) | None => Ok((true, vec![put(key, &HintRow { at: now, event })])),
    }
}

/// How far the answer to a message has got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reply {
    /// Answers that were asked for and did not come to their end.
    pub cut: u32,
    /// What is to be sent, in order; empty until there is an answer.
    pub parts: Vec<String>,
    /// What was sent of it: the names that WhatsApp gave the messages.
    pub sent: Vec<String>,
    /// Whether the next part may have left.
    pub leaving: bool,
    /// Whether it only tells somebody something: one that gets lost is no loss.
    pub notice: bool,
}

/// How far the answer to an event's message has got.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn reply(records: &dyn Records, event: TimedId) -> Result<Reply, ReadError> {
    Ok(get(records, &reply_key(event))?.unwrap_or_default())
}

/// Keeps how far it has got.
pub fn keep_reply(event: TimedId, reply: &Reply) -> RecordWrite {
    put(reply_key(event), reply)
}

/// Forgets it: it was sent.
pub fn forget_reply(event: TimedId) -> RecordWrite {
    RecordWrite::remove(Table::Whatsapp, reply_key(event))
}

/// Lets a reply that may have left be made again: an operator wants it so.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn release_reply(
    records: &dyn Records,
    event: TimedId,
) -> Result<Option<RecordWrite>, ReadError> {
    let kept = get::<Reply>(records, &reply_key(event))?;
    let stuck = kept.filter(|reply| reply.leaving);
    Ok(stuck.map(|reply| keep_reply(event, &Reply { leaving: false, ..reply })))
}

fn reply_key(event: TimedId) -> Vec<u8> {
    key(Row::Reply, &event.to_bytes())
}

/// Notes how far one of our messages got; `false` if it had got as far already, or the word is
/// none that we know.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn advance(
    records: &dyn Records,
    now: Timestamp,
    message_id: &str,
    status: &str,
) -> Result<(bool, Vec<RecordWrite>), ReadError> {
    let key = key(Row::Status, message_id.as_bytes());
    let before = get::<StatusRow>(records, &key)?;
    let before = before.and_then(|row| rank(&row.status));
    if rank(status).is_none() || before >= rank(status) {
        return Ok((false, Vec::new()));
    }
    let row = StatusRow { status: status.to_owned(), at: now };
    Ok((true, vec![put(key, &row)]))
}

/// How far a message of ours has got, as the newest status says.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn status_of(records: &dyn Records, message_id: &str) -> Result<Option<String>, ReadError> {
    let row = get::<StatusRow>(records, &key(Row::Status, message_id.as_bytes()))?;
    Ok(row.map(|row| row.status))
}

/// What came later ranks higher. A failure that a delivery follows was none.
fn rank(status: &str) -> Option<u8> {
    let order = ["sent", "failed", "delivered", "read", "played"];
    let place = order.iter().position(|known| *known == status)?;
    u8::try_from(place).ok()
}
