//! Synthetic probes against a sound server, and against servers each wrong in one way: one fault is
//! found by one probe, and that is the probe of its name.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sendcat::config::Secret;
use sendcat::load::probes::{Ending, Outcome, Plan, Probe, Prober, Rounds, Secrets};
use sendcat::slo::policy::{Owners, Policy as _};
use sendcat::slo::verdict::CheckVerdict;

use crate::support::client::run;
use crate::support::mutant::{Heard, Mutant, Mutation, is, says, with, without};
use crate::support::server::Server;
use crate::support::webhook::{OPS_TOKEN, SECRET, VERIFY_TOKEN, sandboxed_receiver};

const AT_ONCE: Duration = Duration::ZERO;

fn secrets() -> Secrets {
    Secrets {
        ops_token: Some(Secret::new(OPS_TOKEN)),
        whatsapp_app_secret: Some(Secret::new(SECRET)),
        whatsapp_verify_token: Some(Secret::new(VERIFY_TOKEN)),
        chat_token: None,
    }
}

fn plan(url: &str) -> Plan {
    Plan {
        base: url.parse().unwrap(),
        only: Vec::new(),
        retries: 0,
        timeout: Duration::from_secs(20),
        secrets: secrets(),
        origin: None,
        thread: None,
    }
}

fn round(plan: Plan) -> Vec<Outcome> {
    run(async { Prober::new(plan).unwrap().round(0).await.unwrap() })
}

/// The probes that did not pass, and how they ended.
fn caught(outcomes: &[Outcome]) -> Vec<(&'static str, String)> {
    let told = |outcome: &Outcome| match &outcome.ending {
        Ending::Passed => None,
        Ending::Degraded(why) => Some(format!("degraded: {why}")),
        Ending::Failed(why) => Some(why.clone()),
        Ending::Skipped(why) => Some(format!("skipped: {why}")),
    };
    outcomes.iter().filter_map(|it| told(it).map(|why| (it.probe.id(), why))).collect()
}

#[test]
fn a_sound_server_passes_twenty_rounds_of_twenty() {
    let server = sandboxed_receiver().start();
    let mut rounds = Rounds::default();
    run(async {
        let prober = Prober::new(plan(server.url())).unwrap();
        for number in 0..20 {
            let outcomes = prober.round(number).await.unwrap();
            assert_eq!(outcomes.len(), Probe::ALL.len());
            assert_eq!(caught(&outcomes), [], "round {number}");
            rounds.add(outcomes);
        }
    });
    let found = rounds.found(&Owners::built_in());
    for row in &found.checks {
        assert_eq!((row.verdict, row.bad, row.total), (CheckVerdict::Pass, 0, 20), "{row:?}");
        assert!(row.why.contains("connect") && !row.owner.team.is_empty(), "{row:?}");
    }
    let cors = found.checks.iter().find(|row| row.id == "probe.chat.cors").unwrap();
    assert_eq!(
        (cors.owner.team.as_str(), cors.runbook.as_deref()),
        ("chat", Some("RUNBOOK.md#chat"))
    );
    let kept = found.details.to_string();
    for secret in [OPS_TOKEN, SECRET, VERIFY_TOKEN, "eyJ", "sha256=", "pong"] {
        assert!(!kept.contains(secret), "{secret} is in what is kept");
    }
    let phases = &found.details["probes"][0]["last"][0]["exchanges"][0]["phasesMs"];
    for phase in ["connect", "firstByte", "body"] {
        assert!(phases[phase].as_f64().unwrap() >= 0.0, "{phases}");
    }
    assert!(phases["connect"].as_f64().unwrap() > 0.0, "every exchange connects anew: {phases}");
}

