//! The job queue: tools for chat turns, and the inbox of accepted events.
//!
//! Workers are told by notification that there is work; a tool's caller is told its result the
//! same way. Every answer that somebody acts on outside (an event accepted, a job ended) waits for
//! the disk.

mod letters;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
pub use letters::{EventPage, NotRedelivered};
use sendcat_state::job::{AttemptOutcome, ClaimedJob, EventRow, JobKind, NewJob, QueueRules};
use sendcat_state::job_queue::{
    ClaimAnswer, Enqueued, JobChange, JobQueue, JobView, PartitionView, Redelivery, Report, TOO_OLD,
};
use sendcat_state::key::{LeaseId, TimedId};
use sendcat_state::machine::{Decision, ReadError, RecordWrite, Records};
use sendcat_state::timestamp::Timestamp;
use tokio::sync::{Notify, oneshot};

use crate::failure::AskError;
use crate::handle::{Around, Handle};
use crate::journal::Journal;
use crate::machine::{Class, Machine};
use crate::supervisor::Subtree;

/// How long between two looks whether a job that is too old is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What the queue is asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// Take these jobs, with these records.
    Enqueue(Vec<NewJob>, Vec<RecordWrite>),
    /// Put this dead letter back in line, with these records.
    Redeliver(Box<EventRow>, Vec<RecordWrite>),
    /// A job for this worker.
    Claim(String),
    /// A lease still needed.
    Renew(TimedId, LeaseId),
    /// What came of an attempt.
    Report {
        /// Of which kind the job is.
        kind: JobKind,
        /// The job and the lease on it.
        held: (TimedId, LeaseId),
        /// What came of it.
        outcome: AttemptOutcome,
        /// Spreads retries.
        random: u64,
    },
    /// A job given back unworked.
    GiveBack(TimedId, LeaseId),
    /// Jobs of these kinds that wait or run, at most so many.
    List(Vec<JobKind>, usize),
    /// Whether this job waits or runs.
    Knows(TimedId),
}

/// What it answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Command::Enqueue`].
    Enqueued(Enqueued),
    /// To [`Command::Redeliver`].
    Redelivered(Redelivery),
    /// To [`Command::Claim`].
    Claim(ClaimAnswer),
    /// To [`Command::Renew`]: whether the lease is still there.
    Renewed(bool),
    /// To [`Command::Report`].
    Reported(Report),
    /// To [`Command::List`], oldest first.
    Listed(Vec<JobView>),
    /// To [`Command::Knows`].
    Known(bool),
    /// To all else.
    Noted,
}

/// What operators see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Each kind's partition.
    pub partitions: Vec<(JobKind, PartitionView)>,
    /// Jobs in workers' hands.
    pub running: Vec<TimedId>,
}

impl Machine for JobQueue {
    type Command = Command;
    type Answer = Answer;
    type Change = JobChange;
    type Rules = QueueRules;
    type View = View;

    const KIND: &'static str = "job_queue";
    const CLASS: Class = Class::Journalled;
    const ASK_DEADLINE: Duration = Duration::from_secs(5);

    fn fresh() -> Self {
        Self::default()
    }

    fn decide(
        &self,
        now: Timestamp,
        rules: &QueueRules,
        command: Command,
    ) -> Decision<Answer, JobChange> {
        match command {
            Command::Enqueue(jobs, writes) => {
                self.enqueue(now, rules, jobs, writes).map(Answer::Enqueued)
            }
            Command::Redeliver(row, writes) => {
                self.redeliver(now, rules, *row, writes).map(Answer::Redelivered)
            }
            Command::Claim(worker) => self.claim(now, rules, &worker).map(Answer::Claim),
            Command::Renew(id, lease) => self.renew(now, rules, id, lease).map(Answer::Renewed),
            Command::Report { held, outcome, random, .. } => {
                self.report(now, rules, held, outcome, random).map(Answer::Reported)
            }
            Command::GiveBack(id, lease) => self.give_back(now, id, lease).map(|()| Answer::Noted),
            Command::List(kinds, most) => {
                Decision::unchanged(Answer::Listed(self.list(&kinds, most)))
            }
            Command::Knows(id) => Decision::unchanged(Answer::Known(self.knows(id))),
        }
    }

