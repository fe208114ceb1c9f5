//! Metrics: recorded once, shown at `/metrics` and sent over OTLP where that is configured.
//!
//! Recording is adding to what the SDK keeps in memory. What actors and handles show of themselves
//! is read when somebody looks, so `/metrics` answers while every actor hangs.
//!
//! # Always
//! - No label's value comes from a caller as it is: routes are rows of the table, methods of a
//!   fixed set, models those of the settings; all else is `unmatched`, `_OTHER` or `other`.
//! - Before [`start`] nothing is recorded, and recording costs nothing.

pub mod catalog;

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider as _};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use prometheus::{Registry, TextEncoder};

use self::catalog::{Kind, Metric};
use super::resource;

/// The methods that are told apart (the conventions of HTTP).
const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

/// The provider of models, as the conventions of generative AI want it named.
pub(super) const MODEL_PROVIDER: &str = "openrouter";

/// What recording goes to; set once, when the process starts.
static METERS: OnceLock<Meters> = OnceLock::new();

/// Everything measured in a process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    provider: SdkMeterProvider,
    meter: Meter,
}

/// Instruments that somebody records with.
pub(super) struct Meters {
    models: Vec<String>,
    http: Histogram<f64>,
    chat: Histogram<f64>,
    first_chunk: Histogram<f64>,
    tokens: Histogram<f64>,
    tool: Histogram<f64>,
    pub(super) exports: Counter<f64>,
}

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be gathered: {0}")]
pub struct NoMetrics(#[from] opentelemetry_sdk::error::OTelSdkError);

impl Metrics {
    /// Metrics that are gathered at `/metrics`, and by the exporter where there is one.
    pub(super) fn new<E>(exporter: Option<PeriodicReader<E>>) -> Result<Self, NoMetrics>
    where
        E: opentelemetry_sdk::metrics::exporter::PushMetricExporter,
    {
        let registry = Registry::new();
        let shown = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()?;
        let provider = SdkMeterProvider::builder().with_resource(resource()).with_reader(shown);
        let provider = match exporter {
            Some(reader) => provider.with_reader(reader),
            None => provider,
        };
        let provider = provider.build();
        let meter = provider.meter("sendcat");
        Ok(Self { registry, provider, meter })
    }

    /// Everything there is, in the text form that Prometheus reads (0.0.4).
    ///
    /// # Errors
    /// What could not be written: nothing is shown then.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut text = String::new();
        TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// Has a metric read whenever somebody looks. `read` must not wait.
    pub fn watch(
        &self,
        metric: &'static Metric,
        read: impl Fn(&mut Seen<'_>) + Send + Sync + 'static,
    ) {
        let callback = move |observe: &dyn opentelemetry::metrics::AsyncInstrument<f64>| {
            read(&mut Seen { metric, observe });
        };
        match metric.kind {
            Kind::Counter => drop(
                self.meter
                    .f64_observable_counter(metric.name)
                    .with_unit(metric.unit)
                    .with_description(metric.help)
                    .with_callback(callback)
                    .build(),
            ),
            Kind::Gauge => drop(
                self.meter
                    .f64_observable_gauge(metric.name)
                    .with_unit(metric.unit)
                    .with_description(metric.help)
                    .with_callback(callback)
                    .build(),
            ),
            Kind::Histogram(_) => unreachable!("{} is recorded, not read", metric.name),
        }
    }

    /// Instruments to record with, for models of these names.
    pub(super) fn meters(&self, models: Vec<String>) -> Meters {
        let histogram = |metric: &'static Metric| {
            let Kind::Histogram(bounds) = metric.kind else {
                unreachable!("{} is a histogram", metric.name);
            };
            self.meter
                .f64_histogram(metric.name)
                .with_unit(metric.unit)
                .with_description(metric.help)
                .with_boundaries(bounds.to_vec())
                .build()
        };
        let exports = self.meter.f64_counter(catalog::EXPORTS.name);
        Meters {
            models,
            http: histogram(&catalog::HTTP_DURATION),
            chat: histogram(&catalog::CHAT_DURATION),
            first_chunk: histogram(&catalog::FIRST_CHUNK),
            tokens: histogram(&catalog::TOKEN_USAGE),
            tool: histogram(&catalog::TOOL_DURATION),
            exports: exports.with_description(catalog::EXPORTS.help).build(),
        }
    }

    /// Sends what is not sent yet; may wait for some seconds.
    pub(super) fn shut_down(&self, within: Duration) {
        // What cannot be sent now is lost with the process; its client has said so.
        drop(self.provider.shutdown_with_timeout(within));
    }
}

/// A metric being read.
pub struct Seen<'a> {
    metric: &'static Metric,
    observe: &'a dyn opentelemetry::metrics::AsyncInstrument<f64>,
}

