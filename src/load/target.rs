//! A server by its address: whether it is this machine, and which version it says it is.

use std::time::Duration;

use reqwest::{Client, Url};

/// The most bytes of its description that are read.
const MAX_BYTES: usize = 4 << 20;

/// An address of a server, over `http` or `https`.
#[derive(Clone, Debug)]
pub struct Address {
    url: Url,
}

impl Address {
    /// The address in a text; `None` of what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(Self { url })
    }

    /// Scheme, host and port: no user, no password, no path.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The host.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Whether it is this machine, by its name alone: no other name is looked up.
    pub fn is_loopback(&self) -> bool {
        let bare = self.host().trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<std::net::IpAddr>();
        bare == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// The version in the server's own description; `None` if none comes in time.
    pub async fn version(&self, patience: Duration) -> Option<String> {
        let client = Client::builder().no_proxy().timeout(patience).build().ok()?;
        let url = self.url.join("/openapi.json").ok()?;
        let mut answer = client.get(url).send().await.ok()?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.ok()? {
            if body.len() + chunk.len() > MAX_BYTES {
                return None;
            }
            body.extend_from_slice(&chunk);
        }
        let described: serde_json::Value = serde_json::from_slice(&body).ok()?;
        let version = described.pointer("/info/version")?.as_str()?;
        // It is a stranger's word: as long as a version may be, and printable.
        let plain = version.len() <= 64 && version.chars().all(|c| c.is_ascii_graphic());
        plain.then(|| version.to_owned())
    }
}
