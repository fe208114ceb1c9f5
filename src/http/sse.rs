//! An answer's log as a stream of server-sent events.
//!
//! The first parts go out at once; after that whatever is ready goes out together, for the cost of
//! a stream is one system call a write. While nothing comes, a comment shows that the stream lives.

use actix_web::HttpResponse;
use actix_web::http::header;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use sendcat_actors::stream_log::AnswerReader;

use crate::config::fixed;
use crate::contract::headers;

/// What goes out in one write at most.
const WRITE_BYTES: usize = 8 * 1024;

/// Turns that a write waits for more to come: a burst fills it, a paced stream does not wait.
const YIELDS: usize = 2;

const HEARTBEAT: &str = ": heartbeat\n\n";

/// The response that streams an answer; `at_end` is called once all of it was handed out, and not
/// if its reader goes before.
pub fn answer(reader: AnswerReader, at_end: impl FnOnce() + 'static) -> HttpResponse {
    let parts = stream::unfold((reader, true, at_end), |(mut reader, first, at_end)| async move {
        let Some(bytes) = next(&mut reader, first).await else {
            at_end();
            return None;
        };
        Some((Ok::<_, std::convert::Infallible>(bytes), (reader, false, at_end)))
    });
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, headers::STREAM_CACHE_CONTROL))
        .insert_header((headers::UI_MESSAGE_STREAM, headers::UI_MESSAGE_STREAM_V1))
        .insert_header((headers::ACCEL_BUFFERING, "no"))
        .streaming(parts)
}

async fn next(reader: &mut AnswerReader, first: bool) -> Option<Bytes> {
    let Ok(parts) = tokio::time::timeout(fixed::HEARTBEAT, reader.next(WRITE_BYTES)).await else {
        return Some(Bytes::from_static(HEARTBEAT.as_bytes()));
    };
    let parts = parts?;
    let mut bytes = BytesMut::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        bytes.extend_from_slice(part.as_bytes());
    }
    if first {
        return Some(bytes.freeze());
    }
    for _ in 0..YIELDS {
        if bytes.len() >= WRITE_BYTES {
            break;
        }
        tokio::task::yield_now().await;
        for part in reader.ready(WRITE_BYTES - bytes.len()).unwrap_or_default() {
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    Some(bytes.freeze())
}
