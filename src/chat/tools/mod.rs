//! The tools offered to the model, one row each.
//!
//! A call goes from the turn's `desk` to the cache, then to the queue; a worker's `runner` takes it
//! from there to the providers. Whatever goes wrong is words that the model can read, and the chat
//! goes on.

mod arguments;
mod desk;
mod flight;
mod global;
mod merge;
mod products;
mod runner;
mod shops;
mod wanted;
mod web;
mod words;

use sendcat_state::key::ToolKind;

use crate::contract::ui_stream::Json;
use crate::upstream::openrouter::Tool;

use arguments::Takes;
pub use desk::{Desk, Errands, Outcome};
pub use runner::ToolRunner;
pub use wanted::Wanted;

/// One tool.
pub struct ToolRow {
    /// Which.
    pub kind: ToolKind,
    /// When the model should call it.
    description: &'static str,
    /// The JSON schema of its arguments.
    parameters: &'static str,
    /// Which of them it has.
    takes: Takes,
}

/// Every tool that is offered.
pub const TOOLS: &[ToolRow] = &[
    ToolRow {
        kind: ToolKind::SearchWeb,
        description: web::DESCRIPTION,
        parameters: web::PARAMETERS,
        takes: Takes::Place,
    },
    ToolRow {
        kind: ToolKind::SearchProducts,
        description: products::DESCRIPTION,
        parameters: products::PARAMETERS,
        takes: Takes::Filters,
    },
    ToolRow {
        kind: ToolKind::SearchGlobal,
        description: global::DESCRIPTION,
        parameters: global::PARAMETERS,
        takes: Takes::Place,
    },
];

/// The tools as the model is told of them.
pub fn offered() -> Vec<Tool> {
    let tool = |row: &ToolRow| Tool {
        name: row.kind.as_str().to_owned(),
        description: row.description.to_owned(),
        parameters: Json::from_text(row.parameters).expect("a schema in this file is JSON"),
    };
    TOOLS.iter().map(tool).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn every_tool_has_one_row_and_a_schema_of_what_it_takes() {
        let kinds: BTreeSet<_> = TOOLS.iter().map(|row| row.kind).collect();
        assert_eq!(kinds.len(), ToolKind::ALL.len());
        assert_eq!(offered().len(), ToolKind::ALL.len());
        for row in TOOLS {
            let schema: Value = serde_json::from_str(row.parameters).unwrap();
            let names: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
            let taken: &[&str] = match row.takes {
                Takes::Place => &["country", "language", "query"],
                Takes::Filters => &["condition", "max_price", "min_price", "query"],
            };
            assert_eq!(names, taken, "{}", row.kind);
            assert_eq!(schema["required"], serde_json::json!(["query"]));
        }
    }
}
