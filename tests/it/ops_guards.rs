//! `/ops/circuits`, `/ops/bulkheads` and `/ops/explain`: what stands between callers and providers,
//! and how an operator steers it.

use serde_json::{Value, json};

use crate::support::scene::{Scene, get, until};

const MODEL: &str = "openrouter_chat";

/// The model's circuit in an answer.
fn circuit_in(answer: &Value) -> Value {
    let rows = answer["circuits"].as_array().expect("there are circuits");
    rows.iter().find(|row| row["provider"] == MODEL).expect("the model has one").clone()
}

fn steer(scene: &Scene, verb: &str) -> Value {
    let answer = scene.operates("POST", &format!("/ops/circuits/{MODEL}/{verb}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    circuit_in(&answer.json())
}

#[test]
fn a_circuit_that_is_forced_open_refuses_until_it_is_released() {
    let scene = Scene::with(&[]);
    assert_eq!(scene.ask("a", "hello").status, 200);
    assert_eq!(steer(&scene, "force-open")["state"], "forced_open");
    let refused = scene.ask("b", "hello");
    assert_eq!((refused.status, refused.code()), (503, Some("upstream_unavailable")));
    let waits = refused.header("retry-after").and_then(|wait| wait.parse::<u64>().ok());
    assert!(waits.is_some_and(|wait| wait >= 1), "{refused:?}");
    assert_eq!(steer(&scene, "release")["state"], "closed");
    assert_eq!(scene.ask("c", "hello").status, 200);
}

#[test]
fn a_reset_closes_a_circuit_that_failures_opened() {
    let scene = Scene::with(&[("CIRCUIT_OPENROUTER_THRESHOLD", "3")]);
    scene.stand_ins.fail(MODEL, "500", 3);
    assert_eq!(scene.ask("a", "hello").status, 502);
    let open = circuit_in(&scene.sees("/ops/circuits"));
    assert_eq!((&open["state"], &open["failures"]), (&json!("open"), &json!(3)));
    assert!(open["openedAt"].is_string() && open["retryAfterMs"].is_u64(), "{open}");
    let closed = json!({"provider": MODEL, "state": "closed", "failures": 0, "openedAt": null,
        "retryAfterMs": null});
    assert_eq!(steer(&scene, "reset"), closed);
    assert_eq!(circuit_in(&scene.sees("/ops/snapshot")), closed);
    assert_eq!(scene.ask("b", "hello").status, 200);
}

#[test]
fn what_no_circuit_has_is_not_found() {
    let scene = Scene::with(&[]);
    for path in ["/ops/circuits/nobody/reset", "/ops/circuits/openrouter_chat/explode"] {
        let answer = scene.operates("POST", path);
        assert_eq!((answer.status, answer.code()), (404, Some("not_found")), "{path}");
    }
    let answer = scene.operates("GET", "/ops/circuits/openrouter_chat/reset");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
}

#[test]
fn a_lease_is_seen_with_its_holder_and_its_age_while_it_is_held() {
    let scene = Scene::with(&[]);
    let at_rest = scene.sees("/ops/bulkheads")["bulkheads"][MODEL].clone();
    let empty = json!({"inFlight": 0, "max": 24, "waiting": 0, "overruns": 0, "leases": []});
    assert_eq!(at_rest, empty);
    scene.stand_ins.fail(MODEL, "stall_mid", 1);
    let held = scene.raw("a", "hello", &[]);
    let mut lease = Value::Null;
    until("the call holds a slot", || {
        let bulkhead = scene.sees("/ops/bulkheads")["bulkheads"][MODEL].clone();
        lease = bulkhead["leases"][0].clone();
        bulkhead["inFlight"] == 1
    });
    assert_eq!(lease["holder"], "a", "{lease}");
    let (age, left) = (lease["ageMs"].as_u64().unwrap(), lease["endsInMs"].as_u64().unwrap());
    assert!(age + left == 180_000 && left > 0, "{lease}");
    drop(held);
    until("it is given back", || scene.sees("/ops/bulkheads")["bulkheads"][MODEL] == empty);
}

#[test]
fn what_decides_a_key_is_told_and_not_counted() {
    let scene = Scene::with(&[("RATE_LIMIT_WHATSAPP_MAX", "2")]);
    let path = "/ops/explain?bucket=whatsapp_webhook&key=ip:127.0.0.1";
    let before = scene.sees(path);
    assert_eq!(before["used"], scene.sees(path)["used"]);
    assert_eq!((&before["used"], &before["resetsAt"]), (&json!(0), &Value::Null));
    let delivers = || get(scene.caller.post_json("/api/whatsapp/webhook", "{}"));
    assert_eq!((delivers().status, delivers().status, delivers().status), (403, 403, 429));
    let after = scene.sees(path);
    let expected = json!({
        "generatedAt": after["generatedAt"], "bucket": "whatsapp_webhook", "key": "ip:127.0.0.1",
        "actor": before["actor"], "rule": "window", "admitted": false, "max": 2,
        "windowMs": 60_000, "used": 2, "left": 0, "resetsAt": after["resetsAt"],
    });
    assert_eq!(after, expected);
    assert!(after["resetsAt"].is_string(), "{after}");
    for query in ["bucket=nobody&key=ip:127.0.0.1", "bucket=chat_stream&key=ada", "key=user:ada"] {
        let answer = scene.operates("GET", &format!("/ops/explain?{query}"));
        assert_eq!((answer.status, answer.code()), (400, Some("invalid_request")), "{query}");
    }
    let wrong = scene.operates("GET", "/ops/explain?bucket=chat_stream&key=ip:nowhere");
    let sentence = "The parameter key must be ip:ADDRESS, session:ID, user:SUBJECT or \
                    sender:SOURCE:SENDER.";
    assert_eq!(wrong.body, sentence);
}

#[test]
fn every_verb_of_an_operator_is_in_the_log_with_who_and_what_and_a_look_is_not() {
    let scene = Scene::with(&[]);
    let path = format!("/ops/circuits/{MODEL}/force-open");
    assert_eq!(scene.operates("POST", &path).status, 200);
    assert_eq!(get(scene.caller.request("POST", &path).bearer_auth("wrong")).status, 401);
    assert_eq!(scene.operates("DELETE", "/ops/cache/nobody").status, 404);
    assert_eq!(scene.operates("GET", "/ops/circuits").status, 200);
    let Scene { server, .. } = scene;
    let (_, log) = server.end_by("TERM");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let verbs = lines.filter(|line| line["fields"]["message"] == "an operator's verb");
    let told: Vec<_> = verbs
        .map(|line| {
            let (span, fields) = (&line["span"], &line["fields"]);
            assert!(line["timestamp"].is_string() && span["id"].is_string(), "{line}");
            json!([span["method"], span["path"], fields["by"], fields["status"]])
        })
        .collect();
    let expected = [
        json!(["POST", path, "127.0.0.1", 200]),
        json!(["POST", path, "127.0.0.1", 401]),
        json!(["DELETE", "/ops/cache/nobody", "127.0.0.1", 404]),
    ];
    assert_eq!(told, expected);
}
