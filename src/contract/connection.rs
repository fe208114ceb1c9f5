//! A connected mailbox as its owner sees it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer of `GET /api/gmail/connection`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "status", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Connection {
    /// There is none.
    None,
    /// The mailbox is read.
    Connected {
        /// Which.
        email_address: String,
        /// Since when, RFC 3339 in UTC.
        connected_at: String,
        /// When it was last read to its end.
        synced_at: String,
        /// Until when changes are pushed; absent while they are not.
        #[serde(skip_serializing_if = "Option::is_none")]
        watched_until: Option<String>,
    },
    /// Google has ended it: the mailbox has to be connected again.
    Ended {
        /// Which.
        email_address: String,
        /// Since when it was connected.
        connected_at: String,
        /// When we learned of the end.
        ended_at: String,
    },
}

/// The answer of `POST /api/gmail/connect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connect {
    /// Where the user's browser goes next.
    pub authorize_url: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_connection_is_written_by_its_status() {
        let time = || "2025-01-01T00:00:00.000Z".to_owned();
        let connected = Connection::Connected {
            email_address: "a@b.c".into(),
            connected_at: time(),
            synced_at: time(),
            watched_until: None,
        };
        let expected = json!({
            "status": "connected", "emailAddress": "a@b.c",
            "connectedAt": time(), "syncedAt": time(),
        });
        assert_eq!(serde_json::to_value(connected).unwrap(), expected);
        assert_eq!(serde_json::to_value(Connection::None).unwrap(), json!({"status": "none"}));
    }
}
