//! WhatsApp deliveries: a signed batch, taken apart into elements that are handled one by one.
//!
//! Meta batches up to a thousand updates, adds fields and types without notice, and never sends a
//! refused batch's good parts alone. So the reading is loose: only the top of the body has a
//! shape that must hold; below it every element stands for itself, and one that cannot be read is
//! kept as [`Element::Odd`] for the dead letters (WEBHOOKS.md §1.3). Users may have no number any
//! more, so a sender is optional.
//!
//! # Invariants
//! - Elements come in the order of the body; none is lost and none is made up.
//! - Each element has a key, and the same element redelivered has the same one.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::body::{BodyError, parse_object, text_of};
use super::signature::digest;

pub use super::whatsapp_link::{LinkCode, LinkCodeAnswer};
pub use super::whatsapp_verify::{CHALLENGE_BYTES_MAX, Verification, VerificationFault};

/// The longest identifier that is taken as one; real ones have some 60 bytes.
const ID_BYTES_MAX: usize = 512;

/// The most elements of a delivery: ten times what Meta batches.
pub const ELEMENTS_MAX: usize = 10_000;

/// What frames messages and statuses, and tells nothing of its own.
const FRAME: [&str; 3] = ["messaging_product", "metadata", "contacts"];

/// One thing that a delivery tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "element", rename_all = "camelCase")]
pub enum Element {
    /// Someone wrote, or did something that is shown as a message.
    Message(Message),
    /// How far one of our messages got.
    Status(Status),
    /// A notice about the account, or anything else with a field of its own.
    Change(Change),
    /// What could not be read.
    Odd(Odd),
}

/// A message from a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Meta's name for it (`wamid.…`), the same in every redelivery.
    pub id: String,
    /// Its type: `text`, `image`, …, or one that did not exist when this was written; `unknown`
    /// if it names none.
    pub kind: String,
    /// Which of our numbers it came to.
    pub phone_number_id: Option<String>,
    /// Who wrote.
    pub sender: Sender,
    /// The message as it came, with all its fields.
    pub raw: Value,
}

impl Message {
    /// What was written, for type `text`.
    pub fn text(&self) -> Option<&str> {
        if self.kind == "text" { self.raw.pointer("/text/body")?.as_str() } else { None }
    }
}

/// Who wrote: a number, a business-scoped user id, both, or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sender {
    /// The number (`from`), digits without a plus.
    pub number: Option<String>,
    /// The business-scoped user id (`from_user_id`).
    pub user_id: Option<String>,
}

impl Sender {
    /// What the sender is known by: the user id where there is one, else the number.
    pub fn identity(&self) -> Option<&str> {
        self.user_id.as_deref().or(self.number.as_deref())
    }
}

/// How far one of our messages got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The message's name, as Meta gave it when it was sent.
    pub id: String,
    /// How far: `sent`, `delivered`, `read`, `played`, `failed`, or a newer word.
    pub status: String,
    /// Which of our numbers sent it.
    pub phone_number_id: Option<String>,
    /// Whom it went to.
    pub recipient: Option<String>,
    /// The status as it came, with all its fields.
    pub raw: Value,
}

/// A change that is neither message nor status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Of what, such as `account_update`.
    pub field: String,
    /// Whose account (the entry's id).
    pub account: Option<String>,
    /// The entry's time, as it came: it tells two equal notices apart.
    pub time: Option<Value>,
    /// The change as it came, with all its fields.
    pub raw: Value,
}

/// An element that could not be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Odd {
    /// What was expected, and where.
    pub why: String,
    /// The element as it came.
    pub raw: Value,
}

/// What an element's idempotency key is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ElementKey<'a> {
    /// The message's id.
    Message(&'a str),
    /// The message's id and the status: one message has several statuses.
    Status(&'a str, &'a str),
    /// The SHA-256 of the element, in hexadecimal, for what has no id.
    Digest(String),
}

impl Element {
    /// Which of our numbers, or whose account, it is about: a sender is counted by it.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Message(message) => message.phone_number_id.as_deref(),
            Self::Status(status) => status.phone_number_id.as_deref(),
            Self::Change(change) => change.account.as_deref(),
            Self::Odd(_) => None,
        }
    }

    /// What the idempotency key of this element is made of.
    pub fn key(&self) -> ElementKey<'_> {
        match self {
            Self::Message(message) => ElementKey::Message(&message.id),
            Self::Status(status) => ElementKey::Status(&status.id, &status.status),
            Self::Change(change) => ElementKey::Digest(digest_of(&(
                "change",
                &change.account,
                &change.time,
                &change.raw,
            ))),
            // Not the path in `why`: a redelivery may be batched another way.
            Self::Odd(odd) => ElementKey::Digest(digest_of(&("odd", &odd.raw))),
        }
    }
}

fn digest_of(element: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(element).expect("an element always encodes");
    digest(&bytes)
}

