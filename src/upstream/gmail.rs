//! Gmail: the history of a mailbox, its messages, and being told of changes.
//!
//! Parsed loosely, as Google documents it: no change is an answer without a `history`, an id is a
//! string or a number, and what is no message is passed over.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sendcat_state::key::ProviderId;
use sendcat_state::timestamp::Timestamp;
use serde_json::{Map, Value, json};

use super::call::{Call, RefusedAnswer};
use super::classify;
use super::error::UpstreamError;
use super::text::{self, bounded};
use crate::config::Secret;

const PROVIDER: ProviderId = ProviderId::GmailApi;

/// The most entries of a page of history, and of a list of messages.
const PAGE: &str = "100";

/// How much of a message's text is kept, in characters.
const MAX_TEXT_CHARS: usize = 2000;
/// How much of one of its headers, or of its snippet.
const MAX_WORD_CHARS: usize = 300;
/// How many of its labels.
const MAX_LABELS: usize = 20;
/// How deep its parts are looked into.
const MAX_DEPTH: usize = 8;
/// The headers that are kept.
const KEPT_HEADERS: [&str; 4] = ["From", "To", "Subject", "Date"];

/// Bodies are base64url, padded or not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A request that lacks only the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    path: String,
    /// `None`: it is asked for, not told.
    body: Option<Vec<u8>>,
}

impl Request {
    fn get(path: &str, pairs: &[(&str, &str)]) -> Self {
        let query =
            if pairs.is_empty() { String::new() } else { format!("?{}", text::pairs(pairs)) };
        Self { path: format!("{path}{query}"), body: None }
    }

    /// What the mailbox is, and where its history stands.
    pub fn profile() -> Self {
        Self::get("profile", &[])
    }

    /// What came into the mailbox since that point of its history.
    pub fn history(since: u64) -> Self {
        let since = since.to_string();
        let pairs = [
            ("startHistoryId", since.as_str()),
            ("historyTypes", "messageAdded"),
            ("maxResults", PAGE),
        ];
        Self::get("history", &pairs)
    }

    /// Messages since that day, the newest first.
    pub fn messages(since: Timestamp, page: Option<&str>) -> Self {
        let after = format!("after:{}", since.as_millis() / 1000);
        let mut pairs = vec![("q", after.as_str()), ("maxResults", PAGE)];
        pairs.extend(page.map(|page| ("pageToken", page)));
        Self::get("messages", &pairs)
    }

    /// A message, with its text or without.
    pub fn message(id: &str, with_text: bool) -> Self {
        let format = if with_text { "full" } else { "metadata" };
        Self::get(&format!("messages/{}", encoded(id)), &[("format", format)])
    }

    /// To be told, through that topic, of what comes into the inbox.
    pub fn watch(topic: &str) -> Self {
        let body = json!({
            "topicName": topic, "labelIds": ["INBOX"], "labelFilterBehavior": "INCLUDE",
        });
        Self { path: "watch".into(), body: Some(body.to_string().into_bytes()) }
    }

    /// To be told no more.
    pub fn stop() -> Self {
        Self { path: "stop".into(), body: Some(b"{}".to_vec()) }
    }

    /// The call that it is, at that address with that token.
    pub fn call(&self, base_url: &str, token: &Secret) -> Call {
        let url = format!("{base_url}/gmail/v1/users/me/{}", self.path);
        let call = match &self.body {
            Some(body) => Call::post_json(PROVIDER, url, body.clone()),
            None => Call::get(PROVIDER, url),
        };
        call.with_secret("authorization", &format!("Bearer {}", token.expose()))
    }
}

fn encoded(segment: &str) -> String {
    let all = percent_encoding::NON_ALPHANUMERIC;
    percent_encoding::utf8_percent_encode(segment, all).to_string()
}

/// A number that Google writes as a text or as a number.
pub fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// A page of a mailbox's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// Messages that came, in order, each once.
    pub added: Vec<String>,
    /// From where to read on.
    pub history_id: u64,
    /// Whether that is the end.
    pub at_end: bool,
}

/// What the body of a history's 200 says.
///
/// # Errors
/// [`UpstreamError::Malformed`].
pub fn read_history(body: &[u8]) -> Result<HistoryPage, UpstreamError> {
    let body = object(body)?;
    let records = body["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut added = Vec::new();
    let messages = records.iter().flat_map(|record| record["messagesAdded"].as_array());
    for message in messages.flatten() {
        let id = message["message"]["id"].as_str().filter(|id| is_id(id));
        if let Some(id) = id.filter(|id| !added.iter().any(|known| known == id)) {
            added.push(id.to_owned());
        }
    }
    let at_end = body["nextPageToken"].as_str().is_none_or(str::is_empty);
    // Before the end, what was read ends with the last record of the page.
    let last = records.iter().filter_map(|record| number(&record["id"])).max();
    let history_id = if at_end { number(&body["historyId"]).or(last) } else { last };
    let history_id = history_id.ok_or_else(|| malformed("a history without an id"))?;
    Ok(HistoryPage { added, history_id, at_end })
}

/// A page of a list of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessagePage {
    /// The messages.
    pub ids: Vec<String>,
    /// What names the next page.
    pub next: Option<String>,
}

