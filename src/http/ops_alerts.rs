//! `/ops/rate-limit` and `/ops/alerts`: what the limiter refused, and what was worth an alert.

use std::time::Duration;

use actix_web::HttpResponse;
use sendcat_actors::alert_monitor::View;
use sendcat_state::alert_rules::{Alert, AlertSubject, Delivery};
use sendcat_state::events::{Event, EventOutcome, Series};
use sendcat_state::key::Bucket;
use sendcat_state::timestamp::Timestamp;

use super::Shared;
use super::dispatch::Call;
use super::ops::now;
use super::pages::{limit_of, wrong};
use super::respond::{self, Refusal};
use crate::contract::code::ErrorCode;
use crate::contract::{ops, rfc3339};

/// The longest window that counts reach back: as long as events are kept.
const MOST_MINUTES: u64 = 24 * 60;

/// The most rows that may be asked for.
const MOST_ROWS: usize = 1000;

/// Which rows somebody asks for.
pub(super) struct Wanted {
    pub(super) window_minutes: u64,
    limit: usize,
    bucket: Option<Bucket>,
    outcome: Option<EventOutcome>,
}

impl Wanted {
    /// What the query says.
    ///
    /// # Errors
    /// `invalid_request` for a bucket or an outcome that there is not, or a number out of range.
    pub(super) fn of(call: &Call) -> Result<Self, Refusal> {
        Ok(Self {
            window_minutes: window_of(call)?,
            limit: limit_of(call, call.shared().config().ops.max_rows_per_section, MOST_ROWS)?,
            bucket: named(call, "bucket", Bucket::ALL, Bucket::as_str)?,
            outcome: named(call, "outcome", EventOutcome::ALL, EventOutcome::as_str)?,
        })
    }

    /// As much as the knobs say of everything.
    pub(super) fn by_default(shared: &Shared) -> Self {
        let config = shared.config();
        let ops = &config.ops;
        let (window_minutes, limit) = (ops.default_window_minutes, ops.max_rows_per_section);
        Self { window_minutes, limit, bucket: None, outcome: None }
    }

    fn window(&self) -> Duration {
        Duration::from_secs(self.window_minutes.saturating_mul(60))
    }

    fn takes(&self, series: Series) -> bool {
        self.bucket.is_none_or(|bucket| bucket == series.bucket)
            && self.outcome.is_none_or(|outcome| outcome == series.outcome)
    }

    fn takes_subject(&self, subject: AlertSubject) -> bool {
        match subject {
            AlertSubject::Refusals(series) => self.takes(series),
            // It has neither bucket nor outcome, and is no answer to who asks for one.
            AlertSubject::Bulkhead(_) => self.bucket.is_none() && self.outcome.is_none(),
        }
    }

    fn events(&self, view: &View, at: Timestamp) -> Vec<ops::RateLimitEventRow> {
        let from = at.before(self.window());
        let events = view.events.newest_first().take_while(|event| event.created > from);
        let wanted = events.filter(|event| self.takes(event.refused.series()));
        wanted.take(self.limit).map(event_row).collect()
    }

    fn summary(&self, view: &View, at: Timestamp) -> ops::Counts {
        let counts = view.events.summary(at, self.window()).into_iter();
        let counts = counts.filter(|(series, _)| self.takes(*series));
        counts.map(|(series, count)| (series.to_string(), count)).collect()
    }

    fn alerts(&self, view: &View, at: Timestamp) -> Vec<ops::AlertRow> {
        let from = at.before(self.window());
        let alerts = view.alerts.newest_first().take_while(|alert| alert.created > from);
        let wanted = alerts.filter(|alert| self.takes_subject(alert.subject));
        wanted.take(self.limit).map(alert_row).collect()
    }
}

/// The window that the query names, in minutes.
pub(super) fn window_of(call: &Call) -> Result<u64, Refusal> {
    let Some(text) = call.query("windowMinutes") else {
        return Ok(call.shared().config().ops.default_window_minutes);
    };
    let minutes = text.parse().ok().filter(|minutes| (1..=MOST_MINUTES).contains(minutes));
    minutes.ok_or_else(|| wrong("windowMinutes", format!("a number from 1 to {MOST_MINUTES}")))
}

