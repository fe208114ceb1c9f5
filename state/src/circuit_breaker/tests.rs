//! The circuit by hand; `tests/it/properties/circuit.rs` has its invariants.

use super::*;

const RULES: CircuitRules = CircuitRules {
    threshold: 2,
    cooldown: Duration::from_millis(100),
    slow: None,
    probe_deadline: Duration::from_millis(30),
};
/// The draw in the middle: no jitter.
const EVEN: u64 = 100;

const FAILURE: CallOutcome = CallOutcome::Failure { retry_after: None };

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn permit(circuit: &mut CircuitBreaker, millis: u64) -> Permit {
    match circuit.gate(at(millis), &RULES).settle(circuit) {
        Gate::Allowed(permit) => permit,
        Gate::Refused { retry_after } => panic!("refused for {retry_after:?}"),
    }
}

fn refused_for(circuit: &CircuitBreaker, millis: u64) -> u128 {
    match circuit.gate(at(millis), &RULES).answer {
        Gate::Refused { retry_after } => retry_after.as_millis(),
        Gate::Allowed(permit) => panic!("allowed by {permit:?}"),
    }
}

fn record(circuit: &mut CircuitBreaker, millis: u64, permit: Permit, outcome: CallOutcome) {
    circuit.record(at(millis), &RULES, (permit, outcome), EVEN).settle(circuit);
}

fn opened_at_zero() -> CircuitBreaker {
    let mut circuit = CircuitBreaker::default();
    let call = permit(&mut circuit, 0);
    record(&mut circuit, 0, call, FAILURE);
    record(&mut circuit, 0, call, FAILURE);
    circuit
}

#[test]
fn a_success_between_failures_starts_the_count_again() {
    let mut circuit = CircuitBreaker::default();
    let call = permit(&mut circuit, 0);
    for outcome in [FAILURE, CallOutcome::Success, FAILURE, CallOutcome::Neutral] {
        record(&mut circuit, 0, call, outcome);
    }
    assert_eq!(circuit.view().state, CircuitState::Closed);
    record(&mut circuit, 0, call, FAILURE);
    assert_eq!(refused_for(&circuit, 40), 60);
}

#[test]
fn the_providers_wait_is_the_floor_of_the_cooldown() {
    let mut circuit = CircuitBreaker::default();
    let call = permit(&mut circuit, 0);
    record(&mut circuit, 0, call, FAILURE);
    let asked = CallOutcome::Failure { retry_after: Some(Duration::from_secs(5)) };
    record(&mut circuit, 0, call, asked);
    assert_eq!(refused_for(&circuit, 0), 5000);
}

#[test]
fn one_success_of_the_probe_closes_and_one_failure_opens_again() {
    let mut circuit = opened_at_zero();
    let probe = permit(&mut circuit, 100);
    assert_eq!(refused_for(&circuit, 110), 20, "one probe at a time");
    record(&mut circuit, 110, probe, FAILURE);
    assert_eq!(refused_for(&circuit, 110), 200, "twice as long as the first time");
    let probe = permit(&mut circuit, 310);
    record(&mut circuit, 311, probe, CallOutcome::Success);
    assert_eq!(circuit.view().state, CircuitState::Closed);
}

#[test]
fn a_neutral_probe_gives_its_place_back_and_decides_nothing() {
    let mut circuit = opened_at_zero();
    let probe = permit(&mut circuit, 100);
    record(&mut circuit, 101, probe, CallOutcome::Neutral);
    assert_eq!(circuit.view().state, CircuitState::HalfOpen);
    let _next = permit(&mut circuit, 101);
}

#[test]
fn a_lost_probe_lapses_and_its_late_answer_decides_nothing() {
    let mut circuit = opened_at_zero();
    let lost = permit(&mut circuit, 100);
    let next = permit(&mut circuit, 130);
    record(&mut circuit, 131, lost, CallOutcome::Success);
    assert_eq!(circuit.view().state, CircuitState::HalfOpen);
    record(&mut circuit, 131, next, CallOutcome::Success);
    assert_eq!(circuit.view().state, CircuitState::Closed);
}

#[test]
fn a_call_from_before_the_circuit_opened_cannot_open_it_again() {
    let mut circuit = CircuitBreaker::default();
    let old = permit(&mut circuit, 0);
    record(&mut circuit, 0, old, FAILURE);
    record(&mut circuit, 0, old, FAILURE);
    let probe = permit(&mut circuit, 100);
    record(&mut circuit, 101, probe, CallOutcome::Success);
    record(&mut circuit, 102, old, FAILURE);
    assert_eq!(circuit.view().failures, 0);
}

#[test]
fn an_operator_closes_it_whatever_its_state() {
    let mut circuit = opened_at_zero();
    circuit.reset().settle(&mut circuit);
    let _call = permit(&mut circuit, 1);
}

/// Many a second, none twice in a row: the threshold of failures in a row is not reached.
fn alternating(circuit: &mut CircuitBreaker, rules: &CircuitRules, bad: CallOutcome, calls: u64) {
    let Gate::Allowed(call) = circuit.gate(at(0), rules).settle(circuit) else {
        panic!("refused at the start")
    };
    for number in 0..calls {
        let outcome = if number % 2 == 1 { bad } else { CallOutcome::Success };
        circuit.record(at(number), rules, (call, outcome), EVEN).settle(circuit);
    }
}

#[test]
fn half_of_twenty_failures_open_the_circuit_and_half_of_nineteen_do_not() {
    let mut circuit = CircuitBreaker::default();
    alternating(&mut circuit, &RULES, FAILURE, 19);
    assert_eq!(circuit.view().state, CircuitState::Closed);
    let mut circuit = CircuitBreaker::default();
    alternating(&mut circuit, &RULES, FAILURE, 20);
    assert_eq!(circuit.view().state, CircuitState::Open);
}

