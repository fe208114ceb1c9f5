//! An answer that is taken up again, stopped, or cut by a restart: on the stream or among the
//! messages, never in both.

use sendcat::contract::code::ErrorCode;
use sendcat::contract::ui_stream::grammar::Grammar;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::expected::{of, whole};
use crate::support::raw::Raw;
use crate::support::scene::{Scene, get, session, until};

const MODEL: &str = "openrouter_chat";

fn resume(scene: &Scene, thread: &str) -> Answer {
    let path = format!("/api/chat/{thread}/stream");
    get(scene.caller.get(&path).bearer_auth(&scene.token))
}

fn stop(scene: &Scene, thread: &str, body: &str) -> Answer {
    let path = format!("/api/chat/{thread}/stop");
    get(scene.caller.post(&path).bearer_auth(&scene.token).body(body.to_owned()))
}

/// The stream within a whole response on a bare connection, its chunks put together.
fn stream_of(raw: &Raw) -> String {
    let text = raw.text();
    let (_, mut rest) = text.split_once("\r\n\r\n").expect("the head is there");
    let mut stream = String::new();
    while let Some((length, more)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a chunk has a length");
        let Some(chunk) = more.get(..length).filter(|_| length > 0) else { break };
        stream.push_str(chunk);
        rest = more[length..].trim_start_matches("\r\n");
    }
    stream
}

fn nothing() -> Answer {
    whole(204, &[], "")
}

#[test]
fn a_running_answer_is_replayed_from_its_start_and_then_live() {
    let scene = Scene::with(&[]);
    let mut first = scene.raw("t", "slow 30 40", &[]);
    first.until("text-delta");
    // While it runs it is on the stream alone.
    assert_eq!(scene.messages("t").len(), 1);
    let resumed = resume(&scene, "t");
    first.until("[DONE]");
    assert_eq!(resumed.status, 200);
    assert_eq!(resumed.header("x-vercel-ai-ui-message-stream"), Some("v1"));
    assert_eq!(resumed.body, stream_of(&first), "byte for byte");
    resumed.parts();
    assert_eq!(resume(&scene, "t"), nothing());
    assert_eq!((scene.messages("t").len(), scene.model_calls()), (2, 1));
    scene.settles();
}

#[test]
fn nothing_that_runs_is_a_204_and_another_ones_thread_is_too() {
    let scene = Scene::with(&[]);
    assert_eq!(resume(&scene, "unknown"), nothing());
    assert_eq!(resume(&scene, "no%20thread"), nothing());
    let mut running = scene.raw("t", "slow 30 40", &[]);
    running.until("text-delta");
    let other = session(&scene.caller);
    let asked = get(scene.caller.get("/api/chat/t/stream").bearer_auth(&other));
    assert_eq!(asked, nothing());
    let stopped = get(scene.caller.post("/api/chat/t/stop").bearer_auth(&other));
    assert_eq!(stopped, of(ErrorCode::Forbidden, &[]));
    let nobody = get(scene.caller.get("/api/chat/t/stream"));
    assert_eq!(nobody.code(), Some("unauthorized"));
    running.until("[DONE]");
    assert!(running.text().contains("\"finishReason\":\"stop\""));
}

#[test]
fn an_answer_that_is_resumed_lives_on_when_its_first_reader_goes() {
    let scene = Scene::with(&[]);
    let mut first = scene.raw("t", "slow 30 40", &[]);
    first.until("text-delta");
    let lines = [format!("authorization: Bearer {}", scene.token)];
    let mut second = Raw::send(
        scene.server.url(),
        &format!("GET /api/chat/t/stream HTTP/1.1\r\nhost: {{host}}\r\n{}\r\n\r\n", lines[0]),
    );
    second.until("text-delta");
    drop(first);
    second.until("[DONE]");
    let parts = Grammar::read_stream(&stream_of(&second)).expect("a whole stream");
    assert_eq!(parts.last().unwrap()["finishReason"], "stop");
    assert_eq!(scene.stand_ins.count(MODEL, "clientGone"), 0);
    scene.settles();
}

#[test]
fn a_stopped_answer_ends_in_an_abort_and_its_call_and_slot_are_given_back() {
    let scene = Scene::with(&[]);
    let mut running = scene.raw("t", "slow 200 40", &[]);
    running.until("text-delta");
    assert_eq!(stop(&scene, "t", ""), nothing());
    running.until("data: {\"type\":\"abort\"}\n\ndata: [DONE]");
    Grammar::read_stream(&stream_of(&running)).expect("a whole stream");
    until("the provider is told", || scene.stand_ins.count(MODEL, "clientGone") == 1);
    scene.settles();
    let stored = scene.messages("t");
    assert_eq!((stored.len(), &stored[1]["status"]), (2, &json!("cut")));
    // It is over now, by name or as the newest; what never was is not found.
    assert_eq!(stop(&scene, "t", ""), of(ErrorCode::Conflict, &[]));
    let named = json!({"streamId": stored[1]["id"]}).to_string();
    assert_eq!(stop(&scene, "t", &named), of(ErrorCode::Conflict, &[]));
    let never = json!({"streamId": format!("msg_{:032x}", 7)}).to_string();
    assert_eq!(stop(&scene, "t", &never), of(ErrorCode::NotFound, &[]));
    assert_eq!(stop(&scene, "t", "{\"streamId\":\"odd\"}"), of(ErrorCode::NotFound, &[]));
    assert_eq!(stop(&scene, "unknown", ""), of(ErrorCode::NotFound, &[]));
    assert_eq!(stop(&scene, "t", "{\"streamId\":7}").code(), Some("invalid_request"));
    assert_eq!(stop(&scene, "t", "{").code(), Some("invalid_json"));
}

