//! Game days in moved time.

use super::*;
use crate::load::gameday::abort::Limits;
use crate::load::gameday::catalog::plan_for;
use crate::load::gameday::plan::{Op, Sli, StopCondition};
use crate::slo::policy::Policy as _;

fn at(second: u64) -> Duration {
    Duration::from_secs(second)
}

fn tally(total: u64, http_5xx: u64) -> Tally {
    Tally { total, http_5xx, ..Tally::default() }
}

/// A second in which all is well.
fn calm() -> Sight {
    let names = ["health", "whatsapp_webhook", "whatsapp_replay", "chat_stream_http"];
    Sight {
        contact: true,
        scenarios: names.map(|name| (name.to_owned(), tally(2, 0))).into(),
        gauges: Some(Gauges::default()),
        ..Sight::default()
    }
}

fn biting(witness: u64) -> Sight {
    Sight { listed: true, witness, ..calm() }
}

fn open() -> Sight {
    Sight { gauges: Some(Gauges { circuits_open: 1, ..Gauges::default() }), ..biting(3) }
}

fn begun(plan: Plan) -> GameDay {
    GameDay::new(plan, &SloBaseline::built_in())
}

fn plan() -> Plan {
    let plan = plan_for("provider.reset_peer").unwrap();
    Plan { baseline_s: 2, fault_s: 3, recovery_s: 2, ..plan }
}

/// Goes on to the second in which the fault is in force; the second after it.
fn injected(day: &mut GameDay) -> u64 {
    let acts: Vec<_> = (0..4).map(|second| day.step(at(second), &calm())).collect();
    assert_eq!(acts, [Act::Wait, Act::Wait, Act::BeginNoop, Act::Inject]);
    4
}

/// Goes on with what is seen each second; the acts of it.
fn goes_on(day: &mut GameDay, from: u64, sights: &[Sight]) -> Vec<Act> {
    let acts = (from..).zip(sights).map(|(second, sight)| day.step(at(second), sight));
    acts.collect()
}

#[test]
fn a_server_that_does_what_was_expected_holds() {
    let mut day = begun(plan());
    let from = injected(&mut day);
    let gone = Sight { witness: 5, ..calm() };
    let seen = [biting(1), open(), biting(5), gone.clone(), gone];
    let acts = goes_on(&mut day, from, &seen);
    let ends = [Act::Wait, Act::Wait, Act::Revert, Act::Revert, Act::End];
    assert_eq!(acts, ends);
    assert_eq!((day.score(), day.revert_verified), (Score::Held, Some(true)));
    assert_eq!((day.detected, day.recovered, day.hurt), (Some(at(2)), Some(at(1)), 0));
}

#[test]
fn a_hypothesis_that_did_not_come_true_deviates() {
    let mut day = begun(plan());
    let from = injected(&mut day);
    let gone = Sight { witness: 5, ..calm() };
    let seen = [biting(1), biting(2), biting(5), gone.clone(), gone.clone(), gone];
    goes_on(&mut day, from, &seen);
    assert_eq!((day.score(), day.phase()), (Score::Deviated, Phase::Over));
    assert_eq!(day.detected, None);
}

#[test]
fn a_server_that_stays_hurt_deviates_although_its_hypothesis_held() {
    let mut day = begun(plan());
    let from = injected(&mut day);
    let still = Sight { listed: false, ..open() };
    let mut seen = vec![open(), open(), open()];
    seen.extend(vec![still; 6]);
    goes_on(&mut day, from, &seen);
    assert_eq!((day.score(), day.phase()), (Score::Deviated, Phase::Over));
    assert_eq!((day.recovered, day.revert_verified), (None, Some(true)));
}

#[test]
fn a_fault_that_never_bit_shows_nothing() {
    let mut day = begun(plan());
    let from = injected(&mut day);
    let seen = [biting(0), biting(0), biting(0), calm(), calm(), calm()];
    goes_on(&mut day, from, &seen);
    assert_eq!(day.score(), Score::NoEffect);
}

