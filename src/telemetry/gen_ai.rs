//! Calls of the model and of tools, measured as OpenTelemetry's conventions of generative AI name
//! them: a span and a duration each, and of the model also the first content and the tokens.
//!
//! # Always
//! - What is dropped before it ended counts too, as `cancelled`.
//! - No prompt, answer or argument is in a span or in a metric.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use sendcat_actors::clock::SharedClock;
use sendcat_state::timestamp::Timestamp;

use super::metrics;
use super::traces::{Parent, Span};
use crate::contract::trace::Trace;

/// What ended without an end of its own: the client went away, or the process had no more time.
const CANCELLED: &str = "cancelled";

/// What both have.
struct Begun {
    clock: SharedClock,
    at: Timestamp,
    /// Taken when it ends.
    span: Option<Span>,
    trace: Trace,
}

impl Begun {
    fn now(clock: &SharedClock, parent: &Trace, random: u64, kind: SpanKind) -> Self {
        let trace = parent.child(random);
        let span = Span::begin(trace.clone(), Parent::Here(parent.clone()), kind, clock.wall());
        Self { clock: clock.clone(), at: clock.now(), span: Some(span), trace }
    }

    fn took(&self) -> Duration {
        self.at.until(self.clock.now())
    }

    fn end(&mut self, name: String, attributes: Vec<KeyValue>, error: Option<&'static str>) {
        if let Some(span) = self.span.take() {
            span.end(name, attributes, error, self.clock.wall());
        }
    }
}

/// One call of the model.
pub struct MeasuredChat {
    begun: Begun,
    model: String,
    heard: bool,
    tokens: Option<(u64, u64)>,
    error: Option<&'static str>,
}

impl MeasuredChat {
    /// Begins a call of that model as a step below `parent`, named by a number that was drawn.
    pub fn begin(clock: &SharedClock, parent: &Trace, random: u64, model: &str) -> Self {
        let begun = Begun::now(clock, parent, random, SpanKind::Client);
        let error = Some(CANCELLED);
        Self { begun, model: model.to_owned(), heard: false, tokens: None, error }
    }

    /// The call's own place in the trace: what goes to the provider.
    pub fn trace(&self) -> &Trace {
        &self.begun.trace
    }

    /// Content has come; the first time counts.
    pub fn heard(&mut self) {
        if !std::mem::replace(&mut self.heard, true)
            && let Some(meters) = metrics::meters()
        {
            meters.first_chunk(&self.model, self.begun.took());
        }
    }

    /// What the provider says that it has used so far, in and out.
    pub fn used(&mut self, input: u64, output: u64) {
        self.tokens = Some((input, output));
    }

    /// It ended, with this code if it failed.
    pub fn end(mut self, error: Option<&'static str>) {
        self.error = error;
    }
}

impl Drop for MeasuredChat {
    fn drop(&mut self) {
        if let Some(meters) = metrics::meters() {
            meters.chat_ended(&self.model, self.begun.took(), self.error);
            if let Some((input, output)) = self.tokens {
                meters.tokens(&self.model, "input", input);
                meters.tokens(&self.model, "output", output);
            }
        }
        let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        let mut attributes = vec![
            KeyValue::new("gen_ai.operation.name", "chat"),
            KeyValue::new("gen_ai.provider.name", metrics::MODEL_PROVIDER),
            KeyValue::new("gen_ai.request.model", self.model.clone()),
        ];
        if let Some((input, output)) = self.tokens {
            attributes.push(KeyValue::new("gen_ai.usage.input_tokens", count(input)));
            attributes.push(KeyValue::new("gen_ai.usage.output_tokens", count(output)));
        }
        self.begun.end(format!("chat {}", self.model), attributes, self.error);
    }
}

/// One call of a tool.
pub struct MeasuredTool {
    begun: Begun,
    tool: &'static str,
    error: Option<&'static str>,
}

impl MeasuredTool {
    /// Begins a call of that tool as a step below `parent`, named by a number that was drawn.
    pub fn begin(clock: &SharedClock, parent: &Trace, random: u64, tool: &'static str) -> Self {
        let begun = Begun::now(clock, parent, random, SpanKind::Internal);
        Self { begun, tool, error: Some(CANCELLED) }
    }

    /// It ended, well or with words about why not.
    pub fn end(mut self, worked: bool) {
        self.error = (!worked).then_some("tool_failed");
    }
}

impl Drop for MeasuredTool {
    fn drop(&mut self) {
        if let Some(meters) = metrics::meters() {
            meters.tool_ended(self.tool, self.begun.took(), self.error);
        }
        let attributes = vec![
            KeyValue::new("gen_ai.operation.name", "execute_tool"),
            KeyValue::new("gen_ai.tool.name", self.tool),
        ];
        self.begun.end(format!("execute_tool {}", self.tool), attributes, self.error);
    }
}
