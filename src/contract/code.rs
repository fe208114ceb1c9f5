//! Every code that an answer can carry in `x-sendcat-error-code`, its status and its sentence.
//!
//! The codes are those of INTERFACE.md §3 and §4; a client may branch on the name, for it never
//! changes. The sentence is shown to people as it is: AI SDK clients keep no header of a refusal
//! and put its body into the banner (UI-STREAM.md §3), so it says what to do next.
//!
//! # Invariants
//! - A status of 429 or 503 has a default wait of at least a second, and no other status has one.
//! - The sentence of a code with a default wait has one place for the wait.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::headers::retry_after_seconds;

/// The words in a sentence that a known wait replaces.
const SOON: &str = "in a moment";

/// Declares the codes: one row each, so that no name, status or sentence is written twice.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $wire:literal, $status:literal, $sentence:literal;)+) => {
        /// Why a request was refused or an answer ended early.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, Deserialize)]
        pub enum ErrorCode { $($(#[$doc])* #[serde(rename = $wire)] $variant,)+ }

        impl ErrorCode {
            /// Every code, in the order of the tables of INTERFACE.md.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $wire,)+ }
            }

            /// The HTTP status. Codes that only a running stream can carry have one too, for
            /// problem documents: 504 where a clock ran out, 502 where the provider is at fault.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// One sentence for a person: what happened and what to do.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)+ }
            }
        }
    };
}

codes! {
    /// The origin, the owner, a signature or a webhook's token does not allow this.
    Forbidden = "forbidden", 403,
        "You may not do this; check where the request comes from and what it is signed with.";
    /// The route exists, not with this method.
    MethodNotAllowed = "method_not_allowed", 405,
        "This address does not take that method; use one that the Allow header names.";
    /// No token, or one that is not good.
    Unauthorized = "unauthorized", 401,
        "You are not signed in, or your session has ended; sign in and try again.";
    /// A rate limit said no, or the limiter could not answer.
    RateLimited = "rate_limited", 429,
        "Rate limit reached; try again in a moment.";
    /// The body is not declared as JSON.
    UnsupportedMediaType = "unsupported_media_type", 415,
        "The request body must be JSON; send it with content-type application/json.";
    /// The declared or the actual size is over the limit.
    PayloadTooLarge = "payload_too_large", 413,
        "The request body is too large; send less, for example only the last message.";
    /// The body is not well-formed JSON.
    InvalidJson = "invalid_json", 400,
        "The request body is not valid JSON; correct it and send it again.";
    /// The body is JSON of the wrong shape.
    InvalidRequest = "invalid_request", 400,
        "The request does not have the expected shape; correct it and send it again.";
    /// A key is missing, or the provider refuses our key or credit.
    Misconfigured = "misconfigured", 503,
        "This service is not set up to answer yet; try again in a moment or tell its operator.";
    /// The bulkhead is full.
    Overloaded = "overloaded", 503,
        "All places are taken right now; try again in a moment.";
    /// The circuit is open, or the provider cannot be reached.
    UpstreamUnavailable = "upstream_unavailable", 503,
        "The model provider cannot be reached right now; try again in a moment.";
    /// The provider answers 429 and the retries are spent.
    UpstreamRateLimited = "upstream_rate_limited", 503,
        "The model provider is limiting our requests; try again in a moment.";
    /// The provider answers 5xx, something that is no answer, or nothing.
    UpstreamError = "upstream_error", 502,
        "The model provider failed to answer; try again.";
    /// The provider refuses the request as such.
    UpstreamRejected = "upstream_rejected", 502,
        "The model provider refused this request; change the message and try again.";
    /// No connection within its clock.
    UpstreamConnectTimeout = "upstream_connect_timeout", 504,
        "The model provider could not be connected to in time; try again.";
    /// No response headers within their clock.
    UpstreamHeadersTimeout = "upstream_headers_timeout", 504,
        "The model provider did not begin to answer in time; try again.";
    /// No content within its clock.
    UpstreamFirstContentTimeout = "upstream_first_content_timeout", 504,
        "The model provider sent no content in time; try again.";
    /// The whole answer took longer than its clock.
    UpstreamTotalTimeout = "upstream_total_timeout", 504,
        "The answer took too long and was ended; try again or ask for less.";
    /// Too long a silence between two contents; only on a stream.
    UpstreamIdleTimeout = "upstream_idle_timeout", 504,
        "The model provider fell silent before the answer was complete; try again.";
    /// Content keeps coming, too slowly; only on a stream.
    UpstreamTooSlow = "upstream_too_slow", 504,
        "The model provider answered too slowly and was stopped; try again.";
    /// The provider closed the connection in the middle; only on a stream.
    UpstreamCut = "upstream_cut", 502,
        "The connection to the model provider broke before the answer was complete; try again.";
    /// The answer outgrew its stream log; only on a stream.
    UpstreamTooLong = "upstream_too_long", 502,
        "The answer grew too long and was ended; ask for less.";
    /// The request's body did not arrive in time.
    RequestTimeout = "request_timeout", 408,
        "The request did not arrive in time; send it again.";
    /// There is nothing of that identifier.
    NotFound = "not_found", 404,
        "There is nothing here; check the address.";
    /// It is over already, or there is no room for more.
    Conflict = "conflict", 409,
        "This cannot be done in the present state; reload and try again.";
    /// An `Idempotency-Key` came back with another body.
    IdempotencyMismatch = "idempotency_mismatch", 422,
        "This Idempotency-Key was used with another body; use a new key.";
    /// The journal cannot be written.
    StorageUnavailable = "storage_unavailable", 503,
        "The request cannot be stored right now; try again in a moment.";
    /// A panic, or a fault without a class.
    InternalError = "internal_error", 500,
        "Something went wrong on our side; try again.";
}

