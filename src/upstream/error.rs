//! Why a call to a provider gave no answer, split by what the caller may do next.
//!
//! # Always
//! - No message, source or `Debug` form holds a URL, a key or a body: they are logged.
//! - The wire code of each is fixed here (INTERFACE.md §3), whatever the provider.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use sendcat_state::key::ProviderId;

/// How a call failed.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Nothing left the process, so the call may be made again at once.
    #[error("could not connect to {provider}")]
    NotSent {
        provider: ProviderId,
        #[source]
        cause: Cause,
    },
    /// A clock ran out. But for [`Clock::Connect`] the provider may have acted, and may bill it:
    /// it is not asked again.
    #[error("{provider} let the {clock} clock of {limit:?} run out")]
    TimedOut { provider: ProviderId, clock: Clock, limit: Duration },
    /// The circuit is open: nothing was sent, and nothing will be before `retry_after`.
    #[error("the circuit of {provider} is open")]
    CircuitOpen { provider: ProviderId, retry_after: Duration },
    /// Every slot is taken: nothing was sent.
    #[error("every slot of {provider} is taken")]
    Saturated { provider: ProviderId, retry_after: Duration },
    /// The provider has too many calls of ours or of all; it may have said how long to wait.
    #[error("{provider} limits our calls")]
    RateLimited { provider: ProviderId, retry_after: Option<Duration> },
    /// The provider failed, and said so; it may be asked again.
    #[error("{provider} answered {status}")]
    ServerFault { provider: ProviderId, status: u16, retry_after: Option<Duration> },
    /// The provider will not serve this request, however often it is made.
    #[error("{provider} rejected the request with {status}")]
    Rejected { provider: ProviderId, status: u16 },
    /// The provider refuses our key or credit: an operator must act.
    #[error("{provider} refuses our key or credit with {status}")]
    OurKey { provider: ProviderId, status: u16 },
    /// No key is set: nothing was sent, an operator must act.
    #[error("no key is set for {provider}")]
    NoKey { provider: ProviderId },
    /// The answer was empty, or ended before any content of it; it may be asked for again.
    #[error("{provider} gave no content")]
    NoContent { provider: ProviderId },
    /// The answer ended in its middle: what was received stands, nothing may be repeated.
    #[error("{provider} cut its answer")]
    Cut { provider: ProviderId },
    /// The answer is not in the provider's format.
    #[error("{provider} answered what cannot be read: {what}")]
    Malformed { provider: ProviderId, what: &'static str },
    /// The provider said in its answer that it failed; `status` if it named one.
    #[error("{provider} failed within its answer")]
    FailedWithin { provider: ProviderId, status: Option<u16> },
}

/// The clocks of a call; each has a knob and a wire code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Until the connection stands.
    Connect,
    /// Until the status arrives.
    Headers,
    /// Until the first content: text, reasoning or a tool call; comments are none.
    FirstContent,
    /// Between two contents.
    Idle,
    /// The least progress within a window.
    Progress,
    /// The whole call.
    Total,
}

impl fmt::Display for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Connect => "connect",
            Self::Headers => "headers",
            Self::FirstContent => "first content",
            Self::Idle => "idle",
            Self::Progress => "progress",
            Self::Total => "total",
        })
    }
}

/// What lies beneath a failed call, without the URL: some providers take their key in it.
pub struct Cause(Box<dyn Error + Send + Sync>);

impl From<reqwest::Error> for Cause {
    fn from(error: reqwest::Error) -> Self {
        Self(Box::new(error.without_url()))
    }
}