#[test]
fn half_of_twenty_slow_calls_open_the_circuit_only_where_slow_calls_count() {
    let counting = CircuitRules { slow: Some(Duration::from_secs(1)), ..RULES };
    let mut circuit = CircuitBreaker::default();
    alternating(&mut circuit, &counting, CallOutcome::Slow, 20);
    assert_eq!(circuit.view().state, CircuitState::Open);
    let mut circuit = CircuitBreaker::default();
    alternating(&mut circuit, &RULES, CallOutcome::Slow, 100);
    assert_eq!(circuit.view().state, CircuitState::Closed);
}

#[test]
fn a_circuit_that_has_closed_forgets_the_calls_before() {
    let mut circuit = CircuitBreaker::default();
    alternating(&mut circuit, &RULES, FAILURE, 20);
    let probe = permit(&mut circuit, 200);
    record(&mut circuit, 200, probe, CallOutcome::Slow);
    let call = permit(&mut circuit, 200);
    record(&mut circuit, 200, call, FAILURE);
    assert_eq!(circuit.view().state, CircuitState::Closed, "one failure of one call");
}

#[test]
fn each_failed_probe_doubles_the_cooldown_up_to_sixteen_times_the_first() {
    let mut circuit = opened_at_zero();
    let mut now = 100;
    for cooldown in [200, 400, 800, 1600, 1600] {
        let probe = permit(&mut circuit, now);
        record(&mut circuit, now, probe, FAILURE);
        assert_eq!(refused_for(&circuit, now), cooldown);
        now += u64::try_from(cooldown).unwrap();
    }
    let probe = permit(&mut circuit, now);
    record(&mut circuit, now, probe, CallOutcome::Success);
    let call = permit(&mut circuit, now);
    record(&mut circuit, now, call, FAILURE);
    record(&mut circuit, now, call, FAILURE);
    assert_eq!(refused_for(&circuit, now), 100, "a success begins anew");
}

#[test]
fn cooldowns_are_spread_over_a_tenth_to_either_side() {
    for (random, cooldown) in [(0, 90), (200, 110), (201, 90), (u64::MAX, 105)] {
        let mut circuit = CircuitBreaker::default();
        let call = permit(&mut circuit, 0);
        for _ in 0..2 {
            circuit.record(at(0), &RULES, (call, FAILURE), random).settle(&mut circuit);
        }
        assert_eq!(refused_for(&circuit, 0), cooldown, "drawn: {random}");
    }
}

#[test]
fn a_forced_open_circuit_refuses_until_it_is_released_and_goes_on_as_it_stood() {
    let mut circuit = CircuitBreaker::default();
    let before = permit(&mut circuit, 0);
    circuit.force_open().settle(&mut circuit);
    assert_eq!(refused_for(&circuit, 1_000_000), 100);
    assert_eq!(circuit.view().shown(), "forced_open");
    record(&mut circuit, 0, before, FAILURE);
    circuit.release().settle(&mut circuit);
    assert_eq!(circuit.view().shown(), "closed");
    assert_eq!(circuit.view().failures, 0, "a call from before says nothing any more");
    let _passes = permit(&mut circuit, 0);
}

#[test]
fn an_operators_reset_ends_a_forced_opening() {
    let mut circuit = opened_at_zero();
    circuit.force_open().settle(&mut circuit);
    circuit.reset().settle(&mut circuit);
    let _passes = permit(&mut circuit, 0);
    assert_eq!(circuit.view().shown(), "closed");
}

#[test]
fn a_disabled_circuit_lets_every_call_pass_and_records_none() {
    let mut circuit = opened_at_zero();
    circuit.disable().settle(&mut circuit);
    let call = permit(&mut circuit, 0);
    let stands = circuit.clone();
    record(&mut circuit, 0, call, CallOutcome::Success);
    assert_eq!(circuit, stands);
    assert_eq!(circuit.view().shown(), "disabled");
    circuit.release().settle(&mut circuit);
    record(&mut circuit, 0, call, CallOutcome::Success);
    assert_eq!(refused_for(&circuit, 0), 100, "still open, as it stood");
}

#[test]
fn a_shadow_lets_every_call_pass_and_moves_as_if_it_decided() {
    let mut circuit = CircuitBreaker::default();
    circuit.shadow().settle(&mut circuit);
    let call = permit(&mut circuit, 0);
    record(&mut circuit, 0, call, FAILURE);
    record(&mut circuit, 0, call, FAILURE);
    assert_eq!((circuit.view().shown(), circuit.view().state), ("shadow", CircuitState::Open));
    let passed = permit(&mut circuit, 50);
    assert_eq!(passed.probe, None);
    record(&mut circuit, 60, passed, CallOutcome::Success);
    assert_eq!(circuit.view().state, CircuitState::Open, "it would not have been called");
    let probe = permit(&mut circuit, 100);
    record(&mut circuit, 101, probe, CallOutcome::Success);
    assert_eq!(circuit.view().state, CircuitState::Closed);
}

#[test]
fn a_mode_gives_a_probes_place_back() {
    let mut circuit = opened_at_zero();
    let probe = permit(&mut circuit, 100);
    circuit.force_open().settle(&mut circuit);
    circuit.release().settle(&mut circuit);
    let next = permit(&mut circuit, 101);
    record(&mut circuit, 102, probe, CallOutcome::Success);
    assert_eq!(circuit.view().state, CircuitState::HalfOpen);
    record(&mut circuit, 102, next, CallOutcome::Success);
    assert_eq!(circuit.view().state, CircuitState::Closed);
}
