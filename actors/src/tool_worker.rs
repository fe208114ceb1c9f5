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
use tokio::sync::{Notify, oneshot};

use crate::handle::Around;
use crate::job_queue::{JobEnd, Jobs};
use crate::observe::{CaughtPanic, Cause, Status, Vitals};
use crate::ports::{Attempt, JobRunner};
use crate::supervisor::{Down, Place, Reports, Subtree, Supervised};

/// The longest a worker goes without asking for work, should a notification get lost.
const POLL: Duration = Duration::from_millis(250);

/// Delays while the queue gives no answer.
const QUEUE_BACKOFF: Backoff =
    Backoff { base: Duration::from_millis(20), cap: Duration::from_secs(1) };

/// How often a report is repeated before the job is left to its lease.
const REPORTS: u32 = 5;

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
            vitals: Arc::new(Vitals::new(format!("tool_worker-{number}"))),
            subtree: Arc::clone(subtree),
            jobs: jobs.clone(),
            runner: Arc::clone(runner),
            around: around.clone(),
            place: Mutex::new(None),
            draining: AtomicBool::new(false),
            drain: Notify::new(),
            faults: crate::faults::FaultBoard::default(),
        })
    }

    async fn work(self: Arc<Self>) {
        let mut failures = 0;
        while !self.draining.load(Ordering::Acquire) {
            match self.jobs.claim(self.vitals.name()).await {
                Ok(ClaimAnswer::Claimed(job)) => {
                    failures = 0;
                    self.run(*job).await;
                }
                Ok(ClaimAnswer::Nothing { due_in }) => {
                    failures = 0;
                    self.rest(due_in.unwrap_or(POLL).min(POLL)).await;
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
            () = self.jobs.work() => {}
            () = tokio::time::sleep(at_most) => {}
            () = self.drain.notified() => {}
        }
    }

    async fn run(&self, job: ClaimedJob) {
        let now = self.around.clock.now();
        self.vitals.enter(now);
        self.vitals.step_begins(now, now);
        #[cfg(feature = "faults")]
        self.faults.strike(crate::faults::Step::Timer);
        let attempt = self.attempt(&job).await;
        if let Some(attempt) = attempt {
            self.report(&job, attempt).await;
        }
        self.vitals.step_ends();
        self.vitals.leave();
    }

    /// Runs the job while its lease lasts; `None` if the lease was lost or given back.
    async fn attempt(&self, job: &ClaimedJob) -> Option<Attempt> {
        let deadline = self.runner.deadline(job.kind);
        let running = AssertUnwindSafe(self.runner.run(job.clone())).catch_unwind();
        let running = tokio::time::timeout(deadline, running);
        tokio::pin!(running);
        let lease = self.around.clock.now().until(job.ends);
        let mut renewals = tokio::time::interval((lease / 3).max(Duration::from_millis(1)));
        renewals.tick().await;
        let ended = loop {
            tokio::select! {
                ended = &mut running => break ended,
                _ = renewals.tick() => {
                    if !self.jobs.renew(job).await {
                        return None;
                    }
                }
                () = self.drain.notified() => {
                    self.jobs.give_back(job);
                    return None;
                }
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

    /// Reports an attempt until the queue has taken it in, then tells whoever waits.
    async fn report(&self, job: &ClaimedJob, Attempt { outcome, result }: Attempt) {
        let end = match &outcome {
            AttemptOutcome::Done { .. } => JobEnd::Done(result.unwrap_or_default()),
            AttemptOutcome::Retry { error, .. } | AttemptOutcome::Dead { error } => {
                JobEnd::GivenUp(error.clone())
            }
        };
        for attempt in 1..=REPORTS {
            let random = getrandom::u64().unwrap_or_default();
            match self.jobs.report(job, outcome.clone(), random).await {
                Ok(Report::Ended) => return self.jobs.deliver(job.id, end),
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

/// Reports the end of a worker's task, whatever ended it.
struct Sentinel {
    down: Option<Down>,
    reports: Reports,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if let Some(mut down) = self.down.take() {
            down.panicking = std::thread::panicking();
            self.reports.down(down);
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
        place.run(move || {
            let incarnation = self.vitals.next_incarnation();
            let actor = self.vitals.name().to_owned();
            let down = Some(Down { actor, incarnation, panicking: false });
            let sentinel = Sentinel { down, reports: self.around.reports.clone() };
            // A worker that died at work left its place in the count behind.
            while self.vitals.depth() > 0 {
                self.vitals.leave();
            }
            self.vitals.set_status(Status::Running);
            actix_rt::spawn(async move {
                let _sentinel = sentinel;
                self.work().await;
            });
        })
    }

    fn place(&self) -> Option<Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tick(&self) {}

    fn drain(&self) -> oneshot::Receiver<()> {
        let (done, drained) = oneshot::channel();
        self.draining.store(true, Ordering::Release);
        self.vitals.set_status(Status::Stopped);
        self.drain.notify_one();
        let _ = done.send(());
        drained
    }

    fn faults(&self) -> &crate::faults::FaultBoard {
        &self.faults
    }
}
