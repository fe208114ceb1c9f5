//! sendcat: the backend that AI chat products can trust. The rooms, from the wire inwards:
//! [`contract`] is what is promised on it, [`config`] what is told from outside, [`upstream`] the one
//! way out, [`chat`] a turn, [`sandbox`] what stands in for the world, [`console`] the pages.

pub mod chat;
pub mod config;
pub mod console;
pub mod contract;
pub mod sandbox;
pub mod upstream;

#[cfg(not(panic = "unwind"))]
compile_error!("sendcat contains panics by unwinding: build it with panic = \"unwind\"");