/// What is wrong, the one probe that finds it, and what that probe says first.
const MUTANTS: &[(&str, Mutation, &str, &str)] = &[
    ("CORS of any origin", any_origin, "chat.cors", "expected allow-origin to be \"http://"),
    ("chats without a token", open_chat, "chat.auth", "expected status 401, got 200"),
    ("pushes without a token", open_push, "gmail.guard", "expected status 403, got 200"),
    ("any verify token", open_verify, "whatsapp.verify", "expected status 403, got 200"),
    ("no signature is checked", unsigned, "whatsapp.signature", "expected status 403, got 200"),
    ("no code on refusals", no_codes, "errors.code", "expected a known x-sendcat-error-code"),
    ("a code of another status", other_code, "errors.code", "expected status 400 with invalid"),
    ("no mark on what comes again", no_replay, "replay.header", "expected x-idempotent-replay"),
    ("all comes again", all_replay, "replay.header", "expected x-idempotent-replay of a new"),
    ("the snapshot is open", open_snapshot, "snapshot.auth", "expected status 401, got 200"),
    ("the snapshot is cut", cut_snapshot, "snapshot.auth", "the body was cut after "),
    ("readiness is cut", cut_ready, "health.ready", "the body was cut after "),
    ("a stream is cut", cut_stream, "chat.stream", "the body was cut after "),
    ("a stream ends early", early_end, "chat.stream", "expected a stream that ends with"),
    ("a push takes 3 s", slow_push, "gmail.guard", "expected an answer within 2500 ms, got 3"),
    ("a stream begins after 3 s", slow_stream, "chat.stream", "degraded: slow: 3"),
    ("not ready", not_ready, "health.ready", "expected status 200, got 503"),
    ("degraded", degraded, "health.ready", "degraded: it says that it is degraded"),
];

#[test]
fn each_mutant_is_caught_by_exactly_the_probe_of_its_fault() {
    let server = sandboxed_receiver().start();
    for (what, mutation, probe, why) in MUTANTS {
        let mutant = Mutant::of(server.url(), *mutation);
        let outcomes = round(plan(mutant.url()));
        let found = caught(&outcomes);
        assert!(
            matches!(&found[..], [(id, said)] if id == probe && said.starts_with(why)),
            "{what}: {found:?}"
        );
    }
}

fn any_origin(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    if heard.line.starts_with("OPTIONS") {
        without(answer, "access-control-allow-origin");
        with(answer, "access-control-allow-origin: *");
    }
    AT_ONCE
}

fn turned(heard: &Heard, answer: &mut Vec<u8>, line: &str, from: u16, to: &str) -> Duration {
    if heard.line.starts_with(line) && is(answer, from) {
        says(answer, to);
    }
    AT_ONCE
}

fn open_chat(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    turned(heard, answer, "POST /api/chat", 401, "200 OK")
}

fn open_push(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    turned(heard, answer, "POST /api/gmail/push", 403, "200 OK")
}

fn open_verify(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    turned(heard, answer, "GET /api/whatsapp/webhook", 403, "200 OK")
}

fn unsigned(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    turned(heard, answer, "POST /api/whatsapp/webhook", 403, "200 OK")
}

fn open_snapshot(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    turned(heard, answer, "GET /ops/snapshot", 401, "200 OK")
}

fn not_ready(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    turned(heard, answer, "GET /readyz", 200, "503 Service Unavailable")
}

fn no_codes(_: &Heard, answer: &mut Vec<u8>) -> Duration {
    without(answer, "x-sendcat-error-code");
    AT_ONCE
}

fn other_code(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    if heard.line.contains("nowhere") {
        without(answer, "x-sendcat-error-code");
        with(answer, "x-sendcat-error-code: invalid_request");
    }
    AT_ONCE
}

fn no_replay(_: &Heard, answer: &mut Vec<u8>) -> Duration {
    without(answer, "x-idempotent-replay");
    AT_ONCE
}

fn all_replay(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    if heard.line.starts_with("POST /api/whatsapp") && is(answer, 200) {
        without(answer, "x-idempotent-replay");
        with(answer, "x-idempotent-replay: 1");
    }
    AT_ONCE
}

fn cut(heard: &Heard, answer: &mut Vec<u8>, line: &str) -> Duration {
    if heard.line.starts_with(line) && is(answer, 200) {
        answer.truncate(answer.len() - 5);
    }
    AT_ONCE
}

fn cut_snapshot(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    cut(heard, answer, "GET /ops/snapshot")
}

fn cut_ready(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    cut(heard, answer, "GET /readyz")
}

fn cut_stream(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    cut(heard, answer, "POST /api/chat")
}

/// The stream's last part is another of the same length, so that HTTP itself ends cleanly.
#[expect(clippy::ptr_arg, reason = "a mutation may change the length as well")]
fn early_end(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    if heard.line.starts_with("POST /api/chat") && is(answer, 200) {
        let done = b"[DONE]";
        let at = answer.windows(done.len()).rposition(|at| at == done).expect("a stream ends so");
        answer[at..at + done.len()].copy_from_slice(b"\"none\"");
    }
    AT_ONCE
}

fn slow_push(heard: &Heard, _: &mut Vec<u8>) -> Duration {
    let slow = heard.line == "POST /api/gmail/push";
    if slow { Duration::from_secs(3) } else { AT_ONCE }
}

