//! No secret is said by a process in which everything goes wrong: not in its log, not in an answer.

use std::collections::BTreeMap;

use sendcat::config::{Config, Source};
use sendcat::contract::signature::sign_meta;
use sendcat::http::routes::{Guard, ROUTES, Route};
use serde_json::json;

use crate::support::client::{Caller, run};
use crate::support::listener::{Heard, Listener};
use crate::support::server::{Server, Setup};
use crate::support::stand_in::StandIns;

/// What every planted secret has in it, and nothing else.
const MARK: &str = "p1anted";

/// Every knob that is a secret, and a value of its own for each.
fn planted() -> BTreeMap<String, String> {
    let sources = [("WEBHOOK_SOURCES", "x=github,y=stripe")];
    let sources = sources.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let needed = ["WEBHOOK_SECRET_X", "WEBHOOK_SECRET_Y"].map(|it| (it.to_owned(), "s".to_owned()));
    let config = Config::load(&Source::from_env(sources.clone().into_iter().chain(needed)));
    let config = config.expect("these are all that a start needs");
    let secret = ["a secret", "one or more secrets, separated by commas"];
    let rows = config.listing().rows().iter();
    let secrets = rows.filter(|row| secret.contains(&row.expected.as_str()));
    let value = |name: &str| match name {
        "SENTRY_DSN" | "RATE_LIMIT_SENTRY_DSN" => {
            format!("http://{MARK}{}@127.0.0.1:9/1", name.len())
        }
        // Tokens of operators travel in a header, as text.
        "OPS_TOKEN" | "OPS_READ_TOKEN" => format!("{MARK}-{}", name.to_lowercase()),
        _ => format!("{MARK}-{}/+\"é", name.to_lowercase()),
    };
    let planted: BTreeMap<_, _> =
        secrets.map(|row| (row.name.clone(), value(&row.name))).chain(sources).collect();
    assert!(planted.len() > 15, "{planted:?}");
    planted
}

/// A provider that refuses everything and repeats what it was sent, keys and all.
fn echo(heard: &Heard) -> (u16, Vec<u8>) {
    let said = format!("{}{}", heard.head, String::from_utf8_lossy(&heard.body));
    let body = json!({"error": {"message": said, "code": 400}, "error_description": said});
    (400, body.to_string().into_bytes())
}

/// Every address of a provider.
const ADDRESSES: &[&str] = &[
    "OPENROUTER_BASE_URL",
    "SERPER_BASE_URL",
    "SERPAPI_BASE_URL",
    "EBAY_BASE_URL",
    "GOOGLE_TOKEN_URL",
    "GMAIL_BASE_URL",
    "GOOGLE_JWKS_URL",
    "AUTH_JWKS_URL",
    "WHATSAPP_GRAPH_BASE_URL",
    "RESEND_BASE_URL",
];

