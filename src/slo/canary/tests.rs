//! The judge's rules, each by the smallest pair that shows it; how often it is right is measured in
//! [`rates`], on pairs of [`simulated`].

mod rates;
mod rules;
mod simulated;

use super::*;
use crate::slo::policy::Policy;

use simulated::{Lots, Noise, Simulation};

/// One look at a run as large as the policy asks for.
fn judged(pairs: &[Pair]) -> Judgement {
    let policy = CanaryPolicy::built_in();
    judge(pairs, &policy, Look::only(policy.samples_per_arm, &policy))
}

/// A pair of a quiet host, changed in the candidate.
fn pair(seed: u64, blocks: usize, mut change: impl FnMut(&mut Lots, usize, &mut Sample)) -> Pair {
    Simulation::new().pair(seed, blocks, Noise::A, &mut change)
}

fn unchanged(_: &mut Lots, _: usize, _: &mut Sample) {}
