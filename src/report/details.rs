//! The members of a report's `details` that pages show. A tool writes these and may write more.
//!
//! - `gameday`: `{"faults": [Fault, …]}`, times in seconds since the report's `startedAt`.
//! - `canary`: `{"rows": [MetricRow, …]}`, as the judge's rows are written, each with `margin` in
//!   words if there is one. Its scenarios are named by arm, `chat_stream_http@control` and
//!   `chat_stream_http@candidate`, so that two spectra can be laid over each other.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// One fault of a game day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fault {
    /// Its name, `actor.kill`.
    pub fault: String,
    /// `HELD`, `DEVIATED`, `NO_EFFECT` or `ABORTED`.
    pub score: String,
    /// When it was injected.
    pub injected_s: f64,
    /// When it was taken back.
    pub reverted_s: f64,
    /// When the first alert told of it.
    pub detected_s: Option<f64>,
    /// When all was as before.
    pub recovered_s: Option<f64>,
    /// Requests that went wrong meanwhile.
    pub requests_hurt: u64,
    /// The page of the runbook it exercised.
    pub runbook: Option<String>,
}

/// One metric of a canary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricRow {
    /// The scenario.
    pub scenario: String,
    /// The metric.
    pub metric: String,
    /// Control's value.
    pub control: Option<f64>,
    /// Candidate's value.
    pub candidate: Option<f64>,
    /// How large an effect the policy lets pass, in words.
    pub margin: Option<String>,
    /// The chance of so large a difference from the same server.
    pub p: Option<f64>,
    /// The verdict's word.
    pub verdict: String,
}

/// The rows of a member; what cannot be read as one is left out, for a page never fails.
pub(super) fn rows<T: DeserializeOwned>(details: Option<&Value>, member: &str) -> Vec<T> {
    let rows = details.and_then(|details| details.get(member)?.as_array());
    let read = |row: &Value| serde_json::from_value(row.clone()).ok();
    rows.into_iter().flatten().filter_map(read).collect()
}
