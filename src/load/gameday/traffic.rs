//! What is asked of the server all the while, once a second: is it there, does it take a delivery,
//! does it know it again, does it answer. Continuous probes, no load.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::json;
use tokio::sync::mpsc;

use super::server::Target;
use super::tally::Tally;
use crate::config::Secret;
use crate::contract::signature::sign_meta;
use crate::load::clock::Stopwatch;

/// Ends that may wait to be counted; more are lost, and a lost one is no failure.
const ENDS: usize = 4096;

/// How long each may take.
const HEALTH: Duration = Duration::from_secs(2);
const DELIVERY: Duration = Duration::from_secs(5);
const CHAT: Duration = Duration::from_secs(15);

/// Chats that one anonymous session has, below what its limit lets through: a circuit that may try
/// again needs somebody to try it.
const CHATS_A_SESSION: u64 = 25;

/// The route of deliveries.
pub const WEBHOOK: &str = "/api/whatsapp/webhook";

/// One request's end.
#[derive(Clone, Debug)]
pub struct End {
    /// Of which scenario.
    pub scenario: &'static str,
    /// What it counts for.
    pub tally: Tally,
}

/// Sends what is asked each second.
pub struct Traffic {
    client: Client,
    target: Target,
    session: Option<Secret>,
    chats: u64,
    run: String,
    /// Where ends go; the attacks' too.
    pub ends: mpsc::Sender<End>,
    inbox: mpsc::Receiver<End>,
}

/// How an answer to a delivery ended.
pub struct Delivered {
    /// What it counts for.
    pub tally: Tally,
    /// It was accepted, fresh or again.
    pub accepted: bool,
    /// It was told from a fresh one.
    pub replayed: bool,
}

impl Traffic {
    /// Towards that server; `run` tells its deliveries from those of other runs.
    ///
    /// # Errors
    /// Of a client that cannot be made.
    pub fn towards(target: &Target, run: &str) -> Result<Self, reqwest::Error> {
        let client = Client::builder().no_proxy().pool_idle_timeout(DELIVERY - HEALTH).build()?;
        let (ends, inbox) = mpsc::channel(ENDS);
        let (target, run) = (target.clone(), run.to_owned());
        Ok(Self { client, target, session: None, chats: 0, run, ends, inbox })
    }

    /// Sends this second's requests; their ends are counted when they come.
    pub async fn send(&mut self, second: u64) {
        self.spawn(|client, target| async move {
            let url = target.base.join("/livez").expect("a path of ours is one");
            let watch = Stopwatch::start();
            let answer = client.get(url).timeout(HEALTH).send().await;
            vec![End { scenario: "health", tally: judged(answer.as_ref().ok(), watch) }]
        });
        if self.target.webhook.is_some() {
            let id = format!("gameday-{}-{second}", self.run);
            self.spawn(|client, target| deliver_twice(client, target, id));
        }
        self.renew_session().await;
        // In turns: either alone would soon be limited.
        let (one, other) = (self.target.chat.clone(), self.session.clone());
        let token = if second.is_multiple_of(2) { one.or(other) } else { other.or(one) };
        let Some(token) = token else { return };
        self.chats += 1;
        let thread = format!("gameday-{}-{second}", self.run);
        self.spawn(|client, target| chat(client, target, token, thread));
    }

    /// What has ended since it was last asked, by scenario.
    pub fn ended(&mut self) -> BTreeMap<String, Tally> {
        let mut scenarios: BTreeMap<String, Tally> = BTreeMap::new();
        while let Ok(end) = self.inbox.try_recv() {
            scenarios.entry(end.scenario.to_owned()).or_default().add(&end.tally);
        }
        scenarios
    }

    fn spawn<F>(&self, ask: impl FnOnce(Client, Target) -> F)
    where
        F: Future<Output = Vec<End>> + Send + 'static,
    {
        let asked = ask(self.client.clone(), self.target.clone());
        let ends = self.ends.clone();
        tokio::spawn(async move {
            for end in asked.await {
                drop(ends.try_send(end));
            }
        });
    }

