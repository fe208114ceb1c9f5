//! `/ops/rate-limit` and `/ops/alerts`: what was refused, what it was worth, and how Sentry heard.

use serde_json::{Value, json};

use crate::support::client::{Caller, answer, run};
use crate::support::expected::whole;
use crate::support::mailbox::{JWT_SECRET, user_token};
use crate::support::scene::{Scene, get, until};
use crate::support::server::{Server, Setup};
use crate::support::stand_in::StandIns;
use crate::support::webhook::{SECRET, WHATSAPP, receiver, refused, sandboxed_receiver};

pub(crate) const SENTRY: &str = "sentry_ingest";
pub(crate) const RUN: &str = "/ops/alerts/run";
const SPIKE: &str = "http:whatsapp_webhook:blocked";

/// A server whose proxy is on this machine, and whose second delivery of an address is refused.
fn strict(setup: Setup) -> Setup {
    setup.with("TRUSTED_PROXIES", "127.0.0.1/32").with("RATE_LIMIT_WHATSAPP_MAX", 1)
}

/// The same, with alerts to these stand-ins.
pub(crate) fn alerting(stand_ins: &StandIns) -> Setup {
    let dsn = stand_ins.knobs()["SENTRY_DSN"].clone();
    strict(receiver()).with("RATE_LIMIT_SENTRY_DSN", dsn)
}

/// Has so many addresses refused, each of them twice.
pub(crate) fn refuses(caller: &Caller, addresses: std::ops::Range<u32>) {
    run(async {
        for number in addresses {
            let from = format!("203.0.113.{number}");
            let delivery = || caller.post_json(WHATSAPP, "{}").header("x-real-ip", &from);
            assert_eq!(answer(delivery()).await.status, 403);
            for _ in 0..2 {
                assert_eq!(answer(delivery()).await.status, 429);
            }
        }
    });
}

/// What a run of the monitor comes to.
pub(crate) fn ran(caller: &Caller) -> (u64, u64) {
    let answer = get(caller.operates("POST", RUN));
    assert_eq!(answer.status, 200, "{answer:?}");
    let run = answer.json();
    assert_eq!(run.as_object().unwrap().len(), 3, "{run}");
    assert_eq!(run["windowMinutes"], 5);
    let count = |name: &str| run[name].as_u64().unwrap();
    (count("createdAlerts"), count("sentryAlerts"))
}

pub(crate) fn seen(caller: &Caller, path: &str) -> Value {
    run(caller.sees(path))
}

/// The rows of a list of operators'.
pub(crate) fn rows(caller: &Caller, path: &str) -> Vec<Value> {
    seen(caller, path)["items"].as_array().expect("items is a list").clone()
}

/// The events that came in envelopes, each read by the format's own rules: three lines, of which
/// the second says how long the third is.
pub(crate) fn events_at(stand_ins: &StandIns) -> Vec<Value> {
    let requests = run(stand_ins.seen(SENTRY));
    requests.iter().map(event_of).collect()
}

fn event_of(request: &Value) -> Value {
    assert_eq!(request["headers"]["content-type"], "application/x-sentry-envelope");
    let auth = request["headers"]["x-sentry-auth"].as_str().unwrap();
    assert!(auth.starts_with("Sentry sha256:"), "{auth}");
    let body = request["body"].as_str().expect("an envelope is no JSON");
    let lines: Vec<&str> = body.split('\n').collect();
    let [headers, item, payload, ""] = lines.as_slice() else { panic!("not an envelope: {body}") };
    let [headers, item, event] =
        [headers, item, payload].map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(item, json!({"type": "event", "length": payload.len()}));
    let id = event["event_id"].as_str().unwrap();
    let is_hex = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
    assert!(id.len() == 32 && id.bytes().all(is_hex), "{id}");
    assert_eq!(headers["event_id"], id);
    for time in [&headers["sent_at"], &event["timestamp"]] {
        humantime::parse_rfc3339(time.as_str().unwrap()).expect("a time");
    }
    let level = event["level"].as_str().unwrap();
    assert!(matches!(level, "warning" | "error") && event["platform"].is_string(), "{event}");
    event
}

