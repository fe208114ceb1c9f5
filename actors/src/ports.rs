//! What the outside implements for the actors: the tree runs whole in a test with none of it real.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sendcat_state::alert_rules::Alert;
use sendcat_state::job::{AttemptOutcome, ClaimedJob, JobKind};
use sendcat_state::timestamp::Timestamp;

/// What an attempt at a job came to.
#[derive(Debug)]
pub struct Attempt {
    /// What the queue is told.
    pub outcome: AttemptOutcome,
    /// What whoever waits for the job is told, if it is done.
    pub result: Option<String>,
}

/// A piece of work on its way.
pub type Running = Pin<Box<dyn Future<Output = Attempt> + Send>>;

/// Runs jobs: tools for a chat turn, and what an accepted event asks for.
pub trait JobRunner: Send + Sync + 'static {
    /// Begins an attempt. A future that is dropped must leave nothing behind.
    fn run(&self, job: ClaimedJob) -> Running;

    /// The longest an attempt at such a job may take; the worker ends it there.
    fn deadline(&self, kind: JobKind) -> Duration;
}

/// Why an alert was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// It may be taken later.
    #[error("not now: {0}")]
    NotNow(String),
    /// It is never taken as it is.
    #[error("refused: {0}")]
    Refused(String),
}

/// An alert on its way.
pub type Delivering = Pin<Box<dyn Future<Output = Result<(), Undelivered>> + Send>>;

/// Takes alerts to whoever is to know of them. A failure is logged by the caller, and must raise no
/// alert and no report of its own.
pub trait AlertSink: Send + Sync + 'static {
    /// Hands an alert over at that time. The same alert may come again if it was not taken, or if
    /// nobody knows whether it was.
    fn deliver(&self, alert: Alert, now: Timestamp) -> Delivering;
}
