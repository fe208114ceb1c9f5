//! Every way in which a model's provider fails, at both stand-ins: the sandbox's and one of bare
//! bytes. Each has its status or its last part, within its clock; and then nothing is left: no
//! lease, no call in flight, no open socket.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::raw_model::{self as raw, COMMENT, RawModel, Script, Step};
use crate::support::scene::{Scene, timed, until};

const MODEL: &str = "openrouter_chat";

/// Every clock that a test waits out.
const CLOCK: Duration = Duration::from_secs(1);

/// How often a clock is measured: on a busy machine the best of them counts.
const ROUNDS: usize = 3;

/// What a fault leads to.
#[derive(Clone, Copy)]
enum Told {
    /// A status, before any content.
    Status(u16),
    /// The last parts of a stream.
    Within,
}

/// A fault as both stand-ins play it.
struct Fault {
    name: &'static str,
    script: Script,
    told: Told,
    code: &'static str,
    /// Which clock ends it; without one it ends by itself.
    clock: Option<Duration>,
}

impl Fault {
    /// How often it is met: what may be tried again is told after three attempts.
    fn calls(&self) -> u32 {
        match self.told {
            Told::Status(502 | 503) => 3,
            Told::Status(_) | Told::Within => 1,
        }
    }
}

fn knobs() -> Vec<(&'static str, &'static str)> {
    vec![
        ("CHAT_HEADERS_TIMEOUT_MS", "1000"),
        ("CHAT_FIRST_CONTENT_TIMEOUT_MS", "1000"),
        ("CHAT_IDLE_TIMEOUT_MS", "1000"),
        ("CIRCUIT_OPENROUTER_THRESHOLD", "1000"),
        ("RATE_LIMIT_CHAT_STREAM_MAX", "1000"),
        ("RATE_LIMIT_ANON_IP_MAX", "1000"),
    ]
}

fn faults() -> Vec<Fault> {
    let some = COMMENT.to_owned() + &raw::text("The ") + &raw::text("answer");
    let error = json!({"error": {"code": "server_error", "message": "gone"},
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]});
    let row = |name, script, told, code, clock| Fault { name, script, told, code, clock };
    let page = "<!DOCTYPE html><h1>Bad Gateway</h1>";
    let many = Duration::from_millis(100);
    vec![
        row("500", raw::status(500, "", "{}"), Told::Status(502), "upstream_error", None),
        row("html", raw::status(502, "", page), Told::Status(502), "upstream_error", None),
        row("empty", raw::stream(""), Told::Status(502), "upstream_error", None),
        row(
            "429",
            raw::status(429, "retry-after: 2\r\n", "{}"),
            Told::Status(503),
            "upstream_rate_limited",
            None,
        ),
        row(
            "stall_headers",
            vec![Step::Stall],
            Told::Status(504),
            "upstream_headers_timeout",
            Some(CLOCK),
        ),
        row(
            "stall_content",
            raw::stream_and_repeat(COMMENT, COMMENT, many),
            Told::Status(504),
            "upstream_first_content_timeout",
            Some(CLOCK),
        ),
        row(
            "stall_mid",
            raw::stream_and_repeat(&some, COMMENT, many),
            Told::Within,
            "upstream_idle_timeout",
            Some(CLOCK),
        ),
        row("cut", raw::stream_then(&some, None), Told::Within, "upstream_cut", None),
        row(
            "error_mid",
            raw::stream(&format!("{some}data: {error}\n\n")),
            Told::Within,
            "upstream_error",
            None,
        ),
        row(
            "malformed",
            raw::stream("data: {\"id\":\"gen-0\",\"choices\":[{\"index\":0,\"del\n\n"),
            Told::Status(502),
            "upstream_error",
            None,
        ),
    ]
}

