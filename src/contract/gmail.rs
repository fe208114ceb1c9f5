//! A Gmail push as Pub/Sub wraps it, or unwraps it where the subscription says so.
//!
//! Pub/Sub writes both spellings of its members (`messageId` and `message_id`), documents two
//! base64 alphabets for `data`, and Gmail's `historyId` is a string in the guide and a number in
//! the field: whatever of these arrives is read (WEBHOOKS.md §2.1).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::body::{BodyError, Issue, parse_object, text_of};

/// The longest address that mail knows, with room to spare (RFC 5321 §4.5.3.1: 64 and 255).
const ADDRESS_BYTES_MAX: usize = 320;

/// Takes what any encoder writes: padded or not, loose bits at the end or not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// That something changed in a mailbox, and up to where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GmailPush {
    /// Whose mailbox.
    pub email_address: String,
    /// Up to which point of its history, as decimal digits. A hint only: the list starts at the
    /// point that we stored.
    pub history_id: String,
    /// Pub/Sub's name for this message; the same in every redelivery.
    pub message_id: Option<String>,
    /// When Pub/Sub took the message, as it wrote it.
    pub publish_time: Option<String>,
    /// Which subscription delivers.
    pub subscription: Option<String>,
    /// Which attempt this is; only sent where the subscription has a dead-letter policy.
    pub delivery_attempt: Option<u64>,
}

/// What Pub/Sub says in headers beside a push that it has unwrapped (WEBHOOKS.md §2.4), where its
/// subscription writes metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Which subscription delivers.
    pub subscription: Option<String>,
    /// Pub/Sub's name for the message.
    pub message_id: Option<String>,
    /// When Pub/Sub took the message.
    pub publish_time: Option<String>,
}

/// Reads the body of `POST /api/gmail/push`: an envelope, or the notice itself. Of an envelope
/// nothing is believed that stands beside it.
///
/// # Errors
/// [`BodyError::NotJson`] if the body is not JSON; [`BodyError::Shape`] if it, or the JSON inside
/// its `data`, has another shape.
pub fn read(bytes: &[u8], described: &Described) -> Result<GmailPush, BodyError> {
    let body = parse_object(bytes)?;
    let is_notice = ["emailAddress", "historyId"].iter().any(|name| body.contains_key(*name));
    if is_notice && !body.contains_key("message") {
        let (email_address, history_id) = read_notice(&body, "")?;
        let Described { subscription, message_id, publish_time } = described.clone();
        let delivery_attempt = None;
        return Ok(GmailPush {
            email_address,
            history_id,
            message_id,
            publish_time,
            subscription,
            delivery_attempt,
        });
    }
    let message = body
        .get("message")
        .and_then(Value::as_object)
        .ok_or_else(|| BodyError::shape("message", "a Pub/Sub message object"))?;
    let (email_address, history_id) = read_notice(&read_data(message)?, "message.data.")?;
    Ok(GmailPush {
        email_address,
        history_id,
        message_id: either(message, "messageId", "message_id"),
        publish_time: either(message, "publishTime", "publish_time"),
        subscription: text_of(&body, "subscription"),
        delivery_attempt: body.get("deliveryAttempt").and_then(Value::as_u64),
    })
}

/// Whose mailbox, and up to where; `within` is the path of what is read.
fn read_notice(notice: &Map<String, Value>, within: &str) -> Result<(String, String), BodyError> {
    let mut issues = Vec::new();
    let email_address = text_of(notice, "emailAddress")
        .filter(|address| address.len() <= ADDRESS_BYTES_MAX)
        .unwrap_or_else(|| {
            issues.push(Issue::new(format!("{within}emailAddress"), "a mail address"));
            String::new()
        });
    let history_id = notice.get("historyId").and_then(decimal).unwrap_or_else(|| {
        let path = format!("{within}historyId");
        issues.push(Issue::new(path, "a history id of decimal digits"));
        String::new()
    });
    if issues.is_empty() { Ok((email_address, history_id)) } else { Err(BodyError::Shape(issues)) }
}

/// Of which subscription a push says it is, and which attempt, also one that cannot be read
/// otherwise.
pub fn envelope(bytes: &[u8]) -> (Option<String>, Option<u64>) {
    let Ok(body) = parse_object(bytes) else { return (None, None) };
    (text_of(&body, "subscription"), body.get("deliveryAttempt").and_then(Value::as_u64))
}

fn read_data(message: &Map<String, Value>) -> Result<Map<String, Value>, BodyError> {
    let wrong = || BodyError::shape("message.data", "a JSON object in base64");
    let text = text_of(message, "data").ok_or_else(wrong)?;
    let text = text.replace('-', "+").replace('_', "/");
    let bytes = LENIENT.decode(text).map_err(|_| wrong())?;
    parse_object(&bytes).map_err(|_| wrong())
}

/// A history id in its shortest decimal form, so that one id has one idempotency key.
fn decimal(value: &Value) -> Option<String> {
    let number = match value {
        Value::Number(number) => number.as_u64()?,
        Value::String(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok()?
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return None;
        }
    };
    Some(number.to_string())
}

