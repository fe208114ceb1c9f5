//! How long Sentry wants no more events (WEBHOOKS.md §6): the longest limit that holds for errors.
//!
//! `X-Sentry-Rate-Limits: 60:transaction:key, 2700:default;error;security:organization` may come
//! with any status. A limit without categories holds for all; one for categories that we do not
//! send is nothing to us. Without it a 429 means `Retry-After`, and without that a minute.

use std::time::Duration;

use sendcat_state::timestamp::Timestamp;

use super::Posted;

/// Sentry's category of events.
const ERRORS: &str = "error";

/// What a 429 means that says no more.
const UNTOLD: Duration = Duration::from_secs(60);

/// The longest wait that is believed: a header must not silence alerts for good.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The limits in force.
#[derive(Default)]
pub(super) struct Limits {
    errors: Option<Timestamp>,
}

impl Limits {
    /// Until when no event is taken; `None` if one may be sent.
    pub(super) fn errors_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.errors.filter(|until| now < *until)
    }

    /// Notes what an answer says of limits; a shorter one never takes the place of a longer.
    pub(super) fn told(&mut self, posted: &Posted, now: Timestamp) {
        let wait = match (&posted.limits, posted.status) {
            (Some(header), _) => of_header(header),
            (None, 429) => {
                let wait = posted.retry_after.as_deref().and_then(seconds);
                Some(wait.unwrap_or(UNTOLD))
            }
            (None, _) => None,
        };
        if let Some(wait) = wait {
            self.errors = self.errors.max(Some(now.after(wait.min(LONGEST))));
        }
    }
}

/// The longest limit of the header that holds for events.
fn of_header(header: &str) -> Option<Duration> {
    let limit = |limit: &str| {
        let mut fields = limit.trim().split(':');
        let wait = seconds(fields.next()?)?;
        let categories = fields.next().unwrap_or_default().trim();
        let mut named = categories.split(';').map(str::trim);
        (categories.is_empty() || named.any(|name| name == ERRORS)).then_some(wait)
    };
    header.split(',').filter_map(limit).max()
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse::<f64>().ok()?;
    let seconds = seconds.max(0.0).ceil();
    Duration::try_from_secs_f64(seconds).ok()
}
