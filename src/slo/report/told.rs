//! What a trend needs of a report. Everything else is skipped unread: a folder may hold hundreds of
//! them, and most of each is its series.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Input, Kind, Lag, Measured, Report, Scenario, Stage, Target, moment};
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
    /// What a text tells. Our tools write snapshots and details last, and there it stops reading;
    /// members in any other order are read as well.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(text: &str) -> serde_json::Result<Self> {
        let mut partial = Partial::default();
        // Ending early is an error to the reader, and none to us.
        let _ = serde_json::Deserializer::from_str(text).deserialize_map(&mut partial);
        match partial.whole() {
            Some(told) => Ok(told),
            None => serde_json::from_str(text),
        }
    }

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
    // Whole: what is empty by default would be made, histograms included, and thrown away.
    let scenario = |Counts { id, stages, latency_ms }| Scenario {
        id,
        model: String::new(),
        stages,
        lag_ms: Lag::default(),
        latency_ms,
        by_status_class: BTreeMap::new(),
        series: Vec::new(),
    };
    Ok(counts.into_iter().map(scenario).collect())
}

/// Members as they come.
#[derive(Default)]
struct Partial {
    schema: Option<String>,
    kind: Option<Kind>,
    id: Option<String>,
    started_at: Option<String>,
    ended_at: Option<String>,
    target: Option<Target>,
    inputs: Option<Vec<Input>>,
    verdict: Option<RunVerdict>,
    profile: Option<String>,
    labels: BTreeMap<String, String>,
    scenarios: Option<Vec<Scenario>>,
}

impl Partial {
    /// The report, if nothing of it can come any more: a profile stands before the scenarios.
    fn whole(self) -> Option<Told> {
        Some(Told {
            schema: self.schema?,
            kind: self.kind?,
            id: self.id?,
            started_at: self.started_at?,
            ended_at: self.ended_at?,
            target: self.target?,
            inputs: self.inputs?,
            verdict: self.verdict?,
            profile: Some(self.profile?),
            labels: self.labels,
            scenarios: self.scenarios?,
        })
    }
}

impl<'de> Visitor<'de> for &mut Partial {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a report")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        struct Measurements(#[serde(deserialize_with = "counts")] Vec<Scenario>);
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "schema" => self.schema = members.next_value()?,
                "kind" => self.kind = members.next_value()?,
                "id" => self.id = members.next_value()?,
                "startedAt" => self.started_at = members.next_value()?,
                "endedAt" => self.ended_at = members.next_value()?,
                "target" => self.target = members.next_value()?,
                "inputs" => self.inputs = members.next_value()?,
                "verdict" => self.verdict = members.next_value()?,
                "profile" => self.profile = members.next_value()?,
                "labels" => self.labels = members.next_value()?,
                "scenarios" => {
                    let Measurements(scenarios) = members.next_value()?;
                    self.scenarios = Some(scenarios);
                    if self.profile.is_some() {
                        return Err(A::Error::custom("all that is needed was read"));
                    }
                }
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}
