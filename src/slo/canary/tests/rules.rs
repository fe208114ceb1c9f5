//! Which verdict follows from what.

use super::*;
use crate::slo::stats::quantile;

fn verdict(pair: Pair) -> RunVerdict {
    judged(&[pair]).verdict
}

#[track_caller]
fn says(pair: Pair, expected: RunVerdict, reason: &str) {
    let got = judged(&[pair]);
    assert_eq!(got.verdict, expected, "{:?}", got.reasons);
    assert!(got.reasons.iter().any(|why| why.contains(reason)), "{reason}: {:?}", got.reasons);
}

#[test]
fn thirty_samples_and_820_are_inconclusive_and_so_are_none() {
    let mut few = pair(1, 1, |_, _, sample| sample.latency_ms += 20.0);
    few.blocks[0].control.truncate(30);
    few.blocks[0].candidate.truncate(30);
    says(few, RunVerdict::Inconclusive, "0 full blocks per arm, 120 are needed");
    let standard = pair(1, 16, |_, _, sample| sample.latency_ms += 20.0);
    says(standard, RunVerdict::Inconclusive, "16 full blocks per arm, 120 are needed");
    says(pair(1, 119, unchanged), RunVerdict::Inconclusive, "119 full blocks");
    assert_eq!(verdict(pair(1, 120, unchanged)), RunVerdict::Pass);
    assert_eq!(judged(&[]).verdict, RunVerdict::Inconclusive);
}

#[test]
fn a_scenario_that_is_too_small_does_not_hide_the_failure_of_another() {
    let slow = pair(1, 120, |_, _, sample| sample.latency_ms += 20.0);
    let small = Pair { scenario: "gmail_push_webhook".into(), ..pair(2, 10, unchanged) };
    let got = judged(&[slow, small]);
    assert_eq!(got.verdict, RunVerdict::Fail, "{:?}", got.reasons);
}

#[test]
fn an_arm_without_traffic_is_invalid_from_the_start_or_from_midway() {
    let mut lost = pair(1, 120, unchanged);
    lost.blocks.iter_mut().for_each(|block| block.candidate.clear());
    says(lost, RunVerdict::Invalid, "6000 requests of the control, 0 of the candidate");
    for since in [0, 60, 118] {
        let dies = move |_: &mut Lots, at: usize, sample: &mut Sample| {
            if at >= since {
                sample.ended = Ended::Unreached;
            }
        };
        let dead = pair(1, 120, dies);
        let mut swapped = dead.clone();
        for block in &mut swapped.blocks {
            std::mem::swap(&mut block.control, &mut block.candidate);
        }
        let blocks = 120 - since;
        let why = format!("lost its traffic: no connection in the last {blocks} of 120 blocks");
        says(dead, RunVerdict::Invalid, &format!("the candidate {why}"));
        says(swapped, RunVerdict::Invalid, &format!("the control {why}"));
    }
}

#[test]
fn a_candidate_that_takes_requests_and_answers_none_is_no_lost_arm() {
    let hangs = |_: &mut Lots, _: usize, sample: &mut Sample| sample.ended = Ended::Network;
    let hung = pair(1, 120, hangs);
    let mut swapped = hung.clone();
    for block in &mut swapped.blocks {
        std::mem::swap(&mut block.control, &mut block.candidate);
    }
    assert_eq!(verdict(hung), RunVerdict::Fail);
    says(swapped, RunVerdict::Inconclusive, "the control never answered");
}

#[test]
fn a_crash_of_two_blocks_is_caught_and_one_block_is_not_enough() {
    for how in [Ended::Unreached, Ended::Network, Ended::Http5xx, Ended::UnknownStatus] {
        let crash = |blocks: usize| {
            let fails = move |_: &mut Lots, at: usize, sample: &mut Sample| {
                if (40..40 + blocks).contains(&at) {
                    sample.ended = how;
                }
            };
            pair(1, 120, fails)
        };
        says(crash(2), RunVerdict::Fail, "2 blocks of errors while the control was clean");
        assert_ne!(verdict(crash(1)), RunVerdict::Fail, "{how:?}");
    }
    let mut shared = pair(1, 120, |_, at, sample| {
        if (40..42).contains(&at) {
            sample.ended = Ended::Http5xx;
        }
    });
    for block in &mut shared.blocks[40..42] {
        block.control.clone_from(&block.candidate);
    }
    assert_ne!(verdict(shared), RunVerdict::Fail, "a hiccup of both is nobody's crash");
}

