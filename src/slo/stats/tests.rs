//! Published values, and properties against naive sums.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn near(got: f64, expected: f64, within: f64) {
    assert!((got - expected).abs() <= within, "{got} is not {expected} within {within}");
}

/// The binomial tail, term by term.
fn naive_at_most(share: Share, rate: f64) -> f64 {
    let total = share.total as f64;
    let mut term = (total * (-rate).ln_1p()).exp();
    let mut sum = term;
    for k in 0..share.bad {
        term *= (total - k as f64) / (k as f64 + 1.0) * rate / (1.0 - rate);
        sum += term;
    }
    sum
}

#[test]
fn bounds_are_those_of_clopper_and_pearson() {
    // Two-sided 95 % tables: 2 of 20 is 1.2349 % to 31.698 %, 10 of 100 is 4.9005 % to 17.6223 %.
    for (bad, total, low, high) in
        [(2, 20, 0.012349, 0.316983), (10, 100, 0.049005, 0.176223), (1, 10, 0.002529, 0.445016)]
    {
        near(lower_bound(Share::new(bad, total), 0.975), low, 1e-6);
        near(upper_bound(Share::new(bad, total), 0.975), high, 1e-6);
    }
    // Closed forms: none bad is 1 − α^(1/n), all bad is α^(1/n).
    near(upper_bound(Share::new(0, 30), 0.95), 1.0 - 0.05_f64.powf(1.0 / 30.0), 1e-12);
    near(lower_bound(Share::new(30, 30), 0.95), 0.05_f64.powf(1.0 / 30.0), 1e-12);
}

#[test]
fn none_bad_of_thirty_still_allows_nine_and_a_half_percent() {
    near(Share::new(0, 30).bounds()[1], 0.095, 5e-4);
    for budget in [0.01, 0.02, 0.05] {
        assert!(!Share::new(0, 30).proves_at_most(budget));
    }
}

#[test]
fn of_nothing_everything_is_possible_and_nothing_is_proved() {
    assert_eq!(Share::default().bounds(), [0.0, 1.0]);
    assert_eq!(Share::default().rate(), None);
    assert!(!Share::default().proves_at_most(1.0));
}

#[test]
fn the_smallest_runs_that_prove_are_those_of_the_specification() {
    let sizes = [0.01, 0.02, 0.05, 0.10].map(events_to_prove);
    assert_eq!(sizes, [Some(299), Some(149), Some(59), Some(29)]);
    assert_eq!((events_to_prove(0.0), events_to_prove(1.0)), (None, Some(1)));
}

#[test]
fn of_820_at_one_percent_three_bad_are_proved_and_of_300_none() {
    assert_eq!(most_bad_to_prove(820, 0.01), Some(3));
    assert_eq!(most_bad_to_prove(300, 0.01), Some(0));
    assert_eq!(most_bad_to_prove(298, 0.01), None);
    assert_eq!(most_bad_to_prove(0, 0.01), None);
}

#[test]
fn a_quantile_is_a_value_that_was_observed() {
    let values: Vec<u32> = (1..=100).collect();
    let at = |q| quantile(&values, q);
    assert_eq!([at(0.0), at(0.5), at(0.95), at(1.0)], [1, 50, 95, 100].map(Some));
    assert_eq!(quantile(&[7], 0.999), Some(7));
    assert_eq!(quantile::<u32>(&[], 0.5), None);
}

#[test]
fn the_sign_flip_test_gives_fishers_value_for_darwins_maize() {
    // Fisher (1935): 863 of 32768 flips give a sum of 314 or more.
    let darwin = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48];
    near(sign_flip(&darwin), 863.0 / 32768.0, 1e-15);
    near(sign_test(&darwin), 121.0 / 32768.0, 1e-12);
}

#[test]
fn differences_of_nothing_are_no_evidence() {
    assert_eq!(sign_flip(&[]), 1.0);
    assert_eq!(sign_flip(&[0; 200]), 1.0);
    assert_eq!(sign_test(&[0; 200]), 1.0);
}

