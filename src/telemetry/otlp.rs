//! Sends metrics and spans to an OTLP endpoint, as protobuf over HTTP.
//!
//! # Always
//! - Only threads of telemetry's own wait: the SDK's, which gather and encode, and one more that
//!   talks to the endpoint. Their queues are bounded; what has no room is dropped.
//! - A request has a deadline, is made once, and its failure is one line in the log until the next
//!   success.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    MetricExporter, Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::metrics::PeriodicReader;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanProcessor as _};
use tokio::runtime::Handle;

use super::{metrics, resource};

/// How long a request may take, answer included.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often metrics are sent.
const METRICS_EVERY: Duration = Duration::from_secs(15);

/// The longest that a span waits to be sent.
const SPANS_EVERY: Duration = Duration::from_secs(1);

/// Spans that wait at most, and in one request.
const SPANS_WAITING: usize = 4096;
const SPANS_TOGETHER: usize = 512;

/// Both ways out.
pub(super) struct Exporters {
    pub(super) metrics: PeriodicReader<MetricExporter>,
    pub(super) spans: BatchSpanProcessor,
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoExport {
    /// There is no client.
    #[error("no client: {0}")]
    Client(#[from] reqwest::Error),
    /// There is no thread for it.
    #[error("no thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The exporter does not take the endpoint.
    #[error("{0}")]
    Endpoint(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// What sends to `endpoint`, the address that signals' paths are put behind (OTLP §4).
pub(super) fn exporters(endpoint: &str) -> Result<Exporters, NoExport> {
    let client = Client::start()?;
    let metrics = MetricExporter::builder()
        .with_http()
        .with_http_client(client.clone())
        .with_protocol(Protocol::HttpBinary)
        .with_retry_policy(RetryPolicy::disabled())
        .with_endpoint(format!("{endpoint}/v1/metrics"))
        .with_timeout(DEADLINE)
        .build()?;
    let spans = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_retry_policy(RetryPolicy::disabled())
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_timeout(DEADLINE)
        .build()?;
    let metrics = PeriodicReader::builder(metrics).with_interval(METRICS_EVERY).build();
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(SPANS_WAITING)
        .with_max_export_batch_size(SPANS_TOGETHER)
        .with_scheduled_delay(SPANS_EVERY)
        .build();
    let mut spans = BatchSpanProcessor::builder(spans).with_batch_config(batches).build();
    spans.set_resource(&resource());
    Ok(Exporters { metrics, spans })
}

/// reqwest on a thread of its own, for exporters that wait on threads without a runtime.
#[derive(Clone, Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
    state: std::sync::Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    failing: AtomicBool,
}

impl Client {
    fn start() -> Result<Self, NoExport> {
        let client = reqwest::Client::builder()
            .connect_timeout(DEADLINE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("sendcat/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name("otlp".into());
        thread.spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(Self { client, runtime: handle, state: std::sync::Arc::default() })
    }

    /// Says once that sending fails, and once that it works again.
    fn note(&self, failure: Option<&str>) {
        let outcome = if failure.is_some() { "failed" } else { "sent" };
        if let Some(meters) = metrics::meters() {
            meters.exports.add(1.0, &[KeyValue::new("outcome", outcome)]);
        }
        let failed_before = self.state.failing.swap(failure.is_some(), Ordering::AcqRel);
        match failure {
            Some(why) if !failed_before => {
                tracing::warn!(why, "metrics and spans cannot be sent to the OTLP endpoint");
            }
            None if failed_before => {
                tracing::info!("metrics and spans are sent to the OTLP endpoint again");
            }
            Some(_) | None => {}
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = self.runtime.spawn(async move {
            let asked = async {
                let answer = client.execute(request.try_into()?).await?;
                let status = answer.status();
                Ok::<_, reqwest::Error>((status, answer.bytes().await?))
            };
            match tokio::time::timeout(DEADLINE, asked).await {
                Ok(Ok(answer)) => Ok(answer),
                // An address may carry a key: none is told.
                Ok(Err(error)) => Err(error.without_url().to_string()),
                Err(_) => Err(format!("no answer within {DEADLINE:?}")),
            }
        });
        let answered = sending.await.unwrap_or_else(|_| Err("the request panicked".to_owned()));
        let refused = |status: reqwest::StatusCode| format!("it answered {}", status.as_u16());
        match answered {
            Ok((status, body)) => {
                let failure = (!status.is_success()).then(|| refused(status));
                self.note(failure.as_deref());
                Ok(Response::builder().status(status).body(body)?)
            }
            Err(why) => {
                self.note(Some(&why));
                Err(why.into())
            }
        }
    }
}
