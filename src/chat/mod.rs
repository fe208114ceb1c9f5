//! A chat: one turn decided ([`turn`]), begun ([`engine`]) and driven to its end, with its
//! [`tools`].

pub mod cut;
mod driver;
pub mod engine;
pub mod once;
pub mod resume;
pub mod tools;
pub mod turn;
pub mod whole;
