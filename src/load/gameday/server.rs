//! The server of a game day: its fault board, and what its operators see.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::plan::Plan;
use super::tally::Gauges;
use crate::config::Secret;
use crate::contract::ops::{FaultLease, FaultsAnswer, Snapshot};

/// How long one question of an operator may take: one a second is asked.
const PATIENCE: Duration = Duration::from_millis(900);

/// How long arming may take.
const ARMING: Duration = Duration::from_secs(5);

/// Why the board did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// No such route: a build without faults, or a server without operators.
    #[error("the server has no fault board: build it with --features faults, and set OPS_TOKEN")]
    NoBoard,
    /// The token is not the operators'.
    #[error("the server refused the token: set OPS_TOKEN to one that it knows")]
    Unauthorized,
    /// It says why.
    #[error("the server refused the fault: {0}")]
    Refused(String),
    /// Nobody answers there.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
}

/// Who is asked, and by which secrets.
#[derive(Clone)]
pub struct Target {
    /// Without a slash at the end.
    pub base: Url,
    /// Of operators.
    pub ops: Option<Secret>,
    /// Signs deliveries; without it none are sent.
    pub webhook: Option<Secret>,
    /// Of somebody who chats; without it anonymous sessions are asked for.
    pub chat: Option<Secret>,
}

impl Target {
    /// The server at that address, without any secret; `None` if it is no address.
    pub fn at(base_url: &str) -> Option<Self> {
        let base = Url::parse(base_url).ok().filter(Url::has_host)?;
        Some(Self { base, ops: None, webhook: None, chat: None })
    }
}

/// The board of one server.
#[derive(Clone)]
pub struct Board {
    client: Client,
    target: Target,
}

impl Board {
    /// The board of that server.
    ///
    /// # Errors
    /// [`BoardError::Unreachable`] if no client can be made.
    pub fn of(target: &Target) -> Result<Self, BoardError> {
        let client = Client::builder().no_proxy().build();
        let client = client.map_err(|error| BoardError::Unreachable(error.to_string()))?;
        Ok(Self { client, target: target.clone() })
    }

    fn asks(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        let url = self.target.base.join(path).expect("a path of ours is one");
        let request = self.client.request(method, url);
        match &self.target.ops {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    async fn answers<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, BoardError> {
        let away = |error: reqwest::Error| BoardError::Unreachable(error.without_url().to_string());
        let response = request.send().await.map_err(away)?;
        match response.status() {
            StatusCode::OK => response.json().await.map_err(away),
            StatusCode::NOT_FOUND => Err(BoardError::NoBoard),
            StatusCode::UNAUTHORIZED => Err(BoardError::Unauthorized),
            _ => Err(BoardError::Refused(response.text().await.map_err(away)?)),
        }
    }

    /// What is in force.
    ///
    /// # Errors
    /// [`BoardError`] says why there is no answer.
    pub async fn list(&self) -> Result<FaultsAnswer, BoardError> {
        let request = self.asks(reqwest::Method::GET, "/ops/faults").timeout(PATIENCE);
        self.answers(request).await
    }

    /// Leases a plan's fault.
    ///
    /// # Errors
    /// [`BoardError`] says why it is not in force.
    pub async fn lease(&self, plan: &Plan) -> Result<FaultLease, BoardError> {
        let mut body = serde_json::json!({
            "fault": plan.fault, "params": plan.params, "ttlS": plan.ttl_s,
        });
        if !plan.target.is_empty() {
            body["target"] = plan.target.as_str().into();
        }
        let request = self.asks(reqwest::Method::POST, "/ops/faults").json(&body).timeout(ARMING);
        self.answers(request).await
    }

    /// Ends a lease; what is gone already stays so.
    pub async fn release(&self, lease: &str) {
        let path = format!("/ops/faults/{lease}");
        drop(self.asks(reqwest::Method::DELETE, &path).timeout(PATIENCE).send().await);
    }

    /// Ends everything.
    pub async fn release_all(&self) {
        let request = self.asks(reqwest::Method::DELETE, "/ops/faults");
        drop(request.timeout(PATIENCE).send().await);
    }

    /// What operators see, if they are answered.
    pub async fn gauges(&self) -> Option<Gauges> {
        let request = self.asks(reqwest::Method::GET, "/ops/snapshot").timeout(PATIENCE);
        let snapshot: Snapshot = self.answers(request).await.ok()?;
        let ready =
            self.asks(reqwest::Method::GET, "/readyz").timeout(PATIENCE).send().await.ok()?;
        let is_ready = ready.status() == StatusCode::OK;
        let text = ready.text().await.ok()?;
        let degraded = !is_ready || text.contains("\"degraded\"");
        Some(Gauges { degraded, ..of_snapshot(&snapshot) })
    }
}

fn of_snapshot(snapshot: &Snapshot) -> Gauges {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let actors = &snapshot.actors;
    let with = |status: &str| count(actors.iter().filter(|row| row.status == status).count());
    let restarts = || actors.iter().flat_map(|row| &row.restarts.by_cause);
    let open = snapshot.circuits.iter().filter(|row| row.state != "closed").count();
    let hung = restarts().filter(|(cause, _)| *cause == "hang").map(|(_, times)| times).sum();
    Gauges {
        circuits_open: count(open),
        restarts: restarts().map(|(_, times)| times).sum(),
        hang_restarts: hung,
        actors_down: with("down"),
        actors_away: count(actors.len()) - with("running"),
        in_flight: snapshot.bulkheads.values().map(|row| row.in_flight).max().unwrap_or(0),
        mailbox_depth: actors.iter().map(|row| row.mailbox_depth).max().unwrap_or(0),
        alerts: count(snapshot.rate_limit_pressure.recent_alerts.len()),
        degraded: false,
        rss_mb: None,
    }
}
