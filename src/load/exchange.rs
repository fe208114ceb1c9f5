//! One request and its answer, typed to the end.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::http::{HeaderValue, Request, Response};

use super::clock::RunClock;
use super::connections::{Connection, Pool};
use super::traffic::{AnswerForm, Call};
use crate::slo::report::ErrorKind;

/// A connection that was idle so long may have been closed as the request left; one that was busy
/// just before was reset for it. No server keeps connections shorter.
const RACE_IDLE_US: u64 = 900_000;

/// What the last event of a whole stream says.
const DONE: &[u8] = b"data: [DONE]";

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) total: Duration,
    pub(super) stall: Duration,
}

/// What came of a request beside its end. Microseconds since the start of the run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) first_byte_us: Option<u64>,
    pub(super) gap_us: Option<u64>,
    pub(super) bare_refusal: bool,
}

/// Sends a request for a client and reads the whole answer; `seen` also has what came before an
/// error.
pub(super) async fn exchange(
    pool: &Pool,
    clock: RunClock,
    (call, client): (Call, u16),
    patience: Patience,
    seen: &mut Seen,
) -> Result<u16, ErrorKind> {
    let whole = async {
        let mut connection = pool.take(client).await?;
        let form = call.answer;
        let response = sent(&mut connection, request(pool, call, client)).await?;
        let status = response.status().as_u16();
        let told = response.headers().contains_key(hyper::header::RETRY_AFTER);
        seen.bare_refusal = matches!(status, 429 | 503) && !told;
        read(response.into_body(), clock, stream_of(form, status), patience.stall, seen).await?;
        pool.put(client, connection.sender, true);
        Ok(status)
    };
    let timed = tokio::time::timeout(patience.total, whole).await;
    timed.unwrap_or(Err(ErrorKind::Timeout))
}

fn stream_of(form: AnswerForm, status: u16) -> AnswerForm {
    if status == 200 { form } else { AnswerForm::Whole }
}

fn request(pool: &Pool, call: Call, client: u16) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(call.body));
    *request.method_mut() = call.method;
    // A path that is none asks for the root, and its answer says so.
    *request.uri_mut() = call.path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    *headers = call.headers;
    headers.insert(hyper::header::HOST, pool.target().authority.clone());
    let forwarded = pool.forwarded_for(client).and_then(|it| HeaderValue::from_str(&it).ok());
    if let Some(forwarded) = forwarded {
        headers.insert("x-forwarded-for", forwarded);
    }
    request
}

async fn sent(
    connection: &mut Connection,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, ErrorKind> {
    let answered = connection.sender.send_request(request).await;
    answered.map_err(|error| {
        let raced = connection.reused && connection.idle_us >= RACE_IDLE_US;
        // Never written: it was closed between two requests.
        let unsent = error.is_canceled() || error.is_closed();
        if raced || unsent { ErrorKind::PoolRace } else { ErrorKind::Reset }
    })
}

async fn read(
    mut body: Incoming,
    clock: RunClock,
    form: AnswerForm,
    stall: Duration,
    seen: &mut Seen,
) -> Result<(), ErrorKind> {
    let mut tail = Vec::with_capacity(DONE.len() * 4);
    let mut last_us = None;
    loop {
        let frame = tokio::time::timeout(stall, body.frame()).await;
        let Some(frame) = frame.map_err(|_silent| ErrorKind::Stall)? else { break };
        let cut = match form {
            AnswerForm::Whole => ErrorKind::BodyCut,
            AnswerForm::Events => ErrorKind::StreamCut,
        };
        let frame = frame.map_err(|_broken| cut)?;
        let (AnswerForm::Events, Some(chunk)) = (form, frame.data_ref()) else { continue };
        let now_us = clock.now_us();
        seen.first_byte_us.get_or_insert(now_us);
        if let Some(last_us) = last_us.replace(now_us) {
            let gap_us = now_us.saturating_sub(last_us);
            seen.gap_us = Some(seen.gap_us.unwrap_or_default().max(gap_us));
        }
        tail.extend_from_slice(&chunk[chunk.len().saturating_sub(DONE.len() * 2)..]);
        tail.drain(..tail.len().saturating_sub(DONE.len() * 2));
    }
    let finished = form == AnswerForm::Whole || tail.trim_ascii_end().ends_with(DONE);
    if finished { Ok(()) } else { Err(ErrorKind::StreamCut) }
}