fn either(members: &Map<String, Value>, one: &str, other: &str) -> Option<String> {
    text_of(members, one).or_else(|| text_of(members, other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use serde_json::json;

    fn read(bytes: &[u8]) -> Result<GmailPush, BodyError> {
        super::read(bytes, &Described::default())
    }

    fn wrapped(data: &str) -> Vec<u8> {
        json!({"message": {"data": data, "messageId": "1"}}).to_string().into_bytes()
    }

    fn first_path(bytes: &[u8]) -> String {
        match read(bytes).unwrap_err() {
            BodyError::Shape(issues) => issues[0].path.clone(),
            BodyError::NotJson(why) => panic!("not JSON: {why}"),
        }
    }

    #[test]
    fn the_wrapped_sample_is_read_whole() {
        let push = read(include_bytes!("../../tests/it/samples/gmail_push_wrapped.json")).unwrap();
        let expected = GmailPush {
            email_address: "user@example.com".into(),
            history_id: "1234567890".into(),
            message_id: Some("2070443601311540".into()),
            publish_time: Some("2021-02-26T19:13:55.749Z".into()),
            subscription: Some("projects/myproject/subscriptions/mysubscription".into()),
            delivery_attempt: None,
        };
        assert_eq!(push, expected);
    }

    #[test]
    fn the_other_spelling_is_read_as_well() {
        let sample = include_bytes!("../../tests/it/samples/gmail_push_minimal_snake_case.json");
        let push = read(sample).unwrap();
        assert_eq!(push.message_id.as_deref(), Some("2070443601311541"));
        assert_eq!(push.publish_time.as_deref(), Some("2021-02-26T19:13:55.749Z"));
    }

    #[test]
    fn the_malformed_samples_have_their_two_codes() {
        let no_data = include_bytes!("../../tests/it/samples/gmail_push_malformed_no_data.json");
        assert_eq!(first_path(no_data), "message.data");
        let not_json = include_bytes!("../../tests/it/samples/gmail_push_malformed_not_json.json");
        assert!(matches!(read(not_json), Err(BodyError::NotJson(_))));
    }

    #[test]
    fn every_base64_is_read_padded_or_not() {
        // The address makes the encodings differ in both letters in which the alphabets do.
        let notice = json!({"emailAddress": "~~~???>>>ÿÿ@x.y", "historyId": 7}).to_string();
        let encoded = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
            .map(|engine| engine.encode(&notice));
        assert_ne!(encoded[0], encoded[2]);
        for data in encoded {
            assert_eq!(read(&wrapped(&data)).unwrap().email_address, "~~~???>>>ÿÿ@x.y");
        }
    }

    #[test]
    fn a_history_id_is_decimal_digits_whatever_it_came_as() {
        let read_id = |id: Value| {
            let notice = json!({"emailAddress": "a@b.c", "historyId": id}).to_string();
            read(&wrapped(&STANDARD.encode(notice))).map(|push| push.history_id).ok()
        };
        let table = [
            (json!("9876543210"), Some("9876543210")),
            (json!(9_876_543_210_u64), Some("9876543210")),
            (json!("0042"), Some("42")),
            (json!(u64::MAX), Some("18446744073709551615")),
            (json!("18446744073709551616"), None),
            (json!(-1), None),
            (json!(1.5), None),
            (json!("+1"), None),
            (json!("1e3"), None),
            (json!(""), None),
            (Value::Null, None),
            (json!([1]), None),
        ];
        for (id, expected) in table {
            assert_eq!(read_id(id.clone()).as_deref(), expected, "{id}");
        }
    }

    #[test]
    fn a_wrong_shape_names_its_path() {
        let inside = |notice: Value| wrapped(&STANDARD.encode(notice.to_string()));
        let table = [
            (b"[]".to_vec(), "$"),
            (b"{}".to_vec(), "message"),
            (br#"{"message":"text"}"#.to_vec(), "message"),
            (br#"{"message":{"data":5}}"#.to_vec(), "message.data"),
            (wrapped(""), "message.data"),
            (wrapped("!!!"), "message.data"),
            (wrapped(&STANDARD.encode("not json")), "message.data"),
            (inside(json!([])), "message.data"),
            (inside(json!({"historyId": 1})), "message.data.emailAddress"),
            (inside(json!({"emailAddress": "a@b.c"})), "message.data.historyId"),
            (
                inside(json!({"emailAddress": "a".repeat(321), "historyId": 1})),
                "message.data.emailAddress",
            ),
        ];
        for (body, path) in table {
            assert_eq!(first_path(&body), path, "{}", String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn the_attempt_is_known_where_pubsub_tells_it() {
        let data = STANDARD.encode(r#"{"emailAddress":"a@b.c","historyId":"1"}"#);
        let body = json!({"message": {"data": data}, "deliveryAttempt": 5, "extra": {}});
        let push = read(body.to_string().as_bytes()).unwrap();
        assert_eq!((push.delivery_attempt, push.message_id), (Some(5), None));
    }
}
