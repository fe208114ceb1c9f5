//! The tree, whole, with no network: one thread, virtual time.

mod circuits;
mod containment;
mod limits;
mod lines;
mod support;
