//! Everything that leaves the process.

pub mod again;
pub mod call;
pub mod classify;
pub mod ebay;
pub mod error;
pub mod gmail;
pub mod google;
pub mod jwks;
pub mod offer;
pub mod openrouter;
pub mod resend;
pub mod retry;
#[cfg(test)]
mod samples_tests;
pub mod serpapi;
pub mod serper;
pub mod sse;
mod text;
pub mod whatsapp;