fn named<T: Copy>(
    call: &Call,
    parameter: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<Option<T>, Refusal> {
    let Some(text) = call.query(parameter) else { return Ok(None) };
    let found = all.iter().copied().find(|each| name(*each) == text);
    let names = || all.iter().map(|each| name(*each)).collect::<Vec<_>>().join(", ");
    found.map(Some).ok_or_else(|| wrong(parameter, format!("one of {}", names())))
}

/// What the limiter refused, newest first.
pub(super) async fn events(call: Call) -> Result<HttpResponse, Refusal> {
    let wanted = Wanted::of(&call)?;
    let shared = call.shared();
    let view = shared.tree.monitor.look().await;
    Ok(respond::json(&ops::RateLimitEvents {
        generated_at: now(shared),
        window_minutes: wanted.window_minutes,
        dropped: view.events.dropped(),
        items: wanted.events(&view, shared.tree.clock.now()),
    }))
}

/// How often it refused, by kind.
pub(super) async fn summary(call: Call) -> Result<HttpResponse, Refusal> {
    let wanted = Wanted::of(&call)?;
    let shared = call.shared();
    let view = shared.tree.monitor.look().await;
    Ok(respond::json(&ops::RateLimitSummary {
        generated_at: now(shared),
        window_minutes: wanted.window_minutes,
        summary: wanted.summary(&view, shared.tree.clock.now()),
    }))
}

/// The alerts, newest first.
pub(super) async fn alerts(call: Call) -> Result<HttpResponse, Refusal> {
    let wanted = Wanted::of(&call)?;
    let shared = call.shared();
    let view = shared.tree.monitor.look().await;
    Ok(respond::json(&ops::AlertsAnswer {
        generated_at: now(shared),
        window_minutes: wanted.window_minutes,
        items: wanted.alerts(&view, shared.tree.clock.now()),
    }))
}

/// Looks now whether something is worth an alert, and hands over what waits.
pub(super) async fn run(call: Call) -> Result<HttpResponse, Refusal> {
    let shared = call.shared();
    let monitor = &shared.tree.monitor;
    let round = monitor.run().await.map_err(|error| {
        tracing::warn!(%error, by = %call.client, "an operator's run of the monitor failed");
        Refusal::from(ErrorCode::Overloaded)
            .saying("The monitor gave no answer; look at /ops/alerts, and try again.")
    })?;
    let (created, delivered) = (round.created, round.delivered);
    tracing::warn!(created, delivered, by = %call.client, "an operator ran the alert monitor");
    Ok(respond::json(&ops::AlertsRun {
        created_alerts: created as u64,
        sentry_alerts: delivered as u64,
        window_minutes: minutes(monitor.actor().rules().alerts.window),
    }))
}

/// The snapshot's section.
pub(super) fn pressure(wanted: &Wanted, view: &View, at: Timestamp) -> ops::RateLimitPressure {
    ops::RateLimitPressure {
        summary: wanted.summary(view, at),
        recent_events: wanted.events(view, at),
        recent_alerts: wanted.alerts(view, at),
    }
}

fn event_row(event: &Event) -> ops::RateLimitEventRow {
    let Event { refused, created, ends } = event;
    let key = format!("{:032x}", refused.key.hash);
    let (source, bucket, outcome) = (refused.source, refused.key.bucket, refused.outcome);
    ops::RateLimitEventRow {
        dedupe_key: format!("{source}:{bucket}:{key}:{outcome}"),
        source: source.to_string(),
        bucket: bucket.to_string(),
        key,
        outcome: outcome.to_string(),
        retry_after_ms: millis(refused.retry_after),
        path: Some(refused.path.clone()).filter(|path| !path.is_empty()),
        method: Some(refused.method.clone()),
        created_at: rfc3339(created.as_millis()),
        expires_at: rfc3339(ends.as_millis()),
    }
}

fn alert_row(alert: &Alert) -> ops::AlertRow {
    let rule = alert.subject.rule();
    let (delivery, settled_at) = match alert.delivery {
        Delivery::Pending => ("pending", None),
        Delivery::Delivered(at) => ("delivered", Some(at)),
        Delivery::Refused(at) => ("refused", Some(at)),
    };
    ops::AlertRow {
        id: alert.id.to_string(),
        rule: rule.to_string(),
        alert_key: alert.subject.key(),
        count: alert.count,
        threshold: alert.threshold,
        window_minutes: minutes(alert.window),
        created_at: rfc3339(alert.created.as_millis()),
        expires_at: rfc3339(alert.ends.as_millis()),
        delivery: delivery.to_owned(),
        settled_at: settled_at.map(|at| rfc3339(at.as_millis())),
        runbook: rule.runbook(),
    }
}

fn minutes(span: Duration) -> u64 {
    span.as_secs().div_ceil(60)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
