//! Resend: `POST /emails`. One idempotency key sends one mail.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ask::Ask;
use super::control::locked;
use super::reply::Reply;

/// Keys that are remembered; then all are forgotten, as the real ones are after a day.
const KEYS_MAX: usize = 10_000;

pub(super) fn answer(ask: &Ask<'_>) -> Reply {
    if !matches!((ask.method, ask.segments().as_slice()), ("POST", ["emails"])) {
        return refuse(404);
    }
    if ask.bearer().is_none() {
        return refuse(401);
    }
    let Some(body) = ask.json() else {
        return error(400, "validation_error", "expected a JSON body");
    };
    let missing = ["from", "to", "subject"].into_iter().find(|name| is_blank(&body[*name]));
    if let Some(name) = missing {
        return error(422, "validation_error", &format!("Missing `{name}` field."));
    }
    if is_blank(&body["html"]) && is_blank(&body["text"]) {
        return error(422, "validation_error", "Missing `html` or `text` field.");
    }
    let key = ask.header("idempotency-key");
    let id = format!("00000000-0000-4000-8000-{:012x}", ask.serial);
    match key.len() {
        0 => Reply::json(200, &json!({"id": id})),
        1..=256 => once(ask, key, id),
        _ => error(400, "invalid_idempotency_key", "The key must be 1 to 256 characters."),
    }
}

/// The same mail again gives the first answer; another mail under the same key is refused.
fn once(ask: &Ask<'_>, key: &str, id: String) -> Reply {
    let payload = hex::encode(Sha256::digest(ask.body));
    let mut mails = locked(&ask.memory.mails);
    if mails.len() == KEYS_MAX {
        mails.clear();
    }
    let (first, id) = mails.entry(key.to_owned()).or_insert((payload.clone(), id));
    if *first == payload {
        return Reply::json(200, &json!({"id": id}));
    }
    error(409, "invalid_idempotent_request", "Same idempotency key used with another payload.")
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// An error in Resend's shape.
pub(super) fn refuse(status: u16) -> Reply {
    let (name, message) = match status {
        400 | 422 => ("validation_error", "The request is not valid."),
        401 => ("missing_api_key", "Missing API key in the authorization header."),
        403 => ("invalid_api_key", "API key is invalid."),
        404 => ("not_found", "The requested endpoint does not exist."),
        429 => ("rate_limit_exceeded", "Too many requests."),
        _ => ("application_error", "An unexpected error occurred."),
    };
    error(status, name, message)
}

fn error(status: u16, name: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"statusCode": status, "name": name, "message": message}))
}
