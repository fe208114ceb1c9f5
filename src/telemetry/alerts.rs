//! Alert rules for Prometheus, one row each, and the two forms in which tools take what is
//! measured: rules as YAML, and a dashboard as JSON for Grafana. Both are made from tables, so
//! neither names a metric that is not there.

use serde_json::{Value, json};

use super::metrics::catalog::{Kind, METRICS, Metric};

/// One alert.
#[derive(Debug)]
pub struct AlertRule {
    /// Its name.
    pub name: &'static str,
    /// The playbook for it, an anchor of the runbook.
    pub playbook: &'static str,
    /// What must hold, in PromQL.
    pub expr: &'static str,
    /// For how long, as Prometheus writes spans.
    pub lasts: &'static str,
    /// `page` wakes somebody, `ticket` waits for the morning.
    pub severity: &'static str,
    /// What is wrong, in one sentence.
    pub summary: &'static str,
}

impl AlertRule {
    /// The name as Prometheus shows it: `circuit-open` is `SendcatCircuitOpen`.
    pub fn title(&self) -> String {
        let words = self.name.split('-').map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        });
        format!("Sendcat{}", words.collect::<String>())
    }

    /// Where the runbook says what to do.
    pub fn runbook(&self) -> String {
        format!("/ops/runbook#{}", self.playbook)
    }
}

const fn row(
    (name, playbook): (&'static str, &'static str),
    (lasts, severity): (&'static str, &'static str),
    summary: &'static str,
    expr: &'static str,
) -> AlertRule {
    AlertRule { name, playbook, expr, lasts, severity, summary }
}

/// At least a request a minute must come before its failures say anything.
const ERRORS: &str = "sum(rate(http_server_request_duration_seconds_count\
    {http_response_status_code=~\"5..\"}[5m])) \
    / sum(rate(http_server_request_duration_seconds_count[5m])) > 0.05 \
    and sum(rate(http_server_request_duration_seconds_count[5m])) > 0.0167";

/// The same of calls of the model; a client that went away is no failure.
const MODEL_ERRORS: &str = "sum by (gen_ai_request_model) \
    (rate(gen_ai_client_operation_duration_seconds_count\
    {error_type!=\"\",error_type!=\"cancelled\"}[5m])) \
    / sum by (gen_ai_request_model) (rate(gen_ai_client_operation_duration_seconds_count[5m])) \
    > 0.2 and sum by (gen_ai_request_model) \
    (rate(gen_ai_client_operation_duration_seconds_count[5m])) > 0.0167";

const SLOW_MODEL: &str = "histogram_quantile(0.95, sum by (le, gen_ai_request_model) \
    (rate(gen_ai_client_operation_time_to_first_chunk_seconds_bucket[10m]))) > 10";

const SLOW_DISK: &str = "rate(sendcat_journal_sync_time_seconds_total[10m]) \
    / rate(sendcat_journal_syncs_total[10m]) > 0.1";

const NOT_EXPORTED: &str = "increase(sendcat_otlp_exports_total{outcome=\"failed\"}[10m]) > 0 \
    unless increase(sendcat_otlp_exports_total{outcome=\"sent\"}[10m]) > 0";

/// Wakes somebody after so long.
const fn page(lasts: &'static str) -> (&'static str, &'static str) {
    (lasts, "page")
}

/// Waits for the morning.
const fn ticket(lasts: &'static str) -> (&'static str, &'static str) {
    (lasts, "ticket")
}

