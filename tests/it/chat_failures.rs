//! `POST /api/chat` when the model's provider fails: a status before the first content, the end of
//! the stream after it; calls made again before content and never after; nothing left in flight.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::expected::{assert_problem, refusal};
use crate::support::scene::{Scene, get, until};

const MODEL: &str = "openrouter_chat";
const LACK: &str = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

/// What an armed fault leads to before any content.
struct Refused {
    fault: &'static str,
    calls: u32,
    status: u16,
    code: &'static str,
    sentence: &'static str,
    wait: Option<&'static str>,
}

const fn row(fault: &'static str, calls: u32, status: u16, code: &'static str) -> Refused {
    let sentence = match status {
        502 if calls == 1 => "The provider rejected the request.",
        502 => "The provider failed.",
        504 => "The provider did not begin to answer in time.",
        _ => "The service is not set up for this call. Try again in 60 s.",
    };
    let wait = if status == 503 { Some("60") } else { None };
    Refused { fault, calls, status, code, sentence, wait }
}

const fn saying(row: Refused, sentence: &'static str) -> Refused {
    Refused { sentence, ..row }
}

/// Asks under each fault, and compares the whole answer, the calls made, and what is left.
fn each_refuses(scene: &Scene, rows: &[Refused]) {
    for (at, row) in rows.iter().enumerate() {
        let Refused { fault, calls, status, code, sentence, wait } = *row;
        if calls > 1 {
            // Two retries are to come, and each is paid for by five calls.
            scene.have_called(20);
        }
        // Once more would be answered.
        scene.stand_ins.fail(MODEL, fault, calls);
        let before = scene.model_calls();
        let thread = format!("t{at}");
        let answer = scene.ask(&thread, "hello");
        let waits: Vec<_> = wait.iter().map(|wait| ("retry-after", *wait)).collect();
        assert_eq!(answer, refusal(status, code, sentence, &waits), "{fault}");
        assert_eq!(scene.model_calls() - before, u64::from(calls), "{fault}");
        scene.settles();
        let stored = scene.messages(&thread);
        assert_eq!(stored.len(), 1, "{fault}: the question is stored, and nothing else");
    }
}

#[test]
fn a_provider_that_fails_before_content_is_asked_again_and_then_told_of() {
    let scene = Scene::with(&[
        ("CIRCUIT_OPENROUTER_THRESHOLD", "1000"),
        ("RATE_LIMIT_CHAT_STREAM_MAX", "1000"),
        ("RATE_LIMIT_ANON_IP_MAX", "1000"),
        ("BULKHEAD_OPENROUTER_MAX_CONCURRENT", "100"),
    ]);
    let empty = "The provider gave an empty answer.";
    each_refuses(
        &scene,
        &[
            row("500", 3, 502, "upstream_error"),
            row("503", 3, 502, "upstream_error"),
            row("html", 3, 502, "upstream_error"),
            saying(row("empty", 3, 502, "upstream_error"), empty),
            saying(
                row("malformed", 3, 502, "upstream_error"),
                "The provider's answer cannot be read.",
            ),
            row("400", 1, 502, "upstream_rejected"),
            row("403", 1, 502, "upstream_rejected"),
            row("404", 1, 502, "upstream_rejected"),
            row("413", 1, 502, "upstream_rejected"),
            row("422", 1, 502, "upstream_rejected"),
            row("401", 1, 503, "misconfigured"),
            row("402", 1, 503, "misconfigured"),
        ],
    );
    // A fault that passes is never seen.
    scene.have_called(20);
    scene.stand_ins.fail(MODEL, "500", 2);
    assert_eq!(scene.ask("passing", "hello").status, 200);
    assert_eq!(scene.messages("passing").len(), 2);
}

#[test]
fn a_provider_that_limits_us_is_waited_for_and_then_told_of_with_its_wait() {
    let scene = Scene::with(&[("CIRCUIT_OPENROUTER_THRESHOLD", "1000")]);
    let sentence = "The provider limits our calls. Try again in 2 s.";
    let limited = Refused {
        fault: "429",
        calls: 3,
        status: 503,
        code: "upstream_rate_limited",
        sentence,
        wait: Some("2"),
    };
    each_refuses(&scene, &[limited]);
}

#[test]
fn a_problem_document_tells_of_the_provider_too() {
    let scene = Scene::with(&[("CIRCUIT_OPENROUTER_THRESHOLD", "1000")]);
    let problem = |fault: &str, calls| {
        scene.stand_ins.fail(MODEL, fault, calls);
        let ask = scene.caller.chat(&scene.token, fault, "hello");
        get(ask.header("accept", "application/problem+json"))
    };
    let plain = refusal(502, "upstream_rejected", "The provider rejected the request.", &[]);
    assert_problem(&problem("422", 1), &plain, "Bad Gateway", &json!({}));
    let sentence = "The provider limits our calls. Try again in 2 s.";
    let plain = refusal(503, "upstream_rate_limited", sentence, &[("retry-after", "2")]);
    let more = json!({"type": LACK, "retryAfterMs": 2000});
    assert_problem(&problem("429", 3), &plain, "Temporary reduced capacity", &more);
}

#[test]
fn a_call_that_was_sent_and_timed_out_is_not_sent_again() {
    let scene = Scene::with(&[
        ("CHAT_HEADERS_TIMEOUT_MS", "300"),
        // The clock of connecting is longer, and must not hold the others up.
        ("CHAT_TOTAL_TIMEOUT_MS", "3000"),
        ("CHAT_FIRST_CONTENT_TIMEOUT_MS", "300"),
    ]);
    each_refuses(
        &scene,
        &[
            row("stall_headers", 1, 504, "upstream_headers_timeout"),
            row("stall_content", 1, 504, "upstream_first_content_timeout"),
        ],
    );
    assert_eq!(scene.stand_ins.count(MODEL, "clientGone"), 2);
}

