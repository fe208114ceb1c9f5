//! One provider's circuit: closed, open until a time, or half-open with one probe.
//!
//! A caller asks the gate and gets a *permit*; what came of the call is recorded with the permit.
//! An outcome is a success, a failure, or neutral: a neutral one (the client went away, our own
//! bulkhead refused, the provider found the request wrong) says nothing about the provider's
//! health, gives a probe's place back and decides nothing. A permit carries the generation that
//! gave it; each opening and closing begins a new one.
//!
//! Durability: snapshotted.
//!
//! # Invariants
//! - CB-1: at most one live probe.
//! - CB-2: an answer from an earlier generation changes nothing.
//! - CB-3: every refusal names when to return.
//! - CB-4: a lost probe lapses: no stuck half-open.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine::{Apply, Decision};
use crate::timestamp::Timestamp;

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitRules {
    /// Failures in a row that open the circuit.
    pub threshold: u32,
    /// How long it stays open before one probe may pass.
    pub cooldown: Duration,
    /// A call slower than this to its first content counts as slow; `None` counts none.
    pub slow: Option<Duration>,
    /// How long a probe may take before its place is given to another.
    pub probe_deadline: Duration,
}

/// The right to make one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// The generation that gave it.
    pub generation: u64,
    /// Which probe it is; `None` for a call through a closed circuit.
    pub probe: Option<u64>,
}

/// What a caller is told at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The call may be made; its outcome is to be recorded with the permit.
    Allowed(Permit),
    /// The provider is not to be called now.
    Refused {
        /// When to ask again.
        retry_after: Duration,
    },
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallOutcome {
    /// The provider did its work.
    Success,
    /// It did not: no connection, a clock ran out, 408, 429, 5xx, a stream cut short.
    Failure {
        /// How long it asked us to wait; the cooldown is at least that.
        retry_after: Option<Duration>,
    },
    /// The call says nothing about the provider's health.
    Neutral,
}

/// One provider's circuit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitBreaker {
    generation: u64,
    next_probe: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    Closed { failures: u32 },
    Open { since: Timestamp, until: Timestamp, failures: u32 },
    HalfOpen { since: Timestamp, failures: u32, probe: Option<Probe> },
}

impl Default for Phase {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Probe {
    id: u64,
    lapses: Timestamp,
}

/// What a verb makes of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CircuitChange {
    /// A probe was let through.
    Probing {
        /// When it lapses.
        lapses: Timestamp,
    },
    /// A probe gave its place back.
    ProbeReturned,
    /// Failures in a row, still below the threshold.
    Failures(u32),
    /// The circuit opened.
    Opened {
        /// Since when calls are refused.
        since: Timestamp,
        /// When a probe may pass.
        until: Timestamp,
        /// Failures in a row that opened it.
        failures: u32,
    },
    /// The circuit closed: a success, or an operator.
    Closed,
}

/// The names of a circuit's states, as in JSON and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// One probe at a time may pass.
    HalfOpen,
}

impl CircuitState {
    /// The name in JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What operators see of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CircuitView {
    /// Its state.
    pub state: CircuitState,
    /// Failures in a row.
    pub failures: u32,
    /// Since when it is not closed.
    pub opened_at: Option<Timestamp>,
    /// When a caller refused now should return.
    pub retry_at: Option<Timestamp>,
}

impl CircuitBreaker {
    /// Decides whether a call may be made now.
    pub fn gate(&self, now: Timestamp, rules: &CircuitRules) -> Decision<Gate, CircuitChange> {
        match self.phase {
            Phase::Closed { .. } => {
                let permit = Permit { generation: self.generation, probe: None };
                Decision::unchanged(Gate::Allowed(permit))
            }
            Phase::Open { until, .. } if now < until => refuse(now, until),
            Phase::HalfOpen { probe: Some(live), .. } if now < live.lapses => {
                refuse(now, live.lapses)
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } => self.probe(now, rules),
        }
    }

    fn probe(&self, now: Timestamp, rules: &CircuitRules) -> Decision<Gate, CircuitChange> {
        let permit = Permit { generation: self.generation, probe: Some(self.next_probe) };
        let lapses = now.after(rules.probe_deadline);
        Decision::new(Gate::Allowed(permit), CircuitChange::Probing { lapses })
    }