impl ErrorCode {
    /// The code of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// The wait to announce where nobody knows a better one; `None` for codes without a
    /// `Retry-After`. Never under a second.
    pub const fn default_retry_after(self) -> Option<Duration> {
        match self {
            Self::RateLimited | Self::Overloaded => Some(Duration::from_secs(1)),
            Self::UpstreamUnavailable | Self::StorageUnavailable => Some(Duration::from_secs(5)),
            Self::UpstreamRateLimited => Some(Duration::from_secs(10)),
            // Someone has to change a setting first (INTERFACE.md §3).
            Self::Misconfigured => Some(Duration::from_secs(60)),
            Self::Forbidden
            | Self::MethodNotAllowed
            | Self::Unauthorized
            | Self::UnsupportedMediaType
            | Self::PayloadTooLarge
            | Self::InvalidJson
            | Self::InvalidRequest
            | Self::UpstreamError
            | Self::UpstreamRejected
            | Self::UpstreamConnectTimeout
            | Self::UpstreamHeadersTimeout
            | Self::UpstreamFirstContentTimeout
            | Self::UpstreamTotalTimeout
            | Self::UpstreamIdleTimeout
            | Self::UpstreamTooSlow
            | Self::UpstreamCut
            | Self::UpstreamTooLong
            | Self::RequestTimeout
            | Self::NotFound
            | Self::Conflict
            | Self::IdempotencyMismatch
            | Self::InternalError => None,
        }
    }

    /// [`Self::sentence`] with the wait in it, in the seconds that `Retry-After` names.
    pub fn sentence_after(self, wait: Duration) -> String {
        let wait = match retry_after_seconds(wait) {
            1 => "in 1 second".to_owned(),
            seconds => format!("in {seconds} seconds"),
        };
        self.sentence().replace(SOON, &wait)
    }
}

// Written out: a derive does not see the names that the macro has put in.
impl PartialSchema for ErrorCode {
    fn schema() -> RefOr<Schema> {
        let names = Self::ALL.iter().map(|code| serde_json::Value::from(code.name()));
        let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
        text.enum_values(Some(names)).into()
    }
}

impl ToSchema for ErrorCode {}

impl fmt::Display for ErrorCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written out a second time on purpose: clients branch on these.
    const GOLDEN: &[(&str, u16)] = &[
        ("forbidden", 403),
        ("method_not_allowed", 405),
        ("unauthorized", 401),
        ("rate_limited", 429),
        ("unsupported_media_type", 415),
        ("payload_too_large", 413),
        ("invalid_json", 400),
        ("invalid_request", 400),
        ("misconfigured", 503),
        ("overloaded", 503),
        ("upstream_unavailable", 503),
        ("upstream_rate_limited", 503),
        ("upstream_error", 502),
        ("upstream_rejected", 502),
        ("upstream_connect_timeout", 504),
        ("upstream_headers_timeout", 504),
        ("upstream_first_content_timeout", 504),
        ("upstream_total_timeout", 504),
        ("upstream_idle_timeout", 504),
        ("upstream_too_slow", 504),
        ("upstream_cut", 502),
        ("upstream_too_long", 502),
        ("request_timeout", 408),
        ("not_found", 404),
        ("conflict", 409),
        ("idempotency_mismatch", 422),
        ("storage_unavailable", 503),
        ("internal_error", 500),
    ];

    #[test]
    fn the_codes_and_their_statuses_never_change() {
        let table: Vec<_> =
            ErrorCode::ALL.iter().map(|code| (code.name(), code.status())).collect();
        assert_eq!(table, GOLDEN);
    }

    #[test]
    fn a_code_reads_back_from_its_name_and_from_json() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.name()), Some(code));
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<ErrorCode>(&json).unwrap(), code);
        }
        assert_eq!(ErrorCode::from_name("Forbidden"), None);
    }

    #[test]
    fn exactly_429_and_503_name_a_wait_of_a_second_or_more() {
        for &code in ErrorCode::ALL {
            let waits = matches!(code.status(), 429 | 503);
            assert_eq!(code.default_retry_after().is_some(), waits, "{code}");
            assert!(code.default_retry_after().is_none_or(|wait| wait.as_secs() >= 1), "{code}");
        }
    }

    #[test]
    fn every_sentence_is_one_sentence_and_has_room_for_its_wait() {
        for &code in ErrorCode::ALL {
            let sentence = code.sentence();
            assert!(sentence.ends_with('.') && sentence.matches('.').count() == 1, "{code}");
            let rooms = usize::from(code.default_retry_after().is_some());
            assert_eq!(sentence.matches(SOON).count(), rooms, "{code}");
        }
    }

    #[test]
    fn a_known_wait_stands_in_the_sentence() {
        let told = |millis| ErrorCode::RateLimited.sentence_after(Duration::from_millis(millis));
        assert_eq!(told(16_001), "Rate limit reached; try again in 17 seconds.");
        assert_eq!(told(0), "Rate limit reached; try again in 1 second.");
    }
}
