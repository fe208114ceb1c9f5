//! A chat: one turn decided ([`turn`]), begun ([`engine`]) and driven to its end, with its
//! [`tools`].

mod driver;
pub mod engine;
pub mod tools;
pub mod turn;
