//! Spans, sent over OTLP where that is configured; elsewhere they cost nothing.
//!
//! A span's identifiers are those of [`Trace`], which also go to providers as `traceparent`: what a
//! collector shows and what a provider saw are one tree. Whether a trace is recorded is its
//! caller's to say; one that begins here is recorded.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

pub use opentelemetry::trace::SpanKind;
use opentelemetry::trace::{SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanProcessor as _};

use super::metrics::{self, Answered};
use crate::contract::trace::Trace;

static SPANS: OnceLock<BatchSpanProcessor> = OnceLock::new();

/// Spans go there from here on: into its queue, which drops what it has no room for. A second call
/// changes nothing.
pub(super) fn start(processor: BatchSpanProcessor) {
    drop(SPANS.set(processor));
}

/// Sends what is not sent yet, and takes nothing more.
pub(super) fn shut_down(within: Duration) {
    if let Some(spans) = SPANS.get() {
        // What cannot be sent now is lost with the process; its client has said so.
        drop(spans.shutdown_with_timeout(within));
    }
}

/// A trace that begins here, named by numbers that were drawn; recorded if anything is.
pub fn begun_here(random: [u64; 3]) -> Trace {
    let trace = Trace::fresh(random);
    if SPANS.get().is_some() { trace.recorded() } else { trace }
}

/// What a span is a step of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Nothing: the trace begins with it.
    None,
    /// A span of this process.
    Here(Trace),
    /// A span of the caller's.
    Remote(Trace),
}

impl Parent {
    fn named(&self) -> (SpanId, bool) {
        match self {
            Self::None => (SpanId::INVALID, false),
            Self::Here(trace) => (SpanId::from(trace.span_id()), false),
            Self::Remote(trace) => (SpanId::from(trace.span_id()), true),
        }
    }
}

/// A step of a trace, from its beginning.
#[derive(Debug)]
pub struct Span {
    trace: Trace,
    parent: Parent,
    kind: SpanKind,
    began: SystemTime,
}

impl Span {
    /// Begins at that time of the wall; it is called what `trace` names.
    pub fn begin(trace: Trace, parent: Parent, kind: SpanKind, began: SystemTime) -> Self {
        Self { trace, parent, kind, began }
    }

    /// The step's own place in its trace, for steps below it.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Ends the step that a request is. An answer is the server's failure from 500 on, as the
    /// conventions of HTTP have it.
    pub fn end_request(self, answered: Answered<'_>, ended: SystemTime) {
        if self.is_sent() {
            let (method, route) = (metrics::method_of(answered.method), answered.route());
            let attributes = vec![
                KeyValue::new("http.request.method", method),
                KeyValue::new("http.route", route),
                KeyValue::new("http.response.status_code", i64::from(answered.status)),
            ];
            let error = answered.code.filter(|_| answered.status >= 500);
            self.end(format!("{method} {route}"), attributes, error, ended);
        }
    }

    fn is_sent(&self) -> bool {
        self.trace.is_recorded() && SPANS.get().is_some()
    }

    /// Ends at that time, and is sent if its trace is recorded. `error` is of a small set.
    pub fn end(
        self,
        name: impl Into<Cow<'static, str>>,
        mut attributes: Vec<KeyValue>,
        error: Option<&str>,
        ended: SystemTime,
    ) {
        let Some(spans) = SPANS.get().filter(|_| self.trace.is_recorded()) else { return };
        attributes.extend(error.map(|error| KeyValue::new("error.type", error.to_owned())));
        let (parent_span_id, parent_span_is_remote) = self.parent.named();
        let context = SpanContext::new(
            TraceId::from(self.trace.trace_id()),
            SpanId::from(self.trace.span_id()),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        spans.on_end(SpanData {
            span_context: context,
            parent_span_id,
            parent_span_is_remote,
            span_kind: self.kind,
            name: name.into(),
            start_time: self.began,
            // A wall that was set back makes no span end before it began.
            end_time: ended.max(self.began),
            attributes,
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: error.map_or(Status::Unset, |error| Status::error(error.to_owned())),
            instrumentation_scope: InstrumentationScope::builder("sendcat").build(),
        });
    }
}
