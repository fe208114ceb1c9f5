//! `sendcat dashboard` over folders of reports: its renderings, its exit codes, how long it takes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sendcat::report::dashboard::{self, Dashboard, Policies, Read};
use sendcat::slo::policy::{GatePolicy, Owners, Policy as _, SloBaseline};
use sendcat::slo::report::{Kind, Report};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fixed;
use crate::support::scene::timed;

/// When the fixed dashboard is asked, since the Unix epoch.
const NOW: Duration = Duration::from_secs(1_771_400_000);

/// How long it may take over 500 reports (OPERATIONS.md §7).
const WITHIN: Duration = Duration::from_secs(1);

fn moment(since_epoch: Duration) -> String {
    let at = std::time::UNIX_EPOCH + since_epoch;
    humantime::format_rfc3339_millis(at).to_string()
}

/// A drill of that number, each an hour after the one before, the last one an hour before `now`.
fn drill(number: u64, of: u64, now: Duration) -> Report {
    let ended = now - Duration::from_secs(3600 * (of - number));
    let mut report = fixed::drill();
    report.id = format!("drill-{number}");
    report.started_at = moment(ended - Duration::from_secs(60));
    report.ended_at = moment(ended);
    report.labels.insert("deploy".to_owned(), (number / 5).to_string());
    report
}

/// Of twelve drills, the newest of which is a gate's.
pub(super) fn dashboard() -> Dashboard {
    let mut read = Read::default();
    for number in 0..12 {
        let mut report = drill(number, 12, NOW);
        if number == 11 {
            report.kind = Kind::ReleaseGate;
        }
        read.file("drill.json", &serde_json::to_string(&report).unwrap());
    }
    read.file("cut.json", "{");
    let (slo, gate, owners) = (SloBaseline::built_in(), GatePolicy::built_in(), Owners::built_in());
    let page = ("circuit-open".to_owned(), "2026-02-17T10:00:00.000Z".to_owned());
    let policies = Policies {
        slo: &slo,
        slo_hash: &sendcat::contract::signature::digest(SloBaseline::BUILT_IN.as_bytes()),
        gate: &gate,
        owners: &owners,
        exercised: &BTreeMap::from([page]),
    };
    Dashboard::of(&read, policies, 12, NOW)
}

#[test]
fn every_rendering_of_a_dashboard_is_as_it_was_agreed() {
    let dashboard = dashboard();
    let forms = [
        ("human", dashboard::human(&dashboard)),
        ("md", dashboard::markdown(&dashboard)),
        ("html", dashboard::html(&dashboard)),
        ("json", serde_json::to_string_pretty(&dashboard).unwrap()),
    ];
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        for (form, text) in forms {
            insta::assert_snapshot!(format!("dashboard.{form}"), text);
        }
    });
}

fn asked(out: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sendcat"));
    command.arg("dashboard").args(arguments).arg("--out").arg(out).env_clear();
    let output = command.output().expect("it runs");
    (output.status.code(), String::from_utf8(output.stdout).expect("it prints text"))
}

fn write(folder: &Path, report: &Report) {
    let path = folder.join(format!("load-drill-standard-{}.json", report.id));
    std::fs::write(path, serde_json::to_vec(report).unwrap()).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the command asks the machine's clock")]
fn now() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}

#[test]
fn a_failing_objective_ends_in_1_and_missing_data_in_3_only_where_that_was_asked() {
    let out = TempDir::new().unwrap();
    assert_eq!(asked(out.path(), &[]).0, Some(0));
    assert_eq!(asked(out.path(), &["--strict"]).0, Some(3));
    assert_eq!(asked(out.path(), &["--strict", "--inconclusive-as", "1"]).0, Some(1));
    let now = now();
    for number in 0..3 {
        let mut sound = drill(number, 3, now);
        sound.scenarios.retain(|scenario| scenario.id == "whatsapp_webhook");
        write(out.path(), &sound);
    }
    assert_eq!(asked(out.path(), &[]).0, Some(0));
    assert_eq!(asked(out.path(), &["--strict"]).0, Some(3), "of chats nothing is known");
    let mut failing = drill(3, 3, now);
    for scenario in &mut failing.scenarios {
        scenario.stages[0].statuses = BTreeMap::from([(500, 300)]);
    }
    failing.ended_at = moment(now);
    write(out.path(), &failing);
    assert_eq!(asked(out.path(), &["--strict"]).0, Some(1));
    let (code, junit) = asked(out.path(), &["--format", "junit", "--quiet"]);
    assert_eq!(code, Some(1));
    let named = "<testcase name=\"burn.whatsapp_webhook.http5xx.short\"";
    let case = junit.split(named).nth(1).expect("a case of each row");
    assert!(case.split("</testcase>").next().unwrap().contains("<failure"), "{junit}");
    let (code, prom) = asked(out.path(), &["--format", "prom", "--quiet"]);
    assert_eq!(code, Some(1));
    let lines = prom.lines().map(|line| Ok(line.to_owned()));
    let scraped = prometheus_parse::Scrape::parse(lines).expect("Prometheus reads it");
    assert!(scraped.samples.iter().any(|sample| sample.metric == "sendcat_check_burn_rate"));
}

#[test]
fn five_hundred_reports_are_read_at_once() {
    let out = TempDir::new().unwrap();
    let now = now();
    // As large as a real one: the snapshots of the server are most of it.
    let row = json!({"name": "rate_limiter-0", "state": "running", "mailbox": {"depth": 0}});
    let snapshot = Value::Array(vec![row; 400]);
    let mut report = drill(0, 500, now);
    report.server_delta = Some(json!({"before": snapshot.clone(), "after": snapshot}));
    let text = serde_json::to_string_pretty(&report).unwrap();
    for number in 0..500 {
        let ended = now - Duration::from_secs(3600 * (500 - number));
        let started = moment(ended - Duration::from_secs(60));
        let of_it = text
            .replace("drill-0\"", &format!("drill-{number}\""))
            .replace(&report.started_at, &started)
            .replace(&report.ended_at, &moment(ended));
        std::fs::write(out.path().join(format!("load-drill-{number}.json")), of_it).unwrap();
    }
    // The quickest of three: this machine has other tests to run.
    let ask = || timed(|| asked(out.path(), &["--format", "json"]));
    let ((code, text), took) = [ask(), ask(), ask()].into_iter().min_by_key(|it| it.1).unwrap();
    let told: Value = serde_json::from_str(&text).expect("it prints JSON");
    let known = told["objectives"].as_array().unwrap().iter();
    assert_eq!(known.filter(|row| row["reports"] == 12).count(), 10, "{text}");
    assert_eq!(code, Some(1));
    assert!(took < WITHIN, "{took:?}");
}
