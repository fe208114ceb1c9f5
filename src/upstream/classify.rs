//! What a provider's answer, or its failure, means: for its circuit, and for the caller.
//!
//! Pure, and one table for every provider; where a provider means something else by a status, its
//! own file says so and names the failure itself. Who went away, the caller, decides nothing about
//! the provider: such a call is [`Outcome::Neutral`].

use std::time::Duration;

use sendcat_state::key::ProviderId;

use super::error::{Clock, UpstreamError};

/// What a finished call tells the circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider works.
    Success,
    /// The provider does not work; the wait is the floor of the cooldown.
    Failure { retry_after: Option<Duration> },
    /// Nothing about the provider: the request was at fault, or was never sent.
    Neutral,
}

/// Whether the same request may be sent again, before any content was handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Again, but not before this has passed.
    After(Duration),
    /// Again, after the usual backoff.
    Yes,
    /// It would fail again, or be billed twice.
    No,
}

/// The longest wait that a provider's `Retry-After` is believed for: an hour.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The failure that a status is; a 2xx is none.
///
/// # Errors
/// Every other status, a redirect too: providers do not move.
pub fn status(
    provider: ProviderId,
    status: u16,
    retry_after: Option<Duration>,
) -> Result<(), UpstreamError> {
    match status {
        200..=299 => Ok(()),
        401 | 402 => Err(UpstreamError::OurKey { provider, status }),
        429 => Err(UpstreamError::RateLimited { provider, retry_after }),
        408 | 425 | 500..=599 => Err(UpstreamError::ServerFault { provider, status, retry_after }),
        _ => Err(UpstreamError::Rejected { provider, status }),
    }
}

/// What a failed call tells the circuit breaker.
pub fn outcome(error: &UpstreamError) -> Outcome {
    match error {
        UpstreamError::RateLimited { retry_after, .. }
        | UpstreamError::ServerFault { retry_after, .. } => {
            Outcome::Failure { retry_after: *retry_after }
        }
        UpstreamError::NotSent { .. }
        | UpstreamError::TimedOut { .. }
        | UpstreamError::NoContent { .. }
        | UpstreamError::Cut { .. }
        | UpstreamError::Malformed { .. } => Outcome::Failure { retry_after: None },
        UpstreamError::FailedWithin { provider, status: Some(code) } => {
            status(*provider, *code, None)
                .map_or_else(|error| outcome(&error), |()| Outcome::Failure { retry_after: None })
        }
        UpstreamError::FailedWithin { status: None, .. } => Outcome::Failure { retry_after: None },
        UpstreamError::CircuitOpen { .. }
        | UpstreamError::Saturated { .. }
        | UpstreamError::Rejected { .. }
        | UpstreamError::OurKey { .. }
        | UpstreamError::NoKey { .. } => Outcome::Neutral,
    }
}

/// Whether a failed call may be made again. A call that was sent and not answered in time is not:
/// it may be billed. Statuses: INTERFACE.md §6, "retry".
pub fn repeat(error: &UpstreamError) -> Repeat {
    match error {
        UpstreamError::NotSent { .. }
        | UpstreamError::TimedOut { clock: Clock::Connect, .. }
        | UpstreamError::NoContent { .. }
        | UpstreamError::Malformed { .. }
        | UpstreamError::FailedWithin { status: None, .. } => Repeat::Yes,
        UpstreamError::FailedWithin { provider, status: Some(code) } => {
            status(*provider, *code, None).map_or_else(|error| repeat(&error), |()| Repeat::Yes)
        }
        UpstreamError::RateLimited { retry_after, .. } => retry_after.map_or(Repeat::Yes, after),
        UpstreamError::ServerFault { status, retry_after, .. } => match status {
            408 | 425 | 500 | 502 | 503 | 504 => retry_after.map_or(Repeat::Yes, after),
            _ => Repeat::No,
        },
        UpstreamError::TimedOut { .. }
        | UpstreamError::CircuitOpen { .. }
        | UpstreamError::Saturated { .. }
        | UpstreamError::Rejected { .. }
        | UpstreamError::OurKey { .. }
        | UpstreamError::NoKey { .. }
        | UpstreamError::Cut { .. } => Repeat::No,
    }
}

fn after(wait: Duration) -> Repeat {
    Repeat::After(wait)
}

/// Whether an operator must act before the provider will serve us again.
pub fn needs_operator(error: &UpstreamError) -> bool {
    matches!(
        error,
        UpstreamError::OurKey { .. }
            | UpstreamError::NoKey { .. }
            | UpstreamError::FailedWithin { status: Some(401 | 402), .. }
    )
}

/// The wait that a `Retry-After` header names in seconds, at most [`MAX_RETRY_AFTER`]. A date is
/// not understood: it would need a clock, and no provider of ours documents one.
pub fn retry_after(header: &str) -> Option<Duration> {
    seconds(header.trim().parse().ok()?)
}

