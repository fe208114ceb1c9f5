//! Each stand-in as its real client would use it.

use serde_json::{Value, json};

use super::tests::{arm, counters, sandbox};

#[actix_web::test]
async fn serper_finds_what_was_asked_and_wants_a_key() {
    let (sandbox, client) = sandbox().await;
    let url = format!("{}/search", sandbox.knobs()["SERPER_BASE_URL"]);
    let asked = json!({"q": "Rust actors", "num": 1});
    let refused = client.post(&url).json(&asked).send().await.unwrap();
    assert_eq!(refused.status(), 403);
    let refusal: Value = refused.json().await.unwrap();
    assert_eq!(refusal, json!({"message": "Unauthorized.", "statusCode": 403}));
    let found = client.post(&url).header("x-api-key", "k").json(&asked).send().await.unwrap();
    let found: Value = found.json().await.unwrap();
    let expected = json!({
        "searchParameters": {"q": "Rust actors", "gl": "us", "hl": "en", "type": "search",
            "num": 1, "engine": "google"},
        "organic": [{
            "title": "Rust actors: an introduction",
            "link": "https://guide.example/rust-actors",
            "snippet": "What it is, where it comes from and how to begin.",
            "position": 1,
        }],
        "credits": 1,
    });
    assert_eq!(found, expected);
}

#[actix_web::test]
async fn serpapi_says_that_nothing_was_found_with_success() {
    let (sandbox, client) = sandbox().await;
    let url = format!("{}/search.json", sandbox.knobs()["SERPAPI_BASE_URL"]);
    let ask = async |query: &str| {
        let query = [("engine", "google_shopping"), ("q", query), ("api_key", "k")];
        client.get(&url).query(&query).send().await.unwrap().json::<Value>().await.unwrap()
    };
    let found = ask("dock").await;
    assert_eq!(found["shopping_results"][0]["price"], "$43.00");
    assert_eq!(found["shopping_results"][0]["extracted_price"], 43);
    assert_eq!(found["shopping_results"][0].get("link"), None);
    let nothing = ask("zzz").await;
    assert_eq!(nothing["search_metadata"]["status"], "Success");
    assert_eq!(nothing["error"], "Google hasn't returned any results for this query.");
    assert_eq!(client.get(&url).send().await.unwrap().status(), 401);
}

#[actix_web::test]
async fn ebay_wants_its_own_token_and_pages_through_the_hits() {
    let (sandbox, client) = sandbox().await;
    let base = &sandbox.knobs()["EBAY_BASE_URL"];
    let search = format!("{base}/buy/browse/v1/item_summary/search?q=dock&limit=30&offset=20");
    let stranger = client.get(&search).bearer_auth("other").send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    let scope = "https://api.ebay.com/oauth/api_scope";
    let form = [("grant_type", "client_credentials"), ("scope", scope)];
    let token = client.post(format!("{base}/identity/v1/oauth2/token"));
    let token = token.basic_auth("id", Some("secret")).form(&form).send().await.unwrap();
    let token: Value = token.json().await.unwrap();
    let token = token["access_token"].as_str().unwrap();
    let page: Value =
        client.get(&search).bearer_auth(token).send().await.unwrap().json().await.unwrap();
    assert_eq!(page["total"], 40);
    assert_eq!(page["itemSummaries"].as_array().unwrap().len(), 20);
    assert_eq!(page.get("next"), None);
    assert_eq!(page["itemSummaries"][0]["price"], json!({"value": "159.49", "currency": "USD"}));
    let item = format!("{base}/buy/browse/v1/item/v1%7C110553000021%7C0");
    let item: Value =
        client.get(item).bearer_auth(token).send().await.unwrap().json().await.unwrap();
    assert_eq!(item["itemId"], "v1|110553000021|0");
    let tree = format!("{base}/commerce/taxonomy/v1/category_tree/0");
    let tree: Value =
        client.get(tree).bearer_auth(token).send().await.unwrap().json().await.unwrap();
    let node = &tree["rootCategoryNode"]["childCategoryTreeNodes"][0]["childCategoryTreeNodes"][0];
    assert_eq!(node["leafCategoryTreeNode"], true);
}