/// Compares what was told; of a stream its last parts.
#[track_caller]
fn assert_told(fault: &Fault, answer: &Answer) {
    let Fault { name, told, code, .. } = fault;
    match told {
        Told::Status(status) => {
            assert_eq!((answer.status, answer.code()), (*status, Some(*code)), "{name}");
            let waits = answer.header("retry-after").is_some();
            assert_eq!(waits, *status == 503, "{name}: {answer:?}");
        }
        Told::Within => {
            assert_eq!((answer.status, answer.code()), (200, None), "{name}: {answer:?}");
            let parts = answer.parts();
            let types: Vec<_> = parts.iter().rev().take(5).map(|part| &part["type"]).collect();
            let expected = ["finish", "error", "data-error", "finish-step", "text-end"];
            assert_eq!(types, expected, "{name}: {parts:?}");
            let error = &parts[parts.len() - 3]["data"];
            assert_eq!(error, &json!({ "code": code }), "{name}");
            assert_eq!(parts.last().unwrap()["finishReason"], "error", "{name}");
        }
    }
}

/// Whether a clock ran out when it should: not before, and a tenth or 150 ms after at most.
fn is_in_time(took: Duration, clock: Duration) -> bool {
    let late = (clock / 10).max(Duration::from_millis(150));
    assert!(took >= clock, "{took:?} of {clock:?}: too early");
    took <= clock + late
}

/// Plays a fault and compares what comes of it, until a clock was met or often enough.
fn play(scene: &Scene, fault: &Fault, arm: impl Fn()) {
    let rounds = if fault.clock.is_some() { ROUNDS } else { 1 };
    let mut times = Vec::new();
    for _ in 0..rounds {
        arm();
        // Its pieces come at once, so that the clocks begin with the question.
        let (answer, took) = timed(|| scene.ask("t", "chunks 4"));
        times.push(took);
        assert_told(fault, &answer);
        let Some(clock) = fault.clock else { return };
        if is_in_time(times[times.len() - 1], clock) {
            return;
        }
    }
    panic!("{}: never in time: {times:?}", fault.name);
}

/// Waits until no lease is held; within the second that is promised, and more on a busy machine.
fn nothing_is_left(scene: &Scene, what: &str, open: impl Fn() -> u64) {
    let took = until(&format!("nothing is left after {what}"), || {
        let leases = scene.snapshot()["bulkheads"][MODEL]["inFlight"].as_u64();
        leases == Some(0) && open() == 0
    });
    assert!(took < Duration::from_secs(5), "{what}: {took:?}");
}

#[test]
fn every_fault_of_the_sandbox_is_told_in_time_and_leaves_nothing() {
    let scene = Scene::with(&knobs());
    for fault in faults() {
        // Two retries are to come, and each is paid for by five calls.
        scene.have_called(20);
        play(&scene, &fault, || scene.stand_ins.fail(MODEL, fault.name, fault.calls()));
        let in_flight = || scene.stand_ins.count(MODEL, "inFlight");
        nothing_is_left(&scene, fault.name, in_flight);
    }
}

#[test]
fn every_fault_of_a_provider_of_bare_bytes_is_told_in_time_and_leaves_no_socket() {
    let model = RawModel::start();
    let url = [("OPENROUTER_BASE_URL", model.url())];
    let scene = Scene::with(&[knobs().as_slice(), &url].concat());
    for fault in faults() {
        scene.have_called(20);
        play(&scene, &fault, || model.plan(vec![fault.script.clone(); fault.calls() as usize]));
        nothing_is_left(&scene, fault.name, || model.open() as u64);
    }
}

