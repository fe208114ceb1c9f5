//! The sink with an ingest of its own.

use std::collections::VecDeque;
use std::time::Duration;

use sendcat_state::alert_rules::{AlertSubject, Delivery};
use sendcat_state::events::{EventOutcome, EventSource, Series};
use sendcat_state::key::{Bucket, ProviderId, TimedId};
use serde_json::{Value, json};

use super::*;

const NOON: Timestamp = Timestamp::from_millis(1_771_329_476_470);

fn alert(subject: AlertSubject) -> Alert {
    Alert {
        id: TimedId::new(NOON, 7),
        subject,
        count: 40,
        threshold: 25,
        window: Duration::from_secs(300),
        created: NOON,
        ends: NOON,
        delivery: Delivery::Pending,
    }
}

fn spike() -> Alert {
    alert(AlertSubject::Refusals(Series {
        source: EventSource::Http,
        bucket: Bucket::WhatsappWebhook,
        outcome: EventOutcome::Blocked,
    }))
}

/// Answers in turn, and keeps what came.
#[derive(Default)]
struct Ingest {
    answers: Mutex<VecDeque<Result<Posted, String>>>,
    came: Mutex<Vec<Posting>>,
}

impl Post for Arc<Ingest> {
    fn post(&self, posting: Posting) -> BoxFuture<'static, Result<Posted, String>> {
        self.came.lock().unwrap().push(posting);
        let next = self.answers.lock().unwrap().pop_front();
        let next = next.unwrap_or(Ok(Posted { status: 200, ..Posted::default() }));
        Box::pin(async move { next })
    }
}

fn sink(answers: impl IntoIterator<Item = Result<Posted, String>>) -> (SentrySink, Arc<Ingest>) {
    let ingest = Arc::new(Ingest::default());
    ingest.answers.lock().unwrap().extend(answers);
    let dsn = Secret::new("https://public:hidden@ingest.example:8443/path/42");
    (SentrySink::new(&dsn, Arc::new(Arc::clone(&ingest))).unwrap(), ingest)
}

async fn delivered(sink: &SentrySink, after_s: u64) -> Result<(), Undelivered> {
    sink.deliver(spike(), NOON.after(Duration::from_secs(after_s))).await
}

#[tokio::test]
async fn an_alert_is_one_event_in_an_envelope_at_the_address_of_its_dsn() {
    let (sink, ingest) = sink([]);
    assert_eq!(delivered(&sink, 1).await, Ok(()));
    let came = ingest.came.lock().unwrap().remove(0);
    assert_eq!(came.url, "https://ingest.example:8443/path/api/42/envelope/");
    let auth = "Sentry sentry_key=public, sentry_version=7, sentry_client=sendcat/0.1.0, \
                sentry_secret=hidden";
    assert_eq!(came.auth, auth);
    let body = String::from_utf8(came.body).unwrap();
    let lines: Vec<&str> = body.split('\n').collect();
    let [headers, item, event, ""] = lines.as_slice() else { panic!("{body}") };
    let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let id = spike().id.to_string();
    let sdk = json!({"name": "sendcat", "version": "0.1.0"});
    let wanted = json!({"event_id": id, "sdk": sdk, "sent_at": "2026-02-17T11:57:57.470Z"});
    assert_eq!(read(headers), wanted);
    assert_eq!(read(item), json!({"type": "event", "length": event.len()}));
    let key = "http:whatsapp_webhook:blocked";
    let wanted = json!({
        "event_id": id, "timestamp": "2026-02-17T11:57:56.470Z", "platform": "other",
        "level": "warning", "logger": "sendcat.alert_monitor", "release": "sendcat@0.1.0",
        "message": "http:whatsapp_webhook:blocked: 40 in 5 min, threshold 25",
        "fingerprint": ["sendcat", "rate_limit_spike", key],
        "tags": {"source": "http", "bucket": "whatsapp_webhook", "outcome": "blocked",
            "rule": "rate_limit_spike", "alert_key": key},
        "extra": {"count": 40, "threshold": 25, "windowMinutes": 5,
            "runbook": "/ops/runbook#rate_limit_spike"},
    });
    assert_eq!(read(event), wanted);
}

