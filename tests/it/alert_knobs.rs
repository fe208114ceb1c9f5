//! Each knob of alerts changes what it says, and what Sentry says of its limits is obeyed.

use serde_json::json;

use crate::ops_alerts::{RUN, SENTRY, alerting, events_at, ran, refuses, rows, seen};
use crate::support::client::{Caller, run};
use crate::support::scene::{get, until};
use crate::support::stand_in::StandIns;
use crate::support::webhook::{OPS_READ_TOKEN, SECRET, delivery_of, eventually, receiver};

#[test]
fn the_threshold_is_a_knob() {
    let stand_ins = StandIns::start();
    let server = alerting(&stand_ins).with("ALERT_THRESHOLD", 3).start();
    let caller = Caller::of(&server);
    refuses(&caller, 0..2);
    assert_eq!(ran(&caller), (0, 0));
    refuses(&caller, 2..3);
    assert_eq!(ran(&caller), (1, 1));
    assert_eq!(rows(&caller, "/ops/alerts")[0]["threshold"], 3);
}

#[test]
fn the_cooldown_is_a_knob() {
    let stand_ins = StandIns::start();
    let server =
        alerting(&stand_ins).with("ALERT_THRESHOLD", 1).with("ALERT_COOLDOWN_MS", 1).start();
    let caller = Caller::of(&server);
    refuses(&caller, 0..1);
    assert_eq!(ran(&caller), (1, 1));
    until("it is raised again", || ran(&caller) == (1, 1));
    let events = events_at(&stand_ins);
    assert_ne!(events[0]["event_id"], events[1]["event_id"]);
}

#[test]
fn the_window_and_the_rows_of_operators_are_knobs() {
    let server = alerting(&StandIns::start())
        .with("OPS_DEFAULT_WINDOW_MINUTES", 3)
        .with("OPS_MAX_ROWS_PER_SECTION", 2)
        .start();
    let caller = Caller::of(&server);
    refuses(&caller, 0..3);
    for path in ["/ops/rate-limit/events", "/ops/rate-limit/summary", "/ops/alerts"] {
        assert_eq!(seen(&caller, path)["windowMinutes"], 3, "{path}");
    }
    assert_eq!(rows(&caller, "/ops/rate-limit/events").len(), 2);
    assert_eq!(rows(&caller, "/ops/rate-limit/events?limit=3").len(), 3);
    let pressure = &seen(&caller, "/ops/snapshot")["rateLimitPressure"];
    assert_eq!(pressure["recentEvents"].as_array().unwrap().len(), 2);
}

#[test]
fn alerts_go_to_the_limiters_own_dsn_and_else_to_the_common_one() {
    let (own, common) = (StandIns::start(), StandIns::start());
    let dsn = common.knobs()["SENTRY_DSN"].clone();
    let both = alerting(&own).with("SENTRY_DSN", &dsn).start();
    let caller = Caller::of(&both);
    refuses(&caller, 0..25);
    assert_eq!(ran(&caller), (1, 1));
    assert_eq!((own.count(SENTRY, "requests"), common.count(SENTRY, "requests")), (1, 0));
    let one = alerting(&own).with("RATE_LIMIT_SENTRY_DSN", "").with("SENTRY_DSN", &dsn).start();
    let caller = Caller::of(&one);
    refuses(&caller, 0..25);
    assert_eq!(ran(&caller), (1, 1));
    assert_eq!((own.count(SENTRY, "requests"), common.count(SENTRY, "requests")), (1, 1));
}

#[test]
fn the_circuit_of_sentry_is_a_knob_and_an_open_one_sends_nothing() {
    let stand_ins = StandIns::start();
    let server = alerting(&stand_ins)
        .with("CIRCUIT_SENTRY_INGEST_THRESHOLD", 1)
        .with("CIRCUIT_SENTRY_INGEST_COOLDOWN_MS", 600_000)
        .start();
    let caller = Caller::of(&server);
    refuses(&caller, 0..25);
    stand_ins.fail(SENTRY, "500", 1);
    assert_eq!((ran(&caller), ran(&caller)), ((1, 0), (0, 0)));
    assert_eq!(stand_ins.count(SENTRY, "requests"), 1);
    let circuits = seen(&caller, "/ops/snapshot")["circuits"].clone();
    let of_sentry = circuits.as_array().unwrap().iter().find(|it| it["provider"] == SENTRY);
    assert_eq!(of_sentry.unwrap()["state"], "open");
    assert_eq!(rows(&caller, "/ops/alerts").len(), 1, "an alert about alerts there is none");
}