/// What the body of a list's 200 says.
///
/// # Errors
/// [`UpstreamError::Malformed`].
pub fn read_messages(body: &[u8]) -> Result<MessagePage, UpstreamError> {
    let body = object(body)?;
    let messages = body["messages"].as_array().into_iter().flatten();
    let ids = messages.filter_map(|it| it["id"].as_str()).filter(|id| is_id(id));
    let next = body["nextPageToken"].as_str().filter(|next| !next.is_empty());
    Ok(MessagePage { ids: ids.map(str::to_owned).collect(), next: next.map(str::to_owned) })
}

/// Whether it can be a part of our own identifiers.
fn is_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&id.len()) && id.bytes().all(plain)
}

/// What of a message is evidence: who wrote it to whom, about what, and the beginning of its text.
///
/// # Errors
/// [`UpstreamError::Malformed`].
pub fn read_message(body: &[u8]) -> Result<Map<String, Value>, UpstreamError> {
    let body = object(body)?;
    let id = body["id"].as_str().filter(|id| is_id(id));
    let id = id.ok_or_else(|| malformed("a message without an id"))?;
    let mut kept = Map::new();
    let mut keep = |name: &str, value: Value| drop(kept.insert(name.to_owned(), value));
    keep("source", json!("gmail"));
    keep("messageId", json!(id));
    for (name, of) in [("threadId", "threadId"), ("snippet", "snippet")] {
        if let Some(word) = body[of].as_str().and_then(|it| bounded(it, MAX_WORD_CHARS)) {
            keep(name, json!(word));
        }
    }
    if let Some(at) = number(&body["internalDate"]) {
        keep("receivedAt", json!(crate::contract::rfc3339(at)));
    }
    let labels = body["labelIds"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let labels: Vec<_> =
        labels.filter_map(|it| bounded(it, MAX_WORD_CHARS)).take(MAX_LABELS).collect();
    keep("labels", json!(labels));
    let headers = body["payload"]["headers"].as_array().map(Vec::as_slice).unwrap_or_default();
    for name in KEPT_HEADERS {
        let named =
            |it: &&Value| it["name"].as_str().is_some_and(|it| it.eq_ignore_ascii_case(name));
        let value = headers.iter().find(named).and_then(|it| it["value"].as_str());
        if let Some(value) = value.and_then(|it| bounded(it, MAX_WORD_CHARS)) {
            keep(&name.to_ascii_lowercase(), json!(value));
        }
    }
    let text = text_of(&body["payload"], MAX_DEPTH);
    if let Some(text) = text.and_then(|text| bounded(&text, MAX_TEXT_CHARS)) {
        keep("text", json!(text));
    }
    Ok(kept)
}

/// The first plain text among a message's parts.
fn text_of(part: &Value, depth: usize) -> Option<String> {
    let plain = part["mimeType"].as_str().is_some_and(|it| it.eq_ignore_ascii_case("text/plain"));
    if plain && let Some(data) = part["body"]["data"].as_str() {
        let bytes = LENIENT.decode(data).ok()?;
        return Some(String::from_utf8_lossy(&bytes).into_owned());
    }
    let parts = part["parts"].as_array().filter(|_| depth > 0)?;
    parts.iter().find_map(|part| text_of(part, depth - 1))
}

/// Until when a watch holds.
///
/// # Errors
/// [`UpstreamError::Malformed`].
pub fn read_watch(body: &[u8]) -> Result<Timestamp, UpstreamError> {
    let until = number(&object(body)?["expiration"]);
    until.map(Timestamp::from_millis).ok_or_else(|| malformed("a watch without an end"))
}

/// What of an answer nobody reads.
///
/// # Errors
/// Never.
pub fn read_nothing(_: &[u8]) -> Result<(), UpstreamError> {
    Ok(())
}

fn object(body: &[u8]) -> Result<Value, UpstreamError> {
    let body = serde_json::from_slice::<Value>(body).ok().filter(Value::is_object);
    body.ok_or_else(|| malformed("the body is no JSON object"))
}

fn malformed(what: &'static str) -> UpstreamError {
    UpstreamError::Malformed { provider: PROVIDER, what }
}

/// A refusal of Gmail's. Some of its limits come as a 403 with a reason.
pub fn read_refusal(refused: &RefusedAnswer) -> UpstreamError {
    let retry_after = refused.retry_after.as_deref().and_then(classify::retry_after);
    let body: Value = serde_json::from_slice(&refused.body).unwrap_or_default();
    let reason = body["error"]["errors"][0]["reason"].as_str().unwrap_or_default();
    if refused.status == 403 && matches!(reason, "rateLimitExceeded" | "userRateLimitExceeded") {
        return UpstreamError::RateLimited { provider: PROVIDER, retry_after };
    }
    let good = malformed("a refusal with a good status");
    classify::status(PROVIDER, refused.status, retry_after).err().unwrap_or(good)
}

#[cfg(test)]
#[path = "gmail_tests.rs"]
mod tests;