fn path_of(route: &Route) -> String {
    let parts = route.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// The route whose answer does not end.
const STREAM: &str = "/ops/stream";

/// Everything that an answer says.
async fn said(request: reqwest::RequestBuilder) -> String {
    let mut answer = request.send().await.expect("the server answers");
    let head = format!("{} {:?}", answer.status(), answer.headers());
    if answer.url().path() == STREAM && answer.status() == 200 {
        // It has no end: of what goes on for ever the first two events are read.
        let mut begun = String::new();
        while begun.matches("\n\n").count() < 2 {
            let bytes = answer.chunk().await.expect("it goes on").expect("it does not end");
            begun.push_str(&String::from_utf8_lossy(&bytes));
        }
        return format!("{head}\n{begun}");
    }
    format!("{head}\n{}", answer.text().await.expect("whole"))
}

/// Drives every route, with and without what it asks for, well and with a panic.
async fn drive(caller: &Caller, secrets: &BTreeMap<String, String>) -> String {
    let mut all = String::new();
    let session = said(caller.post("/api/sessions/anonymous")).await;
    let token = session.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let token = token.expect("a session").to_owned();
    let body = json!({"id": "x", "message": "search rust", "fault": "http:panic_decide@0",
        "title": "x", "data": {}, "object": "whatsapp_business_account", "entry": []});
    let body = body.to_string();
    let signed = sign_meta(secrets["WHATSAPP_APP_SECRET"].as_bytes(), body.as_bytes());
    for route in ROUTES {
        let operator = route.guards.contains(&Guard::Operator);
        let right = if operator { &secrets["OPS_TOKEN"] } else { &token };
        let wrong = format!("{}x", secrets["AUTH_JWT_SECRET"]);
        // The last time with a handler that panics.
        for bearer in [right.as_str(), wrong.as_str(), right.as_str()] {
            let authorization =
                reqwest::header::HeaderValue::from_bytes(format!("Bearer {bearer}").as_bytes());
            let asked = caller
                .request(route.method, &path_of(route))
                .query(&[("token", &secrets["GMAIL_PUSH_TOKEN"]), ("state", &wrong)])
                .header("authorization", authorization.expect("bytes of a header"))
                .header("content-type", "application/json")
                .header("x-hub-signature-256", &signed)
                .body(body.clone());
            all.push_str(&said(asked).await);
            let fault = json!({"fault": "http:panic_decide@0"}).to_string();
            let armed = caller.post_json("/ops/faults", fault).bearer_auth(&secrets["OPS_TOKEN"]);
            if bearer == wrong {
                all.push_str(&said(armed).await);
            }
        }
    }
    // A line of the log names the path; who puts a secret there has it logged in that form.
    for secret in secrets.values() {
        let mut url = reqwest::Url::parse("http://x/api/webhooks").expect("it is one");
        url.path_segments_mut().expect("it has a path").push(secret);
        all.push_str(&said(caller.get(url.path())).await);
    }
    for path in ["/ops/actors", "/ops/snapshot", "/ops/inbox", "/ops/dead-letters", "/ops/cache"] {
        all.push_str(&said(caller.get(path).bearer_auth(&secrets["OPS_TOKEN"])).await);
    }
    all
}

fn nothing_is_said(server: Server, answers: &str) {
    let (_, log) = server.end_by("TERM");
    assert!(log.contains("\"answered\""), "it logs: {log}");
    assert!(log.contains("panicked at"), "a handler panicked: {log}");
    for (what, text) in [("the log", &*log), ("an answer", answers)] {
        let line = text.lines().find(|line| line.contains(MARK));
        assert_eq!(line, None, "{what}");
    }
}

fn started(secrets: &BTreeMap<String, String>, addresses: &BTreeMap<String, String>) -> Server {
    let setup = Setup::bare().with_all(secrets.clone()).with_all(addresses.clone());
    setup.with("RATE_LIMIT_ANON_IP_MAX", 100_000).start()
}

#[test]
fn providers_that_repeat_our_keys_make_nobody_say_them() {
    let (echoing, secrets) = (Listener::answering(echo), planted());
    let to_echo = |name: &&str| ((*name).to_owned(), echoing.url().to_owned());
    let server = started(&secrets, &ADDRESSES.iter().map(to_echo).collect());
    let caller = Caller::of(&server);
    let answers = run(drive(&caller, &secrets));
    assert!(!echoing.heard().is_empty(), "the model was asked");
    nothing_is_said(server, &answers);
}

#[test]
fn tools_whose_providers_repeat_our_keys_make_nobody_say_them() {
    let (echoing, secrets) = (Listener::answering(echo), planted());
    let to_echo = |name: &&str| ((*name).to_owned(), echoing.url().to_owned());
    let mut addresses: BTreeMap<_, _> = ADDRESSES.iter().map(to_echo).collect();
    let stand_ins = StandIns::start();
    let model = "OPENROUTER_BASE_URL".to_owned();
    addresses.insert(model.clone(), stand_ins.knobs()[&model].clone());
    let server = started(&secrets, &addresses);
    let caller = Caller::of(&server);
    let answers = run(drive(&caller, &secrets));
    assert!(!echoing.heard().is_empty(), "a tool was asked");
    nothing_is_said(server, &answers);
}
