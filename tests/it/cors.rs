//! Which pages may call, and what their browsers are told: on answers, refusals and preflights.

use serde_json::json;

use crate::support::answer::Answer;
use crate::support::expected::{of, whole};
use crate::support::raw::Raw;
use crate::support::scene::{Scene, get};
use sendcat::contract::code::ErrorCode;

const LISTED: &str = "https://a.example";
const EXPOSED: &str = "x-sendcat-error-code, retry-after, x-idempotent-replay, ratelimit, \
                       ratelimit-policy, x-request-id";
const TAKEN: &str = "authorization, content-type, accept, user-agent, idempotency-key, \
                     x-sendcat-on-disconnect, traceparent, tracestate";
const ROUTES: [(&str, &str); 3] = [
    ("/api/chat", "POST, OPTIONS"),
    ("/api/sessions/anonymous", "POST, OPTIONS"),
    ("/api/threads/t/messages", "GET, OPTIONS"),
];

fn scene() -> Scene {
    Scene::with(&[("ALLOWED_ORIGINS", LISTED), ("RATE_LIMIT_CHAT_STREAM_MAX", "4")])
}

/// What CORS adds to an answer.
fn cors_of(answer: &Answer) -> (Option<&str>, Option<&str>, Option<&str>) {
    let names = ["access-control-allow-origin", "access-control-expose-headers", "vary"];
    let [allowed, exposed, vary] = names.map(|name| answer.header(name));
    (allowed, exposed, vary)
}

#[test]
fn a_page_that_may_call_can_read_every_answer_and_every_refusal() {
    let scene = scene();
    let own = scene.server.url().to_owned();
    for origin in [LISTED, own.as_str()] {
        let chat = |body: String| {
            let request = scene.caller.post_json("/api/chat", body).header("origin", origin);
            request.bearer_auth(&scene.token)
        };
        let hello = json!({"id": "t", "message": "chunks 1"}).to_string();
        let unknown = scene.caller.post_json("/api/chat", "{}").header("origin", origin);
        let method = scene.caller.get("/api/chat").header("origin", origin);
        let answers = [
            (200, get(chat(hello))),
            (413, get(chat("x".repeat(70_000)))),
            (401, get(unknown)),
            (405, get(method)),
        ];
        for (status, answer) in answers {
            assert_eq!(answer.status, status, "{answer:?}");
            let readable = (Some(origin), Some(EXPOSED), Some("Origin"));
            assert_eq!(cors_of(&answer), readable, "{origin} {status}");
        }
    }
    let limited = scene.caller.chat(&scene.token, "t", "chunks 1").header("origin", LISTED);
    let limited = get(limited);
    assert_eq!(limited.status, 429);
    assert_eq!(cors_of(&limited), (Some(LISTED), Some(EXPOSED), Some("Origin")));
}

#[test]
fn a_page_that_may_not_call_is_refused_whatever_else_it_sends() {
    let scene = scene();
    let refused = of(ErrorCode::Forbidden, &[]);
    let foreign = [
        "https://evil.example",
        "null",
        "https://a.example.evil.example",
        "http://a.example",
        "https://A.example",
        "https://a.example/",
        "",
    ];
    for origin in foreign {
        for (path, _) in ROUTES {
            for method in ["GET", "POST", "DELETE"] {
                let request = scene.caller.request(method, path).header("origin", origin);
                let request = request.bearer_auth(&scene.token);
                assert_eq!(get(request), refused, "{method} {path} {origin:?}");
            }
        }
    }
    // An origin beside an allowed one is no origin that was allowed.
    let lines = [format!("origin: {LISTED}"), "origin: https://evil.example".to_owned()];
    let two = Raw::post(scene.server.url(), "/api/sessions/anonymous", &lines, "");
    assert_eq!(two.answer(), refused);
    let twice = [format!("origin: {LISTED}"), format!("origin: {LISTED}")];
    let two = Raw::post(scene.server.url(), "/api/sessions/anonymous", &twice, "");
    assert_eq!(two.answer(), refused);
    assert_eq!(scene.model_calls(), 0);
}

#[test]
fn what_is_no_page_needs_no_origin() {
    let scene = scene();
    let answer = scene.ask("t", "chunks 1");
    assert_eq!(answer.status, 200);
    assert_eq!(cors_of(&answer), (None, None, Some("Origin")));
    for path in ["/livez", "/readyz", "/nowhere"] {
        let answer = get(scene.caller.get(path).header("origin", LISTED));
        assert_eq!(cors_of(&answer), (None, None, Some("Origin")), "{path}");
    }
}

#[test]
fn a_preflight_names_the_methods_of_its_route_to_allowed_pages_only() {
    let scene = scene();
    for (path, methods) in ROUTES {
        let preflight = |origin: &str| {
            let request = scene.caller.request("OPTIONS", path).header("origin", origin);
            let request = request.header("access-control-request-method", "POST");
            get(request.header("access-control-request-headers", "authorization,user-agent"))
        };
        let allowed = [
            ("access-control-allow-origin", LISTED),
            ("access-control-expose-headers", EXPOSED),
            ("access-control-allow-methods", methods),
            ("access-control-allow-headers", TAKEN),
            ("access-control-max-age", "600"),
        ];
        assert_eq!(preflight(LISTED), whole(204, &allowed, ""), "{path}");
        for foreign in ["https://evil.example", "null"] {
            assert_eq!(preflight(foreign), whole(204, &[], ""), "{path} {foreign}");
        }
    }
    let webhook = get(scene.caller.request("OPTIONS", "/api/gmail/push").header("origin", LISTED));
    assert_eq!(webhook.status, 405);
    assert_eq!(cors_of(&webhook), (None, None, Some("Origin")));
}
