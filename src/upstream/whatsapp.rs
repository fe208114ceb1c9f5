//! WhatsApp's Graph API: sending a text, and fetching a file in two steps.
//!
//! A send has no idempotency key, so what matters of a failure is whether the message may have
//! left: [`SendError`] is split by that. Errors are told apart by the code in the body, for the
//! status of one code varies (WEBHOOKS.md §1.5).
//!
//! # Always
//! - The key goes to the API's own address and to hosts of [`MEDIA_HOSTS`], and nowhere else.

pub(super) mod media;

use std::time::Duration;

use sendcat_state::key::ProviderId;
use serde_json::{Value, json};

use super::call::{Call, RefusedAnswer, Upstream};
use super::classify;
use super::error::{Clock, UpstreamError};
use crate::config::Whatsapp;

pub use media::{MEDIA_HOSTS, Media, MediaError, fetch};

const PROVIDER: ProviderId = ProviderId::WhatsappGraph;

/// The longest text of one message, in characters.
pub const MAX_TEXT_CHARS: usize = 4096;

/// How long a sender who wrote too often to one person is to wait: a message in six seconds is let
/// through.
const PAIR_WAIT: Duration = Duration::from_secs(6);

/// To whom a text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendTo<'a> {
    /// A number, digits alone.
    Number(&'a str),
    /// A business-scoped user id.
    UserId(&'a str),
}

/// Why a text was not sent, by what may be done about it.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It has not left; it may be sent again.
    #[error("not sent: {0}")]
    NotSent(UpstreamError),
    /// It was refused; it would be again.
    #[error("refused: {0}")]
    Refused(UpstreamError),
    /// It may have left: it must not be sent again.
    #[error("may have been sent: {0}")]
    Unknown(UpstreamError),
}

impl From<UpstreamError> for SendError {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::NotSent { .. }
            | UpstreamError::TimedOut { clock: Clock::Connect, .. }
            | UpstreamError::CircuitOpen { .. }
            | UpstreamError::Saturated { .. }
            | UpstreamError::RateLimited { .. }
            | UpstreamError::ServerFault { .. } => Self::NotSent(error),
            UpstreamError::Rejected { .. }
            | UpstreamError::OurKey { .. }
            | UpstreamError::NoKey { .. } => Self::Refused(error),
            UpstreamError::TimedOut { .. }
            | UpstreamError::NoContent { .. }
            | UpstreamError::Cut { .. }
            | UpstreamError::Malformed { .. }
            | UpstreamError::FailedWithin { .. } => Self::Unknown(error),
        }
    }
}

/// Sends a text; the name that WhatsApp gave the message. Tried once.
///
/// # Errors
/// [`SendError`], recorded with the provider's circuit.
pub async fn send_text(
    upstream: &Upstream,
    settings: &Whatsapp,
    (from, to): (&str, SendTo<'_>),
    text: &str,
    (holder, deadline): (&str, Duration),
) -> Result<String, SendError> {
    let call = Call::post_json(PROVIDER, url_of(settings, from, "/messages"), body_of(to, text));
    let call = call.with_secret("authorization", &bearer(settings)?);
    Ok(upstream.read(call, holder, deadline, (read_refusal, read_sent)).await?)
}

fn body_of(to: SendTo<'_>, text: &str) -> Vec<u8> {
    let (name, to) = match to {
        SendTo::Number(number) => ("to", number),
        SendTo::UserId(id) => ("recipient", id),
    };
    let mut body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "type": "text",
        "text": {"preview_url": false, "body": text},
    });
    body[name] = to.into();
    body.to_string().into_bytes()
}

fn url_of(settings: &Whatsapp, id: &str, rest: &str) -> String {
    // An identifier is digits; whatever else it holds must not become a path of its own.
    let id = super::text::segment(id);
    format!("{}/{id}{rest}", settings.graph_base_url.trim_end_matches('/'))
}

fn bearer(settings: &Whatsapp) -> Result<String, UpstreamError> {
    let token = settings.access_token.as_ref();
    let token = token.ok_or(UpstreamError::NoKey { provider: PROVIDER })?;
    Ok(format!("Bearer {}", token.expose()))
}

/// The message's name in the body of a 200. Without one nobody knows what became of the message.
///
/// # Errors
/// [`UpstreamError::Malformed`].
pub fn read_sent(body: &[u8]) -> Result<String, UpstreamError> {
    let body: Option<Value> = serde_json::from_slice(body).ok();
    let id = body.as_ref().and_then(|body| body.pointer("/messages/0/id")?.as_str());
    let what = "the body names no message";
    id.map(str::to_owned).ok_or(UpstreamError::Malformed { provider: PROVIDER, what })
}

