//! Runs a route: its guards in order, its handler, and what every response carries.
//!
//! A panic in a guard or a handler is a 500 to its caller and nothing to anybody else; without this
//! the connection would be closed in silence.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::FutureExt as _;
use sendcat_actors::chance;
use sendcat_actors::faults::Step;
use sendcat_state::timestamp::Timestamp;
use tracing::Instrument as _;

use super::gmail;
use super::guard::{self, Caller};
use super::respond::{self, Refusal};
use super::routes::{self, Guard, Route};
use super::{Shared, Worker};
use crate::contract::code::ErrorCode;
use crate::contract::headers::{self, Quota, rate_limit_fields};
use crate::contract::trace::{TRACEPARENT, TRACESTATE, Trace};
use crate::telemetry::metrics::Answered;
use crate::telemetry::traces::{Parent, Span, SpanKind};
use crate::telemetry::{self, traces};

/// Where faults are armed; they do not strike there, nor below.
pub(super) const FAULTS_PATH: &str = "/ops/faults";

/// A request on its way through its guards to its handler.
pub struct Call {
    /// The head.
    pub request: HttpRequest,
    /// What this worker has.
    pub worker: Worker,
    /// The trace that it belongs to.
    pub trace: Trace,
    /// Whose request it is, as far as addresses tell.
    pub client: IpAddr,
    /// Who calls, where a guard has asked for a token.
    pub caller: Option<Caller>,
    /// The body, where a guard has read it.
    pub body: Bytes,
    /// The limit that the call was counted under, for the answer's headers.
    pub quota: Option<Quota>,
}

impl Call {
    /// What every worker shares.
    pub fn shared(&self) -> &Shared {
        &self.worker.shared
    }

    /// The caller; every route that asks for it has a guard that finds it.
    ///
    /// # Errors
    /// `unauthorized` if the route has no such guard.
    pub fn caller(&self) -> Result<&Caller, Refusal> {
        self.caller.as_ref().ok_or_else(|| ErrorCode::Unauthorized.into())
    }

    /// A parameter of the path; empty if the path has none of that name.
    pub fn path(&self, name: &str) -> &str {
        self.request.match_info().get(name).unwrap_or_default()
    }

    /// A parameter of the query, decoded; the first of that name.
    pub fn query(&self, name: &str) -> Option<String> {
        let pairs = self.request.query_string().split('&');
        pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(
            |(_, value)| {
                let value = value.replace('+', " ");
                percent_encoding::percent_decode_str(&value).decode_utf8_lossy().into_owned()
            },
        )
    }

    /// The texts of a header that may stand once at most; what is no text is told as `None`.
    pub fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Option<&'a str>> {
        self.request.headers().get_all(name).map(|value| value.to_str().ok())
    }

    /// A header's text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name).and_then(|value| value.to_str().ok())
    }
}

/// Answers a request to a path of the table.
pub async fn dispatch(
    request: HttpRequest,
    payload: web::Payload,
    worker: web::Data<Worker>,
) -> HttpResponse {
    let worker = worker.get_ref().clone();
    let shared = std::sync::Arc::clone(&worker.shared);
    let now = shared.tree.clock.now();
    let request_id = chance::id(now).to_string();
    let step = begin_span(&request, &shared);
    let trace = step.trace().clone();
    let span = tracing::info_span!(
        "request",
        id = %request_id, trace = %trace.id(), method = %request.method(), path = %request.path(),
    );
    let path = request.match_pattern().unwrap_or_default();
    let routes = routes::of_path(&path);
    let head = request.clone();
    let mut payload = payload.into_inner();
    let answering = AssertUnwindSafe(answer(request, &mut payload, worker, trace, routes));
    let answered = answering.catch_unwind().instrument(span.clone()).await;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(refusal)) => {
            if !refusal.closes() {
                guard::body::discard(&head, &mut payload).await;
            }
            refused(&head, &path, &refusal, &shared)
        }
        Err(_) => {
            let _in = span.enter();
            tracing::error!("a handler panicked");
            refused(&head, &path, &ErrorCode::InternalError.into(), &shared)
        }
    };
    span.in_scope(|| {
        let code = response.headers().get(headers::ERROR_CODE).and_then(|code| code.to_str().ok());
        tracing::info!(status = response.status().as_u16(), code, "answered");
        note_verb(&head, routes, response.status().as_u16(), &shared);
    });
    let row = routes.first().map(|row| row.path);
    measure((&head, row), &response, step, &shared, now);
    respond::add_fields(&mut response, [(headers::REQUEST_ID, request_id)]);
    guard::origin::add_fields(&head, &shared.config(), routes, &mut response);
    response
}

