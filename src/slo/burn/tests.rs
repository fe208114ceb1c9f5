//! The table of the specification, and what must not change an answer.

use proptest::prelude::*;

use super::*;
use crate::slo::policy::{GatePolicy, Policy};

const DAY: u64 = 24 * 3600;

fn policy() -> BurnPolicy {
    GatePolicy::built_in().burn_rate
}

/// A run of the same drill that ended on a day.
fn run(day: u64, bad: u64, total: u64) -> Window {
    Window {
        id: format!("run-{day}"),
        started: Duration::from_secs(day * DAY - 60),
        ended: Duration::from_secs(day * DAY),
        scenario: "whatsapp_webhook".into(),
        profile: "standard".into(),
        slo_hash: "ab".into(),
        share: Share::new(bad, total),
    }
}

/// Runs two hours apart, the newest first.
fn hourly(bads: &[u64]) -> Vec<Window> {
    let ended = |at: usize| Duration::from_secs(100 * DAY - 7200 * at as u64);
    let window = |(at, bad): (usize, &u64)| Window {
        id: format!("run-{at}"),
        started: ended(at) - Duration::from_secs(60),
        ended: ended(at),
        ..run(100, *bad, 820)
    };
    bads.iter().enumerate().map(window).collect()
}

fn now() -> Duration {
    Duration::from_secs(100 * DAY)
}

#[test]
fn eight_of_820_burn_0_98_and_nine_fail_at_1_10() {
    let burn = |bad| judge(&run(100, bad, 820), &[], 0.01, &policy(), now()).short;
    assert_eq!(format!("{:.2}", burn(8).burn.unwrap()), "0.98");
    assert_eq!(burn(8).verdict, CheckVerdict::Pass);
    assert_eq!(format!("{:.2}", burn(9).burn.unwrap()), "1.10");
    assert_eq!(burn(9).verdict, CheckVerdict::Fail);
}

#[test]
fn twelve_drills_that_each_pass_fail_together() {
    let windows = hourly(&[5; 12]);
    let burn = judge(&windows[0], &windows[1..], 0.01, &policy(), now());
    assert_eq!((burn.short.verdict, burn.long.verdict), (CheckVerdict::Pass, CheckVerdict::Fail));
    assert_eq!((burn.long.share, burn.reports), (Share::new(60, 9840), 12));
    assert_eq!(format!("{:.2}", burn.long.burn.unwrap()), "0.61");
    let month = Duration::from_secs(30 * DAY);
    let left = exhaustion(month, burn.long.burn.unwrap()).unwrap();
    assert_eq!(left.as_secs() / DAY, 49);
    assert_eq!(exhaustion(month, 0.0), None);
    assert_eq!(budget_spent(2.0, month / 4, month), 0.5);
}

#[test]
fn fewer_reports_than_needed_are_no_data_and_so_is_a_stale_one() {
    let windows = hourly(&[0; 3]);
    let two = judge(&windows[0], &windows[1..2], 0.01, &policy(), now());
    assert_eq!(two.long.verdict, CheckVerdict::NoData);
    assert_eq!(two.long.why, "2 reports of the last runs, 3 are needed");
    let three = judge(&windows[0], &windows[1..], 0.01, &policy(), now());
    assert_eq!(three.long.verdict, CheckVerdict::Pass);
    let late = now() + hours(168);
    assert_eq!(judge(&windows[0], &windows[1..], 0.01, &policy(), late), three);
    let stale = judge(&windows[0], &windows[1..], 0.01, &policy(), late + hours(1));
    assert_eq!(stale.short.verdict, CheckVerdict::NoData);
    assert_eq!(stale.long.why, "stale: the newest report is 169 h old");
}

#[test]
fn a_report_of_nothing_is_no_data_and_two_bad_events_prove_no_burn() {
    let empty = judge(&run(100, 0, 0), &[], 0.01, &policy(), now());
    assert_eq!(empty.short.verdict, CheckVerdict::NoData);
    let few = judge(&run(100, 2, 60), &[], 0.01, &policy(), now()).short;
    assert_eq!(few.verdict, CheckVerdict::NoData);
    assert_eq!(few.why, "burn 3.33 by 2 bad events; 3 are needed to say so");
    let enough = judge(&run(100, 3, 60), &[], 0.01, &policy(), now()).short;
    assert_eq!(enough.verdict, CheckVerdict::Fail);
}

