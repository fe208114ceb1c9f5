//! A release that shows all it must is let through; with any one input broken it is not, by the
//! right code, and whoever answers for it is named.

mod mutants;

use serde_json::json;

use super::*;
use crate::slo::burn::runs::counted;
use crate::slo::policy::{self, Policy, gate::Required};
use crate::slo::report::{ErrorKind, Histogram, Latencies, Report, Scenario, Stage};
use crate::slo::verdict::{Circumstance, Judging, Outcome, RunVerdict, outcome};

const HASH: &str = "5e";
const HOUR: u64 = 3600;
/// When the gate is asked, and when its own drill ended.
const NOW: u64 = 1_771_400_000;

/// Everything the gate judges, and by what.
struct Case {
    policy: GatePolicy,
    slo: SloBaseline,
    owners: Owners,
    hash: String,
    evidence: Evidence,
}

/// A scenario of a quick drill with these statuses, each answer after 5 ms.
fn scenario(name: &str, statuses: &[(u16, u64)], errors: &[(ErrorKind, u64)]) -> Scenario {
    let mut histogram = Histogram::default();
    let answers: u64 = statuses.iter().map(|(_, count)| count).sum();
    (0..answers).for_each(|_| histogram.record_us(5000));
    let started = answers + errors.iter().map(|(_, count)| count).sum::<u64>();
    let mut scenario = Scenario { id: name.to_owned(), ..Scenario::default() };
    scenario.latency_ms.corrected = Latencies::of(&histogram);
    scenario.latency_ms.first_byte = Some(Latencies::of(&histogram));
    scenario.stages.push(Stage {
        planned: started,
        started,
        statuses: statuses.iter().copied().collect(),
        errors: errors.iter().copied().collect(),
        ..Stage::default()
    });
    scenario
}

fn sound() -> [Scenario; 3] {
    [
        scenario("gmail_push_webhook", &[(403, 300)], &[]),
        scenario("whatsapp_webhook", &[(403, 120), (429, 180)], &[]),
        scenario("chat_stream_http", &[(200, 300)], &[]),
    ]
}

/// A drill's report that ended so many hours before now.
fn report(hours: u64, scenarios: &[Scenario]) -> Report {
    let time = |ago: u64| {
        let at = std::time::UNIX_EPOCH + Duration::from_secs(NOW - ago);
        humantime::format_rfc3339_millis(at).to_string()
    };
    let report = json!({"schema": "sendcat.report/1", "kind": "load-drill",
        "id": format!("drill-{hours}"), "startedAt": time(hours * HOUR + 60),
        "endedAt": time(hours * HOUR), "tool": {"version": "1"}, "host": {"cpus": 2},
        "target": {"baseUrl": "http://127.0.0.1:1"},
        "inputs": [{"path": "slo-baseline.json", "sha256": HASH}], "seed": 1, "verdict": "PASS",
        "exitCode": 0, "checks": [], "scenarios": scenarios, "artifacts": [], "next": [],
        "profile": "quick"});
    serde_json::from_value(report).expect("it is a report")
}

fn drill(scenarios: &[Scenario], slo: &SloBaseline, owners: &Owners) -> Vec<Check> {
    let rows = scenarios.iter().flat_map(|scenario| {
        let promised = &slo.scenarios[&scenario.id];
        let tally = gates::Tally::of(scenario, promised).expect("its histograms can be read");
        gates::rows(&scenario.id, promised, &tally, owners)
    });
    rows.collect()
}

fn probe(id: &str, verdict: CheckVerdict) -> Check {
    let mut row = gates::gate("", "probe", Share::new(0, 1), 0.5, "rounds");
    let owners = Owners::built_in();
    let (owner, runbook) = owners.of("route:/api/chat");
    row.id = format!("probe.{id}");
    (row.verdict, row.owner, row.runbook) = (verdict, owner, runbook.map(str::to_owned));
    row
}

impl Case {
    fn sound() -> Self {
        Self::with(&sound())
    }

    /// The drill of this gate found that; two before it found nothing amiss.
    fn with(scenarios: &[Scenario]) -> Self {
        let (slo, owners) = (SloBaseline::built_in(), Owners::built_in());
        let bulkhead = Bulkhead { provider: "openrouter_chat".into(), in_flight: 21, max: 24 };
        let mut case = Self {
            policy: GatePolicy::built_in(),
            evidence: Evidence {
                probes: vec![probe("chat.auth", CheckVerdict::Pass)],
                drill: Ok(drill(scenarios, &slo, &owners)),
                runs: Vec::new(),
                snapshot: Ok(Seen { bulkheads: vec![bulkhead], ..Seen::default() }),
                now: Duration::from_secs(NOW),
            },
            slo,
            owners,
            hash: HASH.to_owned(),
        };
        case.runs(&[report(0, scenarios), report(2, &sound()), report(30, &sound())]);
        case
    }

