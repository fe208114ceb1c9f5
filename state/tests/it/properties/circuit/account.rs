//! A circuit that keeps every call in a list and every permit by its place.

use std::time::Duration;

use sendcat_state::circuit_breaker::{CallOutcome, CircuitMode, Heard};
use sendcat_state::timestamp::Timestamp;

use super::super::ms;
use super::Ruled;

/// The circuit as one would explain it to somebody.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// How often it opened or closed.
    era: u64,
    pub(super) failures: u32,
    /// What calls said since it last opened or closed.
    heard: Vec<(Timestamp, Heard)>,
    /// Failed probes since it was last closed.
    failed_probes: u32,
    pub(super) mode: CircuitMode,
    /// Since when it is not closed, and until when it refuses.
    pub(super) open: Option<(Timestamp, Timestamp)>,
    /// The place in `permits` of the probe that is out, and when it lapses.
    probe: Option<(usize, Timestamp)>,
    /// Every permit: the era it was given in, and whether it is a probe.
    permits: Vec<(u64, bool)>,
}

impl Account {
    /// `None` if the call may be made, else how long to wait.
    pub(super) fn gate(&mut self, now: Timestamp) -> Option<Duration> {
        let blocked = match (self.open, self.probe) {
            (None, _) => None,
            (Some(_), Some((_, lapses))) => Some(lapses),
            (Some((_, until)), None) => Some(until),
        };
        let blocked = blocked.filter(|until| now < *until);
        match (self.mode, blocked) {
            (CircuitMode::ForcedOpen, _) => return Some(ms(50)),
            (CircuitMode::Normal, Some(until)) => return Some(now.until(until)),
            (CircuitMode::Disabled, _) | (CircuitMode::Shadow, Some(_)) => {
                self.permits.push((self.era, false));
                return None;
            }
            (CircuitMode::Normal | CircuitMode::Shadow, None) => {}
        }
        if self.open.is_some() {
            self.probe = Some((self.permits.len(), now.after(ms(20))));
        }
        self.permits.push((self.era, self.open.is_some()));
        None
    }

    pub(super) fn record(
        &mut self,
        now: Timestamp,
        ruled: &Ruled,
        which: usize,
        outcome: CallOutcome,
    ) {
        let (era, is_probe) = self.permits[which];
        let holds_the_place =
            self.probe.is_some_and(|(probe, lapses)| probe == which && now < lapses);
        let has_a_say = if is_probe { holds_the_place } else { self.open.is_none() };
        if era != self.era || self.mode == CircuitMode::Disabled || !has_a_say {
            return;
        }
        let (heard, asked) = match outcome {
            CallOutcome::Neutral => return self.probe = None,
            CallOutcome::Success | CallOutcome::Slow if is_probe => return self.close(),
            CallOutcome::Success => (Heard::Worked, None),
            CallOutcome::Slow => (Heard::Slow, None),
            CallOutcome::Failure { retry_after } => (Heard::Failed, retry_after),
        };
        self.heard.push((now, heard));
        self.failures = if heard == Heard::Failed { self.failures + 1 } else { 0 };
        let in_a_row = heard == Heard::Failed && self.failures >= ruled.threshold;
        let is_unwell = heard != Heard::Worked && self.is_unwell(now, ruled);
        if is_probe || in_a_row || is_unwell {
            self.failed_probes += u32::from(is_probe);
            let doubled = 50 << self.failed_probes.min(4);
            let pause = Duration::from_micros(doubled * (900 + ruled.random % 201));
            let since = self.open.map_or(now, |(since, _)| since);
            self.open = Some((since, now.after(pause.max(asked.unwrap_or_default()))));
            self.probe = None;
            self.heard.clear();
            self.era += 1;
        }
    }

    fn is_unwell(&self, now: Timestamp, ruled: &Ruled) -> bool {
        let second = |when: Timestamp| when.as_millis() / 1000;
        let of_late = self.heard.iter().filter(|(when, _)| second(now) - second(*when) < 10);
        let of_late: Vec<Heard> = of_late.map(|(_, heard)| *heard).collect();
        let half = |what: Heard| {
            2 * of_late.iter().filter(|heard| **heard == what).count() >= of_late.len()
        };
        of_late.len() >= 20 && (half(Heard::Failed) || (ruled.counts_slow && half(Heard::Slow)))
    }

    fn close(&mut self) {
        let (era, permits) = (self.era + 1, std::mem::take(&mut self.permits));
        *self = Self { era, permits, mode: self.mode, ..Self::default() };
    }

    pub(super) fn reset(&mut self) {
        self.close();
        if self.mode == CircuitMode::ForcedOpen {
            self.mode = CircuitMode::Normal;
        }
    }

    pub(super) fn set(&mut self, mode: CircuitMode) {
        if mode != self.mode {
            self.mode = mode;
            self.era += 1;
            // A probe of another mode has no say; whoever comes next may probe at once.
            self.probe = None;
        }
    }
}
