//! Simulated pairs, seeded: identical ones do not fail, faults of a known size do.

use super::*;
use crate::slo::policy::Policy;

/// A small generator with a printed seed (splitmix64).
struct Lots(u64);

impl Lots {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normal, after Box and Muller.
    fn normal(&mut self) -> f64 {
        let length = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        length * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Log-normal answers around 10 ms, with a burst that both arms share in one block of ten.
fn pair(seed: u64, blocks: usize, change: impl Fn(&mut Lots, usize, &mut Sample)) -> Pair {
    let mut lots = Lots(seed);
    let blocks = (0..blocks).map(|at| {
        let burst = if lots.unit() < 0.1 { 30.0 * lots.unit() } else { 0.0 };
        let draw = |lots: &mut Lots| Sample {
            latency_ms: 10.0 * (0.3 * lots.normal()).exp() + burst,
            lag_ms: lots.unit(),
            ended: Ended::Expected,
        };
        let control = (0..50).map(|_| draw(&mut lots)).collect();
        let mut candidate: Vec<_> = (0..50).map(|_| draw(&mut lots)).collect();
        candidate.iter_mut().for_each(|sample| change(&mut lots, at, sample));
        Block { control, candidate }
    });
    let blocks = blocks.collect();
    Pair { scenario: "whatsapp_webhook".into(), blocks, candidate_meets_slo: true }
}

fn verdict(pair: Pair) -> RunVerdict {
    judge(&[pair], &CanaryPolicy::built_in()).verdict
}

#[track_caller]
fn always(expected: RunVerdict, runs: u64, change: impl Fn(&mut Lots, usize, &mut Sample)) {
    for seed in 0..runs {
        let got = judge(&[pair(seed, 120, &change)], &CanaryPolicy::built_in());
        assert_eq!(got.verdict, expected, "seed {seed}: {:?}", got.reasons);
    }
}

#[test]
fn an_identical_pair_never_fails_in_a_thousand_runs() {
    always(RunVerdict::Pass, 1000, |_, _, _| {});
}

#[test]
fn fifty_milliseconds_on_one_request_of_a_hundred_are_caught() {
    always(RunVerdict::Fail, 100, |lots, _, sample| {
        if lots.unit() < 0.01 {
            sample.latency_ms += 50.0;
        }
    });
}

#[test]
fn one_request_of_a_hundred_failing_is_caught() {
    always(RunVerdict::Fail, 100, |lots, _, sample| {
        if lots.unit() < 0.01 {
            sample.ended = Ended::Http5xx;
        }
    });
}

#[test]
fn twenty_milliseconds_on_all_are_caught() {
    always(RunVerdict::Fail, 30, |_, _, sample| sample.latency_ms += 20.0);
}

#[test]
fn ten_times_the_spread_around_the_same_median_is_caught() {
    always(RunVerdict::Fail, 30, |_, _, sample| {
        sample.latency_ms = (10.0 + 10.0 * (sample.latency_ms - 10.0)).max(0.1);
    });
}

#[test]
fn a_uniform_three_percent_is_layout_noise_and_does_not_fail() {
    always(RunVerdict::Pass, 100, |_, _, sample| sample.latency_ms *= 1.03);
}

#[test]
fn a_crash_of_a_few_blocks_is_caught_and_one_block_is_not_enough() {
    let crash = |blocks: usize| {
        move |_: &mut Lots, at: usize, sample: &mut Sample| {
            if at < blocks {
                sample.ended = Ended::Network;
            }
        }
    };
    always(RunVerdict::Fail, 20, crash(2));
    assert_eq!(verdict(pair(1, 120, crash(1))), RunVerdict::Pass);
}

#[test]
fn thirty_samples_are_inconclusive_and_so_are_none() {
    let mut few = pair(1, 1, |_, _, sample| sample.latency_ms += 20.0);
    few.blocks[0].control.truncate(30);
    few.blocks[0].candidate.truncate(30);
    assert_eq!(verdict(few), RunVerdict::Inconclusive);
    assert_eq!(verdict(pair(1, 119, |_, _, _| {})), RunVerdict::Inconclusive);
    assert_eq!(judge(&[], &CanaryPolicy::built_in()).verdict, RunVerdict::Inconclusive);
}

#[test]
fn a_scenario_that_is_too_small_does_not_hide_the_failure_of_another() {
    let slow = pair(1, 120, |_, _, sample| sample.latency_ms += 20.0);
    let small = Pair { scenario: "gmail_push_webhook".into(), ..pair(2, 10, |_, _, _| {}) };
    let got = judge(&[slow, small], &CanaryPolicy::built_in());
    assert_eq!(got.verdict, RunVerdict::Fail, "{:?}", got.reasons);
}

#[test]
fn a_candidate_of_errors_only_fails_and_a_control_of_errors_only_decides_nothing() {
    always(RunVerdict::Fail, 3, |_, _, sample| sample.ended = Ended::Network);
    let mut swapped = pair(1, 120, |_, _, sample| sample.ended = Ended::Network);
    for block in &mut swapped.blocks {
        std::mem::swap(&mut block.control, &mut block.candidate);
    }
    assert_eq!(verdict(swapped), RunVerdict::Inconclusive);
}

#[test]
fn a_candidate_without_traffic_and_a_late_generator_are_invalid() {
    let mut lost = pair(1, 120, |_, _, _| {});
    lost.blocks.iter_mut().for_each(|block| block.candidate.clear());
    assert_eq!(verdict(lost), RunVerdict::Invalid);
    always(RunVerdict::Invalid, 2, |_, _, sample| sample.lag_ms = 251.0);
    always(RunVerdict::Invalid, 2, |_, _, sample| sample.lag_ms += 3.0);
}

#[test]
fn a_candidate_that_breaks_its_objectives_fails_however_alike_the_two_are() {
    let mut broken = pair(1, 120, |_, _, _| {});
    broken.candidate_meets_slo = false;
    assert_eq!(verdict(broken.clone()), RunVerdict::Fail);
    let mut policy = CanaryPolicy::built_in();
    policy.require_candidate_meets_slo = false;
    assert_eq!(judge(&[broken], &policy).verdict, RunVerdict::Pass);
}
