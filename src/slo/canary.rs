//! The canary judge: two servers asked the same, side by side, in paired blocks
//! (OPERATIONS.md §5.4; CONFORMANCE G6, G15).
//!
//! # Invariants
//! - An identical pair fails with a chance of at most `alphaFamily`, whatever the shape of its
//!   latencies: the test is exact, and a row fails only past its margin as well.
//! - Too few blocks are never a pass, and a lost arm is never a verdict on the server.

mod metrics;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::slo::policy::CanaryPolicy;
use crate::slo::stats::holm;
use crate::slo::verdict::{CheckVerdict, RunVerdict};

/// The generator's own lag past which a pair of arms says nothing, milliseconds (p99).
pub const MAX_LAG_MS: f64 = 250.0;

/// What came of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// An expected status.
    Expected,
    /// A status of 500 or above.
    Http5xx,
    /// A status nobody expects.
    UnknownStatus,
    /// No whole answer; its latency is not counted.
    Network,
}

/// One request of one arm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// From when it was due, milliseconds.
    pub latency_ms: f64,
    /// How late the generator itself sent it, milliseconds.
    pub lag_ms: f64,
    /// What came of it.
    pub ended: Ended,
}

/// What both arms did in one block of requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// The server in service.
    pub control: Vec<Sample>,
    /// The server that is to replace it.
    pub candidate: Vec<Sample>,
}

/// One scenario driven against both arms.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Its name.
    pub scenario: String,
    /// In order of time.
    pub blocks: Vec<Block>,
    /// Whether the candidate's own rows hold its objectives.
    pub candidate_meets_slo: bool,
}

/// One metric of one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The scenario.
    pub scenario: String,
    /// `p50`, `p95`, `p99`, `p995`, `slowTail`, `http5xx`, `network` or `unknownStatus`.
    pub metric: String,
    /// Control's value: milliseconds of a percentile, else a rate.
    pub control: Option<f64>,
    /// Candidate's value.
    pub candidate: Option<f64>,
    /// The chance of so large a difference from the same server.
    pub p: f64,
    /// Whether Holm's steps reject "same server" for it.
    pub significant: bool,
    /// Whether the effect is past the policy's margin.
    pub past_margin: bool,
    /// `fail` of both, `warn` of one.
    pub verdict: CheckVerdict,
}

/// What the judge found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// PASS, FAIL, INCONCLUSIVE or INVALID.
    pub verdict: RunVerdict,
    /// Every metric of every scenario, also of a run that decided nothing.
    pub rows: Vec<Row>,
    /// Why it is not a pass, one sentence each.
    pub reasons: Vec<String>,
}

/// Judges every scenario of one run together, for Holm's family is all of them.
///
/// INVALID comes before FAIL, FAIL before INCONCLUSIVE (the order of OPERATIONS.md §3).
pub fn judge(pairs: &[Pair], policy: &CanaryPolicy) -> Judgement {
    let mut rows = Vec::new();
    let (mut invalid, mut failed, mut open) = (Vec::new(), Vec::new(), Vec::new());
    let mut small = Vec::new();
    for pair in pairs {
        let wide = pair.scenario.starts_with("chat").then(|| policy.for_chat());
        let policy = wide.as_ref().unwrap_or(policy);
        rows.extend(metrics::rows(pair, policy));
        let name = &pair.scenario;
        let say = |why: String| format!("{name}: {why}");
        invalid.extend(metrics::invalid(pair, policy).map(say));
        if let Some(why) = too_little(pair, policy) {
            small.push(name.as_str());
            open.push(say(why));
        }
        failed.extend(metrics::burst(pair, policy).map(say));
        if policy.require_candidate_meets_slo && !pair.candidate_meets_slo {
            failed.push(say("the candidate breaks its own objectives".into()));
        }
    }
    if pairs.is_empty() {
        open.push("no scenario was run".to_owned());
    }
    let chances: Vec<f64> = rows.iter().map(|row| row.p).collect();
    for (row, significant) in rows.iter_mut().zip(holm(&chances, policy.alpha_family)) {
        row.significant = significant;
        row.verdict = match (significant, row.past_margin) {
            (true, true) => CheckVerdict::Fail,
            (false, false) if row.candidate.is_none() || row.control.is_none() => {
                CheckVerdict::NoData
            }
            (false, false) => CheckVerdict::Pass,
            (true, false) | (false, true) => CheckVerdict::Warn,
        };
        if row.verdict == CheckVerdict::Fail && !small.contains(&row.scenario.as_str()) {
            let Row { scenario, metric, p, control, candidate, .. } = row;
            let value = |of: &Option<f64>| of.map_or("none".into(), |v| format!("{v:.4}"));
            let (control, candidate) = (value(control), value(candidate));
            failed.push(format!("{scenario}: {metric} {control} → {candidate}, p = {p:.1e}"));
        }
    }
    let (verdict, reasons) = match (invalid.is_empty(), failed.is_empty(), open.is_empty()) {
        (false, _, _) => (RunVerdict::Invalid, invalid),
        (true, false, _) => (RunVerdict::Fail, failed),
        (true, true, false) => (RunVerdict::Inconclusive, open),
        (true, true, true) => (RunVerdict::Pass, Vec::new()),
    };
    Judgement { verdict, rows, reasons }
}

/// Why a pair is too small to decide, or has nothing to be compared with.
fn too_little(pair: &Pair, policy: &CanaryPolicy) -> Option<String> {
    let full = |block: &&Block| {
        let least = block.control.len().min(block.candidate.len());
        least as u64 >= policy.block_requests
    };
    let blocks = pair.blocks.iter().filter(full).count() as u64;
    if blocks < policy.min_blocks {
        let least = policy.min_blocks;
        return Some(format!("{blocks} full blocks, {least} are needed"));
    }
    let answered = |sample: &Sample| sample.ended != Ended::Network;
    let control = pair.blocks.iter().flat_map(|block| &block.control).any(answered);
    (!control).then(|| "the control never answered: there is nothing to compare with".into())
}
