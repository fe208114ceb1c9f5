//! Works off accepted events: each is read whole, then has its effect once.
//!
//! # Always
//! - Nothing is written before the event's body was checked.
//! - What is written lies in the commit that ends the event, or may be written again unchanged.

use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::clock::SharedClock;
use sendcat_actors::job_queue::Jobs;
use sendcat_actors::journal::Journal;
use sendcat_actors::ports::Attempt;
use sendcat_state::job::{AttemptOutcome, ClaimedJob};
use sendcat_state::key::{InboxSource, TimedId};
use sendcat_state::machine::{ReadError, RecordWrite, Records, Table};
use serde::Serialize;
use serde_json::Value;

use super::answers::Answering;
use super::gmail::{Mailboxes, Strangers, pushed};
use super::media_store::MediaStore;
use super::{generic, whatsapp_work};
use crate::config::Whatsapp;
use crate::contract::code::ErrorCode;
use crate::contract::function::{self, Args, FunctionError, INVALID_ARGS};
use crate::contract::rfc3339;
use crate::upstream::call::Upstream;

/// What takes events up is called so in errors.
const RUN: &str = "inbox.workOff";

/// What handlers are made of.
pub struct Parts {
    /// Where events' bodies are.
    pub jobs: Jobs,
    /// Where records are.
    pub journal: Journal,
    /// The time.
    pub clock: SharedClock,
    /// The way to WhatsApp; `None` if no call can leave the process.
    pub upstream: Option<Upstream>,
    /// Keys and addresses of WhatsApp.
    pub whatsapp: Whatsapp,
    /// How long one call of it may take.
    pub whatsapp_deadline: Duration,
    /// Who answers people.
    pub answering: Answering,
    /// Where files of messages are kept.
    pub media: MediaStore,
    /// Connected mailboxes; `None` if no call can leave the process.
    pub mailboxes: Option<Mailboxes>,
}

/// Works off accepted events.
pub struct Handlers {
    pub(super) parts: Parts,
    strangers: Strangers,
}

/// Why an event's work has not been done.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may succeed another time, not before this long where somebody said so.
    Again(FunctionError, Option<Duration>),
    /// It will never succeed, or must not be repeated.
    Never(FunctionError),
}

impl From<FunctionError> for Failure {
    /// What a function refuses for its payload it always will.
    fn from(error: FunctionError) -> Self {
        Self::Never(error)
    }
}

/// What a source said, kept as evidence.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Evidence<'a> {
    source: InboxSource,
    key: &'a str,
    received_at: String,
    body: Value,
    /// What came of it, where that is more than that it is kept.
    #[serde(skip_serializing_if = "Value::is_null")]
    outcome: Value,
}

/// What was done for an event.
pub(super) struct Done {
    /// What came of it, for its evidence.
    pub(super) outcome: Value,
    /// What is written with its end besides.
    pub(super) writes: Vec<RecordWrite>,
}

impl Done {
    /// It is kept, and that is all.
    pub(super) fn kept() -> Self {
        Self::with(Value::Null)
    }

    /// It is kept, and this came of it.
    pub(super) fn with(outcome: Value) -> Self {
        Self { outcome, writes: Vec::new() }
    }
}

impl Handlers {
    /// Handlers of these parts.
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self { parts, strangers: Strangers::default() })
    }

    /// Runs one attempt at an accepted event.
    pub async fn run(self: Arc<Self>, source: InboxSource, job: ClaimedJob) -> Attempt {
        let outcome = match self.parts.jobs.event_body(job.id).await {
            Ok(Some(body)) => self.work_off(source, &job, &body).await,
            Ok(None) => {
                let error = FunctionError::new(INVALID_ARGS, RUN, "the event's body is gone");
                AttemptOutcome::Dead { error: error.to_string() }
            }
            Err(error) => {
                let code = ErrorCode::StorageUnavailable.name();
                let error = FunctionError::new(code, RUN, error.to_string());
                AttemptOutcome::Retry { error: error.to_string(), after: None }
            }
        };
        Attempt { outcome, result: None }
    }

    async fn work_off(&self, source: InboxSource, job: &ClaimedJob, body: &[u8]) -> AttemptOutcome {
        let worked = match source {
            InboxSource::Whatsapp => whatsapp_work::run(self, job, body).await,
            InboxSource::Gmail => {
                let (mailboxes, strangers) = (self.parts.mailboxes.as_ref(), &self.strangers);
                return pushed::work_off(mailboxes, strangers, job, body).await;
            }
            InboxSource::Generic => as_evidence::<generic::Signed>(generic::FUNCTION, body),
        };
        match worked {
            Ok(Done { outcome, mut writes }) => {
                let received_at = rfc3339(self.parts.clock.now().as_millis());
                let body = serde_json::from_slice(body).unwrap_or_default();
                let key = &job.key;
                let evidence = Evidence { source, key, received_at, body, outcome };
                writes.push(write_evidence(source, job.id, &evidence));
                AttemptOutcome::Done { writes }
            }
            Err(Failure::Again(error, after)) => {
                AttemptOutcome::Retry { error: error.to_string(), after }
            }
            Err(Failure::Never(error)) => AttemptOutcome::Dead { error: error.to_string() },
        }
    }

    /// Reads records, as the last finished commit left them.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        function: &'static str,
        of: impl FnOnce(&dyn Records) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Failure> {
        self.parts.journal.read(of).await.map_err(|error| unavailable(function, &error))
    }

    /// Runs rules over records; what they write is durable when this is over.
    pub(super) async fn transact<T, F>(
        &self,
        function: &'static str,
        rules: F,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Records) -> Result<(T, Vec<RecordWrite>), ReadError> + Send + 'static,
    {
        let done = self.parts.journal.transact(rules).await;
        let done = done.map_err(|error| unavailable(function, &error))?;
        done.map_err(|error| unavailable(function, &error))
    }
}

fn unavailable(function: &'static str, why: &impl std::fmt::Display) -> Failure {
    let code = ErrorCode::StorageUnavailable.name();
    let error = FunctionError::new(code, function, why.to_string());
    Failure::Again(error, None)
}

/// An event that is read, and kept as evidence of its source.
fn as_evidence<T: Args>(function: &'static str, body: &[u8]) -> Result<Done, Failure> {
    function::args::<T>(function, body)?;
    Ok(Done::kept())
}

fn write_evidence(source: InboxSource, id: TimedId, evidence: &Evidence<'_>) -> RecordWrite {
    let key = [source.as_str().as_bytes(), &[0], &id.to_bytes()].concat();
    RecordWrite::put(Table::Evidence, key, evidence)
}