#[test]
fn of_two_answers_the_named_one_is_stopped_and_without_a_name_the_newest() {
    let scene = Scene::with(&[]);
    let id = |raw: &Raw| {
        let stream = stream_of(raw);
        let start = stream.split("\n\n").next().unwrap().trim_start_matches("data: ");
        let start: Value = serde_json::from_str(start).unwrap();
        start["messageId"].as_str().unwrap().to_owned()
    };
    let mut older = scene.raw("t", "slow 200 40", &[]);
    older.until("text-delta");
    let mut newer = scene.raw("t", "slow 200 40", &[]);
    newer.until("text-delta");
    let named = json!({"streamId": id(&older)}).to_string();
    assert_eq!(stop(&scene, "t", &named), nothing());
    older.until("\"abort\"");
    assert!(!newer.text().contains("\"abort\""));
    assert_eq!(stop(&scene, "t", "{}"), nothing());
    newer.until("\"abort\"");
    scene.settles();
}

#[test]
fn an_answer_stopped_before_its_first_content_is_a_conflict_to_whoever_asked() {
    let scene = Scene::with(&[]);
    scene.stand_ins.fail(MODEL, "stall_content", 1);
    let waiting = scene.raw("t", "hello", &[]);
    until("the call is under way", || scene.stand_ins.count(MODEL, "inFlight") == 1);
    until("it is stopped", || stop(&scene, "t", "").status == 204);
    assert_eq!(waiting.answer().code(), Some("conflict"));
    scene.settles();
    assert_eq!(scene.messages("t").len(), 1);
}

#[test]
fn whoever_resumes_before_the_first_content_waits_for_it_or_hears_that_nothing_came() {
    let scene = Scene::with(&[("CHAT_FIRST_CONTENT_TIMEOUT_MS", "400")]);
    scene.stand_ins.fail(MODEL, "stall_content", 1);
    let waiting = scene.raw("t", "hello", &[]);
    until("the call is under way", || scene.stand_ins.count(MODEL, "inFlight") == 1);
    assert_eq!(resume(&scene, "t"), nothing());
    assert_eq!(waiting.answer().code(), Some("upstream_first_content_timeout"));
    scene.settles();
}

/// Begins an answer, kills its process in the middle, and starts it again; what was sent before.
fn cut_by_a_restart(scene: &mut Scene) -> String {
    let mut reading = scene.raw("t", "slow 400 20", &["x-sendcat-on-disconnect: finish"]);
    // Parts are noted four times a second; what came in the first tenth of a stream is noted.
    reading.until("\"delta\":\"40 \"");
    let sent = stream_of(&reading);
    scene.server.kill_and_restart();
    scene.caller = crate::support::client::Caller::of(&scene.server);
    sent
}

#[test]
fn an_answer_cut_by_a_restart_is_read_once_as_prefix_and_abort_and_then_stored() {
    let mut scene = Scene::with(&[]);
    let sent = cut_by_a_restart(&mut scene);
    assert_eq!(scene.messages("t").len(), 1, "it is on the stream, not among the messages");
    assert_eq!(stop(&scene, "t", ""), of(ErrorCode::Conflict, &[]));
    let cut = resume(&scene, "t");
    let parts = cut.parts();
    assert_eq!(parts.last(), Some(&json!({"type": "abort"})));
    let text = cut.text();
    assert!(text.starts_with("1 2 3 4 5 ") && !text.contains("400"), "{text}");
    let start = sent.split("\n\n").next().unwrap();
    assert!(cut.body.starts_with(start), "the same message");
    until("it is stored", || scene.messages("t").len() == 2);
    assert_eq!(resume(&scene, "t"), nothing());
    let stored = &scene.messages("t")[1];
    assert_eq!(stored["status"], "cut");
    assert_eq!(stored["parts"][1]["text"], text);
    assert_eq!(stored["id"], parts[0]["messageId"]);
    // And nothing of it is left for the next process.
    scene.server.kill_and_restart();
    scene.caller = crate::support::client::Caller::of(&scene.server);
    assert_eq!(resume(&scene, "t"), nothing());
    assert_eq!(scene.messages("t").len(), 2);
}

#[test]
fn whoever_asks_on_after_a_restart_finds_the_cut_answer_in_its_place() {
    let mut scene = Scene::with(&[]);
    cut_by_a_restart(&mut scene);
    assert_eq!(scene.ask("t", "hello again").status, 200);
    let stored = scene.messages("t");
    let roles: Vec<_> = stored.iter().map(|it| (&it["role"], &it["status"])).collect();
    let (user, assistant) = (&json!("user"), &json!("assistant"));
    let (complete, cut) = (&json!("complete"), &json!("cut"));
    let expected = [(user, complete), (assistant, cut), (user, complete), (assistant, complete)];
    assert_eq!(roles, expected);
    assert_eq!(resume(&scene, "t"), nothing());
}

#[test]
fn an_answer_that_ended_in_order_leaves_nothing_on_the_stream() {
    let mut scene = Scene::with(&[("SENDCAT_DRAIN_MS", "100")]);
    let mut reading = scene.raw("t", "slow 400 20", &[]);
    reading.until("\"delta\":\"30 \"");
    scene.server.restart_by("TERM");
    scene.caller = crate::support::client::Caller::of(&scene.server);
    assert_eq!(resume(&scene, "t"), nothing());
    assert_eq!(scene.messages("t")[1]["status"], "cut");
}