#[test]
fn forty_refused_deliveries_are_one_alert_that_sentry_has_once() {
    let server = strict(sandboxed_receiver()).start();
    let (caller, stand_ins) = (Caller::of(&server), StandIns::within(&server));
    assert_eq!(ran(&caller), (0, 0));
    refuses(&caller, 0..40);
    let summary = seen(&caller, "/ops/rate-limit/summary");
    assert_eq!(summary["summary"], json!({SPIKE: 40}), "equal refusals are one");
    let first = get(caller.operates("POST", RUN));
    let body = json!({"createdAlerts": 1, "sentryAlerts": 1, "windowMinutes": 5});
    let fields = [("cache-control", "no-store"), ("content-type", "application/json")];
    assert_eq!(first, whole(200, &fields, &first.body));
    assert_eq!(first.json(), body);
    assert_eq!(ran(&caller), (0, 0), "its cooldown runs");

    let alerts = rows(&caller, "/ops/alerts");
    let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
    let expected = json!({
        "id": alert["id"], "rule": "rate_limit_spike", "alertKey": SPIKE, "count": 40,
        "threshold": 25, "windowMinutes": 5, "createdAt": alert["createdAt"],
        "expiresAt": alert["expiresAt"], "delivery": "delivered",
        "settledAt": alert["settledAt"], "runbook": "/ops/runbook#rate_limit_spike",
    });
    assert_eq!(*alert, expected);
    let events = events_at(&stand_ins);
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&event["event_id"], &event["level"]), (&alert["id"], &json!("warning")));
    assert_eq!(event["fingerprint"], json!(["sendcat", "rate_limit_spike", SPIKE]));
    assert_eq!(event["extra"]["count"], 40);
    assert_eq!(event["tags"]["bucket"], "whatsapp_webhook");

    let pressure = &seen(&caller, "/ops/snapshot?limit=1000")["rateLimitPressure"];
    assert_eq!(pressure["summary"], json!({SPIKE: 40}));
    assert_eq!(pressure["recentEvents"].as_array().unwrap().len(), 40);
    assert_eq!(pressure["recentAlerts"], json!([alert]));
}

#[test]
fn a_refusal_is_told_with_its_route_and_without_who_it_was() {
    let server = strict(receiver()).start();
    let caller = Caller::of(&server);
    refuses(&caller, 7..8);
    let events = seen(&caller, "/ops/rate-limit/events");
    assert_eq!((&events["windowMinutes"], &events["dropped"]), (&json!(15), &json!(0)));
    let rows = events["items"].as_array().unwrap();
    let [event] = rows.as_slice() else { panic!("{rows:?}") };
    let key = event["key"].as_str().unwrap();
    assert!(key.len() == 32 && !event.to_string().contains("203.0.113"), "{event}");
    assert!((1..=60_000).contains(&event["retryAfterMs"].as_u64().unwrap()), "{event}");
    let times = ["createdAt", "expiresAt"]
        .map(|name| humantime::parse_rfc3339(event[name].as_str().unwrap()).unwrap());
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    assert_eq!(times[1].duration_since(times[0]).unwrap(), day);
    let expected = json!({
        "source": "http", "bucket": "whatsapp_webhook", "key": key, "outcome": "blocked",
        "retryAfterMs": event["retryAfterMs"], "path": WHATSAPP, "method": "POST",
        "createdAt": event["createdAt"], "expiresAt": event["expiresAt"],
        "dedupeKey": format!("http:whatsapp_webhook:{key}:blocked"),
    });
    assert_eq!(*event, expected);
}

#[test]
fn every_limit_tells_what_it_refuses_and_a_limiter_without_an_answer_too() {
    let setup = ["CHAT_STREAM", "ANON_IP", "WA_LINK_CODE", "WEBHOOK", "WEBHOOK_SENDER"]
        .into_iter()
        .fold(strict(receiver()), |setup, bucket| {
            // The session itself is minted under it, too.
            let most = if bucket == "ANON_IP" { 3 } else { 1 };
            setup.with(&format!("RATE_LIMIT_{bucket}_MAX"), most)
        });
    let server = setup
        .with("RATE_LIMIT_WHATSAPP_MAX", 2)
        .with("SESSION_SECRET", "secret")
        .with("AUTH_JWT_SECRET", JWT_SECRET)
        .with("WEBHOOK_SOURCES", "x=github")
        .with("WEBHOOK_SECRET_X", SECRET)
        .start();
    let caller = Caller::of(&server);
    let token = crate::support::scene::session(&caller);
    let twice = |ask: &dyn Fn() -> reqwest::RequestBuilder| {
        until("it is refused", || get(ask()).status == 429);
    };
    twice(&|| caller.chat(&token, "t", "hello"));
    twice(&|| caller.post("/api/whatsapp/link-code").bearer_auth(user_token("ada")));
    twice(&|| caller.post_json("/api/webhooks/x", "{}"));
    let delivery = crate::support::webhook::delivery_of(["m1".to_owned()]);
    twice(&|| caller.delivers(delivery.clone()).header("x-real-ip", "203.0.113.1"));
    let summary = seen(&caller, "/ops/rate-limit/summary")["summary"].clone();
    let expected = json!({
        "chat:chat_stream:blocked": 1, "function:wa_link_code:blocked": 1,
        "http:generic_webhook:blocked": 1, "http:webhook_sender:blocked": 1,
    });
    assert_eq!(summary, expected);
    for shard in 0..16 {
        run(caller.arms(&format!("rate_limiter-{shard}:panic_decide@0")));
    }
    let fails = caller.post_json(WHATSAPP, "{}").header("x-real-ip", "203.0.113.77");
    assert_eq!(get(fails).status, 429);
    let fallback = "?outcome=contention_fallback";
    let summary = seen(&caller, &format!("/ops/rate-limit/summary{fallback}"));
    assert_eq!(summary["summary"], json!({"http:whatsapp_webhook:contention_fallback": 1}));
    let event = rows(&caller, &format!("/ops/rate-limit/events{fallback}")).remove(0);
    assert_eq!((&event["retryAfterMs"], &event["path"]), (&json!(1000), &json!(WHATSAPP)));
    assert_eq!(rows(&caller, "/ops/rate-limit/events?bucket=chat_stream").len(), 1);
    assert_eq!(rows(&caller, "/ops/rate-limit/events?bucket=anon_ip"), [] as [Value; 0]);
}

