//! What a caller is told when an actor does not answer, and which way each concern then fails.
//!
//! The variants of [`AskError`] are split by what the caller may do next: some were surely not
//! executed, of the others nobody knows. Which way a concern fails is data: one row each in
//! [`Concern::direction`], with its reason.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The actor is being restarted. Surely not executed.
    #[error("the actor is restarting, ask again in {retry_after:?}")]
    Restarting {
        /// When it may be back.
        retry_after: Duration,
    },
    /// Its queue is full. Surely not executed.
    #[error("the actor's queue is full")]
    Overloaded,
    /// It failed too often and was given up. Surely not executed.
    #[error("the actor was given up after too many failures")]
    Down,
    /// This very command has made it panic before. Surely not executed.
    #[error("the command was refused, for it has made the actor panic before")]
    Poisoned,
    /// No answer within the deadline. It may have been executed, or may yet be.
    #[error("the actor did not answer in time")]
    Timeout,
    /// It panicked at this command or died while it had it. It may have been executed.
    #[error("the actor crashed at this command")]
    Crashed,
    /// The change could not be written to disk. It may come true or not.
    #[error("the change could not be written to disk")]
    NotDurable,
}

impl AskError {
    /// One of each kind, for tables and tests.
    pub const KINDS: [Self; 7] = [
        Self::Restarting { retry_after: Duration::ZERO },
        Self::Overloaded,
        Self::Down,
        Self::Poisoned,
        Self::Timeout,
        Self::Crashed,
        Self::NotDurable,
    ];

    /// Whether the command was surely not executed, so that it may be asked again freely.
    pub const fn surely_not_executed(self) -> bool {
        match self {
            Self::Restarting { .. } | Self::Overloaded | Self::Down | Self::Poisoned => true,
            Self::Timeout | Self::Crashed | Self::NotDurable => false,
        }
    }

    /// The name in logs and counters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restarting { .. } => "restarting",
            Self::Overloaded => "overloaded",
            Self::Down => "down",
            Self::Poisoned => "poisoned",
            Self::Timeout => "timeout",
            Self::Crashed => "crashed",
            Self::NotDurable => "not_durable",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Restarting { .. } => 0,
            Self::Overloaded => 1,
            Self::Down => 2,
            Self::Poisoned => 3,
            Self::Timeout => 4,
            Self::Crashed => 5,
            Self::NotDurable => 6,
        }
    }
}

/// Which way a concern fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The caller goes on without it.
    Open,
    /// The caller is refused.
    Closed,
    /// What was said is dropped and counted.
    Dropped,
    /// What the actor last published decides.
    AsPublished,
}

impl Direction {
    /// The name in logs and counters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Dropped => "dropped",
            Self::AsPublished => "as_published",
        }
    }
}

/// What an actor is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// Whether a caller is over its limit.
    RateLimit,
    /// Whether a delivery was handled before.
    ReplayClaim,
    /// A slot of a bulkhead.
    BulkheadAcquire,
    /// Whether a provider may be called.
    BreakerGate,
    /// What came of a call.
    BreakerRecord,
    /// A cached tool result.
    ToolCache,
    /// A tool to be run.
    ToolEnqueue,
    /// An event to be accepted.
    InboxAccept,
    /// Threads and messages.
    Threads,
    /// An event for the monitor.
    MonitorEvent,
}

impl Concern {
    /// Every concern, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::RateLimit,
        Self::ReplayClaim,
        Self::BulkheadAcquire,
        Self::BreakerGate,
        Self::BreakerRecord,
        Self::ToolCache,
        Self::ToolEnqueue,
        Self::InboxAccept,
        Self::Threads,
        Self::MonitorEvent,
    ];

    /// The name in logs and counters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::ReplayClaim => "replay_claim",
            Self::BulkheadAcquire => "bulkhead_acquire",
            Self::BreakerGate => "breaker_gate",
            Self::BreakerRecord => "breaker_record",
            Self::ToolCache => "tool_cache",
            Self::ToolEnqueue => "tool_enqueue",
            Self::InboxAccept => "inbox_accept",
            Self::Threads => "threads",
            Self::MonitorEvent => "monitor_event",
        }
    }

    /// Which way it fails, and why.
    pub const fn direction(self) -> Direction {
        match self {
            // An abuser must not gain by breaking the limiter; a refused caller comes back (log
            // 1.1).
            Self::RateLimit => Direction::Closed,
            // A webhook handled twice is a nuisance; a webhook lost is an outage (log 1.6).
            Self::ReplayClaim => Direction::Open,
            // Losing count of calls is better than making none; a local cap bounds the harm (log
            // 1.8).
            Self::BulkheadAcquire => Direction::Open,
            // A provider known to be down must not be hammered for want of an answer.
            Self::BreakerGate => Direction::AsPublished,
            // One outcome more or less decides nothing (log 1.7).
            Self::BreakerRecord => Direction::Dropped,
            // A cache that does not answer is a miss.
            Self::ToolCache => Direction::Open,
            // The model is told that the tool is busy; the chat goes on (log 1.8).
            Self::ToolEnqueue => Direction::Open,
            // A webhook must not hear yes before its event is on disk; its sender will come again.
            Self::InboxAccept => Direction::Closed,
            // A message that is not stored must not be answered as if it were.
            Self::Threads => Direction::Closed,
            // Telemetry never holds up what it tells of.
            Self::MonitorEvent => Direction::Dropped,
        }
    }
}

static UNAVAILABLE: [[AtomicU64; AskError::KINDS.len()]; Concern::ALL.len()] =
    [const { [const { AtomicU64::new(0) }; AskError::KINDS.len()] }; Concern::ALL.len()];

/// Counts and logs that a concern's actor gave no answer, and says which way to go.
pub fn failed(concern: Concern, error: AskError) -> Direction {
    let direction = concern.direction();
    let times = UNAVAILABLE[concern as usize][error.index()].fetch_add(1, Ordering::Relaxed);
    // The first of each kind, then every thousandth: an outage must not fill the disk with itself.
    if times.is_multiple_of(1000) {
        tracing::warn!(
            concern = concern.as_str(),
            error = error.as_str(),
            direction = direction.as_str(),
            times = times + 1,
            "an actor gave no answer"
        );
    }
    direction
}

/// One count of [`failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// Which concern.
    pub concern: Concern,
    /// Which error.
    pub error: AskError,
    /// How often since the process started.
    pub times: u64,
}

/// How often each concern's actor gave no answer; only those that did.
pub fn unavailable() -> Vec<Unavailable> {
    let each = |concern: Concern| {
        AskError::KINDS.into_iter().map(move |error| Unavailable {
            concern,
            error,
            times: UNAVAILABLE[concern as usize][error.index()].load(Ordering::Relaxed),
        })
    };
    Concern::ALL.into_iter().flat_map(each).filter(|count| count.times > 0).collect()
}
