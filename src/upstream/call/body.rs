//! Reads what a call was answered, within bounds.

use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Response;
use sendcat_state::key::ProviderId;

use super::{ReadRefusal, RefusedAnswer};
use crate::upstream::error::UpstreamError;

/// The most bytes of a refusal's body; of it only a wait and a word are read.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// How long a refusal's body may take: its status is known, and that is enough.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(1);

/// The response, if its status is a success.
pub(super) async fn accepted(
    response: Response,
    refusal: ReadRefusal,
) -> Result<Response, UpstreamError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = response.headers().get(reqwest::header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = async {
        let mut stream = response.bytes_stream();
        let mut body = Vec::new();
        while let Some(Ok(chunk)) = stream.next().await {
            body.extend_from_slice(&chunk);
            if body.len() >= MAX_REFUSAL_BYTES {
                break;
            }
        }
        body
    };
    let body = tokio::time::timeout(REFUSAL_DEADLINE, body).await.unwrap_or_default();
    Err(refusal(&RefusedAnswer { status: status.as_u16(), retry_after, body }))
}

/// The body, or `None` if it has more bytes than that.
pub(super) async fn read_at_most(
    provider: ProviderId,
    response: Response,
    most_bytes: usize,
) -> Result<Option<Vec<u8>>, UpstreamError> {
    let mut stream = response.bytes_stream();
    let mut body = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| UpstreamError::Cut { provider })?;
        if body.len() + chunk.len() > most_bytes {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