#[expect(clippy::ptr_arg, reason = "a mutation may change the length as well")]
fn slow_stream(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    let slow = heard.line == "POST /api/chat" && is(answer, 200);
    if slow { Duration::from_secs(3) } else { AT_ONCE }
}

fn degraded(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    if heard.line == "GET /readyz" {
        let body = r#"{"status":"degraded","reasons":["x"]}"#;
        *answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into();
    }
    AT_ONCE
}

/// Answers of one path that are 429, and then 500, before the server's own are let through.
static LIMITED: AtomicU32 = AtomicU32::new(0);
static BROKEN: AtomicU32 = AtomicU32::new(0);

fn takes_one_of(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn stumbles(heard: &Heard, answer: &mut Vec<u8>) -> Duration {
    if heard.line == "POST /api/gmail/push" {
        if takes_one_of(&LIMITED) {
            says(answer, "429 Too Many Requests");
            with(answer, "retry-after: 1");
        } else if takes_one_of(&BROKEN) {
            says(answer, "500 Internal Server Error");
        }
    }
    AT_ONCE
}

fn of_push(server: &Server, retries: u32) -> Outcome {
    let mutant = Mutant::of(server.url(), stumbles);
    let only = vec![Probe::GmailGuard];
    round(Plan { only, retries, ..plan(mutant.url()) }).remove(0)
}

#[test]
fn a_429_is_waited_for_once_and_a_retry_is_told_and_never_a_clean_pass() {
    let server = sandboxed_receiver().start();
    LIMITED.store(1, Ordering::SeqCst);
    let waited = of_push(&server, 0);
    assert_eq!(waited.ending, Ending::Passed);
    let statuses = |outcome: &Outcome| {
        let tries = outcome.tries.iter().flat_map(|asked| &asked.exchanges);
        tries.map(|it| (it.status.unwrap(), it.waited_for429_s)).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&waited), [(429, None), (403, Some(1)), (403, None)]);
    LIMITED.store(2, Ordering::SeqCst);
    let twice = of_push(&server, 0);
    assert_eq!(twice.ending, Ending::Failed("expected status 403, got 429".into()));
    BROKEN.store(1, Ordering::SeqCst);
    let again = of_push(&server, 1);
    let told = "passed when asked 2 times; first: expected status 403, got 500";
    assert_eq!(again.ending, Ending::Degraded(told.into()));
    assert_eq!(statuses(&again), [(500, None), (403, None), (403, None)]);
    BROKEN.store(2, Ordering::SeqCst);
    let broken = of_push(&server, 1);
    let told = "expected status 403, got 500 (asked 2 times)";
    assert_eq!(broken.ending, Ending::Failed(told.into()));
    let transcript = broken.tries[0].exchanges[0].transcript.join("\n");
    assert!(transcript.starts_with("> POST /api/gmail/push\n> content-type: application/json\n"));
    assert!(transcript.contains("< 500") && transcript.contains("bytes of body"), "{transcript}");
    let mut rounds = Rounds::default();
    rounds.add(vec![again]);
    let row = rounds.found(&Owners::built_in()).checks.remove(0);
    assert_eq!((row.verdict, row.bad, row.total), (CheckVerdict::Warn, 0, 1));
    rounds.add(vec![broken]);
    let row = rounds.found(&Owners::built_in()).checks.remove(0);
    assert_eq!((row.verdict, row.bad, row.total), (CheckVerdict::Fail, 1, 2));
    assert_eq!(row.why, "expected status 403, got 500 (asked 2 times) (1 of 2 rounds)");
}

#[test]
fn what_cannot_be_asked_is_skipped_with_its_reason_and_nobody_is_unreachable() {
    let server = sandboxed_receiver().start();
    let outcomes = round(Plan { secrets: Secrets::default(), ..plan(server.url()) });
    let skipped: Vec<_> = caught(&outcomes);
    let reasons = [
        "skipped: WHATSAPP_APP_SECRET is not set here, so no delivery can be signed",
        "skipped: OPS_TOKEN is not set here, so the operators' routes cannot be opened",
    ];
    assert_eq!(
        skipped,
        [("replay.header", reasons[0].into()), ("snapshot.auth", reasons[1].into())]
    );
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let missing = run(async { Prober::new(plan(&nobody)).unwrap().round(0).await.unwrap_err() });
    assert_eq!(missing.to_string(), format!("{nobody} cannot be reached: no connection"));
}
