//! What a refusal says: a status other than 200, or an error within a 200.

use std::time::Duration;

use sendcat_state::key::ProviderId;
use serde_json::Value;

use super::chunk::MalformedChunk;
use crate::upstream::classify;
use crate::upstream::error::UpstreamError;

/// The failure that an answer with this status is. The body may be JSON, an HTML page or nothing;
/// of it only a wait is read, for headers of edges in between get lost. `retry_after` is the
/// header's text.
pub fn refusal(status: u16, retry_after: Option<&str>, body: &[u8]) -> UpstreamError {
    let provider = ProviderId::OpenrouterChat;
    let wait = retry_after.and_then(classify::retry_after).or_else(|| wait_in(body));
    match classify::status(provider, status, wait) {
        Err(error) => error,
        Ok(()) => UpstreamError::Malformed { provider, what: "a refusal with a status of success" },
    }
}

/// The failure that an error chunk is.
pub fn failure_within(status: Option<u16>) -> UpstreamError {
    UpstreamError::FailedWithin { provider: ProviderId::OpenrouterChat, status }
}

impl From<MalformedChunk> for UpstreamError {
    fn from(_: MalformedChunk) -> Self {
        Self::Malformed { provider: ProviderId::OpenrouterChat, what: "a chunk of the stream" }
    }
}

fn wait_in(body: &[u8]) -> Option<Duration> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let error = &body["error"];
    let metadata = &error["metadata"];
    let headers = ["Retry-After", "retry-after"].map(|name| &metadata["headers"][name]);
    [&error["availability"]["retry_after"], &metadata["retry_after_seconds"]]
        .into_iter()
        .chain(headers)
        .find_map(|wait| match wait.as_f64() {
            Some(seconds) => classify::seconds(seconds),
            None => classify::retry_after(wait.as_str()?),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! sample {
        ($name:literal) => {
            include_bytes!(concat!("../../../tests/it/samples/upstream/openrouter-error-", $name))
        };
    }

    fn read(status: u16, header: Option<&str>, body: &[u8]) -> (&'static str, Option<Duration>) {
        let error = refusal(status, header, body);
        (error.code_name(), error.retry_after())
    }

    fn seconds(count: u64) -> Option<Duration> {
        Some(Duration::from_secs(count))
    }

    #[test]
    fn every_sample_is_read() {
        assert_eq!(read(402, None, sample!("402.json")), ("misconfigured", seconds(60)));
        assert_eq!(read(429, None, sample!("429.json")), ("upstream_rate_limited", None));
        assert_eq!(read(503, None, sample!("503.json")), ("upstream_error", seconds(2)));
    }

    #[test]
    fn a_sample_cut_anywhere_is_still_a_refusal() {
        let whole = sample!("503.json");
        for cut in 0..whole.len() {
            assert_eq!(read(503, None, &whole[..cut]).0, "upstream_error");
        }
    }

    #[test]
    fn the_header_comes_before_the_copies_in_the_body() {
        let body = sample!("503.json");
        assert_eq!(read(503, Some("9"), body).1, seconds(9));
        assert_eq!(read(503, Some("soon"), body).1, seconds(2));
        let table = [
            r#"{"error":{"metadata":{"retry_after_seconds":3.0}}}"#,
            r#"{"error":{"metadata":{"headers":{"Retry-After":"3"}}}}"#,
            concat!(
                r#"{"error":{"availability":{"retry_after":null},"#,
                r#""metadata":{"retry_after_seconds":3}}}"#,
            ),
        ];
        for body in table {
            assert_eq!(read(429, None, body.as_bytes()).1, seconds(3), "{body}");
        }
    }

    #[test]
    fn an_html_page_and_an_odd_body_are_refusals_without_a_wait() {
        for body in [b"<html>Bad gateway</html>".as_slice(), b"", b"[]", b"{\"error\":7}"] {
            assert_eq!(read(502, None, body), ("upstream_error", None));
            assert_eq!(read(404, None, body), ("upstream_rejected", None));
        }
    }
}
