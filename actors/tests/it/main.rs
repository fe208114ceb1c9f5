//! The tree, whole, with no network: one thread, virtual time.

mod claims;
mod containment;
mod flood;
mod journal;
mod recovery;
mod shutdown;
mod stream_log;
mod support;
mod vanishing;
mod workers;
