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
