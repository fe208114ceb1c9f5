//! The one way out: every call to a provider is made here, and nowhere else.
//!
//! A call takes a slot of its provider's bulkhead and passes its circuit, in this order, before
//! anything is sent; what came of it is recorded. A call that is dropped on its way gives its slot
//! back, records nothing against the provider, and closes its connection.
//!
//! # Always
//! - Every wait has a clock.
//! - Redirects are not followed: a key would go with them.
//! - No URL reaches a log or an error.

mod body;

use std::time::Duration;

use body::{accepted, read_at_most};
use bytes::Bytes;
use futures_util::StreamExt as _;
pub use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response};
use sendcat_actors::bulkhead::{Bulkheads, Saturated, Slot};
use sendcat_actors::chance;
use sendcat_actors::circuit_breaker::{CallPermit, CircuitBreakers};
use sendcat_state::bulkhead::Priority;
use sendcat_state::circuit_breaker::CallOutcome;
use sendcat_state::key::ProviderId;

use super::classify::{self, Outcome};
use super::error::{Clock, UpstreamError};
use crate::contract::trace::{TRACEPARENT, Trace};

/// The most bytes of an answer that is read whole: 8 MiB.
const MAX_BODY_BYTES: usize = 8 << 20;

/// How long an idle connection is kept: shorter than providers keep theirs.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// A clock of the headers that is as long as the connect clock gets this on top, so that the one
/// which tells more runs out first.
const CONNECT_GRACE: Duration = Duration::from_millis(50);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[error("no client for calls to providers: {0}; install the system's CA certificates")]
pub struct NoClient(#[from] reqwest::Error);

/// What is sent.
#[derive(Debug)]
pub struct Call {
    /// To whom.
    pub provider: ProviderId,
    /// How.
    pub method: Method,
    /// Where, path and query included.
    pub url: String,
    /// With which headers; values that are secret are marked so.
    pub headers: HeaderMap,
    /// With which body.
    pub body: Vec<u8>,
}

impl Call {
    /// A JSON body posted to `url`.
    pub fn post_json(provider: ProviderId, url: String, body: Vec<u8>) -> Self {
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(reqwest::header::CONTENT_TYPE, json)]);
        Self { provider, method: Method::POST, url, headers, body }
    }

    /// What is at `url`, asked for without a body.
    pub fn get(provider: ProviderId, url: String) -> Self {
        let (headers, body) = (HeaderMap::new(), Vec::new());
        Self { provider, method: Method::GET, url, headers, body }
    }

    /// A form posted to `url`, its fields encoded.
    pub fn post_form(provider: ProviderId, url: String, fields: &[(&str, &str)]) -> Self {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(reqwest::header::CONTENT_TYPE, form)]);
        let body = super::text::pairs(fields).into_bytes();
        Self { provider, method: Method::POST, url, headers, body }
    }

    /// The same call with a header that is no secret.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        let name = HeaderName::from_static(name);
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// The same call as a step of that trace.
    #[must_use]
    pub fn within(mut self, trace: &Trace) -> Self {
        for (name, value) in trace.fields() {
            if let Ok(value) = HeaderValue::from_str(&value) {
                self.headers.insert(name, value);
            }
        }
        self
    }

    /// The same call with a secret header. A value that no header can hold is left out, and the
    /// provider refuses the call for want of it.
    #[must_use]
    pub fn with_secret(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(mut value)) = (name, HeaderValue::from_str(value)) {
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
        self
    }
}

/// A status other than 2xx, with what a provider's own file needs to read it.
#[derive(Debug)]
pub struct RefusedAnswer {
    /// The status.
    pub status: u16,
    /// The `Retry-After` header's text.
    pub retry_after: Option<String>,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

/// How a provider's refusals are read.
pub type ReadRefusal = fn(&RefusedAnswer) -> UpstreamError;

/// The way out of one thread. Cheap to clone.
#[derive(Clone)]
pub struct Upstream {
    client: Client,
    circuits: CircuitBreakers,
    bulkheads: Bulkheads,
    connect: Duration,
    /// Whose steps its calls are, but those that name another trace themselves.
    trace: Option<Trace>,
}

/// A stream that has begun: status 2xx was answered.
pub struct OpenStream {
    /// Its bytes.
    pub bytes: futures_util::stream::BoxStream<'static, reqwest::Result<Bytes>>,
    /// What to record of the call when it is over.
    pub recorder: Recorder,
}

/// Records what came of a call. Dropped without a word it counts as neutral.
pub struct Recorder(CallPermit);

impl Recorder {
    /// Notes that content has come: from the first note the breaker tells a slow call. Without a
    /// note a call is never slow.
    pub fn heard(&mut self) {
        self.0.heard();
    }

