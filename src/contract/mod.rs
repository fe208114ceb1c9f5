//! What is promised on the wire: codes, headers, bodies and signatures, in both directions.
//!
//! A promise depends on nothing that changes, so this room knows no other room; every other room
//! may know it. Where INTERFACE.md and a provider's own documents meet, the names here are theirs.
//!
//! # Invariants
//! - Nothing here reads a clock, draws lots, logs or waits: times and keys are handed in.
//! - No body that arrives makes a reader panic; it is an answer, a list of issues, or not JSON.

pub mod body;
pub mod chat;
pub mod code;
pub mod connection;
pub mod function;
pub mod gmail;
pub mod headers;
pub mod ops;
pub mod problem;
pub mod records;
pub mod session;
pub mod signature;
pub mod threads;
pub mod trace;
pub mod ui_stream;
pub mod webhook;
pub mod whatsapp;
mod whatsapp_link;
mod whatsapp_verify;

use std::time::{Duration, SystemTime};

/// The last millisecond of the year 9999: RFC 3339 writes four digits of a year and no more.
const LAST_MILLIS: u64 = 253_402_300_799_999;

/// A time as RFC 3339 in UTC with milliseconds, from milliseconds since the Unix epoch. What lies
/// beyond the year 9999 is written as its last millisecond.
pub fn rfc3339(millis: u64) -> String {
    let point = SystemTime::UNIX_EPOCH + Duration::from_millis(millis.min(LAST_MILLIS));
    humantime::format_rfc3339_millis(point).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_milliseconds_and_never_fails() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_709_210_096_007), "2024-02-29T12:34:56.007Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
