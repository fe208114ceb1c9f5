//! The parts of an answer, as AI SDK clients read them: one JSON object per server-sent event.
//!
//! Released clients validate strictly: one unknown type or field, or one `null`, ends the whole
//! answer in front of the user. So a part has only the fields that every release since 6.0.1
//! takes, an absent field is left out, and nothing but [`Part`] is ever written.
//!
//! # Always
//! - `type` is the first key; the bytes of an event hold no line break but those that frame it.
//! - Our tools carry `providerExecuted: true`, else browsers try to run them.

pub mod grammar;
pub mod message;
pub mod rebuild;

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The event that ends every stream.
pub const DONE: &str = "data: [DONE]\n\n";

/// The event name of a preliminary tool output. AI SDK clients ignore event names and read the
/// part; readers of the name find it here. As a `type` it would be fatal in every release.
pub const PARTIAL_OUTPUT_EVENT: &str = "tool-output-partially-available";

/// One chunk of an answer. Constructors are used where a field is always the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Part {
    /// The answer begins. Without the id the client invents one, and resuming cannot name it.
    Start { message_id: String },
    /// One model call and its tool runs begin.
    StartStep,
    /// They are over; every open text and tool input was closed before.
    FinishStep,
    /// A text begins.
    TextStart { id: String },
    /// A piece of it.
    TextDelta { id: String, delta: String },
    /// The text is complete.
    TextEnd { id: String },
    /// The model's reasoning begins.
    ReasoningStart { id: String },
    /// A piece of it.
    ReasoningDelta { id: String, delta: String },
    /// The reasoning is complete.
    ReasoningEnd { id: String },
    /// The model begins to call a tool.
    ToolInputStart { tool_call_id: String, tool_name: String, provider_executed: Ours },
    /// A piece of the arguments, as JSON text.
    ToolInputDelta { tool_call_id: String, input_text_delta: String },
    /// The arguments are complete.
    ToolInputAvailable {
        tool_call_id: String,
        tool_name: String,
        input: Json,
        provider_executed: Ours,
    },
    /// The arguments cannot be used; no output follows.
    ToolInputError {
        tool_call_id: String,
        tool_name: String,
        input: Json,
        provider_executed: Ours,
        error_text: String,
    },
    /// A first result that a later one replaces.
    #[serde(rename = "tool-output-available")]
    ToolOutputPreliminary {
        tool_call_id: String,
        output: Json,
        provider_executed: Ours,
        preliminary: Yes,
    },
    /// The tool's result.
    ToolOutputAvailable { tool_call_id: String, output: Json, provider_executed: Ours },
    /// The tool failed; the answer goes on.
    ToolOutputError { tool_call_id: String, error_text: String, provider_executed: Ours },
    /// What went wrong, for programs. [`Part::Error`] follows, which has no room for a code.
    DataError { data: ErrorData, transient: Yes },
    /// What went wrong, for people. Clients stop reading here.
    Error { error_text: String },
    /// The answer was stopped.
    Abort,
    /// The answer is over.
    Finish {
        finish_reason: FinishReason,
        #[serde(skip_serializing_if = "Option::is_none")]
        message_metadata: Option<MessageMetadata>,
    },
}

impl Part {
    /// The model begins to call one of our tools.
    pub fn tool_input_start(tool_call_id: String, tool_name: String) -> Self {
        Self::ToolInputStart { tool_call_id, tool_name, provider_executed: Ours }
    }

    /// The arguments of a call of one of our tools.
    pub fn tool_input_available(tool_call_id: String, tool_name: String, input: Json) -> Self {
        Self::ToolInputAvailable { tool_call_id, tool_name, input, provider_executed: Ours }
    }

    /// Arguments that cannot be used, and why.
    pub fn tool_input_error(
        tool_call_id: String,
        tool_name: String,
        input: Json,
        error_text: String,
    ) -> Self {
        let provider_executed = Ours;
        Self::ToolInputError { tool_call_id, tool_name, input, provider_executed, error_text }
    }

    /// A first result that a later one replaces.
    pub fn tool_output_preliminary(tool_call_id: String, output: Json) -> Self {
        Self::ToolOutputPreliminary {
            tool_call_id,
            output,
            provider_executed: Ours,
            preliminary: Yes,
        }
    }

