//! An alert as an envelope (WEBHOOKS.md §6): a line of headers, then one item, its header and its
//! payload, ended by `\n` each.

use std::time::{Duration, UNIX_EPOCH};

use sendcat_state::alert_rules::{Alert, AlertSubject};
use sendcat_state::timestamp::Timestamp;
use serde_json::json;

/// The longest value of a tag, in characters (Sentry cuts what is longer).
const TAG_CHARS: usize = 200;

/// The envelope of an alert that is sent now. An alert that is sent again has the same event id, so
/// Sentry takes it once.
pub(super) fn of(alert: &Alert, now: Timestamp) -> Vec<u8> {
    let id = alert.id.to_string();
    let event = event(alert, &id).to_string();
    let sdk = json!({"name": "sendcat", "version": env!("CARGO_PKG_VERSION")});
    let headers = json!({"event_id": id, "sdk": sdk, "sent_at": rfc3339(now)});
    let item = json!({"type": "event", "length": event.len()});
    format!("{headers}\n{item}\n{event}\n").into_bytes()
}

fn event(alert: &Alert, id: &str) -> serde_json::Value {
    let (rule, key) = (alert.subject.rule(), alert.subject.key());
    let minutes = alert.window.as_secs().div_ceil(60);
    let (message, mut tags) = match alert.subject {
        AlertSubject::Refusals(series) => (
            format!("{key}: {} in {minutes} min, threshold {}", alert.count, alert.threshold),
            json!({
                "source": series.source, "bucket": series.bucket, "outcome": series.outcome,
            }),
        ),
        AlertSubject::Bulkhead(provider) => {
            (format!("{key}: every slot is taken"), json!({ "provider": provider }))
        }
    };
    tags["rule"] = json!(rule);
    tags["alert_key"] = json!(key.chars().take(TAG_CHARS).collect::<String>());
    json!({
        "event_id": id,
        "timestamp": rfc3339(alert.created),
        "platform": "other",
        "level": "warning",
        "logger": "sendcat.alert_monitor",
        "release": concat!("sendcat@", env!("CARGO_PKG_VERSION")),
        "message": message,
        "fingerprint": ["sendcat", rule, key],
        "tags": tags,
        "extra": {
            "count": alert.count,
            "threshold": alert.threshold,
            "windowMinutes": minutes,
            "runbook": rule.runbook(),
        },
    })
}

fn rfc3339(at: Timestamp) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(at.as_millis());
    humantime::format_rfc3339_millis(at).to_string()
}
