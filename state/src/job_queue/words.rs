//! The words of the queue: what those who hand in and those who work are told.

use std::time::Duration;

use serde::Serialize;

use super::JobQueue;
use super::held::{Job, JobState};
use crate::job::{ClaimedJob, JobKind};
use crate::key::TimedId;
use crate::timestamp::Timestamp;

/// What whoever hands in jobs is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// All of them are in the queue.
    Queued,
    /// The backlog of this kind is full; none was taken.
    Saturated(JobKind),
}

/// What an operator who wants a dead letter redelivered is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivery {
    /// It is in line again.
    Queued,
    /// It is no dead letter, or no longer.
    NotDead,
    /// The backlog of its kind is full.
    Full,
}

/// What a worker that asks for a job is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// This one is yours.
    Claimed(Box<ClaimedJob>),
    /// There is none now; the next falls due in so long, if any waits.
    Nothing {
        /// When to ask again at the latest.
        due_in: Option<Duration>,
    },
}

/// What a worker that reports is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The job is over.
    Ended,
    /// The job will be tried again.
    WillRetry,
    /// Your lease had ended; what you report was dropped.
    Stale,
}

/// How many jobs of one kind stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionView {
    /// Waiting.
    pub queued: usize,
    /// In workers' hands.
    pub running: usize,
    /// Done since the store was made.
    pub done: u64,
    /// Given up since the store was made.
    pub dead: u64,
    /// When the oldest waiting job was handed in.
    pub oldest_queued: Option<Timestamp>,
    /// Since when the longest running one runs.
    pub oldest_running: Option<Timestamp>,
}

impl JobQueue {
    /// How many jobs of a kind stand where.
    pub fn view(&self, kind: JobKind) -> PartitionView {
        let Some(partition) = self.partition(kind) else { return PartitionView::default() };
        let waiting = partition.queued.iter().map(|(_, id)| self.jobs[id].enqueued_at);
        let running = self.ends.iter().filter_map(|(_, id)| match &self.jobs[id] {
            Job { kind: of, state: JobState::Running { since, .. }, .. } if *of == kind => {
                Some(*since)
            }
            Job { .. } => None,
        });
        PartitionView {
            queued: partition.queued.len(),
            running: partition.running,
            done: partition.done,
            dead: partition.dead,
            oldest_queued: waiting.min(),
            oldest_running: running.min(),
        }
    }
}

/// What operators see of one job that waits or runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// Its identifier.
    pub id: TimedId,
    /// What it does.
    pub kind: JobKind,
    /// What it is about.
    pub key: String,
    /// Attempts begun.
    pub attempts: u32,
    /// When it was handed in.
    pub enqueued_at: Timestamp,
    /// Since when it runs, and in whose hands; `None` while it waits.
    pub running: Option<(Timestamp, String)>,
    /// When it falls due; `None` while it runs.
    pub due: Option<Timestamp>,
}
