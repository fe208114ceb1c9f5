//! Calls of the model that are made again, or of another model: before the first content only, as
//! far as the budget goes, and never what a breaker or a bulkhead refused.

use std::time::Duration;

use serde_json::json;

use crate::support::expected::refusal;
use crate::support::raw_model::{self as raw, COMMENT, RawModel, Script};
use crate::support::scene::{Scene, timed, until};

const MODEL: &str = "openrouter_chat";

/// A server whose model is the bare stand-in, with these fallback models.
fn scene(model: &RawModel, fallbacks: &str, more: &[(&str, &str)]) -> Scene {
    let knobs = [
        ("OPENROUTER_BASE_URL", model.url()),
        ("OPENROUTER_MODEL", "first"),
        ("OPENROUTER_FALLBACK_MODELS", fallbacks),
        ("CIRCUIT_OPENROUTER_THRESHOLD", "1000"),
        ("RATE_LIMIT_CHAT_STREAM_MAX", "1000"),
        ("RATE_LIMIT_ANON_IP_MAX", "1000"),
    ];
    Scene::with(&[&knobs, more].concat())
}

/// The models that were called since so many calls.
fn models(model: &RawModel, since: usize) -> Vec<String> {
    let heard = model.heard();
    let named = heard[since..].iter().map(|it| it.body["model"].as_str().unwrap().to_owned());
    named.collect()
}

fn failing() -> Script {
    raw::status(500, "", "<h1>no</h1>")
}

#[test]
fn what_the_model_does_not_answer_the_fallback_models_are_asked_in_turn() {
    let model = RawModel::start();
    let scene = scene(&model, "second,third", &[]);
    let table: [(&str, Vec<Script>, &[&str]); 6] = [
        ("fails once", vec![failing()], &["first", "first"]),
        ("fails", vec![failing(); 3], &["first", "first", "first", "second"]),
        (
            "is unknown, and so is the next",
            vec![raw::status(404, "", "{}"); 2],
            &["first", "second", "third"],
        ),
        ("is refused", vec![raw::status(403, "", "{}")], &["first", "second"]),
        (
            "says within its 200 that it will not",
            vec![raw::stream(
                "data: {\"error\":{\"code\":400,\"message\":\"no\"},\"choices\":[]}\n\n",
            )],
            &["first", "second"],
        ),
        ("says nothing", vec![raw::stream(COMMENT)], &["first", "first"]),
    ];
    for (what, scripts, expected) in table {
        // Two retries are to come, and each is paid for by five calls.
        scene.have_called(20);
        let since = model.heard().len();
        model.plan(scripts);
        let answer = scene.ask("t", "hello");
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{what}: {answer:?}");
        assert_eq!(models(&model, since), expected, "{what}");
    }
}

#[test]
fn what_no_other_model_can_mend_is_asked_of_none() {
    let model = RawModel::start();
    let clocks = [("CHAT_HEADERS_TIMEOUT_MS", "200"), ("CHAT_FIRST_CONTENT_TIMEOUT_MS", "200")];
    let scene = scene(&model, "second", &clocks);
    let table = [
        (raw::status(401, "", "{}"), "misconfigured"),
        (raw::status(402, "", "{}"), "misconfigured"),
        (vec![raw::Step::Stall], "upstream_headers_timeout"),
        (raw::stream_then(COMMENT, Some(raw::Step::Stall)), "upstream_first_content_timeout"),
    ];
    for (script, code) in table {
        let since = model.heard().len();
        model.plan([script]);
        assert_eq!(scene.ask("t", "hello").code(), Some(code));
        assert_eq!(models(&model, since), ["first"], "{code}");
    }
}

#[test]
fn after_the_first_content_no_model_is_asked_and_no_text_repeated() {
    let model = RawModel::start();
    let scene = scene(&model, "second", &[]);
    model.plan([raw::stream(&raw::text("once"))]);
    let answer = scene.ask("t", "hello");
    let parts = answer.parts();
    let error = parts.iter().find(|part| part["type"] == "data-error").unwrap();
    assert_eq!(error["data"], json!({"code": "upstream_cut"}));
    assert_eq!((answer.text().as_str(), models(&model, 0)), ("once", vec!["first".to_owned()]));
}

