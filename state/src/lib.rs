//! Pure state machines, and where their state is kept.

pub mod bulkhead;
pub mod circuit_breaker;
pub mod job_queue;
pub mod key;
pub mod machine;
pub mod rate_window;
pub mod timestamp;