/// The wait of so many seconds, if that is a wait.
pub(super) fn seconds(seconds: f64) -> Option<Duration> {
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Option<Duration> = Some(Duration::from_secs(7));
    const AGAIN: Repeat = Repeat::After(Duration::from_secs(7));

    fn of(error: &UpstreamError) -> (Outcome, Repeat, &'static str) {
        (outcome(error), repeat(error), error.code_name())
    }

    #[test]
    fn every_status_has_its_meaning() {
        let failure = Outcome::Failure { retry_after: WAIT };
        let neutral = Outcome::Neutral;
        let table = [
            (301, neutral, Repeat::No, "upstream_rejected"),
            (400, neutral, Repeat::No, "upstream_rejected"),
            (401, neutral, Repeat::No, "misconfigured"),
            (402, neutral, Repeat::No, "misconfigured"),
            (403, neutral, Repeat::No, "upstream_rejected"),
            (404, neutral, Repeat::No, "upstream_rejected"),
            (408, failure, AGAIN, "upstream_error"),
            (413, neutral, Repeat::No, "upstream_rejected"),
            (422, neutral, Repeat::No, "upstream_rejected"),
            (425, failure, AGAIN, "upstream_error"),
            (429, failure, AGAIN, "upstream_rate_limited"),
            (500, failure, AGAIN, "upstream_error"),
            (501, failure, Repeat::No, "upstream_error"),
            (502, failure, AGAIN, "upstream_error"),
            (503, failure, AGAIN, "upstream_error"),
            (504, failure, AGAIN, "upstream_error"),
            (529, failure, Repeat::No, "upstream_error"),
        ];
        for (code, outcome, repeat, name) in table {
            let error = status(ProviderId::OpenrouterChat, code, WAIT).unwrap_err();
            assert_eq!(of(&error), (outcome, repeat, name), "{code}");
        }
        assert!(status(ProviderId::OpenrouterChat, 200, None).is_ok());
    }

    #[test]
    fn a_call_that_was_sent_and_timed_out_is_not_sent_again() {
        let provider = ProviderId::OpenrouterChat;
        let limit = Duration::from_secs(1);
        let table = [
            (Clock::Connect, Repeat::Yes, "upstream_connect_timeout"),
            (Clock::Headers, Repeat::No, "upstream_headers_timeout"),
            (Clock::FirstContent, Repeat::No, "upstream_first_content_timeout"),
            (Clock::Idle, Repeat::No, "upstream_idle_timeout"),
            (Clock::Progress, Repeat::No, "upstream_too_slow"),
            (Clock::Total, Repeat::No, "upstream_total_timeout"),
        ];
        let failure = Outcome::Failure { retry_after: None };
        for (clock, repeat, name) in table {
            let error = UpstreamError::TimedOut { provider, clock, limit };
            assert_eq!(of(&error), (failure, repeat, name));
        }
    }

    #[test]
    fn what_is_not_a_status_has_its_meaning_too() {
        let provider = ProviderId::OpenrouterChat;
        let failure = Outcome::Failure { retry_after: None };
        let cause = std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into();
        let wait = Duration::from_secs(1);
        let (neutral, no) = (Outcome::Neutral, Repeat::No);
        let table = [
            (UpstreamError::NotSent { provider, cause }, failure, Repeat::Yes),
            (UpstreamError::NoContent { provider }, failure, Repeat::Yes),
            (UpstreamError::Malformed { provider, what: "x" }, failure, Repeat::Yes),
            (UpstreamError::Cut { provider }, failure, no),
            (UpstreamError::CircuitOpen { provider, retry_after: wait }, neutral, no),
            (UpstreamError::Saturated { provider, retry_after: wait }, neutral, no),
            (UpstreamError::NoKey { provider }, neutral, no),
            (UpstreamError::FailedWithin { provider, status: None }, failure, Repeat::Yes),
            (UpstreamError::FailedWithin { provider, status: Some(502) }, failure, Repeat::Yes),
            (UpstreamError::FailedWithin { provider, status: Some(402) }, neutral, no),
        ];
        for (error, outcome_of, repeat_of) in table {
            assert_eq!((outcome(&error), repeat(&error)), (outcome_of, repeat_of), "{error}");
        }
    }

    #[test]
    fn a_wait_is_read_in_seconds_and_believed_up_to_an_hour() {
        assert_eq!(retry_after(" 2 "), Some(Duration::from_secs(2)));
        assert_eq!(retry_after("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(retry_after("1e300"), None);
        assert_eq!(retry_after("999999"), Some(MAX_RETRY_AFTER));
        for odd in ["", "-1", "nan", "inf", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(retry_after(odd), None, "{odd}");
        }
    }
}
