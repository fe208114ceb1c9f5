//! A call whose answer is read by its status and headers alone, whatever the status.

use std::time::Duration;

use sendcat_state::bulkhead::Priority;

use super::answer::MAX_REFUSAL_BYTES;
use super::{Call, HeaderMap, Upstream, read_at_most};
use crate::upstream::classify::Outcome;
use crate::upstream::error::{Clock, UpstreamError};

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
}

impl Upstream {
    /// Makes a call of which only the head of the answer matters, within `deadline` in all. For the
    /// circuit a 5xx is a failure, a 2xx a success, and every other status says nothing of the
    /// provider's health.
    ///
    /// # Errors
    /// [`UpstreamError`] if there was no answer, or nothing was sent.
    pub async fn exchange(
        &self,
        call: Call,
        holder: &str,
        deadline: Duration,
    ) -> Result<Head, UpstreamError> {
        let provider = call.provider;
        let slot = self.bulkheads.acquire_as(provider, holder, Priority::Tool).await;
        let _slot = slot
            .map_err(|full| UpstreamError::Saturated { provider, retry_after: full.retry_after })?;
        let mut recorder = self.permit(provider).await?;
        let answer = async {
            let response = self.send(call, deadline).await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            // Read so that the connection can be used again; what it says is nobody's.
            let _ = read_at_most(provider, response, MAX_REFUSAL_BYTES).await;
            Ok(Head { status, headers })
        };
        let late = || UpstreamError::TimedOut { provider, clock: Clock::Total, limit: deadline };
        let answered = tokio::time::timeout(deadline, answer).await;
        let answer = answered.unwrap_or_else(|_| Err(late()));
        match &answer {
            Ok(Head { status, .. }) => {
                recorder.heard();
                recorder.outcome(match status {
                    200..=299 => Outcome::Success,
                    500.. => Outcome::Failure { retry_after: None },
                    _ => Outcome::Neutral,
                });
            }
            Err(error) => recorder.failed(error),
        }
        answer
    }
}
