//! Every refusal of a webhook, whole, as a sentence and as a problem document, in the order of
//! INTERFACE.md §4: the first guard that refuses answers.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::client::{Caller, answer, run};
use crate::support::exchange;
use crate::support::server::Server;
use crate::support::webhook::{
    OPS_TOKEN, PUSH_TOKEN, SECRET, WHATSAPP, accepted, delivery_of, eventually, receiver, refused,
    whole,
};
use crate::whatsapp::too_large;

/// A webhook: where it is, the knob of its limit, and what its `Allow` says.
struct Webhook {
    path: &'static str,
    limit: &'static str,
    allow: &'static str,
    /// A good body.
    good: &'static str,
    /// The request of somebody who may.
    signed: fn(&Caller, String) -> RequestBuilder,
}

const WEBHOOKS: [Webhook; 2] = [
    Webhook {
        path: WHATSAPP,
        limit: "RATE_LIMIT_WHATSAPP_MAX",
        allow: "POST, GET",
        good: include_str!("samples/whatsapp_text.json"),
        signed: |caller, body| caller.delivers(body),
    },
    Webhook {
        path: "/api/gmail/push",
        limit: "RATE_LIMIT_GMAIL_PUSH_MAX",
        allow: "POST",
        good: include_str!("samples/gmail_push_wrapped.json"),
        signed: |caller, body| caller.pushes(body),
    },
];

/// Every refusal is told twice: as a sentence, and as a problem document to who asks for one.
struct Refused {
    status: u16,
    code: &'static str,
    title: &'static str,
    sentence: String,
    issues: Value,
    more: Vec<(&'static str, &'static str)>,
}

impl Refused {
    fn new(status: u16, code: &'static str, title: &'static str, sentence: &str) -> Self {
        let (issues, more) = (json!([]), Vec::new());
        Self { status, code, title, sentence: sentence.to_owned(), issues, more }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.more.push((name, value));
        self
    }

    fn about(self, path: &str, expected: &str) -> Self {
        Self { issues: json!([{"path": path, "expected": expected}]), ..self }
    }

    async fn answers(&self, request: impl Fn() -> RequestBuilder) {
        let plain = answer(request()).await;
        assert_eq!(plain, refused(self.status, self.code, &self.sentence, &self.more));
        let problem = answer(request().header("accept", "application/problem+json")).await;
        let expected = json!({"type": "about:blank", "title": self.title, "status": self.status,
            "detail": self.sentence, "code": self.code, "issues": self.issues});
        assert_eq!(problem.json(), expected);
        assert_eq!(problem.headers, self.problem_headers(&problem));
    }

    fn problem_headers(&self, problem: &Answer) -> std::collections::BTreeMap<String, String> {
        let fields = [
            ("cache-control", "no-store"),
            ("content-type", "application/problem+json"),
            ("x-sendcat-error-code", self.code),
        ];
        whole(self.status, &[&fields, self.more.as_slice()].concat(), &problem.body).headers
    }
}

fn not_allowed(allow: &'static str) -> Refused {
    let sentence = "This address does not take that method; use one that the Allow header names.";
    Refused::new(405, "method_not_allowed", "Method Not Allowed", sentence).with("allow", allow)
}

fn unsupported() -> Refused {
    let sentence = "The request body must be JSON; send it with content-type application/json.";
    Refused::new(415, "unsupported_media_type", "Unsupported Media Type", sentence)
}

fn forbidden() -> Refused {
    let sentence =
        "You may not do this; check where the request comes from and what it is signed with.";
    Refused::new(403, "forbidden", "Forbidden", sentence)
}

#[test]
fn another_method_is_told_which_there_are() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        for webhook in WEBHOOKS {
            let refusal = not_allowed(webhook.allow);
            for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
                refusal.answers(|| caller.request(method, webhook.path)).await;
            }
        }
        not_allowed("POST").answers(|| caller.get("/api/gmail/push")).await;
    });
}

