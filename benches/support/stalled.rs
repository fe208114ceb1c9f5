//! A serving process whose every worker of WhatsApp's events is held up: a linked number has
//! written, and the model that is to answer never does.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{RequestBuilder, StatusCode};
use sendcat::contract::{headers, signature};
use serde_json::{Value, json};

use super::{APP_SECRET, Serving};

const USER_SECRET: &str = "a secret of this bench's users";
const OPS_TOKEN: &str = "an operator of this bench";

/// In the year 2100.
const LATER: u64 = 4_102_444_800;

/// How many work on one source's events at once (fixed by the tree).
const WORKERS: usize = 8;

/// How long the workers may take until each has something to wait for.
const SOON: Duration = Duration::from_secs(20);

impl Serving {
    /// A process on a disk that takes so much longer for each sync, whose workers all wait.
    pub(crate) async fn stalled_on_disk_slower_by(slower: Duration) -> Self {
        let fault = format!("journal:disk_slow@0:{}ms", slower.as_millis());
        let serving = Self::with(&[
            ("AUTH_JWT_SECRET", USER_SECRET),
            ("OPS_TOKEN", OPS_TOKEN),
            ("WHATSAPP_ACCESS_TOKEN", "token"),
            ("WHATSAPP_PHONE_NUMBER_ID", "106540352242922"),
            ("CHAT_HEADERS_TIMEOUT_MS", "600000"),
            ("CHAT_TOTAL_TIMEOUT_MS", "600000"),
            ("SENDCAT_FAULTS", if slower.is_zero() { "" } else { &fault }),
        ])
        .await;
        serving.links().await;
        let stalls =
            json!({"provider": "openrouter_chat", "fault": "stall_headers", "times": 1000});
        let control = serving.provider.replace("/openrouter/api/v1", "/_control");
        took(serving.client.post(control).json(&stalls)).await;
        let writes: Vec<_> = (0..WORKERS).map(|nth| (format!("stalled-{nth}"), "hello")).collect();
        serving.delivers(&writes).await;
        serving.until("?status=running", WORKERS).await;
        serving
    }

    /// Binds the number that every delivery of the bench comes from.
    async fn links(&self) {
        let key = EncodingKey::from_secret(USER_SECRET.as_bytes());
        let claims = json!({"iss": "https://id", "sub": "ann", "exp": LATER});
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key);
        let asked = self.client.post(format!("{}/api/whatsapp/link-code", self.url));
        let given = took(asked.bearer_auth(token.expect("it encodes"))).await;
        let given: Value = serde_json::from_str(&given).expect("it answers JSON");
        let code = given["code"].as_str().expect("there is a code").to_owned();
        self.delivers(&[("linking".to_owned(), &code)]).await;
        self.until("?status=done", 1).await;
    }

    async fn delivers(&self, texts: &[(String, &str)]) {
        let messages: Vec<_> = texts
            .iter()
            .map(|(id, text)| {
                json!({"from": "16505551234", "id": id, "timestamp": "1749416383",
                    "type": "text", "text": {"body": text}})
            })
            .collect();
        let body = json!({"object": "whatsapp_business_account", "entry": [{
            "id": "102290129340398", "changes": [{"field": "messages", "value": {
                "messaging_product": "whatsapp",
                "metadata": {"display_phone_number": "15550783881", "phone_number_id": "1065"},
                "messages": messages}}]}]})
        .to_string();
        let signed = signature::sign_meta(APP_SECRET.as_bytes(), body.as_bytes());
        let sent = self.client.post(format!("{}/api/whatsapp/webhook", self.url));
        let sent = sent.header("content-type", "application/json");
        took(sent.header(headers::HUB_SIGNATURE, signed).body(body)).await;
    }

    /// Waits until so many events are in that state.
    async fn until(&self, query: &str, count: usize) {
        let looking = async {
            loop {
                let url = format!("{}/ops/inbox{query}", self.url);
                let seen = took(self.client.get(url).bearer_auth(OPS_TOKEN)).await;
                let seen: Value = serde_json::from_str(&seen).expect("it answers JSON");
                if seen["items"].as_array().is_some_and(|items| items.len() == count) {
                    return;
                }
            }
        };
        let seen = tokio::time::timeout(SOON, looking).await;
        seen.unwrap_or_else(|_| panic!("not in time: {count} events {query}"));
    }
}

/// The body of an answer that says yes.
async fn took(request: RequestBuilder) -> String {
    let answer = request.send().await.expect("the server answers");
    let status = answer.status();
    let body = answer.text().await.expect("the answer ends");
    assert!(status.is_success() && status != StatusCode::ACCEPTED, "{status}: {body}");
    body
}
