//! `POST /api/chat` before any provider is called: each check of INTERFACE.md §3, its whole answer,
//! and that the first failing one answers.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::RequestBuilder;
use sendcat::contract::code::ErrorCode;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::client::Caller;
use crate::support::expected::{assert_problem, of, refusal};
use crate::support::raw::Raw;
use crate::support::scene::{SESSION_SECRET, Scene, get, session, until};

const CHALLENGE: (&str, &str) = ("www-authenticate", "Bearer error=\"invalid_token\"");

/// Beyond every clock of this test's machine: 2100.
const LATER: u64 = 4_102_444_800;

/// Sends a request twice, as plain and for a problem document, and compares both answers.
#[track_caller]
fn refuses(request: impl Fn() -> RequestBuilder, expected: &Answer, title: &str, more: &Value) {
    let plain = get(request());
    assert_eq!(&plain, expected);
    let problem = get(request().header("accept", "application/problem+json"));
    assert_problem(&problem, expected, title, more);
}

fn body_of(bytes: usize) -> String {
    let text = "x".repeat(bytes);
    let around = json!({"id": "t", "message": ""}).to_string().len();
    json!({"id": "t", "message": &text[..bytes - around]}).to_string()
}

#[test]
fn the_first_failing_check_answers_whatever_else_is_wrong() {
    let scene = Scene::with(&[("ALLOWED_ORIGINS", "https://a.example")]);
    let caller = &scene.caller;
    let none = json!({});
    // Each request fails its own check and all that come after it.
    let foreign = || caller.get("/api/chat").header("origin", "https://evil.example");
    refuses(foreign, &of(ErrorCode::Forbidden, &[]), "Forbidden", &none);
    let allow = [("allow", "POST, OPTIONS")];
    let method = of(ErrorCode::MethodNotAllowed, &allow);
    refuses(|| caller.get("/api/chat"), &method, "Method Not Allowed", &none);
    let token = || caller.post("/api/chat").header("content-type", "text/plain").body("no");
    refuses(token, &of(ErrorCode::Unauthorized, &[CHALLENGE]), "Unauthorized", &none);
    let text = || token().bearer_auth(&scene.token).body(body_of(65_537));
    refuses(text, &of(ErrorCode::UnsupportedMediaType, &[]), "Unsupported Media Type", &none);
    let post =
        |body: &str| caller.post_json("/api/chat", body.to_owned()).bearer_auth(&scene.token);
    let large = "{".repeat(65_537);
    let too_large = of(ErrorCode::PayloadTooLarge, &[]);
    refuses(|| post(&large), &too_large, "Content Too Large", &none);
    let sentence = "The request body is not valid JSON: \
                    EOF while parsing an object at line 1 column 1.";
    let malformed = refusal(400, "invalid_json", sentence, &[]);
    refuses(|| post("{"), &malformed, "Bad Request", &none);
    let trigger = "\"submit-message\" or \"regenerate-message\"";
    let sentence = format!("The request is not valid: trigger: expected {trigger}.");
    let shape = refusal(400, "invalid_request", &sentence, &[]);
    let wrong = json!({"id": "t", "messages": [{"role": "user"}], "trigger": 7}).to_string();
    let issues = json!({"issues": [
        {"path": "trigger", "expected": trigger},
        {"path": "messages[0].parts", "expected": "an array of parts"},
    ]});
    refuses(|| post(&wrong), &shape, "Bad Request", &issues);
    assert_eq!(scene.model_calls(), 0);
}

