//! What ends a game day at once, looked at each second (OPERATIONS.md §6).

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::phase::Sight;
use super::plan::{Plan, Sli};
use super::tally::{Seen, Tally};
use crate::slo::policy::SloBaseline;

/// Limits that end a game day whatever it plays; a plan may have its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// How often in a row probes may fail.
    pub probes: u32,
    /// Seconds that the server may be out of reach.
    pub contact_s: u64,
    /// Seconds in a row in which a scenario that has nothing to do with the fault may be over
    /// twice its budget of 5xx.
    pub unrelated_s: u64,
    /// Free disk here, in MB, below which nothing is tried any more.
    pub free_disk_mb: u64,
    /// Memory of the server, in MB, beyond which nothing is tried any more.
    pub rss_mb: f64,
    /// 5xx and requests without an answer, of all scenarios from the fault on.
    pub failures: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            probes: 3,
            contact_s: 5,
            unrelated_s: 3,
            free_disk_mb: 512,
            rss_mb: 2048.0,
            failures: 1000,
        }
    }
}

/// Why a game day was ended early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "why", content = "what")]
pub enum Abort {
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// Probes failed three times in a row.
    Probes,
    /// The server was out of reach for five seconds.
    Contact,
    /// A scenario that has nothing to do with the fault.
    Unrelated(String),
    /// A condition of the plan, as written.
    Condition(String),
    /// The disk is nearly full.
    Disk,
    /// The server's memory has grown past the limit.
    Memory,
    /// More requests have failed than the plan allows.
    Failures,
}

/// What is counted of it.
#[derive(Debug)]
pub struct Alarms {
    plan: Plan,
    budgets: BTreeMap<String, f64>,
    failures: u64,
    probes_failed: u32,
    contact_at: Duration,
    unrelated: BTreeMap<String, u64>,
    conditions: Vec<u64>,
    injected: bool,
}

impl Alarms {
    /// Nothing is wrong yet; what is promised says how much a scenario may suffer.
    pub fn of(plan: &Plan, promised: &SloBaseline) -> Self {
        let scenarios = promised.scenarios.iter();
        let budget = scenarios
            .filter_map(|(name, of)| Some((name.clone(), of.slis.http5xx.as_ref()?.max_rate)));
        Self {
            plan: plan.clone(),
            budgets: budget.collect(),
            failures: 0,
            probes_failed: 0,
            contact_at: Duration::ZERO,
            unrelated: BTreeMap::new(),
            conditions: vec![0; plan.stop_conditions.len()],
            injected: false,
        }
    }

    /// From here on the plan's own conditions count.
    pub fn inject(&mut self) {
        self.injected = true;
    }

    /// Takes one second in; why the game day has to end, if it has to. `fault` is what was seen
    /// under the fault before this second.
    pub fn sound(&mut self, now: Duration, sight: &Sight, fault: &Seen) -> Option<Abort> {
        if sight.interrupted {
            return Some(Abort::Interrupted);
        }
        let limits = self.plan.limits.clone();
        if sight.contact {
            self.contact_at = now;
        } else if now - self.contact_at >= Duration::from_secs(limits.contact_s) {
            return Some(Abort::Contact);
        }
        // Under a fault that stops the process health suffers as the hypothesis says.
        let pass = sight.probes_pass() || (self.injected && self.plan.concerns("health"));
        self.probes_failed = if pass { 0 } else { self.probes_failed + 1 };
        if self.probes_failed >= limits.probes {
            return Some(Abort::Probes);
        }
        if sight.free_disk_mb.is_some_and(|free| free < limits.free_disk_mb) {
            return Some(Abort::Disk);
        }
        if sight.gauges.and_then(|gauges| gauges.rss_mb).is_some_and(|rss| rss > limits.rss_mb) {
            return Some(Abort::Memory);
        }
        if !self.injected {
            return None;
        }
        self.failures += sight.scenarios.values().map(Tally::failures).sum::<u64>();
        if self.failures > limits.failures {
            return Some(Abort::Failures);
        }
        self.unrelated(sight).or_else(|| self.condition(sight, fault))
    }

    /// The budget of a scenario; of what is not promised by name, that of deliveries.
    fn budget_of(&self, scenario: &str) -> f64 {
        let own = self.budgets.get(scenario).or_else(|| self.budgets.get("whatsapp_webhook"));
        own.copied().unwrap_or_default()
    }

    fn unrelated(&mut self, sight: &Sight) -> Option<Abort> {
        for (name, tally) in &sight.scenarios {
            if self.plan.concerns(name) || tally.total == 0 {
                continue;
            }
            let most = 2.0 * self.budget_of(name);
            let share = tally.http_5xx as f64 / tally.total as f64;
            let seconds = self.unrelated.entry(name.clone()).or_default();
            *seconds = if share > most { *seconds + 1 } else { 0 };
            if *seconds >= self.plan.limits.unrelated_s {
                return Some(Abort::Unrelated(name.clone()));
            }
        }
        None
    }

    fn condition(&mut self, sight: &Sight, fault: &Seen) -> Option<Abort> {
        let mut so_far = fault.clone();
        so_far.add(&sight.scenarios, sight.gauges.as_ref());
        let mut second = Seen::from(fault.before);
        second.add(&sight.scenarios, sight.gauges.as_ref());
        for (stop, seconds) in self.plan.stop_conditions.iter().zip(&mut self.conditions) {
            // A number of failures is over all of the fault, a share over the second.
            let seen = if stop.sli == Sli::Failures { &so_far } else { &second };
            let value = seen.value(&stop.scenario, stop.sli);
            let holds = value.is_some_and(|value| stop.op.holds(value, stop.value));
            *seconds = if holds { *seconds + 1 } else { 0 };
            if *seconds >= stop.for_s.max(1) {
                let (of, sli, sign) = (&stop.scenario, stop.sli.word(), stop.op.sign());
                return Some(Abort::Condition(format!("{of}.{sli} {sign} {}", stop.value)));
            }
        }
        None
    }
}
