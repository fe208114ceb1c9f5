//! The only file that reads the time.
//!
//! Machines are told `now`: wall time read once at the start, plus monotonic time since, and never
//! earlier than the newest time that the last process left on disk. So a jump of the wall clock
//! moves no deadline, and a restart on a machine whose clock went back opens no window twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sendcat_state::timestamp::Timestamp;
use tokio::time::Instant;

use crate::faults::{self, FaultBoard};

/// Tells the time to everything that decides.
pub trait Clock: Send + Sync + 'static {
    /// The time that machines decide by.
    fn now(&self) -> Timestamp;

    /// The wall's time: for tokens, logs and JSON, never for a deadline.
    fn wall(&self) -> SystemTime;

    /// Makes the clock tell no time before `newest` from here on.
    fn not_before(&self, newest: Timestamp);

    /// Where faults of the wall's time are armed; `None` if it has none.
    fn faults(&self) -> Option<&FaultBoard> {
        None
    }
}

/// A clock as it is shared.
pub type SharedClock = Arc<dyn Clock>;

/// The clock of a serving process. It goes by the runtime's monotonic time, so under a paused
/// runtime it follows virtual time.
#[derive(Debug)]
pub struct SystemClock {
    base_ms: AtomicU64,
    started: Instant,
    faults: FaultBoard,
}

impl SystemClock {
    /// Reads the wall once and goes on from there.
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the time")]
    pub fn start() -> Self {
        let base_ms = AtomicU64::new(millis_of(SystemTime::now()));
        Self { base_ms, started: Instant::now(), faults: FaultBoard::default() }
    }
}

#[cfg(feature = "testing")]
impl SystemClock {
    /// A clock that begins at `now` and goes by the runtime's time alone: in virtual time every run
    /// tells the same times.
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the time")]
    pub fn starting_at(now: Timestamp) -> Self {
        let base_ms = AtomicU64::new(now.as_millis());
        Self { base_ms, started: Instant::now(), faults: FaultBoard::default() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the time")]
    fn now(&self) -> Timestamp {
        let since = Instant::now().saturating_duration_since(self.started);
        Timestamp::from_millis(self.base_ms.load(Ordering::Relaxed)).after(whole_millis(since))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the time")]
    fn wall(&self) -> SystemTime {
        let now = SystemTime::now();
        if !faults::COMPILED {
            return now;
        }
        let truth = millis_of(now);
        match self.faults.wall(truth) {
            shown if shown == truth => now,
            shown => UNIX_EPOCH + Duration::from_millis(shown),
        }
    }

    fn faults(&self) -> Option<&FaultBoard> {
        Some(&self.faults)
    }

    fn not_before(&self, newest: Timestamp) {
        let behind = self.now().until(newest).as_millis();
        let behind = u64::try_from(behind).unwrap_or(u64::MAX);
        self.base_ms.fetch_add(behind, Ordering::Relaxed);
    }
}

/// A clock that a test moves by hand.
#[cfg(feature = "testing")]
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicU64,
}

#[cfg(feature = "testing")]
impl ManualClock {
    /// A clock that tells `now` until it is moved.
    pub fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(Self { now_ms: AtomicU64::new(now.as_millis()) })
    }

    /// Moves the time on.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.now_ms.fetch_add(by, Ordering::SeqCst);
    }
}

#[cfg(feature = "testing")]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms.load(Ordering::SeqCst))
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.now_ms.load(Ordering::SeqCst))
    }

    fn not_before(&self, newest: Timestamp) {
        self.now_ms.fetch_max(newest.as_millis(), Ordering::SeqCst);
    }
}

fn millis_of(wall: SystemTime) -> u64 {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Monotonic time in whole milliseconds, rounded down: the clock never runs ahead of itself.
fn whole_millis(since: Duration) -> Duration {
    Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_follows_the_runtime_and_never_tells_an_earlier_time_than_told() {
        let clock = SystemClock::start();
        let before = clock.now();
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(before.until(clock.now()), Duration::from_millis(250));
        let later = clock.now().after(Duration::from_secs(60));
        clock.not_before(later);
        assert_eq!(clock.now(), later);
    }
}
