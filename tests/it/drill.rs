//! `sendcat drill`: the command against a real server and against servers whose faults are known.

mod flags;
mod gates;

use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sendcat::load::known_server::{KnownServer, Reply};
use sendcat::slo::policy::{Policy as _, SloBaseline};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::server::Setup;

/// A server that answers every request with a status at once.
fn answering(status: u16) -> KnownServer {
    let script = move |_: u64, _: u64| (Duration::ZERO, Reply::Status(status));
    KnownServer::start(Arc::new(script), Duration::from_secs(5)).unwrap()
}

/// The command, its report and what stood on standard error.
struct Drill {
    code: i32,
    report: Value,
    log: String,
}

fn read(output: Output) -> Drill {
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Drill { code: output.status.code().unwrap(), report, log }
}

/// A drill of a server, by these arguments and variables.
fn drill(url: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Drill {
    let directory = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sendcat"));
    command.args(["drill", "--format", "json", "--base-url", url, "--seed", "7"]).args(arguments);
    command.arg("--out").arg(directory.path()).env_clear().env("PATH", "/usr/bin:/bin");
    read(command.envs(variables.iter().copied()).output().unwrap())
}

impl Drill {
    fn scenario(&self, id: &str) -> &Value {
        let scenarios = self.report["scenarios"].as_array().expect("there is a report");
        scenarios.iter().find(|it| it["id"] == id).unwrap_or_else(|| panic!("{id}: {}", self.log))
    }

    fn row(&self, id: &str) -> &Value {
        let checks = self.report["checks"].as_array().expect("there is a report");
        checks.iter().find(|it| it["id"] == id).unwrap_or_else(|| panic!("no row {id}"))
    }

    fn verdict(&self, id: &str) -> &str {
        self.row(id)["verdict"].as_str().expect("a word")
    }
}

#[test]
fn a_sound_server_passes_and_its_limiter_admits_exactly_120_of_each_webhook() {
    let run = || {
        let server = Setup::sandbox().start();
        let ops = server.banner("ops token").to_owned();
        let arguments = ["--profile", "quick", "--duration", "8s"];
        drill(server.url(), &arguments, &[("OPS_TOKEN", &ops)])
    };
    let mut drill = run();
    if drill.code == 4 {
        drill = run();
    }
    assert_eq!((drill.code, &drill.report["verdict"]), (0, &json!("PASS")), "{}", drill.log);
    assert_eq!(drill.report["profile"], "quick");
    for webhook in ["gmail_push_webhook", "whatsapp_webhook"] {
        let scenario = drill.scenario(webhook);
        let stage = &scenario["stages"][0];
        assert_eq!(stage["statuses"], json!({"403": 120, "429": 40}), "{webhook}");
        assert_eq!((&stage["planned"], &stage["errors"]), (&json!(160), &json!({})));
        assert!(scenario["byStatusClass"]["429"]["corrected"]["p95"].as_f64() > Some(0.0));
        assert_eq!(drill.verdict(&format!("{webhook}.http5xx")), "pass_unproven");
        assert_eq!(drill.verdict(&format!("{webhook}.latency")), "pass");
        assert_eq!(drill.verdict(&format!("{webhook}.retryAfter")), "pass");
    }
    let chat = drill.scenario("chat_stream_http");
    assert_eq!(chat["stages"][0]["statuses"], json!({"200": 32}));
    assert!(chat["latencyMs"]["firstByte"]["p95"].as_f64() > Some(0.0));
    let delta = &drill.report["serverDelta"];
    assert!(delta["before"].is_object() && delta["after"].is_object());
    assert!(drill.log.contains("whatsapp_webhook"), "progress: {}", drill.log);
}

#[test]
fn a_soak_watches_what_grows() {
    let server = Setup::sandbox().start();
    let arguments = ["--profile", "soak", "--duration", "5s", "--scenarios", "whatsapp_webhook"];
    let drill = drill(server.url(), &arguments, &[]);
    for row in ["memory", "openFiles", "tasks", "mailboxDepth", "stateBytes"] {
        // So short a soak cannot tell a leak from a server that warms up.
        let verdict = drill.verdict(&format!("soak.{row}"));
        assert!(["pass", "fail"].contains(&verdict), "{row}: {verdict}");
    }
}

/// Processes that do nothing but use one processor; ended with the test.
struct Hogs(Vec<Child>);

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

#[test]
fn a_generator_that_shares_its_processor_with_hogs_says_that_it_is_invalid() {
    let server = answering(500);
    let directory = TempDir::new().unwrap();
    let hog = || {
        let mut command = Command::new("taskset");
        command.args(["-c", "0", "sh", "-c", "while :; do :; done"]).stdin(Stdio::null());
        command.spawn().expect("taskset is of util-linux")
    };
    let slo = directory.path().join("slo.json");
    let promised = SloBaseline::BUILT_IN.replace("1500", "20");
    std::fs::write(&slo, promised).unwrap();
    let hogs = Hogs((0..3).map(|_| hog()).collect());
    let mut command = Command::new("taskset");
    command.args(["-c", "0", "nice", "-n", "5", env!("CARGO_BIN_EXE_sendcat"), "drill"]);
    command.args(["--format", "json", "--duration", "2s", "--rate", "100"]);
    command.args(["--scenarios", "whatsapp_webhook", "--base-url", &server.url()]);
    command.arg("--slo").arg(slo).arg("--out").arg(directory.path());
    let output = command.env_clear().env("PATH", "/usr/bin:/bin").output();
    drop(hogs);
    let drill = read(output.unwrap());
    // Every answer was a 500, and yet nothing is said of the server.
    assert_eq!((drill.code, &drill.report["verdict"]), (4, &json!("INVALID")), "{}", drill.log);
    assert_eq!(drill.verdict("whatsapp_webhook.http5xx"), "fail");
}

#[test]
fn what_cannot_be_chatted_with_is_skipped_and_fails_only_whoever_asked_for_it() {
    let server = answering(403);
    let skipped = drill(&server.url(), &["--quick=true", "--duration", "1s"], &[]);
    assert_eq!((skipped.code, &skipped.report["verdict"]), (0, &json!("PASS")), "{}", skipped.log);
    assert_eq!(skipped.verdict("chat_stream_http.scenario"), "skipped");
    let named = ["--quick=true", "--duration", "1s", "--scenarios", "chat_stream_http"];
    let named = drill(&server.url(), &named, &[]);
    assert_eq!((named.code, &named.report["verdict"]), (3, &json!("INCONCLUSIVE")));
}

#[test]
fn streams_that_never_began_are_no_data_and_the_token_is_in_no_report() {
    let server = answering(401);
    let arguments = ["--quick=true", "--duration", "1s", "--scenarios", "chat_stream_http"];
    let planted = [("RELIABILITY_AUTH_TOKEN", "planted-secret"), ("RELIABILITY_THREAD_ID", "t")];
    let drill = drill(&server.url(), &arguments, &planted);
    assert_eq!(
        (drill.code, &drill.report["verdict"]),
        (3, &json!("INCONCLUSIVE")),
        "{}",
        drill.log
    );
    assert_eq!(drill.verdict("chat_stream_http.streamCut"), "no_data");
    assert_eq!(drill.verdict("chat_stream_http.firstByte"), "no_data");
    assert!(!drill.report.to_string().contains("planted") && !drill.log.contains("planted"));
}

#[test]
fn a_certainly_broken_gate_ends_the_drill_early_where_that_was_asked() {
    let server = answering(500);
    let arguments = ["--quick=true", "--abort-on-fail", "1s"];
    let drill = drill(&server.url(), &arguments, &[]);
    assert_eq!((drill.code, &drill.report["verdict"]), (1, &json!("FAIL")), "{}", drill.log);
    let stage = &drill.scenario("whatsapp_webhook")["stages"][0];
    assert!(stage["planned"].as_u64() < Some(200), "{stage}");
    assert!(drill.report["reasons"].to_string().contains("ended early"), "{}", drill.report);
}

#[test]
fn nobody_there_is_unreachable_and_contradicting_flags_are_misuse() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(drill(&format!("http://{closed}"), &["--quick=true"], &[]).code, 5);
    let url = "http://127.0.0.1:1";
    assert_eq!(drill(url, &["--concurrency", "3"], &[]).code, 2);
    assert_eq!(drill(url, &["--profile", "tiny"], &[]).code, 2);
    assert_eq!(drill("http://192.0.2.1", &[], &[]).code, 2, "another machine, without leave");
}

