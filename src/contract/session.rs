//! Anonymous sessions: what `POST /api/sessions/anonymous` answers, and what its token claims.
//!
//! The server mints the identifier; a client that chose its own would have a fresh rate limit
//! with every request (WEBHOOKS.md §5.10).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who issued a session's token; every other issuer is a user's (INTERFACE.md §2).
pub const SESSION_ISSUER: &str = "sendcat";

/// What precedes the session's identifier in the token's subject.
pub const SESSION_SUBJECT_PREFIX: &str = "anon:";

/// How long a session's token is good, in seconds: 30 days.
pub const SESSION_SECONDS: u64 = 30 * 24 * 60 * 60;

/// A new session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnonymousSession {
    /// The bearer token.
    pub token: String,
    /// The session's own identifier, 128 bits.
    pub session_id: String,
    /// When the token ends, RFC 3339 in UTC.
    pub expires_at: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_written_as_promised() {
        let session = AnonymousSession {
            token: "t".into(),
            session_id: "s".into(),
            expires_at: crate::contract::rfc3339(SESSION_SECONDS * 1000),
        };
        assert_eq!(
            serde_json::to_string(&session).unwrap(),
            r#"{"token":"t","sessionId":"s","expiresAt":"1970-01-31T00:00:00.000Z"}"#
        );
    }
}
