//! The canary judge: two servers asked the same, side by side, in paired blocks
//! (OPERATIONS.md §5.4; CONFORMANCE G6, G15).
//!
//! # Invariants
//! - An identical pair fails with a chance of at most `alphaFamily` over all looks, whatever the
//!   shape of its latencies: the test is exact, and a row fails only past its margin as well.
//! - Too few blocks are never a pass, nor is a run whose noise would have hidden the effects that
//!   the policy wants caught; a lost arm is never a verdict on the server.

pub mod kept;
mod metrics;
mod power;
mod soundness;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::power::{Planned, planned};
use crate::slo::policy::CanaryPolicy;
use crate::slo::stats::holm;
use crate::slo::verdict::{CheckVerdict, RunVerdict};

/// The generator's own lag past which a pair of arms says nothing, milliseconds (p99).
pub const MAX_LAG_MS: f64 = 250.0;

/// Percent of a run in which some task of the host waited for a processor, past which a candidate
/// that is only slower says nothing: the scheduler may have kept one of two processes waiting for
/// many blocks in a row, so their signs are no longer fair coins.
pub const MAX_CPU_PRESSURE: f64 = 90.0;

/// What no pass says anything about; every report says so (OPERATIONS.md §5.4, step 7).
pub const CANNOT_SEE: &str = "It cannot see effects below the margins, slow leaks (the soak \
    profile's part), or faults that need traffic which this mix lacks.";

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
    /// The same, for it never got to the server: no connection.
    Unreached,
}

impl Ended {
    /// Whether there is a latency to count.
    fn answered(self) -> bool {
        match self {
            Self::Expected | Self::Http5xx | Self::UnknownStatus => true,
            Self::Network | Self::Unreached => false,
        }
    }
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

/// One of the times a run is judged: `--max-looks 2` judges half the samples, and where these
/// decide nothing, once more at three times as many (OPERATIONS.md §5.4, step 6).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Requests per arm and scenario by then, all looks before it included.
    pub samples: u64,
    /// With fewer blocks it does not decide.
    pub min_blocks: u64,
    /// Its share of `alphaFamily`.
    pub alpha: f64,
}

impl Look {
    /// The only look at a run of `samples` per arm.
    pub fn only(samples: u64, policy: &CanaryPolicy) -> Self {
        Self { samples, min_blocks: policy.min_blocks, alpha: policy.alpha_family }
    }

    /// Two looks, at half of `samples` and at one and a half times as many; each has half of the
    /// family's error, so both together keep it.
    pub fn two(samples: u64, policy: &CanaryPolicy) -> [Self; 2] {
        let alpha = policy.alpha_family / 2.0;
        let min_blocks = policy.min_blocks;
        let first = Self { samples: samples / 2, min_blocks: min_blocks / 2, alpha };
        [first, Self { samples: samples / 2 * 3, min_blocks, alpha }]
    }
}

/// How much worse a candidate may be by one metric; a latency fails only past both.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Margin {
    /// Candidate over control; absent of a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ratio: Option<f64>,
    /// Candidate less control, in the metric's unit.
    pub max_delta: f64,
}

/// The unit of a metric's values, effect and margin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// Bad per request, from 0 to 1.
    Rate,
}

/// One metric of one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The scenario.
    pub scenario: String,
    /// `p50`, `p95`, `p99`, `p995`, `slowTail`, `http5xx`, `network` or `unknownStatus`.
    pub metric: String,
    /// Of what follows.
    pub unit: Unit,
    /// Requests of the candidate.
    pub requests: u64,
    /// Control's value; absent where nothing was answered.
    pub control: Option<f64>,
    /// Candidate's value.
    pub candidate: Option<f64>,
    /// Candidate less control.
    pub effect: Option<f64>,
    /// Past which the effect is too much.
    pub margin: Margin,
    /// The chance of so large a difference from the same server.
    pub p: f64,
    /// Whether Holm's steps reject "same server" for it.
    pub significant: bool,
    /// Whether the effect is past the policy's margin.
    pub past_margin: bool,
    /// The smallest added rate that this run would have failed as surely as the policy asks;
    /// absent of a percentile, and where no rate would have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detectable: Option<f64>,
    /// `fail` of both, `warn` of one, and of both where the scenario is too small to decide.
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
    /// What a pass would have caught, a sentence for each scenario.
    pub would_have_caught: Vec<String>,
    /// [`CANNOT_SEE`].
    pub cannot_see: String,
}

/// What speaks against a pass, in the order of the table in OPERATIONS.md §3.
#[derive(Default)]
struct Against {
    invalid: Vec<String>,
    failed: Vec<String>,
    /// The same, of latencies and objectives: what a host without processors brings about too.
    slow: Vec<String>,
    open: Vec<String>,
    /// Scenarios that are too small for a row of theirs to fail.
    small: Vec<String>,
}

