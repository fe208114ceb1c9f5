//! What a trend needs of a report. Everything else is skipped unread: a folder may hold hundreds of
//! them, and most of each is its series.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{Input, Kind, Measured, Report, Scenario, Stage, Target, moment};
use crate::slo::verdict::RunVerdict;

/// A report without its rows, series and classes of statuses.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// [`super::SCHEMA`].
    pub schema: String,
    /// Which tool wrote it.
    pub kind: Kind,
    /// One run's own name.
    pub id: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// RFC 3339, UTC.
    pub ended_at: String,
    /// What was looked at.
    pub target: Target,
    /// The files it judged by.
    pub inputs: Vec<Input>,
    /// The word.
    pub verdict: RunVerdict,
    /// The profile of load.
    #[serde(default)]
    pub profile: Option<String>,
    /// Of `--label`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What was measured, without series and classes.
    #[serde(deserialize_with = "counts")]
    pub scenarios: Vec<Scenario>,
}

impl Told {
    /// When it ended, since the Unix epoch; `None` if the text is no RFC 3339 time.
    pub fn ended(&self) -> Option<Duration> {
        moment(&self.ended_at)
    }

    /// When it started, since the Unix epoch; `None` if the text is no RFC 3339 time.
    pub fn started(&self) -> Option<Duration> {
        moment(&self.started_at)
    }

    /// What was deployed: the label `deploy`, else the version that the server gave.
    pub fn deploy(&self) -> &str {
        let deploy = self.labels.get("deploy").or(self.target.version.as_ref());
        deploy.map_or("", String::as_str)
    }

    /// Whether it was judged by the file of that hash.
    pub fn is_judged_by(&self, hash: &str) -> bool {
        self.inputs.iter().any(|input| input.sha256 == hash)
    }

    /// Whether its counts are of a server as it is: a game day breaks things on purpose, and of a
    /// run that was invalid or interrupted nothing is known.
    pub fn tells(&self) -> bool {
        matches!(self.kind, Kind::LoadDrill | Kind::ReleaseGate)
            && !matches!(self.verdict, RunVerdict::Invalid | RunVerdict::Aborted)
    }
}

impl From<&Report> for Told {
    fn from(report: &Report) -> Self {
        Self {
            schema: report.schema.clone(),
            kind: report.kind,
            id: report.id.clone(),
            started_at: report.started_at.clone(),
            ended_at: report.ended_at.clone(),
            target: report.target.clone(),
            inputs: report.inputs.clone(),
            verdict: report.verdict,
            profile: report.profile.clone(),
            labels: report.labels.clone(),
            scenarios: report.scenarios.clone(),
        }
    }
}

fn counts<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Scenario>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Counts {
        id: String,
        stages: Vec<Stage>,
        latency_ms: Measured,
    }
    let counts: Vec<Counts> = Deserialize::deserialize(input)?;
    let scenario = |Counts { id, stages, latency_ms }| Scenario {
        id,
        stages,
        latency_ms,
        ..Scenario::default()
    };
    Ok(counts.into_iter().map(scenario).collect())
}
