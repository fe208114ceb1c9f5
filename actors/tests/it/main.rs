//! The tree, whole, with no network: one thread, virtual time.

mod containment;
mod recovery;
mod support;
