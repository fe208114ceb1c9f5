//! A file of a message: its address first, then its bytes.
//!
//! The address comes from the API and the key goes with it, so it is followed only to hosts that
//! are known to be Meta's, over TLS and by name, and to the API's own address. A redirect is not
//! followed at all. What arrives is bounded while it arrives and compared with its digest.

use std::time::Duration;

use serde::Deserialize;

use super::{PROVIDER, bearer, read_refusal, url_of};
use crate::config::Whatsapp;
use crate::contract::signature::has_digest;
use crate::upstream::call::{Call, Upstream, Url};
use crate::upstream::error::UpstreamError;

/// Where files of messages are, besides the API's own address (WEBHOOKS.md §1.4).
pub const MEDIA_HOSTS: &[&str] = &["lookaside.fbsbx.com"];

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// What it is, as the API says.
    pub mime_type: Option<String>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The provider gave none.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// It is at an address that the key must not go to.
    #[error("the file is at an address that is none of the provider's")]
    Elsewhere,
    /// It has more bytes than may be kept.
    #[error("the file has more than {0} bytes")]
    TooLarge(usize),
    /// What arrived is not what was announced.
    #[error("the file has another digest than it should have")]
    Altered,
}

/// What the API says of a file.
#[derive(Debug, Deserialize)]
pub(in crate::upstream) struct Announced {
    url: String,
    mime_type: Option<String>,
    sha256: Option<String>,
    file_size: Option<Size>,
}

/// Documented as a number, sent as a text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Size {
    Number(u64),
    Text(String),
}

impl Announced {
    fn bytes(&self) -> Option<u64> {
        match self.file_size.as_ref()? {
            Size::Number(number) => Some(*number),
            Size::Text(text) => text.parse().ok(),
        }
    }
}

/// Fetches a file of at most `most_bytes`. An address lives for five minutes; one that is gone is
/// asked for anew, once.
///
/// # Errors
/// [`MediaError`].
pub async fn fetch(
    upstream: &Upstream,
    settings: &Whatsapp,
    (media_id, phone_number_id): (&str, Option<&str>),
    most_bytes: usize,
    (holder, deadline): (&str, Duration),
) -> Result<Media, MediaError> {
    let mut asked_before = false;
    loop {
        let announced =
            announced(upstream, settings, (media_id, phone_number_id), (holder, deadline));
        let announced = announced.await?;
        if announced.bytes().is_some_and(|bytes| bytes > most_bytes as u64) {
            return Err(MediaError::TooLarge(most_bytes));
        }
        if !is_trusted(&announced.url, &settings.graph_base_url) {
            return Err(MediaError::Elsewhere);
        }
        let call = Call::get(PROVIDER, announced.url.clone());
        let call = call.with_secret("authorization", &bearer(settings)?);
        let got = upstream.file(call, holder, (deadline, most_bytes), read_refusal).await;
        let bytes = match got {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(MediaError::TooLarge(most_bytes)),
            Err(UpstreamError::Rejected { status: 404, .. }) if !asked_before => {
                asked_before = true;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if announced.sha256.is_some_and(|claimed| !has_digest(&claimed, &bytes)) {
            return Err(MediaError::Altered);
        }
        return Ok(Media { mime_type: announced.mime_type, bytes });
    }
}

async fn announced(
    upstream: &Upstream,
    settings: &Whatsapp,
    (media_id, phone_number_id): (&str, Option<&str>),
    (holder, deadline): (&str, Duration),
) -> Result<Announced, UpstreamError> {
    let query = phone_number_id
        .map(|id| format!("?{}", crate::upstream::text::pairs(&[("phone_number_id", id)])));
    let url = url_of(settings, media_id, query.as_deref().unwrap_or_default());
    let call = Call::get(PROVIDER, url).with_secret("authorization", &bearer(settings)?);
    upstream.read(call, holder, deadline, (read_refusal, read_announced)).await
}

/// What the first step tells of a file.
pub(in crate::upstream) fn read_announced(body: &[u8]) -> Result<Announced, UpstreamError> {
    let malformed =
        |_| UpstreamError::Malformed { provider: PROVIDER, what: "the body tells of no file" };
    serde_json::from_slice(body).map_err(malformed)
}

/// Whether the key may go to an address: to a host of [`MEDIA_HOSTS`], or to where the API itself
/// is.
fn is_trusted(url: &str, api: &str) -> bool {
    let (Ok(url), Ok(api)) = (Url::parse(url), Url::parse(api)) else { return false };
    if !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    if url.origin() == api.origin() {
        return true;
    }
    let known = url.domain().is_some_and(|host| MEDIA_HOSTS.contains(&host));
    url.scheme() == "https" && url.port().is_none() && known
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = "https://graph.facebook.com/v25.0";

    #[test]
    fn the_samples_file_is_read_and_its_address_is_trusted() {
        let sample = include_str!("../../../tests/it/samples/whatsapp_media_two_step.json");
        let sample: serde_json::Value = serde_json::from_str(sample).unwrap();
        let body = sample["step1_response"].to_string();
        let announced: Announced = serde_json::from_slice(body.as_bytes()).unwrap();
        assert_eq!(announced.bytes(), Some(303_833));
        assert_eq!(announced.mime_type.as_deref(), Some("image/jpeg"));
        assert_eq!(announced.sha256.as_deref().map(str::len), Some(64));
        assert!(is_trusted(&announced.url, API));
    }

    #[test]
    fn the_key_goes_to_metas_hosts_over_tls_alone() {
        let table = [
            ("https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1", true),
            ("https://graph.facebook.com/v25.0/1", true),
            ("https://LOOKASIDE.fbsbx.com/x", true),
            ("http://lookaside.fbsbx.com/x", false),
            ("https://lookaside.fbsbx.com:8443/x", false),
            ("https://lookaside.fbsbx.com.evil.example/x", false),
            ("https://evil-lookaside.fbsbx.com/x", false),
            ("https://lookaside.fbsbx.com@evil.example/x", false),
            ("https://u:p@lookaside.fbsbx.com/x", false),
            ("http://graph.facebook.com/v25.0/1", false),
            ("https://127.0.0.1/x", false),
            ("http://127.0.0.1/x", false),
            ("https://169.254.169.254/latest/meta-data", false),
            ("https://[::1]/x", false),
            ("https://2130706433/x", false),
            ("https://localhost/x", false),
            ("file:///etc/passwd", false),
            ("ftp://lookaside.fbsbx.com/x", false),
            ("/relative", false),
            ("", false),
        ];
        for (url, expected) in table {
            assert_eq!(is_trusted(url, API), expected, "{url}");
        }
        // A stand-in serves files from where its API is, and from no port beside it.
        let sandbox = "http://127.0.0.1:4242/graph";
        assert!(is_trusted("http://127.0.0.1:4242/graph/attachments/1", sandbox));
        assert!(!is_trusted("http://127.0.0.1:4243/graph/attachments/1", sandbox));
    }

    #[test]
    fn a_size_is_a_number_or_a_text() {
        for (size, bytes) in [(r#""12""#, Some(12)), ("12", Some(12)), (r#""x""#, None)] {
            let text = format!(r#"{{"url":"u","file_size":{size}}}"#);
            let announced: Announced = serde_json::from_str(&text).unwrap();
            assert_eq!(announced.bytes(), bytes);
        }
    }
}
