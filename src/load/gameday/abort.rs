//! What ends a game day at once, looked at each second (OPERATIONS.md §6).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::phase::Sight;
use super::plan::{Plan, Sli};
use super::tally::Seen;

/// How often in a row probes may fail.
const PROBES: u32 = 3;

/// How long the server may be out of reach.
const CONTACT: Duration = Duration::from_secs(5);

/// How long a scenario that has nothing to do with the fault may fail too often.
const UNRELATED_S: u64 = 3;

/// Twice the budget of 1 % that a webhook has; a chat's is 5 %.
const UNRELATED: f64 = 0.02;
const UNRELATED_CHAT: f64 = 0.10;

/// Free disk below which nothing is tried any more.
const DISK_MB: u64 = 512;

/// Memory of the server beyond which nothing is tried any more.
const RSS_MB: f64 = 2048.0;

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
}

/// What is counted of it.
#[derive(Debug)]
pub struct Alarms {
    plan: Plan,
    probes_failed: u32,
    contact_at: Duration,
    unrelated: BTreeMap<String, u64>,
    conditions: Vec<u64>,
    injected: bool,
}

impl Alarms {
    /// Nothing is wrong yet.
    pub fn of(plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
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
        if sight.contact {
            self.contact_at = now;
        } else if now - self.contact_at >= CONTACT {
            return Some(Abort::Contact);
        }
        self.probes_failed = if sight.probes_pass() { 0 } else { self.probes_failed + 1 };
        if self.probes_failed >= PROBES {
            return Some(Abort::Probes);
        }
        if sight.free_disk_mb.is_some_and(|free| free < DISK_MB) {
            return Some(Abort::Disk);
        }
        if sight.gauges.and_then(|gauges| gauges.rss_mb).is_some_and(|rss| rss > RSS_MB) {
            return Some(Abort::Memory);
        }
        if !self.injected {
            return None;
        }
        self.unrelated(sight).or_else(|| self.condition(sight, fault))
    }

    fn unrelated(&mut self, sight: &Sight) -> Option<Abort> {
        for (name, tally) in &sight.scenarios {
            if self.plan.concerns(name) || tally.total == 0 {
                continue;
            }
            let most = if name.starts_with("chat") { UNRELATED_CHAT } else { UNRELATED };
            let share = tally.http_5xx as f64 / tally.total as f64;
            let seconds = self.unrelated.entry(name.clone()).or_default();
            *seconds = if share > most { *seconds + 1 } else { 0 };
            if *seconds >= UNRELATED_S {
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
