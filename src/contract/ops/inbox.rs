//! Accepted events, and those that were given up.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answers;

answers! {
    /// `GET /ops/inbox`.
    InboxAnswer {
        /// When it was looked.
        generated_at: String,
        /// Accepted events, newest first.
        items: Vec<InboxRow>,
        /// What to hand in as `cursor` for the next page; `null` at the end.
        next_cursor: Option<String>,
    }

    /// `GET /ops/dead-letters`.
    DeadLettersAnswer {
        /// When it was looked.
        generated_at: String,
        /// Events that were given up, newest first.
        items: Vec<DeadLetterRow>,
        /// What to hand in as `cursor` for the next page; `null` at the end.
        next_cursor: Option<String>,
    }

    /// One event that was given up.
    DeadLetterRow {
        /// Its identifier.
        id: String,
        /// Where it came from, such as `whatsapp`.
        source: String,
        /// What it was claimed by, scope and key.
        key: String,
        /// Attempts that it took.
        attempts: u32,
        /// When it was accepted.
        accepted_at: String,
        /// When it was given up.
        given_up_at: Option<String>,
        /// Why, as the last attempt said.
        error: Option<String>,
    }

    /// One accepted event.
    InboxRow {
        /// Its identifier.
        id: String,
        /// Where it came from, such as `whatsapp`.
        source: String,
        /// What it was claimed by, scope and key.
        key: String,
        /// `pending`, `running`, `done` or `dead`.
        status: String,
        /// Attempts so far.
        attempts: u32,
        /// When it was accepted.
        accepted_at: String,
        /// When what it asks for had happened.
        done_at: Option<String>,
    }
}
