//! One request of a probe and its answer, each on a connection of its own, with the time of every
//! phase and a transcript that holds no secret.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, Url};
use serde::Serialize;
use tower::util::MapFutureLayer;

use crate::contract::headers;
use crate::load::clock::Stopwatch;

/// The most bytes of an answer that are read: a snapshot of a large server has a few hundred KB.
const MAX_BYTES: usize = 8 << 20;

/// The longest `Retry-After` that is waited for: limiters' windows are a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(90);

/// Answer headers whose values may be shown; of others only the name is.
const SHOWN: &[&str] = &[
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "content-length",
    "content-type",
    "date",
    headers::RATE_LIMIT,
    headers::RATE_LIMIT_POLICY,
    headers::RETRY_AFTER,
    "server",
    "vary",
    "www-authenticate",
    headers::IDEMPOTENT_REPLAY,
    headers::REQUEST_ID,
    headers::ERROR_CODE,
    headers::UI_MESSAGE_STREAM,
];

/// Request headers whose values may be shown.
const SENT_OPENLY: &[&str] = &["accept", "content-type", "origin", "access-control-request-method"];

/// Sends requests to one server, none of them on a connection that was used before.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    client: Client,
    base: Url,
    /// How long the last connection took; requests go one after another.
    connected: Arc<Mutex<Option<Duration>>>,
    pub(super) timeout: Duration,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// With its query.
    pub(super) path: String,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: String,
    pub(super) on_429: On429,
}

/// What a `429` with `Retry-After` leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On429 {
    /// It is waited for, once.
    Wait,
    /// It is an answer like any other.
    Take,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// How long each phase took, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Phases {
    /// Name, TCP and TLS.
    pub connect: f64,
    /// From there to the head of the answer; of a stream that is its first content.
    pub first_byte: f64,
    /// From there to the end of the body.
    pub body: f64,
}

impl Phases {
    /// All of them.
    pub fn total(self) -> f64 {
        self.connect + self.first_byte + self.body
    }
}

/// What was sent and what came, as it may stand in a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// Method and path; values of a query are masked.
    pub request: String,
    /// The status; absent where none came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long each phase took, milliseconds.
    pub phases_ms: Phases,
    /// How long a `429` before it asked to wait, seconds; absent where none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited_for429_s: Option<u64>,
    /// Lines of both heads; bodies are left out, secrets masked.
    pub transcript: Vec<String>,
}

/// Why there is no whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NoAnswer {
    pub(super) why: String,
    /// Whether not even a connection was had.
    pub(super) unreachable: bool,
}

impl Wire {
    pub(super) fn new(base: &Url, timeout: Duration) -> Result<Self, reqwest::Error> {
        let connected = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&connected);
        let measured = MapFutureLayer::new(move |connecting| {
            let slot = Arc::clone(&slot);
            async move {
                let watch = Stopwatch::start();
                let connection = std::future::IntoFuture::into_future(connecting).await;
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch.read());
                connection
            }
        });
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .pool_max_idle_per_host(0)
            .connector_layer(measured)
            .build()?;
        Ok(Self { client, base: base.clone(), connected, timeout })
    }

    /// Sends a request and reads its answer; a `429` that names a wait is waited for once.
    pub(super) async fn send(
        &self,
        ask: &Ask,
        seen: &mut Vec<Exchange>,
    ) -> Result<Answer, NoAnswer> {
        let first = self.send_once(ask, seen).await?;
        let Some(wait) = first.asks_to_wait().filter(|_| ask.on_429 == On429::Wait) else {
            return Ok(first);
        };
        tokio::time::sleep(wait).await;
        let second = self.send_once(ask, seen).await;
        if let Some(exchange) = seen.last_mut() {
            exchange.waited_for429_s = Some(wait.as_secs());
        }
        second
    }

    async fn send_once(&self, ask: &Ask, seen: &mut Vec<Exchange>) -> Result<Answer, NoAnswer> {
        let mut exchange = Exchange {
            request: format!("{} {}", ask.method, masked_query(&ask.path)),
            transcript: ask.lines(),
            ..Exchange::default()
        };
        let answered = match tokio::time::timeout(self.timeout, self.ask(ask, &mut exchange)).await
        {
            Ok(answered) => answered,
            Err(_) => {
                let limit = humantime::format_duration(self.timeout);
                Err(NoAnswer { why: format!("no whole answer within {limit}"), unreachable: false })
            }
        };
        if let Err(missing) = &answered {
            exchange.transcript.push(format!("< ({})", missing.why));
        }
        seen.push(exchange);
        answered
    }

    async fn ask(&self, ask: &Ask, exchange: &mut Exchange) -> Result<Answer, NoAnswer> {
        let url = self
            .base
            .join(&ask.path)
            .map_err(|error| NoAnswer { why: format!("no address: {error}"), unreachable: true })?;
        let mut request = self.client.request(ask.method.clone(), url);
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        if ask.method == Method::POST || !ask.body.is_empty() {
            request = request.body(ask.body.clone());
        }
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let watch = Stopwatch::start();
        let response = request.send().await.map_err(|error| NoAnswer::of(&error))?;
        let head = watch.read();
        let connected = *self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let connect = connected.unwrap_or_default();
        exchange.status = Some(response.status().as_u16());
        exchange.phases_ms.connect = ms(connect);
        exchange.phases_ms.first_byte = ms(head.saturating_sub(connect));
        exchange.transcript.extend(lines_of(response.status().as_u16(), response.headers()));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = whole_body(response).await;
        exchange.phases_ms.body = ms(watch.read().saturating_sub(head));
        let body = body?;
        exchange.transcript.push(format!("< ({} bytes of body)", body.len()));
        Ok(Answer { status, headers, body })
    }
}

