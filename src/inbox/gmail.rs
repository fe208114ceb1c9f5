//! Pushes about mailboxes.

use sendcat_state::key::{IdempotencyKey, InboxSource};
use serde::Deserialize;
use serde_json::json;

use super::NewEvent;
use crate::contract::function::Args;
use crate::contract::gmail::GmailPush;

/// What works it off is called so in errors.
pub(super) const FUNCTION: &str = "gmail.processPush";

/// A push as it was accepted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    email_address: String,
    history_id: String,
}

impl Args for Kept {
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.email_address.is_empty() {
            return Err(("emailAddress", "a mailbox"));
        }
        let digits = self.history_id.bytes().all(|byte| byte.is_ascii_digit());
        let fits = digits && !self.history_id.is_empty();
        if fits { Ok(()) } else { Err(("historyId", "decimal digits")) }
    }
}

/// The event that a push is: it is known by the mailbox and its history id (log 1.6).
pub fn event(push: &GmailPush) -> NewEvent {
    let body = json!({
        "emailAddress": push.email_address,
        "historyId": push.history_id,
        "messageId": push.message_id,
        "publishTime": push.publish_time,
        "subscription": push.subscription,
    });
    NewEvent {
        source: InboxSource::Gmail,
        key: IdempotencyKey::gmail(&push.email_address, &push.history_id),
        body: body.to_string().into_bytes(),
    }
}
