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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::function;
    use serde_json::json;

    #[test]
    fn a_delivery_is_read_whole_and_is_told_wrong_by_its_function() {
        let good = json!({"source": "s", "id": null, "about": "push", "payload": {"a": 1}});
        let with = |name: &str, value: Value| {
            let mut payload = good.clone();
            payload[name] = value;
            payload
        };
        let read = |payload: &Value| {
            function::args::<Signed>(FUNCTION, payload.to_string().as_bytes())
                .map_err(|error| error.to_string())
        };
        let delivery = read(&good).unwrap();
        assert_eq!(serde_json::to_value(&delivery).unwrap(), good);
        let prefix = "[invalid_function_args:webhooks.processDelivery] ";
        let table = [
            (with("source", json!("")), "source: expected the name of a source"),
            (with("payload", json!(["planted"])), "payload: expected a JSON object"),
            (with("source", json!(7)), "the payload is not what it takes, at line 1 column "),
            (with("another", json!(7)), "the payload is not what it takes, at line 1 column "),
            (json!({}), "the payload is not what it takes, at line 1 column 2"),
        ];
        for (payload, why) in table {
            let error = read(&payload).unwrap_err();
            assert!(error.starts_with(&format!("{prefix}{why}")), "{payload}: {error}");
            assert!(!error.contains("planted"), "{error}");
        }
    }
}
