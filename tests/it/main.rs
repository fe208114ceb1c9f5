//! The service from outside: real processes, real HTTP, whole answers.

mod burst;
mod gmail_push;
mod smoke;
mod support;
mod webhook_refusals;
mod whatsapp;
