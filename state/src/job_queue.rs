//! Jobs with leases, attempts and caps by kind; also the inbox of accepted events.
//!
//! A worker claims a job and holds it by a lease that it renews; a lease that ends gives the job
//! to another worker, and whatever the first one still reports is dropped. An attempt that failed
//! waits longer each time; one too many makes the job a dead letter, and so does a wait beyond its
//! kind's time to live. Each kind has its own caps, so a flood of one tool holds up no other.
//!
//! Memory holds only jobs that wait or run. What accepted events said, and how they ended, lies
//! in the store's rows, written in the same commit as the change.
//!
//! Durability: journalled. The answer to an accepted event and to the end of a job waits for the
//! disk; claims and renewals are written and waited for by nobody. Leases are forgotten when the
//! process starts, for their holders died with the one before.
//!
//! # Invariants
//! - JQ-1: one worker holds a job.
//! - JQ-2: a job finishes once; results on a lapsed lease are dropped.
//! - JQ-3: a backlog never passes its cap.
//! - JQ-4: attempts never pass the maximum.
//! - JQ-5: a full tool never holds up another.

mod held;
mod known_keys;
mod redelivery;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::job::{AttemptOutcome, ClaimedJob, JobKind, NewJob, QueueRules};
use crate::key::{LeaseId, TimedId};
use crate::machine::{Apply, Decision, RecordWrite};
use crate::timestamp::Timestamp;
use held::{Job, JobState, Partition, by_name, end, event_row, requeue};
use known_keys::KnownKeys;
pub use words::{ClaimAnswer, Enqueued, JobView, PartitionView, Redelivery, Report, RunningView};

/// Why a job that waited too long was given up.
pub const TOO_OLD: &str = "it waited longer than its time to live";

/// The queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobQueue {
    next_lease: u64,
    jobs: BTreeMap<TimedId, Job>,
    /// In the order of [`JobKind::all`]; saved by name, for that order changes with a new kind.
    #[serde(with = "by_name")]
    partitions: Vec<Partition>,
    /// Leases by their end.
    ends: BTreeSet<(Timestamp, TimedId)>,
    #[serde(default)]
    known: KnownKeys,
}

/// What a verb makes of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobChange {
    /// Jobs came in.
    Enqueued {
        /// When.
        at: Timestamp,
        /// Which.
        jobs: Vec<NewJob>,
    },
    /// A worker took one.
    Claimed {
        /// Which.
        id: TimedId,
        /// Who.
        worker: String,
        /// When.
        at: Timestamp,
        /// When its lease ends.
        ends: Timestamp,
    },
    /// A worker renewed its lease.
    Renewed {
        /// On which job.
        id: TimedId,
        /// The lease's new end.
        ends: Timestamp,
    },
    /// An operator put a dead letter back in line, its attempts forgotten.
    Redelivered {
        /// When.
        at: Timestamp,
        /// Which.
        job: NewJob,
        /// When it was first handed in.
        accepted_at: Timestamp,
    },
    /// A job waits for its next attempt.
    Requeued {
        /// Which.
        id: TimedId,
        /// When it falls due.
        due: Timestamp,
        /// Attempts that count.
        attempts: u32,
    },
    /// A job is over.
    Ended {
        /// Which.
        id: TimedId,
        /// Whether it was given up.
        dead: bool,
        /// When.
        at: Timestamp,
    },
}

impl JobQueue {
    /// Takes jobs in, all or none. `writes` (claims, bodies) are committed with them. A job whose
    /// identifier is in the queue is taken once, and an event whose key was taken of late likewise.
    pub fn enqueue(
        &self,
        now: Timestamp,
        rules: &QueueRules,
        jobs: Vec<NewJob>,
        writes: Vec<RecordWrite>,
    ) -> Decision<Enqueued, JobChange> {
        let mut fresh: Vec<NewJob> = Vec::with_capacity(jobs.len());
        let mut known = BTreeSet::new();
        for job in jobs {
            // An identifier that stands twice in one request is one job, as in two requests.
            let taken = self.jobs.contains_key(&job.id) || self.known.knows(&job);
            if !taken && known.insert(job.id) {
                fresh.push(job);
            }
        }
        for kind in JobKind::all() {
            let more = fresh.iter().filter(|job| job.kind == kind).count();
            if more > 0 && self.queued(kind) + more > rules.partition(kind).queued_max {
                return Decision::unchanged(Enqueued::Saturated(kind));
            }
        }
        let rows = fresh.iter().filter_map(|job| event_row(now, job)).map(|row| row.write());
        let rows = rows.collect();
        if fresh.is_empty() {
            return Decision::unchanged(Enqueued::Queued).writing(writes);
        }
        let change = JobChange::Enqueued { at: now, jobs: fresh };
        Decision::new(Enqueued::Queued, change).writing(rows).writing(writes)
    }

