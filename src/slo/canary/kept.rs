//! What a report keeps of a canary: a row for each metric, one for the verdict, and in `details`
//! everything behind it, the criteria for taking the release back included (CONFORMANCE G7).

use serde::{Deserialize, Serialize};

use super::{Judgement, Look, Row, Unit};
use crate::slo::policy::{CanaryPolicy, Owners, SloBaseline};
use crate::slo::report::Check;
use crate::slo::verdict::{CheckVerdict, Circumstance, RunVerdict};

/// Whose the row of the verdict is, as the owners' rules name it.
pub const VERDICT_SUBJECT: &str = "check:canary.verdict";

/// What `details` of a canary's report holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// The server in service.
    pub control: String,
    /// The server that is to replace it.
    pub candidate: String,
    /// Whether both are the same server, by `--aa` or by the same address.
    pub aa: bool,
    /// Requests a second of each arm, scenario by scenario in the order they ran.
    pub rate: Vec<f64>,
    /// The looks that were taken, in order; the last one decided.
    pub looks: Vec<Looked>,
    /// What was found by the last look. Its scenarios are in `scenarios` of the report, twice each:
    /// `NAME@control` and `NAME@candidate`.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// What to do with the release.
    pub rollback: Rollback,
}

/// One look that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Looked {
    /// Requests per arm and scenario by then.
    pub samples_per_arm: u64,
    /// The chance that identical servers fail at it.
    pub alpha: f64,
    /// What it said.
    pub verdict: RunVerdict,
}

/// The criteria for taking a release back, and what follows from them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Verdicts on which the release is taken back.
    pub rollback_on: Vec<RunVerdict>,
    /// Verdicts on which it waits.
    pub hold_on: Vec<RunVerdict>,
    /// What follows.
    pub decision: Decision,
    /// One sentence for whoever reads only this.
    pub because: String,
}

/// What to do with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// Go on with it.
    Promote,
    /// Leave it where it is, and look again.
    Hold,
    /// Take it back.
    Rollback,
}

impl Looked {
    /// A look and what it said.
    pub fn at(look: Look, verdict: RunVerdict) -> Self {
        Self { samples_per_arm: look.samples, alpha: look.alpha, verdict }
    }
}

impl Rollback {
    /// What follows from a verdict. One that no list names lets nothing pass but PASS.
    pub fn of(judgement: &Judgement, policy: &CanaryPolicy) -> Self {
        let verdict = judgement.verdict;
        let (decision, list) = if policy.rollback_on.contains(&verdict) {
            (Decision::Rollback, "in rollbackOn")
        } else if policy.hold_on.contains(&verdict) {
            (Decision::Hold, "in holdOn")
        } else if verdict == RunVerdict::Pass {
            (Decision::Promote, "in neither list")
        } else {
            (Decision::Hold, "no PASS")
        };
        let first = judgement.reasons.first().map_or(String::new(), |why| format!("; {why}"));
        Self {
            rollback_on: policy.rollback_on.clone(),
            hold_on: policy.hold_on.clone(),
            decision,
            because: format!("{} is {list}{first}", verdict.word()),
        }
    }
}

/// What happened beside the rows, for the exit code.
pub fn beside(judgement: &Judgement) -> Vec<Circumstance> {
    match judgement.verdict {
        RunVerdict::Invalid => vec![Circumstance::Invalid],
        RunVerdict::Inconclusive => vec![Circumstance::Inconclusive],
        RunVerdict::Pass | RunVerdict::Fail | RunVerdict::Aborted => Vec::new(),
    }
}

/// The rows of a report, `canary.verdict` first.
pub fn checks(judgement: &Judgement, slo: &SloBaseline, owners: &Owners) -> Vec<Check> {
    let mut checks = vec![verdict(judgement, owners)];
    for row in &judgement.rows {
        let subject = slo.scenarios.get(&row.scenario).map(|slo| slo.subject());
        let (owner, runbook) = owners.of(&subject.unwrap_or_default());
        let mut check = check(row);
        check.owner = owner;
        check.runbook = runbook.map(str::to_owned);
        checks.push(check);
    }
    checks
}

/// The verdict as a row: a crash and broken objectives have no metric of their own.
fn verdict(judgement: &Judgement, owners: &Owners) -> Check {
    let failing = |row: &&Row| row.verdict == CheckVerdict::Fail;
    let failing = judgement.rows.iter().filter(failing).count();
    let (verdict, why) = match judgement.verdict {
        RunVerdict::Pass => {
            let caught = judgement.would_have_caught.join("; ");
            (CheckVerdict::Pass, format!("{caught}. {}", judgement.cannot_see))
        }
        RunVerdict::Fail => (CheckVerdict::Fail, judgement.reasons.join("; ")),
        RunVerdict::Inconclusive | RunVerdict::Invalid | RunVerdict::Aborted => {
            (CheckVerdict::NoData, judgement.reasons.join("; "))
        }
    };
    let (owner, runbook) = owners.of(VERDICT_SUBJECT);
    Check {
        id: "canary.verdict".to_owned(),
        scenario: String::new(),
        sli: "verdict".to_owned(),
        bad: failing as u64,
        total: judgement.rows.len() as u64,
        observed: Some(failing as f64),
        ci95: None,
        op: "<=".to_owned(),
        threshold: 0.0,
        verdict,
        burn: None,
        owner,
        runbook: runbook.map(str::to_owned),
        why,
    }
}

fn check(row: &Row) -> Check {
    let bad = match (row.unit, row.candidate) {
        (Unit::Rate, Some(rate)) => (rate * row.requests as f64).round() as u64,
        (Unit::Rate, None) | (Unit::Ms, _) => 0,
    };
    let margin = match (row.unit, row.margin.max_ratio) {
        (Unit::Rate, _) => format!("{:.2} pp more", row.margin.max_delta * 100.0),
        (Unit::Ms, Some(ratio)) => format!("{ratio} × and {} ms more", row.margin.max_delta),
        (Unit::Ms, None) => format!("{} ms more", row.margin.max_delta),
    };
    let found = match row.verdict {
        CheckVerdict::Fail => "significant and past its margin",
        CheckVerdict::Warn if row.significant && row.past_margin => "too few blocks to decide",
        CheckVerdict::Warn if row.significant => "significant, within its margin",
        CheckVerdict::Warn => "past its margin, not significant",
        CheckVerdict::NoData => "nothing was answered",
        CheckVerdict::Pass | CheckVerdict::PassUnproven | CheckVerdict::Skipped => "no regression",
    };
    Check {
        id: format!("canary.{}.{}", row.scenario, row.metric),
        scenario: row.scenario.clone(),
        sli: row.metric.clone(),
        bad,
        total: row.requests,
        observed: row.effect,
        ci95: None,
        op: "<=".to_owned(),
        threshold: row.margin.max_delta,
        verdict: row.verdict,
        burn: None,
        owner: Default::default(),
        runbook: None,
        why: format!("{row}: {found} (margin: {margin})"),
    }
}
