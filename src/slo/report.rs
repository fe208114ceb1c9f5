//! The report every tool writes, `sendcat.report/1`: one envelope, exact member names
//! (OPERATIONS.md §4).
//!
//! Latencies are kept as histograms, so windows are merged, never averaged; percentiles beside
//! them are for people. A report carries counts, names and hashes only: no token, signature, body
//! or code has a field to stand in.

pub mod histogram;
pub mod scenario;
#[cfg(test)]
mod tests;
pub mod told;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::histogram::{Histogram, HistogramError, Latencies};
pub use self::scenario::{ErrorKind, Lag, Measured, Scenario, Second, Stage, StageLatency};
pub use self::told::Told;
use crate::slo::policy::owners::Owner;
use crate::slo::verdict::{CheckVerdict, RunVerdict};

/// What the key `schema` of every report says.
pub const SCHEMA: &str = "sendcat.report/1";

/// One run of one tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`SCHEMA`].
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// Which tool wrote it.
    pub kind: Kind,
    /// One run's own name.
    pub id: String,
    /// RFC 3339, UTC, with milliseconds.
    pub started_at: String,
    /// RFC 3339, UTC, with milliseconds.
    pub ended_at: String,
    /// What wrote it.
    pub tool: Version,
    /// Where it ran.
    pub host: Host,
    /// What was looked at.
    pub target: Target,
    /// The files it judged by.
    pub inputs: Vec<Input>,
    /// What every draw of lots came from.
    pub seed: u64,
    /// The profile of load, where the tool has profiles; burn pools runs of one profile only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// `--label k=v`, such as `deploy=2026-02-17.1`, which dashboards mark.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The word.
    pub verdict: RunVerdict,
    /// The exit code that goes with it.
    pub exit_code: u8,
    /// What was held against what.
    pub checks: Vec<Check>,
    /// What was measured.
    pub scenarios: Vec<Scenario>,
    /// The server's own snapshot before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_delta: Option<Value>,
    /// Files that belong to it.
    pub artifacts: Vec<String>,
    /// What to type next.
    pub next: Vec<String>,
    /// Why it is no pass, beside the rows; one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What only this tool has to say; src/report/details.rs has the members that are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// Which tool wrote a report; its file's name begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `sendcat drill`.
    LoadDrill,
    /// `sendcat probe`.
    SyntheticProbes,
    /// `sendcat gate`.
    ReleaseGate,
    /// `sendcat canary`.
    CanaryCheck,
    /// `sendcat gameday`.
    GameDay,
    /// `sendcat dashboard`.
    SloDashboard,
}

impl Kind {
    /// As it begins a file's name.
    pub fn word(self) -> &'static str {
        match self {
            Self::LoadDrill => "load-drill",
            Self::SyntheticProbes => "synthetic-probes",
            Self::ReleaseGate => "release-gate",
            Self::CanaryCheck => "canary-check",
            Self::GameDay => "game-day",
            Self::SloDashboard => "slo-dashboard",
        }
    }
}

/// A program, as it was built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// As in its manifest.
    pub version: String,
    /// The commit, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_sha: Option<String>,
}

/// The machine the tool ran on; a busy one explains an INVALID run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// Processors.
    pub cpus: u32,
    /// Load average of one minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load1: Option<f64>,
    /// Share of time in which some task waited for a processor, percent of the last 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_pressure_before: Option<f64>,
    /// The same, after the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_pressure_after: Option<f64>,
}

/// The server that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Without user and password.
    pub base_url: String,
    /// What it says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The commit it says it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_sha: Option<String>,
    /// Changes with every start of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

/// A file a run was judged by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// As it was given.
    pub path: String,
    /// Of its bytes, hexadecimal.
    pub sha256: String,
}

/// One row: what was observed, the operator, the threshold and the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// `scenario.sli`, and `@class` for one status class.
    pub id: String,
    /// The scenario, or empty.
    pub scenario: String,
    /// The indicator.
    pub sli: String,
    /// Bad events.
    pub bad: u64,
    /// All events.
    pub total: u64,
    /// What was observed; absent where nothing was.
    pub observed: Option<f64>,
    /// The one-sided 95 % bounds of a rate, so that `pass` means the upper is in the threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci95: Option<[f64; 2]>,
    /// `<=`, in words of the threshold.
    pub op: String,
    /// What it was held against.
    pub threshold: f64,
    /// What was found.
    pub verdict: CheckVerdict,
    /// How often the budget would be spent at this rate; absent where there is no budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn: Option<f64>,
    /// Who answers for it.
    pub owner: Owner,
    /// The page of the runbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// One sentence for whoever reads only this row.
    pub why: String,
}

impl Report {
    /// When it ended, since the Unix epoch; `None` if the text is no RFC 3339 time.
    pub fn ended(&self) -> Option<Duration> {
        moment(&self.ended_at)
    }

    /// When it started, since the Unix epoch; `None` if the text is no RFC 3339 time.
    pub fn started(&self) -> Option<Duration> {
        moment(&self.started_at)
    }

    /// The hash of the input whose path ends in a file's name.
    pub fn input_hash(&self, file: &str) -> Option<&str> {
        let named = |input: &&Input| input.path.rsplit(['/', '\\']).next() == Some(file);
        self.inputs.iter().find(named).map(|input| input.sha256.as_str())
    }
}

fn moment(text: &str) -> Option<Duration> {
    let time = humantime::parse_rfc3339(text).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok()
}
