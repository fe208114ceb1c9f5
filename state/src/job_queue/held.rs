//! Jobs and partitions as the queue holds them, and the rows that their ends write.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{JobChange, JobQueue, JobView, Report};
use crate::job::{EventRow, EventStatus, JobKind, NewJob, QueueRules};
use crate::key::{LeaseId, TimedId};
use crate::machine::{Apply as _, Decision, Order, ReadError, Records, Scan, Table};
use crate::timestamp::Timestamp;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Partition {
    pub(super) queued: BTreeSet<(Timestamp, TimedId)>,
    pub(super) running: usize,
    pub(super) done: u64,
    pub(super) dead: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) kind: JobKind,
    pub(super) key: String,
    pub(super) payload: Option<String>,
    pub(super) enqueued_at: Timestamp,
    pub(super) attempts: u32,
    pub(super) state: JobState,
}

impl Job {
    /// Whether it is past the time to live of its kind.
    pub(super) fn is_too_old(&self, now: Timestamp, rules: &QueueRules) -> bool {
        rules.job(self.kind).ttl.is_some_and(|ttl| now >= self.enqueued_at.after(ttl))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum JobState {
    Queued { due: Timestamp },
    Running { lease: LeaseId, worker: String, since: Timestamp, ends: Timestamp },
}

/// The saved form of the partitions: each with its kind.
pub(super) mod by_name {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{JobKind, Partition};

    pub(in super::super) fn serialize<S: Serializer>(
        of: &[Partition],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        // All of them, also in a queue that has seen none yet: equal queues have equal forms.
        let none = Partition::default();
        let of = |kind: JobKind| (kind, of.get(kind.index()).unwrap_or(&none));
        JobKind::all().map(of).collect::<Vec<_>>().serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Partition>, D::Error> {
        let saved = Vec::<(JobKind, Partition)>::deserialize(from)?;
        let mut partitions = vec![Partition::default(); JobKind::COUNT];
        for (kind, partition) in saved {
            partitions[kind.index()] = partition;
        }
        Ok(partitions)
    }
}

/// The row of a job that is an accepted event.
pub(super) fn event_row(now: Timestamp, job: &NewJob) -> Option<EventRow> {
    let JobKind::Inbox(source) = job.kind else { return None };
    Some(EventRow {
        id: job.id,
        source,
        key: job.key.clone(),
        status: EventStatus::Pending,
        attempts: 0,
        accepted_at: now,
        done_at: None,
        error: None,
    })
}

fn view_of(id: TimedId, job: &Job) -> JobView {
    let (running, due) = match &job.state {
        JobState::Queued { due } => (None, Some(*due)),
        JobState::Running { worker, since, .. } => (Some((*since, worker.clone())), None),
    };
    JobView {
        id,
        kind: job.kind,
        key: job.key.clone(),
        attempts: job.attempts,
        enqueued_at: job.enqueued_at,
        running,
        due,
    }
}

impl JobQueue {
    /// The queue that the rows of accepted events speak of: what is pending waits, with the
    /// attempts that its row counts. Tools' jobs have no rows; who waits for one hears that it is
    /// late.
    ///
    /// # Errors
    /// [`ReadError`] if the rows cannot be read.
    pub fn from_rows(records: &dyn Records) -> Result<Self, ReadError> {
        const PAGE: usize = 1000;
        let mut queue = Self::default();
        let mut last: Option<Vec<u8>> = None;
        loop {
            let (prefix, beyond) = (&[][..], last.as_deref());
            let scan = Scan { prefix, beyond, order: Order::Ascending, limit: PAGE };
            let page = records.scan(Table::Events, scan)?;
            for (_, row) in &page {
                let row: EventRow = serde_json::from_slice(row)
                    .map_err(|error| ReadError(format!("an event's row: {error}")))?;
                queue.take_up(row);
            }
            if page.len() < PAGE {
                return Ok(queue);
            }
            last = page.into_iter().next_back().map(|(key, _)| key);
        }
    }

    fn take_up(&mut self, row: EventRow) {
        if row.status != EventStatus::Pending {
            return;
        }
        let EventRow { id, source, key, attempts, accepted_at, .. } = row;
        let job = NewJob { id, kind: JobKind::Inbox(source), key, payload: None };
        self.apply(&JobChange::Enqueued { at: accepted_at, jobs: vec![job] });
        self.apply(&JobChange::Requeued { id, due: accepted_at, attempts });
    }
}

impl JobQueue {
    /// Jobs of these kinds that wait or run, oldest first, at most `most`.
    pub fn list(&self, kinds: &[JobKind], most: usize) -> Vec<JobView> {
        let running = self.running_ids().filter(|id| kinds.contains(&self.jobs[id].kind));
        let waiting = kinds.iter().filter_map(|kind| self.partition(*kind));
        let waiting = waiting.flat_map(|of| of.queued.iter().take(most).map(|(_, id)| *id));
        let ids: BTreeSet<TimedId> = running.chain(waiting).collect();
        ids.into_iter().take(most).map(|id| view_of(id, &self.jobs[&id])).collect()
    }

    /// Takes a job out of the index that its state stands in.
    pub(super) fn unlist(&mut self, id: TimedId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let kind = job.kind;
        match job.state.clone() {
            JobState::Queued { due } => {
                self.partition_mut(kind).queued.remove(&(due, id));
            }
            JobState::Running { ends, .. } => {
                self.ends.remove(&(ends, id));
                self.partition_mut(kind).running -= 1;
            }
        }
    }

    /// Puts a job into the queue, to fall due at `due`.
    pub(super) fn list_queued(&mut self, id: TimedId, due: Timestamp) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.state = JobState::Queued { due };
            let kind = job.kind;
            self.partition_mut(kind).queued.insert((due, id));
        }
    }
}

fn row_of(id: TimedId, job: &Job, status: EventStatus, error: Option<String>) -> Option<EventRow> {
    let new = NewJob { id, kind: job.kind, key: job.key.clone(), payload: None };
    let row = event_row(job.enqueued_at, &new)?;
    Some(EventRow { status, attempts: job.attempts, error, ..row })
}

/// The end of a job: done, or given up for the reason in `error`.
pub(super) fn end(
    now: Timestamp,
    id: TimedId,
    job: &Job,
    error: Option<String>,
) -> Decision<Report, JobChange> {
    let dead = error.is_some();
    let status = if dead { EventStatus::Dead } else { EventStatus::Done };
    let row =
        row_of(id, job, status, error).map(|row| EventRow { done_at: Some(now), ..row }.write());
    Decision::new(Report::Ended, JobChange::Ended { id, dead, at: now })
        .writing(row.into_iter().collect())
}

pub(super) fn requeue(
    id: TimedId,
    job: &Job,
    due: Timestamp,
    attempts: u32,
    error: Option<String>,
) -> Decision<Report, JobChange> {
    let row = row_of(id, job, EventStatus::Pending, error).map(|row| row.write());
    Decision::new(Report::WillRetry, JobChange::Requeued { id, due, attempts })
        .writing(row.into_iter().collect())
}
