//! Nothing measured is never 100 %; foreign files are named; many reports are quick.

use serde_json::{Value, json};

use super::*;
use crate::slo::policy::Policy as _;
use crate::slo::report::{Scenario, Stage};

const NOW: Duration = Duration::from_secs(1_771_400_000);

fn drill(n: u64, hours_ago: u64, bad: u64) -> String {
    let at = |secs: u64| {
        let time = std::time::UNIX_EPOCH + NOW - Duration::from_secs(hours_ago * 3600 + secs);
        humantime::format_rfc3339_millis(time).to_string()
    };
    let mut scenario = Scenario { id: "whatsapp_webhook".to_owned(), ..Scenario::default() };
    let statuses = [(403, 820 - bad), (500, bad)].into_iter().filter(|(_, count)| *count > 0);
    let statuses = statuses.collect();
    scenario.stages.push(Stage { planned: 820, started: 820, statuses, ..Stage::default() });
    json!({
        "schema": SCHEMA, "kind": "load-drill", "id": format!("run-{n}"), "startedAt": at(60),
        "endedAt": at(0), "tool": {"version": "1"}, "host": {"cpus": 2},
        "target": {"baseUrl": "http://127.0.0.1:1"}, "inputs": [], "seed": 1, "verdict": "PASS",
        "exitCode": 0, "checks": [], "scenarios": [scenario], "artifacts": [], "next": [],
        "profile": "standard", "labels": {"deploy": if n < 2 { "a" } else { "b" }},
    })
    .to_string()
}

fn dashboard(files: &[(&str, String)]) -> Dashboard {
    let mut read = Read::default();
    files.iter().for_each(|(name, text)| read.file(name, text));
    let (slo, gate, owners) = (SloBaseline::built_in(), GatePolicy::built_in(), Owners::built_in());
    let exercised = BTreeMap::from([("circuit-open".to_owned(), "2026-02-17".to_owned())]);
    let policies =
        Policies { slo: &slo, slo_hash: "", gate: &gate, owners: &owners, exercised: &exercised };
    Dashboard::of(&read, policies, 12, NOW)
}

fn row<'a>(dashboard: &'a Dashboard, id: &str) -> &'a Objective {
    dashboard.objectives.iter().find(|row| row.id == id).unwrap()
}

#[test]
fn an_objective_that_nobody_measured_has_no_data_and_no_budget() {
    let empty = dashboard(&[]);
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

#[test]
fn the_drill_inside_a_gate_counts_and_a_run_that_was_invalid_does_not() {
    let gate = drill(1, 3, 9).replace("load-drill", "release-gate");
    let invalid = drill(2, 1, 820).replace("\"PASS\"", "\"INVALID\"");
    let found = dashboard(&[("gate", gate), ("invalid", invalid)]);
    let row = row(&found, "whatsapp_webhook.http5xx");
    assert_eq!((row.short.bad, row.short.total, row.reports), (9, 820, 1));
    assert_eq!(row.standing(), Standing::Fail, "{row:?}");
}

#[test]
fn one_report_alone_proves_no_objective_and_is_no_pass() {
    let found = dashboard(&[("f", drill(1, 1, 0))]);
    assert_eq!(row(&found, "whatsapp_webhook.http5xx").standing(), Standing::Unproven);
}

#[test]
fn rows_are_named_as_the_gate_names_them_and_what_is_stale_has_no_verdict() {
    let files: Vec<_> = (0..3).map(|n| ("f", drill(n, 24 * 8 + n, 820))).collect();
    let stale = dashboard(&files);
    let rows = stale.checks();
    assert_eq!(rows.len(), 2 * stale.objectives.len());
    assert!(rows.iter().all(|row| row.verdict == CheckVerdict::NoData), "{rows:?}");
    assert!(rows.iter().any(|row| row.id == "burn.whatsapp_webhook.http5xx.long"));
}

#[test]
fn a_reason_to_skip_a_file_quotes_nothing_of_it() {
    let text = drill(1, 1, 0).replace("\"load-drill\"", "\"planted-in-the-file\"");
    let found = dashboard(&[("odd.json", text)]);
    assert_eq!(found.skipped.len(), 1);
    let texts = [human(&found), markdown(&found), html(&found)];
    assert!(texts.iter().all(|text| !text.contains("planted")), "{texts:?}");
}