#[test]
fn the_generator_shows_by_itself_that_its_latencies_are_true() {
    let run = || drill("http://127.0.0.1:1", &["--self-test"], &[]);
    let mut shown = run();
    if shown.code == 4 {
        shown = run();
    }
    assert_eq!((shown.code, &shown.report["verdict"]), (0, &json!("PASS")), "{}", shown.report);
    assert_eq!(shown.verdict("self_test.p999"), "pass");
}

#[test]
fn a_dry_run_says_what_so_many_requests_can_prove_and_asks_nothing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sendcat"));
    command.args(["drill", "--quick=true", "--dry-run", "--scenarios", "whatsapp_webhook"]);
    command.env_clear().args(["--base-url", "http://127.0.0.1:1"]);
    let output = command.output().unwrap();
    let expected = "whatsapp_webhook: 300 requests, open model\n\
        \x20 300 @ 20 rps, 15.0 s\n\
        \x20 latency <= 5.00 %: passes up to 15 bad, proved up to 8\n\
        \x20 http5xx <= 1.00 %: passes up to 3 bad, proved up to 0\n\
        \x20 network <= 2.00 %: passes up to 6 bad, proved up to 1\n\
        \x20 unknownStatus <= 5.00 %: passes up to 15 bad, proved up to 8\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    assert_eq!(output.status.code(), Some(0));
}
