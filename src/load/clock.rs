//! The time of a run: microseconds since its start. The only file of the tools that reads a clock.

use std::time::{Duration, Instant};

/// Counts from the start of a run; every thread of it holds a copy.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start: Instant,
}

impl RunClock {
    /// A run that starts after a pause, in which connections are made.
    pub fn starting_in(pause: Duration) -> Self {
        Self { start: now() + pause }
    }

    /// Microseconds since the start, 0 before it.
    pub fn now_us(&self) -> u64 {
        let since = now().saturating_duration_since(self.start);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// When so many microseconds have gone by since the start.
    pub fn at(&self, us: u64) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + Duration::from_micros(us))
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock of the tools")]
fn now() -> Instant {
    Instant::now()
}