/// Every alert.
pub const ALERTS: &[AlertRule] = &[
    row(
        ("not-there", "not-there"),
        page("2m"),
        "No sendcat is seen.",
        "absent(sendcat_streams_live)",
    ),
    row(("errors", "errors"), page("5m"), "More than 5 % of requests fail with a 5xx.", ERRORS),
    row(
        ("model-errors", "model-errors"),
        page("5m"),
        "More than a fifth of a model's calls fail.",
        MODEL_ERRORS,
    ),
    row(
        ("model-slow", "provider-slow"),
        ticket("10m"),
        "A model takes more than 10 s to begin.",
        SLOW_MODEL,
    ),
    row(
        ("circuit-open", "circuit-open"),
        page("2m"),
        "A provider's circuit is open: it is not called.",
        "max by (provider) (sendcat_breaker_state{state=~\"open|forced_open\"}) == 1",
    ),
    row(
        ("bulkhead-full", "bulkhead_saturation"),
        ticket("5m"),
        "Calls to a provider are refused, for too many are in flight.",
        "sum by (provider) (increase(sendcat_bulkhead_refused_total[5m])) > 25",
    ),
    row(
        ("limit-refuses", "rate_limit_spike"),
        ticket("0m"),
        "A rate limit refused 25 calls in five minutes.",
        "sum by (bucket) (increase(sendcat_limiter_calls_total{outcome=\"refused\"}[5m])) >= 25",
    ),
    row(
        ("limiter-unanswered", "contention-fallback"),
        page("1m"),
        "Callers are refused because the limiter does not answer.",
        "sum by (bucket) (increase(sendcat_limiter_calls_total{outcome=\"unanswered\"}[5m])) > 0",
    ),
    row(
        ("inbox-stale", "oldest-event-age"),
        page("5m"),
        "An accepted event has waited for more than five minutes.",
        "max by (source) (sendcat_inbox_oldest_age_seconds) > 300",
    ),
    row(
        ("queue-stale", "backlog-growing"),
        ticket("2m"),
        "A tool call has waited for more than 30 s.",
        "max by (tool) (sendcat_queue_oldest_age_seconds) > 30",
    ),
    row(
        ("dead-letters", "dead-letters"),
        ticket("0m"),
        "Accepted events were given up.",
        "sum by (source) (increase(sendcat_dead_letters_total[15m])) > 0",
    ),
    row(
        ("actor-down", "actor-down"),
        page("1m"),
        "An actor does not answer.",
        "sendcat_actor_up == 0",
    ),
    row(
        ("actor-restarts", "actor-restarts"),
        ticket("0m"),
        "An actor was restarted more than three times in ten minutes.",
        "sum by (actor) (increase(sendcat_actor_restarts_total{cause!=\"manual\"}[10m])) > 3",
    ),
    row(
        ("mailbox-deep", "actor-stuck"),
        ticket("1m"),
        "More than 1000 commands wait for an actor.",
        "sendcat_actor_mailbox_depth > 1000",
    ),
    row(
        ("journal-failing", "journal-failing"),
        page("0m"),
        "Nothing can be written to the disk.",
        "sendcat_journal_failing_age_seconds > 5",
    ),
    row(
        ("journal-slow", "journal-failing"),
        ticket("10m"),
        "A sync takes more than 100 ms.",
        SLOW_DISK,
    ),
    row(
        ("not-exported", "not-exported"),
        ticket("10m"),
        "The OTLP endpoint takes nothing.",
        NOT_EXPORTED,
    ),
];

/// The alerts as a file of rules. A text in quotes of JSON is one of YAML too.
pub fn prometheus_rules() -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut yaml = "groups:\n  - name: sendcat\n    rules:\n".to_owned();
    for alert in ALERTS {
        yaml.push_str(&format!(
            "      - alert: {}\n        expr: {}\n        for: {}\n        labels:\n          \
             severity: {}\n        annotations:\n          summary: {}\n          \
             runbook_url: {}\n",
            alert.title(),
            quoted(alert.expr),
            alert.lasts,
            alert.severity,
            quoted(alert.summary),
            quoted(&alert.runbook()),
        ));
    }
    yaml
}

/// What a panel of a metric shows, in PromQL as Grafana takes it.
pub fn expression(metric: &Metric) -> String {
    let name = metric.exposed();
    let labels: Vec<_> = metric.labels.iter().map(|label| label.replace('.', "_")).collect();
    let by = if labels.is_empty() { String::new() } else { format!(" by ({})", labels.join(", ")) };
    match metric.kind {
        Kind::Counter => format!("sum{by} (rate({name}[$__rate_interval]))"),
        Kind::Gauge => format!("max{by} ({name})"),
        Kind::Histogram(_) => {
            let first = labels.first().map_or("", String::as_str);
            let rate = format!("rate({name}_bucket[$__rate_interval])");
            format!("histogram_quantile(0.95, sum by (le, {first}) ({rate}))")
        }
    }
}

/// A dashboard with a panel for each metric, and one with the alerts that fire.
pub fn grafana_dashboard() -> Value {
    let panel = |(at, metric): (usize, &&Metric)| {
        let unit = match (metric.unit, metric.kind) {
            ("s", Kind::Histogram(_) | Kind::Gauge) => "s",
            ("By", _) => "bytes",
            _ => "short",
        };
        json!({
            "id": at + 2,
            "type": "timeseries",
            "title": metric.exposed(),
            "description": metric.help,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "gridPos": {"h": 8, "w": 12, "x": 12 * (at % 2), "y": 6 + 8 * (at / 2)},
            "targets": [{"refId": "A", "expr": expression(metric)}],
        })
    };
    let firing = json!({
        "id": 1,
        "type": "alertlist",
        "title": "Alerts",
        "gridPos": {"h": 6, "w": 24, "x": 0, "y": 0},
        "options": {"alertName": "Sendcat", "stateFilter": {"firing": true, "pending": true}},
    });
    let panels: Vec<_> =
        std::iter::once(firing).chain(METRICS.iter().enumerate().map(panel)).collect();
    json!({
        "title": "sendcat",
        "uid": "sendcat",
        "schemaVersion": 39,
        "editable": true,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [{
            "name": "datasource",
            "type": "datasource",
            "query": "prometheus",
            "label": "Prometheus",
        }]},
        "panels": panels,
    })
}

#[cfg(test)]
mod tests;
