//! Jobs with leases.
use std::time::Duration;

/// The caps of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRules {
    /// Jobs that may wait.
    pub queued_max: usize,
    /// Jobs that may run at once.
    pub running_max: usize,
}

/// What holds for every job of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRules {
    /// How long a worker may be silent before its job goes to another.
    pub lease: Duration,
    /// Attempts before a job is a dead letter.
    pub max_attempts: u32,
    /// The delay before the second attempt; it doubles with each.
    pub retry_base: Duration,
    /// The longest delay between attempts.
    pub retry_cap: Duration,
    /// How long a job may wait before it is given up.
    pub ttl: Duration,
}
