//! The service from outside: real processes, real HTTP, whole answers.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "what tests share is a test as well")]

mod builds;
mod burst;
mod chat_failures;
mod chat_own_faults;
mod chat_refusals;
mod chat_stream;
mod chat_vanishing;
mod config_refusals;
mod cors;
mod disk;
mod faults;
mod flood;
mod gmail_push;
mod hang;
mod health;
mod kill;
mod ops_actors;
mod ops_cache;
mod ops_inbox;
mod ops_snapshot;
mod page;
mod panics;
mod sessions;
mod shutdown;
mod shutdown_load;
mod smoke;
mod support;
mod thread_messages;
mod tool_cache;
mod tool_shops;
mod tools;
mod unknown_paths;
mod webhook_refusals;
mod whatsapp;
