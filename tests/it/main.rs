//! The service from outside: real processes, real HTTP, whole answers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chat_failures;
mod chat_refusals;
mod chat_stream;
mod config_refusals;
mod cors;
mod page;
mod sessions;
mod smoke;
mod support;
mod thread_messages;
