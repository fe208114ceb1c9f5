//! The circuit breakers: one actor a provider.
//!
//! A caller passes the gate and gets a [`CallPermit`]; dropping it without an outcome records a
//! neutral one, so a caller that vanishes never leaves a probe behind.

use std::sync::Arc;
use std::time::Duration;

use sendcat_state::circuit_breaker::{
    CallOutcome, CircuitBreaker, CircuitChange, CircuitMode, CircuitRules, CircuitState,
    CircuitView, Gate, Permit,
};
use sendcat_state::key::{PerProvider, ProviderId};
use sendcat_state::machine::Decision;
use sendcat_state::timestamp::Timestamp;

use crate::failure::{self, AskError, Concern};
use crate::handle::{Around, Handle};
use crate::machine::{Class, Machine, Publish};
use crate::supervisor::Subtree;

/// What a circuit is asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// May the provider be called?
    Gate,
    /// This is what came of a call; the number spreads cooldowns.
    Record(Permit, CallOutcome, u64),
    /// Close, whatever the state.
    Reset,
    /// Lay this mode over the circuit, or release it.
    Mode(CircuitMode),
}

/// What it answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Command::Gate`].
    Gate(Gate),
    /// To all else.
    Noted,
}

impl Machine for CircuitBreaker {
    type Command = Command;
    type Answer = Answer;
    type Change = CircuitChange;
    type Rules = CircuitRules;
    type View = Option<CircuitView>;

    const KIND: &'static str = "circuit_breaker";
    const CLASS: Class = Class::Snapshotted;
    const PUBLISH: Publish = Publish::EachChange;
    const ASK_DEADLINE: Duration = Duration::from_secs(1);

    fn fresh() -> Self {
        Self::default()
    }

    fn decide(
        &self,
        now: Timestamp,
        rules: &CircuitRules,
        command: Command,
    ) -> Decision<Answer, CircuitChange> {
        match command {
            Command::Gate => self.gate(now, rules).map(Answer::Gate),
            Command::Record(permit, outcome, random) => {
                self.record(now, rules, (permit, outcome), random).map(|()| Answer::Noted)
            }
            Command::Reset => self.reset().map(|()| Answer::Noted),
            Command::Mode(mode) => {
                let set = match mode {
                    CircuitMode::Normal => self.release(),
                    CircuitMode::ForcedOpen => self.force_open(),
                    CircuitMode::Disabled => self.disable(),
                    CircuitMode::Shadow => self.shadow(),
                };
                set.map(|()| Answer::Noted)
            }
        }
    }

    fn undo(answer: Answer) -> Option<Command> {
        match answer {
            Answer::Gate(Gate::Allowed(permit)) if permit.probe.is_some() => {
                Some(Command::Record(permit, CallOutcome::Neutral, 0))
            }
            Answer::Gate(_) | Answer::Noted => None,
        }
    }

    fn word(view: &Option<CircuitView>) -> Option<&'static str> {
        view.as_ref().map(CircuitView::shown)
    }

    fn view(&self, _: Timestamp) -> Option<CircuitView> {
        Some(Self::view(self))
    }
}

/// The circuit is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the circuit of {provider} is open, ask again in {retry_after:?}")]
pub struct CircuitOpen {
    /// Whose.
    pub provider: ProviderId,
    /// When to ask again.
    pub retry_after: Duration,
}

/// The right to make one call. Say what came of it by [`CallPermit::record`].
#[must_use = "a permit dropped without an outcome counts as neutral"]
pub struct CallPermit {
    circuit: Handle<CircuitBreaker>,
    permit: Option<Permit>,
    passed_at: Timestamp,
    first_content: Option<Timestamp>,
}

impl CallPermit {
    fn new(circuit: &Handle<CircuitBreaker>, permit: Option<Permit>) -> Self {
        let passed_at = circuit.cell().around.clock.now();
        Self { circuit: circuit.clone(), permit, passed_at, first_content: None }
    }

    /// Notes that content has come; the first note counts. A call without one is never slow.
    pub fn heard(&mut self) {
        let clock = &self.circuit.cell().around.clock;
        self.first_content.get_or_insert_with(|| clock.now());
    }

    /// Says what came of the call; a success whose first content took longer than
    /// `CircuitRules::slow` is recorded as slow. Never waits.
    pub fn record(mut self, outcome: CallOutcome) {
        let outcome = match outcome {
            CallOutcome::Success if self.was_slow() => CallOutcome::Slow,
            CallOutcome::Success
            | CallOutcome::Slow
            | CallOutcome::Failure { .. }
            | CallOutcome::Neutral => outcome,
        };
        if let Some(permit) = self.permit.take() {
            let random = crate::chance::number();
            self.circuit.tell(Command::Record(permit, outcome, random));
        }
    }

