//! What the model is told where there is no result, or not all of it. It can read this and go on.

use std::time::Duration;

use crate::upstream::error::UpstreamError;

/// What the model does without a result.
const INSTEAD: &str = "Answer from what you know, and say that the search was not available.";

/// What became of a provider, behind its name.
pub(super) fn reason(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::Saturated { .. } => "is busy right now",
        UpstreamError::CircuitOpen { .. } | UpstreamError::NotSent { .. } => {
            "cannot be reached right now"
        }
        UpstreamError::TimedOut { .. } => "did not answer in time",
        UpstreamError::OurKey { .. } | UpstreamError::NoKey { .. } => {
            "is not set up on this server"
        }
        UpstreamError::RateLimited { .. } => "is limited right now",
        UpstreamError::ServerFault { .. }
        | UpstreamError::Rejected { .. }
        | UpstreamError::NoContent { .. }
        | UpstreamError::Cut { .. }
        | UpstreamError::Malformed { .. }
        | UpstreamError::FailedWithin { .. } => "failed",
    }
}

/// Of a search that failed.
pub(super) fn failed(error: &UpstreamError) -> String {
    format!("The search {}. {INSTEAD}", reason(error))
}

/// Beside results of which some are missing.
pub(super) fn incomplete(missing: &[(&str, &UpstreamError)]) -> String {
    let told = missing.iter().map(|(name, error)| format!("{name} {}", reason(error)));
    let told = told.collect::<Vec<_>>().join(" and ");
    format!("These results are incomplete: {told}. Say so.")
}

/// Beside results that come before the others.
pub(super) const EARLY: &str = "These results are incomplete: not every shop has answered. Say so.";

/// Of a queue that is full (log 3.6).
pub(super) fn saturated(tool: &str) -> String {
    format!("[queue_saturated:{tool}] Too many searches are waiting. {INSTEAD}")
}

/// Of a tool that took too long.
pub(super) fn late(wait: Duration) -> String {
    let seconds = wait.as_secs_f64().ceil();
    format!("The tool did not answer within {seconds} s. Answer from what you know.")
}

/// Of a queue that gave no answer.
pub(super) const UNAVAILABLE: &str =
    "The tool is not available right now. Answer from what you know.";

/// Of a result that is not what a result is.
pub(super) const UNREADABLE: &str = "The tool's result cannot be read.";

/// Of an answer that has called too many tools.
pub(super) fn spent(most: u32) -> String {
    format!(
        "This answer has used up its {most} searches. Answer from the results that you have, and \
         do not search again."
    )
}
