//! A serving process of a test's own, its stand-ins, and a client.
//!
//! Every process listens on a free loopback port, keeps its state in a directory of its own, and is
//! ended by its test, whatever becomes of it.

pub(crate) mod answer;
pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod documented;
pub(crate) mod exchange;
pub(crate) mod expected;
pub(crate) mod front;
pub(crate) mod ledger;
pub(crate) mod listener;
pub(crate) mod mailbox;
pub(crate) mod model;
pub(crate) mod mutant;
pub(crate) mod node;
pub(crate) mod random;
pub(crate) mod raw;
pub(crate) mod raw_model;
pub(crate) mod scene;
pub(crate) mod server;
pub(crate) mod stand_in;
pub(crate) mod tools;
pub(crate) mod webhook;
