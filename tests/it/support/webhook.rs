//! Signed deliveries of WhatsApp, pushes of Gmail, and what operators see become of them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::RequestBuilder;
use sendcat::contract::signature::sign_meta;
use serde_json::{Value, json};

use super::answer::Answer;
use super::client::{Caller, answer};
use super::server::Setup;

/// The secret that deliveries are signed with.
pub(crate) const SECRET: &str = "planted-app-secret-5b1c";
/// The token of Meta's question.
pub(crate) const VERIFY_TOKEN: &str = "vibecoding";
/// The shared token of a push.
pub(crate) const PUSH_TOKEN: &str = "planted-push-token-9e2d";
/// The token of operators.
pub(crate) const OPS_TOKEN: &str = "planted-ops-token-77aa";
/// The token of those who may only read what operators read.
pub(crate) const OPS_READ_TOKEN: &str = "planted-read-token-31fe";

/// The path of WhatsApp's webhook.
pub(crate) const WHATSAPP: &str = "/api/whatsapp/webhook";

/// How long a thing may take that happens by itself: debug builds on a busy machine are slow.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A server that takes webhooks, with limits that no test meets by chance.
pub(crate) fn receiver() -> Setup {
    with_secrets(Setup::bare())
}

/// The same, with stand-ins for every provider.
pub(crate) fn sandboxed_receiver() -> Setup {
    with_secrets(Setup::sandbox())
}

fn with_secrets(setup: Setup) -> Setup {
    setup
        .with("WHATSAPP_APP_SECRET", SECRET)
        .with("WHATSAPP_VERIFY_TOKEN", VERIFY_TOKEN)
        .with("GMAIL_PUSH_TOKEN", PUSH_TOKEN)
        .with("OPS_TOKEN", OPS_TOKEN)
        .with("OPS_READ_TOKEN", OPS_READ_TOKEN)
        .with("RATE_LIMIT_WHATSAPP_MAX", 100_000)
        .with("RATE_LIMIT_WEBHOOK_SENDER_MAX", 100_000)
        .with("RATE_LIMIT_GMAIL_PUSH_MAX", 100_000)
        .with("RATE_LIMIT_CHAT_STREAM_MAX", 100_000)
        .with("RATE_LIMIT_ANON_IP_MAX", 100_000)
}

impl Caller {
    /// A delivery signed with [`SECRET`].
    pub(crate) fn delivers(&self, body: impl Into<String>) -> RequestBuilder {
        let body = body.into();
        let signature = sign_meta(SECRET.as_bytes(), body.as_bytes());
        self.post_json(WHATSAPP, body).header("x-hub-signature-256", signature)
    }

    /// A push with [`PUSH_TOKEN`].
    pub(crate) fn pushes(&self, body: impl Into<String>) -> RequestBuilder {
        self.post_json(&format!("/api/gmail/push?token={PUSH_TOKEN}"), body)
    }

    /// A request of an operator.
    pub(crate) fn operates(&self, method: &str, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(OPS_TOKEN)
    }

    /// What an operator reads there.
    pub(crate) async fn sees(&self, path: &str) -> Value {
        let answer = answer(self.operates("GET", path)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Accepted events, newest first.
    pub(crate) async fn inbox(&self, query: &str) -> Vec<Value> {
        let answer = self.sees(&format!("/ops/inbox{query}")).await;
        answer["items"].as_array().expect("items is a list").clone()
    }

    /// What is seen of one actor.
    pub(crate) async fn actor(&self, name: &str) -> Value {
        let answer = self.sees("/ops/actors").await;
        let actors = answer["actors"].as_array().expect("actors is a list");
        actors.iter().find(|actor| actor["name"] == name).expect("the actor is there").clone()
    }

    /// Arms a fault, written as in `SENDCAT_FAULTS`.
    pub(crate) async fn arms(&self, fault: &str) {
        let body = json!({ "fault": fault }).to_string();
        let request = self.post_json("/ops/faults", body).bearer_auth(OPS_TOKEN);
        let answer = answer(request).await;
        assert_eq!(answer.status, 204, "{fault}: {answer:?}");
    }

    /// Every event, once none of them is pending or running and there are `count`.
    pub(crate) async fn worked_off(&self, count: usize) -> Vec<Value> {
        let seen = async || {
            let rows = self.inbox("?limit=1000").await;
            let over = |row: &Value| row["status"] == "done" || row["status"] == "dead";
            assert!(rows.len() <= count, "more than {count} events: {rows:?}");
            (rows.len() == count && rows.iter().all(over)).then_some(rows)
        };
        eventually("all events are worked off", seen).await
    }
}

/// Looks again and again until there is something to see; fails after [`SOON`].
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, looking).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// A text message.
pub(crate) fn message(id: &str, text: &str) -> Value {
    json!({"from": "16505551234", "id": id, "timestamp": "1749416383", "type": "text",
        "text": {"body": text}})
}

/// A delivery of messages.
pub(crate) fn delivery(messages: &[Value]) -> String {
    let value = json!({"messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": "106540352242922"},
        "messages": messages});
    let change = json!({"value": value, "field": "messages"});
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": "102290129340398", "changes": [change]}]})
    .to_string()
}

/// A delivery of one text message a given id.
pub(crate) fn delivery_of(ids: impl IntoIterator<Item = String>) -> String {
    let messages: Vec<_> = ids.into_iter().map(|id| message(&id, "hello")).collect();
    delivery(&messages)
}

/// A push about that state of a mailbox.
pub(crate) fn push_of(address: &str, history: u64) -> String {
    let notice = json!({"emailAddress": address, "historyId": history}).to_string();
    let data = STANDARD.encode(notice);
    json!({"message": {"data": data, "messageId": "1"}, "subscription": "s"}).to_string()
}

/// Events' keys, sorted.
pub(crate) fn keys(rows: &[Value]) -> Vec<&str> {
    let mut keys: Vec<_> = rows.iter().map(|row| row["key"].as_str().unwrap()).collect();
    keys.sort_unstable();
    keys
}

/// An answer with these headers beside those that every answer carries.
pub(crate) fn whole(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let length = body.len().to_string();
    let common = [("vary", "Origin"), ("content-length", length.as_str())];
    let fields =
        common.iter().chain(headers).map(|(name, value)| ((*name).into(), (*value).into()));
    Answer { status, headers: fields.collect(), body: body.to_owned() }
}

/// The 200 of a webhook.
pub(crate) fn accepted() -> Answer {
    whole(200, &[], "")
}

/// The 200 of a webhook that was accepted before.
pub(crate) fn replayed() -> Answer {
    whole(200, &[("x-idempotent-replay", "1")], "")
}

/// A refusal with its sentence in plain text.
pub(crate) fn refused(status: u16, code: &str, sentence: &str, more: &[(&str, &str)]) -> Answer {
    let fields = [
        ("cache-control", "no-store"),
        ("content-type", "text/plain; charset=utf-8"),
        ("x-sendcat-error-code", code),
    ];
    whole(status, &[&fields, more].concat(), sentence)
}

/// What a refused webhook is told.
pub(crate) fn forbidden() -> Answer {
    let sentence =
        "You may not do this; check where the request comes from and what it is signed with.";
    refused(403, "forbidden", sentence, &[])
}
