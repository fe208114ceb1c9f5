//! Everything that leaves the process.

pub mod call;
pub mod classify;
pub mod error;
pub mod openrouter;
pub mod serper;
pub mod sse;
mod text;
