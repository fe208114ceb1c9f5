//! One key's fixed window: at most `limit.calls` admissions in `limit.per`.
//!
//! A window opens with the first call it admits, so a burst against limit L admits exactly L, and
//! windows of different keys do not end together. It ends by time alone: nothing has to be reset.
//!
//! Durability: snapshotted, as a part of its shard.
//!
//! # Invariants
//! - RW-1: a window never admits more than its limit.
//! - RW-2: a refusal changes nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine::{Apply, Decision};
use crate::timestamp::Timestamp;

/// How many calls a window admits, and how long it stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Calls a window admits.
    pub calls: u64,
    /// How long a window stays open after its first call.
    pub per: Duration,
}

/// What a caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The call may go on.
    Admitted {
        /// Calls left in this window.
        left: u64,
        /// How long until the window ends and all calls are there again.
        resets_in: Duration,
    },
    /// The window is used up.
    Refused {
        /// How long until it ends; a caller that waits so long finds a new window.
        retry_after: Duration,
    },
}

/// One key's window. A window that has admitted nothing is not open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateWindow {
    opened: Timestamp,
    used: u64,
}

/// What an admission makes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// When the window that counts the call was opened.
    pub opened: Timestamp,
    /// Calls it has admitted, this one included.
    pub used: u64,
}

impl RateWindow {
    /// Decides one call. A refusal changes nothing, so a flood costs no writes.
    pub fn admit(&self, now: Timestamp, limit: Limit) -> Decision<Admission, Counted> {
        let live = self.is_live(now, limit.per);
        let (opened, used) = if live { (self.opened, self.used) } else { (now, 0) };
        let resets_in = now.until(opened.after(limit.per));
        if used >= limit.calls {
            return Decision::unchanged(Admission::Refused { retry_after: resets_in });
        }
        let admission = Admission::Admitted { left: limit.calls - used - 1, resets_in };
        Decision::new(admission, Counted { opened, used: used + 1 })
    }

    /// Whether calls counted here still weigh at `now`, in a window `per` long.
    pub fn is_live(&self, now: Timestamp, per: Duration) -> bool {
        self.used > 0 && now < self.opened.after(per)
    }

    /// Whether this is the window opened then, with a call in it.
    pub fn counts_one_of(&self, opened: Timestamp) -> bool {
        self.used > 0 && self.opened == opened
    }

    /// Takes one call out, as if it had not been made.
    pub fn uncount(&mut self) {
        self.used = self.used.saturating_sub(1);
    }

    /// When the window was opened.
    pub fn opened(&self) -> Timestamp {
        self.opened
    }

    /// Calls it has admitted.
    pub fn used(&self) -> u64 {
        self.used
    }
}

impl Apply<Counted> for RateWindow {
    fn apply(&mut self, change: &Counted) {
        self.opened = change.opened;
        self.used = change.used;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_PER_SECOND: Limit = Limit { calls: 2, per: Duration::from_secs(1) };

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_window_opens_with_its_first_call_and_ends_by_time_alone() {
        let mut window = RateWindow::default();
        let admitted =
            |left, millis| Admission::Admitted { left, resets_in: Duration::from_millis(millis) };
        assert_eq!(window.admit(at(300), TWO_PER_SECOND).settle(&mut window), admitted(1, 1000));
        assert_eq!(window.admit(at(900), TWO_PER_SECOND).settle(&mut window), admitted(0, 400));
        let refused = Admission::Refused { retry_after: Duration::from_millis(1) };
        assert_eq!(window.admit(at(1299), TWO_PER_SECOND).settle(&mut window), refused);
        assert_eq!(window.admit(at(1300), TWO_PER_SECOND).settle(&mut window), admitted(1, 1000));
    }

    #[test]
    fn a_lowered_limit_refuses_until_the_old_window_ends() {
        let mut window = RateWindow::default();
        let _ = window.admit(at(0), TWO_PER_SECOND).settle(&mut window);
        let _ = window.admit(at(0), TWO_PER_SECOND).settle(&mut window);
        let lowered = Limit { calls: 1, ..TWO_PER_SECOND };
        let refused = Admission::Refused { retry_after: Duration::from_millis(999) };
        assert_eq!(window.admit(at(1), lowered).answer, refused);
    }
}
