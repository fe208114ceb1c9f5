//! Nothing measured is never 100 %; foreign files are named; many reports are quick.

use serde_json::{Value, json};

use super::*;
use crate::slo::policy::Policy as _;

const NOW: Duration = Duration::from_secs(1_771_400_000);

fn drill(n: u64, hours_ago: u64, bad: u64) -> String {
    let at = |secs: u64| {
        let time = std::time::UNIX_EPOCH + NOW - Duration::from_secs(hours_ago * 3600 + secs);
        humantime::format_rfc3339_millis(time).to_string()
    };
    let check = crate::slo::gates::gate(
        "whatsapp_webhook",
        "http5xx",
        Share::new(bad, 820),
        0.01,
        "answers 5xx",
    );
    json!({
        "schema": SCHEMA, "kind": "load-drill", "id": format!("run-{n}"), "startedAt": at(60),
        "endedAt": at(0), "tool": {"version": "1"}, "host": {"cpus": 2},
        "target": {"baseUrl": "http://127.0.0.1:1"}, "inputs": [], "seed": 1, "verdict": "PASS",
        "exitCode": 0, "checks": [check], "scenarios": [], "artifacts": [], "next": [],
        "profile": "standard", "labels": {"deploy": if n < 2 { "a" } else { "b" }},
    })
    .to_string()
}

fn dashboard(files: &[(&str, String)]) -> Dashboard {
    let mut read = Read::default();
    files.iter().for_each(|(name, text)| read.file(name, text));
    let (slo, gate, owners) = (SloBaseline::built_in(), GatePolicy::built_in(), Owners::built_in());
    let policies = Policies { slo: &slo, gate: &gate, owners: &owners };
    Dashboard::of(&read, policies, 12, NOW)
}

fn row<'a>(dashboard: &'a Dashboard, id: &str) -> &'a Objective {
    dashboard.objectives.iter().find(|row| row.id == id).unwrap()
}

#[test]
fn an_objective_that_nobody_measured_has_no_data_and_no_budget() {
    let empty = dashboard(&[]);
    assert!(empty.is_incomplete());
    for row in &empty.objectives {
        assert_eq!((row.state, row.budget_left, row.observed), ("no_data", None, None));
    }
    assert!(html(&empty).contains("nodata") && !html(&empty).contains("100 %"));
}

#[test]
fn twelve_drills_that_each_passed_burn_past_the_long_limit_and_stand_first() {
    let files: Vec<_> = (0..12).map(|n| ("f", drill(n, 12 - n, 5))).collect();
    let found = dashboard(&files);
    let worst = &found.objectives[0];
    assert_eq!(worst.id, "whatsapp_webhook.http5xx");
    assert_eq!((worst.reports, worst.trend.len()), (12, 12));
    assert_eq!(worst.short.verdict, Some(CheckVerdict::Pass));
    assert_eq!(worst.long.verdict, Some(CheckVerdict::Fail));
    assert_eq!(worst.deploys, [2]);
    assert_eq!(format!("{:.2}", worst.budget_left.unwrap()), "0.39");
}

#[test]
fn the_order_of_files_changes_nothing() {
    let mut files: Vec<_> = (0..6).map(|n| ("f", drill(n, 6 - n, n))).collect();
    let forward = dashboard(&files);
    files.reverse();
    assert_eq!(dashboard(&files), forward);
}

#[test]
fn an_old_report_is_stale_and_says_so() {
    let found = dashboard(&[("f", drill(1, 24 * 8, 0))]);
    assert_eq!(row(&found, "whatsapp_webhook.http5xx").state, "stale");
    assert!(html(&found).contains("tile stale"));
}

#[test]
fn a_file_that_is_no_report_is_named_and_skipped() {
    let other = json!({"schema": "else/1"}).to_string();
    let found = dashboard(&[
        ("cut.json", r#"{"schema": "sendcat.rep"#.to_owned()),
        ("else.json", other),
        ("half.json", json!({"schema": SCHEMA}).to_string()),
        ("good.json", drill(1, 1, 0)),
    ]);
    let names: Vec<_> = found.skipped.iter().map(|it| it.file.as_str()).collect();
    assert_eq!(names, ["cut.json", "else.json", "half.json"]);
    assert_eq!(row(&found, "whatsapp_webhook.http5xx").state, "fresh");
    let json: Value = serde_json::to_value(&found).unwrap();
    assert_eq!(json["skipped"][0]["file"], "cut.json");
}

#[test]
fn a_line_of_a_terminal_has_at_most_eighty_columns() {
    let files: Vec<_> = (0..12).map(|n| ("f", drill(n, 12 - n, 820))).collect();
    let text = human(&dashboard(&files));
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{text}");
}