#[test]
fn a_sentry_that_says_nothing_costs_a_run_two_seconds_and_no_alert() {
    let stand_ins = StandIns::start();
    let server = alerting(&stand_ins).start();
    let caller = Caller::of(&server);
    refuses(&caller, 0..25);
    stand_ins.fail(SENTRY, "stall_headers", 1);
    let (came, took) = crate::support::scene::timed(|| ran(&caller));
    assert_eq!(came, (1, 0));
    assert!((1900..5000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(ran(&caller), (0, 1));
}

#[test]
fn a_sentry_that_limits_us_is_left_alone_for_as_long_as_it_says() {
    let stand_ins = StandIns::start();
    let server = alerting(&stand_ins).start();
    let caller = Caller::of(&server);
    refuses(&caller, 0..25);
    // It says two seconds.
    stand_ins.fail(SENTRY, "429", 1);
    assert_eq!((ran(&caller), ran(&caller)), ((1, 0), (0, 0)));
    assert_eq!(stand_ins.count(SENTRY, "requests"), 1, "nothing is sent meanwhile");
    let waited = until("it is sent", || ran(&caller) == (0, 1));
    assert!(waited.as_millis() > 1000, "{waited:?}");
    assert_eq!(stand_ins.count(SENTRY, "requests"), 2);
}

#[test]
fn who_may_only_read_reads_alerts_and_runs_nothing() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let reads = |method, path| get(caller.request(method, path).bearer_auth(OPS_READ_TOKEN)).status;
    assert_eq!(reads("GET", "/ops/alerts"), 200);
    assert_eq!((reads("GET", "/ops/rate-limit/events"), reads("POST", RUN)), (200, 401));
}

#[test]
fn our_own_errors_reach_sentry_once_without_secrets_and_a_failing_sentry_makes_no_more() {
    let stand_ins = StandIns::start();
    let dsn = stand_ins.knobs()["SENTRY_DSN"].clone();
    let mut server = receiver().with("SENTRY_DSN", &dsn).start();
    let caller = Caller::of(&server);
    run(async {
        // A panic in an actor's task, and the line that its supervisor logs as an error.
        caller.arms("stream_log:panic_timer@0").await;
        let texts = eventually("both are reported", async || {
            let seen = stand_ins.seen(SENTRY).await;
            let bodies: Vec<_> = seen.iter().map(|it| it["body"].to_string()).collect();
            let has = |text: &str| bodies.iter().any(|body| body.contains(text));
            (has("injected: timer panic") && has("an actor's task died")).then_some(bodies)
        })
        .await;
        assert!(texts.len() <= 4, "{texts:?}");
        let actor = caller.actor("stream_log").await;
        assert_eq!(actor["restarts"]["byCause"], json!({"death": 1}), "nobody took it for hung");
        assert!(texts.iter().all(|text| !text.contains(SECRET) && !text.contains("planted-")));
        let reported = stand_ins.count(SENTRY, "requests");
        stand_ins.arms(SENTRY, "500", 1000).await;
        caller.arms("http:panic_decide@0").await;
        let struck = crate::support::client::answer(caller.get("/livez")).await;
        assert_eq!(struck.status, 500, "{struck:?}");
        eventually("another is tried", async || {
            (stand_ins.count(SENTRY, "completed") > reported).then_some(())
        })
        .await;
        let delivered = caller.delivers(delivery_of(["m1".to_owned()]));
        assert_eq!(crate::support::client::answer(delivered).await.status, 200);
    });
    // What ends the process sends what is left, and waits for it.
    let (code, log) = server.end("TERM");
    assert_eq!(code, Some(0), "{log}");
    let requests = stand_ins.count(SENTRY, "requests");
    assert!(requests <= 8, "a report that fails is not reported: {requests}");
    assert_eq!(json!(requests), json!(stand_ins.count(SENTRY, "completed")));
}