#[tokio::test]
async fn a_full_bulkhead_is_an_event_of_its_provider() {
    let (sink, ingest) = sink([]);
    let full = alert(AlertSubject::Bulkhead(ProviderId::SerperSearch));
    assert_eq!(sink.deliver(full, NOON).await, Ok(()));
    let came = ingest.came.lock().unwrap().remove(0);
    let event = came.body.split(|byte| *byte == b'\n').nth(2).unwrap();
    let event: Value = serde_json::from_slice(event).unwrap();
    assert_eq!(event["message"], "bulkhead:serper_search: every slot is taken");
    let tags = json!({"provider": "serper_search", "rule": "bulkhead_saturation",
        "alert_key": "bulkhead:serper_search"});
    assert_eq!((&event["tags"], &event["level"]), (&tags, &json!("warning")));
}

#[tokio::test]
async fn what_sentry_says_of_its_limits_is_obeyed_and_the_longest_holds() {
    // Status, `X-Sentry-Rate-Limits`, `Retry-After`, and for how long no event may be sent.
    let cases = [
        (429, "60:transaction:key, 2700:default;error;security:organization", "2700", 2700),
        (429, "60::organization, 2700::organization", "2700", 2700),
        (200, "120:error:project:reason", "", 120),
        (200, "4711:foo;bar;baz:project", "", 0),
        (429, "", "60", 60),
        (429, "", "", 60),
        (503, "", "90", 0),
        (429, "nonsense, :error, 30:error:key", "", 30),
    ];
    for (status, header, retry_after, blocked) in cases {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (limits, retry_after) = (some(header), some(retry_after));
        let (sink, ingest) = sink([Ok(Posted { status, limits, retry_after })]);
        assert_eq!(delivered(&sink, 0).await.is_ok(), status == 200);
        if blocked > 0 {
            let early = delivered(&sink, blocked - 1).await;
            assert!(matches!(early, Err(Undelivered::NotNow(_))), "{status} {header}");
            assert_eq!(ingest.came.lock().unwrap().len(), 1, "{status} {header}: nothing is sent");
        }
        assert_eq!(delivered(&sink, blocked).await, Ok(()), "{status} {header}");
    }
}

#[tokio::test]
async fn a_shorter_limit_does_not_end_a_longer_one() {
    let limited = |limits: &str| {
        Ok(Posted { status: 200, limits: Some(limits.to_owned()), retry_after: None })
    };
    let (sink, _) = sink([limited("100:error:key, 5:error:key")]);
    assert_eq!(delivered(&sink, 0).await, Ok(()));
    assert!(delivered(&sink, 99).await.is_err());
    assert_eq!(delivered(&sink, 100).await, Ok(()));
}

#[tokio::test]
async fn what_may_be_taken_later_waits_and_what_never_is_does_not() {
    let answered = |status| Ok(Posted { status, ..Posted::default() });
    for status in [301, 401, 403, 404, 500, 503] {
        let (sink, _) = sink([answered(status)]);
        let waits = Undelivered::NotNow(format!("Sentry answered {status}"));
        assert_eq!(delivered(&sink, 0).await, Err(waits));
    }
    for status in [400, 413, 422] {
        let (sink, _) = sink([answered(status)]);
        let never = Undelivered::Refused(format!("Sentry answered {status}"));
        assert_eq!(delivered(&sink, 0).await, Err(never));
    }
    let (sink, _) = sink([Err("nobody is there".to_owned())]);
    let waits = Undelivered::NotNow("nobody is there".to_owned());
    assert_eq!(delivered(&sink, 0).await, Err(waits));
}

#[test]
fn a_dsn_that_makes_no_sense_is_refused_without_its_text() {
    for odd in ["", "sentry.io/42", "https://sentry.io/42", "https://key@sentry.io/"] {
        let post: Arc<dyn Post> = Arc::new(Arc::new(Ingest::default()));
        let refused = SentrySink::new(&Secret::new(odd), post).err();
        assert_eq!(refused, Some(BadDsn), "{odd}");
    }
}
