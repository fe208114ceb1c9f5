//! `release-gate-policy.json`: what a release must show (OPERATIONS.md §4; CONFORMANCE G3, G10).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Policy, Problem, within};

/// What the steps of the release gate require.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatePolicy {
    /// `sendcat.gate/1`.
    #[schemars(extend("const" = "sendcat.gate/1"))]
    pub schema: String,
    /// Which synthetic probes must pass.
    pub probes: ProbePolicy,
    /// Which drill is run.
    pub drill: DrillPolicy,
    /// How fast a budget may burn over reports.
    pub burn_rate: BurnPolicy,
    /// What the server's own snapshot may show.
    pub snapshot: SnapshotPolicy,
}

/// Which synthetic probes must pass, and how often one is asked again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProbePolicy {
    /// `"all"`, or the probes by id.
    pub required: Required,
    /// Retries of a failed probe; each is recorded.
    pub retries: u32,
}

/// All probes, or those named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "\"all\" or a list of probes")]
pub enum Required {
    /// `"all"`.
    All(All),
    /// A list of ids.
    These(Vec<String>),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum All {
    /// `all`.
    All,
}

/// Which drill is run, and what follows when it proves too little.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillPolicy {
    /// The profile that is run.
    pub profile: String,
    /// Whether a row that passes unproven lets the release through.
    pub allow_unproven: bool,
    /// The larger profile at which a scenario with unproven rows is run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_profile: Option<String>,
}

/// How fast a budget may burn, over one report and over many (OPERATIONS.md §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BurnPolicy {
    /// The most for the newest report alone.
    pub short_window_max_burn_rate: f64,
    /// The most for all reports looked at together.
    pub long_window_max_burn_rate: f64,
    /// How many reports are looked at, the newest among them.
    pub lookback_reports: usize,
    /// With fewer reports the long window has no data.
    pub min_reports_for_long_window: usize,
    /// With fewer bad events a burn past its limit is not proved.
    pub min_bad_events: u64,
    /// Older reports are stale: they are not counted.
    pub max_report_age_hours: u64,
}

/// What the server's own snapshot may show after the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotPolicy {
    /// Circuits that may be open.
    pub max_open_circuits: u64,
    /// Used slots of a bulkhead over its capacity, from 0 to 1.
    pub max_bulkhead_utilisation: f64,
    /// Age of the oldest job that waits, milliseconds.
    pub max_oldest_queued_age_ms: u64,
    /// Jobs that were given up.
    pub max_dead_jobs: u64,
    /// Restarts of actors within the window.
    pub max_actor_restarts_in_window: u64,
    /// Critical alerts that nobody has acknowledged.
    pub max_unacked_critical_alerts: u64,
    /// The window that is asked for, minutes.
    pub window_minutes: u64,
}

impl Policy for GatePolicy {
    const FILE: &'static str = "release-gate-policy.json";
    const SCHEMA: &'static str = "sendcat.gate/1";
    const BUILT_IN: &'static str = include_str!("release-gate-policy.json");

    fn schema(&self) -> &str {
        &self.schema
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let drill = [("profile", Some(&self.drill.profile))]
            .into_iter()
            .chain([("escalateProfile", self.drill.escalate_profile.as_ref())]);
        for (name, profile) in drill {
            let Some(profile) = profile else { continue };
            if !PROFILES.contains(&profile.as_str()) {
                let fix = format!("write one of {}", PROFILES.join(", "));
                let what = format!("unknown profile {profile:?}");
                problems.push(Problem::new(format!("drill.{name}"), what, fix));
            }
        }
        if matches!(&self.probes.required, Required::These(ids) if ids.is_empty()) {
            let fix = "write \"all\" or the probes' ids";
            problems.push(Problem::new("probes.required", "no probe is required", fix));
        }
        within(&mut problems, "probes.retries", f64::from(self.probes.retries), 0.0, 10.0);
        self.burn_rate.problems(&mut problems);
        let utilisation = self.snapshot.max_bulkhead_utilisation;
        within(&mut problems, "snapshot.maxBulkheadUtilisation", utilisation, 0.0, 1.0);
        let window = self.snapshot.window_minutes as f64;
        within(&mut problems, "snapshot.windowMinutes", window, 1.0, 1440.0);
        problems
    }
}

/// The profiles of a drill (OPERATIONS.md §3).
pub const PROFILES: [&str; 4] = ["quick", "standard", "burst", "soak"];

impl BurnPolicy {
    fn problems(&self, problems: &mut Vec<Problem>) {
        let (short, long) = (self.short_window_max_burn_rate, self.long_window_max_burn_rate);
        within(problems, "burnRate.shortWindowMaxBurnRate", short, 0.001, 1000.0);
        within(problems, "burnRate.longWindowMaxBurnRate", long, 0.001, 1000.0);
        let lookback = self.lookback_reports as f64;
        within(problems, "burnRate.lookbackReports", lookback, 1.0, 1000.0);
        let least = self.min_reports_for_long_window as f64;
        within(problems, "burnRate.minReportsForLongWindow", least, 1.0, 1000.0);
        within(problems, "burnRate.minBadEvents", self.min_bad_events as f64, 1.0, f64::INFINITY);
        let age = self.max_report_age_hours as f64;
        within(problems, "burnRate.maxReportAgeHours", age, 1.0, f64::INFINITY);
        if self.min_reports_for_long_window > self.lookback_reports {
            let what = format!("{least} reports are needed but {lookback} are looked at");
            let fix = "write at most burnRate.lookbackReports";
            problems.push(Problem::new("burnRate.minReportsForLongWindow", what, fix));
        }
    }
}