#[test]
fn a_body_of_the_wrong_shape_is_told_the_first_path_and_what_was_expected() {
    let scene = Scene::with(&[]);
    let id = "a thread id of 1 to 128 characters of A-Z a-z 0-9 _ -";
    let user = json!({"role": "user", "parts": [{"type": "text", "text": "hi"}]});
    let table = [
        (json!([1]), "$", "a JSON object"),
        (json!({"message": "hi"}), "id", id),
        (json!({"id": "a/b", "message": "hi"}), "id", id),
        (json!({"threadId": "x".repeat(129), "message": "hi"}), "threadId", id),
        (json!({"id": "t"}), "messages", "an array with at least one user message"),
        (json!({"id": "t", "messages": "hi"}), "messages", "an array of messages"),
        (
            json!({"id": "t", "messages": [{"role": "user"}]}),
            "messages[0].parts",
            "an array of parts",
        ),
        (
            json!({"id": "t", "messages": [user, {"role": "tool", "parts": []}]}),
            "messages[1].role",
            "\"user\", \"assistant\" or \"system\"",
        ),
        (
            json!({"id": "t", "message": {"role": "user", "parts": [{"type": "text"}]}}),
            "message.parts[0].text",
            "a string",
        ),
        (
            json!({"id": "t", "message": user, "trigger": "again"}),
            "trigger",
            "\"submit-message\" or \"regenerate-message\"",
        ),
        (
            json!({"id": "t", "message": user, "messageId": 7}),
            "messageId",
            "a message id of at most 256 bytes",
        ),
    ];
    for (body, path, expected) in table {
        let sentence = format!("The request is not valid: {path}: expected {expected}.");
        let plain = refusal(400, "invalid_request", &sentence, &[]);
        let issues = json!({"issues": [{"path": path, "expected": expected}]});
        let post =
            || scene.caller.post_json("/api/chat", body.to_string()).bearer_auth(&scene.token);
        refuses(post, &plain, "Bad Request", &issues);
    }
}

#[test]
fn only_json_that_is_not_compressed_is_taken() {
    let scene = Scene::with(&[]);
    let hello = json!({"id": "t", "message": "chunks 1"}).to_string();
    let send = |fields: &[(&str, &str)]| {
        let mut request = scene.caller.post("/api/chat").bearer_auth(&scene.token);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        get(request.body(hello.clone()))
    };
    let refused = of(ErrorCode::UnsupportedMediaType, &[]);
    assert_eq!(send(&[]), refused);
    assert_eq!(send(&[("content-type", "text/plain")]), refused);
    assert_eq!(send(&[("content-type", "application/jsonx")]), refused);
    let gzip = [("content-type", "application/json"), ("content-encoding", "gzip")];
    assert_eq!(send(&gzip), refused);
    for taken in ["application/json", "Application/JSON; charset=utf-8"] {
        assert_eq!(send(&[("content-type", taken)]).status, 200, "{taken}");
    }
}

#[test]
fn a_body_of_exactly_64_kib_is_taken_and_one_byte_more_is_not() {
    let scene = Scene::with(&[]);
    let post =
        |body: String| get(scene.caller.post_json("/api/chat", body).bearer_auth(&scene.token));
    assert_eq!(post(body_of(65_536)).status, 200);
    let refused = of(ErrorCode::PayloadTooLarge, &[]);
    assert_eq!(post(body_of(65_537)), refused);
    // Without a declared length the bytes are counted as they come.
    let body = "x".repeat(65_537);
    let chunked = format!(
        "POST /api/chat HTTP/1.1\r\nhost: {{host}}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n10001\r\n{body}\r\n",
        scene.token
    );
    assert_eq!(Raw::send(scene.server.url(), &chunked).answer(), refused);
}

#[test]
fn a_body_that_does_not_arrive_is_not_waited_for() {
    let scene = Scene::with(&[("SENDCAT_BODY_TIMEOUT_MS", "300")]);
    let refused = of(ErrorCode::RequestTimeout, &[]);
    let begun = |more: &str| {
        let head = format!(
            "POST /api/chat HTTP/1.1\r\nhost: {{host}}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\n{more}content-length: 100\r\n\r\n{{\"id\":",
            scene.token
        );
        Raw::send(scene.server.url(), &head).answer()
    };
    assert_eq!(begun(""), refused);
    let problem = begun("accept: application/problem+json\r\n");
    assert_problem(&problem, &refused, "Request Timeout", &json!({}));
}

fn token(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).expect("claims can be signed")
}

