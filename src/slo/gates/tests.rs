//! Rows flip exactly at their budgets, nothing measured is nothing passed.

use proptest::prelude::*;

use super::*;
use crate::slo::policy::{Policy, SloBaseline};
use crate::slo::report::{Latencies, Stage};

fn whatsapp() -> ScenarioSlo {
    SloBaseline::built_in().scenarios.remove("whatsapp_webhook").unwrap()
}

/// A scenario with these statuses and errors, each answer taking so many milliseconds.
fn scenario(statuses: &[(u16, u64)], errors: &[(ErrorKind, u64)], ms: u64) -> Scenario {
    let mut scenario = Scenario::default();
    let mut histogram = Histogram::default();
    let answers: u64 = statuses.iter().map(|(_, n)| n).sum();
    (0..answers).for_each(|_| histogram.record_us(ms * 1000));
    scenario.latency_ms.corrected = Latencies::of(&histogram);
    let started = answers + errors.iter().map(|(_, n)| n).sum::<u64>();
    scenario.stages.push(Stage {
        planned: started,
        started,
        statuses: statuses.iter().copied().collect(),
        errors: errors.iter().copied().collect(),
        ..Stage::default()
    });
    assert!(scenario.conserves());
    scenario
}

fn verdicts(scenario: &Scenario, slo: &ScenarioSlo) -> Vec<(String, CheckVerdict, u64, u64)> {
    let tally = Tally::of(scenario, slo).unwrap();
    let rows = rows("w", slo, &tally, &Owners::built_in());
    rows.into_iter().map(|row| (row.sli, row.verdict, row.bad, row.total)).collect()
}

#[test]
fn the_four_rows_of_the_log_flip_exactly_past_their_budgets() {
    for (budget, total, most) in
        [(0.01, 300, 3), (0.01, 820, 8), (0.02, 100, 2), (0.05, 820, 41), (0.1, 120, 12)]
    {
        assert_ne!(judged(Share::new(most, total), budget), CheckVerdict::Fail);
        assert_eq!(judged(Share::new(most + 1, total), budget), CheckVerdict::Fail);
    }
    assert_eq!(judged(Share::new(3, 820), 0.01), CheckVerdict::Pass);
    assert_eq!(judged(Share::new(4, 820), 0.01), CheckVerdict::PassUnproven);
    assert_eq!(judged(Share::new(0, 299), 0.01), CheckVerdict::Pass);
    assert_eq!(judged(Share::new(0, 298), 0.01), CheckVerdict::PassUnproven);
}

#[test]
fn a_p95_that_only_just_holds_is_not_failed_by_binary_fractions() {
    let budget = whatsapp().slis.latency.unwrap().max_rate();
    assert_ne!(judged(Share::new(5, 100), budget), CheckVerdict::Fail);
    assert_eq!(judged(Share::new(6, 100), budget), CheckVerdict::Fail);
}

#[test]
fn the_standard_drill_of_the_log_is_judged_row_by_row() {
    use CheckVerdict::Pass;
    let run = scenario(&[(403, 120), (429, 700)], &[], 1166);
    let row = |sli: &str, verdict| (sli.to_owned(), verdict, 0, 820);
    assert_eq!(
        verdicts(&run, &whatsapp()),
        [
            row("latency", Pass),
            row("http5xx", Pass),
            row("network", Pass),
            row("unknownStatus", Pass)
        ]
    );
}

#[test]
fn a_server_that_never_answered_has_no_good_rate_of_5xx() {
    use CheckVerdict::{Fail, NoData};
    let run = scenario(&[], &[(ErrorKind::Connect, 300)], 0);
    let found: Vec<_> = verdicts(&run, &whatsapp()).into_iter().map(|row| row.1).collect();
    assert_eq!(found, [NoData, NoData, Fail, NoData]);
    let nothing: Vec<_> = verdicts(&Scenario::default(), &whatsapp());
    assert!(nothing.iter().all(|row| row.1 == NoData), "{nothing:?}");
}

#[test]
fn each_bad_event_is_counted_by_one_indicator() {
    let chat = SloBaseline::built_in().scenarios.remove("chat_stream_http").unwrap();
    let errors = [(ErrorKind::StreamCut, 2), (ErrorKind::Reset, 3)];
    let run = scenario(&[(200, 90), (500, 4), (503, 1), (418, 5)], &errors, 10);
    let found: Vec<_> = verdicts(&run, &chat).into_iter().map(|row| (row.2, row.3)).collect();
    // latency, 5xx, network, unknown, first byte, cut
    assert_eq!(found, [(0, 100), (5, 100), (3, 105), (5, 100), (0, 0), (2, 92)]);
    let mut excluding = chat.clone();
    excluding.slis.http5xx.as_mut().unwrap().exclude.push(503);
    let tally = Tally::of(&run, &excluding).unwrap();
    let rows = rows("chat_stream_http", &excluding, &tally, &Owners::built_in());
    assert_eq!(rows[1].bad, 4);
    assert!(rows[1].why.contains("5xx but 503"), "{}", rows[1].why);
}