impl From<std::io::Error> for Cause {
    fn from(error: std::io::Error) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl UpstreamError {
    /// Who failed.
    pub fn provider(&self) -> ProviderId {
        match self {
            Self::NotSent { provider, .. }
            | Self::TimedOut { provider, .. }
            | Self::CircuitOpen { provider, .. }
            | Self::Saturated { provider, .. }
            | Self::RateLimited { provider, .. }
            | Self::ServerFault { provider, .. }
            | Self::Rejected { provider, .. }
            | Self::OurKey { provider, .. }
            | Self::NoKey { provider }
            | Self::NoContent { provider }
            | Self::Cut { provider }
            | Self::Malformed { provider, .. }
            | Self::FailedWithin { provider, .. } => *provider,
        }
    }

    /// The code on the wire (INTERFACE.md §3).
    pub fn code_name(&self) -> &'static str {
        match self {
            Self::NotSent { .. } | Self::CircuitOpen { .. } => "upstream_unavailable",
            Self::TimedOut { clock, .. } => match clock {
                Clock::Connect => "upstream_connect_timeout",
                Clock::Headers => "upstream_headers_timeout",
                Clock::FirstContent => "upstream_first_content_timeout",
                Clock::Idle => "upstream_idle_timeout",
                Clock::Progress => "upstream_too_slow",
                Clock::Total => "upstream_total_timeout",
            },
            Self::Saturated { .. } => "overloaded",
            Self::RateLimited { .. } => "upstream_rate_limited",
            Self::Rejected { .. } => "upstream_rejected",
            Self::OurKey { .. } | Self::NoKey { .. } => "misconfigured",
            Self::Cut { .. } => "upstream_cut",
            Self::ServerFault { .. } | Self::NoContent { .. } | Self::Malformed { .. } => {
                "upstream_error"
            }
            Self::FailedWithin { status, .. } => match status {
                Some(429) => "upstream_rate_limited",
                Some(401 | 402) => "misconfigured",
                Some(400 | 403 | 404 | 413 | 422) => "upstream_rejected",
                Some(_) | None => "upstream_error",
            },
        }
    }

    /// After what time asking again is worth it, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::CircuitOpen { retry_after, .. } | Self::Saturated { retry_after, .. } => {
                Some(*retry_after)
            }
            Self::RateLimited { retry_after, .. } | Self::ServerFault { retry_after, .. } => {
                *retry_after
            }
            Self::OurKey { .. } | Self::NoKey { .. } => Some(OPERATOR_WAIT),
            Self::NotSent { .. }
            | Self::TimedOut { .. }
            | Self::Rejected { .. }
            | Self::NoContent { .. }
            | Self::Cut { .. }
            | Self::Malformed { .. }
            | Self::FailedWithin { .. } => None,
        }
    }

    /// One sentence for the person who asked. Clients show it as it is and keep no headers, so
    /// the wait is in it.
    pub fn sentence(&self) -> String {
        let what = match self {
            Self::NotSent { .. } => "The provider cannot be reached.",
            Self::TimedOut { clock: Clock::Connect, .. } => "The provider did not accept the call.",
            Self::TimedOut { clock: Clock::Headers | Clock::FirstContent, .. } => {
                "The provider did not begin to answer in time."
            }
            Self::TimedOut { clock: Clock::Idle, .. } => {
                "The provider stopped in the middle of its answer."
            }
            Self::TimedOut { clock: Clock::Progress, .. } => "The provider answers too slowly.",
            Self::TimedOut { clock: Clock::Total, .. } => {
                "The answer took longer than an answer may take."
            }
            Self::CircuitOpen { .. } => "The provider has failed too often and is left alone.",
            Self::Saturated { .. } => "Too many calls are running.",
            Self::RateLimited { .. } => "The provider limits our calls.",
            Self::ServerFault { .. } | Self::FailedWithin { .. } => "The provider failed.",
            Self::Rejected { .. } => "The provider rejected the request.",
            Self::OurKey { .. } | Self::NoKey { .. } => "The service is not set up for this call.",
            Self::NoContent { .. } => "The provider gave an empty answer.",
            Self::Cut { .. } => "The provider cut its answer.",
            Self::Malformed { .. } => "The provider's answer cannot be read.",
        };
        match self.retry_after() {
            None => what.to_owned(),
            Some(wait) => {
                let seconds = wait.as_millis().div_ceil(1000).max(1);
                format!("{what} Try again in {seconds} s.")
            }
        }
    }
}

/// What a caller is told to wait when only an operator can help (INTERFACE.md §3).
const OPERATOR_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cause_tells_the_url() {
        let error = reqwest::Proxy::all("no address\n").unwrap_err();
        let url = "https://search.example/?api_key=secret".parse().unwrap();
        let error = error.with_url(url);
        assert!(format!("{error:?}").contains("secret"));
        let cause = Cause::from(error);
        assert!(!format!("{cause} {cause:?}").contains("secret"));
    }

    #[test]
    fn the_sentence_names_the_wait_rounded_up() {
        let provider = ProviderId::OpenrouterChat;
        let wait = Some(Duration::from_millis(1200));
        let error = UpstreamError::RateLimited { provider, retry_after: wait };
        assert_eq!(error.sentence(), "The provider limits our calls. Try again in 2 s.");
        assert_eq!(error.to_string(), "openrouter_chat limits our calls");
        let error = UpstreamError::Cut { provider };
        assert_eq!(error.sentence(), "The provider cut its answer.");
    }
}
