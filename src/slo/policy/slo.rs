//! `slo-baseline.json`: what is promised of each scenario (OPERATIONS.md §4; CONFORMANCE L2, L3).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Policy, Problem, within};

/// The objectives of every scenario over one budget window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SloBaseline {
    /// `sendcat.slo/1`.
    #[schemars(extend("const" = "sendcat.slo/1"))]
    pub schema: String,
    /// Over how long a budget runs, in whole days: `30d`.
    pub window: String,
    /// Scenario by name.
    pub scenarios: BTreeMap<String, ScenarioSlo>,
}

/// What is promised of one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScenarioSlo {
    /// Method and path, which also name the owner: `POST /api/chat`.
    pub route: String,
    /// Statuses that are answers by design; any other below 500 is an unknown status.
    pub expected_statuses: Vec<u16>,
    /// The objectives; an indicator that is absent is not gated.
    pub slis: Slis,
}

/// The indicators of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slis {
    /// Time from when a request was due to the end of its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencySlo>,
    /// Answers of status 500 and above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http5xx: Option<Http5xxSlo>,
    /// Requests that got no whole answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<RateSlo>,
    /// Answers of a status nobody expects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_status: Option<RateSlo>,
    /// Time to the first byte of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<LatencySlo>,
    /// Streams that ended without their clean finish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_cut: Option<RateSlo>,
}

/// A share `quantile` of requests takes at most `max_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LatencySlo {
    /// The share that must be in time, 0.95 for a p95.
    pub quantile: f64,
    /// Milliseconds.
    pub max_ms: u64,
}

impl LatencySlo {
    /// The share that may be slower: "p95 ≤ 1500 ms" is "slower than 1500 ms ≤ 5 %"
    /// (OPERATIONS.md §5.1).
    pub fn max_rate(self) -> f64 {
        // 1 − 0.95 is not 0.05 in binary, and the gate must flip exactly there.
        ((1.0 - self.quantile) * 1e9).round() / 1e9
    }
}

/// At most this share of events is bad.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateSlo {
    /// From 0 to 1.
    pub max_rate: f64,
}

/// At most this share of answers is a 5xx, statuses apart that are refusals by design.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http5xxSlo {
    /// From 0 to 1.
    pub max_rate: f64,
    /// Statuses that do not count as bad, such as a full bulkhead's 503; every row prints them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<u16>,
}

impl SloBaseline {
    /// The budget window in hours; `None` if it is not written as whole days.
    pub fn window_hours(&self) -> Option<f64> {
        let days: u32 = self.window.strip_suffix('d')?.parse().ok()?;
        (days > 0).then(|| f64::from(days) * 24.0)
    }
}

impl ScenarioSlo {
    /// How its owner is looked up: `route:/api/chat`.
    pub fn subject(&self) -> String {
        format!("route:{}", self.route.rsplit(' ').next().unwrap_or_default())
    }
}

impl Policy for SloBaseline {
    const FILE: &'static str = "slo-baseline.json";
    const SCHEMA: &'static str = "sendcat.slo/1";
    const BUILT_IN: &'static str = include_str!("slo-baseline.json");

    fn schema(&self) -> &str {
        &self.schema
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.window_hours().is_none() {
            let what = format!("{:?} is no window", self.window);
            problems.push(Problem::new("window", what, "write whole days, such as \"30d\""));
        }
        if self.scenarios.is_empty() {
            problems.push(Problem::new("scenarios", "nothing is promised", "add a scenario"));
        }
        for (name, scenario) in &self.scenarios {
            scenario.problems(&format!("scenarios.{name}"), &mut problems);
        }
        problems
    }
}

impl ScenarioSlo {
    fn problems(&self, path: &str, problems: &mut Vec<Problem>) {
        if !self.route.split_once(' ').is_some_and(|(_, path)| path.starts_with('/')) {
            let what = format!("{:?} is no route", self.route);
            let fix = "write method and path, such as \"POST /api/chat\"";
            problems.push(Problem::new(format!("{path}.route"), what, fix));
        }
        statuses(&self.expected_statuses, 100, &format!("{path}.expectedStatuses"), problems);
        let slis = &self.slis;
        if *slis == Slis::default() {
            let fix = "add one of latency, http5xx, network, unknownStatus, firstByte, streamCut";
            problems.push(Problem::new(format!("{path}.slis"), "nothing is promised", fix));
        }
        for (name, slo) in [("latency", slis.latency), ("firstByte", slis.first_byte)] {
            let Some(slo) = slo else { continue };
            within(problems, &format!("{path}.slis.{name}.quantile"), slo.quantile, 0.5, 0.9999);
            let max = slo.max_ms as f64;
            within(problems, &format!("{path}.slis.{name}.maxMs"), max, 1.0, 120_000.0);
        }
        let http5xx = slis.http5xx.as_ref().map(|slo| slo.max_rate);
        let rate = |slo: Option<RateSlo>| slo.map(|slo| slo.max_rate);
        for (name, max_rate) in [
            ("http5xx", http5xx),
            ("network", rate(slis.network)),
            ("unknownStatus", rate(slis.unknown_status)),
            ("streamCut", rate(slis.stream_cut)),
        ] {
            let Some(max_rate) = max_rate else { continue };
            let path = format!("{path}.slis.{name}.maxRate");
            // A budget of nothing cannot be proved by any number of requests.
            within(problems, &path, max_rate, 0.0001, 0.9999);
        }
        if let Some(slo) = &slis.http5xx {
            statuses(&slo.exclude, 500, &format!("{path}.slis.http5xx.exclude"), problems);
        }
    }
}

fn statuses(statuses: &[u16], low: u16, path: &str, problems: &mut Vec<Problem>) {
    for (place, status) in statuses.iter().enumerate() {
        let path = format!("{path}[{place}]");
        within(problems, &path, f64::from(*status), f64::from(low), 599.0);
    }
}
