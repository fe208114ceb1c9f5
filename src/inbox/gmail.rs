//! Pushes about mailboxes.

use sendcat_state::key::{IdempotencyKey, InboxSource};
use serde_json::json;

use super::NewEvent;
use crate::contract::gmail::GmailPush;

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