#[test]
fn what_hid_behind_the_limiters_quick_answers_has_a_row_of_its_own() {
    let mut run = scenario(&[(403, 120), (429, 700)], &[], 1);
    for (class, n, us) in [("403", 120_u64, 9_000_000), ("429", 700, 900), ("2xx", 99, 9_000_000)] {
        let mut histogram = Histogram::default();
        (0..n).for_each(|_| histogram.record_us(us));
        run.by_status_class.entry(class.into()).or_default().corrected = Latencies::of(&histogram);
    }
    let found = verdicts(&run, &whatsapp());
    assert_eq!(found[1], ("latency@403".into(), CheckVerdict::Fail, 120, 120));
    assert_eq!(found[2], ("latency@429".into(), CheckVerdict::Pass, 0, 700));
    assert_eq!(found[3].0, "http5xx", "99 answers are too few for a row of their own");
}

#[test]
fn arrivals_that_were_never_sent_are_bad_latencies() {
    let mut run = scenario(&[(200, 90)], &[], 1);
    run.stages[0].planned += 10;
    run.stages[0].dropped += 10;
    assert!(run.conserves());
    let found = verdicts(&run, &whatsapp());
    assert_eq!(found[0], ("latency".into(), CheckVerdict::Fail, 10, 100));
}

#[test]
fn every_row_prints_observed_operator_threshold_owner_and_page() {
    let run = scenario(&[(200, 811), (500, 9)], &[], 5);
    let slo = whatsapp();
    let tally = Tally::of(&run, &slo).unwrap();
    let row = rows("whatsapp_webhook", &slo, &tally, &Owners::built_in()).remove(1);
    assert_eq!((row.id.as_str(), row.op.as_str()), ("whatsapp_webhook.http5xx", "<="));
    assert_eq!((row.bad, row.total, row.threshold), (9, 820, 0.01));
    assert_eq!(format!("{:.2}", row.burn.unwrap()), "1.10");
    assert_eq!(row.owner.team, "integrations");
    assert_eq!(row.runbook.as_deref(), Some("RUNBOOK.md#whatsapp"));
    assert_eq!(row.why, "1.10 % of 820 answers 5xx (9), more than 1.00 %");
    let row = gate("w", "http5xx", Share::new(0, 30), 0.01, "answers 5xx");
    let why = "0 of 30 answers 5xx may still be 9.50 %, 1.00 % is allowed; \
               299 without one would prove it";
    assert_eq!(row.why, why);
}

#[test]
fn a_generator_that_fell_behind_is_invalid_and_a_server_that_held_it_up_is_not() {
    let kept = Schedule {
        planned: 1000,
        started: 1000,
        lag_self_p99_ms: 150.0,
        lag_cap_max_ms: 0.0,
        tightest_limit_ms: Some(1500),
    };
    assert_eq!(kept.invalid(), None);
    assert!(Schedule { lag_self_p99_ms: 150.1, ..kept }.invalid().is_some());
    assert!(
        Schedule { lag_self_p99_ms: 5.1, tightest_limit_ms: Some(20), ..kept }.invalid().is_some()
    );
    assert_eq!(Schedule { started: 990, ..kept }.invalid(), None);
    assert!(Schedule { started: 989, ..kept }.invalid().is_some());
    assert_eq!(Schedule { started: 10, lag_cap_max_ms: 9000.0, ..kept }.invalid(), None);
}

proptest! {
    #[test]
    fn a_row_says_what_its_own_numbers_say(
        bad in 0_u64..50,
        total in 0_u64..2000,
        budget in 0.001_f64..0.2,
    ) {
        let row = gate("s", "sli", Share::new(bad, total), budget, "events");
        let expected = match (row.observed, row.ci95) {
            (None, None) => CheckVerdict::NoData,
            (Some(rate), _) if rate > budget => CheckVerdict::Fail,
            (_, Some([_, high])) if high <= budget => CheckVerdict::Pass,
            _ => CheckVerdict::PassUnproven,
        };
        prop_assert_eq!(row.verdict, expected);
    }
}
