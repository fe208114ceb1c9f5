//! One provider's bulkhead.
use std::time::Duration;

/// How many calls may be in flight, and how long a silent one keeps its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkheadRules {
    /// Calls in flight at most.
    pub capacity: usize,
    /// A lease not renewed for this long runs out.
    pub lease_ttl: Duration,
    /// How long a call may wait in line for a slot; zero refuses at once.
    pub wait: Duration,
}
