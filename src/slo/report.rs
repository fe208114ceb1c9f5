//! The report every tool writes, `sendcat.report/1`: one envelope, exact member names
//! (OPERATIONS.md §4).
//!
//! Latencies are kept as histograms, so windows are merged, never averaged; percentiles beside
//! them are for people. A report carries counts, names and hashes only: no token, signature, body
//! or code has a field to stand in.

pub mod histogram;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::histogram::{Histogram, HistogramError, Latencies};
use crate::slo::policy::owners::Owner;
use crate::slo::verdict::{CheckVerdict, RunVerdict};

/// What the key `schema` of every report says.
pub const SCHEMA: &str = "sendcat.report/1";

/// One run of one tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`SCHEMA`].
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
    /// The profile of load, where the tool has profiles; burn pools runs of one profile only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// `--label k=v`, such as `deploy=2026-02-17.1`, which dashboards mark.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Why it is no pass, beside the rows; one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What only this tool has to say; src/report/details.rs has the members that are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// Which tool wrote a report; its file's name begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// As in its manifest.
    pub version: String,
    /// The commit, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_sha: Option<String>,
}

/// The machine the tool ran on; a busy one explains an INVALID run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// As it was given.
    pub path: String,
    /// Of its bytes, hexadecimal.
    pub sha256: String,
}

/// One row: what was observed, the operator, the threshold and the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// What was measured of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scenario {
    /// Its name.
    pub id: String,
    /// `open` or `closed`.
    pub model: String,
    /// Load step by step.
    pub stages: Vec<Stage>,
    /// How late requests were sent.
    pub lag_ms: Lag,
    /// Over all answers.
    pub latency_ms: Measured,
    /// For each class of statuses, `2xx`, or status that is a class of its own, `429`.
    pub by_status_class: BTreeMap<String, Measured>,
    /// Second by second.
    pub series: Vec<Second>,
}

/// One step of load.
///
/// `planned = started + dropped`, and `started = Σ statuses + Σ errors` (OPERATIONS.md §7).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Requests a second, as planned.
    pub rate: f64,
    /// Quiet after its last arrival, milliseconds.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub pause_after_ms: u64,
    /// Arrivals of the schedule.
    pub planned: u64,
    /// Arrivals that were sent.
    pub started: u64,
    /// Arrivals that waited 10 s for a free slot and were given up.
    pub dropped: u64,
    /// Arrivals sent more than 100 ms late.
    #[serde(rename = "lateOver100ms")]
    pub late_over_100_ms: u64,
    /// Whole answers a second.
    pub throughput: f64,
    /// Whole answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without a whole answer, by [`ErrorKind`].
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Of its answers, corrected (CONFORMANCE L4). For people: merge the scenario's histograms.
    #[serde(default)]
    pub latency_ms: StageLatency,
}

/// Percentiles of one step of load, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageLatency {
    /// The median.
    pub p50: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
}

impl StageLatency {
    /// The percentiles of a histogram.
    pub fn of(histogram: &Histogram) -> Self {
        let at = |q| histogram.quantile_ms(q);
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }
}

/// Why a request got no whole answer (OPERATIONS.md §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// No connection.
    Connect,
    /// The connection was reset.
    Reset,
    /// Nothing within the client's deadline.
    Timeout,
    /// A pooled connection closed under the request.
    PoolRace,
    /// No agreement on encryption.
    Tls,
    /// The body ended before its length.
    BodyCut,
    /// The body stopped coming.
    Stall,
    /// No address.
    Dns,
    /// A stream without its clean finish: an indicator of its own, not of the network.
    #[serde(rename = "streamCut")]
    StreamCut,
}

/// How late requests were sent, milliseconds; subtracted from nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lag {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The most.
    pub max: f64,
}

/// Latencies of the same requests, each from its own start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// From when the request was due: what a user waits.
    pub corrected: Latencies,
    /// From when it was sent: what most tools show.
    pub service: Latencies,
    /// From when it was due to the first byte of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Latencies>,
}

/// One second of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Second {
    /// Seconds since the start.
    pub t: u64,
    /// Requests sent.
    pub started: u64,
    /// Answers that came.
    pub done: u64,
    /// Of those, bad ones.
    pub bad: u64,
    /// Milliseconds, corrected.
    pub p50: f64,
    /// Milliseconds, corrected.
    pub p95: f64,
    /// Milliseconds, corrected.
    pub p99: f64,
    /// Requests without an answer yet.
    pub inflight: u64,
}

impl Scenario {
    /// Whole answers by status, over all stages.
    pub fn statuses(&self) -> BTreeMap<u16, u64> {
        added(self.stages.iter().flat_map(|stage| &stage.statuses))
    }

    /// Requests without a whole answer by kind, over all stages.
    pub fn errors(&self) -> BTreeMap<ErrorKind, u64> {
        added(self.stages.iter().flat_map(|stage| &stage.errors))
    }

    /// Arrivals that were never sent, over all stages.
    pub fn dropped(&self) -> u64 {
        self.stages.iter().map(|stage| stage.dropped).sum()
    }

    /// Whether every arrival of every stage is accounted for once.
    pub fn conserves(&self) -> bool {
        self.stages.iter().all(|stage| {
            let ended: u64 = stage.statuses.values().chain(stage.errors.values()).sum();
            stage.planned == stage.started + stage.dropped && stage.started == ended
        })
    }
}

fn added<'a, K: Copy + Ord + 'a>(
    counts: impl Iterator<Item = (&'a K, &'a u64)>,
) -> BTreeMap<K, u64> {
    let mut sums = BTreeMap::new();
    for (key, count) in counts {
        *sums.entry(*key).or_default() += count;
    }
    sums
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

fn is_nothing(count: &u64) -> bool {
    *count == 0
}

fn moment(text: &str) -> Option<Duration> {
    let time = humantime::parse_rfc3339(text).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok()
}
