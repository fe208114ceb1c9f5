//! A game day's plan: one fault, what is expected while it is there, and when to stop
//! (OPERATIONS.md §6). A plan without a hypothesis or a stop condition is refused with its line.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::abort::Limits;
use super::catalog::{self, Maker};
use super::tally::Seen;
use crate::slo::policy::{Policy, Problem};

/// One fault on one target, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// Its name in reports and in the journal.
    pub id: String,
    /// Which fault; `sendcat gameday --list` has them all.
    pub fault: String,
    /// The fault's numbers.
    #[serde(default)]
    pub params: BTreeMap<String, i64>,
    /// What it is on, where that is to choose.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// After so many seconds the server takes it back by itself.
    pub ttl_s: u64,
    /// What is true while the fault is there.
    pub hypothesis: Vec<Expectation>,
    /// Seconds looked at before.
    #[serde(default = "baseline")]
    pub baseline_s: u64,
    /// Seconds under the fault.
    pub fault_s: u64,
    /// Seconds that the server has to recover.
    pub recovery_s: u64,
    /// What ends the game day at once.
    pub stop_conditions: Vec<StopCondition>,
    /// What ends it whatever it plays.
    #[serde(default)]
    pub limits: Limits,
    /// The tool starts a server of its own for it: what recovers by a restart alone must not be
    /// done to anybody's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_server: bool,
}

fn baseline() -> u64 {
    30
}

/// What an indicator is held against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expectation {
    /// Which indicator.
    pub sli: Sli,
    /// Of which scenario; `server` for what its operators see.
    pub scenario: String,
    /// How it is compared.
    pub op: Op,
    /// With what.
    pub value: f64,
}

/// What must not stay true for so long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StopCondition {
    /// Which indicator.
    pub sli: Sli,
    /// Of which scenario.
    pub scenario: String,
    /// How it is compared.
    pub op: Op,
    /// With what.
    pub value: f64,
    /// In so many seconds in a row.
    #[serde(default = "one", rename = "forS")]
    pub for_s: u64,
}

fn one() -> u64 {
    1
}

/// An indicator. Those of a scenario are over what was answered, those of the server over its
/// seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Sli {
    /// Share of answers that are 5xx.
    Http5xx,
    /// Share of 5xx that are 500: never by design.
    Http500,
    /// Share without a whole answer, a stream's clean end included.
    Network,
    /// Share of duplicates that were not told from fresh deliveries.
    Unreplayed,
    /// The slowest, in milliseconds.
    MaxMs,
    /// What 99 of a hundred took at most since they were due, in milliseconds.
    P99Ms,
    /// Answers that were 5xx, or none.
    Failures,
    /// Most circuits open at once.
    CircuitsOpen,
    /// Restarts of actors since the fault began, of any cause.
    Restarts,
    /// Restarts of those that hung.
    HangRestarts,
    /// Most actors that were given up.
    ActorsDown,
    /// The fullest bulkhead, calls in flight.
    InFlight,
    /// The longest mailbox.
    MailboxDepth,
    /// Memory of the process beyond its baseline, in MB.
    RssGrowthMb,
    /// Whether readiness said `degraded` or 503.
    Degraded,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Op {
    /// At most.
    #[serde(rename = "<=")]
    AtMost,
    /// At least.
    #[serde(rename = ">=")]
    AtLeast,
    /// Less than.
    #[serde(rename = "<")]
    Below,
    /// More than.
    #[serde(rename = ">")]
    Above,
    /// Just that.
    #[serde(rename = "==")]
    Equal,
}

impl Op {
    /// Whether `left op right`.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::AtMost => left <= right,
            Self::AtLeast => left >= right,
            Self::Below => left < right,
            Self::Above => left > right,
            Self::Equal => (left - right).abs() < f64::EPSILON,
        }
    }

    /// As it is written.
    pub fn sign(self) -> &'static str {
        match self {
            Self::AtMost => "<=",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::Above => ">",
            Self::Equal => "==",
        }
    }
}

