//! Threads and their messages: who owns one, what a new turn makes of it, what a page shows.
//!
//! These are rules over records, not a machine with memory: threads grow with users and time, so
//! they live in the store and are read through it. The journal's thread runs each verb alone, on
//! records that no other verb is changing, so two first messages of one thread cannot both found
//! it.
//!
//! The stored thread is the truth. A new thread takes the texts it is told; a known one takes only
//! the last user message, and a regeneration takes none.
//!
//! Durability: journalled. The caller hears yes when the rows are on disk.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::key::TimedId;
use crate::machine::{Order, ReadError, RecordWrite, Records, Scan, Table};
use crate::records::{decode, decoded};
use crate::timestamp::Timestamp;

mod listing;

pub use listing::{
    MessagePage, NewThread, Thread, ThreadPage, create, delete, get, message_page, owned_page,
    rename,
};

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The owner of the thread.
    User,
    /// The model.
    Assistant,
}

/// Whether an answer came to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It did.
    #[default]
    Complete,
    /// It was stopped, failed, or its reader went away.
    Cut,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Its identifier, from the client or from us.
    pub id: String,
    /// Who wrote it.
    pub role: Role,
    /// Its text, which is what the model sees of it.
    pub text: String,
    /// An answer as clients keep it, part for part; empty for what is text alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Value>,
    /// When it was stored.
    pub created_at: Timestamp,
    /// Whether it came to its end.
    #[serde(default)]
    pub ending: Ending,
    /// What clients keep beside its parts, such as the tokens it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// The code of the fault that cut it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// A thread's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThreadRow {
    /// Whose it is.
    pub owner: String,
    /// When it was founded.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The number of the next message.
    pub next: u64,
    /// How many messages it holds.
    pub messages: u64,
    /// What it is called: what its owner said, or its first question's beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// How much anyone may own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadLimits {
    /// Threads of one owner.
    pub threads: u64,
    /// Messages of one thread.
    pub messages: u64,
}

/// What a turn answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The last user message; it replaces the message of this identifier and all after it.
    Submit {
        /// The message that was edited, if one was.
        replaces: Option<String>,
    },
    /// The last user message, from a channel that may deliver it again: one that is there already
    /// stays, and so does what follows it.
    Deliver,
    /// The thread as it stood before an answer.
    Regenerate {
        /// That answer; the last one if not named.
        answer: Option<String>,
    },
}

/// A turn that is about to begin.
#[derive(Clone, Debug, PartialEq)]
pub struct BeginTurn {
    /// Who asks.
    pub owner: String,
    /// Which thread.
    pub thread_id: String,
    /// What to answer.
    pub trigger: Trigger,
    /// Messages of the request, user's and assistant's, in order.
    pub messages: Vec<Message>,
    /// How much anyone may own.
    pub limits: ThreadLimits,
}

