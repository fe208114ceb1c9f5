//! One provider's circuit.
use std::time::Duration;

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