#[test]
fn only_tokens_of_ours_and_of_the_identity_provider_are_good() {
    let scene = Scene::with(&[("AUTH_JWT_SECRET", "user-secret"), ("AUTH_ISSUER", "https://id")]);
    let anon = format!("anon:{}", "a".repeat(32));
    let ours = json!({"iss": "sendcat", "sub": anon, "exp": LATER});
    let user = json!({"iss": "https://id", "sub": "u1", "exp": LATER});
    let hs256 = Algorithm::HS256;
    // The head says that it is not signed, as if that were an algorithm.
    let signed = token(hs256, SESSION_SECRET, &ours);
    let payload = signed.split('.').nth(1).expect("a token has three parts");
    let none = format!("eyJhbGciOiJub25lIn0.{payload}.");
    let bad = [
        "garbage".to_owned(),
        none,
        format!("{signed}x"),
        token(hs256, SESSION_SECRET, &json!({"iss": "sendcat", "sub": anon, "exp": 1})),
        token(hs256, SESSION_SECRET, &json!({"iss": "sendcat", "sub": anon})),
        token(hs256, SESSION_SECRET, &json!({"iss": "sendcat", "sub": "anon:x", "exp": LATER})),
        token(hs256, SESSION_SECRET, &user),
        token(hs256, "user-secret", &ours),
        token(hs256, "user-secret", &json!({"iss": "https://other", "sub": "u", "exp": LATER})),
        token(hs256, "user-secret", &json!({"sub": "u", "exp": LATER})),
        token(Algorithm::HS384, "user-secret", &user),
    ];
    let refused = of(ErrorCode::Unauthorized, &[CHALLENGE]);
    for (at, token) in bad.iter().enumerate() {
        assert_eq!(get(scene.caller.chat(token, "t", "chunks 1")), refused, "{at}");
    }
    let basic = scene.caller.post_json("/api/chat", "{}").header("authorization", "Basic eDp4");
    assert_eq!(get(basic), refused);
    for good in [signed, token(hs256, "user-secret", &user)] {
        let thread = format!("t{}", good.len());
        assert_eq!(get(scene.caller.chat(&good, &thread, "chunks 1")).status, 200);
    }
    assert_eq!(scene.model_calls(), 2);
}

#[test]
fn a_thread_of_somebody_else_is_refused() {
    let scene = Scene::with(&[]);
    assert_eq!(scene.ask("mine", "chunks 1").status, 200);
    let other = session(&scene.caller);
    let refused = of(ErrorCode::Forbidden, &[]);
    let ask = || scene.caller.chat(&other, "mine", "chunks 1");
    refuses(ask, &refused, "Forbidden", &json!({}));
    assert_eq!(scene.model_calls(), 1);
    assert_eq!(scene.messages("mine").len(), 2);
}

#[test]
fn without_a_key_nothing_is_sent_and_nothing_is_stored() {
    let scene = Scene::with(&[("OPENROUTER_API_KEY", "")]);
    let sentence = "The service is not set up for this call. Try again in 60 s.";
    let refused = refusal(503, "misconfigured", sentence, &[("retry-after", "60")]);
    let ask = || scene.caller.chat(&scene.token, "t", "chunks 1");
    refuses(ask, &refused, "Service Unavailable", &json!({"retryAfterMs": 60_000}));
    let messages = scene.caller.get("/api/threads/t/messages").bearer_auth(&scene.token);
    assert_eq!(get(messages), of(ErrorCode::NotFound, &[]));
    assert_eq!(scene.model_calls(), 0);
}

/// The value of a header that counts down, such as `"chat_stream";r=0;t=60`.
fn at_most(answer: &Answer, header: &str, prefix: &str, most: u64) {
    let value = answer.header(header).unwrap_or_else(|| panic!("no {header}: {answer:?}"));
    let seconds = value.strip_prefix(prefix).and_then(|rest| rest.parse::<u64>().ok());
    let seconds = seconds.unwrap_or_else(|| panic!("{header}: {value}"));
    assert!((1..=most).contains(&seconds), "{header}: {value}");
}

