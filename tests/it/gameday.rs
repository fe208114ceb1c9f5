//! `sendcat gameday` against real servers: a healthy one holds, a crippled one deviates, and a
//! fault is always taken back, by the tool or by the server.

use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Caller, answer, run};
use crate::support::server::{Server, Setup};
use crate::support::webhook::{OPS_TOKEN, SECRET, eventually, sandboxed_receiver};

/// A server on which a game day of seconds shows something.
fn server() -> Setup {
    sandboxed_receiver()
        .with("RATE_LIMIT_WHATSAPP_MAX", 100_000)
        .with("RATE_LIMIT_ANON_IP_MAX", 100_000)
        .with("RATE_LIMIT_CHAT_STREAM_MAX", 100_000)
        .with("CIRCUIT_OPENROUTER_THRESHOLD", 3)
        .with("CIRCUIT_OPENROUTER_COOLDOWN_MS", 1_000)
}

/// Reports of one test.
struct Stand {
    server: Server,
    out: TempDir,
}

/// What a game day said.
struct Ended {
    code: Option<i32>,
    report: Value,
    said: String,
}

impl Ended {
    fn day(&self) -> &Value {
        &self.report["details"]["gameDays"][0]
    }

    fn score(&self) -> &str {
        self.day()["score"].as_str().unwrap_or_default()
    }

    fn check(&self, id: &str) -> &str {
        let rows = self.report["checks"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["id"].as_str().is_some_and(|it| it.ends_with(id)));
        row.unwrap_or_else(|| panic!("no {id}: {}", self.said))["verdict"].as_str().unwrap()
    }
}

