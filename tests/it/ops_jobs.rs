//! `/ops/jobs` and `/ops/idempotency/{scope}`: what tools wait for, and what came again.

use serde_json::{Value, json};

use crate::support::client::Caller;
use crate::support::scene::{Scene, get, until};
use crate::support::webhook::{OPS_TOKEN, delivery_of, receiver};

#[test]
fn a_tool_call_is_seen_with_its_worker_while_it_runs_and_others_while_they_wait() {
    let scene = Scene::with(&[("TOOL_JOB_RUNMAX_WEB", "1")]);
    assert_eq!(scene.sees("/ops/jobs")["items"], json!([]));
    scene.stand_ins.fail("serper_search", "stall_headers", 2);
    let _cats = scene.raw("a", "search cats", &[]);
    until("one runs", || scene.sees("/ops/jobs?status=running")["items"][0].is_object());
    let _dogs = scene.raw("b", "search dogs", &[]);
    let mut rows = Vec::new();
    until("one waits", || {
        rows = scene.sees("/ops/jobs?tool=search_web")["items"].as_array().unwrap().clone();
        rows.len() == 2
    });
    let (runs, waits) = (&rows[0], &rows[1]);
    let expected = json!({
        "id": runs["id"], "tool": "search_web", "key": runs["key"], "status": "running",
        "attempts": 1, "queuedAt": runs["queuedAt"], "runningSince": runs["runningSince"],
        "worker": runs["worker"], "dueAt": null,
    });
    assert_eq!(*runs, expected);
    assert!(runs["worker"].as_str().is_some_and(|name| name.starts_with("tool_worker-")), "{runs}");
    assert_eq!(
        (&waits["status"], &waits["worker"], &waits["attempts"]),
        (&json!("queued"), &Value::Null, &json!(0)),
    );
    assert!(waits["dueAt"].is_string() && waits["runningSince"].is_null(), "{waits}");
    let of = |query: &str| scene.sees(&format!("/ops/jobs?{query}"))["items"].clone();
    assert_eq!(of("status=queued"), json!([waits]));
    assert_eq!(of("limit=1"), json!([runs]));
    assert_eq!(of("tool=search_products"), json!([]));
    for query in ["tool=nobody", "status=done", "limit=0"] {
        let answer = scene.operates("GET", &format!("/ops/jobs?{query}"));
        assert_eq!((answer.status, answer.code()), (400, Some("invalid_request")), "{query}");
    }
}

#[test]
fn claims_of_a_scope_are_told_newest_first_with_how_often_each_came_again() {
    const PATH: &str = "/ops/idempotency/whatsapp_message";
    let server = receiver().start();
    let caller = Caller::of(&server);
    let sees = |path: &str| get(caller.request("GET", path).bearer_auth(OPS_TOKEN));
    let delivers = |id: &str| {
        assert_eq!(get(caller.delivers(delivery_of([id.to_owned()]))).status, 200);
    };
    let unknown = sees(PATH);
    assert_eq!((unknown.status, unknown.code()), (404, Some("not_found")));
    delivers("wamid.first");
    delivers("wamid.second");
    delivers("wamid.first");
    let seen = sees(PATH).json();
    let until = |place: usize| seen["claims"][place]["until"].clone();
    let expected = json!({
        "generatedAt": seen["generatedAt"], "scope": "whatsapp_message", "keys": 2,
        "duplicates": 1, "claims": [
            {"key": "wamid.second", "hits": 0, "until": until(0)},
            {"key": "wamid.first", "hits": 1, "until": until(1)},
        ],
    });
    assert_eq!(seen, expected);
    assert!(until(0).is_string() && until(1).is_string(), "{seen}");
    let one = sees(&format!("{PATH}?limit=1")).json();
    assert_eq!(one["claims"], json!([seen["claims"][0]]));
}
