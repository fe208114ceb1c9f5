//! `canary-policy.json`: how much worse a candidate may be (OPERATIONS.md §4, §5.4;
//! CONFORMANCE G6).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Policy, Problem, within};
use crate::slo::verdict::RunVerdict;

/// How two servers are compared, and past which margins a difference fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanaryPolicy {
    /// `sendcat.canary/1`.
    #[schemars(extend("const" = "sendcat.canary/1"))]
    pub schema: String,
    /// The chance that an identical pair fails any of all metrics.
    pub alpha_family: f64,
    /// Requests per arm and scenario.
    pub samples_per_arm: u64,
    /// Requests per arm in one block.
    pub block_requests: u64,
    /// With fewer blocks the judge does not decide.
    pub min_blocks: u64,
    /// The median.
    pub p50: LatencyMargin,
    /// The 95th percentile.
    pub p95: LatencyMargin,
    /// The 99th percentile.
    pub p99: LatencyMargin,
    /// The 99.5th percentile.
    pub p995: LatencyMargin,
    /// Requests far above the pooled median.
    pub slow_tail: SlowTail,
    /// Answers of status 500 and above.
    pub http5xx: RateMargin,
    /// Requests without a whole answer.
    pub network: RateMargin,
    /// Answers of a status nobody expects.
    pub unknown_status: RateMargin,
    /// A crash so short that it lights few blocks.
    pub burst: Burst,
    /// What a pass must have been able to see; with more noise the judge does not decide.
    #[serde(default)]
    pub detect: Detect,
    /// Whether a candidate that breaks its own objectives fails whatever the control does.
    pub require_candidate_meets_slo: bool,
    /// Verdicts on which the release is taken back.
    pub rollback_on: Vec<RunVerdict>,
    /// Verdicts on which the release waits.
    pub hold_on: Vec<RunVerdict>,
}

/// A latency fails only past both.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LatencyMargin {
    /// Candidate over control.
    pub max_ratio: f64,
    /// Candidate less control, milliseconds.
    pub max_delta_ms: f64,
}

/// A rate fails past this many more bad per request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateMargin {
    /// Candidate's rate less control's, from 0 to 1.
    pub max_rate_delta: f64,
}

/// What counts as the slow tail, and how much more of it is too much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlowTail {
    /// Slow is what takes this many milliseconds more than the pooled median.
    pub above_median_ms: f64,
    /// Candidate's rate less control's, from 0 to 1.
    pub max_rate_delta: f64,
}

/// How many blocks of errors are a crash.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Burst {
    /// The share of a block's requests that must fail, from 0 to 1.
    pub block_error_rate: f64,
    /// So many such blocks fail the candidate.
    pub min_blocks: u64,
}

/// The effects that a pass would have caught, in more bad per request (OPERATIONS.md §5.4).
///
/// An effect of just its margin is caught every other time by any number of requests, so these
/// lie above the margins. The numbers are ours: 0.5 pp of 5xx, as §5.4 states; of the tail a
/// little more than its 1 %, for what one noisy run says of itself scatters by half (noise D).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Detect {
    /// How surely, from 0 to 1.
    pub probability: f64,
    /// Requests far above the pooled median.
    pub slow_tail: f64,
    /// Answers of status 500 and above.
    pub http5xx: f64,
    /// Requests without a whole answer.
    pub network: f64,
    /// Answers of a status nobody expects.
    pub unknown_status: f64,
}

impl Default for Detect {
    fn default() -> Self {
        Self {
            probability: 0.95,
            slow_tail: 0.0125,
            http5xx: 0.005,
            network: 0.005,
            unknown_status: 0.01,
        }
    }
}

impl CanaryPolicy {
    /// The policy as it is for a scenario.
    pub fn of(&self, scenario: &str) -> Self {
        if scenario.starts_with("chat") { self.for_chat() } else { self.clone() }
    }

    /// The same policy with the limits of a chat, whose provider is noisier than this server:
    /// 500 ms for p95 and above, 1000 ms for the slow tail (OPERATIONS.md §4).
    pub fn for_chat(&self) -> Self {
        let mut policy = self.clone();
        for margin in [&mut policy.p95, &mut policy.p99, &mut policy.p995] {
            margin.max_delta_ms = margin.max_delta_ms.max(500.0);
        }
        policy.slow_tail.above_median_ms = policy.slow_tail.above_median_ms.max(1000.0);
        policy
    }
}

impl Policy for CanaryPolicy {
    const FILE: &'static str = "canary-policy.json";
    const SCHEMA: &'static str = "sendcat.canary/1";
    const BUILT_IN: &'static str = include_str!("canary-policy.json");

    fn schema(&self) -> &str {
        &self.schema
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let out = &mut problems;
        within(out, "alphaFamily", self.alpha_family, 1e-9, 0.05);
        within(out, "blockRequests", self.block_requests as f64, 1.0, 1000.0);
        within(out, "minBlocks", self.min_blocks as f64, 30.0, 100_000.0);
        let needed = self.min_blocks.saturating_mul(self.block_requests);
        if self.samples_per_arm < needed {
            let what = format!("{} samples fill too few blocks", self.samples_per_arm);
            let fix = format!("write at least {needed}, minBlocks × blockRequests");
            out.push(Problem::new("samplesPerArm", what, fix));
        }
        for (name, margin) in
            [("p50", self.p50), ("p95", self.p95), ("p99", self.p99), ("p995", self.p995)]
        {
            within(out, &format!("{name}.maxRatio"), margin.max_ratio, 1.0, 100.0);
            within(out, &format!("{name}.maxDeltaMs"), margin.max_delta_ms, 0.0, 120_000.0);
        }
        let above = self.slow_tail.above_median_ms;
        within(out, "slowTail.aboveMedianMs", above, 1.0, 120_000.0);
        for (name, delta) in [
            ("slowTail", self.slow_tail.max_rate_delta),
            ("http5xx", self.http5xx.max_rate_delta),
            ("network", self.network.max_rate_delta),
            ("unknownStatus", self.unknown_status.max_rate_delta),
        ] {
            within(out, &format!("{name}.maxRateDelta"), delta, 0.0001, 0.5);
        }
        within(out, "detect.probability", self.detect.probability, 0.5, 0.999);
        for (name, caught, margin) in [
            ("slowTail", self.detect.slow_tail, self.slow_tail.max_rate_delta),
            ("http5xx", self.detect.http5xx, self.http5xx.max_rate_delta),
            ("network", self.detect.network, self.network.max_rate_delta),
            ("unknownStatus", self.detect.unknown_status, self.unknown_status.max_rate_delta),
        ] {
            if !(caught > margin && caught <= 1.0) {
                let what = format!("{caught} is not above the margin of {margin}");
                let fix = format!("write twice {name}.maxRateDelta, or more");
                out.push(Problem::new(format!("detect.{name}"), what, fix));
            }
        }
        within(out, "burst.blockErrorRate", self.burst.block_error_rate, 0.05, 1.0);
        within(out, "burst.minBlocks", self.burst.min_blocks as f64, 1.0, self.min_blocks as f64);
        if !self.rollback_on.contains(&RunVerdict::Fail) {
            let what = "a candidate that fails is not taken back";
            out.push(Problem::new("rollbackOn", what, "add \"FAIL\""));
        }
        problems
    }
}