    fn housekeep(&self, now: Timestamp, rules: &QueueRules) -> Decision<(), JobChange> {
        self.sweep(now, rules)
    }

    fn waits_for_disk(command: &Command) -> bool {
        match command {
            Command::Enqueue(jobs, _) => {
                jobs.iter().any(|job| matches!(job.kind, JobKind::Inbox(_)))
            }
            Command::Report { kind, .. } => matches!(kind, JobKind::Inbox(_)),
            Command::Redeliver(..) => true,
            Command::Claim(_)
            | Command::Renew(..)
            | Command::GiveBack(..)
            | Command::List(..)
            | Command::Knows(_) => false,
        }
    }

    fn undo(answer: Answer) -> Option<Command> {
        match answer {
            Answer::Claim(ClaimAnswer::Claimed(job)) => Some(Command::GiveBack(job.id, job.lease)),
            Answer::Claim(ClaimAnswer::Nothing { .. })
            | Answer::Enqueued(_)
            | Answer::Redelivered(_)
            | Answer::Renewed(_)
            | Answer::Reported(_)
            | Answer::Listed(_)
            | Answer::Known(_)
            | Answer::Noted => None,
        }
    }

    fn salvage(_: Timestamp, records: &dyn Records) -> Result<Self, ReadError> {
        Self::from_rows(records)
    }

    fn reopened(&mut self, now: Timestamp) {
        self.forget_leases(now);
    }

    fn view(&self, _: Timestamp) -> View {
        View {
            partitions: JobKind::all().map(|kind| (kind, Self::view(self, kind))).collect(),
            running: self.running_ids().collect(),
        }
    }
}

/// How a job ended, for whoever waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// It was done, with this result.
    Done(String),
    /// It was given up, for this reason.
    GivenUp(String),
}

/// Why there is no result of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoResult {
    /// The backlog of its kind is full.
    #[error("[queue_saturated:{0}]")]
    Saturated(JobKind),
    /// The queue gave no answer.
    #[error(transparent)]
    Unavailable(#[from] AskError),
    /// It did not end in time; it may still be done.
    #[error("the job did not end in time")]
    Late,
}

/// The handle on the queue.
#[derive(Clone)]
pub struct Jobs {
    queue: Handle<JobQueue>,
    journal: Journal,
    work: Arc<Notify>,
    waiting: Arc<Mutex<HashMap<TimedId, oneshot::Sender<JobEnd>>>>,
    /// The longest a worker goes without looking, should a notification get lost.
    poll: Arc<ArcSwap<Duration>>,
    /// Held while a dead letter is redelivered: two at once must not both find it dead.
    redelivering: Arc<tokio::sync::Mutex<()>>,
}

impl Jobs {
    /// The faults armed on the queue.
    pub(crate) fn faults(&self) -> &crate::faults::FaultBoard {
        &self.queue.cell().faults
    }

    pub(crate) fn new(
        subtree: &Arc<Subtree>,
        around: &Around,
        (rules, poll): (QueueRules, Duration),
    ) -> Self {
        Self {
            queue: Handle::new("job_queue", subtree, around, rules, JobQueue::fresh()),
            journal: around.journal.clone(),
            work: Arc::default(),
            waiting: Arc::default(),
            poll: Arc::new(ArcSwap::from_pointee(poll)),
            redelivering: Arc::default(),
        }
    }

    /// Takes jobs in, all or none, with records that must be written in the same commit. For
    /// accepted events the answer comes when all of it is on disk.
    ///
    /// # Errors
    /// [`AskError`] if the queue gave no answer or the disk failed.
    pub async fn enqueue(
        &self,
        jobs: Vec<NewJob>,
        writes: Vec<RecordWrite>,
    ) -> Result<Enqueued, AskError> {
        let count = jobs.len();
        let answer = self.queue.ask(Command::Enqueue(jobs, writes)).await?;
        let Answer::Enqueued(enqueued) = answer else { return Err(AskError::Crashed) };
        if enqueued == Enqueued::Queued {
            (0..count).for_each(|_| self.work.notify_one());
        }
        Ok(enqueued)
    }

