//! Logs, and reports of panics and errors. What reports trouble must not cause it.

pub mod redact;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::Secret;

/// What lives as long as the process; dropping it sends what is still to be reported.
pub struct Telemetry {
    _sentry: Option<sentry::ClientInitGuard>,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people at a terminal.
    Pretty,
    /// One JSON object a line, for machines.
    Json,
}

/// Sets up logs to standard error, and reports where a DSN is set. A second call changes nothing.
pub fn start(filter: &str, format: LogFormat, dsn: Option<&Secret>) -> Telemetry {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let pretty =
        tracing_subscriber::fmt::layer().with_writer(|| redact::Redacting(std::io::stderr()));
    let set = match format {
        LogFormat::Pretty => {
            let logs = tracing_subscriber::registry().with(filter).with(pretty);
            logs.with(sentry::integrations::tracing::ErrorLayer::new()).try_init()
        }
        LogFormat::Json => {
            let logs = tracing_subscriber::registry().with(filter).with(pretty.json());
            logs.with(sentry::integrations::tracing::ErrorLayer::new()).try_init()
        }
    };
    drop(set);
    Telemetry { _sentry: dsn.and_then(report_to) }
}

/// Says on standard error that a thread panicked: as a line of the log, within the request or the
/// job that it happened in, or plainly while nothing logs yet. The message is redacted.
#[expect(clippy::print_stderr, reason = "nothing logs yet, and a panic must be seen")]
pub fn say_panic(message: &str, location: Option<&str>) {
    let (location, current) = (location.unwrap_or("a place unknown"), std::thread::current());
    let thread = current.name().unwrap_or("unnamed");
    if tracing::dispatcher::has_been_set() {
        tracing::error!(thread, said = message, "panicked at {location}");
    } else {
        eprintln!("thread {thread} panicked at {location}: {message}");
    }
}

/// Reports to Sentry. A DSN that makes no sense is a line in the log, not a reason to stay down.
fn report_to(dsn: &Secret) -> Option<sentry::ClientInitGuard> {
    match dsn.expose().parse::<sentry::types::Dsn>() {
        Ok(parsed) => {
            let options = sentry::ClientOptions::new().maybe_release(sentry::release_name!());
            Some(sentry::init((parsed, options)))
        }
        Err(error) => {
            tracing::error!(%error, "SENTRY_DSN cannot be used; nothing is reported");
            None
        }
    }
}
