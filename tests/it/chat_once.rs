//! `Idempotency-Key` on `POST /api/chat`: one call of the provider, however often it is asked.

use futures_util::future::join_all;
use sendcat::contract::code::ErrorCode;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::client::{Caller, answer, run};
use crate::support::expected::of;
use crate::support::scene::{Scene, get, session, until};

const MODEL: &str = "openrouter_chat";

fn busy() -> Scene {
    Scene::with(&[
        ("RATE_LIMIT_CHAT_STREAM_MAX", "1000"),
        ("RATE_LIMIT_ANON_IP_MAX", "1000"),
        ("CIRCUIT_OPENROUTER_THRESHOLD", "1000"),
    ])
}

fn body(thread: &str, text: &str) -> String {
    let message = json!({"id": "m1", "role": "user", "parts": [{"type": "text", "text": text}]});
    json!({"id": thread, "message": message}).to_string()
}

fn keyed(scene: &Scene, key: &str, body: &str) -> reqwest::RequestBuilder {
    let asked = scene.caller.post_json("/api/chat", body).bearer_auth(&scene.token);
    asked.header("idempotency-key", key)
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("x-idempotent-replay") == Some("1")
}

#[test]
fn fifty_requests_with_one_key_reach_the_provider_once_and_hear_the_same() {
    let scene = busy();
    let asked = body("t", "slow 20 20");
    let asking = (0..50).map(|_| answer(keyed(&scene, "k", &asked)));
    let answers = run(join_all(asking));
    let first = answers.iter().filter(|it| !is_replay(it)).count();
    assert_eq!(first, 1, "one is first, the others are told that they are not");
    for each in &answers {
        assert_eq!((each.status, &each.body), (200, &answers[0].body));
    }
    answers[0].parts();
    assert_eq!(scene.model_calls(), 1);
    assert_eq!(scene.messages("t").len(), 2);
    // Long after, and after a restart, it is the same stream still.
    let mut scene = scene;
    let again = get(keyed(&scene, "k", &asked));
    assert_eq!((again.status, is_replay(&again), &again.body), (200, true, &answers[0].body));
    scene.server.kill_and_restart();
    scene.caller = Caller::of(&scene.server);
    let later = get(keyed(&scene, "k", &asked));
    assert_eq!((is_replay(&later), &later.body), (true, &answers[0].body));
    assert_eq!((scene.model_calls(), scene.messages("t").len()), (1, 2));
    scene.settles();
}

#[test]
fn a_key_is_good_for_one_body_of_one_caller() {
    let scene = busy();
    assert_eq!(get(keyed(&scene, "k", &body("t", "hello"))).status, 200);
    let other = get(keyed(&scene, "k", &body("t", "hello there")));
    let mismatch = of(ErrorCode::IdempotencyMismatch, &[]);
    assert_eq!(other, mismatch);
    // Also while the first one runs.
    let mut running = scene.raw("u", "slow 40 40", &["idempotency-key: l"]);
    running.until("text-delta");
    assert_eq!(get(keyed(&scene, "l", &body("u", "hello"))), mismatch);
    // Another one's key is another key.
    let stranger = session(&scene.caller);
    let asked = scene.caller.post_json("/api/chat", body("v", "hello")).bearer_auth(&stranger);
    let asked = get(asked.header("idempotency-key", "k"));
    assert_eq!((asked.status, is_replay(&asked)), (200, false));
    assert_eq!(scene.model_calls(), 3);
}

#[test]
fn a_key_that_no_header_should_hold_is_refused() {
    let scene = busy();
    let long = "k".repeat(256);
    for key in ["", "two words", long.as_str()] {
        let refused = get(keyed(&scene, key, &body("t", "hello")));
        assert_eq!(refused.code(), Some("invalid_request"), "{key:?}");
    }
    let twice = keyed(&scene, "k", &body("t", "hello")).header("idempotency-key", "l");
    assert_eq!(get(twice).code(), Some("invalid_request"));
    assert_eq!(scene.model_calls(), 0);
    assert_eq!(get(keyed(&scene, &"k".repeat(255), &body("t", "hello"))).status, 200);
}

