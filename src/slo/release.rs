//! The release gate: rows of probes, of a drill, of burn and of the server's own snapshot, as the
//! policy of releases judges them (OPERATIONS.md §3, §4, §5.3; CONFORMANCE G3, G10–G12).
//!
//! # Invariants
//! - What was not shown does not pass: a required probe that was skipped, a drill that was not run
//!   and a snapshot that was not seen are rows without data.
//! - Every row names who answers for it.

pub mod lint;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

pub use self::snapshot::{Bulkhead, Seen};
use crate::slo::burn::runs::{self, Counted};
use crate::slo::gates;
use crate::slo::policy::gate::{All, ProbePolicy, Required};
use crate::slo::policy::{GatePolicy, Owners, SloBaseline};
use crate::slo::report::Check;
use crate::slo::stats::{Share, events_to_prove};
use crate::slo::verdict::CheckVerdict;

/// What the steps of the gate have found.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The rows of the probes.
    pub probes: Vec<Check>,
    /// The rows of the drill, scenarios that were run again in place of their first rows; or why
    /// there was none.
    pub drill: Result<Vec<Check>, String>,
    /// What every run counted, this one's drill among them.
    pub runs: Vec<Counted>,
    /// What the server shows after the load, or why that is not known.
    pub snapshot: Result<Seen, String>,
    /// When the question is asked, since the Unix epoch.
    pub now: Duration,
}

/// By what a release is judged.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// What a release must show.
    pub policy: &'a GatePolicy,
    /// What is promised.
    pub slo: &'a SloBaseline,
    /// The hash of that file's bytes.
    pub slo_hash: &'a str,
    /// The drill's profile.
    pub profile: &'a str,
    /// Who answers for what.
    pub owners: &'a Owners,
}

/// Every row of the gate, step by step.
pub fn rows(evidence: &Evidence, rules: Rules<'_>) -> Vec<Check> {
    let Rules { policy, slo, slo_hash, profile, owners } = rules;
    let mut rows = required(&evidence.probes, &policy.probes);
    match &evidence.drill {
        Ok(drill) => {
            let judged = drill.iter().map(|row| shown(row, policy.drill.allow_unproven));
            rows.extend(judged);
            rows.extend(unmeasured(drill, slo));
        }
        Err(why) => rows.extend(slo.scenarios.keys().map(|name| without_data(name, why))),
    }
    let judging = (&policy.burn_rate, owners);
    let mut burn = runs::rows(&evidence.runs, (profile, slo_hash), slo, judging, evidence.now);
    let skipped = |row: &Check| {
        let drill = evidence.drill.iter().flatten();
        let mut of_it = drill.filter(|of| of.scenario == row.scenario);
        of_it.any(|of| of.verdict == CheckVerdict::Skipped)
    };
    for row in &mut burn {
        // The drill's own row says why it was skipped; a budget nobody measured burns unseen, but
        // for that there is no second alarm.
        if row.total == 0 && skipped(row) {
            row.verdict = CheckVerdict::Skipped;
            row.why = "its scenario was skipped".to_owned();
        }
    }
    rows.extend(burn);
    rows.extend(snapshot::rows(&evidence.snapshot, &policy.snapshot, owners));
    for row in rows.iter_mut().filter(|row| row.owner.team.is_empty()) {
        let subject = slo.scenarios.get(&row.scenario).map(|scenario| scenario.subject());
        let (owner, runbook) = owners.of(&subject.unwrap_or_else(|| format!("check:{}", row.id)));
        row.owner = owner;
        row.runbook = row.runbook.take().or_else(|| runbook.map(str::to_owned));
    }
    rows
}

/// The scenarios with a row that passes unproven: those that a larger drill may prove.
pub fn unproven(drill: &[Check]) -> Vec<String> {
    let rows = drill.iter().filter(|row| row.verdict == CheckVerdict::PassUnproven);
    let names: BTreeSet<&str> = rows.map(|row| row.scenario.as_str()).collect();
    names.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The drill's rows with those of scenarios that were run again in place of their first ones.
pub fn escalated(first: Vec<Check>, again: Vec<Check>) -> Vec<Check> {
    let names: BTreeSet<String> = again.iter().map(|row| row.scenario.clone()).collect();
    let kept = first.into_iter().filter(|row| !names.contains(&row.scenario));
    kept.chain(again).collect()
}

/// The rows of the probes as the policy takes them.
fn required(probes: &[Check], policy: &ProbePolicy) -> Vec<Check> {
    let ids = match &policy.required {
        Required::All(All::All) => return probes.to_vec(),
        Required::These(ids) => ids,
    };
    let mut rows = probes.to_vec();
    for row in &mut rows {
        let needed = ids.iter().any(|id| names(row, id));
        match row.verdict {
            CheckVerdict::Skipped if needed => {
                row.verdict = CheckVerdict::NoData;
                row.why = format!("required, but skipped: {}", row.why);
            }
            CheckVerdict::Fail if !needed => {
                row.verdict = CheckVerdict::Warn;
                row.why = format!("not required: {}", row.why);
            }
            CheckVerdict::Pass
            | CheckVerdict::PassUnproven
            | CheckVerdict::Warn
            | CheckVerdict::Fail
            | CheckVerdict::NoData
            | CheckVerdict::Skipped => {}
        }
    }
    let missing = ids.iter().filter(|id| !probes.iter().any(|row| names(row, id)));
    rows.extend(missing.map(|id| {
        let mut row = without_data("", "required, but not asked");
        row.id = format!("probe.{id}");
        row.sli = "probe".to_owned();
        row
    }));
    rows
}

/// Whether a row is of that probe.
fn names(row: &Check, id: &str) -> bool {
    row.id.strip_prefix("probe.") == Some(id)
}

/// A row of the drill as the policy takes it. An unproven one with bad events is inconclusive
/// unless the policy lets it through; one without any stays what it is where the drill was too
/// small to prove its budget at all, for no second run would change that.
fn shown(row: &Check, allow_unproven: bool) -> Check {
    let mut row = row.clone();
    if row.verdict != CheckVerdict::PassUnproven || allow_unproven {
        return row;
    }
    let needed = events_to_prove(row.threshold).unwrap_or(u64::MAX);
    if row.bad == 0 && row.total < needed {
        return row;
    }
    row.verdict = CheckVerdict::NoData;
    row.why = format!("unproven, which the policy does not allow: {}", row.why);
    row
}

/// A row without data for each promised scenario that the drill has no row of.
fn unmeasured<'a>(drill: &'a [Check], slo: &'a SloBaseline) -> impl Iterator<Item = Check> + 'a {
    let told = |name: &&String| drill.iter().any(|row| row.scenario == **name);
    let left = slo.scenarios.keys().filter(move |name| !told(name));
    left.map(|name| without_data(name, "the drill says nothing of it"))
}

fn without_data(scenario: &str, why: &str) -> Check {
    let mut row = gates::gate(scenario, "scenario", Share::default(), 0.0, "");
    row.why = why.to_owned();
    row
}
