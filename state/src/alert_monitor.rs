//! The monitor: limiter events and the alerts that are raised of them, one writer for both.
//!
//! Durability: snapshotted. A crash of the process loses at most one interval of events, and no
//! cooldown that is older than that.

use serde::{Deserialize, Serialize};

use crate::alert_rules::{Alert, AlertChange, AlertRules, Alerts, Delivery};
use crate::events::{EventChange, EventRules, Events, Recorded, Refused};
use crate::key::{ProviderId, TimedId};
use crate::machine::{Apply, Decision};
use crate::timestamp::Timestamp;

/// The rules of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonitorRules {
    /// Of events.
    pub events: EventRules,
    /// Of alerts.
    pub alerts: AlertRules,
}

/// Events and alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertMonitor {
    events: Events,
    alerts: Alerts,
}

/// What a verb makes of the monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MonitorChange {
    /// Of its events.
    Events(EventChange),
    /// Of its alerts.
    Alerts(AlertChange),
}

/// What an evaluation came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluated {
    /// Alerts that it raised.
    pub created: usize,
}

impl AlertMonitor {
    /// Records one refusal.
    pub fn record(
        &self,
        now: Timestamp,
        rules: &MonitorRules,
        refused: Refused,
    ) -> Decision<Recorded, MonitorChange> {
        self.events.record(now, &rules.events, refused).wrap(MonitorChange::Events)
    }

    /// Raises what the events of the window are worth; `random` tells alerts from others.
    pub fn evaluate(
        &self,
        now: Timestamp,
        rules: &MonitorRules,
        random: u64,
    ) -> Decision<Evaluated, MonitorChange> {
        let summary = self.events.summary(now, rules.alerts.window);
        let raised = self.alerts.evaluate(now, &rules.alerts, random, &summary);
        raised.map(|created| Evaluated { created }).wrap(MonitorChange::Alerts)
    }

    /// Raises an alert for a full bulkhead, unless its cooldown still runs; whether it did.
    pub fn saturated(
        &self,
        now: Timestamp,
        rules: &MonitorRules,
        random: u64,
        provider: ProviderId,
    ) -> Decision<bool, MonitorChange> {
        self.alerts.saturated(now, &rules.alerts, random, provider).wrap(MonitorChange::Alerts)
    }

    /// Up to so many alerts that are still to be delivered, oldest first.
    pub fn pending(&self, most: usize) -> Vec<Alert> {
        self.alerts.pending().take(most).cloned().collect()
    }

    /// Notes what became of an alert.
    pub fn settle(&self, id: TimedId, delivery: Delivery) -> Decision<(), MonitorChange> {
        self.alerts.settle(id, delivery).wrap(MonitorChange::Alerts)
    }

    /// Forgets what has ended: events first, then alerts.
    pub fn sweep(&self, now: Timestamp) -> Decision<(), MonitorChange> {
        let events = self.events.sweep(now);
        if events.change.is_some() {
            return events.wrap(MonitorChange::Events);
        }
        self.alerts.sweep(now).wrap(MonitorChange::Alerts)
    }

    /// Its events.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Its alerts.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }
}

impl Apply<MonitorChange> for AlertMonitor {
    fn apply(&mut self, change: &MonitorChange) {
        match change {
            MonitorChange::Events(change) => self.events.apply(change),
            MonitorChange::Alerts(change) => self.alerts.apply(change),
        }
    }
}
