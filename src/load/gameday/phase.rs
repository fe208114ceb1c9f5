//! A game day as a machine: told what was seen, it says what to do next.
//!
//! Pure: it takes `now`, counted from the start of the run, and neither asks nor waits. Steady
//! state, the fault that changes nothing, the fault itself, its revert, recovery.
//!
//! # Always
//! - However it ends, a fault that was asked for is taken back, and that it is gone is looked up.
//! - What ends a game day early is looked at in every second of it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::abort::{Abort, Alarms};
use super::plan::Plan;
use super::tally::{Gauges, Seen, Tally};
use crate::slo::policy::SloBaseline;

/// How long the fault that changes nothing is in force.
const NOOP: Duration = Duration::from_secs(1);

/// How long a revert may take to be seen.
const REVERT: Duration = Duration::from_secs(5);

/// How long a server has to be as it was after a game day that was aborted.
const STEADY_AGAIN: Duration = Duration::from_secs(30);

/// Calm seconds in a row that are a recovery.
const CALM_S: u32 = 2;

/// One second, as seen.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// The server's operators' routes answered.
    pub contact: bool,
    /// Our fault is in the list of what is in force.
    pub listed: bool,
    /// How often it has bitten.
    pub witness: u64,
    /// Requests that ended in this second.
    pub scenarios: BTreeMap<String, Tally>,
    /// What operators see, where they were answered.
    pub gauges: Option<Gauges>,
    /// Free disk of this machine, in MB, where it is known.
    pub free_disk_mb: Option<u64>,
    /// Ctrl-C or SIGTERM.
    pub interrupted: bool,
}

impl Sight {
    /// Whether health was asked and answered well.
    pub fn probes_pass(&self) -> bool {
        self.scenarios.get("health").is_some_and(|health| health.total > 0 && health.hurt() == 0)
    }

    fn saw_probes(&self) -> bool {
        self.scenarios.get("health").is_some_and(|health| health.total > 0)
    }

    fn hurt(&self) -> u64 {
        self.scenarios.values().map(Tally::hurt).sum()
    }
}

/// What to do before the next second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Look on.
    Wait,
    /// Put the fault that changes nothing in force.
    BeginNoop,
    /// Take that back and put the plan's in force.
    Inject,
    /// Take the fault back.
    Revert,
    /// Take everything back.
    RevertAll,
    /// It is over.
    End,
}

/// Where a game day stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// The server without a fault.
    Baseline,
    /// The fault that changes nothing.
    Noop,
    /// Under the fault.
    Fault,
    /// Until it is seen to be gone.
    Revert,
    /// Until the server is as before.
    Recovery,
    /// Over.
    Over,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Score {
    /// All that was expected came true.
    Held,
    /// Something did not.
    Deviated,
    /// The fault never bit, or nothing could be seen of it: nothing is shown.
    NoEffect,
    /// Ended early.
    Aborted,
}

/// One game day.
#[derive(Debug)]
pub struct GameDay {
    plan: Plan,
    phase: Phase,
    since: Duration,
    alarms: Alarms,
    before: Gauges,
    /// Without a fault.
    pub baseline: Seen,
    /// Under it.
    pub fault: Seen,
    witness: u64,
    /// As it was when the fault was last seen in force, or after.
    last_witness: Option<u64>,
    injected: Option<Duration>,
    reverted: Option<Duration>,
    calm: (u32, Duration),
    /// From the fault to the first sign of it that operators see.
    pub detected: Option<Duration>,
    /// From the revert to the first calm second.
    pub recovered: Option<Duration>,
    /// Requests hurt from the fault to the end.
    pub hurt: u64,
    /// Why it was ended early.
    pub aborted: Option<Abort>,
    /// Why it could not begin.
    pub unsteady: Option<String>,
    /// Whether the fault was seen to be gone; `None` if it never was in force.
    pub revert_verified: Option<bool>,
    /// Probes that failed when it was over, each in a sentence.
    pub probes_failed: Vec<String>,
}

