//! The words of a circuit: what is asked and told at its gate, and what operators see of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

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
    /// It did its work, but its first content took longer than
    /// [`CircuitRules::slow`](super::CircuitRules::slow). A slow probe closes the circuit: one call
    /// says nothing about half of twenty.
    Slow,
    /// It did not: no connection, a clock ran out, 408, 429, 5xx, a stream cut short.
    Failure {
        /// How long it asked us to wait; the cooldown is at least that.
        retry_after: Option<Duration>,
    },
    /// The call says nothing about the provider's health.
    Neutral,
}

/// What an operator has laid over a circuit. Setting or releasing one begins a new generation, so
/// that calls made under another mode change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitMode {
    /// Nothing: the circuit decides.
    #[default]
    Normal,
    /// Every call is refused and the circuit stands still.
    ForcedOpen,
    /// Every call passes and nothing is recorded.
    Disabled,
    /// Every call passes; the circuit moves as if it decided, and shows it.
    Shadow,
}

impl CircuitMode {
    /// The name in JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::ForcedOpen => "forced_open",
            Self::Disabled => "disabled",
            Self::Shadow => "shadow",
        }
    }
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
    /// Its state, whatever the mode over it.
    pub state: CircuitState,
    /// What an operator has laid over it.
    pub mode: CircuitMode,
    /// Failures in a row.
    pub failures: u32,
    /// Since when it is not closed.
    pub opened_at: Option<Timestamp>,
    /// When a caller refused now should return.
    pub retry_at: Option<Timestamp>,
}

impl CircuitView {
    /// The one word for operators: the mode, where there is one, else the state.
    pub const fn shown(&self) -> &'static str {
        match self.mode {
            CircuitMode::Normal => self.state.as_str(),
            CircuitMode::ForcedOpen | CircuitMode::Disabled | CircuitMode::Shadow => {
                self.mode.as_str()
            }
        }
    }
}
