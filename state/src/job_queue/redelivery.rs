//! Dead letters that an operator puts back in line.

use super::held::{Job, JobState};
use super::{JobChange, JobQueue, Redelivery};
use crate::job::{EventRow, EventStatus, JobKind, NewJob, QueueRules};
use crate::machine::{Decision, RecordWrite};
use crate::timestamp::Timestamp;

impl JobQueue {
    /// Puts a dead letter back in line as if it had just been accepted. `row` is its row as it
    /// stands on the disk; `writes` is committed with it.
    pub fn redeliver(
        &self,
        now: Timestamp,
        rules: &QueueRules,
        row: EventRow,
        writes: Vec<RecordWrite>,
    ) -> Decision<Redelivery, JobChange> {
        let kind = JobKind::Inbox(row.source);
        if row.status != EventStatus::Dead || self.jobs.contains_key(&row.id) {
            return Decision::unchanged(Redelivery::NotDead);
        }
        if self.queued(kind) >= rules.partition(kind).queued_max {
            return Decision::unchanged(Redelivery::Full);
        }
        let job = NewJob { id: row.id, kind, key: row.key.clone(), payload: None };
        let accepted_at = row.accepted_at;
        let status = EventStatus::Pending;
        let row = EventRow { status, attempts: 0, done_at: None, error: None, ..row };
        Decision::new(Redelivery::Queued, JobChange::Redelivered { at: now, job, accepted_at })
            .writing(vec![row.write()])
            .writing(writes)
    }

    pub(super) fn take_back(&mut self, at: Timestamp, job: &NewJob, accepted_at: Timestamp) {
        let NewJob { id, kind, key, payload } = job.clone();
        self.known.begin(kind, &key);
        let state = JobState::Queued { due: at };
        let job = Job { kind, key, payload, enqueued_at: accepted_at, attempts: 0, state };
        self.jobs.insert(id, job);
        self.list_queued(id, at);
        let partition = self.partition_mut(kind);
        // A queue that was put together from rows has counted no dead ones.
        partition.dead = partition.dead.saturating_sub(1);
    }
}
