//! `POST /api/chat` that is answered: its headers, its parts, its tools, and what becomes of it
//! when the client goes away.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::model::model_of;
use crate::support::raw::Raw;
use crate::support::scene::{Scene, until};

const MODEL: &str = "openrouter_chat";
const SEARCH: &str = "serper_search";

const LINE: &str = "a long line of text ";

fn kinds(parts: &[Value]) -> Vec<&str> {
    parts.iter().map(|part| part["type"].as_str().expect("a part has a type")).collect()
}

#[test]
fn an_answer_is_a_stream_of_parts_with_the_headers_that_keep_it_one() {
    let scene = Scene::with(&[]);
    let answer = scene.ask("t", "chunks 3");
    let limit = answer.header("ratelimit").expect("a 200 tells what is left").to_owned();
    let left = limit.strip_prefix("\"chat_stream\";r=29;t=").and_then(|it| it.parse::<u64>().ok());
    assert!(left.is_some_and(|left| (1..=60).contains(&left)), "{limit}");
    let headers = [
        ("cache-control", "no-cache, no-transform"),
        ("content-type", "text/event-stream"),
        ("ratelimit", &limit),
        ("ratelimit-policy", "\"chat_stream\";q=30;w=60"),
        ("transfer-encoding", "chunked"),
        ("vary", "Origin"),
        ("x-accel-buffering", "no"),
        ("x-vercel-ai-ui-message-stream", "v1"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!((answer.status, &answer.headers), (200, &headers.into()));
    let parts = answer.parts();
    let stored = scene.messages("t");
    let (message, text) = (&stored[1]["id"], &parts[2]["id"]);
    let delta = |delta: &str| json!({"type": "text-delta", "id": text, "delta": delta});
    let usage = &parts[8]["messageMetadata"];
    assert!(usage["usage"].is_object(), "{usage}");
    let expected = [
        json!({"type": "start", "messageId": message}),
        json!({"type": "start-step"}),
        json!({"type": "text-start", "id": text}),
        delta("1 "),
        delta("2 "),
        delta("3 "),
        json!({"type": "text-end", "id": text}),
        json!({"type": "finish-step"}),
        json!({"type": "finish", "finishReason": "stop", "messageMetadata": usage}),
    ];
    assert_eq!(parts, expected);
    assert!(answer.body.ends_with("\n\ndata: [DONE]\n\n"), "{}", answer.body);
    assert_eq!(scene.model_calls(), 1);
    scene.settles();
}

#[test]
fn reasoning_comes_before_the_text_and_is_stored_with_it() {
    let scene = Scene::with(&[]);
    let answer = scene.ask("t", "reason why");
    let parts = answer.parts();
    let mut kinds = kinds(&parts);
    kinds.dedup();
    let expected = [
        "start",
        "start-step",
        "reasoning-start",
        "reasoning-delta",
        "reasoning-end",
        "text-start",
        "text-delta",
        "text-end",
        "finish-step",
        "finish",
    ];
    assert_eq!(kinds, expected);
    let stored = &scene.messages("t")[1]["parts"];
    let types: Vec<_> = stored.as_array().unwrap().iter().map(|part| &part["type"]).collect();
    assert_eq!(types, ["step-start", "reasoning", "text"]);
}

#[test]
fn a_search_is_called_its_result_streamed_and_answered_from() {
    let scene = Scene::with(&[]);
    let answer = scene.ask("t", "search rust actors");
    let parts = answer.parts();
    let mut kinds = kinds(&parts);
    kinds.dedup();
    let expected = [
        "start",
        "start-step",
        "tool-input-start",
        "tool-input-delta",
        "tool-input-available",
        "tool-output-available",
        "finish-step",
        "start-step",
        "text-start",
        "text-delta",
        "text-end",
        "finish-step",
        "finish",
    ];
    assert_eq!(kinds, expected);
    let input = parts.iter().find(|part| part["type"] == "tool-input-available").unwrap();
    assert_eq!(input["input"], json!({"query": "rust actors"}));
    assert_eq!(input["toolName"], "search_web");
    let outputs: Vec<_> =
        parts.iter().filter(|part| part["type"] == "tool-output-available").collect();
    let [first, last] = outputs.as_slice() else { panic!("not two outputs: {outputs:?}") };
    assert_eq!((&first["preliminary"], &last["preliminary"]), (&json!(true), &Value::Null));
    assert_eq!(first["output"], last["output"]);
    assert!(answer.text().contains("rust actors: an introduction"), "{}", answer.text());
    let stored = &scene.messages("t")[1]["parts"];
    let tool = &stored[1];
    assert_eq!((&tool["type"], &tool["output"]), (&json!("tool-search_web"), &last["output"]));
    assert_eq!((scene.model_calls(), scene.stand_ins.count(SEARCH, "requests")), (2, 1));
    scene.settles();
}

/// Asks for a search that fails; the words that the client and the model were given.
#[track_caller]
fn failed_search(scene: &Scene, thread: &str) -> String {
    let answer = scene.ask(thread, "search rust");
    assert_eq!(answer.status, 200, "{answer:?}");
    let parts = answer.parts();
    let errors: Vec<_> = parts.iter().filter(|part| part["type"] == "tool-output-error").collect();
    let [error] = errors.as_slice() else { panic!("not one failure: {parts:?}") };
    let last = parts.last().expect("a stream has parts");
    assert_eq!((&last["type"], &last["finishReason"]), (&json!("finish"), &json!("stop")));
    assert!(!answer.text().is_empty(), "the model goes on: {parts:?}");
    let stored = scene.messages(thread);
    assert_eq!(stored[1]["status"], "complete");
    assert_eq!(stored[1]["parts"][1]["state"], "output-error");
    error["errorText"].as_str().expect("a failure has words").to_owned()
}

#[test]
fn a_tool_that_fails_is_told_to_the_model_and_the_answer_goes_on() {
    let scene = Scene::with(&[
        ("TOOL_JOB_RETRY_BASE_MS", "1"),
        ("CIRCUIT_SERPER_THRESHOLD", "3"),
        ("CIRCUIT_SERPER_COOLDOWN_MS", "60000"),
    ]);
    scene.stand_ins.fail(SEARCH, "500", 3);
    let words = failed_search(&scene, "failing");
    assert!(words.starts_with("The search "), "{words}");
    assert_eq!(scene.stand_ins.count(SEARCH, "requests"), 3);
    let words = failed_search(&scene, "open");
    assert!(words.starts_with("The search cannot be reached right now."), "{words}");
    assert_eq!(scene.stand_ins.count(SEARCH, "requests"), 3);
    scene.settles();
}

#[test]
fn a_tool_that_is_not_set_up_is_told_to_the_model_and_the_answer_goes_on() {
    let scene = Scene::with(&[("SERPER_API_KEY", "")]);
    let words = failed_search(&scene, "t");
    assert!(words.starts_with("The search is not set up on this server."), "{words}");
    assert_eq!(scene.stand_ins.count(SEARCH, "requests"), 0);
}

#[test]
fn a_tool_that_is_late_is_not_waited_for() {
    let scene = Scene::with(&[("TOOL_JOB_WAIT_MS", "300")]);
    scene.stand_ins.fail(SEARCH, "stall_headers", 1);
    let words = failed_search(&scene, "t");
    assert!(words.contains("did not answer within 1 s"), "{words}");
    until("the stalled call is given up", || scene.stand_ins.count(SEARCH, "inFlight") == 0);
}

#[test]
fn a_full_queue_of_tools_is_told_to_the_model_and_the_answer_goes_on() {
    let scene = Scene::with(&[("TOOL_JOB_QMAX_WEB", "1"), ("TOOL_JOB_RUNMAX_WEB", "1")]);
    scene.stand_ins.fail(SEARCH, "stall_headers", 2);
    let queue = |scene: &Scene, what: &str| {
        scene.snapshot()["toolJobs"]["pressureByTool"]["search_web"][what].as_u64()
    };
    let _running = scene.raw("running", "search one", &[]);
    until("one search runs", || queue(&scene, "running") == Some(1));
    let _waiting = scene.raw("waiting", "search two", &[]);
    until("one search waits", || queue(&scene, "queued") == Some(1));
    let words = failed_search(&scene, "t");
    assert!(words.starts_with("[queue_saturated:"), "{words}");
}

#[test]
fn whoever_goes_away_takes_the_call_and_the_slot_along() {
    let scene = Scene::with(&[]);
    let gone = |at_stand_in: &str, before: u64| {
        let told = until("the provider is told", || {
            scene.stand_ins.count(at_stand_in, "clientGone") == before + 1
        });
        let took = told + scene.settles();
        // 250 ms are promised; a debug build on a busy machine gets more.
        assert!(took < Duration::from_secs(3), "{took:?}");
    };
    for fault in ["stall_headers", "stall_content"] {
        let before = scene.stand_ins.count(MODEL, "clientGone");
        scene.stand_ins.fail(MODEL, fault, 1);
        let waiting = scene.raw(fault, "hello", &[]);
        until("the call is under way", || scene.stand_ins.count(MODEL, "inFlight") == 1);
        drop(waiting);
        gone(MODEL, before);
        assert_eq!(scene.messages(fault).len(), 1, "{fault}");
    }
    let before = scene.stand_ins.count(MODEL, "clientGone");
    let mut reading = scene.raw("middle", "slow 100 50", &[]);
    reading.until("text-delta");
    drop(reading);
    gone(MODEL, before);
    until("what was said is stored as cut", || {
        scene.messages("middle").get(1).is_some_and(|answer| answer["status"] == "cut")
    });
    scene.stand_ins.fail(SEARCH, "stall_headers", 1);
    let mut searching = scene.raw("tool", "search rust", &[]);
    searching.until("tool-input-available");
    until("the search is under way", || scene.stand_ins.count(SEARCH, "inFlight") == 1);
    drop(searching);
    gone(SEARCH, 0);
    until("what was done is stored as cut", || {
        scene.messages("tool").get(1).is_some_and(|answer| answer["status"] == "cut")
    });
}

#[test]
fn an_answer_that_is_to_finish_is_whole_although_nobody_reads_it() {
    let scene = Scene::with(&[]);
    let finish = ["x-sendcat-on-disconnect: finish"];
    let mut reading = scene.raw("t", "slow 10 40", &finish);
    reading.until("text-delta");
    drop(reading);
    until("the answer is stored", || scene.messages("t").len() == 2);
    let answer = &scene.messages("t")[1];
    assert_eq!(answer["status"], "complete");
    assert_eq!(answer["parts"][1]["text"], "1 2 3 4 5 6 7 8 9 10 ");
    assert_eq!(scene.stand_ins.count(MODEL, "clientGone"), 0);
    scene.settles();
}

#[test]
fn two_answers_of_one_thread_run_beside_each_other() {
    let scene = Scene::with(&[]);
    let mut first = scene.raw("t", "slow 20 50", &[]);
    first.until("text-delta");
    assert_eq!(scene.ask("t", "chunks 1").status, 200);
    first.until("[DONE]");
    assert!(first.text().contains("\"finishReason\":\"stop\""), "{}", first.text());
    assert_eq!(scene.messages("t").len(), 4);
    scene.settles();
}

/// A model that answers every call with these deltas, a chunk each.
fn model_that_sends(deltas: &[Value]) -> String {
    let chunk = |delta: &Value| json!({"choices": [{"index": 0, "delta": delta}]});
    let stop = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    model_of(vec![deltas.iter().map(chunk).chain([stop]).collect()])
}

#[test]
fn a_limit_that_is_told_within_a_200_before_content_is_waited_for_as_a_429_is() {
    let limited = json!({"error": {"code": 429, "message": "slow down"}, "choices": []});
    let hello = json!({"choices": [{"index": 0, "delta": {"content": "hello"}}]});
    let stop = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let url = model_of(vec![vec![limited.clone()], vec![limited], vec![hello, stop]]);
    let scene = Scene::with(&[("OPENROUTER_BASE_URL", &url)]);
    let answer = scene.ask("t", "hello");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.text(), "hello");
}

#[test]
fn a_part_of_200_kb_is_streamed_and_stored_whole() {
    let text = LINE.repeat(10_000);
    let url = model_that_sends(&[json!({"content": text}), json!({"content": " and a short one"})]);
    let scene = Scene::with(&[("OPENROUTER_BASE_URL", &url)]);
    let answer = scene.ask("t", "hello");
    let whole = format!("{text} and a short one");
    assert!(answer.text() == whole, "{} bytes came", answer.text().len());
    assert!(scene.messages("t")[1]["parts"][1]["text"] == whole);
}

#[test]
fn an_answer_that_grows_too_long_is_ended_in_order() {
    let url = model_that_sends(&vec![json!({"content": LINE.repeat(10_000)}); 25]);
    let scene = Scene::with(&[("OPENROUTER_BASE_URL", &url)]);
    let answer = scene.ask("t", "hello");
    let parts = answer.parts();
    let last: Vec<_> = kinds(&parts).into_iter().rev().take(5).collect();
    assert_eq!(last, ["finish", "error", "data-error", "finish-step", "text-end"]);
    let code = &parts[parts.len() - 3]["data"];
    assert_eq!(code, &json!({"code": "upstream_too_long"}));
    assert!(answer.body.len() <= 4 * 1024 * 1024 + 4096, "{}", answer.body.len());
    assert_eq!(scene.messages("t")[1]["status"], "cut");
    scene.settles();
}

#[test]
fn thoughts_that_outgrow_the_log_in_the_chunk_of_the_first_word_are_ended_in_order_too() {
    // A letter that takes six in the stream: the log is full long before the answer is too long.
    let thought = "\u{1}".repeat(150_000);
    let mut deltas = vec![json!({"reasoning": thought}); 4];
    deltas.push(json!({"reasoning": thought, "content": "hello"}));
    let url = model_that_sends(&deltas);
    let scene = Scene::with(&[("OPENROUTER_BASE_URL", &url)]);
    let parts = scene.ask("t", "hello").parts();
    let error = parts.iter().find(|part| part["type"] == "data-error").expect("it is told");
    assert_eq!(error["data"], json!({"code": "upstream_too_long"}));
    scene.settles();
}

#[test]
fn a_drained_server_ends_a_running_answer_with_an_abort() {
    let scene = Scene::with(&[("SENDCAT_DRAIN_MS", "200")]);
    let mut reading: Raw = scene.raw("t", "slow 1000 50", &[]);
    reading.until("text-delta");
    let Scene { server, .. } = scene;
    let (code, _) = server.end_by("TERM");
    reading.until("data: {\"type\":\"abort\"}\n\ndata: [DONE]");
    assert_eq!(code, Some(0));
}
