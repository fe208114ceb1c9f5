//! The eight metrics of a pair, and what makes a pair invalid (OPERATIONS.md §5.4, steps 2 to 5).

use super::{Block, Ended, MAX_LAG_MS, Pair, Row, Sample};
use crate::slo::policy::CanaryPolicy;
use crate::slo::policy::canary::LatencyMargin;
use crate::slo::stats::{quantile, sign_flip, sign_test};
use crate::slo::verdict::CheckVerdict;

/// In a crash of the candidate the control's block has fewer errors than this share of the
/// candidate's threshold: a shared hiccup is nobody's crash.
const CLEAN: f64 = 0.2;

type Arm = fn(&Block) -> &[Sample];
const CONTROL: Arm = |block| &block.control;
const CANDIDATE: Arm = |block| &block.candidate;

/// The rows of one scenario; Holm's verdict over all scenarios is still to come.
pub(super) fn rows(pair: &Pair, policy: &CanaryPolicy) -> Vec<Row> {
    let arms = [answered(pair, CONTROL), answered(pair, CANDIDATE)];
    let mut pooled = arms.concat();
    pooled.sort_by(f64::total_cmp);
    let mut rows = Vec::new();
    for (metric, q, margin) in [
        ("p50", 0.5, policy.p50),
        ("p95", 0.95, policy.p95),
        ("p99", 0.99, policy.p99),
        ("p995", 0.995, policy.p995),
    ] {
        let limit = quantile(&pooled, q).unwrap_or(f64::INFINITY);
        let differences = differences(pair, |sample| slower(sample, limit));
        // One stall slows a whole block at once: in the tail a block has one vote (step 3).
        let p = if q > 0.5 { sign_test(&differences) } else { sign_flip(&differences) };
        let [control, candidate] = [quantile(&arms[0], q), quantile(&arms[1], q)];
        let past_margin = past(margin, control, candidate);
        rows.push(row(pair, metric, [control, candidate], p, past_margin));
    }
    let median = quantile(&pooled, 0.5).unwrap_or(f64::INFINITY);
    let slow = median + policy.slow_tail.above_median_ms;
    let mut rate = |metric: &str, max_delta: f64, bad: &dyn Fn(&Sample) -> bool| {
        let [control, candidate] = [CONTROL, CANDIDATE].map(|arm| rate_of(pair, arm, bad));
        let past_margin = candidate.zip(control).is_some_and(|(c, b)| c - b > max_delta);
        let p = sign_test(&differences(pair, bad));
        rows.push(row(pair, metric, [control, candidate], p, past_margin));
    };
    let is = |ended: Ended| move |sample: &Sample| sample.ended == ended;
    rate("slowTail", policy.slow_tail.max_rate_delta, &|sample| slower(sample, slow));
    rate("http5xx", policy.http5xx.max_rate_delta, &is(Ended::Http5xx));
    rate("network", policy.network.max_rate_delta, &is(Ended::Network));
    rate("unknownStatus", policy.unknown_status.max_rate_delta, &is(Ended::UnknownStatus));
    rows
}

/// Why the pair says nothing of the servers: a lost arm, or lag that is late or one-sided.
pub(super) fn invalid(pair: &Pair, policy: &CanaryPolicy) -> Option<String> {
    let [control, candidate] = [CONTROL, CANDIDATE].map(|arm| samples(pair, arm).count());
    if control.min(candidate) * 100 < control.max(candidate) * 99 {
        let say = format!("one arm lost traffic: {control} control, {candidate} candidate");
        return Some(say);
    }
    let lags = [CONTROL, CANDIDATE].map(|arm| {
        let mut lags: Vec<f64> = samples(pair, arm).map(|sample| sample.lag_ms).collect();
        lags.sort_by(f64::total_cmp);
        (quantile(&lags, 0.5).unwrap_or_default(), quantile(&lags, 0.99).unwrap_or_default())
    });
    let worst = lags[0].1.max(lags[1].1);
    if worst > MAX_LAG_MS {
        return Some(format!("the generator sent {worst:.0} ms late (p99)"));
    }
    // Half of the tightest margin cannot by itself make a latency row fail.
    let apart = (lags[0].0 - lags[1].0).abs();
    (apart > policy.p50.max_delta_ms / 2.0)
        .then(|| format!("the generator sent one arm {apart:.1} ms later than the other (p50)"))
}

/// Whether a few blocks of the candidate were mostly errors while the control was clean: a crash
/// so short that no test over all blocks would see it (step 5).
pub(super) fn burst(pair: &Pair, policy: &CanaryPolicy) -> Option<String> {
    let errors = |samples: &[Sample]| {
        let bad = samples.iter().filter(|sample| sample.ended != Ended::Expected).count();
        bad as f64 / samples.len().max(1) as f64
    };
    let rate = policy.burst.block_error_rate;
    let crashed =
        |block: &&Block| errors(&block.candidate) >= rate && errors(&block.control) < rate * CLEAN;
    let blocks = pair.blocks.iter().filter(crashed).count() as u64;
    (blocks >= policy.burst.min_blocks)
        .then(|| format!("{blocks} blocks of errors while the control was clean"))
}

fn row(pair: &Pair, metric: &str, values: [Option<f64>; 2], p: f64, past_margin: bool) -> Row {
    Row {
        scenario: pair.scenario.clone(),
        metric: metric.to_owned(),
        control: values[0],
        candidate: values[1],
        p,
        significant: false,
        past_margin,
        verdict: CheckVerdict::NoData,
    }
}

/// A latency fails only past both ratio and delta (OPERATIONS.md §4).
fn past(margin: LatencyMargin, control: Option<f64>, candidate: Option<f64>) -> bool {
    control.zip(candidate).is_some_and(|(control, candidate)| {
        candidate - control > margin.max_delta_ms && candidate > control * margin.max_ratio
    })
}

fn slower(sample: &Sample, limit_ms: f64) -> bool {
    sample.ended != Ended::Network && sample.latency_ms > limit_ms
}

fn samples(pair: &Pair, arm: Arm) -> impl Iterator<Item = &Sample> {
    pair.blocks.iter().flat_map(arm)
}

/// Sorted latencies of what was answered.
fn answered(pair: &Pair, arm: Arm) -> Vec<f64> {
    let answers = samples(pair, arm).filter(|sample| sample.ended != Ended::Network);
    let mut sorted: Vec<f64> = answers.map(|sample| sample.latency_ms).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn rate_of(pair: &Pair, arm: Arm, bad: &dyn Fn(&Sample) -> bool) -> Option<f64> {
    let total = samples(pair, arm).count();
    let bad = samples(pair, arm).filter(|sample| bad(sample)).count();
    (total > 0).then(|| bad as f64 / total as f64)
}

/// Candidate's count less control's, block by block.
fn differences(pair: &Pair, bad: impl Fn(&Sample) -> bool) -> Vec<i64> {
    let count = |samples: &[Sample]| samples.iter().filter(|sample| bad(sample)).count() as i64;
    pair.blocks.iter().map(|block| count(&block.candidate) - count(&block.control)).collect()
}