async fn whole_body(mut response: Response) -> Result<Vec<u8>, NoAnswer> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_BYTES => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => {
                let why = format!("the body has more than {MAX_BYTES} bytes");
                return Err(NoAnswer { why, unreachable: false });
            }
            Ok(None) => return Ok(body),
            Err(_) => {
                let why = format!("the body was cut after {} bytes", body.len());
                return Err(NoAnswer { why, unreachable: false });
            }
        }
    }
}

impl NoAnswer {
    fn of(error: &reqwest::Error) -> Self {
        let unreachable = error.is_connect();
        let why = if unreachable { "no connection" } else { "the connection broke" };
        Self { why: why.to_owned(), unreachable }
    }
}

impl Ask {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        let (headers, body) = (Vec::new(), String::new());
        Self { method, path: path.into(), headers, body, on_429: On429::Wait }
    }

    /// The same with a header.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((HeaderName::from_static(name), value.into()));
        self
    }

    /// The same with a body of JSON.
    pub(super) fn json(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self.with("content-type", "application/json")
    }

    /// The same by the bearer of a token.
    pub(super) fn bearer(self, token: &str) -> Self {
        self.with("authorization", format!("Bearer {token}"))
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("> {} {}", self.method, masked_query(&self.path))];
        for (name, value) in &self.headers {
            let open = SENT_OPENLY.contains(&name.as_str());
            lines.push(format!("> {name}: {}", if open { value } else { "***" }));
        }
        if !self.body.is_empty() {
            lines.push(format!("> ({} bytes of body)", self.body.len()));
        }
        lines
    }
}

impl Answer {
    /// A header's value, if it is there once and is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        values.next().is_none().then(|| value.to_str().ok())?
    }

    fn asks_to_wait(&self) -> Option<Duration> {
        let seconds: u64 = self.header(headers::RETRY_AFTER)?.trim().parse().ok()?;
        let wait = Duration::from_secs(seconds);
        (self.status == 429 && wait <= LONGEST_WAIT).then_some(wait)
    }
}

fn lines_of(status: u16, headers: &HeaderMap<HeaderValue>) -> Vec<String> {
    let mut lines = vec![format!("< {status}")];
    for (name, value) in headers {
        let shown = SHOWN.contains(&name.as_str()).then(|| value.to_str().ok()).flatten();
        lines.push(format!("< {name}: {}", shown.unwrap_or("***")));
    }
    lines
}

/// A path whose query tells its names only.
fn masked_query(path: &str) -> String {
    let Some((path, query)) = path.split_once('?') else { return path.to_owned() };
    let masked = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) => format!("{name}=***"),
        None => "***".to_owned(),
    });
    format!("{path}?{}", masked.collect::<Vec<_>>().join("&"))
}

fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e5).round() / 100.0
}
