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

/// The first line, when the envelope is whole: every item has as many bytes as it declares.
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
        rest = match item["length"].as_u64() {
            Some(length) => payload.get(usize::try_from(length).ok()?..)?,
            None => line(payload).1,
        };
    }
    header.is_object().then_some(header)
}

/// The first line, and what is behind it.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or(&[]))
}