#[actix_web::test]
async fn a_google_code_is_checked_against_its_request_and_used_once() {
    let (sandbox, _) = sandbox().await;
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
    let client = client.unwrap();
    let back = "http://app.example/callback";
    // The example of RFC 7636, appendix B.
    let query = [
        ("response_type", "code"),
        ("client_id", "id"),
        ("redirect_uri", back),
        ("scope", "openid"),
        ("state", "a b"),
        ("access_type", "offline"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let consent = client.get(&sandbox.knobs()["GOOGLE_AUTH_URL"]).query(&query).send().await;
    let consent = consent.unwrap();
    assert_eq!(consent.status(), 302);
    let address: reqwest::Url = consent.headers()["location"].to_str().unwrap().parse().unwrap();
    let answer: std::collections::BTreeMap<_, _> = address.query_pairs().into_owned().collect();
    assert_eq!(answer["state"], "a b");
    let exchange = async |verifier: &str| {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &answer["code"]),
            ("client_id", "id"),
            ("client_secret", "s"),
            ("redirect_uri", back),
            ("code_verifier", verifier),
        ];
        let url = &sandbox.knobs()["GOOGLE_TOKEN_URL"];
        let response = client.post(url).form(&form).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let (status, refusal) = exchange("another").await;
    assert_eq!((status, &refusal["error"]), (400, &json!("invalid_grant")));
    let (status, tokens) = exchange(verifier).await;
    assert_eq!((status, &tokens["scope"]), (200, &json!("openid")));
    assert!(tokens["refresh_token"].is_string());
    assert_eq!(exchange(verifier).await.0, 400);
    // The consent page is the browser's affair.
    assert_eq!(counters(&sandbox, &client, "gmail_oauth").await["requests"], 3);
}

#[actix_web::test]
async fn a_delivered_mail_stands_in_the_history_after_the_old_id() {
    let (sandbox, client) = sandbox().await;
    let base = &sandbox.knobs()["GMAIL_BASE_URL"];
    let get = async |path: &str| {
        let response = client.get(format!("{base}{path}")).bearer_auth("ya29.x").send().await;
        let response = response.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let profile = get("/gmail/v1/users/me/profile").await.1;
    assert_eq!(profile["historyId"], "1002");
    let quiet = get("/users/me/history?startHistoryId=1002").await;
    assert_eq!(quiet, (200, json!({"historyId": "1002"})));
    let mail = json!({"subject": "Hello", "text": "body"});
    let url = format!("{}/_control/mail", sandbox.base_url());
    client.post(url).json(&mail).send().await.unwrap();
    let news = get("/users/me/history?startHistoryId=1002").await.1;
    assert_eq!(news["historyId"], "1003");
    let id = news["history"][0]["messagesAdded"][0]["message"]["id"].as_str().unwrap();
    let message = get(&format!("/users/me/messages/{id}?format=full")).await.1;
    assert_eq!(message["payload"]["body"], json!({"size": 4, "data": "Ym9keQ=="}));
    assert_eq!(get("/users/me/history?startHistoryId=5").await.0, 404);
    let watch = client.post(format!("{base}/users/me/watch")).bearer_auth("ya29.x");
    let watch = watch.json(&json!({"topicName": "t"})).send().await.unwrap();
    let watch: Value = watch.json().await.unwrap();
    assert_eq!(watch, json!({"historyId": "1003", "expiration": "1772020800000"}));
}

#[actix_web::test]
async fn whatsapp_sends_and_gives_media_in_two_steps() {
    let (sandbox, client) = sandbox().await;
    let base = format!("{}/v21.0", sandbox.knobs()["WHATSAPP_GRAPH_BASE_URL"]);
    let body = json!({"messaging_product": "whatsapp", "recipient_type": "individual",
        "to": "+49 151", "type": "text", "text": {"body": "hi"}});
    let sent = client.post(format!("{base}/1/messages")).bearer_auth("t").json(&body);
    let sent: Value = sent.send().await.unwrap().json().await.unwrap();
    assert_eq!(sent["contacts"], json!([{"input": "+49 151", "wa_id": "49151"}]));
    let media = client.get(format!("{base}/m1")).bearer_auth("t").send().await.unwrap();
    let media: Value = media.json().await.unwrap();
    let address = media["url"].as_str().unwrap();
    assert_eq!(client.get(address).send().await.unwrap().status(), 401);
    let picture = client.get(address).bearer_auth("t").send().await.unwrap().bytes().await.unwrap();
    assert_eq!(media["file_size"], picture.len().to_string());
}

#[actix_web::test]
async fn resend_sends_one_mail_for_one_key() {
    let (sandbox, client) = sandbox().await;
    let url = format!("{}/emails", sandbox.knobs()["RESEND_BASE_URL"]);
    let send = async |subject: &str| {
        let mail = json!({"from": "a@x.example", "to": "b@x.example", "subject": subject,
            "text": "t"});
        let request = client.post(&url).bearer_auth("re_1").header("idempotency-key", "k");
        let response = request.json(&mail).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let first = send("one").await;
    assert_eq!(first.0, 200);
    assert_eq!(send("one").await, first);
    let other = send("two").await;
    assert_eq!((other.0, &other.1["name"]), (409, &json!("invalid_idempotent_request")));
}

#[actix_web::test]
async fn sentry_takes_whole_envelopes_only() {
    let (sandbox, client) = sandbox().await;
    let url = format!("{}/sentry/api/1/envelope/", sandbox.base_url());
    let id = "9ec79c33ec9942ab8353589fcb2e04dc";
    let event = format!(r#"{{"event_id":"{id}","timestamp":1.5,"platform":"other"}}"#);
    let send = async |length: usize, event: &str| {
        let item = format!(r#"{{"type":"event","length":{length}}}"#);
        let body = format!("{{\"event_id\":\"{id}\"}}\n{item}\n{event}\n");
        let request = client.post(&url).header("x-sentry-auth", "Sentry sentry_key=sandbox");
        request.body(body).send().await.unwrap()
    };
    let taken = send(event.len(), &event).await.json::<Value>().await.unwrap();
    assert_eq!(taken, json!({"id": id}));
    assert_eq!(send(700, &event).await.status(), 400);
    for odd in ["{}", "[]", "x", &event.replace("event_id", "id"), &event.replace(id, "1")] {
        assert_eq!(send(odd.len(), odd).await.status(), 400, "{odd}");
    }
    let keys = client.get(&sandbox.knobs()["GOOGLE_JWKS_URL"]).send().await.unwrap();
    assert_eq!(keys.json::<Value>().await.unwrap(), json!({"keys": []}));
}

#[actix_web::test]
async fn a_body_that_is_sent_whole_fails_in_every_way_too() {
    let (sandbox, client) = sandbox().await;
    let url = format!("{}/search", sandbox.knobs()["SERPER_BASE_URL"]);
    let ask = async |fault: &str| {
        arm(&sandbox, &client, json!({"provider": "serper_search", "fault": fault})).await;
        let request = client.post(&url).header("x-api-key", "k").json(&json!({"q": "x"}));
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await)
    };
    let (status, text) = ask("malformed").await;
    let text = text.unwrap();
    assert!(status == 200 && text.starts_with('{'), "{status} {text}");
    assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");
    let (status, text) = ask("cut").await;
    assert_eq!(status, 200);
    assert!(text.unwrap_err().is_decode());
    let sorry = r#"{"message":"Internal Server Error","statusCode":500}"#;
    let (status, text) = ask("error_mid").await;
    assert_eq!((status, text.unwrap().as_str()), (200, sorry));
    let (status, text) = ask("empty").await;
    assert_eq!((status, text.unwrap().as_str()), (200, "{}"));
    let (status, text) = ask("html").await;
    assert_eq!(status, 502);
    assert!(text.unwrap().starts_with("<!DOCTYPE html>"));
    let counted = json!({"requests": 5, "inFlight": 0, "completed": 5, "clientGone": 0});
    assert_eq!(counters(&sandbox, &client, "serper_search").await, counted);
}