#[test]
fn only_independent_runs_of_the_same_drill_against_the_same_objectives_are_pooled() {
    let newest = run(100, 1, 820);
    let old = run(92, 100, 820);
    let twice = Window { id: "gate".into(), ..newest.clone() };
    let alike = Window { id: "a".into(), ..run(99, 2, 820) };
    let others = [
        Window { profile: "quick".into(), ..run(98, 100, 820) },
        Window { scenario: "gmail_push_webhook".into(), ..run(98, 100, 820) },
        Window { slo_hash: "cd".into(), ..run(98, 100, 820) },
        run(101, 100, 820),
        old,
        twice,
        newest.clone(),
        alike.clone(),
        alike,
    ];
    let pool = independent(&newest, &others, &policy());
    let shares: Vec<_> = pool.iter().map(|window| window.share.bad).collect();
    assert_eq!(shares, [1, 2]);
    let runs: Vec<Window> = (1..20).map(|at| run(100 - at % 7, at, 820)).collect();
    let two = BurnPolicy { lookback_reports: 2, ..policy() };
    assert_eq!(independent(&newest, &runs, &two).len(), 2);
}

#[test]
fn the_pairs_of_the_workbook_take_the_times_of_the_table() {
    let minutes =
        |budget: f64| WORKBOOK[0].time_to_fire(budget, 1.0).map(|t| t.as_secs_f64() / 60.0);
    let near = |got: Option<f64>, expected: f64| (got.unwrap() - expected).abs() < 0.05;
    assert!(near(minutes(0.01), 8.64) && near(minutes(0.02), 17.3) && near(minutes(0.05), 43.2));
    assert_eq!(minutes(0.10), None);
    let thresholds = |budget: f64| WORKBOOK.map(|pair| (pair.threshold(budget) * 1000.0).round());
    assert_eq!(thresholds(0.01), [144.0, 60.0, 30.0, 10.0]);
    assert_eq!(thresholds(0.02), [288.0, 120.0, 60.0, 20.0]);
    assert_eq!(thresholds(0.05), [720.0, 300.0, 150.0, 50.0]);
    assert_eq!(thresholds(0.10), [1440.0, 600.0, 300.0, 100.0]);
    assert!(WORKBOOK[0].can_fire(0.0694) && !WORKBOOK[0].can_fire(0.0695));
}

#[test]
fn a_pair_fires_only_if_both_windows_burn_and_enough_went_wrong() {
    let fires = |long: Share, short: Share| WORKBOOK[0].fires(long, short, 0.01);
    assert!(fires(Share::new(20, 100), Share::new(5, 10)));
    assert!(!fires(Share::new(20, 100), Share::new(0, 10)), "it is over");
    assert!(!fires(Share::new(20, 1000), Share::new(5, 10)), "it has only begun");
    assert!(!fires(Share::new(1, 6), Share::new(1, 6)), "one of six is chance");
    assert!(!fires(Share::default(), Share::default()));
}

#[test]
fn an_outage_is_seen_where_no_pair_can_fire() {
    assert!(is_outage(Share::new(19, 20), 0));
    assert!(!is_outage(Share::new(19, 19), 2));
    assert!(!is_outage(Share::new(94, 100), 0));
    assert!(is_outage(Share::default(), 3));
}

proptest! {
    #[test]
    fn pooling_is_recomputing_from_raw_counts_in_any_order(
        bads in prop::collection::vec(0_u64..30, 1..12),
        order in any::<prop::sample::Index>(),
    ) {
        let windows = hourly(&bads);
        let burn = judge(&windows[0], &windows[1..], 0.01, &policy(), now());
        let total = 820 * bads.len() as u64;
        prop_assert_eq!(burn.long.share, Share::new(bads.iter().sum(), total));
        let expected = bads.iter().sum::<u64>() as f64 / total as f64 / 0.01;
        prop_assert_eq!(burn.long.burn, Some(expected));
        let mut turned = windows[1..].to_vec();
        if !turned.is_empty() {
            let at = order.index(turned.len());
            turned.rotate_left(at);
            turned.reverse();
        }
        prop_assert_eq!(judge(&windows[0], &turned, 0.01, &policy(), now()), burn);
    }
}
