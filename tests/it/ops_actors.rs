//! `GET /ops/actors`, and who is let in at `/ops` at all.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Caller, answer, run};
use crate::support::server::Setup;
use crate::support::webhook::{
    OPS_READ_TOKEN, accepted, delivery_of, eventually, receiver, refused, whole,
};

const PROVIDERS: [&str; 10] = [
    "openrouter_chat",
    "serper_search",
    "gmail_oauth",
    "serpapi_shopping",
    "ebay_browse",
    "gmail_api",
    "whatsapp_graph",
    "resend_email",
    "jwks",
    "sentry_ingest",
];

/// Every operators' route.
const ROUTES: [(&str, &str); 13] = [
    ("GET", "/ops/actors"),
    ("GET", "/ops/rate-limit/events"),
    ("GET", "/ops/rate-limit/summary"),
    ("GET", "/ops/alerts"),
    ("POST", "/ops/alerts/run"),
    ("GET", "/ops/inbox"),
    ("GET", "/ops/snapshot"),
    ("GET", "/ops/cache"),
    ("DELETE", "/ops/cache/search_web_json_v1"),
    ("GET", "/ops/faults"),
    ("POST", "/ops/faults"),
    ("DELETE", "/ops/faults"),
    ("DELETE", "/ops/faults/x"),
];

#[test]
fn without_a_token_set_there_are_no_operators_routes() {
    let server = Setup::bare().with("OPS_READ_TOKEN", OPS_READ_TOKEN).start();
    let caller = Caller::of(&server);
    let nothing = refused(404, "not_found", "There is nothing here; check the address.", &[]);
    run(async {
        for (method, path) in ROUTES.into_iter().chain([("PUT", "/ops/actors"), ("GET", "/ops/x")])
        {
            for token in ["", "undefined", OPS_READ_TOKEN] {
                let request = caller.request(method, path).bearer_auth(token);
                assert_eq!(answer(request).await, nothing, "{method} {path} {token}");
            }
        }
    });
}

#[test]
fn who_is_no_operator_is_asked_for_a_token() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let sentence = "You are not signed in, or your session has ended; sign in and try again.";
    let challenge = [("www-authenticate", "Bearer error=\"invalid_token\"")];
    let unauthorized = refused(401, "unauthorized", sentence, &challenge);
    run(async {
        for (method, path) in ROUTES {
            for token in ["Bearer wrong", "Bearer ", "Basic b3BzOm9wcw==", ""] {
                let request = caller.request(method, path).header("authorization", token);
                assert_eq!(answer(request).await, unauthorized, "{method} {path} {token}");
            }
            assert_eq!(answer(caller.request(method, path)).await, unauthorized);
        }
    });
}

#[test]
fn who_may_read_may_change_nothing() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        for (method, path) in ROUTES {
            let request = caller.request(method, path).bearer_auth(OPS_READ_TOKEN);
            let status = answer(request).await.status;
            assert_eq!(status, if method == "GET" { 200 } else { 401 }, "{method} {path}");
        }
    });
}

#[test]
fn another_method_is_told_which_there_are() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let sentence = "This address does not take that method; use one that the Allow header names.";
    run(async {
        for (path, allow) in [("/ops/actors", "GET"), ("/ops/faults", "GET, POST, DELETE")] {
            let expected = refused(405, "method_not_allowed", sentence, &[("allow", allow)]);
            assert_eq!(answer(caller.operates("PUT", path)).await, expected);
        }
    });
}

fn expected_names() -> Vec<String> {
    let shards = (0..16).map(|number| format!("rate_limiter-{number}"));
    let guards = ["circuit_breaker", "bulkhead"]
        .into_iter()
        .flat_map(|guard| PROVIDERS.map(|provider| format!("{guard}-{provider}")));
    let single =
        ["idempotency", "job_queue", "tool_cache", "stream_log", "alert_monitor", "journal"];
    let single = single.map(str::to_owned);
    shards.chain(guards).chain(single).collect()
}

