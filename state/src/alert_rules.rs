//! Alerts: what is worth waking somebody for, said once in a while and not once a moment.
//!
//! Two rules raise one. The limiter refused `threshold` calls of one kind or more within `window`;
//! or a provider's bulkhead was full. An alert of one rule about one thing is raised again after
//! its cooldown at the earliest, also across a restart. Alerts are kept for `kept_for`, at most
//! `alerts_max` of them, the oldest going first; the cooldowns do not depend on the rows. One that
//! could not be delivered waits for the next attempt until it ends.
//!
//! Durability: snapshotted, inside the monitor.
//!
//! # Invariants
//! - AL-1: one alert per rule per cooldown.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::events::Series;
use crate::key::{ProviderId, TimedId, names};
use crate::machine::{Apply, Decision};
use crate::timestamp::Timestamp;

names! {
    /// Why an alert is raised. The name is also its chapter of the runbook.
    AlertRule {
        /// Many calls of one kind were refused.
        RateLimitSpike = "rate_limit_spike",
        /// A provider's bulkhead was full.
        BulkheadSaturation = "bulkhead_saturation",
    }
}

impl AlertRule {
    /// Where the runbook says what to do, on the server that raised it.
    pub fn runbook(self) -> String {
        format!("/ops/runbook#{self}")
    }
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlertSubject {
    /// Refusals of one kind.
    Refusals(Series),
    /// The bulkhead of that provider.
    Bulkhead(ProviderId),
}

impl AlertSubject {
    /// The rule that it is raised by.
    pub const fn rule(self) -> AlertRule {
        match self {
            Self::Refusals(_) => AlertRule::RateLimitSpike,
            Self::Bulkhead(_) => AlertRule::BulkheadSaturation,
        }
    }

    /// The name that alerts about it share: `source:bucket:outcome`, or `bulkhead:provider`.
    pub fn key(self) -> String {
        match self {
            Self::Refusals(series) => series.to_string(),
            Self::Bulkhead(provider) => format!("bulkhead:{provider}"),
        }
    }
}

/// How far an alert has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// It is still to be delivered.
    Pending,
    /// It was taken then.
    Delivered(Timestamp),
    /// It was refused for good then.
    Refused(Timestamp),
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its identifier; nobody else has it.
    pub id: TimedId,
    /// What it is about.
    pub subject: AlertSubject,
    /// Events that raised it.
    pub count: u64,
    /// From how many on it is raised.
    pub threshold: u64,
    /// Over how long they were counted; zero if one was enough.
    pub window: Duration,
    /// When it was raised.
    pub created: Timestamp,
    /// Until when it is kept.
    pub ends: Timestamp,
    /// How far it has got.
    pub delivery: Delivery,
}

/// When alerts are raised, and how many are kept for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertRules {
    /// Refusals of one kind that raise an alert.
    pub threshold: u64,
    /// Over how long they are counted.
    pub window: Duration,
    /// How long refusals of that kind raise no other.
    pub cooldown: Duration,
    /// How long the same full bulkhead raises no other.
    pub bulkhead_cooldown: Duration,
    /// How long alerts are kept.
    pub kept_for: Duration,
    /// Alerts kept at most.
    pub alerts_max: usize,
}

/// Every alert of the last day, and when each was raised last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alerts {
    /// Oldest first.
    rows: VecDeque<Alert>,
    /// When each subject was raised last; there are no more of them than kinds and providers.
    raised: BTreeMap<String, Timestamp>,
    dropped: u64,
}

/// What a verb makes of the alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlertChange {
    /// Alerts were raised.
    Raised {
        /// Which.
        alerts: Vec<Alert>,
        /// How many are kept at most.
        keep: usize,
    },
    /// It is known what became of an alert.
    Settled {
        /// Of which.
        id: TimedId,
        /// What.
        delivery: Delivery,
    },
    /// What has ended by then is gone.
    Ended {
        /// By when.
        by: Timestamp,
    },
}

