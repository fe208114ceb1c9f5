//! Pure state machines, and where their state is kept.
//!
//! Nothing here reads a clock, draws lots, logs or waits: every rule can be proved by calling it in
//! a loop. Read in this order: [`machine`] (the shape of all of them), [`timestamp`] and [`key`];
//! then one concern at a time: [`rate_window`] and [`rate_shard`], [`circuit_breaker`],
//! [`bulkhead`], [`idempotency`], [`job`] and [`job_queue`], [`tool_cache`], [`stream_log`] and
//! [`live_answers`], [`events`] and [`alert_rules`] (both in [`alert_monitor`]), [`records`],
//! [`threads`], [`mailboxes`], [`saved_answers`], [`whatsapp`] and [`retention`]; what supervision
//! counts with: [`restart_intensity`], [`backoff`]; and how it all is kept: [`snapshot`],
//! [`store`].

pub mod alert_monitor;
pub mod alert_rules;
pub mod backoff;
pub mod bulkhead;
pub mod circuit_breaker;
pub mod events;
pub mod idempotency;
pub mod invariant;
pub mod job;
pub mod job_queue;
pub mod key;
pub mod live_answers;
pub mod machine;
pub mod mailboxes;
pub mod rate_shard;
pub mod rate_window;
pub mod records;
pub mod restart_intensity;
pub mod retention;
pub mod saved_answers;
pub mod snapshot;
pub mod store;
pub mod stream_log;
pub mod threads;
pub mod timestamp;
pub mod tool_cache;
pub mod whatsapp;
