//! One supervised actor per reliability concern.
//!
//! Callers hold handles: [`rate_limiter`], [`circuit_breaker`], [`bulkhead`], [`idempotency`],
//! [`job_queue`], [`tool_cache`], [`stream_log`], [`alert_monitor`], all handed out by [`tree`].
//! Beneath them: [`machine`] says what a machine must promise, [`handle`] is what callers hold,
//! `shell` is the one actor, [`journal`] the way to the disk, [`supervisor`] who starts again what
//! died. [`failure`] says which way each concern fails, [`observe`] what is seen of an actor,
//! [`ports`] what the outside implements, [`clock`] is the only file that reads the time,
//! [`chance`] the only one that draws lots.

pub mod alert_monitor;
#[cfg(feature = "testing")]
pub mod alone;
pub mod bulkhead;
pub mod chance;
pub mod circuit_breaker;
pub mod clock;
pub mod failure;
pub mod faults;
pub mod handle;
pub mod idempotency;
pub mod job_queue;
pub mod journal;
pub mod machine;
pub mod observe;
mod poison;
pub mod ports;
pub mod rate_limiter;
mod rebuild;
mod shell;
pub mod stream_log;
pub mod supervisor;
pub mod tool_cache;
mod tool_worker;
pub mod tree;
mod watchdog;
