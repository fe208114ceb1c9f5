//! Alerts go to Sentry: one envelope each, over the way out that every provider has.
//!
//! The `sentry` crate sends and forgets; an alert must know whether it was taken. So the envelope
//! is ours and [`Post`] carries it, past the breaker and the bulkhead of `sentry_ingest`. What
//! Sentry says of its limits is obeyed here. A failure is told to the caller, who keeps the alert;
//! nothing of it is reported to Sentry in turn.

mod envelope;
mod limits;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use sendcat_actors::ports::{AlertSink, Delivering, Undelivered};
use sendcat_state::alert_rules::Alert;
use sendcat_state::timestamp::Timestamp;

use crate::config::Secret;
use limits::Limits;

/// An envelope on its way out.
#[derive(Clone, PartialEq, Eq)]
pub struct Posting {
    /// Where to.
    pub url: String,
    /// The `X-Sentry-Auth` header; a secret.
    pub auth: String,
    /// The envelope.
    pub body: Vec<u8>,
}

/// What Sentry answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    /// The status.
    pub status: u16,
    /// The `X-Sentry-Rate-Limits` header.
    pub limits: Option<String>,
    /// The `Retry-After` header.
    pub retry_after: Option<String>,
}

/// Carries envelopes. The error says why there was no answer, and holds no secret.
pub trait Post: Send + Sync + 'static {
    /// Sends one, within a deadline of its own.
    fn post(&self, posting: Posting) -> BoxFuture<'static, Result<Posted, String>>;
}

/// A DSN that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the DSN cannot be read; expected https://KEY@HOST/PROJECT")]
pub struct BadDsn;

/// Sentry, as a sink of alerts.
pub struct SentrySink {
    url: String,
    auth: String,
    post: Arc<dyn Post>,
    limits: Arc<Mutex<Limits>>,
}

impl SentrySink {
    /// The sink that this DSN names.
    ///
    /// # Errors
    /// [`BadDsn`].
    pub fn new(dsn: &Secret, post: Arc<dyn Post>) -> Result<Self, BadDsn> {
        let dsn: sentry::types::Dsn = dsn.expose().parse().map_err(|_| BadDsn)?;
        let client = concat!("sendcat/", env!("CARGO_PKG_VERSION"));
        let secret = dsn.secret_key().map(|key| format!(", sentry_secret={key}"));
        let auth = format!(
            "Sentry sentry_key={}, sentry_version=7, sentry_client={client}{}",
            dsn.public_key(),
            secret.unwrap_or_default(),
        );
        let url = dsn.envelope_api_url().to_string();
        Ok(Self { url, auth, post, limits: Arc::default() })
    }
}

impl AlertSink for SentrySink {
    fn deliver(&self, alert: Alert, now: Timestamp) -> Delivering {
        if let Some(until) = locked(&self.limits).errors_until(now) {
            let why = format!("Sentry takes no more for {} s", now.until(until).as_secs());
            return Box::pin(async move { Err(Undelivered::NotNow(why)) });
        }
        let body = envelope::of(&alert, now);
        let posting = Posting { url: self.url.clone(), auth: self.auth.clone(), body };
        let (posted, limits) = (self.post.post(posting), Arc::clone(&self.limits));
        Box::pin(async move {
            let posted = posted.await.map_err(Undelivered::NotNow)?;
            locked(&limits).told(&posted, now);
            match posted.status {
                200..=299 => Ok(()),
                // It can make nothing of this event, however often it comes.
                400 | 413 | 422 => {
                    Err(Undelivered::Refused(format!("Sentry answered {}", posted.status)))
                }
                status => Err(Undelivered::NotNow(format!("Sentry answered {status}"))),
            }
        })
    }
}

fn locked(limits: &Mutex<Limits>) -> MutexGuard<'_, Limits> {
    // Whoever died with the lock left the map whole.
    limits.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
