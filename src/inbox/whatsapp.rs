//! Elements of WhatsApp deliveries.

use sendcat_state::key::{IdempotencyKey, InboxSource};

use super::NewEvent;
use crate::contract::whatsapp::{Element, ElementKey};

/// The event that an element is.
pub fn event(element: &Element) -> NewEvent {
    let key = match element.key() {
        ElementKey::Message(id) => IdempotencyKey::whatsapp_message(id),
        ElementKey::Status(id, status) => IdempotencyKey::whatsapp_status(id, status),
        ElementKey::Digest(digest) => IdempotencyKey::whatsapp_change(&digest),
    };
    let body = serde_json::to_vec(element).expect("an element was read from JSON");
    NewEvent { source: InboxSource::Whatsapp, key, body }
}
