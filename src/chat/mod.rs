//! One chat answer: the pure turn, and what drives it.

pub mod turn;