/// Judges every scenario of one run together, for Holm's family is all of them.
///
/// INVALID comes before FAIL, FAIL before INCONCLUSIVE (the order of OPERATIONS.md §3).
pub fn judge(pairs: &[Pair], policy: &CanaryPolicy, look: Look) -> Judgement {
    judge_on(None, pairs, policy, look)
}

/// The same on a host where some task waited for a processor in so many percent of the run.
///
/// Past [`MAX_CPU_PRESSURE`] what would fail by latency or objective alone is INVALID; errors that
/// only the candidate has still fail.
pub fn judge_on(
    cpu_pressure: Option<f64>,
    pairs: &[Pair],
    policy: &CanaryPolicy,
    look: Look,
) -> Judgement {
    let mut against = Against::default();
    let (mut rows, mut caught) = (Vec::new(), Vec::new());
    if pairs.is_empty() {
        against.open.push("no scenario was run".to_owned());
    }
    let tests = pairs.len() * metrics::METRICS;
    for pair in pairs {
        let policy = &policy.of(&pair.scenario);
        let mut measured = metrics::measure(pair, policy);
        let level = look.alpha / tests as f64;
        power::detectable(&mut measured, policy, level);
        against.take(pair, &measured, policy, look);
        caught.push(power::sentence(&pair.scenario, &measured.rows, policy));
        rows.extend(measured.rows);
    }
    against.decide(&mut rows, look);
    let (verdict, reasons) = against.verdict(cpu_pressure);
    Judgement { verdict, rows, reasons, would_have_caught: caught, cannot_see: CANNOT_SEE.into() }
}

impl Against {
    /// What speaks against one scenario apart from its rows.
    fn take(
        &mut self,
        pair: &Pair,
        measured: &metrics::Measured,
        policy: &CanaryPolicy,
        look: Look,
    ) {
        let say = |why: String| format!("{}: {why}", pair.scenario);
        self.invalid.extend(soundness::invalid(pair, policy, look.alpha).map(say));
        match soundness::too_little(pair, policy, look) {
            Some(why) => {
                self.small.push(pair.scenario.clone());
                self.open.push(say(why));
            }
            None => self.open.extend(power::blind(&measured.rows, policy).map(say)),
        }
        self.failed.extend(soundness::burst(pair, policy).map(say));
        if policy.require_candidate_meets_slo && !pair.candidate_meets_slo {
            self.slow.push(say("the candidate breaks its own objectives".into()));
        }
    }

    /// Fills in the rows' verdicts; Holm's steps go over all of them.
    fn decide(&mut self, rows: &mut [Row], look: Look) {
        let chances: Vec<f64> = rows.iter().map(|row| row.p).collect();
        for (row, significant) in rows.iter_mut().zip(holm(&chances, look.alpha)) {
            row.significant = significant;
            row.verdict = match (significant, row.past_margin) {
                (true, true) if self.small.contains(&row.scenario) => CheckVerdict::Warn,
                (true, true) => CheckVerdict::Fail,
                (false, false) if row.effect.is_none() => CheckVerdict::NoData,
                (false, false) => CheckVerdict::Pass,
                (true, false) | (false, true) => CheckVerdict::Warn,
            };
            if row.verdict == CheckVerdict::Fail {
                let list = if row.is_latency() { &mut self.slow } else { &mut self.failed };
                list.push(row.to_string());
            }
        }
    }

    fn verdict(self, cpu_pressure: Option<f64>) -> (RunVerdict, Vec<String>) {
        let Self { mut invalid, mut failed, slow, open, small: _ } = self;
        if let (true, false, Some(pressure)) = (failed.is_empty(), slow.is_empty(), cpu_pressure)
            && pressure > MAX_CPU_PRESSURE
        {
            invalid.push(format!(
                "some task of this host waited for a processor in {pressure:.0} % of the run, so \
                 nobody can tell whose fault it is that the candidate is slower"
            ));
        }
        failed.extend(slow);
        if !invalid.is_empty() {
            return (RunVerdict::Invalid, invalid);
        }
        if !failed.is_empty() {
            return (RunVerdict::Fail, failed);
        }
        let verdict = if open.is_empty() { RunVerdict::Pass } else { RunVerdict::Inconclusive };
        (verdict, open)
    }
}

impl Row {
    /// Whether it says how long answers took, not what they were.
    fn is_latency(&self) -> bool {
        self.unit == Unit::Ms || self.metric == metrics::SLOW_TAIL
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = |of: Option<f64>| match (of, self.unit) {
            (None, _) => "none".to_owned(),
            (Some(ms), Unit::Ms) => format!("{ms:.1} ms"),
            (Some(rate), Unit::Rate) => format!("{:.2} %", rate * 100.0),
        };
        let Self { scenario, metric, p, .. } = self;
        let (control, candidate) = (value(self.control), value(self.candidate));
        write!(out, "{scenario}: {metric} {control} → {candidate}, p = {p:.1e}")
    }
}
