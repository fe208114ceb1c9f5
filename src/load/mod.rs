//! Traffic as a client: what the operators' tools ask a running server, and see of it.
//!
//! The load generator is an open model: [`plan`] fixes when each request is due before the first
//! is sent, [`generator`] sends them at these times whether the server keeps up or not, and latency
//! is counted from when a request was due, so a server that stalls cannot hide it.
//!
//! Reading order: [`plan`], [`traffic`] is what is sent, [`connections`] and [`exchange`] how,
//! [`sample`] what came of one request, [`recorder`] the counts of all, [`live`] the view while it
//! runs, [`generator`] the whole, [`scenarios`] the three of the drill, [`known_server`] what it is
//! checked against. [`canary`] drives two servers side by side. [`probes`] asks a
//! server what a stranger, a browser and a provider would be told, [`gameday`] breaks one thing of
//! it on purpose, [`drill`] is a run of scenarios with its gates.

pub mod arms;
pub mod canary;
pub mod clock;
pub mod connections;
pub mod drill;
pub mod exchange;
pub mod gameday;
pub mod generator;
pub mod known_server;
pub mod live;
pub mod ops_client;
pub mod plan;
pub mod pressure;
pub mod probes;
pub mod recorder;
pub mod sample;
pub mod scenarios;
pub mod target;
pub mod traffic;
