//! Plays a reply, with the fault that is armed, as an HTTP response that counts itself out.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::time::sleep;

use super::control::Call;
use super::fault::Fault;
use super::reply::{Body, Reply, Script};

/// Nobody waits longer than this for a stand-in that stalls; then the connection is closed.
const STALL: Duration = Duration::from_secs(600);
/// Between two comments of a stream that stalls.
const COMMENT_EVERY: Duration = Duration::from_millis(100);
/// Between two letters of a stream that drips: under 20 letters in 30 s, which is too slow.
pub(super) const DRIP_EVERY: Duration = Duration::from_secs(2);
/// Before a cut: an error of the body drops what was not written yet, so the writing goes first.
const CUT_AFTER: Duration = Duration::from_millis(20);
/// The comment that OpenRouter sends to keep a connection open.
pub(super) const COMMENT: &[u8] = b": OPENROUTER PROCESSING\n\n";
/// An event that ends in the middle of its JSON.
const BROKEN_EVENT: &[u8] = b"data: {\"id\":\"gen-0\",\"choices\":[{\"index\":0,\"del\n\n";
const EDGE_PAGE: &[u8] = b"<!DOCTYPE html><title>502 Bad Gateway</title><h1>Bad Gateway</h1>";

/// What happens to the body, in order.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Send(Bytes),
    Pause(Duration),
    Comments,
    Hang,
    Break,
}

/// The response for a reply that this fault strikes.
pub(super) async fn play(
    mut call: Call,
    reply: Reply,
    fault: Option<Fault>,
    refuse: fn(u16) -> Reply,
) -> HttpResponse {
    // After a reset nobody is there to answer; the server finds out by itself.
    if matches!(fault, Some(Fault::StallHeaders | Fault::Reset)) {
        sleep(STALL).await;
        call.complete();
        return HttpResponse::GatewayTimeout().finish();
    }
    let reply = replaced(reply, fault, refuse);
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponseBuilder::new(status);
    for (name, value) in reply.headers {
        response.insert_header((name, value));
    }
    match reply.body {
        Body::Whole { media_type, bytes } => {
            let bytes = if fault == Some(Fault::Malformed) { half(&bytes) } else { bytes };
            let length = bytes.len() as u64;
            let steps = whole_steps(bytes, fault);
            if length == 0 {
                call.complete();
                return response.finish();
            }
            response.content_type(media_type).body(SizedStream::new(length, body(steps, call)))
        }
        Body::Events(script) => {
            let steps = event_steps(script, fault);
            response.content_type("text/event-stream").streaming(body(steps, call))
        }
    }
}

/// The reply itself, or what a fault puts in its place.
fn replaced(reply: Reply, fault: Option<Fault>, refuse: fn(u16) -> Reply) -> Reply {
    let streams = matches!(reply.body, Body::Events(_));
    match fault {
        Some(Fault::Status(429)) => refuse(429).header("Retry-After", "2"),
        Some(Fault::Status(status)) => refuse(status),
        Some(Fault::Html) => Reply::whole(502, "text/html", Bytes::from_static(EDGE_PAGE)),
        Some(Fault::Empty) if !streams => Reply::whole(200, "application/json", "{}".into()),
        Some(Fault::ErrorMid) if !streams => Reply { status: 200, ..refuse(500) },
        Some(
            Fault::Empty
            | Fault::ErrorMid
            | Fault::StallHeaders
            | Fault::StallContent
            | Fault::StallMid
            | Fault::Cut
            | Fault::Drip
            | Fault::Reset
            | Fault::Late
            | Fault::Malformed,
        )
        | None => reply,
    }
}

fn half(bytes: &Bytes) -> Bytes {
    bytes.slice(..bytes.len() / 2)
}