impl GameDay {
    /// Begins with the baseline.
    pub fn new(plan: Plan, promised: &SloBaseline) -> Self {
        let alarms = Alarms::of(&plan, promised);
        Self {
            plan,
            phase: Phase::Baseline,
            since: Duration::ZERO,
            alarms,
            before: Gauges::default(),
            baseline: Seen::default(),
            fault: Seen::default(),
            witness: 0,
            last_witness: None,
            injected: None,
            reverted: None,
            calm: (0, Duration::ZERO),
            detected: None,
            recovered: None,
            hurt: 0,
            aborted: None,
            unsteady: None,
            revert_verified: None,
            probes_failed: Vec::new(),
        }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How often the fault has bitten.
    pub fn witness(&self) -> u64 {
        self.witness
    }

    /// Ends it before it has begun, if probes fail.
    pub fn probed_before(&mut self, failing: &[String]) {
        if let Some(first) = failing.first() {
            self.cannot_begin(&format!("probes fail before any fault: {first}"));
        }
    }

    /// Takes in what probes say when it is over.
    pub fn probed_after(&mut self, failing: Vec<String>) {
        self.probes_failed = failing;
    }

    /// Takes one second in.
    pub fn step(&mut self, now: Duration, sight: &Sight) -> Act {
        if self.injected.is_some() {
            self.hurt += sight.hurt();
        }
        let running = !matches!(self.phase, Phase::Revert | Phase::Recovery | Phase::Over);
        if running && let Some(abort) = self.alarms.sound(now, sight, &self.fault) {
            self.aborted = Some(abort);
            if self.phase == Phase::Baseline {
                return self.over();
            }
            return self.begin_revert(now);
        }
        match self.phase {
            Phase::Baseline => self.in_baseline(now, sight),
            Phase::Noop => self.in_noop(now, sight),
            Phase::Fault => self.under_fault(now, sight),
            Phase::Revert => self.in_revert(now, sight),
            Phase::Recovery => self.in_recovery(now, sight),
            Phase::Over => Act::End,
        }
    }

    fn in_baseline(&mut self, now: Duration, sight: &Sight) -> Act {
        if self.baseline.most.is_none()
            && let Some(gauges) = sight.gauges
        {
            self.baseline.before = gauges;
        }
        self.baseline.add(&sight.scenarios, sight.gauges.as_ref());
        if now < Duration::from_secs(self.plan.baseline_s) {
            return Act::Wait;
        }
        if !self.is_steady(sight) {
            return self.cannot_begin("the server is not in its steady state");
        }
        self.enter(Phase::Noop, now);
        Act::BeginNoop
    }

    fn in_noop(&mut self, now: Duration, sight: &Sight) -> Act {
        self.baseline.add(&sight.scenarios, sight.gauges.as_ref());
        if now - self.since < NOOP {
            return Act::Wait;
        }
        let Some(gauges) = sight.gauges.filter(|_| self.is_steady(sight)) else {
            return self.cannot_begin("a fault that changes nothing has changed something");
        };
        self.before = gauges;
        self.fault = Seen::from(gauges);
        self.injected = Some(now);
        self.alarms.inject();
        self.enter(Phase::Fault, now);
        Act::Inject
    }

    /// Whether probes pass and hardly anything was hurt so far.
    fn is_steady(&self, sight: &Sight) -> bool {
        const ONE_IN: u64 = 20;
        let all: u64 = self.baseline.scenarios.values().map(|tally| tally.total).sum();
        let moved = self.baseline.most.is_some_and(|most| most.tells(&self.baseline.before));
        sight.probes_pass() && !moved && all > 0 && self.baseline.hurt() * ONE_IN <= all
    }

    fn cannot_begin(&mut self, why: &str) -> Act {
        self.unsteady = Some(why.to_owned());
        self.over();
        Act::RevertAll
    }

    fn under_fault(&mut self, now: Duration, sight: &Sight) -> Act {
        self.fault.add(&sight.scenarios, sight.gauges.as_ref());
        self.witness = self.witness.max(sight.witness);
        let tells = sight.gauges.is_some_and(|gauges| gauges.tells(&self.before));
        if tells && self.detected.is_none() {
            self.detected = Some(now - self.since);
        }
        if now - self.since < Duration::from_secs(self.plan.fault_s) {
            return Act::Wait;
        }
        self.begin_revert(now)
    }

    fn begin_revert(&mut self, now: Duration) -> Act {
        self.enter(Phase::Revert, now);
        self.reverted = Some(now);
        if self.aborted.is_some() { Act::RevertAll } else { Act::Revert }
    }

    /// Gone from the list, and its counter stands still.
    fn in_revert(&mut self, now: Duration, sight: &Sight) -> Act {
        self.witness = self.witness.max(sight.witness);
        let flat = self.last_witness == Some(sight.witness);
        self.last_witness = Some(sight.witness);
        if sight.contact && !sight.listed && flat {
            self.revert_verified = Some(true);
            self.enter(Phase::Recovery, now);
            return self.in_recovery(now, sight);
        }
        self.note_calm(now, sight);
        if now - self.since >= REVERT {
            self.revert_verified = Some(false);
            return self.over();
        }
        // Again, for an answer may have been lost; taking back what is gone does no harm.
        if self.aborted.is_some() { Act::RevertAll } else { Act::Revert }
    }

    /// Whether all is as before, from the revert on: that it was looked up takes seconds that are
    /// not the server's.
    fn note_calm(&mut self, now: Duration, sight: &Sight) {
        // A second in which nothing was seen says neither: this machine may be busy.
        let Some(gauges) = sight.gauges.filter(|_| sight.saw_probes()) else { return };
        let since = self.reverted.unwrap_or(self.since);
        let calm = sight.probes_pass() && sight.hurt() == 0 && gauges.is_calm(&self.before);
        self.calm = match (calm, self.calm) {
            (true, (0, _)) => (1, now - since),
            (true, (seconds, first)) => (seconds + 1, first),
            (false, _) => (0, now - since),
        };
    }

    fn in_recovery(&mut self, now: Duration, sight: &Sight) -> Act {
        self.note_calm(now, sight);
        let since = self.reverted.unwrap_or(self.since);
        if self.calm.0 >= CALM_S {
            self.recovered = Some(self.calm.1);
            return self.over();
        }
        let bound = match self.aborted {
            Some(_) => STEADY_AGAIN,
            None => Duration::from_secs(self.plan.recovery_s + u64::from(CALM_S)),
        };
        if now - since >= bound { self.over() } else { Act::Wait }
    }

    fn enter(&mut self, phase: Phase, now: Duration) {
        self.phase = phase;
        self.since = now;
    }

    fn over(&mut self) -> Act {
        self.phase = Phase::Over;
        Act::End
    }

    /// Whether it recovered within its plan's bound.
    pub fn recovered_in_time(&self) -> bool {
        let bound = Duration::from_secs(self.plan.recovery_s);
        self.recovered.is_some_and(|took| took <= bound)
    }

    /// Whether the fault has bitten; one that changes nothing need not.
    pub fn bit(&self) -> bool {
        self.witness > 0 || self.plan.fault == "noop"
    }

    /// What came of it, once it is over.
    pub fn score(&self) -> Score {
        if self.aborted.is_some() || self.unsteady.is_some() {
            return Score::Aborted;
        }
        let mut held = self.recovered_in_time() && self.probes_failed.is_empty();
        let mut shown = self.bit();
        for (expected, value) in self.plan.observed(&self.fault) {
            match value {
                Some(value) => held &= expected.op.holds(value, expected.value),
                None => shown = false,
            }
        }
        match (shown, held) {
            (_, false) if self.bit() => Score::Deviated,
            (true, true) => Score::Held,
            (true | false, _) => Score::NoEffect,
        }
    }
}