/// Checks a 429 whole but for its waits, which must agree and be at most so long.
#[track_caller]
fn assert_limited(mut refused: Answer, policy: &str, calls: u64, most_s: u64) {
    at_most(&refused, "ratelimit", &format!("\"{policy}\";r=0;t="), most_s);
    at_most(&refused, "retry-after", "", most_s);
    let limit = refused.headers.remove("ratelimit").expect("it was looked at");
    let wait = refused.header("retry-after").expect("it was looked at").to_owned();
    assert!(limit.ends_with(&format!(";t={wait}")), "{limit} {wait}");
    let policy = format!("\"{policy}\";q={calls};w={most_s}");
    let unit = if wait == "1" { "second" } else { "seconds" };
    let sentence = format!("Rate limit reached; try again in {wait} {unit}.");
    let more = [("retry-after", wait.as_str()), ("ratelimit-policy", policy.as_str())];
    assert_eq!(refused, refusal(429, "rate_limited", &sentence, &more));
}

#[test]
fn a_session_has_its_limit_and_the_next_window_is_open_again() {
    let scene = Scene::with(&[
        ("RATE_LIMIT_CHAT_STREAM_MAX", "2"),
        ("RATE_LIMIT_CHAT_STREAM_WINDOW_MS", "3000"),
        // Asking until the window is over counts for the address, too.
        ("RATE_LIMIT_ANON_IP_MAX", "1000000"),
    ]);
    for left in [1, 0] {
        let answer = scene.ask("t", "chunks 1");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), Some("\"chat_stream\";q=2;w=3"));
        at_most(&answer, "ratelimit", &format!("\"chat_stream\";r={left};t="), 3);
    }
    // Over the limit nothing else is looked at.
    let wrong = scene.caller.post("/api/chat").bearer_auth(&scene.token).body("no json");
    assert_limited(get(wrong), "chat_stream", 2, 3);
    let problem = scene.caller.chat(&scene.token, "t", "chunks 1");
    let problem = get(problem.header("accept", "application/problem+json")).json();
    let wait = problem["retryAfterMs"].as_u64().expect("a problem names the wait");
    assert!((1..=3000).contains(&wait), "{problem}");
    assert_eq!(problem["violated-policies"], json!(["chat_stream"]));
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    let other = session(&scene.caller);
    assert_eq!(get(scene.caller.chat(&other, "t2", "chunks 1")).status, 200);
    until("the window is over", || scene.ask("t", "chunks 1").status == 200);
}

#[test]
fn a_user_has_one_limit_whatever_the_token() {
    let knobs = [("RATE_LIMIT_CHAT_STREAM_MAX", "1"), ("AUTH_JWT_SECRET", "user-secret")];
    let scene = Scene::with(&knobs);
    let user = |sub: &str, exp: u64| {
        token(Algorithm::HS256, "user-secret", &json!({"iss": "id", "sub": sub, "exp": exp}))
    };
    let ask = |token: &str, thread: &str| get(scene.caller.chat(token, thread, "chunks 1"));
    assert_eq!(ask(&user("u1", LATER), "t1").status, 200);
    assert_limited(ask(&user("u1", LATER + 1), "t1"), "chat_stream", 1, 60);
    assert_eq!(ask(&user("u2", LATER), "t2").status, 200);
}

#[test]
fn many_sessions_of_one_address_have_one_limit_together() {
    // One is taken by the session of the scene, three by those made here.
    let scene = Scene::with(&[("RATE_LIMIT_ANON_IP_MAX", "6")]);
    let sessions: Vec<String> = (0..3).map(|_| session(&scene.caller)).collect();
    let ask = |at: usize| get(scene.caller.chat(&sessions[at], &format!("t{at}"), "chunks 1"));
    assert_eq!((ask(0).status, ask(1).status), (200, 200));
    assert_limited(ask(2), "anon_ip", 6, 60);
}

