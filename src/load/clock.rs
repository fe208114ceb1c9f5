//! The time of a run: microseconds since its start. The only file of the tools that reads a clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// How long something takes.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Runs from now on.
    pub fn start() -> Self {
        Self(now())
    }

    /// The time since it was started; no jump of the wall clock changes it.
    pub fn read(self) -> Duration {
        now().saturating_duration_since(self.0)
    }
}

/// The wall clock, since the Unix epoch: for ages of reports, never for spans.
#[expect(clippy::disallowed_methods, reason = "this is the clock of the tools")]
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