#[test]
fn lag_that_is_late_or_one_sided_is_invalid_and_shared_lag_is_not() {
    let lag = |ms: f64| pair(1, 120, move |_, _, sample| sample.lag_ms += ms);
    says(lag(251.0), RunVerdict::Invalid, "ms late (p99)");
    says(lag(3.0), RunVerdict::Invalid, "sent the candidate 3.0 ms later (p50)");
    let tail = pair(1, 120, |lots, _, sample| {
        if lots.unit() < 0.06 {
            sample.lag_ms += 20.0;
        }
    });
    says(tail, RunVerdict::Invalid, "ms later (p95)");
    let mut shared = lag(100.0);
    let late = |sample: &mut Sample| sample.lag_ms += 100.0;
    shared.blocks.iter_mut().for_each(|block| block.control.iter_mut().for_each(late));
    assert_eq!(verdict(shared), RunVerdict::Pass);
}

#[test]
fn on_a_host_without_processors_a_slower_candidate_is_invalid_and_one_with_errors_fails() {
    let policy = CanaryPolicy::built_in();
    let on = |pressure, pair: &Pair| {
        let look = Look::only(policy.samples_per_arm, &policy);
        judge_on(pressure, std::slice::from_ref(pair), &policy, look).verdict
    };
    let slower = pair(1, 120, |_, _, sample| sample.latency_ms += 50.0);
    let mut broken = pair(1, 120, unchanged);
    broken.candidate_meets_slo = false;
    for late in [&slower, &broken] {
        assert_eq!(on(None, late), RunVerdict::Fail);
        assert_eq!(on(Some(MAX_CPU_PRESSURE), late), RunVerdict::Fail);
        assert_eq!(on(Some(MAX_CPU_PRESSURE + 0.1), late), RunVerdict::Invalid);
    }
    let errors = pair(1, 120, |lots, _, sample| {
        sample.latency_ms += 50.0;
        if lots.unit() < 0.1 {
            sample.ended = Ended::Http5xx;
        }
    });
    assert_eq!(on(Some(100.0), &errors), RunVerdict::Fail);
    let crash = pair(1, 120, |_, at, sample| {
        if at > 40 && at < 50 {
            sample.ended = Ended::Network;
        }
    });
    assert_eq!(on(Some(100.0), &crash), RunVerdict::Fail);
    assert_eq!(on(Some(100.0), &pair(1, 120, unchanged)), RunVerdict::Pass);
}

#[test]
fn a_candidate_that_breaks_its_objectives_fails_however_alike_the_two_are() {
    let mut broken = pair(1, 120, unchanged);
    broken.candidate_meets_slo = false;
    says(broken.clone(), RunVerdict::Fail, "breaks its own objectives");
    let mut policy = CanaryPolicy::built_in();
    policy.require_candidate_meets_slo = false;
    let got = judge(&[broken], &policy, Look::only(6000, &policy));
    assert_eq!(got.verdict, RunVerdict::Pass);
}

#[test]
fn one_of_significance_and_effect_alone_warns_and_passes() {
    // 0.7 ms on each request: past no margin, and in no doubt.
    let got = judged(&[pair(1, 120, |_, _, sample| sample.latency_ms += 0.7)]);
    let p50 = &got.rows[0];
    assert!(p50.significant && !p50.past_margin, "{p50:?}");
    assert_eq!((p50.verdict, got.verdict), (CheckVerdict::Warn, RunVerdict::Pass));
    // 16 failures in one block of 6000 requests: past the margin, and one vote of 120.
    let mut failures = 0;
    let once = |_: &mut Lots, _: usize, sample: &mut Sample| {
        if failures < 16 {
            sample.ended = Ended::Http5xx;
        }
        failures += 1;
    };
    let got = judged(&[pair(1, 120, once)]);
    let http5xx = &got.rows[5];
    assert!(!http5xx.significant && http5xx.past_margin, "{http5xx:?}");
    assert_eq!(http5xx.verdict, CheckVerdict::Warn);
}

#[test]
fn chats_have_the_margins_of_their_provider() {
    let slower = pair(1, 120, |_, _, sample| sample.latency_ms += 300.0);
    let mut chat = slower.clone();
    chat.scenario = "chat_stream_http".into();
    let failing = |pair: Pair| -> Vec<String> {
        let rows = judged(&[pair]).rows.into_iter();
        rows.filter(|row| row.verdict == CheckVerdict::Fail).map(|row| row.metric).collect()
    };
    assert_eq!(failing(slower), ["p50", "p95", "p99", "p995", "slowTail"]);
    assert_eq!(failing(chat), ["p50"], "300 ms are within 500 of p95 and 1000 of the tail");
}

