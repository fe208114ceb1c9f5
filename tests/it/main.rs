//! The service from outside: real processes, real HTTP, whole answers.

mod smoke;
mod support;
