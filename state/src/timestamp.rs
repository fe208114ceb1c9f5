//! Points in time as whole milliseconds, and the arithmetic between them.
//!
//! A [`Timestamp`] counts milliseconds since the Unix epoch as `clock.rs` in the actors room tells
//! them: the wall time read once at the start, plus monotonic time since. All arithmetic saturates,
//! so no input, however hostile, makes a deadline wrap around.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time, in milliseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The earliest point: where tests start and nothing has happened yet.
    pub const ZERO: Self = Self(0);

    /// The point `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The point `span` later; the last representable one if that would overflow.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis_of(span)))
    }

    /// The point `span` earlier; [`Timestamp::ZERO`] if that would be before it.
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis_of(span)))
    }

    /// How long from here until `later`; zero if it is not later.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }

    /// How long ago `earlier` was, seen from here; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        earlier.until(self)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}ms", self.0)
    }
}

/// Whole milliseconds of a span, rounded up: a deadline never comes early.
fn millis_of(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_rounded_up_to_whole_milliseconds() {
        assert_eq!(Timestamp::ZERO.after(Duration::from_micros(1)), Timestamp::from_millis(1));
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let last = Timestamp::from_millis(u64::MAX);
        assert_eq!(last.after(Duration::MAX), last);
        assert_eq!(Timestamp::ZERO.before(Duration::MAX), Timestamp::ZERO);
        assert_eq!(last.until(Timestamp::ZERO), Duration::ZERO);
    }
}
