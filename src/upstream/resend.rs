//! Mail to users, through Resend.
//!
//! Every mail goes out under a key of its own: Resend sends one mail a key for a day, so a call
//! that got no answer may be made again, and only so.

use std::time::Duration;

use sendcat_state::key::ProviderId;
use serde_json::{Value, json};

use super::call::{Call, RefusedAnswer, Upstream};
use super::classify;
use super::error::UpstreamError;
use crate::config::Resend;

const PROVIDER: ProviderId = ProviderId::ResendEmail;

/// How long a key keeps a mail from being sent twice, with an hour to spare.
pub const KEY_LASTS: Duration = Duration::from_secs(23 * 3600);

/// A mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail<'a> {
    /// To whom.
    pub to: &'a str,
    /// About what.
    pub subject: &'a str,
    /// What it says.
    pub text: &'a str,
    /// What it is known by: 1 to 256 visible ASCII characters, the same for the same mail only.
    pub key: &'a str,
}

/// Hands a mail in, within `deadline`. It may be handed in again for [`KEY_LASTS`].
///
/// # Errors
/// [`UpstreamError`], recorded with the provider's circuit; [`UpstreamError::NoKey`] if no key or
/// no sender is set.
pub async fn send(
    upstream: &Upstream,
    settings: &Resend,
    mail: Mail<'_>,
    (holder, deadline): (&str, Duration),
) -> Result<(), UpstreamError> {
    let no_key = || UpstreamError::NoKey { provider: PROVIDER };
    let api_key = settings.api_key.as_ref().ok_or_else(no_key)?;
    let from = settings.from.as_deref().ok_or_else(no_key)?;
    // Without its key a mail could be sent twice.
    let plain = mail.key.bytes().all(|it| it.is_ascii_graphic());
    if !plain || !(1..=256).contains(&mail.key.len()) {
        return Err(UpstreamError::Malformed { provider: PROVIDER, what: "our own key of a mail" });
    }
    let body = json!({"from": from, "to": mail.to, "subject": mail.subject, "text": mail.text});
    let url = format!("{}/emails", settings.base_url);
    let call = Call::post_json(PROVIDER, url, body.to_string().into_bytes())
        .with_secret("authorization", &format!("Bearer {}", api_key.expose()))
        .with_secret("idempotency-key", mail.key);
    upstream.whole(call, holder, deadline, read_refusal).await.map(|_| ())
}

/// A refusal of Resend's: the first mail of the key may still be on its way.
pub fn read_refusal(refused: &RefusedAnswer) -> UpstreamError {
    let retry_after = refused.retry_after.as_deref().and_then(classify::retry_after);
    let body: Value = serde_json::from_slice(&refused.body).unwrap_or_default();
    match (refused.status, body["name"].as_str()) {
        (409, Some("concurrent_idempotent_requests")) => {
            UpstreamError::RateLimited { provider: PROVIDER, retry_after }
        }
        (403, _) => UpstreamError::OurKey { provider: PROVIDER, status: 403 },
        (status, _) => {
            let what = "a refusal with a good status";
            let good = UpstreamError::Malformed { provider: PROVIDER, what };
            classify::status(PROVIDER, status, retry_after).err().unwrap_or(good)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_resend_has_its_meaning() {
        let table = [
            (400, "validation_error", "upstream_rejected"),
            (401, "missing_api_key", "misconfigured"),
            (403, "invalid_api_key", "misconfigured"),
            (409, "invalid_idempotent_request", "upstream_rejected"),
            (409, "concurrent_idempotent_requests", "upstream_rate_limited"),
            (422, "validation_error", "upstream_rejected"),
            (429, "rate_limit_exceeded", "upstream_rate_limited"),
            (500, "application_error", "upstream_error"),
        ];
        for (status, name, code) in table {
            let body = json!({"statusCode": status, "name": name}).to_string().into_bytes();
            let refused = RefusedAnswer { status, retry_after: Some("9".into()), body };
            assert_eq!(read_refusal(&refused).code_name(), code, "{status} {name}");
        }
    }
}