    /// Hands in a job and waits for its end, at most `wait`.
    ///
    /// # Errors
    /// [`NoResult`] says why there is none.
    pub async fn run(&self, job: NewJob, wait: Duration) -> Result<JobEnd, NoResult> {
        let (to, end) = oneshot::channel();
        let (id, ttl) = (job.id, self.queue.rules().job(job.kind).ttl);
        let registered = Registered { jobs: self.clone(), id };
        self.waiters().insert(id, to);
        match self.enqueue(vec![job], Vec::new()).await? {
            Enqueued::Queued => {}
            Enqueued::Saturated(kind) => return Err(NoResult::Saturated(kind)),
        }
        let waiting = async {
            tokio::select! {
                biased;
                ended = end => ended.map_err(|_| NoResult::Late),
                () = self.swept(id, ttl) => Ok(JobEnd::GivenUp(TOO_OLD.to_owned())),
            }
        };
        let ended = tokio::time::timeout(wait, waiting).await;
        drop(registered);
        ended.map_err(|_| NoResult::Late)?
    }

    /// Resolves when a job that has outlived its time to live is not there any more: no worker
    /// tells of a job that the queue itself gave up.
    async fn swept(&self, id: TimedId, ttl: Option<Duration>) {
        let Some(ttl) = ttl else { return std::future::pending().await };
        tokio::time::sleep(ttl).await;
        while !matches!(self.queue.ask(Command::Knows(id)).await, Ok(Answer::Known(false))) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        // A worker that has just reported tells of it right after.
        tokio::time::sleep(LOOK_AGAIN).await;
    }

    pub(crate) async fn claim(&self, worker: &str) -> Result<ClaimAnswer, AskError> {
        let answer = self.queue.ask(Command::Claim(worker.to_owned())).await?;
        let Answer::Claim(claimed) = answer else { return Err(AskError::Crashed) };
        Ok(claimed)
    }

    pub(crate) async fn renew(&self, job: &ClaimedJob) -> bool {
        // A queue that gives no answer takes no job away either.
        !matches!(
            self.queue.ask(Command::Renew(job.id, job.lease)).await,
            Ok(Answer::Renewed(false))
        )
    }

    pub(crate) async fn report(
        &self,
        job: &ClaimedJob,
        outcome: AttemptOutcome,
        random: u64,
    ) -> Result<Report, AskError> {
        let held = (job.id, job.lease);
        let command = Command::Report { kind: job.kind, held, outcome, random };
        let answer = self.queue.ask(command).await?;
        let Answer::Reported(report) = answer else { return Err(AskError::Crashed) };
        Ok(report)
    }

    pub(crate) fn give_back(&self, job: &ClaimedJob) {
        self.queue.tell(Command::GiveBack(job.id, job.lease));
        self.work.notify_one();
    }

    /// Tells whoever waits for a job how it ended.
    pub(crate) fn deliver(&self, id: TimedId, end: JobEnd) {
        if let Some(to) = self.waiters().remove(&id) {
            drop(to.send(end));
        }
    }

    /// Puts other caps, rules and pauses in force, from the next command on.
    pub fn set_rules(&self, rules: QueueRules, poll: Duration) {
        self.queue.set_rules(rules);
        self.poll.store(Arc::new(poll));
    }

    /// The longest a worker goes without looking.
    pub(crate) fn poll(&self) -> Duration {
        **self.poll.load()
    }

    /// Resolves when there may be work.
    pub(crate) async fn work(&self) {
        self.work.notified().await;
    }

    /// Jobs of these kinds that wait or run, oldest first, at most `most`.
    ///
    /// # Errors
    /// [`AskError`] if the queue gave no answer.
    pub async fn list(&self, kinds: Vec<JobKind>, most: usize) -> Result<Vec<JobView>, AskError> {
        let answer = self.queue.ask(Command::List(kinds, most)).await?;
        let Answer::Listed(jobs) = answer else { return Err(AskError::Crashed) };
        Ok(jobs)
    }

    /// What operators see.
    pub fn view(&self) -> Arc<View> {
        self.queue.view()
    }

    /// The actor.
    pub fn actor(&self) -> &Handle<JobQueue> {
        &self.queue
    }

    fn waiters(&self) -> std::sync::MutexGuard<'_, HashMap<TimedId, oneshot::Sender<JobEnd>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller that waits for a job; forgotten when dropped.
struct Registered {
    jobs: Jobs,
    id: TimedId,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.jobs.waiters().remove(&self.id);
    }
}