/// The steps of a body that is sent whole.
fn whole_steps(bytes: Bytes, fault: Option<Fault>) -> VecDeque<Step> {
    match fault {
        Some(Fault::StallContent) => [Step::Hang].into(),
        Some(Fault::StallMid) => [Step::Send(half(&bytes)), Step::Hang].into(),
        Some(Fault::Cut) => [Step::Send(half(&bytes)), Step::Break].into(),
        Some(Fault::Drip) => (0..bytes.len())
            .flat_map(|at| [Step::Send(bytes.slice(at..=at)), Step::Pause(DRIP_EVERY)])
            .collect(),
        Some(
            Fault::Status(_)
            | Fault::Html
            | Fault::Empty
            | Fault::StallHeaders
            | Fault::ErrorMid
            | Fault::Reset
            | Fault::Late
            | Fault::Malformed,
        )
        | None => [Step::Send(bytes)].into(),
    }
}

/// The steps of a stream; what strikes in the middle strikes after half of the content.
fn event_steps(script: Script, fault: Option<Fault>) -> VecDeque<Step> {
    let Script { opening, content, pause, closing, failure } = script;
    let kept = match fault {
        Some(Fault::StallContent | Fault::Empty | Fault::Malformed) => 0,
        Some(Fault::StallMid | Fault::Cut | Fault::ErrorMid) => content.len().div_ceil(2),
        Some(
            Fault::Status(_)
            | Fault::Html
            | Fault::StallHeaders
            | Fault::Drip
            | Fault::Reset
            | Fault::Late,
        )
        | None => content.len(),
    };
    let mut steps: VecDeque<Step> = opening.into_iter().map(Step::Send).collect();
    for (at, event) in content.into_iter().take(kept).enumerate() {
        if at > 0 && !pause.is_zero() {
            steps.push_back(Step::Pause(pause));
        }
        steps.push_back(Step::Send(event));
    }
    match fault {
        Some(Fault::StallContent) => steps.push_back(Step::Comments),
        Some(Fault::StallMid) => steps.push_back(Step::Hang),
        Some(Fault::Cut) => steps.push_back(Step::Break),
        Some(Fault::ErrorMid) => steps.push_back(Step::Send(failure)),
        Some(Fault::Malformed) => {
            steps.push_back(Step::Send(Bytes::from_static(BROKEN_EVENT)));
            steps.extend(closing.into_iter().map(Step::Send));
        }
        Some(
            Fault::Status(_)
            | Fault::Html
            | Fault::Empty
            | Fault::StallHeaders
            | Fault::Drip
            | Fault::Reset
            | Fault::Late,
        )
        | None => steps.extend(closing.into_iter().map(Step::Send)),
    }
    steps
}

/// The body. It counts itself out with its last byte, so that a client that has read everything
/// finds nothing in flight.
fn body(steps: VecDeque<Step>, call: Call) -> impl Stream<Item = Result<Bytes, io::Error>> {
    stream::unfold((steps, call), |(mut steps, mut call)| async move {
        loop {
            match steps.pop_front() {
                Some(Step::Send(bytes)) => {
                    if !steps.iter().any(Step::matters) {
                        call.complete();
                    }
                    return Some((Ok(bytes), (steps, call)));
                }
                Some(Step::Pause(span)) => sleep(span).await,
                Some(Step::Comments) => {
                    steps.push_front(Step::Comments);
                    sleep(COMMENT_EVERY).await;
                    return Some((Ok(Bytes::from_static(COMMENT)), (steps, call)));
                }
                Some(Step::Hang) => {
                    sleep(STALL).await;
                    steps.push_front(Step::Break);
                }
                Some(Step::Break) => {
                    sleep(CUT_AFTER).await;
                    call.complete();
                    steps.clear();
                    let cause = io::Error::new(io::ErrorKind::ConnectionAborted, "cut by a fault");
                    return Some((Err(cause), (steps, call)));
                }
                None => {
                    call.complete();
                    return None;
                }
            }
        }
    })
}

impl Step {
    /// Whether the client would miss it.
    fn matters(&self) -> bool {
        !matches!(self, Self::Pause(_))
    }
}
