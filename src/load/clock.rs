//! The clock of whoever measures a server from outside. Beside the actors' own clock it is the
//! only file that reads the time.
#![expect(clippy::disallowed_methods, reason = "this file is where a tool reads the time")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long something takes.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Runs from now on.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since it was started; no jump of the wall clock changes it.
    pub fn read(self) -> Duration {
        self.0.elapsed()
    }
}

/// The wall clock, since the Unix epoch: for names of runs and ages of reports, never for spans.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Counts from the start of a run; every thread of it holds a copy.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start: Instant,
}

impl RunClock {
    /// A run that starts after a pause, in which connections are made.
    pub fn starting_in(pause: Duration) -> Self {
        Self { start: Instant::now() + pause }
    }

    /// Microseconds since the start, 0 before it.
    pub fn now_us(&self) -> u64 {
        let since = Instant::now().saturating_duration_since(self.start);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// When so many microseconds have gone by since the start.
    pub fn at(&self, us: u64) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + Duration::from_micros(us))
    }
}