    /// Gives `worker` the job that has been due longest, of a kind that is not at its cap.
    pub fn claim(
        &self,
        now: Timestamp,
        rules: &QueueRules,
        worker: &str,
    ) -> Decision<ClaimAnswer, JobChange> {
        let open = JobKind::all()
            .filter(|kind| self.running(*kind) < rules.partition(*kind).running_max)
            .filter_map(|kind| {
                let mut queued = self.partition(kind)?.queued.iter().take(rules.claim_scan);
                queued.find(|(_, id)| !self.jobs[id].is_too_old(now, rules)).copied()
            });
        let Some((due, id)) = open.min() else {
            return Decision::unchanged(ClaimAnswer::Nothing { due_in: None });
        };
        if due > now {
            let due_in = Some(now.until(due));
            return Decision::unchanged(ClaimAnswer::Nothing { due_in });
        }
        let job = &self.jobs[&id];
        let ends = now.after(rules.job(job.kind).lease);
        let claimed = ClaimedJob {
            id,
            kind: job.kind,
            key: job.key.clone(),
            payload: job.payload.clone(),
            attempt: job.attempts + 1,
            lease: self.lease_at(now),
            ends,
            enqueued_at: job.enqueued_at,
        };
        let change = JobChange::Claimed { id, worker: worker.into(), at: now, ends };
        Decision::new(ClaimAnswer::Claimed(Box::new(claimed)), change)
    }

    /// Renews the lease of a worker that is still at it. `false` if it had ended.
    pub fn renew(
        &self,
        now: Timestamp,
        rules: &QueueRules,
        id: TimedId,
        lease: LeaseId,
    ) -> Decision<bool, JobChange> {
        match self.held(now, id, lease) {
            Some(job) => {
                let ends = now.after(rules.job(job.kind).lease);
                Decision::new(true, JobChange::Renewed { id, ends })
            }
            None => Decision::unchanged(false),
        }
    }

    /// Takes in what came of an attempt. `random` spreads the retries of jobs that failed together.
    pub fn report(
        &self,
        now: Timestamp,
        rules: &QueueRules,
        (id, lease): (TimedId, LeaseId),
        outcome: AttemptOutcome,
        random: u64,
    ) -> Decision<Report, JobChange> {
        let Some(job) = self.held(now, id, lease) else {
            return Decision::unchanged(Report::Stale);
        };
        match outcome {
            AttemptOutcome::Done { writes } => end(now, id, job, None).writing(writes),
            AttemptOutcome::Dead { error } => end(now, id, job, Some(error)),
            AttemptOutcome::Retry { error, after } => {
                let too_old = job.is_too_old(now, rules);
                let rules = rules.job(job.kind);
                if job.attempts >= rules.max_attempts || too_old {
                    return end(now, id, job, Some(error));
                }
                let delay = rules.backoff().jittered(job.attempts, random);
                let due = now.after(delay.max(after.unwrap_or_default()));
                requeue(id, job, due, job.attempts, Some(error))
            }
        }
    }

    /// Gives a job back unworked, as a worker does when the process drains: no attempt counts.
    pub fn give_back(
        &self,
        now: Timestamp,
        id: TimedId,
        lease: LeaseId,
    ) -> Decision<(), JobChange> {
        match self.held(now, id, lease) {
            Some(job) => requeue(id, job, now, job.attempts.saturating_sub(1), None).map(|_| ()),
            None => Decision::unchanged(()),
        }
    }

    /// Takes back one job whose lease has ended, or gives up one that is past its time to live;
    /// call again until nothing changes.
    pub fn sweep(&self, now: Timestamp, rules: &QueueRules) -> Decision<(), JobChange> {
        let Some((_, id)) = self.ends.first().copied().filter(|(ends, _)| *ends <= now) else {
            return self.sweep_waiting(now, rules);
        };
        let job = &self.jobs[&id];
        let error = "the worker's lease ended before it reported".to_owned();
        if job.attempts >= rules.job(job.kind).max_attempts || job.is_too_old(now, rules) {
            return end(now, id, job, Some(error)).map(|_| ());
        }
        requeue(id, job, now, job.attempts, Some(error)).map(|_| ())
    }

    /// Gives up the oldest waiting job that is past its time to live.
    fn sweep_waiting(&self, now: Timestamp, rules: &QueueRules) -> Decision<(), JobChange> {
        let mortal = JobKind::all().filter(|kind| rules.job(*kind).ttl.is_some());
        let waiting = mortal.filter_map(|kind| self.partition(kind)).flat_map(|of| &of.queued);
        let too_old = waiting
            .map(|(_, id)| (self.jobs[id].enqueued_at, *id))
            .filter(|(_, id)| self.jobs[id].is_too_old(now, rules));
        let Some((_, id)) = too_old.min() else { return Decision::unchanged(()) };
        let error = TOO_OLD.to_owned();
        end(now, id, &self.jobs[&id], Some(error)).map(|_| ())
    }