#[test]
fn a_full_bulkhead_is_told_at_once_and_free_again_after_the_answer() {
    let scene = Scene::with(&[("BULKHEAD_OPENROUTER_MAX_CONCURRENT", "1")]);
    let mut running = scene.raw("slow", "slow 100 50", &[]);
    running.until("text-delta");
    let refused = scene.ask("t", "chunks 1");
    let wait = refused.header("retry-after").expect("a 503 has a wait").to_owned();
    assert!(wait.parse::<u64>().unwrap() >= 1, "{refused:?}");
    let policy = "\"openrouter_chat\";q=1;qu=\"concurrent-requests\"";
    let more = [("retry-after", wait.as_str()), ("ratelimit-policy", policy)];
    let sentence = format!("Too many calls are running. Try again in {wait} s.");
    assert_eq!(refused, refusal(503, "overloaded", &sentence, &more));
    let problem = scene.caller.chat(&scene.token, "t", "chunks 1");
    let problem = get(problem.header("accept", "application/problem+json")).json();
    assert_eq!(problem["violated-policies"], json!(["openrouter_chat"]));
    drop(running);
    until("the slot is back", || scene.ask("t", "chunks 1").status == 200);
    scene.settles();
}

#[test]
fn an_open_circuit_refuses_without_a_call() {
    let scene = Scene::with(&[
        ("CIRCUIT_OPENROUTER_THRESHOLD", "1"),
        ("CIRCUIT_OPENROUTER_COOLDOWN_MS", "60000"),
    ]);
    scene.stand_ins.fail("openrouter_chat", "500", 1);
    let first = scene.ask("t", "chunks 1");
    assert!([502, 503].contains(&first.status), "{first:?}");
    let calls = scene.model_calls();
    let refused = scene.ask("t", "chunks 1");
    let wait = refused.header("retry-after").expect("a 503 has a wait").to_owned();
    assert!((1..=120).contains(&wait.parse::<u64>().unwrap()), "{refused:?}");
    let sentence =
        format!("The provider has failed too often and is left alone. Try again in {wait} s.");
    let more = [("retry-after", wait.as_str())];
    assert_eq!(refused, refusal(503, "upstream_unavailable", &sentence, &more));
    assert_eq!(scene.model_calls(), calls);
    scene.settles();
}

#[test]
fn a_provider_that_cannot_be_reached_is_unavailable() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let knobs = [("OPENROUTER_BASE_URL", address.as_str()), ("CIRCUIT_OPENROUTER_THRESHOLD", "99")];
    let scene = Scene::with(&knobs);
    let sentence = "The provider cannot be reached. Try again in 5 s.";
    let refused = refusal(503, "upstream_unavailable", sentence, &[("retry-after", "5")]);
    let ask = || scene.caller.chat(&scene.token, "t", "chunks 1");
    let more = json!({
        "type": "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
        "retryAfterMs": 5000,
    });
    refuses(ask, &refused, "Temporary reduced capacity", &more);
    scene.settles();
}

#[test]
fn a_regeneration_of_what_is_not_there_is_not_found() {
    let scene = Scene::with(&[]);
    assert_eq!(scene.ask("t", "chunks 1").status, 200);
    let body = json!({"id": "t", "trigger": "regenerate-message", "messageId": "nobody"});
    let again = || scene.caller.post_json("/api/chat", body.to_string()).bearer_auth(&scene.token);
    refuses(again, &of(ErrorCode::NotFound, &[]), "Not Found", &json!({}));
    let caller: &Caller = &scene.caller;
    let nothing = json!({"id": "new", "trigger": "regenerate-message"}).to_string();
    let sentence = "The request is not valid: messages: expected a user message at the end.";
    let shape = refusal(400, "invalid_request", sentence, &[]);
    let issue = json!({"path": "messages", "expected": "a user message at the end"});
    let begin = || caller.post_json("/api/chat", nothing.clone()).bearer_auth(&scene.token);
    refuses(begin, &shape, "Bad Request", &json!({"issues": [issue]}));
    scene.settles();
}