#[test]
fn the_clocks_of_the_whole_and_of_progress_run_out_in_time_too() {
    let model = RawModel::start();
    let clocks = [
        ("OPENROUTER_BASE_URL", model.url()),
        ("CHAT_TOTAL_TIMEOUT_MS", "1000"),
        ("CHAT_MIN_PROGRESS_CHARS", "1000"),
        ("CHAT_MIN_PROGRESS_WINDOW_MS", "30000"),
    ];
    let whole = Scene::with(&clocks);
    let slow = Scene::with(&[
        ("OPENROUTER_BASE_URL", model.url()),
        ("CHAT_MIN_PROGRESS_CHARS", "1000"),
        ("CHAT_MIN_PROGRESS_WINDOW_MS", "1000"),
    ]);
    let drip =
        || raw::stream_and_repeat(&raw::text("a"), &raw::text("b"), Duration::from_millis(50));
    for (scene, code) in [(&whole, "upstream_total_timeout"), (&slow, "upstream_too_slow")] {
        let (told, clock) = (Told::Within, Some(CLOCK));
        let fault = Fault { name: code, script: drip(), told, code, clock };
        play(scene, &fault, || model.plan([drip()]));
        nothing_is_left(scene, code, || model.open() as u64);
    }
}

/// What is at a recorded stream's end, when it is sent whole.
fn last_part(answer: &Answer) -> Value {
    answer.parts().last().cloned().unwrap_or_default()
}

#[test]
fn recorded_streams_are_answered_whole_and_cut_where_it_matters() {
    for name in ["text", "comments", "crlf", "tool-single", "two-tools", "midstream-error"] {
        let model = RawModel::start();
        let url = ("OPENROUTER_BASE_URL", model.url());
        // A server of its own, for so many failures open any circuit.
        let scene = Scene::with(&[url, ("CIRCUIT_OPENROUTER_THRESHOLD", "1000")]);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/samples/upstream");
        let bytes = std::fs::read(format!("{folder}/openrouter-{name}.sse")).unwrap();
        model.plan([raw::stream_of(&bytes)]);
        let answer = scene.ask("t", "hello");
        let reason = if name == "midstream-error" { "error" } else { "stop" };
        assert_eq!(last_part(&answer)["finishReason"], reason, "{name}");
        // The turn's own tests cut at each byte; here the same is seen from outside.
        for cut in (40..bytes.len()).step_by(bytes.len() / 7) {
            model.plan(vec![raw::stream_of(&bytes[..cut]); 3]);
            let answer = scene.ask("t", "hello");
            let code = answer.code().map(str::to_owned);
            match (answer.status, code.as_deref()) {
                (502, Some("upstream_error")) => {}
                (200, None) => {
                    let last = last_part(&answer);
                    let is_whole = reason == "stop" && last["finishReason"] == "stop";
                    assert!(is_whole || last["finishReason"] == "error", "{name} at {cut}: {last}");
                }
                odd => panic!("{name} cut at {cut}: {odd:?}"),
            }
            model.plan([]);
        }
        nothing_is_left(&scene, name, || model.open() as u64);
    }
}

#[test]
fn recorded_refusals_are_told_by_their_codes() {
    let model = RawModel::start();
    let url = [("OPENROUTER_BASE_URL", model.url()), ("CIRCUIT_OPENROUTER_THRESHOLD", "1000")];
    let scene = Scene::with(&url);
    let table = [
        (402, include_str!("samples/upstream/openrouter-error-402.json"), 503, "misconfigured"),
        (
            429,
            include_str!("samples/upstream/openrouter-error-429.json"),
            503,
            "upstream_rate_limited",
        ),
        (503, include_str!("samples/upstream/openrouter-error-503.json"), 502, "upstream_error"),
    ];
    for (status, body, told, code) in table {
        model.plan(vec![raw::status(status, "", body); 3]);
        let answer = scene.ask("t", "hello");
        assert_eq!((answer.status, answer.code()), (told, Some(code)), "{status}");
        // A body cut anywhere is a refusal still; what is in it only changes the wait.
        model.plan(vec![raw::status(status, "", &body[..body.len() / 2]); 3]);
        let answer = scene.ask("t", "hello");
        assert_eq!((answer.status, answer.code()), (told, Some(code)), "{status}, cut");
        model.plan([]);
    }
}
