//! How often the judge is right (OPERATIONS.md §5.4 step 7, §7 "canary A/A" and "canary power").
//!
//! Seeded, so each run of a test is the same run. Beside the scenario that is drawn, three more are
//! counted into Holm's family, as in §2: the level is that of four scenarios.
//! `CANARY_RUNS=1000 cargo nextest run --lib canary::tests::rates` makes so many runs of each.

use super::simulated::NOISES;
use super::*;

/// Scenarios in the family.
const SCENARIOS: f64 = 4.0;

/// Runs of a test: as many as take a few seconds unoptimised, or `CANARY_RUNS`.
fn runs(unless_told: u64) -> u64 {
    let told = std::env::vars_os().find(|(name, _)| name == "CANARY_RUNS");
    told.map_or(unless_told, |(_, runs)| runs.to_str().unwrap().parse().unwrap())
}

/// How many runs ended in each verdict: PASS, FAIL, INCONCLUSIVE, INVALID.
fn verdicts(runs: u64, noise: Noise, change: impl Fn(&mut Lots, usize, &mut Sample)) -> [u64; 4] {
    let simulation = Simulation::new();
    let policy = CanaryPolicy::built_in();
    let mut look = Look::only(policy.samples_per_arm, &policy);
    look.alpha /= SCENARIOS;
    let mut counts = [0; 4];
    for seed in 0..runs {
        let pair = simulation.pair(seed, 120, noise, &mut |lots, at, sample| {
            change(lots, at, sample);
        });
        let got = judge(&[pair], &policy, look);
        counts[match got.verdict {
            RunVerdict::Pass => 0,
            RunVerdict::Fail => 1,
            RunVerdict::Inconclusive => 2,
            RunVerdict::Invalid | RunVerdict::Aborted => 3,
        }] += 1;
    }
    eprintln!("{noise:?}: PASS, FAIL, INCONCLUSIVE, INVALID of {runs}: {counts:?}");
    counts
}

/// At least 99 of 100 runs fail, over all noises.
#[track_caller]
fn caught(change: impl Fn(&mut Lots, usize, &mut Sample)) {
    let runs = runs(25);
    let failed: u64 = NOISES.map(|noise| verdicts(runs, noise, &change)[1]).iter().sum();
    let all = runs * NOISES.len() as u64;
    assert!(failed * 100 >= all * 99, "{failed} of {all}");
}

#[track_caller]
fn identical_pairs_pass(noise: Noise) {
    let runs = runs(250);
    let [passed, failed, _, _] = verdicts(runs, noise, unchanged);
    assert_eq!(failed, 0, "{noise:?}");
    assert!(passed * 100 >= runs * 99, "{noise:?}: {passed} of {runs}");
}

#[test]
fn identical_pairs_pass_whose_answers_vary_each_by_itself() {
    identical_pairs_pass(Noise::A);
}

#[test]
fn identical_pairs_pass_under_a_load_that_wanders() {
    identical_pairs_pass(Noise::B);
}

#[test]
fn identical_pairs_pass_under_shared_bursts() {
    identical_pairs_pass(Noise::C);
}

#[test]
fn identical_pairs_pass_under_shared_bursts_and_stalls_of_their_own() {
    identical_pairs_pass(Noise::D);
}

#[test]
fn four_identical_scenarios_judged_together_pass() {
    let simulation = Simulation::new();
    for seed in 0..runs(25) {
        let scenarios = ["gmail_push_webhook", "whatsapp_webhook", "chat_stream_http", "more"];
        let pairs: Vec<Pair> = scenarios
            .iter()
            .zip(NOISES)
            .map(|(name, noise)| {
                let pair = simulation.pair(seed, 120, noise, &mut unchanged);
                Pair { scenario: (*name).into(), ..pair }
            })
            .collect();
        let got = judged(&pairs);
        assert_ne!(got.verdict, RunVerdict::Fail, "seed {seed}: {:?}", got.reasons);
    }
}

#[test]
fn fifty_milliseconds_on_one_request_of_a_hundred_are_caught() {
    caught(|lots, _, sample| {
        if lots.unit() < 0.01 {
            sample.latency_ms += 50.0;
        }
    });
}

#[test]
fn half_a_percent_of_5xx_is_caught() {
    caught(|lots, _, sample| {
        if lots.unit() < 0.005 {
            sample.ended = Ended::Http5xx;
        }
    });
}

#[test]
fn twenty_milliseconds_on_all_are_caught() {
    caught(|_, _, sample| sample.latency_ms += 20.0);
}

#[test]
fn a_crash_of_five_seconds_is_caught() {
    // At 100 requests a second and arm: ten blocks.
    caught(|_, at, sample| {
        if (55..65).contains(&at) {
            sample.ended = Ended::Unreached;
        }
    });
}

/// The change of spread that a judge of medians passes (kayenta#780).
#[test]
fn ten_times_the_variance_around_the_same_median_is_caught() {
    caught(|_, _, sample| {
        sample.latency_ms = (10.0 + 10.0_f64.sqrt() * (sample.latency_ms - 10.0)).max(0.1);
    });
}

#[test]
fn a_uniform_three_percent_is_layout_noise_and_does_not_fail() {
    let [_, failed, _, _] = verdicts(runs(100), Noise::A, |_, _, sample| sample.latency_ms *= 1.03);
    assert_eq!(failed, 0);
}

/// What a pass prints is held against what the judge does: the rate that the median run says it
/// would have caught in 95 of 100 runs is caught in at least 85, and half of it is not.
#[test]
fn what_a_pass_says_it_would_have_caught_is_caught() {
    let simulation = Simulation::new();
    for (noise, metric) in [(Noise::A, 5), (Noise::D, 4)] {
        let said = |seed| {
            let pair = simulation.pair(seed, 120, noise, &mut unchanged);
            judged(&[pair]).rows[metric].detectable.expect("these are quiet enough")
        };
        let mut said: Vec<f64> = (0..21).map(said).collect();
        said.sort_by(f64::total_cmp);
        let rate = said[10];
        let caught = |rate: f64| {
            let turns_bad = |lots: &mut Lots, _: usize, sample: &mut Sample| {
                if lots.unit() < rate && metric == 5 {
                    sample.ended = Ended::Http5xx;
                } else if lots.unit() < rate && metric == 4 {
                    sample.latency_ms += 50.0;
                }
            };
            let runs = runs(60);
            let fails = |seed: &u64| {
                let mut change = turns_bad;
                let pair = simulation.pair(1000 + seed, 120, noise, &mut change);
                judged(&[pair]).verdict == RunVerdict::Fail
            };
            (0..runs).filter(fails).count() as f64 / runs as f64
        };
        let (all, half) = (caught(rate), caught(rate / 2.0));
        eprintln!("{noise:?} {metric}: said {rate:.4}, caught {all:.2}; half of it {half:.2}");
        assert!(all >= 0.85 && half < 0.85, "{noise:?}, row {metric}: {rate}: {all}, {half}");
    }
}