#[test]
fn what_is_asked_for_and_is_not_there_is_refused_by_name() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let buckets = "chat_stream, anon_ip, gmail_oauth_callback, gmail_push_webhook, \
                   whatsapp_webhook, wa_link_code, generic_webhook, webhook_sender";
    let cases = [
        ("bucket=nobody", format!("The parameter bucket must be one of {buckets}.")),
        (
            "outcome=open",
            "The parameter outcome must be one of blocked, contention_fallback.".into(),
        ),
        (
            "windowMinutes=1441",
            "The parameter windowMinutes must be a number from 1 to 1440.".into(),
        ),
        ("limit=0", "The parameter limit must be a number from 1 to 1000.".to_owned()),
    ];
    for path in ["/ops/rate-limit/events", "/ops/rate-limit/summary", "/ops/alerts"] {
        for (query, sentence) in &cases {
            let asked = get(caller.operates("GET", &format!("{path}?{query}")));
            assert_eq!(asked, refused(400, "invalid_request", sentence, &[]), "{path}?{query}");
        }
    }
}

#[test]
fn alerts_are_found_by_bucket_outcome_and_window() {
    let stand_ins = StandIns::start();
    let server = alerting(&stand_ins).with("ALERT_THRESHOLD", 2).start();
    let caller = Caller::of(&server);
    refuses(&caller, 0..2);
    assert_eq!(ran(&caller), (1, 1));
    let found = |query: &str| rows(&caller, &format!("/ops/alerts?{query}")).len();
    assert_eq!(found("bucket=whatsapp_webhook&outcome=blocked&windowMinutes=1&limit=1"), 1);
    assert_eq!((found("bucket=chat_stream"), found("outcome=contention_fallback")), (0, 0));
}

#[test]
fn an_alert_that_sentry_does_not_take_is_kept_and_sent_by_a_later_run() {
    let stand_ins = StandIns::start();
    let server = alerting(&stand_ins).start();
    let caller = Caller::of(&server);
    refuses(&caller, 0..25);
    stand_ins.fail(SENTRY, "500", 1);
    assert_eq!(ran(&caller), (1, 0));
    let kept = rows(&caller, "/ops/alerts").remove(0);
    assert_eq!((&kept["delivery"], &kept["settledAt"]), (&json!("pending"), &Value::Null));
    let shown = seen(&caller, "/ops/snapshot")["rateLimitPressure"]["recentAlerts"].clone();
    assert_eq!(shown, json!([kept]));
    assert_eq!(ran(&caller), (0, 1));
    let events = events_at(&stand_ins);
    assert_eq!((events.len(), &events[0]), (2, &events[1]), "the same event comes again");
    assert_eq!(rows(&caller, "/ops/alerts")[0]["delivery"], "delivered");
}

#[test]
fn without_a_dsn_alerts_are_raised_and_kept() {
    let server = strict(receiver()).start();
    let caller = Caller::of(&server);
    refuses(&caller, 0..25);
    assert_eq!(ran(&caller), (1, 0));
    assert_eq!(rows(&caller, "/ops/alerts")[0]["delivery"], "pending");
    assert_eq!(ran(&caller), (0, 0));
}

