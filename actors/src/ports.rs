//! What the outside implements for the actors: the tree runs whole in a test with none of it real.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sendcat_state::job::{AttemptOutcome, ClaimedJob, JobKind};

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
