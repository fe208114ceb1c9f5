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
use sha2::{Digest, Sha256};

use super::body::{BodyError, parse_object, text_of};

pub use super::whatsapp_verify::{CHALLENGE_BYTES_MAX, Verification, VerificationFault};

/// The longest identifier that is taken as one; real ones have some 60 bytes.
const ID_BYTES_MAX: usize = 512;

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
    hex::encode(Sha256::digest(bytes))
}

/// Takes a delivery apart.
///
/// # Errors
/// [`BodyError::NotJson`], or [`BodyError::Shape`] if it is not an object with the `object` of
/// WhatsApp and an array `entry`.
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
mod tests {
    use super::*;
    use serde_json::json;

    macro_rules! sample {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/it/samples/whatsapp_", $name, ".json"))
        };
    }

    fn value_of(value: Value) -> Vec<Element> {
        let body = json!({"object": "whatsapp_business_account", "entry": [
            {"id": "1", "changes": [{"field": "messages", "value": value}]}]});
        read(body.to_string().as_bytes()).unwrap()
    }

    fn only_message(bytes: &[u8]) -> Message {
        match <[Element; 1]>::try_from(read(bytes).unwrap()).unwrap() {
            [Element::Message(message)] => message,
            [other] => panic!("not a message: {other:?}"),
        }
    }

    /// The kind of each element and why, if it is odd.
    fn outline(elements: &[Element]) -> Vec<String> {
        let outline = |element: &Element| match element {
            Element::Message(message) => format!("message {} {}", message.kind, message.id),
            Element::Status(status) => format!("status {} {}", status.status, status.id),
            Element::Change(change) => format!("change {}", change.field),
            Element::Odd(odd) => format!("odd {}", odd.why),
        };
        elements.iter().map(outline).collect()
    }

    #[test]
    fn a_text_is_read_with_its_sender_and_its_words() {
        let message = only_message(sample!("text"));
        assert_eq!(message.text(), Some("Does it come in another color?"));
        assert_eq!(message.kind, "text");
        assert_eq!(message.phone_number_id.as_deref(), Some("106540352242922"));
        assert_eq!(message.sender.identity(), Some("16505551234"));
        assert_eq!(message.raw["timestamp"], "1749416383");
    }

    #[test]
    fn other_types_keep_all_their_fields() {
        let image = only_message(sample!("image"));
        assert_eq!((image.kind.as_str(), image.text()), ("image", None));
        assert_eq!(image.raw["image"]["caption"], "Taj Mahal");
        let reply = only_message(sample!("interactive_button_reply"));
        assert_eq!(reply.raw["interactive"]["button_reply"]["id"], "cancel-button");
    }

    #[test]
    fn a_batch_keeps_its_order_and_its_duplicate_has_the_same_key() {
        let elements = read(sample!("batch3_one_duplicate")).unwrap();
        assert_eq!(
            outline(&elements),
            [
                "message text wamid.BATCH0001",
                "message text wamid.BATCH0002",
                "message text wamid.BATCH0001"
            ]
        );
        assert_eq!(elements[0].key(), elements[2].key());
        assert_ne!(elements[0].key(), elements[1].key());
    }

    #[test]
    fn two_statuses_of_one_message_have_two_keys() {
        let sent = read(sample!("status_sent")).unwrap();
        let delivered = read(sample!("status_delivered")).unwrap();
        let id = "wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQUFERjg0NDEzNDdFODU3MUMxMAA=";
        assert_eq!(sent[0].key(), ElementKey::Status(id, "sent"));
        assert_eq!(delivered[0].key(), ElementKey::Status(id, "delivered"));
    }

    #[test]
    fn an_odd_message_does_not_sink_its_batch() {
        let elements = value_of(json!({"messages": [
            {"id": "a", "type": "text"}, {"type": "text"}, 5, null, {"id": ""}, {"id": 7},
            {"id": "x".repeat(513)}, {"id": "b", "type": "hologram"}, {"id": "c"}]}));
        let odd =
            |at| format!("odd entry[0].changes[0].value.messages[{at}].id: expected a message id");
        let mut expected = vec!["message text a".to_owned()];
        expected.extend((1..=6).map(odd));
        expected.extend(["message hologram b".to_owned(), "message unknown c".to_owned()]);
        assert_eq!(outline(&elements), expected);
    }

    #[test]
    fn the_sample_without_an_id_is_odd_and_has_a_digest_for_a_key() {
        let once = read(sample!("malformed_message_without_id")).unwrap();
        let again = read(sample!("malformed_message_without_id")).unwrap();
        assert!(matches!(once[..], [Element::Odd(_)]), "{once:?}");
        assert!(matches!(once[0].key(), ElementKey::Digest(digest) if digest.len() == 64));
        assert_eq!(once[0].key(), again[0].key());
    }

    #[test]
    fn an_odd_element_has_its_key_wherever_in_a_batch_it_comes() {
        let odd = json!({"type": "text"});
        let alone = value_of(json!({"messages": [odd]}));
        let second = value_of(json!({"messages": [{"id": "a"}, odd]}));
        assert_eq!(alone[0].key(), second[1].key());
    }

    #[test]
    fn a_user_without_a_number_is_known_by_the_user_id() {
        let elements = value_of(json!({"messages": [
            {"id": "a", "type": "text", "from_user_id": "US.1"},
            {"id": "b", "type": "text", "from": "1", "from_user_id": "US.1"},
            {"id": "c", "type": "system"}]}));
        let identity = |element: &Element| match element {
            Element::Message(message) => message.sender.identity().map(str::to_owned),
            Element::Status(_) | Element::Change(_) | Element::Odd(_) => panic!("{element:?}"),
        };
        let known: Vec<_> = elements.iter().map(identity).collect();
        assert_eq!(known, [Some("US.1".to_owned()), Some("US.1".to_owned()), None]);
    }

    #[test]
    fn what_is_neither_message_nor_status_is_kept_as_a_change() {
        let body = json!({"object": "whatsapp_business_account", "entry": [
            {"id": "1", "time": 17, "changes": [{"field": "account_update", "value": {"event": "X"}}]},
            {"id": "1", "time": 18, "changes": [{"field": "account_update", "value": {"event": "X"}}]}]});
        let elements = read(body.to_string().as_bytes()).unwrap();
        assert_eq!(outline(&elements), ["change account_update", "change account_update"]);
        assert_ne!(elements[0].key(), elements[1].key());
        assert_eq!(outline(&value_of(json!({}))), ["change messages"]);
        let errors =
            json!({"errors": [{"code": 1}], "statuses": [{"id": "a", "status": "failed"}]});
        assert_eq!(outline(&value_of(errors)), ["change messages", "status failed a"]);
    }

    #[test]
    fn odd_parts_of_the_envelope_are_kept_beside_the_good_ones() {
        let good =
            json!({"field": "messages", "value": {"messages": [{"id": "a", "type": "text"}]}});
        let body = json!({"object": "whatsapp_business_account", "entry": [
            "text", {"id": "1"}, {"id": "1", "changes": {}},
            {"changes": [1, {"value": {}}, {"field": "messages"}, {"field": "messages", "value": []},
                {"field": "messages", "value": {"messages": {}, "statuses": 1}}, good]}]});
        let elements = read(body.to_string().as_bytes()).unwrap();
        assert_eq!(
            outline(&elements),
            [
                "odd entry[0].changes: expected an array",
                "odd entry[1].changes: expected an array",
                "odd entry[2].changes: expected an array",
                "odd entry[3].changes[0].field: expected a string",
                "odd entry[3].changes[1].field: expected a string",
                "odd entry[3].changes[2].value: expected an object",
                "odd entry[3].changes[3].value: expected an object",
                "odd entry[3].changes[4].value.messages: expected an array",
                "odd entry[3].changes[4].value.statuses: expected an array",
                "message text a",
            ]
        );
    }

    #[test]
    fn a_wrong_top_is_refused_by_name() {
        let table: [(&[u8], &str); 5] = [
            (b"[]", "$"),
            (b"{}", "object"),
            (br#"{"object":"page","entry":[]}"#, "object"),
            (br#"{"object":"whatsapp_business_account"}"#, "entry"),
            (br#"{"object":"whatsapp_business_account","entry":{}}"#, "entry"),
        ];
        for (body, path) in table {
            assert_eq!(read(body).unwrap_err().issues()[0].path, path);
        }
        let truncated = read(sample!("malformed_truncated"));
        assert!(matches!(truncated, Err(BodyError::NotJson(_))));
        assert_eq!(read(br#"{"object":"whatsapp_business_account","entry":[]}"#), Ok(Vec::new()));
    }

    #[test]
    fn an_element_reads_back_from_where_it_was_kept() {
        for bytes in [&sample!("text")[..], sample!("status_sent"), sample!("batch3_one_duplicate")]
        {
            for element in read(bytes).unwrap() {
                let kept = serde_json::to_vec(&element).unwrap();
                assert_eq!(serde_json::from_slice::<Element>(&kept).unwrap(), element);
            }
        }
    }
}
