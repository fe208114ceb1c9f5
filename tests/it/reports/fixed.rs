//! One report of each kind, the same each time, made of the types that the tools themselves write.

use std::collections::BTreeMap;
use std::time::Duration;

use sendcat::load::gameday::phase::{Act, GameDay, Phase, Sight};
use sendcat::load::gameday::plan::Plan;
use sendcat::load::gameday::run::{Played, TimelineRow};
use sendcat::load::gameday::tally::{Gauges, Tally};
use sendcat::load::gameday::verdict;
use sendcat::slo::canary::kept::{self, Details, Looked, Rollback};
use sendcat::slo::canary::{Block, Ended, Look, Pair, Sample, judge};
use sendcat::slo::gates::{self, gate};
use sendcat::slo::policy::{CanaryPolicy, Owners, Policy as _, SloBaseline};
use sendcat::slo::report::{
    Check, ErrorKind, Histogram, Host, Input, Kind, Lag, Latencies, Measured, Report, SCHEMA,
    Scenario, Second, Stage, StageLatency, Target, Version,
};
use sendcat::slo::stats::Share;
use sendcat::slo::verdict::{CheckVerdict, Judging, outcome};
use serde_json::json;

/// A report of these rows; its verdict is what follows from them.
fn report(kind: Kind, checks: Vec<Check>, scenarios: Vec<Scenario>) -> Report {
    let verdicts: Vec<_> = checks.iter().map(|row| row.verdict).collect();
    let outcome = outcome(&verdicts, &[], Judging::default());
    Report {
        schema: SCHEMA.to_owned(),
        kind,
        id: format!("{}-fixed", kind.word()),
        started_at: "2026-02-17T11:57:56.470Z".to_owned(),
        ended_at: "2026-02-17T11:58:56.470Z".to_owned(),
        tool: Version { version: "0.1.0".to_owned(), git_sha: None },
        host: Host {
            cpus: 2,
            load1: Some(0.5),
            cpu_pressure_before: Some(1.25),
            cpu_pressure_after: Some(4.0),
        },
        target: Target {
            base_url: "http://127.0.0.1:8787".to_owned(),
            version: Some("0.1.0".to_owned()),
            ..Target::default()
        },
        inputs: vec![Input {
            path: "built-in/slo-baseline.json".to_owned(),
            sha256: sendcat::contract::signature::digest(SloBaseline::BUILT_IN.as_bytes()),
        }],
        seed: 7,
        verdict: outcome.verdict,
        exit_code: outcome.exit_code,
        checks,
        scenarios,
        server_delta: None,
        artifacts: vec![".output/reliability/fixed.json".to_owned()],
        next: vec!["sendcat dashboard --out .output/reliability".to_owned()],
        profile: None,
        labels: BTreeMap::from([("deploy".to_owned(), "2026-02-17.1".to_owned())]),
        reasons: Vec::new(),
        details: None,
    }
}

fn latencies(samples: u64, least_us: u64) -> Latencies {
    let mut histogram = Histogram::default();
    (0..samples).for_each(|n| histogram.record_us(least_us + n * 7919 % 997 * 40));
    Latencies::of(&histogram)
}

fn measured(samples: u64, least_us: u64) -> Measured {
    Measured {
        corrected: latencies(samples, least_us + 900),
        service: latencies(samples, least_us),
        first_byte: None,
    }
}

fn stage(rate: f64, pause_after_ms: u64, statuses: &[(u16, u64)], resets: u64) -> Stage {
    let answers: u64 = statuses.iter().map(|(_, count)| count).sum();
    Stage {
        rate,
        pause_after_ms,
        planned: answers + resets,
        started: answers + resets,
        throughput: rate,
        statuses: statuses.iter().copied().collect(),
        errors: BTreeMap::from([(ErrorKind::Reset, resets)]),
        latency_ms: StageLatency { p50: 3.5, p95: 20.0, p99: 31.0 },
        ..Stage::default()
    }
}