    /// Ends every lease: the workers died with the process that ran them. The sweeps that follow
    /// put their jobs back in line, or give up a job that has cost its last attempt (JQ-4): one
    /// that takes the process with it must not be tried for ever.
    pub fn forget_leases(&mut self, now: Timestamp) {
        let running: Vec<_> = self.ends.iter().map(|(_, id)| *id).collect();
        for id in running {
            self.apply(&JobChange::Renewed { id, ends: now });
        }
    }

    /// Whether a job waits or runs.
    pub fn knows(&self, id: TimedId) -> bool {
        self.jobs.contains_key(&id)
    }

    /// Whether a job is in a worker's hands.
    pub fn is_running(&self, id: TimedId) -> bool {
        self.jobs.get(&id).is_some_and(|job| matches!(job.state, JobState::Running { .. }))
    }

    /// Which jobs are in workers' hands.
    pub fn running_ids(&self) -> impl Iterator<Item = TimedId> + '_ {
        self.ends.iter().map(|(_, id)| *id)
    }

    fn partition(&self, kind: JobKind) -> Option<&Partition> {
        self.partitions.get(kind.index())
    }

    fn partition_mut(&mut self, kind: JobKind) -> &mut Partition {
        if self.partitions.len() < JobKind::COUNT {
            self.partitions.resize_with(JobKind::COUNT, Partition::default);
        }
        &mut self.partitions[kind.index()]
    }

    fn queued(&self, kind: JobKind) -> usize {
        self.partition(kind).map_or(0, |partition| partition.queued.len())
    }

    fn running(&self, kind: JobKind) -> usize {
        self.partition(kind).map_or(0, |partition| partition.running)
    }

    /// The number of a lease given now. It follows the time as well as the count: a claim is not
    /// waited for on its way to the disk, so a queue that is built again may have forgotten some,
    /// and must not give their numbers anew.
    fn lease_at(&self, now: Timestamp) -> LeaseId {
        LeaseId(self.next_lease.max(now.as_millis()))
    }

    /// The job, if that lease is the one that holds it and has not ended (JQ-2).
    fn held(&self, now: Timestamp, id: TimedId, lease: LeaseId) -> Option<&Job> {
        let job = self.jobs.get(&id)?;
        match &job.state {
            JobState::Running { lease: live, ends, .. } if *live == lease && now < *ends => {
                Some(job)
            }
            JobState::Running { .. } | JobState::Queued { .. } => None,
        }
    }
}

impl Apply<JobChange> for JobQueue {
    fn apply(&mut self, change: &JobChange) {
        match change {
            JobChange::Enqueued { at, jobs } => {
                for new in jobs {
                    self.known.begin(new.kind, &new.key);
                    let job = Job {
                        kind: new.kind,
                        key: new.key.clone(),
                        payload: new.payload.clone(),
                        enqueued_at: *at,
                        attempts: 0,
                        state: JobState::Queued { due: *at },
                    };
                    self.jobs.insert(new.id, job);
                    self.list_queued(new.id, *at);
                }
            }
            JobChange::Redelivered { at, job, accepted_at } => {
                self.take_back(*at, job, *accepted_at);
            }
            JobChange::Claimed { id, worker, at, ends } => {
                self.unlist(*id);
                let lease = self.lease_at(*at);
                self.next_lease = lease.0 + 1;
                if let Some(job) = self.jobs.get_mut(id) {
                    job.attempts += 1;
                    let worker = worker.clone();
                    job.state = JobState::Running { lease, worker, since: *at, ends: *ends };
                    let kind = job.kind;
                    self.ends.insert((*ends, *id));
                    self.partition_mut(kind).running += 1;
                }
            }
            JobChange::Renewed { id, ends } => {
                let Some(job) = self.jobs.get_mut(id) else { return };
                if let JobState::Running { ends: old, .. } = &mut job.state {
                    self.ends.remove(&(*old, *id));
                    *old = *ends;
                    self.ends.insert((*ends, *id));
                }
            }
            JobChange::Requeued { id, due, attempts } => {
                self.unlist(*id);
                if let Some(job) = self.jobs.get_mut(id) {
                    job.attempts = *attempts;
                }
                self.list_queued(*id, *due);
            }
            JobChange::Ended { id, dead, at } => {
                self.unlist(*id);
                if let Some(job) = self.jobs.remove(id) {
                    self.known.end(*at, job.kind, &job.key);
                    let partition = self.partition_mut(job.kind);
                    if *dead { partition.dead += 1 } else { partition.done += 1 }
                }
            }
        }
    }
}