    /// The provider did its work.
    pub fn succeeded(self) {
        self.0.record(CallOutcome::Success);
    }

    /// It did not, as this error says.
    pub fn failed(self, error: &UpstreamError) {
        self.outcome(classify::outcome(error));
    }

    /// What came of it is known in the breaker's words.
    pub fn outcome(self, outcome: Outcome) {
        self.0.record(match outcome {
            Outcome::Success => CallOutcome::Success,
            Outcome::Failure { retry_after } => CallOutcome::Failure { retry_after },
            Outcome::Neutral => CallOutcome::Neutral,
        });
    }
}

impl Upstream {
    /// A way out with connections of its own; made on the thread that uses it.
    ///
    /// # Errors
    /// [`NoClient`] if the system has no CA certificates.
    pub fn new(
        circuits: CircuitBreakers,
        bulkheads: Bulkheads,
        connect: Duration,
    ) -> Result<Self, NoClient> {
        let client = Client::builder()
            .connect_timeout(connect)
            .redirect(reqwest::redirect::Policy::none())
            .pool_idle_timeout(POOL_IDLE)
            .no_proxy()
            .user_agent(concat!("sendcat/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, circuits, bulkheads, connect, trace: None })
    }

    /// The same way out for calls that are steps of that trace.
    #[must_use]
    pub fn within(&self, trace: Option<Trace>) -> Self {
        Self { trace, ..self.clone() }
    }

    /// Takes a slot of a provider's bulkhead for a call that is made later, as a chat turn does.
    ///
    /// # Errors
    /// [`UpstreamError::Saturated`] if there is none.
    pub async fn slot(&self, provider: ProviderId, holder: &str) -> Result<Slot, UpstreamError> {
        let slot = self.bulkheads.acquire(provider, holder).await;
        slot.map_err(|full| UpstreamError::Saturated { provider, retry_after: full.retry_after })
    }

    /// The circuits, for a check before a slot is used.
    pub fn circuits(&self) -> &CircuitBreakers {
        &self.circuits
    }

    /// Makes a call whose answer is read whole, within `deadline` in all.
    ///
    /// # Errors
    /// [`UpstreamError`], recorded with the provider's circuit.
    pub async fn whole(
        &self,
        call: Call,
        holder: &str,
        deadline: Duration,
        refusal: ReadRefusal,
    ) -> Result<Vec<u8>, UpstreamError> {
        self.read(call, holder, deadline, (refusal, |body| Ok(body.to_vec()))).await
    }

    /// Makes a call whose answer is read whole and understood, within `deadline` in all: an answer
    /// that makes no sense is the provider's failure like any other.
    ///
    /// # Errors
    /// [`UpstreamError`], recorded with the provider's circuit.
    pub async fn read<T>(
        &self,
        call: Call,
        holder: &str,
        deadline: Duration,
        (refusal, read): (ReadRefusal, impl FnOnce(&[u8]) -> Result<T, UpstreamError>),
    ) -> Result<T, UpstreamError> {
        let provider = call.provider;
        let whole = |body: Option<Vec<u8>>| {
            let what = "more than an answer may have";
            read(&body.ok_or(UpstreamError::Malformed { provider, what })?)
        };
        self.bounded(call, holder, (deadline, MAX_BODY_BYTES), (refusal, whole)).await
    }

    /// Makes a call whose answer is a file of at most `most_bytes`; `None` if it has more, which is
    /// no failure of the provider.
    ///
    /// # Errors
    /// [`UpstreamError`], recorded with the provider's circuit.
    pub async fn file(
        &self,
        call: Call,
        holder: &str,
        (deadline, most_bytes): (Duration, usize),
        refusal: ReadRefusal,
    ) -> Result<Option<Vec<u8>>, UpstreamError> {
        self.bounded(call, holder, (deadline, most_bytes), (refusal, Ok)).await
    }

    /// What both of these do; `read` is handed `None` for what has too many bytes.
    async fn bounded<T>(
        &self,
        call: Call,
        holder: &str,
        (deadline, most_bytes): (Duration, usize),
        (refusal, read): (ReadRefusal, impl FnOnce(Option<Vec<u8>>) -> Result<T, UpstreamError>),
    ) -> Result<T, UpstreamError> {
        let provider = call.provider;
        let slot = self.bulkheads.acquire_as(provider, holder, Priority::Tool).await;
        let saturated =
            |full: Saturated| UpstreamError::Saturated { provider, retry_after: full.retry_after };
        let _slot = slot.map_err(saturated)?;
        let mut recorder = self.permit(provider).await?;
        let answer = async {
            let response = self.send(call, deadline).await?;
            let response = accepted(response, refusal).await?;
            read_at_most(provider, response, most_bytes).await
        };
        let answered = tokio::time::timeout(deadline, answer).await;
        let late = || UpstreamError::TimedOut { provider, clock: Clock::Total, limit: deadline };
        let answer = answered.unwrap_or_else(|_| Err(late())).and_then(read);
        match &answer {
            Ok(_) => {
                recorder.heard();
                recorder.succeeded();
            }
            Err(error) => recorder.failed(error),
        }
        answer
    }

    /// Makes a call whose answer is a stream, under a slot that its caller holds. The clock of the
    /// headers runs from here to the status.
    ///
    /// # Errors
    /// [`UpstreamError`], recorded with the provider's circuit.
    pub async fn stream(
        &self,
        call: Call,
        _slot: &Slot,
        headers: Duration,
        refusal: ReadRefusal,
    ) -> Result<OpenStream, UpstreamError> {
        let recorder = self.permit(call.provider).await?;
        let opened = async {
            let response = self.send(call, headers).await?;
            accepted(response, refusal).await
        };
        match opened.await {
            Ok(response) => {
                let bytes = response.bytes_stream().boxed();
                Ok(OpenStream { bytes, recorder })
            }
            Err(error) => {
                recorder.failed(&error);
                Err(error)
            }
        }
    }

    async fn permit(&self, provider: ProviderId) -> Result<Recorder, UpstreamError> {
        let passed = self.circuits.pass(provider).await;
        passed
            .map(Recorder)
            .map_err(|open| UpstreamError::CircuitOpen { provider, retry_after: open.retry_after })
    }

    async fn send(&self, call: Call, headers: Duration) -> Result<Response, UpstreamError> {
        let call = match &self.trace {
            Some(trace) if !call.headers.contains_key(TRACEPARENT) => {
                call.within(&trace.child(chance::number()))
            }
            Some(_) | None => call,
        };
        let Call { provider, method, url, headers: fields, body } = call;
        let unusable = UpstreamError::Malformed { provider, what: "our own address of it" };
        let url = Url::parse(&url).map_err(|_| unusable)?;
        let sending = self.client.request(method, url).headers(fields).body(body).send();
        let limit = if headers == self.connect { headers + CONNECT_GRACE } else { headers };
        match tokio::time::timeout(limit, sending).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.not_answered(provider, error)),
            Err(_) => Err(UpstreamError::TimedOut { provider, clock: Clock::Headers, limit }),
        }
    }

    /// A call that got no status.
    fn not_answered(&self, provider: ProviderId, error: reqwest::Error) -> UpstreamError {
        match (error.is_connect(), error.is_timeout()) {
            (true, true) => {
                UpstreamError::TimedOut { provider, clock: Clock::Connect, limit: self.connect }
            }
            (true, false) => UpstreamError::NotSent { provider, cause: error.into() },
            // It was sent and the connection ended without a status.
            (false, _) => UpstreamError::NoContent { provider },
        }
    }
}
