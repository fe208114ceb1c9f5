//! `POST /api/sessions/anonymous`: a session for whoever asks, counted by address.

use serde_json::json;

use crate::support::client::Caller;
use crate::support::expected::{assert_problem, of, refusal, whole};
use crate::support::scene::{Scene, get, session, until};
use crate::support::server::Setup;
use sendcat::contract::code::ErrorCode;

const PATH: &str = "/api/sessions/anonymous";
const PROBLEM: (&str, &str) = ("accept", "application/problem+json");

#[test]
fn a_session_is_minted_here_and_its_token_opens_the_chat() {
    let scene = Scene::with(&[]);
    let minted = get(scene.caller.post_json(PATH, r#"{"sessionId":"mine"}"#));
    let json = minted.json();
    let fields = [("cache-control", "no-store"), ("content-type", "application/json")];
    assert_eq!(minted, whole(200, &fields, &minted.body));
    let members: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["expiresAt", "sessionId", "token"]);
    let id = json["sessionId"].as_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|it| it.is_ascii_hexdigit()), "{id}");
    let expires = json["expiresAt"].as_str().unwrap();
    assert!(expires.ends_with('Z') && expires.len() == 24, "{expires}");
    let token = json["token"].as_str().unwrap();
    let first = get(scene.caller.chat(token, "t", "chunks 1"));
    assert_eq!(first.status, 200);
    assert_ne!(session(&scene.caller), session(&scene.caller));
}

#[test]
fn another_method_is_refused() {
    let scene = Scene::with(&[]);
    let refused = of(ErrorCode::MethodNotAllowed, &[("allow", "POST, OPTIONS")]);
    assert_eq!(get(scene.caller.get(PATH)), refused);
    let problem = get(scene.caller.get(PATH).header(PROBLEM.0, PROBLEM.1));
    assert_problem(&problem, &refused, "Method Not Allowed", &json!({}));
}

#[test]
fn an_address_has_its_limit_of_sessions_until_the_window_is_over() {
    let knobs = [("RATE_LIMIT_ANON_IP_MAX", "2"), ("RATE_LIMIT_ANON_IP_WINDOW_MS", "2000")];
    // One is taken by the session of the scene.
    let scene = Scene::with(&knobs);
    session(&scene.caller);
    let limited = get(scene.caller.post(PATH));
    let wait = limited.header("retry-after").expect("a 429 has a wait").to_owned();
    assert!((1..=2).contains(&wait.parse::<u64>().unwrap()), "{limited:?}");
    let unit = if wait == "1" { "second" } else { "seconds" };
    let sentence = format!("Rate limit reached; try again in {wait} {unit}.");
    assert_eq!(limited, refusal(429, "rate_limited", &sentence, &[("retry-after", &wait)]));
    until("the window is over", || get(scene.caller.post(PATH)).status == 200);
}

#[test]
fn without_a_secret_no_session_is_minted_and_no_token_is_good() {
    let server = Setup::bare().start();
    let caller = Caller::of(&server);
    let refused = of(ErrorCode::Misconfigured, &[]);
    assert_eq!(get(caller.post(PATH)), refused);
    let problem = get(caller.post(PATH).header(PROBLEM.0, PROBLEM.1));
    let more = json!({"retryAfterMs": 60_000});
    assert_problem(&problem, &refused, "Service Unavailable", &more);
    assert_eq!(get(caller.chat("token", "t", "hello")), refused);
}
