//! A call that somebody waits for, made again while that can help.
//!
//! What the provider asked for is waited out, else a delay is drawn; never past the deadline, and
//! never without budget. Jobs do not come here: their queue makes them again.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sendcat_actors::clock::SharedClock;

use super::classify::{self, Repeat};
use super::error::{Clock, UpstreamError};
use super::retry::{RetryBudget, delay};

/// Which failed calls may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// Whatever may succeed: a repeat does nothing that the first call did not.
    Harmless,
    /// Only what surely was not done: a repeat of what was done would undo it.
    OnlyUndone,
}

impl Repeats {
    /// Whether and when this failure may be followed by another call.
    pub fn after(self, error: &UpstreamError) -> Repeat {
        match (self, error) {
            (Self::Harmless, _)
            | (
                Self::OnlyUndone,
                UpstreamError::NotSent { .. }
                | UpstreamError::TimedOut { clock: Clock::Connect, .. }
                | UpstreamError::RateLimited { .. },
            ) => classify::repeat(error),
            (Self::OnlyUndone, UpstreamError::ServerFault { status: 503, .. }) => {
                classify::repeat(error)
            }
            (
                Self::OnlyUndone,
                UpstreamError::TimedOut { .. }
                | UpstreamError::CircuitOpen { .. }
                | UpstreamError::Saturated { .. }
                | UpstreamError::ServerFault { .. }
                | UpstreamError::Rejected { .. }
                | UpstreamError::OurKey { .. }
                | UpstreamError::NoKey { .. }
                | UpstreamError::NoContent { .. }
                | UpstreamError::Cut { .. }
                | UpstreamError::Malformed { .. }
                | UpstreamError::FailedWithin { .. },
            ) => Repeat::No,
        }
    }
}

/// Makes a call, and again, within `deadline` in all; each attempt is handed what is left of it.
///
/// # Errors
/// The last attempt's.
pub async fn again<'a, T>(
    (budget, clock): (&RetryBudget, &SharedClock),
    deadline: Duration,
    repeats: Repeats,
    mut call: impl FnMut(Duration) -> BoxFuture<'a, Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    let ends = clock.now().after(deadline);
    budget.count_call(clock.now());
    let mut attempts = 0;
    loop {
        attempts += 1;
        let error = match call(clock.now().until(ends)).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let random = getrandom::u64().unwrap_or_default();
        let wait = delay(repeats.after(&error), attempts, random);
        let Some(wait) = wait.filter(|wait| *wait < clock.now().until(ends)) else {
            return Err(error);
        };
        if !budget.take_retry(clock.now()) {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sendcat_state::key::ProviderId;

    #[test]
    fn what_may_have_been_done_is_not_done_again_where_that_matters() {
        let provider = ProviderId::GmailOauth;
        let limit = Duration::from_secs(1);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let fault =
            |status| UpstreamError::ServerFault { provider, status, retry_after: Some(limit) };
        let table = [
            (UpstreamError::NotSent { provider, cause: refused.into() }, Repeat::Yes, Repeat::Yes),
            (
                UpstreamError::TimedOut { provider, clock: Clock::Connect, limit },
                Repeat::Yes,
                Repeat::Yes,
            ),
            (UpstreamError::RateLimited { provider, retry_after: None }, Repeat::Yes, Repeat::Yes),
            (fault(503), Repeat::After(limit), Repeat::After(limit)),
            (fault(500), Repeat::After(limit), Repeat::No),
            (UpstreamError::NoContent { provider }, Repeat::Yes, Repeat::No),
            (UpstreamError::Malformed { provider, what: "x" }, Repeat::Yes, Repeat::No),
            (UpstreamError::Cut { provider }, Repeat::No, Repeat::No),
            (UpstreamError::Rejected { provider, status: 400 }, Repeat::No, Repeat::No),
        ];
        for (error, harmless, undone) in table {
            let both = (Repeats::Harmless.after(&error), Repeats::OnlyUndone.after(&error));
            assert_eq!(both, (harmless, undone), "{error}");
        }
    }
}
