//! What was measured of one scenario: load step by step, latencies, second by second.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Histogram, Latencies};

/// What was measured of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
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
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
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

fn is_nothing(count: &u64) -> bool {
    *count == 0
}