/// Why a verb did nothing.
#[derive(Debug, thiserror::Error)]
pub enum ThreadRefusal {
    /// It belongs to somebody else.
    #[error("the thread belongs to another owner")]
    Forbidden,
    /// There is a thread of that name, and it is the caller's own.
    #[error("there is a thread of that name already")]
    Taken,
    /// There is no such thread or message.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The owner or the thread is at its limit.
    #[error("there is no room for more {0}")]
    Full(&'static str),
    /// There is no user message to answer.
    #[error("there is no user message to answer")]
    NothingToAnswer,
    /// The store could not be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}

/// An answer and what has to be written for it to be true.
pub type Written<T> = Result<(T, Vec<RecordWrite>), ThreadRefusal>;

/// Begins a turn: founds the thread or changes it as the request asks. The answer is the whole
/// thread as the model is to see it, ending with the user message to answer.
///
/// # Errors
/// [`ThreadRefusal`]; nothing is written then.
pub fn begin_turn(
    records: &dyn Records,
    now: Timestamp,
    turn: &BeginTurn,
) -> Written<Vec<Message>> {
    match thread(records, &turn.thread_id)? {
        None => found(records, now, turn),
        Some(row) if row.owner != turn.owner => Err(ThreadRefusal::Forbidden),
        Some(row) => go_on(records, now, turn, row),
    }
}

fn found(records: &dyn Records, now: Timestamp, turn: &BeginTurn) -> Written<Vec<Message>> {
    let BeginTurn { owner, thread_id, limits, .. } = turn;
    let title = turn.messages.iter().find(|message| message.role == Role::User);
    let title = title.and_then(|question| listing::title_of(&question.text));
    let (row, writes) = listing::founded(records, now, owner, thread_id, *limits, title)?;
    let mut change = Rewrite { thread_id, row, writes };
    let kept = turn.messages.iter().filter(|message| !message.text.is_empty());
    let history: Vec<_> = kept.cloned().collect();
    for message in &history {
        change.append(message);
    }
    change.finish(now, *limits, history)
}

fn go_on(
    records: &dyn Records,
    now: Timestamp,
    turn: &BeginTurn,
    row: ThreadRow,
) -> Written<Vec<Message>> {
    let mut stored = messages(records, &turn.thread_id)?;
    let mut change = Rewrite { thread_id: &turn.thread_id, row, writes: Vec::new() };
    let place = |id: &str| stored.iter().position(|(_, message)| message.id == id);
    match &turn.trigger {
        Trigger::Submit { replaces } => {
            let last = turn.messages.iter().rfind(|message| message.role == Role::User);
            let last = last.ok_or(ThreadRefusal::NothingToAnswer)?;
            // A request sent again carries a message we have: it replaces itself, not doubles.
            let from = replaces.as_deref().and_then(place).or_else(|| place(&last.id));
            change.drop_from(&mut stored, from);
            change.append(last);
            stored.push((change.row.next - 1, last.clone()));
        }
        Trigger::Deliver => {
            let last = turn.messages.iter().rfind(|message| message.role == Role::User);
            let last = last.ok_or(ThreadRefusal::NothingToAnswer)?;
            match place(&last.id) {
                Some(at) => stored.truncate(at + 1),
                None => {
                    change.append(last);
                    stored.push((change.row.next - 1, last.clone()));
                }
            }
        }
        Trigger::Regenerate { answer: Some(id) } => {
            let from = place(id).ok_or(ThreadRefusal::NotFound("message"))?;
            change.drop_from(&mut stored, Some(from));
        }
        Trigger::Regenerate { answer: None } => {
            let from = stored.iter().rposition(|(_, message)| message.role == Role::Assistant);
            let ends_with_user =
                stored.last().is_some_and(|(_, message)| message.role == Role::User);
            change.drop_from(&mut stored, from.filter(|_| !ends_with_user));
        }
    }
    let history = stored.into_iter().map(|(_, message)| message).collect();
    change.finish(now, turn.limits, history)
}

/// Stores an answer at the end of its owner's thread.
///
/// # Errors
/// [`ThreadRefusal::NotFound`] if the thread was deleted after the answer began, also if one of its
/// name was founded since, by whomever.
pub fn append_answer(
    records: &dyn Records,
    now: Timestamp,
    owner: &str,
    thread_id: &str,
    answer: &Message,
) -> Written<()> {
    let row = thread(records, thread_id)?.filter(|row| row.owner == owner);
    let row = row.filter(|row| began(answer).is_none_or(|began| row.created_at <= began));
    let row = row.ok_or(ThreadRefusal::NotFound("thread"))?;
    let mut change = Rewrite { thread_id, row, writes: Vec::new() };
    change.append(answer);
    change.row.updated_at = now;
    Ok(((), change.into_writes()))
}

/// When an answer began: its identifier is `msg_` and a [`TimedId`] of the turn that asked for it,
/// which is never before the thread was founded. `None` for an identifier that a client made up.
fn began(answer: &Message) -> Option<Timestamp> {
    Some(answer.id.strip_prefix("msg_")?.parse::<TimedId>().ok()?.made_at())
}

/// Whose thread it is; `None` if there is none of that name.
///
/// # Errors
/// [`ReadError`] if the store cannot be read.
pub fn owner_of(records: &dyn Records, thread_id: &str) -> Result<Option<String>, ReadError> {
    Ok(thread(records, thread_id)?.map(|row| row.owner))
}

/// What a verb writes to one thread.
struct Rewrite<'a> {
    thread_id: &'a str,
    row: ThreadRow,
    writes: Vec<RecordWrite>,
}

impl Rewrite<'_> {
    fn append(&mut self, message: &Message) {
        let key = message_key(self.thread_id, self.row.next);
        self.writes.push(RecordWrite::put(Table::Messages, key, message));
        self.row.next += 1;
        self.row.messages += 1;
    }

    fn drop_from(&mut self, stored: &mut Vec<(u64, Message)>, from: Option<usize>) {
        for (seq, _) in stored.drain(from.unwrap_or(stored.len())..) {
            let key = message_key(self.thread_id, seq);
            self.writes.push(RecordWrite::remove(Table::Messages, key));
            self.row.messages = self.row.messages.saturating_sub(1);
        }
    }

    fn finish(
        mut self,
        now: Timestamp,
        limits: ThreadLimits,
        history: Vec<Message>,
    ) -> Written<Vec<Message>> {
        if history.last().is_none_or(|last| last.role != Role::User) {
            return Err(ThreadRefusal::NothingToAnswer);
        }
        // Room for the answer as well: a turn that could not be stored must not be billed.
        if self.row.messages >= limits.messages {
            return Err(ThreadRefusal::Full("messages"));
        }
        self.row.updated_at = now;
        Ok((history, self.into_writes()))
    }

    fn into_writes(mut self) -> Vec<RecordWrite> {
        let key = self.thread_id.as_bytes();
        self.writes.push(RecordWrite::put(Table::Threads, key, &self.row));
        self.writes
    }
}

fn thread(records: &dyn Records, thread_id: &str) -> Result<Option<ThreadRow>, ReadError> {
    decoded(records.get(Table::Threads, thread_id.as_bytes())?)
}

fn messages(records: &dyn Records, thread_id: &str) -> Result<Vec<(u64, Message)>, ReadError> {
    let prefix = messages_prefix(thread_id);
    let scan = Scan { prefix: &prefix, beyond: None, order: Order::Ascending, limit: usize::MAX };
    read_messages(records, scan)
}

fn read_messages(records: &dyn Records, scan: Scan<'_>) -> Result<Vec<(u64, Message)>, ReadError> {
    let rows = records.scan(Table::Messages, scan)?;
    rows.into_iter()
        .map(|(key, value)| {
            let number = key.len().checked_sub(8).and_then(|at| key[at..].try_into().ok());
            let seq = number.map(u64::from_be_bytes);
            let seq = seq.ok_or_else(|| ReadError("a message's key is not a number".into()))?;
            Ok((seq, decode(&value)?))
        })
        .collect()
}

fn messages_prefix(thread_id: &str) -> Vec<u8> {
    [thread_id.as_bytes(), &[0]].concat()
}

fn message_key(thread_id: &str, seq: u64) -> Vec<u8> {
    [messages_prefix(thread_id).as_slice(), &seq.to_be_bytes()].concat()
}