impl Seen<'_> {
    /// Its value for these labels, in the order of its row.
    pub fn put<const N: usize>(&mut self, value: f64, labels: [&str; N]) {
        debug_assert_eq!(N, self.metric.labels.len(), "{}", self.metric.name);
        let labels = self.metric.labels.iter().zip(labels);
        let labels: Vec<_> =
            labels.map(|(name, value)| KeyValue::new(*name, value.to_owned())).collect();
        self.observe.observe(value, &labels);
    }
}

/// Recording goes there from here on. A second call changes nothing.
pub(super) fn start(meters: Meters) {
    drop(METERS.set(meters));
}

/// Where recording goes; `None` where nothing is measured.
pub(super) fn meters() -> Option<&'static Meters> {
    METERS.get()
}

/// A request and its answer, as far as they are measured.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The path of its row in the table of routes, if it met one.
    pub route: Option<&'static str>,
    /// Its method, as the caller wrote it.
    pub method: &'a str,
    /// The answer's status.
    pub status: u16,
    /// The answer's error code, if it is one.
    pub code: Option<&'a str>,
}

impl Answered<'_> {
    /// The row's path, or the one word for all that met none.
    pub(super) fn route(&self) -> &'static str {
        self.route.unwrap_or("unmatched")
    }

    fn labels(&self) -> Vec<KeyValue> {
        let mut labels = vec![
            KeyValue::new("http.route", self.route()),
            KeyValue::new("http.request.method", method_of(self.method)),
            KeyValue::new("http.response.status_code", i64::from(self.status)),
        ];
        labels.extend(self.code.map(|code| KeyValue::new("error.type", code.to_owned())));
        labels
    }
}

/// Measures a request.
pub fn http_answered(answered: Answered<'_>, took: Duration) {
    if let Some(meters) = meters() {
        meters.http_answered(answered, took);
    }
}

/// The method as it is told apart.
pub(super) fn method_of(method: &str) -> &'static str {
    METHODS.iter().find(|known| **known == method).copied().unwrap_or("_OTHER")
}

impl Meters {
    fn http_answered(&self, answered: Answered<'_>, took: Duration) {
        self.http.record(took.as_secs_f64(), &answered.labels());
    }

    /// A model's name as it is told apart.
    pub(super) fn model_of(&self, model: &str) -> String {
        let known = self.models.iter().any(|known| known == model);
        if known { model.to_owned() } else { "other".to_owned() }
    }

    fn chat_labels(&self, model: &str) -> Vec<KeyValue> {
        vec![
            KeyValue::new("gen_ai.operation.name", "chat"),
            KeyValue::new("gen_ai.provider.name", MODEL_PROVIDER),
            KeyValue::new("gen_ai.request.model", self.model_of(model)),
        ]
    }

    pub(super) fn chat_ended(&self, model: &str, took: Duration, error: Option<&'static str>) {
        let mut labels = self.chat_labels(model);
        labels.extend(error.map(|error| KeyValue::new("error.type", error)));
        self.chat.record(took.as_secs_f64(), &labels);
    }

    pub(super) fn first_chunk(&self, model: &str, after: Duration) {
        self.first_chunk.record(after.as_secs_f64(), &self.chat_labels(model));
    }

    pub(super) fn tokens(&self, model: &str, kind: &'static str, tokens: u64) {
        let mut labels = self.chat_labels(model);
        labels.push(KeyValue::new("gen_ai.token.type", kind));
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        self.tokens.record(f64::from(tokens), &labels);
    }

    pub(super) fn tool_ended(
        &self,
        tool: &'static str,
        took: Duration,
        error: Option<&'static str>,
    ) {
        let mut labels = vec![
            KeyValue::new("gen_ai.operation.name", "execute_tool"),
            KeyValue::new("gen_ai.tool.name", tool),
        ];
        labels.extend(error.map(|error| KeyValue::new("error.type", error)));
        self.tool.record(took.as_secs_f64(), &labels);
    }
}

#[cfg(test)]
mod tests;