impl Alerts {
    /// Raises an alert for every kind of refusals over the threshold whose cooldown is over; how
    /// many. `random` tells their identifiers from others.
    pub fn evaluate(
        &self,
        now: Timestamp,
        rules: &AlertRules,
        random: u64,
        summary: &BTreeMap<Series, u64>,
    ) -> Decision<usize, AlertChange> {
        let over = summary.iter().filter(|(_, count)| **count >= rules.threshold);
        let due = over
            .map(|(series, count)| (AlertSubject::Refusals(*series), *count))
            .filter(|(subject, _)| self.is_due(now, *subject, rules.cooldown));
        let alert = |(place, (subject, count)): (usize, (AlertSubject, u64))| Alert {
            id: TimedId::new(now, random.wrapping_add(place as u64)),
            subject,
            count,
            threshold: rules.threshold,
            window: rules.window,
            created: now,
            ends: now.after(rules.kept_for),
            delivery: Delivery::Pending,
        };
        let alerts: Vec<_> = due.enumerate().map(alert).collect();
        if alerts.is_empty() {
            return Decision::unchanged(0);
        }
        Decision::new(alerts.len(), AlertChange::Raised { alerts, keep: rules.alerts_max })
    }

    /// Raises an alert for a full bulkhead, unless its cooldown still runs; whether it did.
    pub fn saturated(
        &self,
        now: Timestamp,
        rules: &AlertRules,
        random: u64,
        provider: ProviderId,
    ) -> Decision<bool, AlertChange> {
        let subject = AlertSubject::Bulkhead(provider);
        if !self.is_due(now, subject, rules.bulkhead_cooldown) {
            return Decision::unchanged(false);
        }
        let alert = Alert {
            id: TimedId::new(now, random),
            subject,
            count: 1,
            threshold: 1,
            window: Duration::ZERO,
            created: now,
            ends: now.after(rules.kept_for),
            delivery: Delivery::Pending,
        };
        Decision::new(true, AlertChange::Raised { alerts: vec![alert], keep: rules.alerts_max })
    }

    /// Notes what became of an alert; one that is settled or gone stays as it is.
    pub fn settle(&self, id: TimedId, delivery: Delivery) -> Decision<(), AlertChange> {
        let waits = |alert: &Alert| alert.id == id && alert.delivery == Delivery::Pending;
        if self.rows.iter().any(waits) {
            return Decision::new((), AlertChange::Settled { id, delivery });
        }
        Decision::unchanged(())
    }

    /// Alerts that are still to be delivered, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = &Alert> {
        self.rows.iter().filter(|alert| alert.delivery == Delivery::Pending)
    }

    /// Forgets what has ended.
    pub fn sweep(&self, now: Timestamp) -> Decision<(), AlertChange> {
        if self.rows.front().is_some_and(|alert| alert.ends <= now) {
            return Decision::new((), AlertChange::Ended { by: now });
        }
        Decision::unchanged(())
    }

    /// Every kept alert, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Alert> {
        self.rows.iter().rev()
    }

    /// Alerts that made room for newer ones, since the beginning.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn is_due(&self, now: Timestamp, subject: AlertSubject, cooldown: Duration) -> bool {
        self.raised.get(&subject.key()).is_none_or(|raised| now >= raised.after(cooldown))
    }
}

impl Apply<AlertChange> for Alerts {
    fn apply(&mut self, change: &AlertChange) {
        match change {
            AlertChange::Raised { alerts, keep } => {
                for alert in alerts {
                    self.raised.insert(alert.subject.key(), alert.created);
                    self.rows.push_back(alert.clone());
                }
                let over = self.rows.len().saturating_sub(*keep);
                self.rows.drain(..over);
                self.dropped += over as u64;
            }
            AlertChange::Settled { id, delivery } => {
                for alert in self.rows.iter_mut().filter(|alert| alert.id == *id) {
                    alert.delivery = *delivery;
                }
            }
            AlertChange::Ended { by } => self.rows.retain(|alert| alert.ends > *by),
        }
    }
}
