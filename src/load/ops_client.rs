//! Asks a server what its operators see.

use std::time::Duration;

use reqwest::{Client, StatusCode, Url};

use crate::config::Secret;
use crate::contract::ops::Snapshot;

/// The most bytes of an answer that are read.
const MAX_BYTES: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// There is no such address.
    #[error("{0} is no address of a server, such as http://127.0.0.1:8787")]
    Address(String),
    /// The server refused the token, or there was none.
    #[error("the server refused the token: set OPS_TOKEN (or OPS_READ_TOKEN) to one that it knows")]
    Unauthorized,
    /// The server has no such route.
    #[error("the server has no operators' routes: OPS_TOKEN is not set there")]
    NoRoutes,
    /// A query was wrong; the server says what.
    #[error("{0}")]
    Wrong(String),
    /// Something else was answered.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// Nobody answered, or not in time.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// Who was asked, without a path.
        address: String,
        /// What is known of it.
        why: String,
    },
    /// What was answered is not what this version of the command reads.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
}

/// A client of one server's `/ops`.
pub struct OpsClient {
    client: Client,
    base: Url,
    token: Option<Secret>,
}

impl OpsClient {
    /// Asks the server there, each time at most that long.
    ///
    /// # Errors
    /// [`NoAnswer::Address`] for what is no address.
    pub fn new(base: &str, token: Option<Secret>, timeout: Duration) -> Result<Self, NoAnswer> {
        let wrong = || NoAnswer::Address(base.to_owned());
        let base = Url::parse(base).ok().filter(|url| url.has_host()).ok_or_else(wrong)?;
        let client = Client::builder().timeout(timeout).no_proxy().build();
        let client = client.map_err(|error| NoAnswer::Unreadable(error.to_string()))?;
        Ok(Self { client, base, token })
    }

    /// The snapshot, over so many minutes and with so many rows a section.
    ///
    /// # Errors
    /// [`NoAnswer`] says why there is none.
    pub async fn snapshot(
        &self,
        window_minutes: Option<u64>,
        limit: Option<u64>,
    ) -> Result<Snapshot, NoAnswer> {
        let mut url = self.base.join("/ops/snapshot").expect("a path of ours is one");
        let asked = [("windowMinutes", window_minutes), ("limit", limit)];
        for (name, value) in asked {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, &value.to_string());
            }
        }
        let body = self.get(url).await?;
        serde_json::from_slice(&body).map_err(|error| NoAnswer::Unreadable(error.to_string()))
    }

    async fn get(&self, url: Url) -> Result<Vec<u8>, NoAnswer> {
        let request = self.client.get(url);
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        };
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(NoAnswer::Unreadable(format!("it has more than {MAX_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNAUTHORIZED => Err(NoAnswer::Unauthorized),
            StatusCode::NOT_FOUND => Err(NoAnswer::NoRoutes),
            StatusCode::BAD_REQUEST => {
                Err(NoAnswer::Wrong(String::from_utf8_lossy(&body).into_owned()))
            }
            other => Err(NoAnswer::Status(other)),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> NoAnswer {
        let why = match (error.is_timeout(), error.is_connect()) {
            (true, _) => "it did not answer in time",
            (false, true) => "nobody listens there",
            (false, false) => "the connection broke",
        };
        let address = self.base.origin().ascii_serialization();
        NoAnswer::Unreachable { address, why: why.to_owned() }
    }
}
