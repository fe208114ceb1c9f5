//! Sentry's ingest: `POST /api/{project}/envelope/`.

use serde_json::{Value, json};

use super::ask::Ask;
use super::reply::Reply;

pub(super) fn answer(ask: &Ask<'_>) -> Reply {
    let path = ask.segments();
    let ("POST", ["api", _, "envelope"] | ["api", _, "envelope", ""]) =
        (ask.method, path.as_slice())
    else {
        return refuse(404);
    };
    let Some(header) = envelope_header(ask.body) else {
        return error(400, "envelope could not be read");
    };
    let known = ask.header("x-sentry-auth").contains("sentry_key=")
        || ask.param("sentry_key").is_some()
        || header["dsn"].is_string();
    if !known {
        return refuse(403);
    }
    let id = header["event_id"].as_str().map_or_else(|| format!("{:032x}", ask.serial), Into::into);
    Reply::json(200, &json!({"id": id}))
}

/// An error in Sentry's shape. With 429 go the limits, which the client obeys.
pub(super) fn refuse(status: u16) -> Reply {
    match status {
        429 => error(429, "rate limited").header("X-Sentry-Rate-Limits", "2::organization"),
        403 => error(403, "missing authorization information"),
        404 => error(404, "not found"),
        _ => error(status, "ingest failed"),
    }
}

fn error(status: u16, detail: &str) -> Reply {
    Reply::json(status, &json!({"detail": detail}))
}

/// The first line, when the envelope is whole: every item has as many bytes as it declares, and an
/// event what it must have.
fn envelope_header(body: &[u8]) -> Option<Value> {
    let (header, mut rest) = line(body);
    let header: Value = serde_json::from_slice(header).ok()?;
    while !rest.is_empty() {
        let (item, payload) = line(rest);
        if item.is_empty() {
            rest = payload;
            continue;
        }
        let item: Value = serde_json::from_slice(item).ok()?;
        item["type"].as_str()?;
        let (content, behind) = match item["length"].as_u64() {
            Some(length) => payload.split_at_checked(usize::try_from(length).ok()?)?,
            None => line(payload),
        };
        if item["type"] == "event" && !is_event(content) {
            return None;
        }
        rest = behind;
    }
    header.is_object().then_some(header)
}

/// Whether it has what every event must have: an identifier of 32 digits, when, and from what.
fn is_event(content: &[u8]) -> bool {
    let Ok(event) = serde_json::from_slice::<Value>(content) else { return false };
    let is_hex = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
    let named =
        event["event_id"].as_str().is_some_and(|id| id.len() == 32 && id.bytes().all(is_hex));
    let timed = event["timestamp"].is_number() || event["timestamp"].is_string();
    named && timed && event["platform"].is_string()
}

/// The first line, and what is behind it.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or(&[]))
}