#[test]
fn a_body_that_is_not_declared_as_plain_json_is_unsupported() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        for webhook in WEBHOOKS {
            let with = |kind: &str| {
                let request = (webhook.signed)(&caller, webhook.good.to_owned());
                let mut request = request.build().unwrap();
                request.headers_mut().insert("content-type", kind.parse().unwrap());
                let body = request.body().and_then(|body| body.as_bytes()).unwrap().to_vec();
                let (path, query) = (request.url().path(), request.url().query());
                let path = query.map_or(path.to_owned(), |query| format!("{path}?{query}"));
                caller.post(&path).headers(request.headers().clone()).body(body)
            };
            for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
                unsupported().answers(|| with(kind)).await;
            }
            unsupported().answers(|| caller.post(webhook.path)).await;
            let zipped = || with("application/json").header("content-encoding", "gzip");
            unsupported().answers(zipped).await;
            let loose = with("Application/JSON ; charset=utf-8");
            assert_eq!(answer(loose).await, accepted());
        }
    });
}

#[test]
fn what_nobody_signed_is_forbidden() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        for webhook in WEBHOOKS {
            forbidden().answers(|| caller.post_json(webhook.path, webhook.good)).await;
        }
        let question = "?hub.mode=subscribe&hub.challenge=1&hub.verify_token=wrong";
        forbidden().answers(|| caller.get(&format!("{WHATSAPP}{question}"))).await;
        forbidden().answers(|| caller.get(WHATSAPP)).await;
    });
}

#[test]
fn a_signed_body_that_is_no_json_is_told_where_it_breaks() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let breaks = |at: &str| {
        let sentence = format!("The request body is not valid JSON: {at}.");
        Refused::new(400, "invalid_json", "Bad Request", &sentence)
    };
    run(async {
        for webhook in WEBHOOKS {
            let with =
                |body: &'static str| move |caller: &Caller| (webhook.signed)(caller, body.into());
            let empty = with("");
            breaks("EOF while parsing a value at line 1 column 0").answers(|| empty(&caller)).await;
            let two = with("{} {}");
            breaks("trailing characters at line 1 column 4").answers(|| two(&caller)).await;
        }
        let cut = include_str!("samples/whatsapp_malformed_truncated.json");
        let at = format!("EOF while parsing a string at line 1 column {}", cut.len());
        breaks(&at).answers(|| caller.delivers(cut)).await;
    });
}

