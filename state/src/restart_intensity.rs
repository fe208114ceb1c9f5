//! How many failures in a period are borne before giving up: the rule of OTP supervisors.
//!
//! A supervisor gives up if and only if *more than* `max` failures lie within the last `period`,
//! both ends included (`add_restart` in OTP's `supervisor.erl`).

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// What is borne: `max` failures in `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intensity {
    /// Failures borne within a period.
    pub max: usize,
    /// The period.
    pub period: Duration,
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start again.
    Restart,
    /// There were too many: give up.
    GiveUp,
}

/// The failures of one supervised subtree that still count.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    recent: VecDeque<Timestamp>,
}

impl Failures {
    /// Counts a failure at `now` and says what it means.
    pub fn add(&mut self, now: Timestamp, intensity: Intensity) -> Verdict {
        self.forget_old(now, intensity.period);
        self.recent.push_back(now);
        if self.recent.len() > intensity.max { Verdict::GiveUp } else { Verdict::Restart }
    }

    /// Failures within the last `period`.
    pub fn within(&self, now: Timestamp, period: Duration) -> usize {
        let start = now.before(period);
        self.recent.iter().filter(|failed| **failed >= start).count()
    }

    /// Starts anew, as after an operator's restart.
    pub fn clear(&mut self) {
        self.recent.clear();
    }

    fn forget_old(&mut self, now: Timestamp, period: Duration) {
        let start = now.before(period);
        while self.recent.front().is_some_and(|failed| *failed < start) {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_IN_TEN: Intensity = Intensity { max: 2, period: Duration::from_millis(10) };

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn more_failures_than_borne_within_the_period_give_up() {
        let mut failures = Failures::default();
        assert_eq!(failures.add(at(0), TWO_IN_TEN), Verdict::Restart);
        assert_eq!(failures.add(at(5), TWO_IN_TEN), Verdict::Restart);
        assert_eq!(failures.add(at(10), TWO_IN_TEN), Verdict::GiveUp, "both ends count");
    }

    #[test]
    fn a_failure_past_the_period_is_forgotten() {
        let mut failures = Failures::default();
        failures.add(at(0), TWO_IN_TEN);
        failures.add(at(5), TWO_IN_TEN);
        assert_eq!(failures.add(at(11), TWO_IN_TEN), Verdict::Restart);
        assert_eq!(failures.within(at(11), TWO_IN_TEN.period), 2);
    }
}