#[test]
fn what_was_not_measured_has_not_held() {
    let mut day = begun(plan());
    let from = injected(&mut day);
    let blind = |mut sight: Sight| {
        sight.scenarios.retain(|name, _| name == "health");
        sight
    };
    let gone = blind(Sight { witness: 3, ..calm() });
    let seen = [blind(open()), blind(open()), blind(open()), gone.clone(), gone.clone(), gone];
    goes_on(&mut day, from, &seen);
    assert_eq!(day.score(), Score::NoEffect);
}

#[test]
fn a_server_without_a_steady_state_meets_no_fault() {
    let mut day = begun(plan());
    let mut sick = calm();
    sick.scenarios.insert("whatsapp_webhook".into(), tally(2, 1));
    let acts = goes_on(&mut day, 0, &[sick.clone(), sick.clone(), sick]);
    assert_eq!(acts, [Act::Wait, Act::Wait, Act::RevertAll]);
    assert_eq!((day.phase(), day.revert_verified), (Phase::Over, None));
    assert!(day.unsteady.is_some());
}

#[test]
fn a_noop_that_changes_something_ends_it_before_the_fault() {
    let mut day = begun(plan());
    let moved = Sight { gauges: Some(Gauges { restarts: 1, ..Gauges::default() }), ..calm() };
    let acts = goes_on(&mut day, 0, &[calm(), calm(), calm(), moved]);
    assert_eq!(acts, [Act::Wait, Act::Wait, Act::BeginNoop, Act::RevertAll]);
    assert_eq!(day.score(), Score::Aborted);
}

#[test]
fn a_revert_that_is_not_seen_is_tried_again_and_then_not_verified() {
    let mut day = begun(plan());
    let from = injected(&mut day);
    let acts = goes_on(&mut day, from, &[open(), open(), open(), open(), open(), open()]);
    assert_eq!(&acts[2..], [Act::Revert; 4]);
    let acts = goes_on(&mut day, from + 6, &[open(), open()]);
    assert_eq!(acts, [Act::Revert, Act::End]);
    assert_eq!(day.revert_verified, Some(false));
}

#[test]
fn a_witness_that_still_moves_is_no_revert() {
    let mut day = begun(plan());
    let from = injected(&mut day);
    goes_on(&mut day, from, &[open(), open(), open()]);
    let moving: Vec<_> = (4..10).map(|witness| Sight { witness, ..calm() }).collect();
    goes_on(&mut day, from + 3, &moving);
    assert_eq!(day.revert_verified, Some(false));
}

/// Why a game day ends whose fault is in force, after these seconds.
fn ended(plan: Plan, sights: &[Sight]) -> Option<Abort> {
    let mut day = begun(Plan { fault_s: 60, ttl_s: 60, ..plan });
    let from = injected(&mut day);
    let acts = goes_on(&mut day, from, sights);
    assert_eq!(acts.last() == Some(&Act::RevertAll), day.aborted.is_some());
    day.aborted
}