#[test]
fn a_signed_body_of_another_shape_is_told_what_was_expected() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let shape = |path: &str, expected: &str| {
        let sentence = format!("The request is not valid: {path}: expected {expected}.");
        Refused::new(400, "invalid_request", "Bad Request", &sentence).about(path, expected)
    };
    run(async {
        for webhook in WEBHOOKS {
            let list = || (webhook.signed)(&caller, "[]".into());
            shape("$", "a JSON object").answers(list).await;
        }
        let object = shape("object", "\"whatsapp_business_account\"");
        object.answers(|| caller.delivers("{}")).await;
        object.answers(|| caller.delivers(r#"{"object":"page","entry":[]}"#)).await;
        let entry = shape("entry", "an array of entries");
        entry.answers(|| caller.delivers(r#"{"object":"whatsapp_business_account"}"#)).await;
        shape("message", "a Pub/Sub message object").answers(|| caller.pushes("{}")).await;
        assert_eq!(caller.inbox("").await, Vec::<Value>::new());
    });
}

#[test]
fn a_body_that_does_not_arrive_is_not_waited_for() {
    let server = receiver().with("SENDCAT_BODY_TIMEOUT_MS", 200).start();
    let sentence = "The request did not arrive in time; send it again.";
    for webhook in WEBHOOKS {
        let late = format!("{}{{", exchange::head(webhook.path, 100, ""));
        let expected = refused(408, "request_timeout", sentence, &[("connection", "close")]);
        assert_eq!(exchange::exchange(&server, late.as_bytes()), expected);
    }
}

/// A 429, whose wait differs from run to run.
fn assert_limited(limited: &Answer, problem: &Answer) {
    let seconds: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    let unit = if seconds == 1 { "second" } else { "seconds" };
    let sentence = format!("Rate limit reached; try again in {seconds} {unit}.");
    let wait = seconds.to_string();
    let expected = refused(429, "rate_limited", &sentence, &[("retry-after", &wait)]);
    assert_eq!(*limited, expected);
    let wait = problem.header("retry-after").unwrap();
    let fields = [
        ("cache-control", "no-store"),
        ("content-type", "application/problem+json"),
        ("retry-after", wait),
        ("x-sendcat-error-code", "rate_limited"),
    ];
    assert_eq!(*problem, whole(429, &fields, &problem.body));
    let mut problem = problem.json();
    let millis = problem["retryAfterMs"].take().as_u64().unwrap();
    assert_eq!(millis.div_ceil(1000).to_string(), wait);
    let seconds: u64 = wait.parse().unwrap();
    let unit = if seconds == 1 { "second" } else { "seconds" };
    let expected = json!({"type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Quota exceeded", "status": 429, "code": "rate_limited", "issues": [],
        "detail": format!("Rate limit reached; try again in {seconds} {unit}."),
        "retryAfterMs": null});
    assert_eq!(problem, expected);
}

#[test]
fn over_the_limit_everything_is_refused_before_it_is_looked_at() {
    for webhook in WEBHOOKS {
        let server = receiver().with(webhook.limit, 1).start();
        let caller = Caller::of(&server);
        run(async {
            let good = || (webhook.signed)(&caller, webhook.good.to_owned());
            assert_eq!(answer(good()).await, accepted());
            for request in [&good as &dyn Fn() -> _, &|| caller.request("PUT", webhook.path)] {
                let problem = request().header("accept", "application/problem+json");
                assert_limited(&answer(request()).await, &answer(problem).await);
            }
            // Meta's question is of no use to who does not know the token, and is not counted.
            let question = "?hub.mode=subscribe&hub.challenge=7&hub.verify_token=vibecoding";
            let told = answer(caller.get(&format!("{WHATSAPP}{question}"))).await;
            assert_eq!((told.status, told.body.as_str()), (200, "7"));
        });
    }
}

#[test]
fn who_is_refused_in_the_middle_of_a_body_reads_why() {
    let server = receiver().with("RATE_LIMIT_WHATSAPP_MAX", 1).start();
    let caller = Caller::of(&server);
    let body = " ".repeat(262_144);
    run(async {
        forbidden().answers(|| caller.post_json("/api/gmail/push", body.clone())).await;
        let all = (0..40).map(|_| answer(caller.post_json(WHATSAPP, body.clone())));
        let answers = futures_util::future::join_all(all).await;
        let limited = answers.iter().filter(|answer| answer.status == 429);
        assert_eq!(limited.clone().count(), 39);
        assert!(limited.clone().all(|answer| answer.header("connection").is_none()));
    });
}

#[test]
fn the_first_guard_that_refuses_answers() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let code = |answer: Answer| answer.code().unwrap_or_default().to_owned();
    run(async {
        for webhook in WEBHOOKS {
            // Wrong in everything that comes after the method.
            let request = caller.request("PUT", webhook.path).body("x".repeat(1000));
            assert_eq!(code(answer(request).await), "method_not_allowed");
            // Not signed, no JSON, of the right type.
            let request = caller.post_json(webhook.path, "{");
            assert_eq!(code(answer(request).await), "forbidden");
            // Signed, no JSON.
            let request = (webhook.signed)(&caller, "{".to_owned());
            assert_eq!(code(answer(request).await), "invalid_json");
        }
    });
    for webhook in WEBHOOKS {
        // Too large, of the wrong type, unsigned; then of the right type.
        let wrong_type =
            exchange::head(webhook.path, 262_145, "").replace("application/json", "text/x");
        assert_eq!(
            code(exchange::exchange(&server, wrong_type.as_bytes())),
            "unsupported_media_type"
        );
        let large = exchange::head(webhook.path, 262_145, "");
        assert_eq!(exchange::exchange(&server, large.as_bytes()), too_large());
    }
}

#[test]
fn without_its_queue_a_delivery_is_not_accepted_and_is_taken_when_it_comes_again() {
    let mut server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        // More failures than its subtree bears: the queue is given up.
        for _ in 0..6 {
            caller.arms("job_queue:panic_apply@0").await;
        }
        let mut sent = 0;
        eventually("the queue is given up", async || {
            sent += 1;
            let delivery = caller.delivers(delivery_of([format!("drives-{sent}")]));
            let status = answer(delivery).await.status;
            assert!([200, 503].contains(&status), "{status}");
            (caller.actor("job_queue").await["status"] == "down").then_some(())
        })
        .await;
        let sentence = "The request cannot be stored right now; try again in 5 seconds.";
        let wait = [("retry-after", "5")];
        let unavailable = refused(503, "storage_unavailable", sentence, &wait);
        for webhook in WEBHOOKS {
            // Its claims are given back each time: none of these is a replay.
            for _ in 0..2 {
                let delivery = (webhook.signed)(&caller, webhook.good.to_owned());
                assert_eq!(answer(delivery).await, unavailable);
            }
            let problem = (webhook.signed)(&caller, webhook.good.to_owned());
            let problem = answer(problem.header("accept", "application/problem+json")).await;
            let expected = json!({
                "type": REDUCED_CAPACITY,
                "title": "Temporary reduced capacity", "status": 503, "detail": sentence,
                "code": "storage_unavailable", "issues": [], "retryAfterMs": 5000});
            assert_eq!(problem.json(), expected);
        }
    });
    server.kill_and_restart();
    let caller = Caller::of(&server);
    run(async {
        for webhook in WEBHOOKS {
            let delivery = (webhook.signed)(&caller, webhook.good.to_owned());
            assert_eq!(answer(delivery).await, accepted());
        }
    });
}