#[test]
fn a_row_carries_effect_margin_chance_and_what_would_have_been_caught() {
    let got = judged(&[pair(1, 120, |_, _, sample| sample.latency_ms += 20.0)]);
    let p95 = &got.rows[1];
    let margin = Margin { max_ratio: Some(1.2), max_delta: 5.0 };
    assert_eq!((p95.metric.as_str(), p95.unit, p95.margin), ("p95", Unit::Ms, margin));
    assert!((p95.effect.unwrap() - 20.0).abs() < 2.0, "{p95:?}");
    assert!(p95.p < 1e-6 && p95.detectable.is_none(), "{p95:?}");
    let metrics: Vec<_> = got.rows.iter().map(|row| row.metric.as_str()).collect();
    let all = ["p50", "p95", "p99", "p995", "slowTail", "http5xx", "network", "unknownStatus"];
    assert_eq!(metrics, all);
    let pass = judged(&[pair(1, 120, unchanged)]);
    let caught = "whatsapp_webhook: would have caught +50 ms on ≥ 0.39 %, 5xx on ≥ 0.39 %, \
        network errors on ≥ 0.39 %, unknown statuses on ≥ 0.68 % with 95 % probability";
    assert_eq!(pass.would_have_caught, [caught]);
    assert_eq!(pass.cannot_see, CANNOT_SEE);
}

#[test]
fn noise_that_would_have_hidden_what_the_policy_wants_caught_decides_nothing() {
    // Every other block of either arm stalls by itself.
    let sometimes = |lots: &mut Lots, arm: &mut Vec<Sample>| {
        if lots.unit() < 0.5 {
            arm.iter_mut().take(10).for_each(|sample| sample.latency_ms += 100.0);
        }
    };
    let mut stalls = pair(3, 120, unchanged);
    let mut lots = Lots::new(9);
    for block in &mut stalls.blocks {
        sometimes(&mut lots, &mut block.control);
        sometimes(&mut lots, &mut block.candidate);
    }
    says(stalls, RunVerdict::Inconclusive, "too noisy: it would have caught +50 ms on ≥ ");
}

#[test]
fn of_two_looks_each_has_half_of_the_error_and_the_second_sees_three_times_as_much() {
    let policy = CanaryPolicy::built_in();
    let [first, second] = Look::two(6000, &policy);
    assert_eq!(first, Look { samples: 3000, min_blocks: 60, alpha: 0.0025 });
    assert_eq!(second, Look { samples: 9000, min_blocks: 120, alpha: 0.0025 });
    // What is plain is taken back at once; what is not needs the second look.
    let bad = pair(1, 60, |_, _, sample| sample.latency_ms += 20.0);
    assert_eq!(judge(&[bad], &policy, first).verdict, RunVerdict::Fail);
    let same = |blocks| pair(1, blocks, unchanged);
    assert_eq!(judge(&[same(60)], &policy, first).verdict, RunVerdict::Inconclusive);
    assert_eq!(judge(&[same(180)], &policy, second).verdict, RunVerdict::Pass);
}

#[test]
fn quantiles_by_selection_are_those_of_the_sorted_values() {
    let mut lots = Lots::new(5);
    for size in [0, 1, 2, 3, 199, 200, 201, 1000] {
        // Few values, so that there are ties.
        let mut values: Vec<f64> = (0..size).map(|_| (lots.unit() * 50.0).floor()).collect();
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let qs = [0.5, 0.995, 0.0, 0.95, 1.0, 0.99];
        let got = crate::slo::stats::quantiles(&mut values, qs);
        assert_eq!(got, qs.map(|q| quantile(&sorted, q)), "{size} values");
    }
}

#[test]
fn a_plan_says_of_its_size_what_the_judge_says_of_a_run_without_noise() {
    let policy = CanaryPolicy::built_in();
    let quiet = |name: &str, blocks: usize| {
        let mut pair = Pair { scenario: name.into(), ..pair(1, blocks, unchanged) };
        for sample in
            pair.blocks.iter_mut().flat_map(|it| it.control.iter_mut().chain(&mut it.candidate))
        {
            *sample = Sample { latency_ms: 10.0, lag_ms: 0.0, ended: Ended::Expected };
        }
        pair
    };
    for (name, blocks) in [("whatsapp_webhook", 120), ("chat_stream_http", 240), ("gmail", 16)] {
        let look = Look::only(blocks * 50, &policy);
        let judged = judge(&[quiet(name, blocks as usize), quiet("other", 120)], &policy, look);
        let told = planned(name, &policy, look, 2);
        assert!(told.caught.starts_with(&judged.would_have_caught[0]), "{told:?} {judged:?}");
        assert_eq!(told.undecided.is_some(), blocks < 120, "{told:?}");
    }
    // 0.5 to the 10th is more than a level of 0.005 over eight tests, to the 11th it is less.
    let told = planned("whatsapp_webhook", &policy, Look::only(6000, &policy), 1);
    assert!(told.caught.ends_with("; 11 blocks must differ, all to one side"), "{told:?}");
}