    fn runs(&mut self, reports: &[Report]) {
        let of = |report: &Report| counted(&report.into(), &self.slo, HASH);
        self.evidence.runs = reports.iter().flat_map(of).collect();
    }

    fn rows(&self) -> Vec<Check> {
        let rules = Rules {
            policy: &self.policy,
            slo: &self.slo,
            slo_hash: &self.hash,
            profile: "quick",
            owners: &self.owners,
        };
        rows(&self.evidence, rules)
    }

    /// The exit code, and every row that is no pass with who answers for it.
    fn judged(&self, beside: &[Circumstance]) -> (u8, Vec<(String, String)>) {
        let rows = self.rows();
        let verdicts: Vec<_> = rows.iter().map(|row| row.verdict).collect();
        let Outcome { exit_code, .. } = outcome(&verdicts, beside, Judging::default());
        let bad = rows.into_iter().filter(|row| row.verdict != CheckVerdict::Pass);
        (exit_code, bad.map(|row| (row.id, row.owner.team)).collect())
    }
}

#[test]
fn a_release_that_shows_all_it_must_is_let_through_row_by_row() {
    let case = Case::sound();
    assert_eq!(case.judged(&[]), (0, Vec::new()));
    let rows = case.rows();
    assert!(rows.iter().all(|row| !row.owner.team.is_empty() && !row.why.is_empty()));
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    for id in [
        "probe.chat.auth",
        "whatsapp_webhook.http5xx",
        "burn.chat_stream_http.streamCut.short",
        "burn.whatsapp_webhook.http5xx.long",
        "snapshot.maxOpenCircuits",
        "snapshot.maxUnackedCriticalAlerts",
    ] {
        assert!(ids.contains(&id), "{id} in {ids:?}");
    }
    let named = |row: &&Check| row.id.starts_with("snapshot.") || row.id.starts_with("burn.");
    let named: Vec<_> = rows.iter().filter(named).collect();
    assert_eq!(named.len(), 28 + 6, "burn rows of three routes, and what the snapshot is asked");
    assert!(named.iter().all(|row| row.runbook.is_some()), "each has its page");
}

#[test]
fn stale_and_foreign_reports_are_no_data_for_the_long_window_only() {
    let long = |case: &Case| {
        let (code, named) = case.judged(&[]);
        let only = named.iter().all(|(id, _)| id.starts_with("burn.") && id.ends_with(".long"));
        (code, named.len(), only)
    };
    let mut stale = Case::sound();
    stale.runs(&[report(0, &sound()), report(2, &sound()), report(169, &sound())]);
    assert_eq!(long(&stale), (3, 14, true));
    let mut foreign = Case::sound();
    let mut other = report(2, &sound());
    other.inputs[0].sha256 = "other objectives".into();
    foreign.runs(&[report(0, &sound()), other, report(30, &sound())]);
    assert_eq!(long(&foreign), (3, 14, true));
    let mut unfit = Case::sound();
    let mut invalid = report(2, &sound());
    invalid.verdict = RunVerdict::Invalid;
    unfit.runs(&[report(0, &sound()), invalid, report(30, &sound())]);
    assert_eq!(long(&unfit), (3, 14, true));
    // Nobody has drilled for a week: the newest report is stale itself.
    let mut old = Case::sound();
    old.runs(&[report(169, &sound()), report(171, &sound()), report(173, &sound())]);
    let (code, named) = old.judged(&[]);
    assert_eq!((code, named.len()), (3, 28));
    // Other objectives are in force than any report was judged by.
    let mut changed = Case::sound();
    changed.hash = "new objectives".into();
    let (code, named) = changed.judged(&[]);
    assert_eq!(code, 3);
    assert_eq!(named[0], ("burn.chat_stream_http".into(), "chat".into()));
}

#[test]
fn an_invalid_drill_a_missing_server_and_a_missing_snapshot_have_their_own_codes() {
    let case = Case::sound();
    assert_eq!(case.judged(&[Circumstance::Invalid]).0, 4);
    assert_eq!(case.judged(&[Circumstance::Unreachable]).0, 5);
    let mut unseen = Case::sound();
    unseen.evidence.snapshot = Err("OPS_TOKEN is not set here".into());
    let (code, named) = unseen.judged(&[]);
    assert_eq!((code, named.len()), (3, 6));
    assert_eq!(unseen.rows().last().unwrap().why, "no snapshot: OPS_TOKEN is not set here");
}

