//! Logs, reports of panics and errors, and the way of alerts. What reports trouble must not cause
//! it.

mod errors;
pub mod redact;
pub mod sentry;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::Secret;
use redact::Redactor;

/// What lives as long as the process; dropping it sends what is still to be reported.
pub struct Telemetry {
    _sentry: Option<::sentry::ClientInitGuard>,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people at a terminal.
    Pretty,
    /// One JSON object a line, for machines.
    Json,
}

/// Sets up logs to standard error, and reports where a DSN is set; `secrets` are masked in what is
/// reported. A second call changes nothing.
pub fn start(
    filter: &str,
    format: LogFormat,
    dsn: Option<&Secret>,
    secrets: &[Secret],
) -> Telemetry {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Pretty => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let reports = ::sentry::integrations::tracing::ErrorLayer::new()
        .with_filter(tracing_subscriber::filter::filter_fn(errors::is_reported));
    drop(tracing_subscriber::registry().with(filter).with(lines).with(reports).try_init());
    Telemetry { _sentry: dsn.and_then(|dsn| errors::report_to(dsn, Redactor::of(secrets))) }
}
