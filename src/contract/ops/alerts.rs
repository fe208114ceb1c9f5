//! What the limiter refused, and the alerts that were raised.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answers;

answers! {
    /// `GET /ops/rate-limit/events`.
    RateLimitEvents {
        /// When it was looked.
        generated_at: String,
        /// How far back it reaches.
        window_minutes: u64,
        /// Events that could be neither kept nor counted since the beginning: too many callers were
        /// refused at once.
        dropped: u64,
        /// Events, newest first.
        items: Vec<RateLimitEventRow>,
    }

    /// `GET /ops/rate-limit/summary`.
    RateLimitSummary {
        /// When it was looked.
        generated_at: String,
        /// How far back it reaches.
        window_minutes: u64,
        /// Events by `source:bucket:outcome`.
        summary: BTreeMap<String, u64>,
    }

    /// `GET /ops/alerts`.
    AlertsAnswer {
        /// When it was looked.
        generated_at: String,
        /// How far back it reaches.
        window_minutes: u64,
        /// Alerts, newest first.
        items: Vec<AlertRow>,
    }

    /// `POST /ops/alerts/run`.
    AlertsRun {
        /// Alerts that were raised.
        created_alerts: u64,
        /// Alerts that Sentry took in this run, also such as were raised before.
        sentry_alerts: u64,
        /// Over how many minutes events were counted.
        window_minutes: u64,
    }

    /// One refusal. The same caller's within five seconds is the same one.
    RateLimitEventRow {
        /// Who asked the limiter: `http`, `chat` or `function`.
        source: String,
        /// Which limit.
        bucket: String,
        /// Who, by the hash that the limiter knows the caller by.
        key: String,
        /// `blocked` or `contention_fallback`.
        outcome: String,
        /// What wait was named.
        retry_after_ms: u64,
        /// Which route.
        path: Option<String>,
        /// Which method.
        method: Option<String>,
        /// When.
        created_at: String,
        /// Until when it is kept.
        expires_at: String,
        /// What equal refusals share.
        dedupe_key: String,
    }

    /// One alert.
    AlertRow {
        /// Its identifier; the event that Sentry has of it bears the same.
        id: String,
        /// By which rule: `rate_limit_spike` or `bulkhead_saturation`.
        rule: String,
        /// What it is about: `source:bucket:outcome`, or `bulkhead:provider`.
        alert_key: String,
        /// Events that raised it.
        count: u64,
        /// From how many on it is raised.
        threshold: u64,
        /// Over how many minutes; 0 if one was enough.
        window_minutes: u64,
        /// When.
        created_at: String,
        /// Until when it is kept.
        expires_at: String,
        /// `pending`, `delivered` or `refused`.
        delivery: String,
        /// When it was delivered or refused; `null` while it is pending.
        settled_at: Option<String>,
        /// What to do about it.
        runbook: String,
    }
}
