//! The circuit against a plain account of failures in a row, times and permits.

use std::time::Duration;

use proptest::prelude::*;
use sendcat_state::circuit_breaker::{
    CallOutcome, CircuitBreaker, CircuitChange, CircuitRules, CircuitState, Gate, Permit,
};
use sendcat_state::machine::Decision;
use sendcat_state::timestamp::Timestamp;

use super::{Driven, Timed, at, cases, ms, recent, timed};

/// What callers, and an operator, do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    /// Asks the gate.
    Gate,
    /// Tells what came of a call, counted back from the newest.
    Record { back: usize, outcome: CallOutcome },
    /// An operator closes the circuit.
    Reset,
}

/// A command under the rules of the moment: knobs may change between two calls.
type Ruled = (Ask, u32);

fn rules(threshold: u32) -> CircuitRules {
    CircuitRules { threshold, cooldown: ms(50), slow: None, probe_deadline: ms(20) }
}

fn asks() -> impl Strategy<Value = Ruled> {
    let wait = prop::option::of(prop::sample::select(vec![ms(1), ms(90)]));
    let outcome = prop_oneof![
        2 => Just(CallOutcome::Success),
        4 => wait.prop_map(|retry_after| CallOutcome::Failure { retry_after }),
        1 => Just(CallOutcome::Neutral),
    ];
    let ask = prop_oneof![
        8 => Just(Ask::Gate),
        8 => (0..4_usize, outcome).prop_map(|(back, outcome)| Ask::Record { back, outcome }),
        1 => Just(Ask::Reset),
    ];
    (ask, prop_oneof![4 => Just(2_u32), 1 => 1..4_u32])
}

impl Driven for CircuitBreaker {
    type Command = Ruled;
    type Change = CircuitChange;
    type Memory = Vec<Permit>;

    fn fresh() -> Self {
        Self::default()
    }

    fn commands() -> BoxedStrategy<Vec<Timed<Ruled>>> {
        timed(asks(), 60, 80)
    }

    fn decide(
        &self,
        permits: &mut Vec<Permit>,
        command: &Timed<Ruled>,
    ) -> Decision<String, CircuitChange> {
        let (ask, threshold) = command.what;
        match ask {
            Ask::Gate => {
                let decision = self.gate(command.now, &rules(threshold));
                if let Gate::Allowed(permit) = decision.answer {
                    permits.push(permit);
                }
                decision.map(|answer| format!("{answer:?}"))
            }
            Ask::Record { back, outcome } => match recent(permits, back) {
                Some(permit) => self
                    .record(command.now, &rules(threshold), permit, outcome)
                    .map(|()| "recorded".into()),
                None => Decision::unchanged("nothing to record".into()),
            },
            Ask::Reset => self.reset().map(|()| "reset".into()),
        }
    }
}

/// The circuit as one would explain it to somebody.
#[derive(Debug, Default)]
struct Account {
    /// How often it opened or closed.
    era: u64,
    failures: u32,
    /// Since when it is not closed, and until when it refuses.
    open: Option<(Timestamp, Timestamp)>,
    /// The place in `permits` of the probe that is out, and when it lapses.
    probe: Option<(usize, Timestamp)>,
    /// Every permit: the era it was given in, and whether it is a probe.
    permits: Vec<(u64, bool)>,
}

impl Account {
    /// `None` if the call may be made, else how long to wait.
    fn gate(&mut self, now: Timestamp) -> Option<Duration> {
        let blocked = match (self.open, self.probe) {
            (None, _) => None,
            (Some(_), Some((_, lapses))) => Some(lapses),
            (Some((_, until)), None) => Some(until),
        };
        if let Some(until) = blocked.filter(|until| now < *until) {
            return Some(now.until(until));
        }
        if self.open.is_some() {
            self.probe = Some((self.permits.len(), now.after(ms(20))));
        }
        self.permits.push((self.era, self.open.is_some()));
        None
    }

    fn record(&mut self, now: Timestamp, threshold: u32, which: usize, outcome: CallOutcome) {
        let (era, is_probe) = self.permits[which];
        let holds_the_place =
            self.probe.is_some_and(|(probe, lapses)| probe == which && now < lapses);
        if era != self.era || (is_probe && !holds_the_place) {
            return;
        }
        match outcome {
            CallOutcome::Neutral => self.probe = None,
            CallOutcome::Success if is_probe => self.close(),
            CallOutcome::Success => self.failures = 0,
            CallOutcome::Failure { retry_after } => {
                self.failures += 1;
                if is_probe || self.failures >= threshold {
                    let pause = retry_after.unwrap_or_default().max(ms(50));
                    let since = self.open.map_or(now, |(since, _)| since);
                    self.open = Some((since, now.after(pause)));
                    self.probe = None;
                    self.era += 1;
                }
            }
        }
    }

