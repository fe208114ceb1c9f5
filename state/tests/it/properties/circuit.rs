//! The circuit against a plain account of every call, of times and of permits.

mod account;

use std::time::Duration;

use proptest::prelude::*;
use sendcat_state::circuit_breaker::{
    CallOutcome, CircuitBreaker, CircuitChange, CircuitMode, CircuitRules, CircuitState, Gate,
    Permit,
};
use sendcat_state::machine::Decision;
use sendcat_state::timestamp::Timestamp;

use account::Account;

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
    /// An operator lays a mode over it.
    Mode(CircuitMode),
}

/// A command under the rules of the moment: knobs may change between two calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ruled {
    ask: Ask,
    threshold: u32,
    counts_slow: bool,
    random: u64,
}

impl Ruled {
    fn rules(&self) -> CircuitRules {
        let slow = self.counts_slow.then_some(ms(5));
        CircuitRules { slow, ..rules(self.threshold) }
    }
}

fn rules(threshold: u32) -> CircuitRules {
    CircuitRules { threshold, cooldown: ms(50), slow: None, probe_deadline: ms(20) }
}

fn mode_set(circuit: &CircuitBreaker, mode: CircuitMode) -> Decision<(), CircuitChange> {
    match mode {
        CircuitMode::Normal => circuit.release(),
        CircuitMode::ForcedOpen => circuit.force_open(),
        CircuitMode::Disabled => circuit.disable(),
        CircuitMode::Shadow => circuit.shadow(),
    }
}

fn modes() -> impl Strategy<Value = CircuitMode> {
    prop_oneof![
        3 => Just(CircuitMode::Normal),
        1 => Just(CircuitMode::ForcedOpen),
        1 => Just(CircuitMode::Disabled),
        1 => Just(CircuitMode::Shadow),
    ]
}

/// Few failures in a row open it: what happens around openings.
fn asks() -> impl Strategy<Value = Ruled> {
    let wait = prop::option::of(prop::sample::select(vec![ms(1), ms(90)]));
    let outcome = prop_oneof![
        2 => Just(CallOutcome::Success),
        1 => Just(CallOutcome::Slow),
        4 => wait.prop_map(|retry_after| CallOutcome::Failure { retry_after }),
        1 => Just(CallOutcome::Neutral),
    ];
    let ask = prop_oneof![
        8 => Just(Ask::Gate),
        8 => (0..4_usize, outcome).prop_map(|(back, outcome)| Ask::Record { back, outcome }),
        1 => Just(Ask::Reset),
        1 => modes().prop_map(Ask::Mode),
    ];
    let threshold = prop_oneof![4 => Just(2_u32), 1 => 1..4_u32];
    (ask, threshold, any::<bool>(), any::<u64>()).prop_map(
        |(ask, threshold, counts_slow, random)| Ruled { ask, threshold, counts_slow, random },
    )
}

/// No number of failures in a row opens it: what rates do, over seconds.
fn many_asks() -> impl Strategy<Value = Ruled> {
    let outcome = prop_oneof![
        2 => Just(CallOutcome::Success),
        3 => Just(CallOutcome::Slow),
        4 => Just(CallOutcome::Failure { retry_after: None }),
    ];
    let ask = prop_oneof![
        1 => Just(Ask::Gate),
        9 => (0..2_usize, outcome).prop_map(|(back, outcome)| Ask::Record { back, outcome }),
    ];
    (ask, any::<bool>(), any::<u64>()).prop_map(|(ask, counts_slow, random)| Ruled {
        ask,
        threshold: 1000,
        counts_slow,
        random,
    })
}

impl Driven for CircuitBreaker {
    type Command = Ruled;
    type Change = CircuitChange;
    type Memory = Vec<Permit>;

    fn fresh() -> Self {
        Self::default()
    }

    fn commands() -> BoxedStrategy<Vec<Timed<Ruled>>> {
        prop_oneof![2 => timed(asks(), 60, 80), 1 => timed(many_asks(), 1500, 160)].boxed()
    }

    fn decide(
        &self,
        permits: &mut Vec<Permit>,
        command: &Timed<Ruled>,
    ) -> Decision<String, CircuitChange> {
        let rules = command.what.rules();
        match command.what.ask {
            Ask::Gate => {
                let decision = self.gate(command.now, &rules);
                if let Gate::Allowed(permit) = decision.answer {
                    permits.push(permit);
                }
                decision.map(|answer| format!("{answer:?}"))
            }
            Ask::Record { back, outcome } => match recent(permits, back) {
                Some(permit) => self
                    .record(command.now, &rules, (permit, outcome), command.what.random)
                    .map(|()| "recorded".into()),
                None => Decision::unchanged("nothing to record".into()),
            },
            Ask::Reset => self.reset().map(|()| "reset".into()),
            Ask::Mode(mode) => mode_set(self, mode).map(|()| "set".into()),
        }
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
            if let Ask::Record { back, .. } = ask.what.ask {
                let told = recent(&permits, back);
                live.retain(|(permit, _)| Some(*permit) != told);
            }
            let decision = circuit.decide(&mut permits, &ask);
            if let Some(CircuitChange::Closed | CircuitChange::Mode(_)) = decision.change {
                live.clear();
            }
            decision.settle(&mut circuit);
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
        for Timed { now, what: ruled } in asks {
            let rules = ruled.rules();
            match ruled.ask {
                Ask::Gate => {
                    let told = circuit.gate(now, &rules).settle(&mut circuit);
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
                    let told = (permit, outcome);
                    circuit.record(now, &rules, told, ruled.random).settle(&mut circuit);
                    account.record(now, &ruled, which, outcome);
                }
                Ask::Reset => {
                    circuit.reset().settle(&mut circuit);
                    account.reset();
                }
                Ask::Mode(mode) => {
                    mode_set(&circuit, mode).settle(&mut circuit);
                    account.set(mode);
                }
            }
            let view = circuit.view();
            prop_assert_eq!(view.mode, account.mode);
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
            if let Ask::Record { back, .. } = ask.what.ask
                && let Some(turn) = recent(&given, back)
            {
                prop_assert!(turn == turns || !is_change);
            }
            match decision.change {
                Some(
                    CircuitChange::Opened { .. } | CircuitChange::Closed | CircuitChange::Mode(_),
                ) => turns += 1,
                Some(
                    CircuitChange::Probing { .. }
                    | CircuitChange::ProbeReturned
                    | CircuitChange::Counted { .. },
                )
                | None => {}
            }
            decision.settle(&mut circuit);
            let stranger = Permit { generation: turns + 1 + forged % 9, probe: None };
            let failure = (stranger, CallOutcome::Failure { retry_after: None });
            prop_assert_eq!(circuit.record(ask.now, &rules(1), failure, forged).change, None);
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
                // Of a forced opening nobody knows the end: whoever returns is told again.
                prop_assert_eq!(refuses(then), circuit.view().mode == CircuitMode::ForcedOpen);
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
        circuit.release().settle(&mut circuit);
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
        let success = (second, CallOutcome::Success);
        circuit.record(now, &rules(2), success, 0).settle(&mut circuit);
        prop_assert_eq!(circuit.view().state, CircuitState::Closed);
    }
}
