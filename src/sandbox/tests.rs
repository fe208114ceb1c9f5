//! The sandbox as its clients see it, over real HTTP.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};

use super::provider::STAND_INS;
use super::{Sandbox, start};

/// A client that waits for nothing longer than a test may take.
fn client() -> reqwest::Client {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap()
}

pub(super) async fn sandbox() -> (Sandbox, reqwest::Client) {
    let wall = Arc::new(|| -> SystemTime { UNIX_EPOCH + Duration::from_secs(1_771_416_000) });
    (start(wall).await.unwrap(), client())
}

fn chat(text: &str) -> Value {
    let search = json!({"type": "function", "function": {"name": "search_web", "parameters": {}}});
    let messages = json!([{"role": "user", "content": text}]);
    json!({"model": "sandbox/echo-1", "stream": true, "messages": messages, "tools": [search]})
}

async fn post_chat(sandbox: &Sandbox, client: &reqwest::Client, body: &Value) -> reqwest::Response {
    let url = format!("{}/chat/completions", sandbox.knobs()["OPENROUTER_BASE_URL"]);
    client.post(url).bearer_auth("key").json(body).send().await.unwrap()
}

pub(super) async fn arm(sandbox: &Sandbox, client: &reqwest::Client, order: Value) -> Value {
    let url = format!("{}/_control", sandbox.base_url());
    let response = client.post(url).json(&order).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

pub(super) async fn counters(sandbox: &Sandbox, client: &reqwest::Client, provider: &str) -> Value {
    let url = format!("{}/_control", sandbox.base_url());
    let view: Value = client.get(url).send().await.unwrap().json().await.unwrap();
    view["providers"][provider].clone()
}

/// Asks until a provider's counters are as they should be. What is awaited crosses a socket, so
/// there is nothing else to wait for; the client's timeout bounds it.
async fn counters_become(sandbox: &Sandbox, client: &reqwest::Client, name: &str, want: Value) {
    let reached = async { while counters(sandbox, client, name).await != want {} };
    if tokio::time::timeout(Duration::from_secs(10), reached).await.is_err() {
        assert_eq!(counters(sandbox, client, name).await, want);
    }
}

/// The JSON of every event, and whether the stream ended in `[DONE]`.
fn events(text: &str) -> (Vec<Value>, bool) {
    let blocks: Vec<&str> = text.split("\n\n").filter(|block| !block.starts_with(':')).collect();
    let data = blocks.iter().filter_map(|block| block.strip_prefix("data: "));
    let done = data.clone().any(|data| data == "[DONE]");
    (data.filter_map(|data| serde_json::from_str(data).ok()).collect(), done)
}

fn deltas(events: &[Value], field: &str) -> String {
    events.iter().filter_map(|each| each["choices"][0]["delta"][field].as_str()).collect()
}

/// Reads until the text holds `needle`; what comes after stays in the stream.
async fn read_until(
    stream: &mut (impl Stream<Item = reqwest::Result<bytes::Bytes>> + Unpin),
    needle: &str,
) -> String {
    let mut text = String::new();
    while !text.contains(needle) {
        let piece = stream.next().await.expect("the stream goes on").unwrap();
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
    text
}

#[actix_web::test]
async fn an_answer_is_a_comment_content_usage_and_done() {
    let (sandbox, client) = sandbox().await;
    let response = post_chat(&sandbox, &client, &chat("chunks 2")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let generation = response.headers()["x-generation-id"].to_str().unwrap().to_owned();
    let text = response.text().await.unwrap();
    let head = format!(
        concat!(
            r#"data: {{"id":"{}","provider":"Sandbox","model":"sandbox/echo-1","#,
            r#""object":"chat.completion.chunk","created":1771416000,"#
        ),
        generation
    );
    let chunk = |content: &str, reason: &str| {
        format!(
            concat!(
                r#"{head}"choices":[{{"index":0,"#,
                r#""delta":{{"content":"{content}","role":"assistant"}},"#,
                r#""finish_reason":{reason},"native_finish_reason":{reason},"logprobs":null}}]}}"#
            ),
            head = head,
            content = content,
            reason = reason
        )
    };
    let blocks: Vec<&str> = text.split_terminator("\n\n").collect();
    assert_eq!(blocks[0], ": OPENROUTER PROCESSING");
    assert_eq!(
        blocks[1..5].join("\n"),
        [chunk("", "null"), chunk("1 ", "null"), chunk("2 ", "null"), chunk("", "\"stop\""),]
            .join("\n")
    );
    assert!(blocks[5].starts_with(&format!(r#"{head}"choices":[],"usage":{{"#)), "{}", blocks[5]);
    assert_eq!(&blocks[6..], ["data: [DONE]"]);
}

#[actix_web::test]
async fn a_search_goes_out_as_a_call_and_comes_back_as_a_summary() {
    let (sandbox, client) = sandbox().await;
    let mut body = chat("search rust actors");
    let text = post_chat(&sandbox, &client, &body).await.text().await.unwrap();
    let (first, _) = events(&text);
    let calls: Vec<&Value> =
        first.iter().filter_map(|each| each["choices"][0]["delta"]["tool_calls"].get(0)).collect();
    let arguments: String =
        calls.iter().filter_map(|call| call["function"]["arguments"].as_str()).collect();
    assert!(calls.len() > 3, "the arguments come in pieces");
    assert_eq!(arguments, r#"{"query":"rust actors"}"#);
    assert_eq!(calls[0]["function"]["name"], "search_web");
    let reasons: Vec<_> =
        first.iter().filter_map(|each| each["choices"][0]["finish_reason"].as_str()).collect();
    assert_eq!(reasons, ["tool_calls"]);

    let id = &calls[0]["id"];
    let call = json!({"id": id, "type": "function",
        "function": {"name": "search_web", "arguments": arguments}});
    let result = json!({"results": [{"title": "Actix", "link": "https://actix.example/"}]});
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call]}));
    messages.push(json!({"role": "tool", "tool_call_id": id, "content": result.to_string()}));
    let text = post_chat(&sandbox, &client, &body).await.text().await.unwrap();
    assert_eq!(
        deltas(&events(&text).0, "content"),
        "I found 1 result for “rust actors”:\n1. Actix (https://actix.example/)"
    );
}

#[actix_web::test]
async fn reasoning_comes_before_the_answer() {
    let (sandbox, client) = sandbox().await;
    let text = post_chat(&sandbox, &client, &chat("reason tides")).await.text().await.unwrap();
    let (events, _) = events(&text);
    assert!(deltas(&events, "reasoning").starts_with("The question is about “tides”."));
    assert!(deltas(&events, "content").starts_with("You said “tides”."));
}

#[actix_web::test]
async fn a_broken_client_is_refused_in_the_providers_shape() {
    let (sandbox, client) = sandbox().await;
    let url = format!("{}/chat/completions", sandbox.knobs()["OPENROUTER_BASE_URL"]);
    let nameless = client.post(&url).json(&chat("hi")).send().await.unwrap();
    assert_eq!(nameless.status(), 401);
    let mut body = chat("hi");
    body["messages"][0]["role"] = json!("tool");
    let unpaired = post_chat(&sandbox, &client, &body).await;
    assert_eq!(unpaired.status(), 400);
    let error: Value = unpaired.json().await.unwrap();
    assert_eq!(error["error"]["code"], 400);
    assert_eq!(
        error["error"]["message"],
        "messages[0].tool_call_id: \"\" answers no tool call before it"
    );
}

#[actix_web::test]
async fn a_status_fault_strikes_as_often_as_it_was_armed() {
    let (sandbox, client) = sandbox().await;
    let view =
        arm(&sandbox, &client, json!({"provider": "openrouter_chat", "fault": "429", "times": 1}))
            .await;
    let armed = json!([{"provider": "openrouter_chat", "fault": "429", "timesLeft": 1}]);
    assert_eq!(view["faults"], armed);
    let refused = post_chat(&sandbox, &client, &chat("hi")).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "2");
    let error: Value = refused.json().await.unwrap();
    assert_eq!(error["error"]["metadata"]["error_type"], "rate_limit_exceeded");
    assert_eq!(post_chat(&sandbox, &client, &chat("hi")).await.status(), 200);
}

#[actix_web::test]
async fn every_provider_can_be_made_to_fail_and_to_heal() {
    let (sandbox, client) = sandbox().await;
    for stand_in in STAND_INS {
        let url = format!("{}/{}/anything", sandbox.base_url(), stand_in.prefix);
        arm(&sandbox, &client, json!({"provider": stand_in.name, "fault": "500"})).await;
        assert_eq!(client.get(&url).send().await.unwrap().status(), 500, "{}", stand_in.name);
        arm(&sandbox, &client, json!({"provider": stand_in.name, "fault": "none"})).await;
        assert_ne!(client.get(&url).send().await.unwrap().status(), 500, "{}", stand_in.name);
    }
}

#[actix_web::test]
async fn an_error_in_the_middle_ends_the_stream_without_done() {
    let (sandbox, client) = sandbox().await;
    arm(&sandbox, &client, json!({"provider": "openrouter_chat", "fault": "error_mid"})).await;
    let text = post_chat(&sandbox, &client, &chat("chunks 4")).await.text().await.unwrap();
    let (events, done) = events(&text);
    assert_eq!(deltas(&events, "content"), "1 2 ");
    assert_eq!(events.last().unwrap()["error"]["code"], 502);
    assert!(!done);
}

#[actix_web::test]
async fn a_cut_breaks_the_connection_after_half_of_the_content() {
    let (sandbox, client) = sandbox().await;
    arm(&sandbox, &client, json!({"provider": "openrouter_chat", "fault": "cut"})).await;
    let mut stream = post_chat(&sandbox, &client, &chat("chunks 4")).await.bytes_stream();
    let mut text = String::new();
    let ended = loop {
        match stream.next().await {
            Some(Ok(piece)) => text.push_str(std::str::from_utf8(&piece).unwrap()),
            Some(Err(error)) => break error,
            None => panic!("the end was not broken: {text}"),
        }
    };
    assert!(ended.is_body() || ended.is_decode(), "{ended:?}");
    assert_eq!(deltas(&events(&text).0, "content"), "1 2 ");
    let counted = json!({"requests": 1, "inFlight": 0, "completed": 1, "clientGone": 0});
    assert_eq!(counters(&sandbox, &client, "openrouter_chat").await, counted);
}

#[actix_web::test]
async fn malformed_and_empty_streams_end_well_and_say_nothing() {
    let (sandbox, client) = sandbox().await;
    for fault in ["malformed", "empty"] {
        arm(&sandbox, &client, json!({"provider": "openrouter_chat", "fault": fault})).await;
        let text = post_chat(&sandbox, &client, &chat("chunks 4")).await.text().await.unwrap();
        let (events, done) = events(&text);
        assert_eq!((deltas(&events, "content").as_str(), done), ("", true), "{fault}");
        assert_eq!(text.contains("\"del\n\n"), fault == "malformed");
    }
}

#[actix_web::test]
async fn a_client_that_leaves_a_stalled_answer_is_counted_out() {
    let (sandbox, client) = sandbox().await;
    let mut gone = 0;
    for (fault, seen) in [
        ("stall_content", "PROCESSING\n\n: OPENROUTER"),
        ("stall_mid", "\"content\":\"2 \""),
        ("drip", "\"content\":\"1\""),
    ] {
        arm(&sandbox, &client, json!({"provider": "openrouter_chat", "fault": fault})).await;
        let mut stream = post_chat(&sandbox, &client, &chat("chunks 4")).await.bytes_stream();
        let opening = if fault == "stall_content" { "PROCESSING\n\n" } else { seen };
        let text = read_until(&mut stream, opening).await;
        assert!(!text.contains("[DONE]"), "{fault}: {text}");
        let stalled =
            json!({"requests": gone + 1, "inFlight": 1, "completed": 0, "clientGone": gone});
        assert_eq!(counters(&sandbox, &client, "openrouter_chat").await, stalled, "{fault}");
        drop(stream);
        gone += 1;
        let left = json!({"requests": gone, "inFlight": 0, "completed": 0, "clientGone": gone});
        counters_become(&sandbox, &client, "openrouter_chat", left).await;
    }
}

#[actix_web::test]
async fn a_client_that_leaves_before_the_headers_is_counted_out() {
    let (sandbox, client) = sandbox().await;
    arm(&sandbox, &client, json!({"provider": "serper_search", "fault": "stall_headers"})).await;
    let url = format!("{}/search", sandbox.knobs()["SERPER_BASE_URL"]);
    let asking = client.post(url).header("x-api-key", "k").json(&json!({"q": "x"})).send();
    let asking = actix_web::rt::spawn(asking);
    let waits = json!({"requests": 1, "inFlight": 1, "completed": 0, "clientGone": 0});
    counters_become(&sandbox, &client, "serper_search", waits).await;
    asking.abort();
    let left = json!({"requests": 1, "inFlight": 0, "completed": 0, "clientGone": 1});
    counters_become(&sandbox, &client, "serper_search", left).await;
}

#[actix_web::test]
async fn a_client_that_leaves_in_the_middle_of_a_slow_answer_is_counted_out() {
    let (sandbox, client) = sandbox().await;
    let mut stream = post_chat(&sandbox, &client, &chat("slow 100 60000")).await.bytes_stream();
    read_until(&mut stream, "\"content\":\"1 \"").await;
    drop(stream);
    let left = json!({"requests": 1, "inFlight": 0, "completed": 0, "clientGone": 1});
    counters_become(&sandbox, &client, "openrouter_chat", left).await;
}

#[actix_web::test]
async fn a_fault_lapses_when_its_time_is_over() {
    let (sandbox, client) = sandbox().await;
    let order = json!({"provider": "openrouter_chat", "fault": "500", "ttlMs": 1});
    arm(&sandbox, &client, order).await;
    let healed =
        async { while post_chat(&sandbox, &client, &chat("chunks 1")).await.status() != 200 {} };
    tokio::time::timeout(Duration::from_secs(10), healed).await.unwrap();
}

#[actix_web::test]
async fn an_order_that_makes_no_sense_is_refused_with_a_sentence() {
    let (sandbox, client) = sandbox().await;
    let url = format!("{}/_control", sandbox.base_url());
    for (order, sentence) in [
        (json!({"provider": "acme", "fault": "500"}), "unknown provider \"acme\"; known: "),
        (
            json!({"provider": "jwks", "fault": "explode"}),
            "unknown fault \"explode\"; known: none, ",
        ),
        (json!({"provider": "jwks", "fault": "500", "times": 0}), "times: expected 1 or more"),
        (json!({"provider": "jwks"}), "expected {provider, fault, times?, ttlMs?} as JSON: "),
    ] {
        let response = client.post(&url).json(&order).send().await.unwrap();
        assert_eq!(response.status(), 400);
        let text = response.text().await.unwrap();
        assert!(text.starts_with(sentence), "{text}");
    }
}

#[actix_web::test]
async fn what_was_sent_is_kept_without_its_secrets() {
    let (sandbox, client) = sandbox().await;
    post_chat(&sandbox, &client, &chat("chunks 1")).await.text().await.unwrap();
    let token = &sandbox.knobs()["GOOGLE_TOKEN_URL"];
    let form = [("grant_type", "refresh_token"), ("client_id", "id"), ("client_secret", "hush")];
    client.post(token).form(&form).send().await.unwrap();
    let seen = async |provider: &str| {
        let url = format!("{}/_control/requests?provider={provider}", sandbox.base_url());
        client.get(url).send().await.unwrap().json::<Value>().await.unwrap()["requests"][0].clone()
    };
    let asked = seen("openrouter_chat").await;
    assert_eq!(asked["body"], chat("chunks 1"));
    assert_eq!(asked["path"], "/api/v1/chat/completions");
    assert_eq!(asked["headers"]["authorization"], "Bearer sha256:2c70e12b7a06");
    let refreshed = seen("gmail_oauth").await;
    assert_eq!(refreshed["body"]["client_id"], "id");
    assert!(!refreshed.to_string().contains("hush"));
}

#[actix_web::test]
async fn after_a_stop_nobody_listens() {
    let (sandbox, client) = sandbox().await;
    sandbox.stop().await;
    let refused = client.get(format!("{}/_control", sandbox.base_url())).send().await;
    assert!(refused.unwrap_err().is_connect());
}