fn scenario(id: &str, stages: Vec<Stage>) -> Scenario {
    let answers = stages.iter().flat_map(|stage| stage.statuses.values()).sum();
    let seconds = stages
        .iter()
        .map(|stage| stage.planned as f64 / stage.rate + stage.pause_after_ms as f64 / 1000.0);
    let second = |t: u64| Second {
        t,
        started: 20,
        done: 20,
        bad: t % 5 / 4,
        p50: 3.0 + t as f64 / 10.0,
        p95: 12.0 + t as f64,
        p99: 20.0 + 2.0 * t as f64,
        inflight: t % 3,
    };
    Scenario {
        id: id.to_owned(),
        model: "open".to_owned(),
        series: (0..seconds.sum::<f64>() as u64).map(second).collect(),
        stages,
        lag_ms: Lag { p50: 0.4, p99: 1.9, max: 2.6 },
        latency_ms: measured(answers, 1200),
        by_status_class: BTreeMap::from([("2xx".to_owned(), measured(answers / 2, 1500))]),
    }
}

/// Every status that there is, and more than there are colours.
const MANY: &[(u16, u64)] =
    &[(200, 120), (400, 20), (401, 20), (403, 60), (413, 20), (415, 20), (429, 50), (503, 26)];

/// A drill that failed by its 5xx.
pub(super) fn drill() -> Report {
    let (slo, owners) = (SloBaseline::built_in(), Owners::built_in());
    let whatsapp = scenario(
        "whatsapp_webhook",
        vec![stage(20.0, 2000, &[(403, 120)], 0), stage(50.0, 0, &[(403, 60), (429, 240)], 0)],
    );
    let mut chat = scenario("chat_stream_http", vec![stage(40.0, 0, MANY, 4)]);
    chat.latency_ms.first_byte = Some(latencies(120, 2_000));
    let scenarios = vec![whatsapp, chat];
    let rows = scenarios.iter().flat_map(|scenario| {
        let promised = &slo.scenarios[&scenario.id];
        let tally = gates::Tally::of(scenario, promised).unwrap();
        gates::rows(&scenario.id, promised, &tally, &owners)
    });
    let skipped = Check {
        verdict: CheckVerdict::Skipped,
        why: "no token | of a <user> is set".to_owned(),
        ..gate("gmail_push_webhook", "scenario", Share::default(), 0.01, "runs")
    };
    let rows = rows.chain([skipped]).collect();
    Report { profile: Some("standard".to_owned()), ..report(Kind::LoadDrill, rows, scenarios) }
}

/// Probes of which one failed and one was slow.
pub(super) fn probes() -> Report {
    let row = |id: &str, bad, verdict, why: &str| Check {
        id: format!("probe.{id}"),
        verdict,
        why: why.to_owned(),
        runbook: Some("RUNBOOK.md#release-checks".to_owned()),
        ..gate("", "probe", Share::new(bad, 1), 0.0, "rounds")
    };
    let rows = vec![
        row("chat.cors", 1, CheckVerdict::Fail, "access-control-allow-origin is * for a stranger"),
        row("chat.auth", 0, CheckVerdict::Pass, "answered 401 after 3 ms"),
        row("health.live", 0, CheckVerdict::Warn, "slow: 1200 ms, degraded from 1000 ms"),
    ];
    report(Kind::SyntheticProbes, rows, Vec::new())
}

/// A gate that lacks reports for its long window.
pub(super) fn release_gate() -> Report {
    let drill = drill();
    let long = Check {
        id: "burn.whatsapp_webhook.http5xx.long".to_owned(),
        verdict: CheckVerdict::NoData,
        observed: None,
        why: "1 reports of the last runs, 3 are needed".to_owned(),
        ..gate("whatsapp_webhook", "http5xx", Share::new(0, 300), 0.5, "runs")
    };
    let sound = drill.checks.into_iter().filter(|row| row.verdict != CheckVerdict::Fail);
    let rows = sound.chain([long]).collect();
    let mut report = report(Kind::ReleaseGate, rows, drill.scenarios);
    report.profile = Some("quick".to_owned());
    report.reasons = vec!["drilled again at standard: whatsapp_webhook".to_owned()];
    report
}

