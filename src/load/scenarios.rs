//! The three scenarios of the drill, as reliability-log.md describes them.
//!
//! Webhook calls are unsigned on purpose: they show the guards and the limiter of a real
//! deployment with no secret at hand (first 120 of an address and window → 403, all others 429).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::AUTHORIZATION;
use hyper::http::HeaderValue;
use reqwest::Url;
use serde_json::json;

use super::traffic::{AnswerForm, Call, Traffic};
use crate::config::Secret;
use crate::contract::session::AnonymousSession;

/// The name of a scenario, in policies and reports.
pub const GMAIL: &str = "gmail_push_webhook";
/// The name of a scenario, in policies and reports.
pub const WHATSAPP: &str = "whatsapp_webhook";
/// The name of a scenario, in policies and reports.
pub const CHAT: &str = "chat_stream_http";
/// All of them, in the order they run.
pub const ALL: [&str; 3] = [GMAIL, WHATSAPP, CHAT];

/// Chats of one anonymous session: fewer than its limit of 30 a window (OPERATIONS.md §5.1).
const PER_SESSION: u64 = 25;

/// Unsigned deliveries to a webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    path: &'static str,
    body: &'static str,
}

impl Webhook {
    /// A push of Pub/Sub without its token.
    pub fn gmail() -> Self {
        let body = concat!(
            r#"{"message":{"data":"eyJlbWFpbEFkZHJlc3MiOiJkcmlsbEBleGFtcGxlLmNvbSIsImhpc3Rvcnl"#,
            r#"JZCI6MX0=","messageId":"1"},"subscription":"projects/drill/subscriptions/drill"}"#,
        );
        Self { path: "/api/gmail/push", body }
    }

    /// A delivery of WhatsApp without its signature.
    pub fn whatsapp() -> Self {
        let body = r#"{"object":"whatsapp_business_account","entry":[]}"#;
        Self { path: "/api/whatsapp/webhook", body }
    }
}

impl Traffic for Webhook {
    fn call(&self, _index: u64) -> Call {
        Call::post_json(self.path, self.body)
    }

    fn is_bad(&self, status: u16) -> bool {
        ![200, 400, 403, 413, 415, 429].contains(&status)
    }
}

/// Chats whose answers are streamed.
pub struct Chat {
    callers: Vec<Caller>,
    run: String,
}

struct Caller {
    authorization: HeaderValue,
    thread: Option<String>,
}

/// Why there is nothing to chat with; the scenario is skipped.
#[derive(Debug, thiserror::Error)]
pub enum NoSession {
    /// The token has characters that no header has.
    #[error("RELIABILITY_AUTH_TOKEN is no token")]
    Token,
    /// Nobody answered.
    #[error("no anonymous session: {0}")]
    Unreachable(String),
    /// The server does not give one.
    #[error(
        "no anonymous session (status {0}): set RELIABILITY_AUTH_TOKEN and RELIABILITY_THREAD_ID"
    )]
    Refused(u16),
}

impl Chat {
    /// As a user, in a thread of the user's; each chat in one of its own where none is named.
    ///
    /// # Errors
    /// [`NoSession::Token`].
    pub fn as_user(token: &Secret, thread: Option<String>, seed: u64) -> Result<Self, NoSession> {
        let caller = Caller { authorization: bearer(token.expose())?, thread };
        Ok(Self { callers: vec![caller], run: format!("drill-{seed:016x}") })
    }

    /// As so many anonymous sessions as the chats need, asked of the server now.
    ///
    /// # Errors
    /// [`NoSession`] says why there is one too few.
    pub async fn anonymous(
        base: &Url,
        chats: u64,
        seed: u64,
        timeout: Duration,
    ) -> Result<Self, NoSession> {
        let unreachable =
            |error: reqwest::Error| NoSession::Unreachable(error.without_url().to_string());
        let client = reqwest::Client::builder().timeout(timeout).no_proxy().build();
        let client = client.map_err(unreachable)?;
        let url = base.join("/api/sessions/anonymous").expect("a path of ours is one");
        let mut callers = Vec::new();
        for _ in 0..chats.div_ceil(PER_SESSION) {
            let asked = client.post(url.clone()).body("{}").send().await.map_err(unreachable)?;
            let status = asked.status();
            if !status.is_success() {
                return Err(NoSession::Refused(status.as_u16()));
            }
            let session: AnonymousSession = asked.json().await.map_err(unreachable)?;
            callers.push(Caller { authorization: bearer(&session.token)?, thread: None });
        }
        Ok(Self { callers, run: format!("drill-{seed:016x}") })
    }

    /// The same, as what a generator takes.
    pub fn shared(self) -> Arc<dyn Traffic> {
        Arc::new(self)
    }
}

fn bearer(token: &str) -> Result<HeaderValue, NoSession> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_not_a_header| NoSession::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

impl Traffic for Chat {
    fn call(&self, index: u64) -> Call {
        // Callers take turns in blocks, so that none passes its limit.
        let turn = (index / PER_SESSION) as usize % self.callers.len();
        let caller = &self.callers[turn];
        let own = format!("{}-{index}", self.run);
        let body = json!({
            "id": caller.thread.as_ref().unwrap_or(&own),
            "message": {
                "id": format!("m-{own}"),
                "role": "user",
                "parts": [{"type": "text", "text": "ping"}],
            },
        });
        let call = Call::post_json("/api/chat", Bytes::from(body.to_string()));
        let call = call.with(AUTHORIZATION, caller.authorization.clone());
        Call { answer: AnswerForm::Events, ..call }
    }

    fn is_bad(&self, status: u16) -> bool {
        ![200, 400, 401, 403, 413, 415, 429, 503].contains(&status)
    }
}