#[test]
fn each_alarm_ends_it_at_its_second_and_no_earlier() {
    let silent = Sight { listed: true, ..Sight::default() };
    let mut deaf = biting(1);
    deaf.scenarios.insert("health".into(), tally(1, 1));
    let mut beside = biting(1);
    beside.scenarios.insert("attack".into(), tally(100, 3));
    let mut hurt = biting(1);
    hurt.scenarios.insert("chat_stream_http".into(), tally(150, 101));
    let mut many = biting(1);
    many.scenarios.insert("chat_stream_http".into(), Tally { network: 1001, ..tally(2000, 0) });
    let low = Sight { free_disk_mb: Some(511), ..biting(1) };
    let fat = Gauges { rss_mb: Some(2049.0), ..Gauges::default() };
    let fat = Sight { gauges: Some(fat), ..biting(1) };
    let stopped = Sight { interrupted: true, ..biting(1) };
    let condition = Abort::Condition("chat_stream_http.failures > 200".into());
    let table = [
        (vec![deaf.clone(), deaf.clone(), deaf], Abort::Probes),
        (vec![beside.clone(), beside.clone(), beside], Abort::Unrelated("attack".into())),
        (vec![hurt.clone(), hurt], condition),
        (vec![many], Abort::Failures),
        (vec![low], Abort::Disk),
        (vec![fat], Abort::Memory),
        (vec![stopped], Abort::Interrupted),
    ];
    for (sights, why) in table {
        assert_eq!(ended(plan(), &sights[..sights.len() - 1]), None, "{why:?}");
        assert_eq!(ended(plan(), &sights), Some(why));
    }
    // Out of reach: health fails as well, and fails first.
    let mut far = silent;
    far.scenarios = calm().scenarios;
    let far = vec![far; 5];
    assert_eq!(ended(plan(), &far[..4]), None);
    assert_eq!(ended(plan(), &far), Some(Abort::Contact));
}

#[test]
fn a_share_counts_in_seconds_in_a_row() {
    let stop = StopCondition {
        sli: Sli::Http5xx,
        scenario: "chat_stream_http".into(),
        op: Op::Above,
        value: 0.5,
        for_s: 2,
    };
    let plan = Plan { stop_conditions: vec![stop], ..plan() };
    let mut hurt = biting(1);
    hurt.scenarios.insert("chat_stream_http".into(), tally(4, 3));
    assert_eq!(ended(plan.clone(), &[hurt.clone(), biting(1), hurt.clone()]), None);
    let why = Abort::Condition("chat_stream_http.http5xx > 0.5".into());
    assert_eq!(ended(plan, &[biting(1), hurt.clone(), hurt]), Some(why));
}

#[test]
fn an_aborted_game_day_waits_for_the_steady_state() {
    let mut day = begun(plan());
    let from = injected(&mut day);
    let stop = Sight { interrupted: true, ..biting(2) };
    let acts = goes_on(&mut day, from, &[stop, calm(), calm()]);
    assert_eq!(acts, [Act::RevertAll, Act::RevertAll, Act::End]);
    assert_eq!((day.score(), day.revert_verified), (Score::Aborted, Some(true)));
    assert!(day.recovered.is_some());
}

#[test]
fn the_limits_are_the_plans_own() {
    let limits = Limits { rss_mb: 64.0, probes: 1, ..Limits::default() };
    let own = Plan { limits, ..plan() };
    let fat = Gauges { rss_mb: Some(65.0), ..Gauges::default() };
    let fat = Sight { gauges: Some(fat), ..biting(1) };
    assert_eq!(ended(plan(), std::slice::from_ref(&fat)), None);
    assert_eq!(ended(own.clone(), &[fat]), Some(Abort::Memory));
    let mut deaf = biting(1);
    deaf.scenarios.insert("health".into(), tally(1, 1));
    assert_eq!(ended(own, &[deaf]), Some(Abort::Probes));
}

#[test]
fn a_server_whose_probes_fail_meets_no_fault_and_one_that_fails_after_it_deviates() {
    let failing = vec!["health.ready: expected 200, got 503".to_owned()];
    let mut day = begun(plan());
    day.probed_before(&failing);
    assert_eq!((day.phase(), day.score()), (Phase::Over, Score::Aborted));
    assert!(day.unsteady.is_some_and(|why| why.contains("health.ready")));

    let mut day = begun(plan());
    day.probed_before(&[]);
    let from = injected(&mut day);
    let gone = Sight { witness: 5, ..calm() };
    goes_on(&mut day, from, &[biting(1), open(), biting(5), gone.clone(), gone]);
    assert_eq!(day.score(), Score::Held);
    day.probed_after(failing);
    assert_eq!(day.score(), Score::Deviated);
}