/// A canary whose candidate is 40 ms slower in its slowest fiftieth.
pub(super) fn canary() -> Report {
    let (policy, slo) = (CanaryPolicy::built_in(), SloBaseline::built_in());
    let owners = Owners::built_in();
    let sample = |n: u64, added: f64| Sample {
        latency_ms: 3.0 + (n * 7919 % 997) as f64 / 100.0 + added,
        lag_ms: 0.5,
        ended: Ended::Expected,
    };
    let block = |at: u64| {
        let places = at * 50..at * 50 + 50;
        let slow = |n: u64| if n % 50 == at % 50 { 40.0 } else { 0.0 };
        Block {
            control: places.clone().map(|n| sample(n, 0.0)).collect(),
            candidate: places.map(|n| sample(n + 31, slow(n))).collect(),
        }
    };
    let pair = Pair {
        scenario: "whatsapp_webhook".to_owned(),
        blocks: (0..120).map(block).collect(),
        candidate_meets_slo: true,
    };
    let look = Look::only(6000, &policy);
    let judgement = judge(&[pair], &policy, look);
    let details = Details {
        control: "http://127.0.0.1:8787".to_owned(),
        candidate: "http://127.0.0.1:8788".to_owned(),
        aa: false,
        rate: vec![200.0],
        looks: vec![Looked::at(look, judgement.verdict)],
        rollback: Rollback::of(&judgement, &policy),
        judgement,
    };
    let checks = kept::checks(&details.judgement, &slo, &owners);
    let arm = |arm: &str| {
        scenario(&format!("whatsapp_webhook@{arm}"), vec![stage(200.0, 0, &[(403, 6000)], 0)])
    };
    let mut report = report(Kind::CanaryCheck, checks, vec![arm("control"), arm("candidate")]);
    report.reasons.clone_from(&details.judgement.reasons);
    report.details = Some(serde_json::to_value(&details).unwrap());
    report
}

/// A game day whose fault was seen and healed, as the machine of game days plays it.
pub(super) fn game_day() -> Report {
    let plan = json!({"id": "breaker", "fault": "provider.reset_peer", "ttlS": 30,
        "baselineS": 3, "faultS": 4, "recoveryS": 6,
        "hypothesis": [
            {"sli": "circuitsOpen", "scenario": "server", "op": ">=", "value": 1},
            {"sli": "http500", "scenario": "chat_stream_http", "op": "==", "value": 0}],
        "stopConditions": [
            {"sli": "http5xx", "scenario": "health", "op": ">", "value": 0.5, "forS": 3}]});
    let plan: Plan = serde_json::from_value(plan).unwrap();
    let mut day = GameDay::new(plan, &SloBaseline::built_in());
    let mut timeline = Vec::new();
    for second in 0..30_u64 {
        let phase = day.phase();
        let (is_under, is_after) = (phase == Phase::Fault, phase == Phase::Revert);
        let tally = |http_5xx| Tally { total: 5, http_5xx, max_ms: 12.0, ..Tally::default() };
        let gauges = Gauges { circuits_open: u64::from(is_under), ..Gauges::default() };
        let sight = Sight {
            contact: true,
            listed: is_under,
            witness: if is_under || is_after { 5 } else { 0 },
            scenarios: BTreeMap::from([
                ("health".to_owned(), tally(0)),
                ("chat_stream_http".to_owned(), tally(if is_under { 3 } else { 0 })),
            ]),
            gauges: Some(gauges),
            free_disk_mb: Some(10_000),
            interrupted: false,
        };
        let act = day.step(Duration::from_secs(second), &sight);
        let Sight { scenarios, gauges, witness, .. } = sight;
        timeline.push(TimelineRow { t_ms: second * 1000, phase, scenarios, gauges, witness });
        if act == Act::End {
            break;
        }
    }
    let played = Played { day, timeline, lease: None };
    let checks = verdict::checks(&played, &Owners::built_in());
    let mut report = report(Kind::GameDay, checks, Vec::new());
    report.details = Some(json!({"gameDays": [verdict::details(&played)]}));
    report
}

/// One of each, by a name.
pub(super) fn all() -> [(&'static str, Report); 5] {
    [
        ("drill", drill()),
        ("probes", probes()),
        ("gate", release_gate()),
        ("canary", canary()),
        ("gameday", game_day()),
    ]
}
