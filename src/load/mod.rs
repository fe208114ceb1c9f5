//! Traffic as a client: what the operators' tools ask a running server, and see of it.

pub mod clock;
pub mod gameday;
pub mod ops_client;
pub mod target;