pub(super) fn read_refusal(refused: &RefusedAnswer) -> UpstreamError {
    let wait = refused.retry_after.as_deref().and_then(classify::retry_after);
    refusal(refused.status, wait, &refused.body)
}

/// The failure that a status other than 2xx is. A fault without the API's own words is of something
/// on the way, and says nothing about the call: [`UpstreamError::NoContent`].
pub fn refusal(status: u16, retry_after: Option<Duration>, body: &[u8]) -> UpstreamError {
    let provider = PROVIDER;
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    match body.pointer("/error/code").and_then(Value::as_u64) {
        Some(190) => UpstreamError::OurKey { provider, status: 401 },
        Some(131_056) => {
            UpstreamError::RateLimited { provider, retry_after: retry_after.or(Some(PAIR_WAIT)) }
        }
        Some(4 | 80_007 | 130_429 | 131_048) => {
            UpstreamError::RateLimited { provider, retry_after }
        }
        Some(1 | 2 | 131_000) => UpstreamError::ServerFault { provider, status: 500, retry_after },
        None if status == 408 || status >= 500 => UpstreamError::NoContent { provider },
        Some(_) | None => match classify::status(provider, status, retry_after) {
            Err(error) => error,
            Ok(()) => UpstreamError::Malformed { provider, what: "a refusal of success" },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCHANGE: &str = include_str!("../../tests/it/samples/whatsapp_send_text_exchange.json");

    fn sample() -> Value {
        serde_json::from_str(EXCHANGE).unwrap()
    }

    #[test]
    fn what_is_sent_and_read_is_the_samples_exchange() {
        let sample = sample();
        let sent: Value =
            serde_json::from_slice(&body_of(SendTo::Number("16505551234"), "pong")).unwrap();
        assert_eq!(sent, sample["request"]["body"]);
        let answer = sample["response_ok"]["body"].to_string();
        let id = "wamid.HBgLMTY1MDUwNzY1MjAVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA";
        assert_eq!(read_sent(answer.as_bytes()).unwrap(), id);
        let to: Value = serde_json::from_slice(&body_of(SendTo::UserId("US.1"), "x")).unwrap();
        assert_eq!((&to["recipient"], &to["to"]), (&json!("US.1"), &Value::Null));
    }

    fn verdict(status: u16, body: &Value) -> (&'static str, &'static str) {
        let error = refusal(status, None, body.to_string().as_bytes());
        let code = error.code_name();
        match SendError::from(error) {
            SendError::NotSent(_) => (code, "again"),
            SendError::Refused(_) => (code, "never"),
            SendError::Unknown(_) => (code, "unknown"),
        }
    }

    #[test]
    fn each_code_says_whether_the_message_may_be_sent_again() {
        let sample = sample();
        let limited = &sample["response_rate_limited"]["body"];
        assert_eq!(verdict(429, limited), ("upstream_rate_limited", "again"));
        assert_eq!(verdict(400, limited), ("upstream_rate_limited", "again"));
        let expired = &sample["response_token_expired"]["body"];
        assert_eq!(verdict(401, expired), ("misconfigured", "never"));
        let of = |code: u32| json!({"error": {"code": code, "message": "(#…)"}});
        let table = [
            (400, 131_056, "again"),
            (400, 131_048, "again"),
            (400, 80_007, "again"),
            (500, 131_000, "again"),
            (503, 2, "again"),
            (500, 190, "never"),
            (400, 131_026, "never"),
            (400, 131_047, "never"),
            (400, 131_050, "never"),
            (403, 368, "never"),
            (400, 100, "never"),
        ];
        for (status, code, expected) in table {
            assert_eq!(verdict(status, &of(code)).1, expected, "{status} {code}");
        }
        for status in [500, 502, 503, 504, 408] {
            assert_eq!(verdict(status, &json!("<html>")).1, "unknown", "{status}");
        }
        assert_eq!(verdict(404, &json!({})).1, "never");
    }

    #[test]
    fn whoever_wrote_too_often_to_one_person_waits_six_seconds() {
        let body = json!({"error": {"code": 131_056}}).to_string();
        let error = refusal(400, None, body.as_bytes());
        assert_eq!(error.retry_after(), Some(PAIR_WAIT));
        let told = Duration::from_secs(20);
        assert_eq!(refusal(400, Some(told), body.as_bytes()).retry_after(), Some(told));
    }
}
