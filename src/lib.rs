//! placeholder
pub mod console;
pub mod sandbox;
