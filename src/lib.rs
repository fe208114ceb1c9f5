//! sendcat: the backend that AI chat products can trust. The rooms, from the wire inwards:
//! [`contract`] is what is promised on it, [`config`] what is told from outside, [`http`] speaks,
//! [`chat`] is a turn, [`inbox`] what an accepted webhook leads to, [`upstream`] the one way out,
//! [`sandbox`] what stands in for the world, [`console`] the pages, [`telemetry`] the logs,
//! [`load`] the client of the operators' commands, [`slo`] judges what they saw, [`report`]
//! shows the verdict, and [`cli`] wires them all.

pub mod chat;
pub mod cli;
pub mod config;
pub mod console;
pub mod contract;
pub mod http;
pub mod inbox;
pub mod load;
pub mod report;
pub mod sandbox;
pub mod slo;
pub mod telemetry;
pub mod upstream;

#[cfg(not(panic = "unwind"))]
compile_error!("sendcat contains panics by unwinding: build it with panic = \"unwind\"");