    fn close(&mut self) {
        let (era, permits) = (self.era + 1, std::mem::take(&mut self.permits));
        *self = Self { era, permits, ..Self::default() };
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn cb1_at_most_one_probe_is_live(asks in CircuitBreaker::commands()) {
        let (mut circuit, mut permits) = (CircuitBreaker::default(), Vec::new());
        // Who probes, until when.
        let mut live: Vec<(Permit, Timestamp)> = Vec::new();
        for ask in asks {
            let known = permits.len();
            if let Ask::Record { back, .. } = ask.what.0 {
                let told = recent(&permits, back);
                live.retain(|(permit, _)| Some(*permit) != told);
            }
            circuit.turn(&mut permits, &ask);
            if let Ask::Reset = ask.what.0 {
                live.clear();
            }
            live.retain(|(_, lapses)| ask.now < *lapses);
            for permit in &permits[known..] {
                if permit.probe.is_some() {
                    live.push((*permit, ask.now.after(ms(20))));
                }
            }
            prop_assert!(live.len() <= 1, "{:?}", live);
        }
    }

    #[test]
    fn cb1_the_circuit_decides_as_the_plain_account_does(asks in CircuitBreaker::commands()) {
        let (mut circuit, mut account) = (CircuitBreaker::default(), Account::default());
        let mut permits: Vec<Permit> = Vec::new();
        for Timed { now, what: (ask, threshold) } in asks {
            match ask {
                Ask::Gate => {
                    let told = circuit.gate(now, &rules(threshold)).settle(&mut circuit);
                    let wait = account.gate(now);
                    match told {
                        Gate::Allowed(permit) => {
                            prop_assert_eq!(wait, None);
                            prop_assert!(!permits.contains(&permit) || permit.probe.is_none());
                            permits.push(permit);
                        }
                        Gate::Refused { retry_after } => prop_assert_eq!(wait, Some(retry_after)),
                    }
                }
                Ask::Record { back, outcome } => {
                    let Some(permit) = recent(&permits, back) else { continue };
                    let which = permits.len() - 1 - back % permits.len();
                    circuit.record(now, &rules(threshold), permit, outcome).settle(&mut circuit);
                    account.record(now, threshold, which, outcome);
                }
                Ask::Reset => {
                    circuit.reset().settle(&mut circuit);
                    account.close();
                }
            }
            let view = circuit.view();
            prop_assert_eq!(view.failures, account.failures);
            prop_assert_eq!(view.opened_at, account.open.map(|(since, _)| since));
            prop_assert_eq!(view.state == CircuitState::Closed, account.open.is_none());
        }
    }

    #[test]
    fn cb2_an_answer_from_an_earlier_generation_changes_nothing(
        asks in CircuitBreaker::commands(),
        forged in any::<u64>(),
    ) {
        let (mut circuit, mut permits) = (CircuitBreaker::default(), Vec::new());
        // Each permit with the number of openings and closings before it.
        let (mut turns, mut given) = (0, Vec::new());
        for ask in asks {
            let decision = circuit.decide(&mut permits, &ask);
            given.resize(permits.len(), turns);
            let is_change = decision.change.is_some();
            if let Ask::Record { back, .. } = ask.what.0
                && let Some(turn) = recent(&given, back)
            {
                prop_assert!(turn == turns || !is_change);
            }
            match decision.change {
                Some(CircuitChange::Opened { .. } | CircuitChange::Closed) => turns += 1,
                Some(
                    CircuitChange::Probing { .. }
                    | CircuitChange::ProbeReturned
                    | CircuitChange::Failures(_),
                )
                | None => {}
            }
            decision.settle(&mut circuit);
            let stranger = Permit { generation: turns + 1 + forged % 9, probe: None };
            let failure = CallOutcome::Failure { retry_after: None };
            prop_assert_eq!(circuit.record(ask.now, &rules(1), stranger, failure).change, None);
        }
    }

    #[test]
    fn cb3_every_refusal_names_when_to_return(asks in CircuitBreaker::commands()) {
        let (mut circuit, mut permits) = (CircuitBreaker::default(), Vec::new());
        for ask in asks {
            if let Gate::Refused { retry_after } = circuit.gate(ask.now, &rules(2)).answer {
                prop_assert!(retry_after > Duration::ZERO);
                let then = ask.now.after(retry_after);
                let just_before = at(then.as_millis() - 1);
                let refuses = |now| {
                    matches!(circuit.gate(now, &rules(2)).answer, Gate::Refused { .. })
                };
                prop_assert!(refuses(just_before));
                prop_assert!(!refuses(then));
            }
            circuit.turn(&mut permits, &ask);
        }
    }

    #[test]
    fn cb4_a_lost_probe_lapses_and_a_healthy_provider_closes_the_circuit(
        asks in CircuitBreaker::commands(),
    ) {
        let (mut circuit, mut permits) = (CircuitBreaker::default(), Vec::new());
        let mut now = Timestamp::ZERO;
        for ask in asks {
            circuit.turn(&mut permits, &ask);
            now = ask.now;
        }
        // Whatever was lost before: whoever returns as told gets through, the first time.
        let mut through = |now: &mut Timestamp| {
            if let Gate::Refused { retry_after } = circuit.gate(*now, &rules(2)).answer {
                *now = now.after(retry_after);
            }
            match circuit.gate(*now, &rules(2)).settle(&mut circuit) {
                Gate::Allowed(permit) => permit,
                Gate::Refused { retry_after } => panic!("told to wait {retry_after:?} again"),
            }
        };
        let lost = through(&mut now);
        now = now.after(ms(20));
        let second = through(&mut now);
        prop_assert!(lost.probe.is_none() || lost.probe != second.probe);
        circuit.record(now, &rules(2), second, CallOutcome::Success).settle(&mut circuit);
        prop_assert_eq!(circuit.view().state, CircuitState::Closed);
    }
}
