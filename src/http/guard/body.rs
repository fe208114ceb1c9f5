//! Reads bodies: declared as JSON, not too large, and in time. Bytes are counted as they come, for
//! a length can be left out or lied about.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::super::dispatch::Call;
use super::super::respond::Refusal;
use super::super::routes::BodyLimit;
use crate::config::{Config, fixed};
use crate::contract::code::ErrorCode;

/// Refuses a body that is not declared as JSON, or is compressed.
pub(super) fn declared_as_json(request: &HttpRequest) -> Result<(), Refusal> {
    let text = |name: header::HeaderName| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let essence = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    let coding = text(header::CONTENT_ENCODING).trim();
    let plain = coding.is_empty() || coding.eq_ignore_ascii_case("identity");
    if essence.eq_ignore_ascii_case("application/json") && plain {
        return Ok(());
    }
    Err(ErrorCode::UnsupportedMediaType.into())
}

/// Reads the whole body.
pub(super) async fn read(
    call: &Call,
    payload: &mut Payload,
    limit: BodyLimit,
) -> Result<Bytes, Refusal> {
    let config = &call.shared().config();
    let most_bytes = most_bytes(config, limit);
    let declared = call.field("content-length").and_then(|text| text.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > most_bytes as u64) {
        return Err(ErrorCode::PayloadTooLarge.into());
    }
    let reading = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| Refusal::from(ErrorCode::InvalidRequest))?;
            if body.len() + chunk.len() > most_bytes {
                return Err(Refusal::from(ErrorCode::PayloadTooLarge));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    let read = tokio::time::timeout(config.body_timeout, reading).await;
    read.unwrap_or_else(|_| Err(ErrorCode::RequestTimeout.into()))
}

/// The most that is read of a body that nobody wants, and for how long.
const DISCARDED_BYTES: usize = 256 * 1024;
const DISCARDING: Duration = Duration::from_secs(1);

/// Reads what is left of a refused request's body, so that its connection can be used again. An
/// answer to a body in the middle of its way ends the connection, and the sender, still writing,
/// may never read it.
pub(in crate::http) async fn discard(request: &HttpRequest, payload: &mut Payload) {
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|bytes| bytes > DISCARDED_BYTES) {
        return;
    }
    let discarding = async {
        let mut read_bytes = 0;
        while let Some(Ok(chunk)) = payload.next().await {
            read_bytes += chunk.len();
            if read_bytes > DISCARDED_BYTES {
                return;
            }
        }
    };
    // Whoever is slower than that gets the answer, and the end of the connection with it.
    let _ = tokio::time::timeout(DISCARDING, discarding).await;
}

fn most_bytes(config: &Config, limit: BodyLimit) -> usize {
    match limit {
        BodyLimit::Chat => fixed::CHAT_BODY_BYTES_MAX,
        BodyLimit::Webhook => config.webhook_max_bytes,
        BodyLimit::Whatsapp => config.whatsapp_max_bytes,
    }
}
