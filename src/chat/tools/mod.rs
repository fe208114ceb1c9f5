//! The tools offered to the model, one row each.
//!
//! A tool is run by a worker from the queue, never within the turn: the turn waits for its result,
//! and whatever goes wrong with it is words that the model can read. The chat goes on.

mod wanted;
mod web;

use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::job_queue::{JobEnd, Jobs, NoResult};
use sendcat_actors::ports::Attempt;
use sendcat_state::job::{AttemptOutcome, JobKind, NewJob};
use sendcat_state::key::{TimedId, ToolKind};

use crate::contract::ui_stream::Json;
use crate::upstream::call::Upstream;
use crate::upstream::classify::{self, Repeat};
use crate::upstream::error::UpstreamError;
use crate::upstream::openrouter::Tool;

pub use wanted::Wanted;

/// One tool.
pub struct ToolRow {
    /// Which.
    pub kind: ToolKind,
    /// When the model should call it.
    description: &'static str,
    /// The JSON schema of its arguments.
    parameters: &'static str,
}

/// Every tool that is offered.
pub const TOOLS: &[ToolRow] = &[ToolRow {
    kind: ToolKind::SearchWeb,
    description: web::DESCRIPTION,
    parameters: web::PARAMETERS,
}];

/// The tools as the model is told of them.
pub fn offered() -> Vec<Tool> {
    let tool = |row: &ToolRow| Tool {
        name: row.kind.as_str().to_owned(),
        description: row.description.to_owned(),
        parameters: Json::from_text(row.parameters).expect("a schema in this file is JSON"),
    };
    TOOLS.iter().map(tool).collect()
}

/// Where the tools' providers are, and with which keys.
pub struct ToolSettings {
    /// Web search.
    pub serper: crate::config::Keyed,
    /// How long a call of it may take.
    pub serper_deadline: Duration,
}

/// Runs queued tools.
pub struct ToolRunner {
    upstream: Upstream,
    settings: ToolSettings,
    wanted: Wanted,
}

impl ToolRunner {
    /// A runner whose calls go that way, for turns that say there what they wait for.
    pub fn new(upstream: Upstream, settings: ToolSettings, wanted: Wanted) -> Self {
        Self { upstream, settings, wanted }
    }

    /// Runs one attempt at a queued tool with these arguments, for as long as its turn waits.
    pub async fn run(self: Arc<Self>, id: TimedId, tool: ToolKind, input: String) -> Attempt {
        tokio::select! {
            attempt = self.attempt(tool, &input) => attempt,
            () = self.wanted.no_longer(id) => {
                let error = "the turn that waited for it is over".to_owned();
                Attempt { outcome: AttemptOutcome::Dead { error }, result: None }
            }
        }
    }

    async fn attempt(&self, tool: ToolKind, input: &str) -> Attempt {
        let ran = match tool {
            ToolKind::SearchWeb => web::run(&self.upstream, &self.settings, input).await,
            ToolKind::SearchProducts | ToolKind::SearchGlobal => Err(ToolFailure::Final(
                "This tool is not offered; use search_web instead.".to_owned(),
            )),
        };
        match ran {
            Ok(output) => Attempt {
                outcome: AttemptOutcome::Done { writes: Vec::new() },
                result: Some(output.as_str().to_owned()),
            },
            Err(failure) => Attempt { outcome: failure.into_outcome(), result: None },
        }
    }
}

/// Why an attempt at a tool failed.
pub(crate) enum ToolFailure {
    /// It would fail again.
    Final(String),
    /// The provider's doing.
    Provider(UpstreamError),
}

impl From<UpstreamError> for ToolFailure {
    fn from(error: UpstreamError) -> Self {
        Self::Provider(error)
    }
}

impl ToolFailure {
    fn into_outcome(self) -> AttemptOutcome {
        match self {
            Self::Final(error) => AttemptOutcome::Dead { error },
            Self::Provider(error) => {
                let words = words_of(&error);
                match classify::repeat(&error) {
                    Repeat::After(wait) => {
                        AttemptOutcome::Retry { error: words, after: Some(wait) }
                    }
                    Repeat::Yes => AttemptOutcome::Retry { error: words, after: None },
                    Repeat::No => AttemptOutcome::Dead { error: words },
                }
            }
        }
    }
}

/// A provider's failure in words that the model can use.
fn words_of(error: &UpstreamError) -> String {
    let what = match error {
        UpstreamError::Saturated { .. } => "The search is busy right now.",
        UpstreamError::CircuitOpen { .. } | UpstreamError::NotSent { .. } => {
            "The search cannot be reached right now."
        }
        UpstreamError::TimedOut { .. } => "The search did not answer in time.",
        UpstreamError::OurKey { .. } | UpstreamError::NoKey { .. } => {
            "The search is not set up on this server."
        }
        UpstreamError::RateLimited { .. } => "The search is limited right now.",
        UpstreamError::ServerFault { .. }
        | UpstreamError::Rejected { .. }
        | UpstreamError::NoContent { .. }
        | UpstreamError::Cut { .. }
        | UpstreamError::Malformed { .. }
        | UpstreamError::FailedWithin { .. } => "The search failed.",
    };
    format!("{what} Answer from what you know, and say that the search was not available.")
}

/// A call of a tool, as the turn makes it.
pub struct ToolOrder {
    /// Which tool.
    pub kind: ToolKind,
    /// Its arguments, a JSON object.
    pub input: Json,
    /// The job's identifier.
    pub id: TimedId,
}

/// Queues a tool and waits for its end: its output, or words for the model. Dropped, it takes the
/// tool's call along.
///
/// # Errors
/// Words about why there is no output.
pub async fn order(
    jobs: &Jobs,
    wanted: &Wanted,
    order: ToolOrder,
    wait: Duration,
) -> Result<Json, String> {
    let _waiting = wanted.wait_for(order.id);
    let job = NewJob {
        id: order.id,
        kind: JobKind::Tool(order.kind),
        key: order.kind.as_str().to_owned(),
        payload: Some(order.input.as_str().to_owned()),
    };
    match jobs.run(job, wait).await {
        Ok(JobEnd::Done(result)) => {
            Json::from_text(&result).map_err(|_| "The tool's result cannot be read.".to_owned())
        }
        Ok(JobEnd::GivenUp(words)) => Err(words),
        Err(NoResult::Saturated(kind)) => Err(format!(
            "[queue_saturated:{kind}] Too many searches are waiting. Answer from what you know, \
             and say that the search was not available."
        )),
        Err(NoResult::Late) => Err(format!(
            "The tool did not answer within {} s. Answer from what you know.",
            wait.as_secs_f64().ceil()
        )),
        Err(NoResult::Unavailable(error)) => {
            sendcat_actors::failure::failed(sendcat_actors::failure::Concern::ToolEnqueue, error);
            Err("The tool is not available right now. Answer from what you know.".to_owned())
        }
    }
}
