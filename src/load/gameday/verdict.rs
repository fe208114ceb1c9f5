//! What a game day says in a report: its rows, what happened beside them, and its story.

use serde_json::{Value, json};

use super::catalog;
use super::phase::Score;
use super::plan::SERVER;
use super::run::Played;
use crate::slo::policy::Owners;
use crate::slo::report::Check;
use crate::slo::verdict::{CheckVerdict, Circumstance};

/// The page of the runbook that a fault exercises.
pub fn runbook_of(fault: &str) -> Option<String> {
    catalog::of(fault).map(|kind| format!("RUNBOOK.md#{}", kind.runbook))
}

/// Rows of a game day: its hypothesis, that the fault bit, and that it left nothing behind.
pub fn checks(played: &Played, owners: &Owners) -> Vec<Check> {
    let day = &played.day;
    if day.unsteady.is_some() {
        return Vec::new();
    }
    let row = |sli: &str, scenario: &str, observed: Option<f64>, op: &str, threshold: f64| Check {
        id: format!("{}.{scenario}.{sli}", day.plan().id),
        scenario: scenario.to_owned(),
        sli: sli.to_owned(),
        bad: 0,
        total: 0,
        observed,
        ci95: None,
        op: op.to_owned(),
        threshold,
        verdict: CheckVerdict::NoData,
        burn: None,
        owner: owners.of(&format!("check:gameday.{}", day.plan().fault)).0,
        runbook: runbook_of(&day.plan().fault),
        why: String::new(),
    };
    let mut checks: Vec<Check> = Vec::new();
    for (expected, value) in day.plan().observed(&day.fault) {
        let sli = expected.sli.word();
        let known = row(&sli, &expected.scenario, value, expected.op.sign(), expected.value);
        let (verdict, why) = match value {
            None => (CheckVerdict::NoData, "nothing was seen of it under the fault".to_owned()),
            Some(value) if expected.op.holds(value, expected.value) => {
                (CheckVerdict::Pass, "as expected under the fault".to_owned())
            }
            Some(value) => {
                (CheckVerdict::Fail, format!("{sli} was {value} under {}", day.plan().fault))
            }
        };
        checks.push(Check { verdict, why, ..known });
    }
    let witness = row("witness", "fault", Some(day.witness() as f64), ">=", 1.0);
    checks.push(if day.bit() {
        Check { verdict: CheckVerdict::Pass, why: "the fault has bitten".into(), ..witness }
    } else {
        Check { why: "NO_EFFECT: the fault never bit".into(), ..witness }
    });
    let failing = day.probes_failed.len() as f64;
    let probes = row("probesFailed", SERVER, Some(failing), "==", 0.0);
    checks.push(match day.probes_failed.first() {
        None => Check { verdict: CheckVerdict::Pass, why: "probes pass after it".into(), ..probes },
        Some(why) => Check { verdict: CheckVerdict::Fail, why: why.clone(), ..probes },
    });
    let took = day.recovered.map(|took| took.as_secs_f64());
    let bound = day.plan().recovery_s as f64;
    let recovery = row("recoveryS", SERVER, took, "<=", bound);
    let (verdict, why) = if day.recovered_in_time() {
        (CheckVerdict::Pass, "calm again in time".to_owned())
    } else {
        (CheckVerdict::Fail, format!("not calm within {bound} s of the revert"))
    };
    checks.push(Check { verdict, why, ..recovery });
    checks
}

/// What happened beside the rows.
pub fn beside(played: &Played) -> Vec<Circumstance> {
    let day = &played.day;
    let mut beside = Vec::new();
    if day.revert_verified == Some(false) {
        beside.push(Circumstance::RevertUnverified);
    }
    if day.aborted.is_some() {
        // What is not steady again is not reverted, whatever the list says.
        let steady = (day.recovered.is_some() && day.probes_failed.is_empty())
            || day.revert_verified.is_none();
        let how = if steady { Circumstance::Aborted } else { Circumstance::RevertUnverified };
        beside.push(how);
    }
    if day.unsteady.is_some() {
        beside.push(Circumstance::Unreachable);
    }
    beside
}

/// The story of a game day, for the page and for machines.
pub fn details(played: &Played) -> Value {
    let day = &played.day;
    let millis = |span: std::time::Duration| span.as_millis();
    json!({
        "plan": day.plan(),
        "score": day.score(),
        "runbook": runbook_of(&day.plan().fault),
        "witness": day.witness(),
        "timeToDetectMs": day.detected.map(millis),
        "timeToRecoverMs": day.recovered.map(millis),
        "requestsHurt": day.hurt,
        "aborted": day.aborted,
        "unsteady": day.unsteady,
        "revertVerified": day.revert_verified,
        "probesFailed": day.probes_failed,
        "baseline": day.baseline,
        "fault": day.fault,
        "timeline": played.timeline,
    })
}

/// The score as it is written.
pub fn word(score: Score) -> &'static str {
    match score {
        Score::Held => "HELD",
        Score::Deviated => "DEVIATED",
        Score::NoEffect => "NO_EFFECT",
        Score::Aborted => "ABORTED",
    }
}

/// What to type where the revert was not seen to have worked.
pub fn by_hand(base_url: &str, lease: Option<&str>) -> Vec<String> {
    let base = base_url.trim_end_matches('/');
    let with = "-H \"authorization: Bearer $OPS_TOKEN\"";
    let one = lease.map(|lease| format!("curl -X DELETE {base}/ops/faults/{lease} {with}"));
    let all = format!("curl -X DELETE {base}/ops/faults {with}");
    let look = format!("curl {base}/ops/faults {with}");
    one.into_iter().chain([all, look]).collect()
}
