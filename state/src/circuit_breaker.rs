//! One provider's circuit: closed, open until a time, or half-open with one probe.
//!
//! A caller asks the gate and gets a *permit*; what came of the call is recorded with the permit.
//! An outcome is a success, a failure, or neutral: a neutral one (the client went away, our own
//! bulkhead refused, the provider found the request wrong) says nothing about the provider's
//! health, gives a probe's place back and decides nothing. A permit carries the generation that
//! gave it; each opening and closing begins a new one.
//!
//! It opens when failures in a row reach the threshold, when half of at least twenty calls of the
//! last ten seconds failed, or, where slow calls are counted at all, when half of them were slow.
//! Each opening that follows a failed probe lasts twice as long as the one before, up to sixteen
//! times the first. An operator can lay a [`CircuitMode`] over all that.
//!
//! Durability: snapshotted.
//!
//! # Invariants
//! - CB-1: at most one live probe.
//! - CB-2: an answer from an earlier generation changes nothing.
//! - CB-3: every refusal names when to return.
//! - CB-4: a lost probe lapses: no stuck half-open.

mod ring;
mod words;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
use crate::machine::{Apply, Decision};
use crate::timestamp::Timestamp;
pub use ring::{Heard, Ring, Tally};
pub use words::{CallOutcome, CircuitMode, CircuitState, CircuitView, Gate, Permit};

/// Calls of the last ten seconds below which their rates say nothing.
const FEWEST_CALLS: u32 = 20;

/// The shortest wait that a forced-open circuit names, should its cooldown be none at all.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// The longest cooldown, in times of the first.
const MOST_COOLDOWNS: u32 = 16;

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitRules {
    /// Failures in a row that open the circuit.
    pub threshold: u32,
    /// How long it stays open before one probe may pass, the first time; every opening that
    /// follows a failed probe doubles it, up to sixteen times, and all are spread over ±10 %.
    pub cooldown: Duration,
    /// A call slower than this to its first content counts as slow; `None` counts none.
    pub slow: Option<Duration>,
    /// How long a probe may take before its place is given to another.
    pub probe_deadline: Duration,
}

/// One provider's circuit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitBreaker {
    generation: u64,
    next_probe: u64,
    phase: Phase,
    /// Calls of late, since the circuit was last closed.
    #[serde(default)]
    ring: Ring,
    /// Openings in a row that followed a failed probe.
    #[serde(default)]
    reopenings: u32,
    #[serde(default)]
    mode: CircuitMode,
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
    /// A call through the closed circuit was counted; the circuit stays closed.
    Counted {
        /// When.
        at: Timestamp,
        /// What it said.
        heard: Heard,
        /// Failures in a row, this one included.
        failures: u32,
    },
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
    /// An operator laid a mode over it, or took it away.
    Mode(CircuitMode),
}

impl CircuitBreaker {
    /// Decides whether a call may be made now.
    pub fn gate(&self, now: Timestamp, rules: &CircuitRules) -> Decision<Gate, CircuitChange> {
        let pass = || {
            let permit = Permit { generation: self.generation, probe: None };
            Decision::unchanged(Gate::Allowed(permit))
        };
        match self.mode {
            CircuitMode::Normal => self.gate_of_phase(now, rules),
            // Nobody knows when it is released, so a caller looks again after one cooldown.
            CircuitMode::ForcedOpen => refuse(now, now.after(rules.cooldown.max(SHORTEST_WAIT))),
            CircuitMode::Disabled => pass(),
            CircuitMode::Shadow => {
                let decision = self.gate_of_phase(now, rules);
                match decision.answer {
                    Gate::Allowed(_) => decision,
                    Gate::Refused { .. } => pass(),
                }
            }
        }
    }