impl Stand {
    fn of(setup: Setup) -> Self {
        Self { server: setup.start(), out: TempDir::new().unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sendcat"));
        command.arg("gameday").args(["--base-url", self.server.url(), "--format", "json"]);
        if !arguments.contains(&"--out") {
            command.arg("--out").arg(self.out.path());
        }
        command.args(arguments);
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.env("OPS_TOKEN", OPS_TOKEN).env("WHATSAPP_APP_SECRET", SECRET);
        command.env("RELIABILITY_AUTH_TOKEN", self.server.banner("chat token"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn plays(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments).output().expect("it runs"))
    }

    fn plays_plan(&self, plan: &Value) -> Ended {
        let file = self.plan_file(plan);
        self.plays(&["--yes", "--plan", &file])
    }

    fn plan_file(&self, plan: &Value) -> String {
        let file = self.out.path().join("plan.json");
        std::fs::write(&file, serde_json::to_string_pretty(plan).unwrap()).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// Switches a guard of the server off, for longer than any test.
    fn without(self, guard: &str) -> Self {
        run(async {
            let body = json!({"fault": "guard.off", "target": guard, "ttlS": 300}).to_string();
            let caller = Caller::of(&self.server);
            let request = caller.post_json("/ops/faults", body).bearer_auth(OPS_TOKEN);
            assert_eq!(answer(request).await.status, 200);
        });
        self
    }

    fn in_force(&self) -> Vec<Value> {
        let caller = Caller::of(&self.server);
        let seen = run(caller.sees("/ops/faults"));
        seen["leases"].as_array().cloned().unwrap_or_default()
    }
}

fn ended(Output { status, stdout, stderr }: Output) -> Ended {
    let said = String::from_utf8_lossy(&stderr).into_owned();
    let report = serde_json::from_slice(&stdout).unwrap_or_default();
    Ended { code: status.code(), report, said }
}

/// A plan of seconds with that hypothesis.
fn plan(fault: &str, hypothesis: &Value) -> Value {
    json!({
        "id": "test", "fault": fault, "ttlS": 60, "hypothesis": hypothesis,
        "baselineS": 2, "faultS": 5, "recoveryS": 10,
        "stopConditions": [{"sli": "failures", "scenario": "health", "op": ">", "value": 50}],
    })
}

fn provider_away() -> Value {
    let open = json!([
        {"sli": "circuitsOpen", "scenario": "server", "op": ">=", "value": 1},
        {"sli": "http500", "scenario": "chat_stream_http", "op": "==", "value": 0},
    ]);
    let mut plan = plan("provider.brownout", &open);
    plan["params"] = json!({"percent": 100, "ms": 0});
    plan
}

fn surge() -> Value {
    let mut plan = plan(
        "webhook.replay_surge",
        &json!([
            {"sli": "unreplayed", "scenario": "attack", "op": "==", "value": 0},
            {"sli": "http5xx", "scenario": "attack", "op": "<=", "value": 0.01},
            {"sli": "unreplayed", "scenario": "whatsapp_replay", "op": "<=", "value": 0},
        ]),
    );
    plan["recoveryS"] = 3.into();
    plan
}

fn hang() -> Value {
    let noticed = json!([
        {"sli": "hangRestarts", "scenario": "server", "op": ">=", "value": 1},
        {"sli": "http500", "scenario": "whatsapp_webhook", "op": "==", "value": 0},
        {"sli": "unreplayed", "scenario": "whatsapp_replay", "op": "<=", "value": 1},
    ]);
    let mut plan = plan("actor.hang", &noticed);
    plan["target"] = "idempotency".into();
    plan["faultS"] = 6.into();
    plan
}

fn holds(plan: &Value) {
    let stand = Stand::of(server());
    let ended = stand.plays_plan(plan);
    assert_eq!((ended.score(), ended.code), ("HELD", Some(0)), "{}\n{}", ended.report, ended.said);
    assert_eq!(ended.day()["revertVerified"], true);
    assert!(ended.day()["witness"].as_u64() > Some(0), "{}", ended.report);
    assert_eq!(stand.in_force(), Vec::<Value>::new());
}

fn deviates(plan: &Value, guard: &str, row: &str) {
    let stand = Stand::of(server()).without(guard);
    let ended = stand.plays_plan(plan);
    let found = (ended.score(), ended.code);
    assert_eq!(found, ("DEVIATED", Some(1)), "{}\n{}", ended.report, ended.said);
    assert_eq!(ended.check(row), "fail");
    assert_eq!(ended.day()["revertVerified"], true);
    let left = stand.in_force();
    assert!(left.len() == 1 && left[0]["fault"] == "guard.off", "{left:?}");
}

#[test]
fn a_fault_that_changes_nothing_deviates_in_none_of_three_runs() {
    let stands = [(); 3].map(|()| Stand::of(server()));
    std::thread::scope(|scope| {
        for stand in &stands {
            scope.spawn(|| {
                let ended = stand.plays(&["--yes", "--faults", "noop", "--profiles", "quick"]);
                let found = (ended.score(), ended.code);
                assert_eq!(found, ("HELD", Some(0)), "{}\n{}", ended.report, ended.said);
                assert_eq!(ended.day()["plan"]["baselineS"], 2);
                assert_eq!(ended.day()["probesFailed"], json!([]));
            });
        }
    });
    let [stand, ..] = &stands;
    let journal = std::fs::read_to_string(stand.out.path().join("game-day-journal.jsonl")).unwrap();
    assert_eq!(journal.lines().count(), 1);
    let listed = stand.command(&["--list"]).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(!listed.contains("#first-five-minutes, never"), "{listed}");
    assert!(listed.contains("#circuit-open, never exercised"), "{listed}");
}

#[test]
fn a_provider_that_is_away_opens_the_circuit_of_a_healthy_server() {
    holds(&provider_away());
}

#[test]
fn without_its_breakers_a_server_deviates() {
    deviates(&provider_away(), "breaker", "server.circuitsOpen");
}

#[test]
fn a_surge_of_duplicates_has_one_effect_on_a_healthy_server() {
    holds(&surge());
}

#[test]
fn without_replay_protection_a_server_deviates() {
    // Without it from the start no baseline would be steady: it goes while the surge goes on.
    let stand = Stand::of(server());
    let file = stand.plan_file(&surge());
    let mut tool = stand.command(&["--yes", "--plan", &file]).spawn().expect("it runs");
    let _stand = under_the_fault(stand, &mut tool).without("replay");
    let ended = ended(tool.wait_with_output().unwrap());
    let found = (ended.score(), ended.code);
    assert_eq!(found, ("DEVIATED", Some(1)), "{}\n{}", ended.report, ended.said);
    assert_eq!(ended.check("attack.unreplayed"), "fail");
}

#[test]
fn an_actor_that_hangs_is_noticed_by_a_healthy_server() {
    holds(&hang());
}

#[test]
fn without_its_watchdog_a_server_deviates() {
    deviates(&hang(), "watchdog", "server.hangRestarts");
}

/// The plan that ships under that name, with spans of seconds.
fn shipped(name: &str, fault_s: u64) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sendcat"));
    let shown = command.args(["gameday", "--dry-run", "--faults", name]).output().unwrap();
    let mut plan: Value = serde_json::from_slice(&shown.stdout).unwrap();
    plan["baselineS"] = 1.into();
    plan["faultS"] = fault_s.into();
    for expected in plan["hypothesis"].as_array_mut().unwrap() {
        // How fast a debug build starts on a busy machine is not what is asked here.
        if expected["scenario"] == "restart" {
            expected["value"] = 20_000.into();
        }
    }
    plan["recoveryS"] = 20.into();
    plan
}

#[test]
fn a_server_of_the_tools_own_bears_what_is_done_to_its_process() {
    let stand = Stand::of(server());
    let table = [
        ("process.sigkill", 7),
        ("process.sigstop", 9),
        ("disk.corrupt", 7),
        ("actor-panic-storm", 6),
    ];
    std::thread::scope(|scope| {
        for (nth, (name, fault_s)) in table.into_iter().enumerate() {
            let stand = &stand;
            scope.spawn(move || {
                let file = stand.out.path().join(format!("{nth}.json"));
                std::fs::write(&file, shipped(name, fault_s).to_string()).unwrap();
                let out = stand.out.path().join(nth.to_string());
                let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
                let ended = stand.plays(&["--yes", "--plan", file, "--out", out]);
                let found = (ended.score(), ended.code);
                let told = format!("{name}\n{}\n{}", ended.report, ended.said);
                assert_eq!(found, ("HELD", Some(0)), "{told}");
                assert_eq!(ended.day()["revertVerified"], true);
                assert!(ended.day()["witness"].as_u64() > Some(0), "{told}");
            });
        }
    });
}

#[test]
fn a_server_whose_alerts_nobody_takes_has_one_to_send_and_works_on() {
    let stand = Stand::of(server());
    let mut plan = shipped("sentry.down", 6);
    plan["recoveryS"] = 3.into();
    let ended = stand.plays_plan(&plan);
    let told = format!("{}\n{}", ended.report, ended.said);
    assert_eq!((ended.score(), ended.code), ("HELD", Some(0)), "{told}");
    assert!(ended.day()["witness"].as_u64() > Some(0), "{told}");
}

/// Waits until the tool says that it is under the fault.
fn under_the_fault(stand: Stand, tool: &mut Child) -> Stand {
    use std::io::{BufRead as _, BufReader};
    let mut lines = BufReader::new(tool.stderr.take().expect("it is piped"));
    let mut line = String::new();
    while !line.contains("Fault from") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it ended before its fault");
    }
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    stand
}

fn long(fault: &str, ttl_s: u64) -> Value {
    let calm = json!([{"sli": "actorsDown", "scenario": "server", "op": "==", "value": 0}]);
    let mut plan = plan(fault, &calm);
    plan["faultS"] = ttl_s.into();
    plan["ttlS"] = ttl_s.into();
    plan
}

#[test]
fn a_tool_that_is_killed_leaves_no_fault_behind_for_longer_than_its_lease() {
    let stand = Stand::of(server());
    let file = stand.plan_file(&long("disk.slow", 5));
    let mut tool = stand.command(&["--yes", "--plan", &file]).spawn().expect("it runs");
    let stand = under_the_fault(stand, &mut tool);
    assert_eq!(stand.in_force().len(), 1);
    tool.kill().unwrap();
    tool.wait().unwrap();
    let caller = Caller::of(&stand.server);
    run(eventually("the server takes it back", async || {
        let seen = caller.sees("/ops/faults").await;
        let over = seen["ended"].as_array()?.iter().any(|row| row["endedBy"] == "ttl");
        (over && seen["leases"].is_null()).then_some(())
    }));
}

#[test]
fn a_tool_that_is_told_to_end_takes_its_fault_back_first() {
    let stand = Stand::of(server());
    let file = stand.plan_file(&long("disk.slow", 60));
    let mut tool = stand.command(&["--yes", "--plan", &file]).spawn().expect("it runs");
    let stand = under_the_fault(stand, &mut tool);
    let pid = tool.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    let ended = ended(tool.wait_with_output().unwrap());
    assert_eq!((ended.score(), ended.code), ("ABORTED", Some(6)), "{}", ended.report);
    assert_eq!(ended.day()["aborted"]["why"], "interrupted");
    assert_eq!(ended.report["verdict"], "ABORTED");
    assert_eq!(stand.in_force(), Vec::<Value>::new());
}

#[test]
fn a_revert_that_does_not_come_about_is_said_with_what_to_type() {
    let stand = Stand::of(server()).without("revert");
    let mut plan = long("disk.slow", 60);
    plan["faultS"] = 2.into();
    let ended = stand.plays_plan(&plan);
    assert_eq!(ended.code, Some(7), "{}\n{}", ended.report, ended.said);
    assert_eq!(ended.day()["revertVerified"], false);
    assert!(ended.said.contains("revert by hand: curl -X DELETE"), "{}", ended.said);
    assert_eq!(ended.report["next"].as_array().unwrap().len(), 3);
    assert!(!ended.report.to_string().contains(OPS_TOKEN), "no secret is in a report");
}

#[test]
fn what_is_not_meant_is_not_done() {
    let stand = Stand::of(server());
    let noop = ["--faults", "noop"];
    let said = |arguments: &[&str]| {
        let output = stand.command(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, why) = said(&noop);
    assert!(code == Some(2) && why.contains("say --yes"), "{why}");
    let away = ["--yes", "--faults", "noop", "--base-url", "http://203.0.113.1"];
    let output = Command::new(env!("CARGO_BIN_EXE_sendcat")).arg("gameday").args(away).output();
    let output = output.unwrap();
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && why.contains("--allow-remote"), "{why}");
    let mut empty = long("noop", 5);
    empty["hypothesis"] = json!([]);
    let file = stand.plan_file(&empty);
    let (code, why) = said(&["--yes", "--plan", &file]);
    assert!(code == Some(2) && why.contains("plan.json:") && why.contains("hypothesis"), "{why}");
    let (code, why) = said(&["--yes", "--faults", "store.away"]);
    assert!(code == Some(2) && why.contains("no shared store"), "{why}");
    let (code, _) = said(&["--dry-run", "--faults", "provider.brownout"]);
    assert_eq!((code, stand.in_force()), (Some(0), Vec::new()));
}

#[test]
fn a_server_without_operators_cannot_be_played_with() {
    let server = Setup::sandbox().with("OPS_TOKEN", "another").start();
    let stand = Stand { server, out: TempDir::new().unwrap() };
    let ended = stand.plays(&["--yes", "--faults", "noop"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(ended.said.contains("OPS_TOKEN"), "{}", ended.said);
}