    /// Takes in what came of a call.
    pub fn record(
        &self,
        now: Timestamp,
        rules: &CircuitRules,
        permit: Permit,
        outcome: CallOutcome,
    ) -> Decision<(), CircuitChange> {
        // A slow call can outlive the generation that admitted it (CB-2).
        if permit.generation != self.generation {
            return Decision::unchanged(());
        }
        match (self.phase, permit.probe) {
            (Phase::Closed { failures }, None) => closed_outcome(now, rules, failures, outcome),
            (Phase::HalfOpen { probe: Some(live), failures, .. }, Some(id))
                if live.id == id && now < live.lapses =>
            {
                probe_outcome(now, rules, failures, outcome)
            }
            // A probe that lapsed has lost its say to the one that took its place (CB-4).
            (Phase::Closed { .. } | Phase::Open { .. } | Phase::HalfOpen { .. }, _) => {
                Decision::unchanged(())
            }
        }
    }

    /// Closes the circuit whatever its state: an operator knows better.
    pub fn reset(&self) -> Decision<(), CircuitChange> {
        Decision::new((), CircuitChange::Closed)
    }

    /// What operators see, and what callers fall back on when the actor does not answer.
    pub fn view(&self) -> CircuitView {
        let view = |state, failures, opened_at, retry_at| CircuitView {
            state,
            failures,
            opened_at,
            retry_at,
        };
        match self.phase {
            Phase::Closed { failures } => view(CircuitState::Closed, failures, None, None),
            Phase::Open { since, until, failures } => {
                view(CircuitState::Open, failures, Some(since), Some(until))
            }
            Phase::HalfOpen { since, failures, probe } => {
                view(CircuitState::HalfOpen, failures, Some(since), probe.map(|live| live.lapses))
            }
        }
    }
}

fn refuse(now: Timestamp, until: Timestamp) -> Decision<Gate, CircuitChange> {
    Decision::unchanged(Gate::Refused { retry_after: now.until(until) })
}

fn open(
    now: Timestamp,
    rules: &CircuitRules,
    failures: u32,
    asked: Option<Duration>,
) -> Decision<(), CircuitChange> {
    // The provider's own Retry-After is the floor of the cooldown.
    let cooldown = rules.cooldown.max(asked.unwrap_or_default());
    Decision::new((), CircuitChange::Opened { since: now, until: now.after(cooldown), failures })
}

fn closed_outcome(
    now: Timestamp,
    rules: &CircuitRules,
    failures: u32,
    outcome: CallOutcome,
) -> Decision<(), CircuitChange> {
    match outcome {
        CallOutcome::Failure { retry_after } if failures + 1 >= rules.threshold => {
            open(now, rules, failures + 1, retry_after)
        }
        CallOutcome::Failure { .. } => Decision::new((), CircuitChange::Failures(failures + 1)),
        CallOutcome::Success if failures > 0 => Decision::new((), CircuitChange::Failures(0)),
        CallOutcome::Success | CallOutcome::Neutral => Decision::unchanged(()),
    }
}

fn probe_outcome(
    now: Timestamp,
    rules: &CircuitRules,
    failures: u32,
    outcome: CallOutcome,
) -> Decision<(), CircuitChange> {
    match outcome {
        CallOutcome::Success => Decision::new((), CircuitChange::Closed),
        CallOutcome::Failure { retry_after } => {
            open(now, rules, failures.saturating_add(1), retry_after)
        }
        CallOutcome::Neutral => Decision::new((), CircuitChange::ProbeReturned),
    }
}

impl Apply<CircuitChange> for CircuitBreaker {
    fn apply(&mut self, change: &CircuitChange) {
        let (opened, count) = match self.phase {
            Phase::Closed { failures } => (None, failures),
            Phase::Open { since, failures, .. } | Phase::HalfOpen { since, failures, .. } => {
                (Some(since), failures)
            }
        };
        match *change {
            CircuitChange::Probing { lapses } => {
                let probe = Some(Probe { id: self.next_probe, lapses });
                self.next_probe += 1;
                let since = opened.unwrap_or(lapses);
                self.phase = Phase::HalfOpen { since, failures: count, probe };
            }
            CircuitChange::ProbeReturned => {
                let since = opened.unwrap_or_default();
                self.phase = Phase::HalfOpen { since, failures: count, probe: None };
            }
            CircuitChange::Failures(failures) => self.phase = Phase::Closed { failures },
            CircuitChange::Opened { since, until, failures } => {
                self.generation += 1;
                // An outage that a probe could not end began when the circuit first opened.
                self.phase = Phase::Open { since: opened.unwrap_or(since), until, failures };
            }
            CircuitChange::Closed => {
                self.generation += 1;
                self.phase = Phase::Closed { failures: 0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: CircuitRules = CircuitRules {
        threshold: 2,
        cooldown: Duration::from_millis(100),
        slow: None,
        probe_deadline: Duration::from_millis(30),
    };
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
        circuit.record(at(millis), &RULES, permit, outcome).settle(circuit);
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
        assert_eq!(refused_for(&circuit, 110), 100);
        let probe = permit(&mut circuit, 210);
        record(&mut circuit, 211, probe, CallOutcome::Success);
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
}
