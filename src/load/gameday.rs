//! Game days: a fault that is meant, what is expected of the server under it, and whether that came
//! true (OPERATIONS.md §6).
//!
//! Reading order: [`plan`] is what is written down before, [`catalog`] every fault and the plan
//! that ships for it, [`tally`] what is seen, [`abort`] what ends it early, [`phase`] the machine
//! of it all; [`run`] looks and acts, by [`server`], [`traffic`], [`attack`] and [`host`], and
//! by [`ordeal`] what its [`own_server`] suffers; [`steady`] is before and after;
//! [`verdict`] and [`journal`] are what is left.

pub mod abort;
pub mod attack;
pub mod catalog;
pub mod host;
pub mod journal;
pub mod ordeal;
pub mod own_server;
pub mod phase;
pub mod plan;
pub mod run;
pub mod server;
pub mod steady;
pub mod tally;
pub mod traffic;
pub mod verdict;