#[test]
fn an_unproven_row_asks_for_a_larger_drill_and_stays_unproven_only_by_leave() {
    let mut run = sound();
    run[0] = scenario("gmail_push_webhook", &[(403, 299), (500, 1)], &[]);
    let mut case = Case::with(&run);
    let first = case.evidence.drill.clone().unwrap();
    assert_eq!(unproven(&first), ["gmail_push_webhook"]);
    assert_eq!(
        case.judged(&[]),
        (3, vec![("gmail_push_webhook.http5xx".into(), "integrations".into())])
    );
    let larger = [scenario("gmail_push_webhook", &[(403, 817), (500, 3)], &[])];
    let again = drill(&larger, &case.slo, &case.owners);
    let both = escalated(first.clone(), again);
    assert_eq!(both.len(), first.len());
    case.evidence.drill = Ok(both);
    assert_eq!(case.judged(&[]), (0, Vec::new()));
    case.evidence.drill = Ok(first);
    case.policy.drill.allow_unproven = true;
    assert_eq!(case.judged(&[]).0, 0);
    // Of 60 streams none was cut: that proves no 1 %, and no drill of the policy's could.
    let mut small = sound();
    small[2] = scenario("chat_stream_http", &[(200, 60)], &[]);
    let (code, named) = Case::with(&small).judged(&[]);
    assert_eq!((code, named), (0, vec![("chat_stream_http.streamCut".into(), "chat".into())]));
}

#[test]
fn a_skipped_scenario_is_skipped_in_its_burn_too_and_lets_the_rest_through() {
    let run = sound();
    let mut case = Case::with(&run[..2]);
    case.runs(&[report(0, &run[..2]), report(2, &run[..2]), report(30, &run[..2])]);
    let skipped = gates::skipped("chat_stream_http", "RELIABILITY_AUTH_TOKEN is not set");
    case.evidence.drill.as_mut().unwrap().push(skipped);
    let (code, named) = case.judged(&[]);
    let chat = |id: &str| (id.to_owned(), "chat".to_owned());
    assert_eq!(
        (code, named),
        (0, vec![chat("chat_stream_http.scenario"), chat("burn.chat_stream_http")])
    );
}

#[test]
fn a_probe_that_is_not_required_may_fail_and_one_that_is_must_be_asked() {
    let mut case = Case::sound();
    case.policy.probes.required = Required::These(vec!["health.live".into()]);
    case.evidence.probes = vec![probe("chat.auth", CheckVerdict::Fail)];
    let rows = case.rows();
    let told = |id: &str| rows.iter().find(|row| row.id == id).map(|row| row.verdict);
    assert_eq!(told("probe.chat.auth"), Some(CheckVerdict::Warn));
    assert_eq!(told("probe.health.live"), Some(CheckVerdict::NoData));
}

#[test]
fn limits_that_can_never_bite_and_names_that_lead_nowhere_are_linted_with_their_line() {
    let slo = SloBaseline::built_in();
    let text = GatePolicy::BUILT_IN
        .replace("\"shortWindowMaxBurnRate\": 1.0", "\"shortWindowMaxBurnRate\": 10")
        .replace("\"all\"", "[\"chat.oauth\"]");
    let policy: GatePolicy = policy::read("gate.json", &text).expect("alone it is sound");
    let problems = lint::of_gate(&policy, &slo, &["chat.auth", "chat.cors"]);
    let found: Vec<_> =
        policy::located("gate.json", &text, problems).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "gate.json:3:28: probes.required[0]: there is no probe \"chat.oauth\"; write one of \
             chat.auth, chat.cors",
            "gate.json:6:5: burnRate.shortWindowMaxBurnRate: 10 can never be passed by \
             chat_stream_http.unknownStatus, whose budget is 0.1; write less than 10.00",
        ]
    );
    assert_eq!(lint::of_gate(&GatePolicy::built_in(), &slo, &[]), []);
    let notes = lint::never_paged(&slo);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with("chat_stream_http.unknownStatus: the pair of 14.4 can never"));
    let mut owners = Owners::built_in();
    assert_eq!(lint::of_owners(&owners, &slo), []);
    owners.rules.retain(|rule| rule.team != "chat");
    let missing = lint::of_owners(&owners, &slo);
    assert_eq!(missing[0].what, "nobody owns \"route:/api/chat\"");
}

#[test]
fn what_a_run_counted_is_recomputed_and_a_game_day_counts_nothing() {
    let slo = SloBaseline::built_in();
    let cut = [(ErrorKind::StreamCut, 2), (ErrorKind::Reset, 3)];
    let chat = scenario("chat_stream_http", &[(200, 90), (500, 4), (418, 5)], &cut);
    let mut report = report(0, &[chat, scenario("unheard_of", &[(200, 1)], &[])]);
    let counts: Vec<_> = counted(&(&report).into(), &slo, HASH)
        .iter()
        .map(|run| (run.sli, run.window.share.bad, run.window.share.total))
        .collect();
    assert_eq!(
        counts,
        [
            ("latency", 0, 99),
            ("http5xx", 4, 99),
            ("network", 3, 104),
            ("unknownStatus", 5, 99),
            ("firstByte", 0, 99),
            ("streamCut", 2, 92),
        ]
    );
    report.kind = crate::slo::report::Kind::GameDay;
    assert_eq!(counted(&(&report).into(), &slo, HASH), []);
}
