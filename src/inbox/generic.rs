//! Deliveries of configured sources.

use sendcat_state::key::{IdempotencyKey, InboxSource};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::NewEvent;
use crate::contract::function::Args;

/// A delivery whose signature was checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signed {
    /// Whose.
    pub source: String,
    /// The sender's identifier, where one is signed.
    pub id: Option<String>,
    /// What the sender says it is about; not signed, so nothing may depend on it.
    pub about: Option<String>,
    /// What was signed.
    pub payload: Value,
}

/// What works it off is called so in errors.
pub(super) const FUNCTION: &str = "webhooks.processDelivery";

impl Args for Signed {
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.source.is_empty() {
            return Err(("source", "the name of a source"));
        }
        if self.payload.is_object() { Ok(()) } else { Err(("payload", "a JSON object")) }
    }
}

/// The event that a delivery is.
pub fn event(key: &str, delivery: &Signed) -> NewEvent {
    let body = serde_json::to_vec(delivery).expect("a delivery was read from JSON");
    let key = IdempotencyKey::webhook(&delivery.source, key);
    NewEvent { source: InboxSource::Generic, key, body }
}