#[test]
fn the_model_that_has_begun_an_answer_also_ends_it() {
    let model = RawModel::start();
    let scene = scene(&model, "second", &[]);
    let call = json!({"tool_calls": [{"index": 0, "id": "a",
        "function": {"name": "search_web", "arguments": "{\"query\":\"x\"}"}}]});
    let calls = raw::event(&call, None) + &raw::event(&json!({}), Some("tool_calls"));
    model.plan([raw::status(404, "", "{}"), raw::stream(&calls)]);
    assert_eq!(scene.ask("t", "hello").text(), "hello");
    assert_eq!(models(&model, 0), ["first", "second", "second"]);
}

#[test]
fn a_provider_that_fails_for_all_is_called_a_fifth_more_and_no_oftener() {
    let model = RawModel::start();
    let scene = scene(&model, "", &[]);
    scene.have_called(40);
    model.plan(vec![failing(); 1000]);
    for _ in 0..12 {
        let sentence = "The provider failed.";
        assert_eq!(scene.ask("t", "hello"), refusal(502, "upstream_error", sentence, &[]));
    }
    let retries = model.heard().len() - 40 - 12;
    // All within one window of ten seconds; a window that ended gives the floor of three at least.
    assert!((3..=10).contains(&retries), "{retries} retries of 52 calls");
}

#[test]
fn the_wait_that_a_provider_asks_for_is_waited_out() {
    let model = RawModel::start();
    let scene = scene(&model, "", &[]);
    let busy = raw::status(429, "retry-after: 1\r\n", "{}");
    model.plan([busy]);
    let (answer, took) = timed(|| scene.ask("t", "hello"));
    assert_eq!(answer.text(), "hello");
    assert!(took >= Duration::from_secs(1), "{took:?}");
    // One that is longer than an answer may take is told at once.
    let long = raw::status(503, "retry-after: 400\r\n", "");
    model.plan([long]);
    let since = model.heard().len();
    let answer = scene.ask("t", "hello");
    let wait = (answer.status, answer.header("retry-after"));
    assert_eq!((wait, answer.code()), ((502, Some("400")), Some("upstream_error")));
    assert_eq!(models(&model, since).len(), 1);
}

#[test]
fn what_the_breaker_or_the_bulkhead_refuses_is_not_tried_again() {
    let model = RawModel::start();
    let knobs = [
        ("CIRCUIT_OPENROUTER_THRESHOLD", "1"),
        ("CIRCUIT_OPENROUTER_COOLDOWN_MS", "60000"),
        ("BULKHEAD_OPENROUTER_MAX_CONCURRENT", "1"),
    ];
    let scene = scene(&model, "second", &knobs);
    model.plan([raw::stream_then(&raw::text("slow"), Some(raw::Step::Stall))]);
    let mut running = scene.raw("t", "hello", &[]);
    running.until("text-delta");
    assert_eq!(scene.ask("u", "hello").code(), Some("overloaded"));
    drop(running);
    until("the slot is free", || {
        scene.snapshot()["bulkheads"][MODEL]["inFlight"].as_u64() == Some(0)
    });
    assert_eq!(model.heard().len(), 1);
    // The first failure opens the circuit, so the retry that follows is refused, once.
    model.plan(vec![failing(); 10]);
    assert_eq!(scene.ask("t", "hello").code(), Some("upstream_unavailable"));
    assert_eq!(model.heard().len(), 2);
    let circuits = scene.snapshot()["circuits"].as_array().unwrap().clone();
    let circuit = circuits.iter().find(|row| row["provider"] == MODEL).unwrap();
    assert_eq!((&circuit["state"], &circuit["failures"]), (&json!("open"), &json!(1)));
}

#[test]
fn a_retry_needs_no_second_slot() {
    let model = RawModel::start();
    let scene = scene(&model, "second", &[("BULKHEAD_OPENROUTER_MAX_CONCURRENT", "1")]);
    model.plan(vec![failing(); 3]);
    assert_eq!(scene.ask("t", "hello").text(), "hello");
    assert_eq!(model.heard().len(), 4);
}