    fn gate_of_phase(&self, now: Timestamp, rules: &CircuitRules) -> Decision<Gate, CircuitChange> {
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

    /// Takes in what came of a call. `random` is any number, evenly drawn: it spreads cooldowns, so
    /// that what failed together does not probe together.
    pub fn record(
        &self,
        now: Timestamp,
        rules: &CircuitRules,
        (permit, outcome): (Permit, CallOutcome),
        random: u64,
    ) -> Decision<(), CircuitChange> {
        if self.mode == CircuitMode::Disabled {
            return Decision::unchanged(());
        }
        // A slow call can outlive the generation that admitted it (CB-2).
        if permit.generation != self.generation {
            return Decision::unchanged(());
        }
        match (self.phase, permit.probe) {
            (Phase::Closed { failures }, None) => {
                self.closed_outcome(now, rules, (failures, outcome), random)
            }
            (Phase::HalfOpen { probe: Some(live), failures, .. }, Some(id))
                if live.id == id && now < live.lapses =>
            {
                self.probe_outcome(now, rules, (failures, outcome), random)
            }
            // A probe that lapsed has lost its say to the one that took its place (CB-4).
            (Phase::Closed { .. } | Phase::Open { .. } | Phase::HalfOpen { .. }, _) => {
                Decision::unchanged(())
            }
        }
    }

    /// Closes the circuit whatever its state, a forced-open one included: an operator knows better.
    /// One that is disabled or a shadow stays so, for it lets every call pass already.
    pub fn reset(&self) -> Decision<(), CircuitChange> {
        Decision::new((), CircuitChange::Closed)
    }

    /// Refuses every call until released.
    pub fn force_open(&self) -> Decision<(), CircuitChange> {
        self.under(CircuitMode::ForcedOpen)
    }

    /// Lets every call pass and records none, until released.
    pub fn disable(&self) -> Decision<(), CircuitChange> {
        self.under(CircuitMode::Disabled)
    }

    /// Lets every call pass, but goes on recording, until released.
    pub fn shadow(&self) -> Decision<(), CircuitChange> {
        self.under(CircuitMode::Shadow)
    }

    /// Takes away what an operator has laid over the circuit: it goes on as it stands.
    pub fn release(&self) -> Decision<(), CircuitChange> {
        self.under(CircuitMode::Normal)
    }

    fn under(&self, mode: CircuitMode) -> Decision<(), CircuitChange> {
        if mode == self.mode {
            return Decision::unchanged(());
        }
        Decision::new((), CircuitChange::Mode(mode))
    }

    /// What operators see, and what callers fall back on when the actor does not answer.
    pub fn view(&self) -> CircuitView {
        let view = |state, failures, opened_at, retry_at| CircuitView {
            state,
            mode: self.mode,
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

    fn closed_outcome(
        &self,
        now: Timestamp,
        rules: &CircuitRules,
        (failures, outcome): (u32, CallOutcome),
        random: u64,
    ) -> Decision<(), CircuitChange> {
        let (heard, failures, asked) = match outcome {
            CallOutcome::Success => (Heard::Worked, 0, None),
            CallOutcome::Slow => (Heard::Slow, 0, None),
            CallOutcome::Failure { retry_after } => {
                (Heard::Failed, failures.saturating_add(1), retry_after)
            }
            CallOutcome::Neutral => return Decision::unchanged(()),
        };
        let in_a_row = heard == Heard::Failed && failures >= rules.threshold;
        // A call that worked never opens it, though it may be the twentieth.
        let tally = self.ring.tally(now).with(heard);
        if in_a_row || (heard != Heard::Worked && is_unwell(tally, rules)) {
            return open(now, cooldown(rules, 0, asked, random), failures);
        }
        Decision::new((), CircuitChange::Counted { at: now, heard, failures })
    }

    fn probe_outcome(
        &self,
        now: Timestamp,
        rules: &CircuitRules,
        (failures, outcome): (u32, CallOutcome),
        random: u64,
    ) -> Decision<(), CircuitChange> {
        match outcome {
            CallOutcome::Success | CallOutcome::Slow => Decision::new((), CircuitChange::Closed),
            CallOutcome::Failure { retry_after } => {
                let reopenings = self.reopenings.saturating_add(1);
                let cooldown = cooldown(rules, reopenings, retry_after, random);
                open(now, cooldown, failures.saturating_add(1))
            }
            CallOutcome::Neutral => Decision::new((), CircuitChange::ProbeReturned),
        }
    }
}

fn refuse(now: Timestamp, until: Timestamp) -> Decision<Gate, CircuitChange> {
    Decision::unchanged(Gate::Refused { retry_after: now.until(until) })
}

fn open(now: Timestamp, cooldown: Duration, failures: u32) -> Decision<(), CircuitChange> {
    Decision::new((), CircuitChange::Opened { since: now, until: now.after(cooldown), failures })
}

/// How long the circuit stays open, after so many openings in a row that followed a failed probe.
fn cooldown(
    rules: &CircuitRules,
    reopenings: u32,
    asked: Option<Duration>,
    random: u64,
) -> Duration {
    let cap = rules.cooldown.saturating_mul(MOST_COOLDOWNS);
    let delay = Backoff { base: rules.cooldown, cap }.delay(reopenings.saturating_add(1));
    let permille = 900 + u32::try_from(random % 201).expect("201 fits");
    // The provider's own Retry-After is the floor.
    (delay.saturating_mul(permille) / 1000).max(asked.unwrap_or_default())
}

/// Whether calls of late say that the provider is not well: half of at least twenty failed, or
/// were slow where that counts.
fn is_unwell(tally: Tally, rules: &CircuitRules) -> bool {
    let half = tally.calls.div_ceil(2);
    let slow = rules.slow.is_some() && tally.slow >= half;
    tally.calls >= FEWEST_CALLS && (tally.failed >= half || slow)
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
            CircuitChange::Counted { at, heard, failures } => {
                self.ring.count(at, heard);
                self.phase = Phase::Closed { failures };
            }
            CircuitChange::Opened { since, until, failures } => {
                self.generation += 1;
                self.ring.clear();
                self.reopenings = opened.map_or(0, |_| self.reopenings.saturating_add(1));
                // An outage that a probe could not end began when the circuit first opened.
                self.phase = Phase::Open { since: opened.unwrap_or(since), until, failures };
            }
            CircuitChange::Closed => {
                self.generation += 1;
                self.ring.clear();
                self.reopenings = 0;
                self.phase = Phase::Closed { failures: 0 };
                if self.mode == CircuitMode::ForcedOpen {
                    self.mode = CircuitMode::Normal;
                }
            }
            CircuitChange::Mode(mode) => {
                self.generation += 1;
                self.mode = mode;
                // The probe that is out is of a generation that is over: its place is free.
                if let Phase::HalfOpen { probe, .. } = &mut self.phase {
                    *probe = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