    fn was_slow(&self) -> bool {
        let took = self.first_content.map(|first| first.since(self.passed_at));
        took.zip(self.circuit.rules().slow).is_some_and(|(took, slow)| took > slow)
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        // A neutral outcome changes nothing but a probe's place.
        if let Some(permit) = self.permit.take().filter(|permit| permit.probe.is_some()) {
            self.circuit.tell(Command::Record(permit, CallOutcome::Neutral, 0));
        }
    }
}

/// What the actor of that provider is called.
pub(crate) fn name_of(provider: ProviderId) -> String {
    format!("circuit_breaker-{provider}")
}

/// The handle on all circuits.
#[derive(Clone)]
pub struct CircuitBreakers {
    circuits: PerProvider<Handle<CircuitBreaker>>,
}

impl CircuitBreakers {
    pub(crate) fn new(
        subtree: &Arc<Subtree>,
        around: &Around,
        rules: impl Fn(ProviderId) -> CircuitRules,
        mut base: impl FnMut(&str) -> CircuitBreaker,
    ) -> Self {
        let circuit = |provider| {
            let name = name_of(provider);
            let base = base(&name);
            Handle::new(name, subtree, around, rules(provider), base)
        };
        Self { circuits: PerProvider::new(circuit) }
    }

    /// Asks whether a provider may be called now. If its actor gives no answer, what it last
    /// published decides: a provider known to be down is not hammered.
    ///
    /// # Errors
    /// [`CircuitOpen`] says when to ask again.
    pub async fn pass(&self, provider: ProviderId) -> Result<CallPermit, CircuitOpen> {
        let circuit = self.circuit(provider);
        if circuit.cell().faults.bypassed() {
            return Ok(CallPermit::new(circuit, None));
        }
        match circuit.ask(Command::Gate).await {
            Ok(Answer::Gate(Gate::Allowed(permit))) => Ok(CallPermit::new(circuit, Some(permit))),
            Ok(Answer::Gate(Gate::Refused { retry_after })) => {
                Err(CircuitOpen { provider, retry_after })
            }
            Ok(Answer::Noted) => Ok(CallPermit::new(circuit, None)),
            Err(error) => self.as_published(provider, error),
        }
    }

    /// Whether the circuit is open now, without taking a permit: the check before a stream is
    /// prepared. A circuit whose cooldown is over is not, for the call itself may be its probe.
    ///
    /// # Errors
    /// [`CircuitOpen`] says when to ask again.
    pub fn check(&self, provider: ProviderId, now: Timestamp) -> Result<(), CircuitOpen> {
        let circuit = self.circuit(provider);
        if circuit.cell().faults.bypassed() {
            return Ok(());
        }
        let view = circuit.view();
        let Some(view) = view.as_ref() else { return Ok(()) };
        let refused_for = match view.mode {
            CircuitMode::Disabled | CircuitMode::Shadow => None,
            CircuitMode::ForcedOpen => Some(circuit.rules().cooldown),
            CircuitMode::Normal => match view.state {
                CircuitState::Closed => None,
                CircuitState::Open | CircuitState::HalfOpen => {
                    view.retry_at.filter(|retry_at| now < *retry_at).map(|at| now.until(at))
                }
            },
        };
        refused_for.map_or(Ok(()), |retry_after| Err(CircuitOpen { provider, retry_after }))
    }

    fn as_published(
        &self,
        provider: ProviderId,
        error: AskError,
    ) -> Result<CallPermit, CircuitOpen> {
        failure::failed(Concern::BreakerGate, error);
        let circuit = self.circuit(provider);
        self.check(provider, circuit.cell().around.clock.now())?;
        Ok(CallPermit::new(circuit, None))
    }

    /// Closes a circuit whatever its state.
    ///
    /// # Errors
    /// [`AskError`] if its actor gave no answer.
    pub async fn reset(&self, provider: ProviderId) -> Result<(), AskError> {
        self.circuit(provider).ask(Command::Reset).await.map(|_| ())
    }

    /// Lays a mode over a circuit; [`CircuitMode::Normal`] releases it.
    ///
    /// # Errors
    /// [`AskError`] if its actor gave no answer.
    pub async fn set_mode(&self, provider: ProviderId, mode: CircuitMode) -> Result<(), AskError> {
        self.circuit(provider).ask(Command::Mode(mode)).await.map(|_| ())
    }

    /// The actor of one provider.
    pub fn circuit(&self, provider: ProviderId) -> &Handle<CircuitBreaker> {
        self.circuits.of(provider)
    }

    /// All of them, in the order of [`ProviderId::ALL`].
    pub fn circuits(&self) -> impl Iterator<Item = (ProviderId, &Handle<CircuitBreaker>)> {
        self.circuits.iter()
    }
}
