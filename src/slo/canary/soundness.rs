//! Whether a pair says anything of its servers, and the crash that no test over all blocks would
//! see (OPERATIONS.md §5.4, steps 2 and 5).

use super::{Block, Ended, Look, MAX_LAG_MS, Pair, Sample};
use crate::slo::policy::CanaryPolicy;
use crate::slo::stats::{quantiles, sign_test};

/// In a crash of the candidate the control's block has fewer errors than this share of the
/// candidate's threshold: a shared hiccup is nobody's crash.
const CLEAN: f64 = 0.2;

type Arm = fn(&Block) -> &[Sample];
const ARMS: [(&str, Arm); 2] =
    [("control", |block| &block.control), ("candidate", |block| &block.candidate)];

/// Why the pair says nothing of the servers: a lost arm, or lag that is late or one-sided.
///
/// `alpha` is the chance at which lag of identical arms is called one-sided.
pub(super) fn invalid(pair: &Pair, policy: &CanaryPolicy, alpha: f64) -> Option<String> {
    let total = |arm: Arm| -> usize { pair.blocks.iter().map(|block| arm(block).len()).sum() };
    let [control, candidate] = ARMS.map(|(_, arm)| total(arm));
    let (least, most) = (control.min(candidate), control.max(candidate));
    if least * 100 < most * 99 {
        return Some(format!(
            "one arm lost traffic: {control} requests of the control, {candidate} of the candidate"
        ));
    }
    lost(pair, policy).or_else(|| late(pair)).or_else(|| one_sided(pair, policy, alpha))
}

/// An arm that was no longer reached from some block on until the end. One that is reached again
/// had crashed, and that is a verdict.
fn lost(pair: &Pair, policy: &CanaryPolicy) -> Option<String> {
    let reached = |samples: &[Sample]| samples.iter().any(|s| s.ended != Ended::Unreached);
    let blocks = || pair.blocks.iter().rev().filter(|b| !b.control.is_empty());
    for (name, arm) in ARMS {
        let silent = blocks().take_while(|block| !reached(arm(block))).count();
        if silent as u64 >= policy.burst.min_blocks {
            return Some(format!(
                "the {name} lost its traffic: no connection in the last {silent} of {} blocks",
                pair.blocks.len()
            ));
        }
    }
    None
}

fn late(pair: &Pair) -> Option<String> {
    let worst = ARMS.map(|(_, arm)| lags(pair, arm, [0.99])[0]).into_iter().fold(0.0, f64::max);
    (worst > MAX_LAG_MS).then(|| format!("the generator sent {worst:.0} ms late (p99)"))
}

/// Lag that is not the same for both arms is the generator's difference, not the servers'.
///
/// Judged as a latency is, two-sided: by the same exact test, and only past half of a margin, which
/// cannot by itself make a latency row fail. Shared hiccups pass.
fn one_sided(pair: &Pair, policy: &CanaryPolicy, alpha: f64) -> Option<String> {
    const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];
    let margins = [policy.p50, policy.p95, policy.p99].map(|margin| margin.max_delta_ms / 2.0);
    let [control, candidate] = ARMS.map(|(_, arm)| lags(pair, arm, QUANTILES.map(|(_, q)| q)));
    for (at, (name, _)) in QUANTILES.into_iter().enumerate() {
        let apart = candidate[at] - control[at];
        // Half-way between the two, what is later exceeds it more often.
        let limit = control[at] + apart / 2.0;
        if apart.abs() > margins[at] && one_sided_by_chance(pair, limit) <= alpha {
            let (more, ms) = (if apart > 0.0 { "candidate" } else { "control" }, apart.abs());
            return Some(format!("the generator sent the {more} {ms:.1} ms later ({name})"));
        }
    }
    None
}

/// The chance that lags of the same generator pass a limit so unevenly, whichever way.
fn one_sided_by_chance(pair: &Pair, limit_ms: f64) -> f64 {
    let over = |samples: &[Sample]| samples.iter().filter(|s| s.lag_ms > limit_ms).count() as i64;
    let more = |block: &Block| over(&block.candidate) - over(&block.control);
    let mut differences: Vec<i64> = pair.blocks.iter().map(more).collect();
    let one = sign_test(&differences);
    differences.iter_mut().for_each(|difference| *difference = -*difference);
    2.0 * one.min(sign_test(&differences))
}

fn lags<const N: usize>(pair: &Pair, arm: Arm, qs: [f64; N]) -> [f64; N] {
    let mut lags = Vec::with_capacity(pair.blocks.iter().map(|block| arm(block).len()).sum());
    for block in &pair.blocks {
        for sample in arm(block) {
            lags.push(sample.lag_ms);
        }
    }
    quantiles(&mut lags, qs).map(Option::unwrap_or_default)
}

/// Why a pair is too small to decide, or has nothing to be compared with.
pub(super) fn too_little(pair: &Pair, policy: &CanaryPolicy, look: Look) -> Option<String> {
    let full = |block: &&Block| {
        let least = block.control.len().min(block.candidate.len());
        least as u64 >= policy.block_requests
    };
    let blocks = pair.blocks.iter().filter(full).count() as u64;
    if blocks < look.min_blocks {
        let Look { min_blocks, .. } = look;
        return Some(format!("{blocks} full blocks per arm, {min_blocks} are needed"));
    }
    let control = pair.blocks.iter().flat_map(|b| &b.control).any(|s| s.ended.answered());
    (!control).then(|| "the control never answered: there is nothing to compare with".into())
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
