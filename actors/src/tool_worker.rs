//! Workers: each claims a job, runs it through a port outside any mailbox, and reports back.
//!
//! A worker is a supervised task. A job that panics is an attempt that failed; a worker that dies
//! is started again, and its job goes to another when the lease ends. While a job runs its lease is
//! renewed; a lease that was lost ends the attempt, for another worker has the job by then.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use sendcat_state::backoff::Backoff;
use sendcat_state::job::{AttemptOutcome, ClaimedJob};
use sendcat_state::job_queue::{ClaimAnswer, Report};
use sendcat_state::timestamp::Timestamp;
use tokio::sync::{Notify, oneshot};
use tracing::Instrument as _;

use crate::handle::Around;
use crate::job_queue::{JobEnd, Jobs};
use crate::observe::{CaughtPanic, Cause, Era, Status, Vitals};
use crate::ports::{Attempt, JobRunner};
use crate::supervisor::{Place, Sentinel, Subtree, Supervised};
use crate::watchdog::Sight;

/// Delays while the queue gives no answer.
const QUEUE_BACKOFF: Backoff =
    Backoff { base: Duration::from_millis(20), cap: Duration::from_secs(1) };

/// How often a report is repeated before the job is left to its lease.
const REPORTS: u32 = 5;

/// What every worker's name begins with.
pub(crate) const WORKER: &str = "tool_worker";

/// One worker.
pub(crate) struct Worker {
    vitals: Arc<Vitals>,
    subtree: Arc<Subtree>,
    jobs: Jobs,
    runner: Arc<dyn JobRunner>,
    around: Around,
    place: Mutex<Option<Place>>,
    draining: AtomicBool,
    drain: Notify,
    /// Told when the worker has come to rest.
    drained: Mutex<Vec<oneshot::Sender<()>>>,
    faults: crate::faults::FaultBoard,
}

impl Worker {
    pub(crate) fn new(
        number: usize,
        subtree: &Arc<Subtree>,
        around: &Around,
        jobs: &Jobs,
        runner: &Arc<dyn JobRunner>,
    ) -> Arc<Self> {
        Arc::new(Self {
            vitals: Arc::new(Vitals::new(format!("{WORKER}-{number}"))),
            subtree: Arc::clone(subtree),
            jobs: jobs.clone(),
            runner: Arc::clone(runner),
            around: around.clone(),
            place: Mutex::new(None),
            draining: AtomicBool::new(false),
            drain: Notify::new(),
            drained: Mutex::default(),
            faults: crate::faults::FaultBoard::default(),
        })
    }

    fn drained(&self) -> std::sync::MutexGuard<'_, Vec<oneshot::Sender<()>>> {
        self.drained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn work(self: Arc<Self>, incarnation: u64) {
        let mut failures = 0;
        // One whose thread was abandoned has a successor when it wakes.
        let current = |worker: &Self| worker.vitals.launched() == incarnation;
        while current(&self) && !self.draining.load(Ordering::Acquire) {
            match self.jobs.claim(self.vitals.name()).await {
                Ok(ClaimAnswer::Claimed(job)) => {
                    failures = 0;
                    self.run(*job).await;
                }
                Ok(ClaimAnswer::Nothing { due_in }) => {
                    failures = 0;
                    let poll = self.jobs.poll();
                    self.rest(due_in.unwrap_or(poll).min(poll)).await;
                }
                Err(_) => {
                    failures += 1;
                    self.rest(QUEUE_BACKOFF.delay(failures)).await;
                }
            }
        }
        self.vitals.set_status(Status::Stopped);
    }

    /// Waits for work, for the time, or for the end.
    async fn rest(&self, at_most: Duration) {
        tokio::select! {
            biased;
            () = self.jobs.work() => {}
            () = tokio::time::sleep(at_most) => {}
            () = self.drain.notified() => {}
        }
    }

    async fn run(&self, job: ClaimedJob) {
        let now = self.around.clock.now();
        let _at_work = AtWork::begin(&self.vitals, now);
        self.faults.strike(crate::faults::Step::Timer);
        let span = tracing::info_span!("job", id = %job.id, kind = %job.kind);
        let worked = async {
            if let Some(attempt) = self.attempt(&job).await {
                self.report(&job, attempt).await;
            }
        };
        worked.instrument(span).await;
    }

