//! The service from outside: real processes, real HTTP, whole answers.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "what tests share is a test as well")]

mod burst;
mod disk;
mod faults;
mod gmail_push;
mod health;
mod kill;
mod ops_actors;
mod ops_inbox;
mod ops_snapshot;
mod shutdown;
mod smoke;
mod support;
mod unknown_paths;
mod webhook_refusals;
mod whatsapp;
