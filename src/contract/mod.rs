//! What is promised on the wire; depends on no other room.

pub mod ui_stream;
