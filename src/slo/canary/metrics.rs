//! The eight metrics of a pair (OPERATIONS.md §5.4, steps 3 to 5).

use super::{Block, Ended, Margin, Pair, Row, Sample, Unit};
use crate::slo::policy::CanaryPolicy;
use crate::slo::policy::canary::LatencyMargin;
use crate::slo::stats::{quantiles, sign_flip, sign_test};
use crate::slo::verdict::CheckVerdict;

/// The metric of answers that come late, whatever they say.
pub(super) const SLOW_TAIL: &str = "slowTail";

/// Rows of a scenario.
pub(super) const METRICS: usize = 8;

/// The percentiles, first of the rows; then the four that are rates.
const QUANTILES: [f64; 4] = [0.5, 0.95, 0.99, 0.995];

/// The rates' places among the rows.
pub(super) const RATES: [usize; 4] = [4, 5, 6, 7];

/// Bad requests of one arm in one block, metric by metric.
type Counts = [u32; METRICS];

/// What was measured of one scenario.
pub(super) struct Measured {
    /// Holm's verdict over all scenarios is still to come.
    pub(super) rows: Vec<Row>,
    /// Control's and candidate's counts, block by block.
    pub(super) blocks: Vec<[Counts; 2]>,
    /// Requests of the smaller arm.
    pub(super) samples: u64,
    /// The share of requests that would count as slow if they took twice as much longer as the
    /// slow tail lies above the median, and do not now.
    pub(super) slowable: f64,
}

/// Measures and tests one scenario.
pub(super) fn measure(pair: &Pair, policy: &CanaryPolicy) -> Measured {
    let mut arms = [arm(pair, |block| &block.control), arm(pair, |block| &block.candidate)];
    let mut pooled = arms.concat();
    let limits = quantiles(&mut pooled, QUANTILES);
    let above = policy.slow_tail.above_median_ms;
    let slow = limits[0].unwrap_or(f64::INFINITY) + above;
    let slowable = |latency: &&f64| **latency > slow - 2.0 * above && **latency <= slow;
    let slowable = pooled.iter().filter(slowable).count() as f64 / pooled.len().max(1) as f64;
    let [a, b, c, d] = limits.map(|limit| limit.unwrap_or(f64::INFINITY));
    let limits = [a, b, c, d, slow];
    let blocks: Vec<[Counts; 2]> = pair
        .blocks
        .iter()
        .map(|Block { control, candidate }| [counts(control, &limits), counts(candidate, &limits)])
        .collect();
    let totals = [0, 1].map(|arm| total(pair, arm));
    let values = arms.each_mut().map(|arm| quantiles(arm, QUANTILES));
    let mut rows = Vec::with_capacity(METRICS);
    let margins = [policy.p50, policy.p95, policy.p99, policy.p995];
    for (at, (name, margin)) in ["p50", "p95", "p99", "p995"].into_iter().zip(margins).enumerate() {
        let differences = differences(&blocks, at);
        // One stall slows a whole block at once: in the tail a block has one vote (step 3).
        let p = if at > 0 { sign_test(&differences) } else { sign_flip(&differences) };
        let [control, candidate] = values.map(|values| values[at]);
        let row = row(pair, name, Unit::Ms, [control, candidate], p);
        let max_ratio = Some(margin.max_ratio);
        let kept = Margin { max_ratio, max_delta: margin.max_delta_ms };
        rows.push(Row { past_margin: past(margin, control, candidate), margin: kept, ..row });
    }
    let rates = [
        (SLOW_TAIL, policy.slow_tail.max_rate_delta),
        ("http5xx", policy.http5xx.max_rate_delta),
        ("network", policy.network.max_rate_delta),
        ("unknownStatus", policy.unknown_status.max_rate_delta),
    ];
    for (at, (name, max_delta)) in RATES.into_iter().zip(rates) {
        let bad = [0, 1].map(|arm| blocks.iter().map(|block| u64::from(block[arm][at])).sum());
        let rate = |arm: usize| (totals[arm] > 0).then(|| rate(bad[arm], totals[arm]));
        let row =
            row(pair, name, Unit::Rate, [rate(0), rate(1)], sign_test(&differences(&blocks, at)));
        let past_margin = row.effect.is_some_and(|effect| effect > max_delta);
        let margin = Margin { max_ratio: None, max_delta };
        rows.push(Row { past_margin, margin, ..row });
    }
    Measured { rows, blocks, samples: totals[0].min(totals[1]), slowable }
}

/// A latency fails only past both ratio and delta (OPERATIONS.md §4).
fn past(margin: LatencyMargin, control: Option<f64>, candidate: Option<f64>) -> bool {
    control.zip(candidate).is_some_and(|(control, candidate)| {
        candidate - control > margin.max_delta_ms && candidate > control * margin.max_ratio
    })
}

fn row(pair: &Pair, metric: &str, unit: Unit, values: [Option<f64>; 2], p: f64) -> Row {
    let [control, candidate] = values;
    Row {
        scenario: pair.scenario.clone(),
        metric: metric.to_owned(),
        unit,
        requests: total(pair, 1),
        control,
        candidate,
        effect: candidate.zip(control).map(|(candidate, control)| candidate - control),
        margin: Margin { max_ratio: None, max_delta: 0.0 },
        p,
        significant: false,
        past_margin: false,
        detectable: None,
        verdict: CheckVerdict::NoData,
    }
}

/// Latencies of what was answered.
fn arm(pair: &Pair, of: fn(&Block) -> &[Sample]) -> Vec<f64> {
    let mut latencies = Vec::with_capacity(pair.blocks.iter().map(|block| of(block).len()).sum());
    for block in &pair.blocks {
        for sample in of(block) {
            if sample.ended.answered() {
                latencies.push(sample.latency_ms);
            }
        }
    }
    latencies
}

fn total(pair: &Pair, arm: usize) -> u64 {
    let of = |block: &Block| [block.control.len(), block.candidate.len()][arm] as u64;
    pair.blocks.iter().map(of).sum()
}

fn rate(bad: u64, total: u64) -> f64 {
    bad as f64 / total as f64
}

/// One walk over a block for all metrics: the judge's cost is here.
fn counts(samples: &[Sample], limits: &[f64; 5]) -> Counts {
    let mut counts = [0; METRICS];
    for sample in samples {
        match sample.ended {
            Ended::Expected => {}
            Ended::Http5xx => counts[5] += 1,
            Ended::Network | Ended::Unreached => {
                counts[6] += 1;
                continue;
            }
            Ended::UnknownStatus => counts[7] += 1,
        }
        for (count, limit) in counts.iter_mut().zip(limits) {
            *count += u32::from(sample.latency_ms > *limit);
        }
    }
    counts
}

/// Candidate's count less control's, block by block.
fn differences(blocks: &[[Counts; 2]], at: usize) -> Vec<i64> {
    blocks
        .iter()
        .map(|[control, candidate]| i64::from(candidate[at]) - i64::from(control[at]))
        .collect()
}
