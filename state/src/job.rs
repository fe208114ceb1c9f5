//! What a job is: its kind, its rules, its row in the store, and what came of an attempt.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
use crate::key::{InboxSource, LeaseId, TimedId, ToolKind};
use crate::machine::{RecordWrite, Table};
use crate::timestamp::Timestamp;

/// What a job does; each kind is a partition of the queue with caps of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Runs a tool for a chat turn.
    Tool(ToolKind),
    /// Works off an accepted event.
    Inbox(InboxSource),
}

impl JobKind {
    /// How many kinds there are.
    pub const COUNT: usize = ToolKind::ALL.len() + InboxSource::ALL.len();

    /// Every kind, tools first.
    pub fn all() -> impl Iterator<Item = Self> {
        let tools = ToolKind::ALL.iter().copied().map(Self::Tool);
        tools.chain(InboxSource::ALL.iter().copied().map(Self::Inbox))
    }

    /// Its place in [`JobKind::all`].
    pub fn index(self) -> usize {
        match self {
            Self::Tool(tool) => tool.index(),
            Self::Inbox(source) => ToolKind::ALL.len() + source.index(),
        }
    }

    /// The tool's or the source's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool(tool) => tool.as_str(),
            Self::Inbox(source) => source.as_str(),
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The caps of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRules {
    /// Jobs that may wait.
    pub queued_max: usize,
    /// Jobs that may run at once.
    pub running_max: usize,
}

/// What holds for every job of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRules {
    /// How long a worker may be silent before its job goes to another.
    pub lease: Duration,
    /// Attempts before a job is a dead letter.
    pub max_attempts: u32,
    /// The delay before the second attempt; it doubles with each.
    pub retry_base: Duration,
    /// The longest delay between attempts.
    pub retry_cap: Duration,
    /// How long after it was handed in a job may begin an attempt; past that it is given up. `None`
    /// waits for ever.
    pub ttl: Option<Duration>,
}

impl JobRules {
    /// The delays between attempts.
    pub fn backoff(&self) -> Backoff {
        Backoff { base: self.retry_base, cap: self.retry_cap }
    }
}

/// The rules of every kind, in the order of [`JobKind::all`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRules {
    /// Caps and rules, one pair a kind.
    pub kinds: [(PartitionRules, JobRules); JobKind::COUNT],
    /// Waiting jobs of a kind that a claim looks at for one that may begin; those past their time
    /// to live may not, until they are swept.
    pub claim_scan: usize,
}

impl QueueRules {
    /// The caps of a kind.
    pub fn partition(&self, kind: JobKind) -> &PartitionRules {
        &self.kinds[kind.index()].0
    }

    /// The rules of a kind.
    pub fn job(&self, kind: JobKind) -> &JobRules {
        &self.kinds[kind.index()].1
    }
}

/// A job as it is handed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewJob {
    /// Its identifier; a job of the same identifier is taken once.
    pub id: TimedId,
    /// What it does.
    pub kind: JobKind,
    /// What it is about, for operators: an event's key, a tool's query.
    pub key: String,
    /// What it needs, where that is small and lives no longer than the job; the body of an event
    /// lies in the store.
    pub payload: Option<String>,
}

/// A job in a worker's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedJob {
    /// Its identifier.
    pub id: TimedId,
    /// What it does.
    pub kind: JobKind,
    /// What it is about.
    pub key: String,
    /// What it needs, if that is not in the store.
    pub payload: Option<String>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The worker's lease on it.
    pub lease: LeaseId,
    /// When the lease ends unless renewed.
    pub ends: Timestamp,
    /// When the job was handed in.
    pub enqueued_at: Timestamp,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The work is done; these records are its effect and are committed with the end of the job.
    Done {
        /// What to write.
        writes: Vec<RecordWrite>,
    },
    /// It may succeed another time.
    Retry {
        /// Why it failed, in words without secrets.
        error: String,
        /// Not before this long, where somebody said so.
        after: Option<Duration>,
    },
    /// It will never succeed, or must not be repeated.
    Dead {
        /// Why, in words without secrets.
        error: String,
    },
}

/// How an accepted event stands, as its row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// Accepted, not worked off yet; running ones are pending in their row.
    Pending,
    /// What it asked for has happened.
    Done,
    /// It is a dead letter.
    Dead,
}

/// The row of an accepted event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRow {
    /// Its identifier.
    pub id: TimedId,
    /// Where it came from.
    pub source: InboxSource,
    /// Its idempotency key.
    pub key: String,
    /// How it stands.
    pub status: EventStatus,
    /// Attempts so far.
    pub attempts: u32,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it was done or given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_at: Option<Timestamp>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl EventRow {
    /// The write that puts the row in its place.
    pub fn write(&self) -> RecordWrite {
        RecordWrite::put(Table::Events, self.id.to_bytes(), self)
    }
}

/// The write that keeps the body of an event.
pub fn write_body(id: TimedId, body: &[u8]) -> RecordWrite {
    RecordWrite {
        table: Table::EventBodies,
        key: id.to_bytes().to_vec(),
        value: Some(body.to_vec()),
    }
}