#[test]
fn every_actor_is_listed_once_and_runs() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        assert_eq!(answer(caller.delivers(delivery_of(["m1".into()]))).await, accepted());
        let seen = answer(caller.operates("GET", "/ops/actors")).await;
        let fields = [("cache-control", "no-store"), ("content-type", "application/json")];
        assert_eq!(seen, whole(200, &fields, &seen.body));
        let seen = seen.json();
        let actors = seen["actors"].as_array().unwrap();
        let name = |actor: &Value| actor["name"].as_str().unwrap().to_owned();
        let is_worker = |name: &String| name.starts_with("tool_worker-");
        let (mut workers, mut others): (Vec<_>, Vec<_>) =
            actors.iter().map(name).partition(is_worker);
        let mut expected = expected_names();
        others.sort();
        expected.sort();
        assert_eq!(others, expected);
        workers.sort_by_key(|name| name[12..].parse::<usize>().unwrap());
        assert!(!workers.is_empty());
        for (number, worker) in workers.iter().enumerate() {
            assert_eq!(*worker, format!("tool_worker-{number}"));
        }
        for actor in actors {
            assert_eq!(members(actor), MEMBERS, "{actor}");
            assert_eq!(actor["status"], "running", "{actor}");
            assert_eq!(actor["incarnation"], 1, "{actor}");
            assert_eq!(actor["restarts"], json!({"byCause": {}}), "{actor}");
            assert_eq!(actor["lastPanic"], Value::Null, "{actor}");
        }
        assert!(caller.actor("idempotency").await["handled"].as_u64() > Some(0));
    });
}

const MEMBERS: [&str; 8] = [
    "handled",
    "incarnation",
    "lastPanic",
    "mailboxDepth",
    "name",
    "oldestWorkMs",
    "restarts",
    "status",
];

fn members(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn an_actor_that_hangs_is_replaced_and_its_callers_fail_in_their_direction_meanwhile() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        caller.arms("idempotency:hang@0:60000ms").await;
        // The claims give no answer in time, so the delivery is accepted without them.
        let open = caller.delivers(delivery_of(["m1".into()])).send().await.unwrap();
        assert_eq!(open.status(), 200);
        eventually("it is replaced", async || {
            let actor = caller.actor("idempotency").await;
            (actor["restarts"]["byCause"]["hang"] == 1 && actor["status"] == "running")
                .then_some(())
        })
        .await;
        let again = caller.delivers(delivery_of(["m1".into()])).send().await.unwrap();
        assert_eq!(again.status(), 200);
        assert_eq!(again.headers()["x-idempotent-replay"], "1");
    });
}

#[test]
fn actors_are_seen_while_they_hang() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let hanging = ["job_queue", "idempotency", "stream_log", "bulkhead-openrouter_chat"];
        for actor in hanging {
            // Too short for the watchdog, long enough to be seen.
            caller.arms(&format!("{actor}:hang@0:1200ms")).await;
        }
        // Nobody waits for its answer: it hangs with them.
        let stuck = tokio::spawn(caller.delivers(delivery_of(["m1".into()])).send());
        let at_once = Duration::from_secs(1);
        let mut hung = Value::Null;
        eventually("the claims hang", async || {
            let seen = tokio::time::timeout(at_once, caller.actor("idempotency")).await;
            hung = seen.expect("it is answered at once");
            (hung["oldestWorkMs"].as_u64() > Some(100)).then_some(())
        })
        .await;
        assert_eq!(hung["mailboxDepth"], 1, "{hung}");
        assert_eq!(stuck.await.unwrap().unwrap().status(), 200);
        eventually("its work is over", async || {
            let actor = caller.actor("idempotency").await;
            (actor["mailboxDepth"] == 0 && actor["oldestWorkMs"].is_null()).then_some(())
        })
        .await;
    });
}
