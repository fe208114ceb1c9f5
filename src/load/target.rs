//! What a server's address says of it, and which version the server says it is.

use std::time::Duration;

use reqwest::Client;

use super::traffic::Target;

/// The most bytes of its description that are read.
const MAX_BYTES: usize = 4 << 20;

impl Target {
    /// Scheme, host and port: no user, no password, no path.
    pub fn origin(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority.to_str().unwrap_or_default())
    }

    /// Name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The version in the server's own description; `None` if none comes in time.
    pub async fn version(&self, patience: Duration) -> Option<String> {
        let client = Client::builder().no_proxy().timeout(patience).build().ok()?;
        let mut answer = client.get(self.origin() + "/openapi.json").send().await.ok()?;
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
