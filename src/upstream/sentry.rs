//! Sentry's ingest: takes an envelope, and says how long it wants no more.

use std::time::Duration;

use sendcat_state::key::ProviderId;

use super::call::{Call, Upstream};
use super::error::UpstreamError;

/// What it answered, whatever the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingested {
    /// The status.
    pub status: u16,
    /// The `X-Sentry-Rate-Limits` header's text.
    pub limits: Option<String>,
    /// The `Retry-After` header's text.
    pub retry_after: Option<String>,
}

/// Sends an envelope to `url` with that `X-Sentry-Auth`, once: whoever has it may send it again,
/// for Sentry takes an event of one id once.
///
/// # Errors
/// [`UpstreamError`] if there was no answer, or nothing was sent.
pub async fn post(
    upstream: &Upstream,
    (url, auth): (String, &str),
    envelope: Vec<u8>,
    deadline: Duration,
) -> Result<Ingested, UpstreamError> {
    let call = Call::post_json(ProviderId::SentryIngest, url, envelope)
        .with_header("content-type", "application/x-sentry-envelope")
        .with_secret("x-sentry-auth", auth);
    let answer = upstream.exchange(call, "alert_monitor", deadline).await?;
    let text = |name: &str| answer.headers.get(name)?.to_str().ok().map(str::to_owned);
    Ok(Ingested {
        status: answer.status,
        limits: text("x-sentry-rate-limits"),
        retry_after: text("retry-after"),
    })
}