#[test]
fn a_monitor_that_hangs_costs_an_operator_a_503_and_refused_callers_nothing() {
    let server = strict(receiver()).start();
    let caller = Caller::of(&server);
    run(caller.arms("alert_monitor:deaf@0:60000ms"));
    refuses(&caller, 0..3);
    let sentence = "The monitor gave no answer; look at /ops/alerts, and try again.";
    let busy = refused(503, "overloaded", sentence, &[("retry-after", "1")]);
    assert_eq!(get(caller.operates("POST", RUN)), busy);
    assert_eq!(get(caller.operates("GET", "/ops/alerts")).status, 200);
    assert_eq!(get(caller.operates("GET", "/ops/snapshot")).status, 200);
}

/// A chat in the only slot of the model, while another is refused.
fn fills_the_model(scene: &Scene) {
    let mut holds = scene.raw("t1", "slow 1000 50", &[]);
    holds.until("data:");
    let refused = scene.ask("t2", "hello");
    assert_eq!((refused.status, refused.code()), (503, Some("overloaded")), "{refused:?}");
    drop(holds);
    scene.settles();
}

fn of_bulkheads(stand_ins: &StandIns) -> Vec<Value> {
    let events = events_at(stand_ins).into_iter();
    events.filter(|it| it["tags"]["rule"] == "bulkhead_saturation").collect()
}

fn with_one_slot(cooldown: &str) -> (Scene, StandIns) {
    let ingest = StandIns::start();
    let dsn = ingest.knobs()["SENTRY_DSN"].clone();
    let knobs = [
        ("BULKHEAD_OPENROUTER_MAX_CONCURRENT", "1"),
        ("BULKHEAD_SENTRY_COOLDOWN_MS", cooldown),
        ("SENTRY_DSN", ""),
        ("RATE_LIMIT_SENTRY_DSN", dsn.as_str()),
    ];
    (Scene::with(&knobs), ingest)
}

#[test]
fn a_full_bulkhead_is_a_warning_at_sentry_once_a_cooldown() {
    let (scene, ingest) = with_one_slot("600000");
    fills_the_model(&scene);
    until("Sentry has heard", || !of_bulkheads(&ingest).is_empty());
    let event = of_bulkheads(&ingest).remove(0);
    assert_eq!(
        (&event["level"], &event["tags"]["provider"]),
        (&json!("warning"), &json!("openrouter_chat"))
    );
    fills_the_model(&scene);
    let alerts = get(scene.caller.get("/ops/alerts").bearer_auth("ops")).json();
    let rows = alerts["items"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["alertKey"]), (1, &json!("bulkhead:openrouter_chat")));
    assert_eq!(rows[0]["runbook"], "/ops/runbook#bulkhead_saturation");
    assert_eq!(of_bulkheads(&ingest).len(), 1);
}

#[test]
fn the_cooldown_of_full_bulkheads_is_a_knob() {
    let (scene, ingest) = with_one_slot("1");
    until("it is told twice", || {
        fills_the_model(&scene);
        of_bulkheads(&ingest).len() >= 2
    });
}

/// Started again by a signal, or by a kill after the last snapshot.
fn restarted(server: &mut Server, by: &str) {
    if by == "KILL" { server.kill_and_restart() } else { server.restart_by(by) }
}

#[test]
fn alerts_and_their_cooldown_outlive_a_restart_and_what_waited_is_sent() {
    let stand_ins = StandIns::start();
    // Its circuit is another test's.
    let mut server = alerting(&stand_ins).with("CIRCUIT_SENTRY_INGEST_THRESHOLD", 1000).start();
    let caller = Caller::of(&server);
    refuses(&caller, 0..25);
    stand_ins.fail(SENTRY, "500", 1000);
    assert_eq!(ran(&caller), (1, 0));
    restarted(&mut server, "TERM");
    stand_ins.fail(SENTRY, "500", 1);
    let caller = Caller::of(&server);
    let kept = rows(&caller, "/ops/alerts");
    assert_eq!((kept.len(), &kept[0]["alertKey"]), (1, &json!(SPIKE)));
    assert_eq!(seen(&caller, "/ops/rate-limit/summary")["summary"], json!({SPIKE: 25}));
    until("it is sent", || {
        ran(&caller).1 == 1 || rows(&caller, "/ops/alerts")[0]["delivery"] == "delivered"
    });
    assert_eq!(rows(&caller, "/ops/alerts").len(), 1, "the cooldown goes on");
    until("it is on disk", || {
        restarted(&mut server, "KILL");
        let caller = Caller::of(&server);
        let alerts = rows(&caller, "/ops/alerts");
        assert_eq!((alerts.len(), ran(&caller).0), (1, 0));
        alerts[0]["delivery"] == "delivered"
    });
}
