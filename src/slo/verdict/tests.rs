//! The table of exit codes, row by row and in every combination.

use proptest::prelude::*;

use super::*;

const CHECKS: [CheckVerdict; 6] = [
    CheckVerdict::Pass,
    CheckVerdict::PassUnproven,
    CheckVerdict::Warn,
    CheckVerdict::Fail,
    CheckVerdict::NoData,
    CheckVerdict::Skipped,
];

/// By falling precedence, with the code of each.
const BESIDE: [(Circumstance, u8, RunVerdict); 7] = [
    (Circumstance::RevertUnverified, 7, RunVerdict::Aborted),
    (Circumstance::Aborted, 6, RunVerdict::Aborted),
    (Circumstance::Interrupted, 130, RunVerdict::Aborted),
    (Circumstance::Misused, 2, RunVerdict::Aborted),
    (Circumstance::Unreachable, 5, RunVerdict::Inconclusive),
    (Circumstance::Invalid, 4, RunVerdict::Invalid),
    (Circumstance::Inconclusive, 3, RunVerdict::Inconclusive),
];

fn of(checks: &[CheckVerdict], strict: bool) -> (RunVerdict, u8) {
    let judging = Judging { strict, ..Judging::default() };
    let Outcome { verdict, exit_code } = outcome(checks, &[], judging);
    (verdict, exit_code)
}

#[test]
fn rows_alone_give_the_lower_half_of_the_table() {
    use CheckVerdict::{Fail, NoData, Pass, PassUnproven, Skipped, Warn};
    assert_eq!(of(&[Pass, Skipped], true), (RunVerdict::Pass, 0));
    assert_eq!(of(&[Pass, Warn, PassUnproven], false), (RunVerdict::Pass, 0));
    assert_eq!(of(&[Pass, Warn], true), (RunVerdict::Fail, 1));
    assert_eq!(of(&[Pass, PassUnproven], true), (RunVerdict::Fail, 1));
    assert_eq!(of(&[Pass, NoData], false), (RunVerdict::Inconclusive, 3));
    assert_eq!(of(&[NoData, Fail], false), (RunVerdict::Fail, 1));
}

#[test]
fn a_run_that_showed_nothing_never_passes() {
    assert_eq!(of(&[], false), (RunVerdict::Inconclusive, 3));
    assert_eq!(of(&[CheckVerdict::Skipped; 3], false), (RunVerdict::Inconclusive, 3));
    assert_eq!(of(&[CheckVerdict::NoData], true), (RunVerdict::Inconclusive, 3));
}

#[test]
fn inconclusive_ends_in_the_code_that_was_asked_for_and_keeps_its_name() {
    for (inconclusive_as, code) in
        [(InconclusiveAs::Pass, 0), (InconclusiveAs::Fail, 1), (InconclusiveAs::Inconclusive, 3)]
    {
        let judging = Judging { strict: false, inconclusive_as };
        let Outcome { verdict, exit_code } = outcome(&[CheckVerdict::NoData], &[], judging);
        assert_eq!((verdict, exit_code), (RunVerdict::Inconclusive, code));
        // A failure is none the less one.
        assert_eq!(outcome(&[CheckVerdict::Fail], &[], judging).exit_code, 1);
    }
}

#[test]
fn a_generator_that_fell_behind_gives_no_verdict_on_the_server() {
    for check in CHECKS {
        let got = outcome(&[check], &[Circumstance::Invalid], Judging::default());
        assert_eq!(got, Outcome { verdict: RunVerdict::Invalid, exit_code: 4 });
    }
}

#[test]
fn words_on_the_wire_are_those_of_the_specification() {
    let words = serde_json::to_string(&CHECKS).unwrap();
    let expected = r#"["pass","pass_unproven","warn","fail","no_data","skipped"]"#;
    assert_eq!(words, expected);
    for (_, _, verdict) in BESIDE {
        assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.word());
    }
}

proptest! {
    #[test]
    fn the_highest_applicable_row_wins(
        checks in prop::collection::vec(prop::sample::select(&CHECKS[..]), 0..5),
        beside in prop::collection::vec(prop::sample::select(&BESIDE[..]), 0..4),
        strict: bool,
    ) {
        let circumstances: Vec<_> = beside.iter().map(|row| row.0).collect();
        let judging = Judging { strict, ..Judging::default() };
        let got = outcome(&checks, &circumstances, judging);
        let mut rows = BESIDE.iter().filter(|row| circumstances.contains(&row.0));
        let alone = outcome(&checks, &[], judging);
        let expected = match rows.next() {
            Some((Circumstance::Inconclusive, ..)) | None if alone.exit_code == 1 => alone,
            Some((_, exit_code, verdict)) => Outcome { verdict: *verdict, exit_code: *exit_code },
            None => alone,
        };
        prop_assert_eq!(got, expected);
    }
}
