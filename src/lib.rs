//! The rooms of the service; see README.md for the map.

pub mod chat;
pub mod contract;
pub mod upstream;