const REDUCED_CAPACITY: &str =
    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

/// Everything planted, none of which may ever stand in a log.
const PLANTED: [&str; 6] = [
    SECRET,
    PUSH_TOKEN,
    OPS_TOKEN,
    "planted-message-text",
    "planted-wrong-token",
    "planted-wrong-signature",
];

#[test]
fn nothing_planted_stands_in_the_logs_of_a_run_full_of_errors() {
    let server: Server = receiver().start();
    let caller = Caller::of(&server);
    let text = "planted-message-text";
    let messages = [json!({"id": "m1", "type": "text", "text": {"body": text}}), json!([text])];
    let body = crate::support::webhook::delivery(&messages);
    run(async {
        for fault in ["idempotency:panic_decide@0", "job_queue:panic_apply@0"] {
            caller.arms(fault).await;
            answer(caller.delivers(body.clone())).await;
        }
        answer(caller.delivers(body.clone())).await;
        answer(caller.delivers(format!("{body}{text}"))).await;
        let unsigned = caller.post_json(WHATSAPP, body.clone());
        answer(unsigned.header("x-hub-signature-256", "planted-wrong-signature")).await;
        answer(caller.post_json("/api/gmail/push?token=planted-wrong-token", body)).await;
        answer(caller.pushes(text)).await;
        let question = "?hub.mode=subscribe&hub.challenge=1&hub.verify_token=planted-wrong-token";
        answer(caller.get(&format!("{WHATSAPP}{question}"))).await;
        answer(caller.get("/ops/actors").bearer_auth("planted-wrong-token")).await;
        caller.worked_off(2).await;
    });
    let (code, log) = server.end_by("TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("an actor panicked"), "the run had errors: {log}");
    for planted in PLANTED {
        assert!(!log.contains(planted), "{planted} stands in\n{log}");
    }
}
