//! A run while it goes on: counts since its start, for bars, stop conditions and abort rules.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::sample::{Received, Sample};
use crate::slo::report::{ErrorKind, Histogram};

/// The counts of each arm of a run; shared between its workers and whoever looks.
#[derive(Debug)]
pub struct Live {
    arms: Vec<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    latency: Recent,
    lag: Recent,
}

/// A histogram of the last one to two seconds.
#[derive(Clone, Debug, Default)]
struct Recent {
    second: u64,
    current: Histogram,
    before: Histogram,
}

/// What has come of an arm since the start of the run. Differences of two looks are a rate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// The stage of the arrival that was sent last, from 0.
    pub stage: u16,
    /// Requests sent.
    pub started: u64,
    /// Whole answers.
    pub done: u64,
    /// Bad ones: by [`super::traffic::Traffic::is_bad`], errors, dropped arrivals.
    pub bad: u64,
    /// Arrivals given up.
    pub dropped: u64,
    /// Requests without an answer yet.
    pub inflight: u64,
    /// Whole answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without a whole answer, by kind.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Of the last one to two seconds, corrected, milliseconds; 0 of no answers.
    pub p95_ms: f64,
    /// Of the last one to two seconds, the generator's own, milliseconds.
    pub lag_self_p99_ms: f64,
}

impl Counts {
    /// Answers of 500 and above.
    pub fn http5xx(&self) -> u64 {
        self.statuses.range(500..).map(|(_, count)| count).sum()
    }

    /// Answers of one status.
    pub fn status(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or_default()
    }

    /// Requests without a whole answer.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Live {
    /// Of a run with so many arms.
    pub fn of(arms: usize) -> Self {
        Self { arms: (0..arms).map(|_| Mutex::default()).collect() }
    }

    /// What has come of an arm until now; nothing of an arm that there is not.
    pub fn counts(&self, arm: usize) -> Counts {
        let Some(state) = self.arms.get(arm) else { return Counts::default() };
        // The generator waits for this lock at every arrival: only copies are made under it.
        let (latency, lag, counts) = {
            let state = state.lock().unwrap_or_else(PoisonError::into_inner);
            (state.latency.clone(), state.lag.clone(), state.counts.clone())
        };
        Counts { p95_ms: latency.quantile(0.95), lag_self_p99_ms: lag.quantile(0.99), ..counts }
    }

    pub(super) fn sent(&self, arm: usize, stage: u16, lag_self_us: u64, now_us: u64) {
        self.with(arm, |state| {
            state.counts.stage = stage;
            state.counts.started += 1;
            state.counts.inflight += 1;
            state.lag.record(lag_self_us, now_us);
        });
    }

    pub(super) fn ended(&self, sample: &Sample, bad: bool) {
        self.with(usize::from(sample.arm), |state| {
            let counts = &mut state.counts;
            counts.bad += u64::from(bad);
            match sample.result {
                Received::Dropped => {
                    counts.dropped += 1;
                    return;
                }
                Received::Status(status) => {
                    counts.done += 1;
                    *counts.statuses.entry(status).or_default() += 1;
                }
                Received::Failed(kind) => *counts.errors.entry(kind).or_default() += 1,
            }
            counts.inflight -= 1;
            state.latency.record(sample.corrected_us(), sample.end_us);
        });
    }

    fn with(&self, arm: usize, change: impl FnOnce(&mut State)) {
        if let Some(state) = self.arms.get(arm) {
            change(&mut state.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Recent {
    fn record(&mut self, us: u64, now_us: u64) {
        let second = now_us / 1_000_000;
        if second > self.second {
            let last = std::mem::take(&mut self.current);
            self.before = if second == self.second + 1 { last } else { Histogram::default() };
            self.second = second;
        }
        self.current.record_us(us);
    }

    fn quantile(self, q: f64) -> f64 {
        let mut both = self.before;
        both.merge(&self.current);
        both.quantile_ms(q)
    }
}