/// Logs who has an operator's verb run, or has tried to: the line has when, its span which.
fn note_verb(head: &HttpRequest, routes: &[Route], status: u16, shared: &Shared) {
    let of_method = routes.iter().find(|route| route.method == head.method().as_str());
    let is_verb = of_method
        .is_some_and(|route| route.method != "GET" && route.guards.contains(&Guard::Operator));
    if is_verb {
        let by = guard::client_ip::of(head, &shared.config().trusted_proxies);
        tracing::warn!(%by, status, "an operator's verb");
    }
}

/// The answer that a refusal is.
fn refused(head: &HttpRequest, path: &str, refusal: &Refusal, shared: &Shared) -> HttpResponse {
    let instead = gmail::in_place_of(path, refusal.code(), &shared.config());
    instead.unwrap_or_else(|| respond::refuse(head, refusal, shared.config().rate_limit_style))
}

/// Begins the request's step of the trace that the caller names, or of a new one.
fn begin_span(request: &HttpRequest, shared: &Shared) -> Span {
    let field = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let named = field(TRACEPARENT).and_then(|parent| Trace::read(parent, field(TRACESTATE)));
    let drawn = chance::number;
    let (trace, parent) = match named {
        Some(caller) => (caller.child(drawn()), Parent::Remote(caller)),
        None => (traces::begun_here([drawn(), drawn(), drawn()]), Parent::None),
    };
    Span::begin(trace, parent, SpanKind::Server, shared.tree.clock.wall())
}

/// Measures the request up to its answer's head, by the row of the table that it met.
fn measure(
    (head, route): (&HttpRequest, Option<&'static str>),
    response: &HttpResponse,
    step: Span,
    shared: &Shared,
    began: Timestamp,
) {
    let clock = &shared.tree.clock;
    let code = response.headers().get(headers::ERROR_CODE).and_then(|code| code.to_str().ok());
    let answer = Answered {
        route,
        method: head.method().as_str(),
        status: response.status().as_u16(),
        code,
    };
    telemetry::metrics::http_answered(answer, began.until(clock.now()));
    step.end_request(answer, clock.wall());
}

async fn answer(
    request: HttpRequest,
    payload: &mut Payload,
    worker: Worker,
    trace: Trace,
    routes: &'static [Route],
) -> Result<HttpResponse, Refusal> {
    let method = request.method().clone();
    let Some(first) = routes.first() else {
        return Err(ErrorCode::NotFound.into());
    };
    // New work is refused, so that what is running can end; who looks on may look on.
    if worker.shared.is_draining() && first.path.starts_with("/api/") {
        return Err(ErrorCode::Overloaded.into());
    }
    let client = guard::client_ip::of(&request, &worker.shared.config().trusted_proxies);
    let mut call =
        Call { request, worker, trace, client, caller: None, body: Bytes::new(), quota: None };
    if method == Method::OPTIONS && first.is_for_pages() {
        return Ok(guard::origin::preflight(&call.request, &call.shared().config(), routes));
    }
    let route = routes.iter().find(|route| route.method == method.as_str());
    let guards = route.unwrap_or(first).guards;
    for guard in guards {
        if *guard == Guard::Method && route.is_none() {
            break;
        }
        guard::check(*guard, &mut call, payload).await?;
    }
    let Some(route) = route else {
        let refusal = Refusal::from(ErrorCode::MethodNotAllowed);
        return Err(refusal.allowing(routes::allowed(routes)));
    };
    if !route.path.starts_with(FAULTS_PATH) {
        call.shared().faults.strike(Step::Decide);
    }
    let style = call.shared().config().rate_limit_style;
    let quota = call.quota.clone();
    let mut response = (route.handler)(call).await?;
    if let Some(quota) = quota {
        respond::add_fields(&mut response, rate_limit_fields(style, &[quota]));
    }
    Ok(response)
}
