//! The tree, whole, with no network: one thread, virtual time.
#![allow(clippy::unwrap_used, reason = "everything here is a test")]

mod alerts;
mod cache;
mod circuits;
mod claims;
mod containment;
mod counts;
mod failure_direction;
mod flood;
mod hang;
mod journal;
mod limits;
mod lines;
mod placement;
mod poison;
mod recovery;
mod salvage;
mod shutdown;
mod stream_log;
mod support;
mod thousand;
mod trials;
mod twin;
mod vanishing;
mod workers;