    /// Runs the job while its lease lasts; `None` if the lease was lost or given back.
    async fn attempt(&self, job: &ClaimedJob) -> Option<Attempt> {
        let deadline = self.runner.deadline(job.kind);
        let running = async {
            self.jobs.faults().strike_job(job.id.as_u128());
            self.runner.run(job.clone()).await
        };
        let running = AssertUnwindSafe(running).catch_unwind();
        let running = tokio::time::timeout(deadline, running);
        tokio::pin!(running);
        // What has ended has ended, also when its lease does in the same moment.
        let ended = tokio::select! {
            biased;
            ended = &mut running => ended,
            () = self.keep_lease(job) => return None,
            () = self.drain.notified() => {
                self.jobs.give_back(job);
                return None;
            }
        };
        Some(match ended {
            Ok(Ok(attempt)) => attempt,
            Ok(Err(payload)) => {
                let panic = CaughtPanic::of(payload.as_ref());
                self.vitals.note_panic(self.around.clock.now(), "job", panic);
                self.vitals.count_restart(Cause::Decide);
                failed("the attempt panicked")
            }
            Err(_) => failed(&format!("the attempt did not end within {deadline:?}")),
        })
    }

    /// Renews the lease for as long as it is polled; resolves when it was lost.
    async fn keep_lease(&self, job: &ClaimedJob) {
        let lease = self.around.clock.now().until(job.ends);
        let mut renewals = tokio::time::interval((lease / 3).max(Duration::from_millis(1)));
        renewals.tick().await;
        loop {
            renewals.tick().await;
            if !self.jobs.renew(job).await {
                return;
            }
        }
    }

    /// Reports an attempt until the queue has taken it in, then tells whoever waits.
    async fn report(&self, job: &ClaimedJob, Attempt { outcome, result }: Attempt) {
        let end = match &outcome {
            AttemptOutcome::Done { .. } => JobEnd::Done(result.unwrap_or_default()),
            AttemptOutcome::Retry { error, .. } | AttemptOutcome::Dead { error } => {
                JobEnd::GivenUp(error.clone())
            }
        };
        for attempt in 1..=REPORTS {
            let random = crate::chance::number();
            match self.jobs.report(job, outcome.clone(), random).await {
                Ok(Report::Ended) => return self.jobs.deliver(job.id, end),
                // An earlier report got no answer and was taken in all the same.
                Ok(Report::Stale) if attempt > 1 && matches!(end, JobEnd::Done(_)) => {
                    return self.jobs.deliver(job.id, end);
                }
                Ok(Report::WillRetry | Report::Stale) => return,
                Err(error) => {
                    tracing::warn!(job = %job.id, %error, attempt, "a report was not taken in");
                    tokio::time::sleep(QUEUE_BACKOFF.delay(attempt)).await;
                }
            }
        }
    }
}

fn failed(error: &str) -> Attempt {
    let outcome = AttemptOutcome::Retry { error: error.to_owned(), after: None };
    Attempt { outcome, result: None }
}

/// Counts a job as work inside, also if the worker dies at it.
struct AtWork<'a>(&'a Vitals, Era);

impl<'a> AtWork<'a> {
    fn begin(vitals: &'a Vitals, now: Timestamp) -> Self {
        let era = vitals.enter(now);
        vitals.step_begins(now, now);
        Self(vitals, era)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.step_ends();
        self.0.leave(self.1);
    }
}

/// Tells whoever waits for a worker to be at rest that its task has ended, whatever ended it.
struct AtRest(Arc<Worker>);

impl Drop for AtRest {
    fn drop(&mut self) {
        for drained in self.0.drained().drain(..) {
            let _ = drained.send(());
        }
    }
}

impl Supervised for Worker {
    fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }

    fn subtree(&self) -> &Arc<Subtree> {
        &self.subtree
    }

    fn start(self: Arc<Self>, place: Place) -> bool {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place.clone());
        let incarnation = self.vitals.next_launch();
        place.run(move || {
            let sentinel = Sentinel::new(self.vitals.name(), incarnation, &self.around.reports);
            let ends = (sentinel, AtRest(Arc::clone(&self)));
            self.vitals.set_status(Status::Running);
            actix_rt::spawn(async move {
                // Dropped in this order: who hears of the rest finds the end reported.
                let _ends = ends;
                self.work(incarnation).await;
            });
        })
    }

    fn place(&self) -> Option<Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tick(&self) {}

    fn sight(&self) -> Option<Sight> {
        // A job may take its time; the queue's lease watches it.
        None
    }

    fn drain(&self) -> oneshot::Receiver<()> {
        let (done, drained) = oneshot::channel();
        // A job at work is given back, and only then is the worker at rest. It says so to whoever
        // has asked before it learns that it is to end.
        if self.vitals.status() == Status::Running {
            self.drained().push(done);
        } else {
            let _ = done.send(());
        }
        self.draining.store(true, Ordering::Release);
        self.vitals.set_status(Status::Stopped);
        self.drain.notify_one();
        drained
    }

    fn faults(&self) -> &crate::faults::FaultBoard {
        &self.faults
    }

    fn crowd(&self) -> bool {
        // A worker has no mailbox: it takes its work.
        false
    }
}
