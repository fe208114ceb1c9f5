//! `sendcat gate --schema NAME`: the JSON schema of what the tools read and write, from the types
//! that do.

use clap::ValueEnum;
use schemars::{JsonSchema, schema_for};

use crate::load::gameday::plan::Plan;
use crate::slo::policy::{CanaryPolicy, GatePolicy, Owners, SloBaseline};
use crate::slo::report::Report;

/// What has a schema, by the name of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Described {
    /// What is promised.
    SloBaseline,
    /// What a release must show.
    ReleaseGatePolicy,
    /// How much worse a candidate may be.
    CanaryPolicy,
    /// Who answers for what.
    OwnershipMatrix,
    /// The plan of a game day.
    GameDay,
    /// What every tool writes.
    Report,
}

impl Described {
    /// The schema, of JSON Schema 2020-12.
    pub(super) fn schema(self) -> String {
        fn of<T: JsonSchema>() -> schemars::Schema {
            schema_for!(T)
        }
        let schema = match self {
            Self::SloBaseline => of::<SloBaseline>(),
            Self::ReleaseGatePolicy => of::<GatePolicy>(),
            Self::CanaryPolicy => of::<CanaryPolicy>(),
            Self::OwnershipMatrix => of::<Owners>(),
            Self::GameDay => of::<Plan>(),
            Self::Report => of::<Report>(),
        };
        serde_json::to_string_pretty(&schema).expect("a schema always encodes")
    }
}