impl Sli {
    /// Whether it is the server's, not a scenario's.
    pub fn is_of_server(self) -> bool {
        match self {
            Self::Http5xx
            | Self::Http500
            | Self::Network
            | Self::Unreplayed
            | Self::MaxMs
            | Self::P99Ms
            | Self::Failures => false,
            Self::CircuitsOpen
            | Self::Restarts
            | Self::HangRestarts
            | Self::ActorsDown
            | Self::InFlight
            | Self::MailboxDepth
            | Self::RssGrowthMb
            | Self::Degraded => true,
        }
    }

    /// As it is written.
    pub fn word(self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|word| Some(word.as_str()?.to_owned()))
            .unwrap_or_default()
    }
}

/// What scenarios are called that are not the server itself.
pub const SCENARIOS: &[&str] =
    &["health", "whatsapp_webhook", "whatsapp_replay", "chat_stream_http", "attack", "restart"];

/// The scenario of what operators see.
pub const SERVER: &str = "server";

impl Plan {
    /// Whether the tool starts a server of its own for it.
    pub fn needs_own_server(&self) -> bool {
        self.own_server || catalog::of(&self.fault).is_some_and(|kind| kind.maker == Maker::Own)
    }

    /// Whether a scenario has a hypothesis of its own: it may suffer as that says.
    pub fn concerns(&self, scenario: &str) -> bool {
        self.hypothesis.iter().any(|each| each.scenario == scenario)
    }

    /// The value of each expectation over what was seen, in the order of the plan.
    pub fn observed<'a>(
        &'a self,
        seen: &'a Seen,
    ) -> impl Iterator<Item = (&'a Expectation, Option<f64>)> {
        self.hypothesis.iter().map(|each| (each, seen.value(&each.scenario, each.sli)))
    }
}

impl Policy for Plan {
    const FILE: &'static str = "game-day.json";
    const SCHEMA: &'static str = "";
    const BUILT_IN: &'static str = "";

    fn schema(&self) -> &str {
        Self::SCHEMA
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |path: &str, what: String, fix: &str| {
            problems.push(Problem::new(path, what, fix));
        };
        if self.id.is_empty() {
            wrong("id", "it is empty".into(), "name the plan");
        }
        if catalog::of(&self.fault).is_none() {
            let what = format!("there is no fault {:?}", self.fault);
            wrong("fault", what, "write one of `sendcat gameday --list`");
        }
        if self.hypothesis.is_empty() {
            let what = "a plan without a hypothesis shows nothing".into();
            wrong("hypothesis", what, "write what must be true while the fault is there");
        }
        if self.stop_conditions.is_empty() {
            let what = "a plan without a stop condition does not know when it hurts".into();
            wrong("stopConditions", what, "write what must end the game day at once");
        }
        if !(1..=300).contains(&self.ttl_s) || self.ttl_s < self.fault_s {
            let what = format!("{} s is out of range", self.ttl_s);
            wrong("ttlS", what, "write at least faultS, and at most 300");
        }
        let spans = [("baselineS", self.baseline_s), ("faultS", self.fault_s)];
        for (path, span) in spans.into_iter().chain([("recoveryS", self.recovery_s)]) {
            if !(1..=300).contains(&span) {
                wrong(path, format!("{span} s is out of range"), "write 1 to 300");
            }
        }
        let expected = self.hypothesis.iter().map(|each| (each.sli, &each.scenario));
        let stops = self.stop_conditions.iter().map(|each| (each.sli, &each.scenario));
        let lists = [("hypothesis", expected.collect()), ("stopConditions", stops.collect())];
        let lists: [(&str, Vec<_>); 2] = lists;
        for (list, rows) in lists {
            for (nth, (sli, scenario)) in rows.into_iter().enumerate() {
                let known = if sli.is_of_server() {
                    scenario == SERVER
                } else {
                    SCENARIOS.contains(&scenario.as_str())
                };
                if !known {
                    let what = format!("{scenario:?} has no {}", sli.word());
                    let fix = format!("write {SERVER:?} or one of {}", SCENARIOS.join(", "));
                    wrong(&format!("{list}[{nth}].scenario"), what, &fix);
                }
            }
        }
        problems
    }
}
