//! The members of a report's `details` that pages show, as the tools write them.
//!
//! - `canary`: [`slo::canary::kept::Details`](crate::slo::canary::kept::Details), the judge's own
//!   type. Its scenarios are named by arm, `chat_stream_http@control` and
//!   `chat_stream_http@candidate`, so that two spectra can be laid over each other.
//! - `gameday`: `{"gameDays": [GameDay, …]}`, of which [`GameDay`] is what a page needs; what more
//!   stands there is for machines.
//!
//! A page never fails: what cannot be read is left out.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::slo::canary::{Row, Unit};

/// One fault of a game day. Times are milliseconds, each game day's from its own start.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GameDay {
    /// What was to be done.
    pub plan: Plan,
    /// `HELD`, `DEVIATED`, `NO_EFFECT` or `ABORTED`.
    pub score: String,
    /// The page of the runbook it exercised.
    pub runbook: Option<String>,
    /// How often the fault has bitten.
    pub witness: u64,
    /// From the fault to the first sign of it that operators see.
    pub time_to_detect_ms: Option<f64>,
    /// From the revert to the first calm second.
    pub time_to_recover_ms: Option<f64>,
    /// Requests that went wrong from the fault on.
    pub requests_hurt: u64,
    /// Whether the fault was seen to be gone; absent if it never was in force.
    pub revert_verified: Option<bool>,
    /// Second by second.
    pub timeline: Vec<Look>,
}

/// A plan by its names.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Plan {
    /// The plan's own name.
    pub id: String,
    /// The fault's, `actor.kill`.
    pub fault: String,
}

/// One second, as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Look {
    /// Since the start of this game day.
    pub t_ms: f64,
    /// `baseline`, `noop`, `fault`, `revert` or `recovery`, as it stood before this second.
    pub phase: String,
    /// Requests that ended, by scenario.
    pub scenarios: BTreeMap<String, Ended>,
}

/// Requests of one scenario in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ended {
    /// All that ended.
    pub total: u64,
    /// Answered 5xx.
    pub http5xx: u64,
    /// Without a whole answer.
    pub network: u64,
    /// Duplicates that were not told from fresh deliveries.
    pub unreplayed: u64,
}

impl Look {
    /// All that ended in it.
    pub fn total(&self) -> u64 {
        self.scenarios.values().map(|ended| ended.total).sum()
    }

    /// Those that somebody would have noticed.
    pub fn hurt(&self) -> u64 {
        let hurt = |ended: &Ended| ended.http5xx + ended.network + ended.unreplayed;
        self.scenarios.values().map(hurt).sum()
    }
}

impl GameDay {
    /// When the fault was injected and when it was taken back, seconds; `None` if it never was in
    /// force.
    pub fn in_force_s(&self) -> Option<(f64, f64)> {
        let is_under = |look: &Look| look.phase == "fault";
        let first = self.timeline.iter().position(is_under)?;
        let last = self.timeline.iter().rposition(is_under)?;
        // A row is named for the phase it found: the last one before has put the fault in force.
        let from = &self.timeline[first.saturating_sub(1)];
        Some((from.t_ms / 1000.0, self.timeline[last].t_ms / 1000.0))
    }

    /// When operators first saw a sign of the fault, seconds.
    pub fn detected_s(&self) -> Option<f64> {
        Some(self.in_force_s()?.0 + self.time_to_detect_ms? / 1000.0)
    }

    /// When all was as before, seconds.
    pub fn recovered_s(&self) -> Option<f64> {
        Some(self.in_force_s()?.1 + self.time_to_recover_ms? / 1000.0)
    }
}

/// A value of a metric in its unit.
pub(super) fn in_unit(value: Option<f64>, unit: Unit) -> String {
    match (value, unit) {
        (None, _) => "no data".to_owned(),
        (Some(value), Unit::Rate) => super::percent(value),
        (Some(value), Unit::Ms) => format!("{value:.2} ms"),
    }
}

/// Candidate less control, in the metric's unit.
pub(super) fn effect(row: &Row) -> String {
    match (row.effect, row.unit) {
        (None, _) => "–".to_owned(),
        (Some(effect), Unit::Rate) => format!("{:+.2} pp", effect * 100.0),
        (Some(effect), Unit::Ms) => format!("{effect:+.2} ms"),
    }
}

/// How much worse the policy lets a candidate be, in words.
pub(super) fn margin(row: &Row) -> String {
    match (row.unit, row.margin.max_ratio) {
        (Unit::Rate, _) => format!("+{:.2} pp", row.margin.max_delta * 100.0),
        (Unit::Ms, Some(ratio)) => format!("×{ratio} and +{} ms", row.margin.max_delta),
        (Unit::Ms, None) => format!("+{} ms", row.margin.max_delta),
    }
}

/// The rows of a member; what cannot be read as one is left out, for a page never fails.
pub(super) fn rows<T: DeserializeOwned>(details: Option<&Value>, member: &str) -> Vec<T> {
    let rows = details.and_then(|details| details.get(member)?.as_array());
    let read = |row: &Value| serde_json::from_value(row.clone()).ok();
    rows.into_iter().flatten().filter_map(read).collect()
}
