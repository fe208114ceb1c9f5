//! Logs, metrics, traces, reports of panics and errors, and the way of alerts. What reports trouble
//! must not cause it.

pub mod alerts;
mod errors;
pub mod gen_ai;
pub mod metrics;
mod otlp;
pub mod redact;
pub mod sentry;
pub mod traces;

use std::time::Duration;

use opentelemetry_sdk::Resource;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use self::metrics::{Metrics, NoMetrics};
use crate::config::{Config, Secret};

/// What lives as long as the process; dropping it sends what is still to be reported.
pub struct Telemetry {
    _sentry: Option<::sentry::ClientInitGuard>,
}

/// How long sending the last metrics and spans may take when the process ends.
const FLUSH: Duration = Duration::from_secs(2);

/// What this process is called by those who look on.
fn resource() -> Resource {
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Resource::builder_empty().with_service_name("sendcat").with_attribute(version).build()
}

/// Begins to measure, and to send metrics and spans where `OTEL_EXPORTER_OTLP_ENDPOINT` says. An
/// endpoint that cannot be used is a line in the log, not a reason to stay down.
///
/// # Errors
/// [`NoMetrics`]: nothing could be shown at `/metrics`.
pub fn measure(config: &Config) -> Result<Metrics, NoMetrics> {
    let endpoint = config.ops.otlp_endpoint.as_deref();
    let exporters = endpoint.and_then(|endpoint| match otlp::exporters(endpoint) {
        Ok(exporters) => Some(exporters),
        Err(error) => {
            tracing::error!(%error, "OTEL_EXPORTER_OTLP_ENDPOINT cannot be used");
            None
        }
    });
    let (reader, spans) = exporters.map(|both| (both.metrics, both.spans)).unzip();
    let metrics = Metrics::new(reader)?;
    let openrouter = &config.providers.openrouter;
    let models = std::iter::once(&openrouter.model).chain(&openrouter.fallback_models);
    metrics::start(metrics.meters(models.cloned().collect()));
    spans.into_iter().for_each(traces::start);
    Ok(metrics)
}

/// Sends what is not sent yet, for [`FLUSH`] at most; nothing is measured any more after it.
pub async fn flush(metrics: Metrics) {
    let (done, flushed) = tokio::sync::oneshot::channel();
    // A thread that nobody joins: the process does not wait for an endpoint that does not answer.
    let flushing = std::thread::Builder::new().name("flush".into()).spawn(move || {
        traces::shut_down(FLUSH / 2);
        metrics.shut_down(FLUSH / 2);
        let _ = done.send(());
    });
    if flushing.is_err() || tokio::time::timeout(FLUSH, flushed).await.is_err() {
        tracing::warn!("the last metrics and spans may not have been sent");
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people at a terminal.
    Pretty,
    /// One JSON object a line, for machines.
    Json,
}

/// Sets up logs to standard error, and reports where a DSN is set; what [`redact::know`] was told
/// of is taken out of both. A second call changes nothing.
pub fn start(filter: &str, format: LogFormat, dsn: Option<&Secret>) -> Telemetry {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(|| redact::Redacting(std::io::stderr()));
    let lines = match format {
        LogFormat::Pretty => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let reports = ::sentry::integrations::tracing::ErrorLayer::new()
        .with_filter(tracing_subscriber::filter::filter_fn(errors::is_reported));
    drop(tracing_subscriber::registry().with(filter).with(lines).with(reports).try_init());
    Telemetry { _sentry: dsn.and_then(errors::report_to) }
}

/// Says on standard error that a thread panicked: as a line of the log, within the request or the
/// job that it happened in, or plainly while nothing logs yet. The message is redacted.
#[expect(clippy::print_stderr, reason = "nothing logs yet, and a panic must be seen")]
pub fn say_panic(message: &str, location: Option<&str>) {
    let (location, current) = (location.unwrap_or("a place unknown"), std::thread::current());
    let thread = current.name().unwrap_or("unnamed");
    if tracing::dispatcher::has_been_set() {
        tracing::error!(target: errors::PANICS, thread, said = message, "panicked at {location}");
    } else {
        eprintln!("thread {thread} panicked at {location}: {message}");
    }
}