#[test]
fn a_failure_before_content_is_told_to_all_and_leaves_the_key_free() {
    let scene = busy();
    scene.stand_ins.fail(MODEL, "422", 1);
    // It is long enough under way for all to come.
    let asked = body("t", "hello");
    let answers = run(join_all((0..10).map(|_| answer(keyed(&scene, "k", &asked)))));
    let (refused, served): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|it| it.status == 502);
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|it| it.code() == Some("upstream_rejected")));
    // Whoever came after the failure asked anew, and once for all of those.
    assert_eq!(scene.model_calls(), 1 + u64::from(!served.is_empty()));
    let again = get(keyed(&scene, "k", &asked));
    assert_eq!((again.status, is_replay(&again)), (200, !served.is_empty()));
}

#[test]
fn the_first_one_may_go_while_others_wait_and_the_call_ends_with_the_last() {
    let scene = busy();
    scene.stand_ins.fail(MODEL, "stall_content", 1);
    let key = ["idempotency-key: k"];
    let first = scene.raw("t", "hello", &key);
    until("the call is under way", || scene.stand_ins.count(MODEL, "inFlight") == 1);
    let before = admitted(&scene);
    let second = scene.raw("t", "hello", &key);
    // Admitting is the last thing before it waits.
    until("the second one is admitted", || admitted(&scene) >= before + 2);
    drop(first);
    // Whatever is noticed of that is noticed before a whole answer to somebody else.
    assert_eq!(scene.ask("another", "chunks 1").status, 200);
    assert_eq!(scene.stand_ins.count(MODEL, "clientGone"), 0);
    drop(second);
    until("the provider is told", || scene.stand_ins.count(MODEL, "clientGone") == 1);
    scene.settles();
    assert_eq!(scene.model_calls(), 2);
}

/// What the limiter has decided so far: a chat of a session is decided twice.
fn admitted(scene: &Scene) -> u64 {
    let actors = get(scene.caller.get("/ops/actors").bearer_auth("ops")).json();
    let shards = actors["actors"].as_array().unwrap().iter();
    let shards = shards.filter(|it| it["name"].as_str().unwrap().starts_with("rate_limiter"));
    shards.map(|it| it["handled"].as_u64().unwrap()).sum()
}

#[test]
fn a_key_whose_answer_was_cut_by_a_restart_has_that_answer() {
    let mut scene = busy();
    let lines = ["idempotency-key: k", "x-sendcat-on-disconnect: finish"];
    let mut reading = scene.raw("t", "slow 400 20", &lines);
    reading.until("\"delta\":\"40 \"");
    let sent = {
        let message = json!({"role": "user", "parts": [{"type": "text", "text": "slow 400 20"}]});
        json!({"id": "t", "message": message}).to_string()
    };
    scene.server.kill_and_restart();
    scene.caller = Caller::of(&scene.server);
    let calls = scene.model_calls();
    let replayed = get(keyed(&scene, "k", &sent));
    assert!(is_replay(&replayed), "{replayed:?}");
    assert_eq!(replayed.parts().last(), Some(&json!({"type": "abort"})));
    until("it is stored", || scene.messages("t").len() == 2);
    let again = get(keyed(&scene, "k", &sent));
    assert_eq!((is_replay(&again), &again.body), (true, &replayed.body));
    assert_eq!(scene.model_calls(), calls);
    let other = get(keyed(&scene, "k", &body("t", "hello")));
    assert_eq!(other.code(), Some("idempotency_mismatch"));
    let types: Vec<Value> = scene.messages("t").iter().map(|it| it["status"].clone()).collect();
    assert_eq!(types, ["complete", "cut"]);
}