    /// The result of one of our tools.
    pub fn tool_output_available(tool_call_id: String, output: Json) -> Self {
        Self::ToolOutputAvailable { tool_call_id, output, provider_executed: Ours }
    }

    /// The failure of one of our tools, in words.
    pub fn tool_output_error(tool_call_id: String, error_text: String) -> Self {
        Self::ToolOutputError { tool_call_id, error_text, provider_executed: Ours }
    }

    /// A failure's wire code, and after what time it is worth asking again.
    pub fn data_error(code: &'static str, retry_after: Option<Duration>) -> Self {
        let retry_after_ms = retry_after
            .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).min(MAX_SAFE_INTEGER));
        Self::DataError { data: ErrorData { code, retry_after_ms }, transient: Yes }
    }

    /// The exact bytes of this part's event, with the blank line that ends it.
    pub fn to_sse(&self) -> String {
        let mut out = Vec::with_capacity(128);
        self.write_sse(&mut out);
        String::from_utf8(out).expect("serde_json writes UTF-8")
    }

    /// Appends the bytes of [`Self::to_sse`]: several events may share one buffer and one write.
    pub fn write_sse(&self, out: &mut Vec<u8>) {
        if matches!(self, Self::ToolOutputPreliminary { .. }) {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(PARTIAL_OUTPUT_EVENT.as_bytes());
            out.push(b'\n');
        }
        out.extend_from_slice(b"data: ");
        serde_json::to_writer(&mut *out, self).expect("a part has string keys and a vector grows");
        out.extend_from_slice(b"\n\n");
    }
}

/// The largest integer that a JavaScript number holds exactly.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Written as `true`: the tool runs here, not in the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ours;

/// Written as `true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Yes;

impl Serialize for Ours {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bool(true)
    }
}

impl Serialize for Yes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bool(true)
    }
}

/// The payload of a `data-error` part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorData {
    /// A wire code of INTERFACE.md §3.
    pub code: &'static str,
    /// Milliseconds after which asking again is worth it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Why an answer ended. Hyphens, not underscores: `tool_calls` is fatal to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinishReason {
    /// The model had said everything.
    Stop,
    /// The model ran out of tokens.
    Length,
    /// The provider's filter stopped the model.
    ContentFilter,
    /// The step limit was reached while the model still called tools.
    ToolCalls,
    /// The answer failed; an `error` part stands before.
    Error,
    /// A reason that the provider did not explain.
    Other,
}

/// Merged by clients into `message.metadata`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageMetadata {
    /// Tokens of all steps together.
    pub usage: Usage,
}

/// Tokens as the provider counted them, under the AI SDK's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Tokens of the prompts.
    pub input_tokens: u64,
    /// Tokens of the answers, reasoning among them.
    pub output_tokens: u64,
    /// Both.
    pub total_tokens: u64,
    /// Of the answers: spent on reasoning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasoning_tokens: u64,
    /// Of the prompts: read from the provider's cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_input_tokens: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Usage {
    /// The sum with the usage of another step.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            total_tokens: self.total_tokens.saturating_add(other.total_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
            cached_input_tokens: self.cached_input_tokens.saturating_add(other.cached_input_tokens),
        }
    }
}

/// Any JSON value, kept as its text: the order of keys and the digits of numbers stay as they
/// were, and nothing is parsed twice.
#[derive(Clone, Debug)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The value that `text` spells.
    ///
    /// # Errors
    /// `text` is not one JSON value.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        // A raw line break would end the event's data line. In JSON it can only stand between
        // tokens (inside strings it is escaped), where a space means the same.
        let one_line = text.replace(['\n', '\r'], " ");
        RawValue::from_string(one_line).map(Self)
    }

    /// The value that `value` is written as.
    ///
    /// # Errors
    /// `value` cannot be written as JSON, as a map whose keys are not strings.
    pub fn of(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Self::from_text(&serde_json::to_string(value)?)
    }

    /// A JSON string.
    pub fn string(text: &str) -> Self {
        Self::of(&text).expect("a string can be written")
    }

    /// `{}`.
    pub fn empty_object() -> Self {
        Self::from_text("{}").expect("an object of nothing is JSON")
    }

    /// Its text, on one line.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(from)?;
        Self::from_text(raw.get()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
