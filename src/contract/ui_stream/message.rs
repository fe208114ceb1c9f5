//! A finished answer as clients keep it: the parts of an AI SDK `UIMessage`.
//!
//! What [`super::Part`]s build up in a client is what a thread's stored messages must show after a
//! reload, part for part.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::Json;

/// One part of a stored answer, written as a part of a `UIMessage`.
#[derive(Clone, Debug, PartialEq)]
pub enum MessagePart {
    /// A model call begins.
    StepStart,
    /// A text.
    Text(String),
    /// The model's reasoning.
    Reasoning(String),
    /// A tool call and what came of it.
    Tool(ToolPart),
}

/// A tool call that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolPart {
    /// The call's id.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments; the text that was to become them, if they cannot be used.
    pub input: Json,
    /// The result, or why there is none.
    pub outcome: Result<Json, String>,
}

impl Serialize for MessagePart {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut part = to.serialize_map(None)?;
        match self {
            Self::StepStart => part.serialize_entry("type", "step-start")?,
            Self::Text(text) => write_text(&mut part, "text", text)?,
            Self::Reasoning(text) => write_text(&mut part, "reasoning", text)?,
            Self::Tool(tool) => write_tool(&mut part, tool)?,
        }
        part.end()
    }
}

fn write_text<M: SerializeMap>(part: &mut M, kind: &str, text: &str) -> Result<(), M::Error> {
    part.serialize_entry("type", kind)?;
    part.serialize_entry("text", text)?;
    part.serialize_entry("state", "done")
}

fn write_tool<M: SerializeMap>(part: &mut M, tool: &ToolPart) -> Result<(), M::Error> {
    part.serialize_entry("type", &format_args!("tool-{}", tool.name))?;
    part.serialize_entry("toolCallId", &tool.id)?;
    let state = if tool.outcome.is_ok() { "output-available" } else { "output-error" };
    part.serialize_entry("state", state)?;
    part.serialize_entry("input", &tool.input)?;
    match &tool.outcome {
        Ok(output) => part.serialize_entry("output", output)?,
        Err(why) => part.serialize_entry("errorText", why)?,
    }
    part.serialize_entry("providerExecuted", &true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_as_clients_keep_them() {
        let tool = |outcome| {
            let input = Json::from_text(r#"{"query":"x"}"#).unwrap();
            MessagePart::Tool(ToolPart { id: "c".into(), name: "n".into(), input, outcome })
        };
        let parts = [
            MessagePart::StepStart,
            MessagePart::Reasoning("hm".into()),
            MessagePart::Text("so".into()),
            tool(Ok(Json::empty_object())),
            tool(Err("busy".into())),
        ];
        assert_eq!(
            serde_json::to_string(&parts).unwrap(),
            concat!(
                r#"[{"type":"step-start"},{"type":"reasoning","text":"hm","state":"done"},"#,
                r#"{"type":"text","text":"so","state":"done"},"#,
                r#"{"type":"tool-n","toolCallId":"c","state":"output-available","#,
                r#""input":{"query":"x"},"output":{},"providerExecuted":true},"#,
                r#"{"type":"tool-n","toolCallId":"c","state":"output-error","#,
                r#""input":{"query":"x"},"errorText":"busy","providerExecuted":true}]"#,
            ),
        );
    }
}