#[test]
fn holm_rejects_in_steps_and_stops_at_the_first_that_holds() {
    // The textbook example: 0.01, 0.04, 0.03, 0.005 at 5 % reject the first and last.
    assert_eq!(holm(&[0.01, 0.04, 0.03, 0.005], 0.05), [true, false, false, true]);
    assert_eq!(holm(&[0.02, 0.02, 0.02], 0.05), [false; 3]);
    assert_eq!(holm(&[f64::NAN, 0.001], 0.05), [false, true]);
    assert!(holm(&[], 0.05).is_empty());
}

proptest! {
    #[test]
    fn the_tail_is_the_naive_sum(
        total in 1_u64..400,
        part in 0.0_f64..1.0,
        rate in 0.001_f64..0.5,
    ) {
        let share = Share::new((total as f64 * part) as u64, total);
        prop_assume!(share.bad < total);
        prop_assert!((at_most(share, rate) - naive_at_most(share, rate)).abs() < 1e-9);
    }

    #[test]
    fn a_proof_and_the_upper_bound_are_one_statement(
        total in 1_u64..2_000_000,
        bad in 0_u64..40,
        budget in 0.0005_f64..0.5,
    ) {
        let share = Share::new(bad, total);
        let [low, high] = share.bounds();
        prop_assume!((high - budget).abs() > 1e-9);
        prop_assert_eq!(share.proves_at_most(budget), high <= budget);
        let rate = share.rate().expect("there are events");
        prop_assert!(low <= rate && rate <= high);
    }

    #[test]
    fn the_sign_flip_test_counts_every_flip(
        differences in prop::collection::vec(-20_i64..20, 0..12),
    ) {
        let observed: i64 = differences.iter().sum();
        let flips = 1_u32 << differences.len();
        let as_large = (0..flips).filter(|flip| {
            let sign = |place: usize| if flip >> place & 1 == 1 { -1 } else { 1 };
            let sum: i64 = differences.iter().enumerate().map(|(at, d)| sign(at) * d).sum();
            sum >= observed
        });
        let expected = as_large.count() as f64 / f64::from(flips);
        prop_assert!((sign_flip(&differences) - expected).abs() < 1e-12);
        let signs: Vec<i64> = differences.iter().map(|d| d.signum()).collect();
        prop_assert!((sign_flip(&signs) - sign_test(&differences)).abs() < 1e-12);
    }

    #[test]
    fn holm_rejects_no_more_than_no_correction_and_no_less_than_bonferroni(
        chances in prop::collection::vec(0.0_f64..0.1, 1..12),
    ) {
        for (chance, rejected) in chances.iter().zip(holm(&chances, 0.05)) {
            prop_assert!(!rejected || *chance <= 0.05);
            prop_assert!(rejected || *chance > 0.05 / chances.len() as f64);
        }
    }
}

#[test]
fn a_slope_is_that_of_the_line_and_its_bounds_are_students() {
    let line: Vec<_> = (0..10).map(|x| (f64::from(x), 3.0 * f64::from(x) + 1.0)).collect();
    let [low, middle, high] = slope(&line).unwrap();
    assert!((middle - 3.0).abs() < 1e-9 && high - low < 1e-6);
    // Worked by hand: slope 0.6, residuals' sum 2.4 over 3 degrees of freedom, t = 3.182.
    let [low, middle, high] =
        slope(&[(1.0, 2.0), (2.0, 4.0), (3.0, 5.0), (4.0, 4.0), (5.0, 5.0)]).unwrap();
    assert!((middle - 0.6).abs() < 1e-9, "{middle}");
    assert!((high - 0.6 - 3.1824 * (0.8_f64 / 10.0).sqrt()).abs() < 1e-3, "{high}");
    assert!(low < 0.0 && high > 0.0);
    assert_eq!(slope(&line[..2]), None);
    assert_eq!(slope(&[(1.0, 1.0); 5]), None);
}
