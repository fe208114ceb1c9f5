//! What the server's own snapshot may show after the load: one row a limit, held against plain
//! numbers, each naming whoever answers for the worst of what was seen.

use std::collections::BTreeMap;

use crate::slo::policy::Owners;
use crate::slo::policy::gate::SnapshotPolicy;
use crate::slo::report::Check;
use crate::slo::stats::Share;
use crate::slo::verdict::CheckVerdict;

/// What a snapshot shows, in plain numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Providers whose circuit is open, also by force.
    pub open_circuits: Vec<String>,
    /// Every bulkhead.
    pub bulkheads: Vec<Bulkhead>,
    /// Age of the oldest tool call that waits, milliseconds; 0 if none does.
    pub oldest_queued_age_ms: u64,
    /// Tool calls that were given up, by tool.
    pub dead_jobs: BTreeMap<String, u64>,
    /// Restarts of actors within the window, by actor.
    pub actor_restarts: BTreeMap<String, u64>,
    /// What critical alerts are about that nobody has taken.
    pub unacked_critical_alerts: Vec<String>,
}

/// One bulkhead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bulkhead {
    /// Whose.
    pub provider: String,
    /// Slots in use.
    pub in_flight: u64,
    /// All slots.
    pub max: u64,
}

impl Bulkhead {
    fn used(&self) -> f64 {
        if self.max == 0 { 0.0 } else { self.in_flight as f64 / self.max as f64 }
    }
}

/// What was observed against one limit.
struct Observed {
    key: &'static str,
    observed: f64,
    limit: f64,
    /// Who answers for it.
    subject: String,
    /// What it is, where there is something to name.
    of: String,
}

/// One row for each limit of the policy; all without data where there is no snapshot.
pub(super) fn rows(
    seen: &Result<Seen, String>,
    policy: &SnapshotPolicy,
    owners: &Owners,
) -> Vec<Check> {
    let (nothing, missing) = (Seen::default(), seen.as_ref().err());
    let of = observed(seen.as_ref().unwrap_or(&nothing), policy);
    of.into_iter().map(|observed| row(observed, missing, owners)).collect()
}

fn observed(seen: &Seen, policy: &SnapshotPolicy) -> [Observed; 6] {
    let fullest = seen.bulkheads.iter().max_by(|a, b| a.used().total_cmp(&b.used()));
    let busiest = fullest.map_or("*", |bulkhead| bulkhead.provider.as_str());
    let restarts: u64 = seen.actor_restarts.values().sum();
    let dead: u64 = seen.dead_jobs.values().sum();
    let most = |counts: &BTreeMap<String, u64>| {
        let most = counts.iter().max_by_key(|(_, count)| **count);
        most.filter(|(_, count)| **count > 0).map_or("*".to_owned(), |(name, _)| name.clone())
    };
    let first = |names: &[String]| names.first().cloned().unwrap_or_else(|| "*".to_owned());
    let alert = first(&seen.unacked_critical_alerts);
    let window = policy.window_minutes;
    [
        Observed {
            key: "maxOpenCircuits",
            observed: seen.open_circuits.len() as f64,
            limit: policy.max_open_circuits as f64,
            subject: format!("circuit:{}", first(&seen.open_circuits)),
            of: format!("circuits open: {}", names(&seen.open_circuits)),
        },
        Observed {
            key: "maxBulkheadUtilisation",
            observed: fullest.map_or(0.0, Bulkhead::used),
            limit: policy.max_bulkhead_utilisation,
            subject: format!("bulkhead:{busiest}"),
            of: format!("of the slots of {busiest} are in use, the fullest"),
        },
        Observed {
            key: "maxOldestQueuedAgeMs",
            observed: seen.oldest_queued_age_ms as f64,
            limit: policy.max_oldest_queued_age_ms as f64,
            subject: "jobs:*".to_owned(),
            of: "ms has the oldest tool call waited".to_owned(),
        },
        Observed {
            key: "maxDeadJobs",
            observed: dead as f64,
            limit: policy.max_dead_jobs as f64,
            subject: format!("jobs:{}", most(&seen.dead_jobs)),
            of: format!("tool calls were given up, most of {}", most(&seen.dead_jobs)),
        },
        Observed {
            key: "maxActorRestartsInWindow",
            observed: restarts as f64,
            limit: policy.max_actor_restarts_in_window as f64,
            subject: "check:snapshot.maxActorRestartsInWindow".to_owned(),
            of: format!("restarts in {window} min, most of {}", most(&seen.actor_restarts)),
        },
        Observed {
            key: "maxUnackedCriticalAlerts",
            observed: seen.unacked_critical_alerts.len() as f64,
            limit: policy.max_unacked_critical_alerts as f64,
            // `bulkhead:provider` names its owner as it is; the limiter's have three parts.
            subject: if alert.starts_with("bulkhead:") { alert } else { "ratelimit:*".to_owned() },
            of: format!("alerts that nobody took: {}", names(&seen.unacked_critical_alerts)),
        },
    ]
}

fn names(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn row(observed: Observed, missing: Option<&String>, owners: &Owners) -> Check {
    let Observed { key, observed, limit, subject, of } = observed;
    let over = observed > limit;
    let (verdict, why) = match missing {
        Some(why) => (CheckVerdict::NoData, format!("no snapshot: {why}")),
        None if over => (CheckVerdict::Fail, format!("{observed} {of}; {limit} allowed")),
        None => (CheckVerdict::Pass, format!("{observed} {of}; {limit} allowed")),
    };
    let share = match missing {
        None => Share::new(u64::from(over), 1),
        Some(_) => Share::default(),
    };
    let (owner, runbook) = owners.of(&subject);
    Check {
        id: format!("snapshot.{key}"),
        scenario: String::new(),
        sli: key.to_owned(),
        bad: share.bad,
        total: share.total,
        observed: missing.is_none().then_some(observed),
        ci95: None,
        op: "<=".to_owned(),
        threshold: limit,
        verdict,
        burn: None,
        owner,
        runbook: runbook.map(str::to_owned),
        why,
    }
}
