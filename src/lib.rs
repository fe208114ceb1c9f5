//! sendcat: the backend that AI chat products can trust.

pub mod config;
pub mod contract;