/// Takes a delivery apart.
///
/// # Errors
/// [`BodyError::NotJson`], or [`BodyError::Shape`] if it is not an object with the `object` of
/// WhatsApp and an array `entry`, or has more than [`ELEMENTS_MAX`] elements.
pub fn read(bytes: &[u8]) -> Result<Vec<Element>, BodyError> {
    let mut body = parse_object(bytes)?;
    if body.get("object").and_then(Value::as_str) != Some("whatsapp_business_account") {
        return Err(BodyError::shape("object", "\"whatsapp_business_account\""));
    }
    let Some(Value::Array(entries)) = body.remove("entry") else {
        return Err(BodyError::shape("entry", "an array of entries"));
    };
    let mut elements = Vec::new();
    for (at, entry) in entries.into_iter().enumerate() {
        read_entry(entry, &format!("entry[{at}]"), &mut elements);
        if elements.len() > ELEMENTS_MAX {
            let expected = format!("entries of at most {ELEMENTS_MAX} elements");
            return Err(BodyError::shape("entry", expected));
        }
    }
    Ok(elements)
}

fn read_entry(mut entry: Value, path: &str, elements: &mut Vec<Element>) {
    let Some(changes) = entry.get_mut("changes").and_then(Value::as_array_mut) else {
        elements.push(odd(format!("{path}.changes: expected an array"), entry));
        return;
    };
    let changes = std::mem::take(changes);
    let account = entry.get("id").and_then(Value::as_str).map(str::to_owned);
    let time = entry.get("time").cloned();
    for (at, change) in changes.into_iter().enumerate() {
        let path = format!("{path}.changes[{at}]");
        let Some(field) = change.get("field").and_then(Value::as_str).map(str::to_owned) else {
            elements.push(odd(format!("{path}.field: expected a string"), change));
            continue;
        };
        let notice = |raw| {
            Element::Change(Change { field, account: account.clone(), time: time.clone(), raw })
        };
        if change["field"] == "messages" {
            read_messages(change, &path, notice, elements);
        } else {
            elements.push(notice(change));
        }
    }
}

/// Reads a change of field `messages`. What is in it besides messages and statuses, above all
/// `errors`, is kept as a change.
fn read_messages(
    mut change: Value,
    path: &str,
    notice: impl FnOnce(Value) -> Element,
    elements: &mut Vec<Element>,
) {
    let Some(value) = change.get_mut("value").and_then(Value::as_object_mut) else {
        elements.push(odd(format!("{path}.value: expected an object"), change));
        return;
    };
    let lists = [("messages", value.remove("messages")), ("statuses", value.remove("statuses"))];
    let phone_number_id = value
        .get("metadata")
        .and_then(Value::as_object)
        .and_then(|at| text_of(at, "phone_number_id"));
    let is_bare = lists.iter().all(|(_, list)| list.is_none());
    if is_bare || value.keys().any(|name| !FRAME.contains(&name.as_str())) {
        elements.push(notice(change));
    }
    for (name, list) in lists {
        match list {
            None => {}
            Some(Value::Array(items)) => {
                for (at, item) in items.into_iter().enumerate() {
                    let path = format!("{path}.value.{name}[{at}]");
                    elements.push(match name {
                        "messages" => read_message(item, &path, phone_number_id.clone()),
                        _ => read_status(item, &path, phone_number_id.clone()),
                    });
                }
            }
            Some(other) => {
                elements.push(odd(format!("{path}.value.{name}: expected an array"), other));
            }
        }
    }
}

fn read_message(raw: Value, path: &str, phone_number_id: Option<String>) -> Element {
    match raw.as_object().and_then(id_of) {
        None => odd(format!("{path}.id: expected a message id"), raw),
        Some(id) => {
            let text = |name| raw.as_object().and_then(|members| text_of(members, name));
            let sender = Sender { number: text("from"), user_id: text("from_user_id") };
            let kind = text("type").unwrap_or_else(|| "unknown".to_owned());
            Element::Message(Message { id, kind, phone_number_id, sender, raw })
        }
    }
}

fn read_status(raw: Value, path: &str, phone_number_id: Option<String>) -> Element {
    let text = |name| raw.as_object().and_then(|members| text_of(members, name));
    let status = text("status").filter(|status| status.len() <= ID_BYTES_MAX);
    match (raw.as_object().and_then(id_of), status) {
        (None, _) => odd(format!("{path}.id: expected a message id"), raw),
        (Some(_), None) => odd(format!("{path}.status: expected a status"), raw),
        (Some(id), Some(status)) => {
            let recipient = text("recipient_id");
            Element::Status(Status { id, status, phone_number_id, recipient, raw })
        }
    }
}

fn id_of(members: &Map<String, Value>) -> Option<String> {
    text_of(members, "id").filter(|id| id.len() <= ID_BYTES_MAX)
}

fn odd(why: String, raw: Value) -> Element {
    Element::Odd(Odd { why, raw })
}

#[cfg(test)]
#[path = "whatsapp_tests.rs"]
mod tests;