#[test]
fn an_answer_that_takes_too_long_as_a_whole_is_ended() {
    let scene = Scene::with(&[("CHAT_TOTAL_TIMEOUT_MS", "600")]);
    let sentence = "The answer took longer than an answer may take.";
    let total = saying(row("stall_content", 1, 504, "upstream_total_timeout"), sentence);
    each_refuses(&scene, &[total]);
    let slow = scene.ask("slow", "slow 100 50");
    assert_tail(&slow.parts(), "upstream_total_timeout", sentence);
    assert_cut(&scene, "slow");
    scene.settles();
}

#[test]
fn a_provider_that_accepts_no_connection_has_its_own_clock() {
    let (_full, address) = full_listener();
    let scene = Scene::with(&[
        ("OPENROUTER_BASE_URL", address.as_str()),
        ("CHAT_CONNECT_TIMEOUT_MS", "200"),
        ("CIRCUIT_OPENROUTER_THRESHOLD", "1000"),
    ]);
    let sentence = "The provider did not accept the call.";
    let answer = scene.ask("t", "hello");
    assert_eq!(answer, refusal(504, "upstream_connect_timeout", sentence, &[]));
    scene.settles();
}

/// A listener whose queue is full, so that the next connection is never made.
pub(crate) fn full_listener() -> (Vec<Box<dyn std::any::Any>>, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener: TcpListener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(0).unwrap().into_std().unwrap()
    });
    let address = listener.local_addr().unwrap();
    let mut held: Vec<Box<dyn std::any::Any>> = vec![Box::new(listener)];
    let patience = std::time::Duration::from_millis(300);
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, patience) {
        held.push(Box::new(stream));
    }
    (held, format!("http://{address}"))
}

/// Checks the last parts of a stream that failed.
#[track_caller]
fn assert_tail(parts: &[Value], code: &str, sentence: &str) {
    let tail = [
        json!({"type": "text-end", "id": parts[2]["id"]}),
        json!({"type": "finish-step"}),
        json!({"type": "data-error", "data": {"code": code}, "transient": true}),
        json!({"type": "error", "errorText": sentence}),
        json!({"type": "finish", "finishReason": "error"}),
    ];
    assert!(parts.len() > tail.len(), "{parts:?}");
    assert_eq!(parts[parts.len() - tail.len()..], tail);
}

/// Checks that a thread's answer is stored as cut.
#[track_caller]
fn assert_cut(scene: &Scene, thread: &str) {
    let stored = scene.messages(thread);
    let [_, answer] = stored.as_slice() else { panic!("not two messages: {stored:?}") };
    assert_eq!((&answer["role"], &answer["status"]), (&json!("assistant"), &json!("cut")));
    let text = answer["parts"][1]["text"].as_str().unwrap_or_default();
    assert!(!text.is_empty(), "{answer}");
}

#[test]
fn a_stream_that_breaks_after_content_says_so_and_is_not_asked_for_again() {
    let scene =
        Scene::with(&[("CIRCUIT_OPENROUTER_THRESHOLD", "1000"), ("CHAT_IDLE_TIMEOUT_MS", "400")]);
    let table = [
        ("error_mid", "upstream_error", "The provider failed."),
        ("cut", "upstream_cut", "The provider cut its answer."),
        ("stall_mid", "upstream_idle_timeout", "The provider stopped in the middle of its answer."),
    ];
    for (fault, code, sentence) in table {
        scene.stand_ins.fail(MODEL, fault, 1);
        let before = scene.model_calls();
        let answer = scene.ask(fault, "hello");
        assert_eq!((answer.status, answer.code()), (200, None), "{answer:?}");
        assert_tail(&answer.parts(), code, sentence);
        assert_eq!(scene.model_calls() - before, 1, "{fault}");
        assert_cut(&scene, fault);
        scene.settles();
    }
    assert_eq!(scene.stand_ins.count(MODEL, "clientGone"), 1);
}

#[test]
fn a_stream_that_only_drips_is_ended() {
    let scene =
        Scene::with(&[("CHAT_MIN_PROGRESS_WINDOW_MS", "400"), ("CHAT_MIN_PROGRESS_CHARS", "20")]);
    scene.stand_ins.fail(MODEL, "drip", 1);
    let answer = scene.ask("t", "hello");
    assert_eq!(answer.status, 200);
    assert_tail(&answer.parts(), "upstream_too_slow", "The provider answers too slowly.");
    assert_cut(&scene, "t");
    scene.settles();
}

#[test]
fn failures_open_the_circuit_and_a_success_after_the_cooldown_closes_it() {
    let scene = Scene::with(&[
        ("CIRCUIT_OPENROUTER_THRESHOLD", "3"),
        ("CIRCUIT_OPENROUTER_COOLDOWN_MS", "500"),
        ("RATE_LIMIT_CHAT_STREAM_MAX", "1000000"),
        ("RATE_LIMIT_ANON_IP_MAX", "1000000"),
    ]);
    scene.stand_ins.fail(MODEL, "500", 3);
    assert_eq!(scene.ask("t", "chunks 1").code(), Some("upstream_error"));
    let open = scene.ask("t", "chunks 1");
    assert_eq!(open.code(), Some("upstream_unavailable"), "{open:?}");
    let circuit = |scene: &Scene| {
        let snapshot = scene.snapshot();
        let rows = snapshot["circuits"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["provider"] == MODEL).unwrap()["state"].clone()
    };
    assert_eq!(circuit(&scene), "open");
    until("the provider is asked again", || scene.ask("t", "chunks 1").status == 200);
    until("the circuit is closed", || circuit(&scene) == "closed");
    scene.settles();
}