    async fn renew_session(&mut self) {
        if self.session.is_some() && self.chats < CHATS_A_SESSION {
            return;
        }
        let url = self.target.base.join("/api/sessions/anonymous").expect("a path of ours is one");
        let answer = self.client.post(url).timeout(HEALTH / 4).send().await;
        let Ok(answer) = answer else { return };
        let session: Result<serde_json::Value, _> = answer.json().await;
        if let Some(token) = session.ok().and_then(|it| Some(it.get("token")?.as_str()?.to_owned()))
        {
            self.session = Some(Secret::new(token));
            self.chats = 0;
        }
    }
}

/// A delivery of one status a given id, which is kept and answered to nobody.
pub fn delivery(id: &str) -> String {
    let status = json!({"id": id, "status": "delivered", "timestamp": "1749416383",
        "recipient_id": "16505551234"});
    let value = json!({"messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": "106540352242922"},
        "statuses": [status]});
    let change = json!({"value": value, "field": "messages"});
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": "102290129340398", "changes": [change]}]})
    .to_string()
}

/// Delivers once, signed.
pub async fn deliver(client: &Client, target: &Target, body: String) -> Delivered {
    let url = target.base.join(WEBHOOK).expect("a path of ours is one");
    let secret = target.webhook.as_ref().map_or("", |secret| secret.expose());
    let signature = sign_meta(secret.as_bytes(), body.as_bytes());
    let request = client.post(url).header("content-type", "application/json");
    let request = request.header("x-hub-signature-256", signature).body(body).timeout(DELIVERY);
    let watch = Stopwatch::start();
    let answer = request.send().await.ok();
    let accepted = answer.as_ref().is_some_and(|answer| answer.status().as_u16() == 200);
    let has = |answer: &Response| answer.headers().contains_key("x-idempotent-replay");
    let replayed = answer.as_ref().is_some_and(has);
    Delivered { tally: judged(answer.as_ref(), watch), accepted, replayed }
}

/// Delivers, and the same again once it was accepted.
async fn deliver_twice(client: Client, target: Target, id: String) -> Vec<End> {
    let body = delivery(&id);
    let first = deliver(&client, &target, body.clone()).await;
    let mut ends = vec![End { scenario: "whatsapp_webhook", tally: first.tally }];
    if first.accepted {
        let again = deliver(&client, &target, body).await;
        let unreplayed = u64::from(again.accepted && !again.replayed);
        let tally = Tally { unreplayed, ..again.tally };
        ends.push(End { scenario: "whatsapp_replay", tally });
    }
    ends
}

/// The request of a chat.
pub fn chat_body(thread: &str) -> String {
    let message = json!({"id": "m", "role": "user", "parts": [{"type": "text", "text": "hello"}]});
    json!({"id": thread, "message": message}).to_string()
}

async fn chat(client: Client, target: Target, token: Secret, thread: String) -> Vec<End> {
    let url = target.base.join("/api/chat").expect("a path of ours is one");
    let request = client.post(url).header("content-type", "application/json");
    let request = request.bearer_auth(token.expose()).body(chat_body(&thread)).timeout(CHAT);
    let watch = Stopwatch::start();
    let answer = request.send().await.ok();
    let mut tally = judged(answer.as_ref(), watch);
    if let Some(answer) = answer.filter(|answer| answer.status().as_u16() == 200) {
        let body = answer.text().await.unwrap_or_default();
        // Also after an error in the stream: what must not be is a silent end (HT-4).
        tally.network += u64::from(!body.contains("data: [DONE]"));
        tally.max_ms = watch.read().as_secs_f64() * 1e3;
        tally.latencies_ms = vec![tally.max_ms];
    }
    vec![End { scenario: "chat_stream_http", tally }]
}

/// What an answer's head counts for; none is a failure of the network.
fn judged(answer: Option<&Response>, watch: Stopwatch) -> Tally {
    let status = answer.map(|answer| answer.status().as_u16());
    let is = |which: bool| u64::from(which);
    let max_ms = watch.read().as_secs_f64() * 1e3;
    Tally {
        total: 1,
        http_5xx: is(status.is_some_and(|status| status >= 500)),
        http_500: is(status == Some(500)),
        network: is(status.is_none()),
        limited: is(status == Some(429)),
        unreplayed: 0,
        max_ms,
        latencies_ms: vec![max_ms],
    }
}
