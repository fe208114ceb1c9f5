//! Users' tokens that a key of their identity provider signed: the provider's stand-in signs them,
//! publishes its key, and counts who asks for it.

use futures_util::future::join_all;
use sendcat::contract::code::ErrorCode;
use serde_json::{Value, json};

use crate::support::client::{Caller, answer, run};
use crate::support::expected::{assert_problem, of, refusal};
use crate::support::scene::{Scene, get};
use crate::support::server::{Server, Setup};

const CHALLENGE: (&str, &str) = ("www-authenticate", "Bearer error=\"invalid_token\"");
const USER: &str = "https://id.example";

/// Has a stand-in do what stands below `/_control`.
fn control(url: &str, what: &str, body: &Value) -> Option<Value> {
    run(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("{url}/_control/{what}")).body(body.to_string());
        let answer = request.send().await.expect("the stand-ins answer");
        assert!(answer.status().is_success(), "{what}: {}", answer.status());
        answer.json().await.ok()
    })
}

fn token(url: &str, claims: &Value) -> String {
    let signed = control(url, "token", claims).expect("a token is JSON");
    signed["token"].as_str().expect("it is a text").to_owned()
}

fn claims(subject: &str) -> Value {
    json!({"iss": USER, "aud": "web", "sub": subject, "exp": 4_102_444_800_u64})
}

fn scene() -> Scene {
    Scene::with(&[("AUTH_ISSUER", USER), ("AUTH_AUDIENCE", "web")])
}

fn threads(scene: &Scene, token: &str) -> crate::support::answer::Answer {
    get(scene.caller.get("/api/threads").bearer_auth(token))
}

#[test]
fn a_user_is_known_by_a_key_of_the_identity_provider_which_is_asked_once() {
    let scene = scene();
    let ann = token(scene.stand_ins.url(), &claims("ann"));
    run(async {
        let asked = (0..40).map(|_| answer(scene.caller.get("/api/threads").bearer_auth(&ann)));
        assert!(join_all(asked).await.iter().all(|answer| answer.status == 200));
    });
    assert_eq!(scene.stand_ins.count("jwks", "requests"), 1);
    assert_eq!(get(scene.caller.chat(&ann, "t", "chunks 1")).status, 200);
    let bob = token(scene.stand_ins.url(), &claims("bob"));
    let theirs = scene.caller.get("/api/threads/t").bearer_auth(&bob);
    assert_eq!(get(theirs), of(ErrorCode::Forbidden, &[]));
    assert_eq!(scene.stand_ins.count("jwks", "requests"), 1);
}

#[test]
fn a_token_of_a_key_that_was_never_published_costs_no_more_than_one_question() {
    let scene = scene();
    let good = token(scene.stand_ins.url(), &claims("ann"));
    assert_eq!(threads(&scene, &good).status, 200);
    control(scene.stand_ins.url(), "rotate", &Value::Null);
    let rotated = token(scene.stand_ins.url(), &claims("ann"));
    let refused = of(ErrorCode::Unauthorized, &[CHALLENGE]);
    run(async {
        let asked =
            (0..200).map(|_| answer(scene.caller.get("/api/threads").bearer_auth(&rotated)));
        assert!(join_all(asked).await.iter().all(|answer| *answer == refused));
    });
    // The set was fetched a moment ago: it is not asked for again so soon.
    assert_eq!(scene.stand_ins.count("jwks", "requests"), 1);
    assert_eq!(threads(&scene, &good).status, 200);
}

#[test]
fn a_wrong_claim_is_refused_whoever_signed_it() {
    let scene = scene();
    let refused = of(ErrorCode::Unauthorized, &[CHALLENGE]);
    for (name, value) in [
        ("iss", json!("https://other.example")),
        ("iss", json!("sendcat")),
        ("aud", json!("other")),
        ("exp", json!(1)),
        ("nbf", json!(4_102_444_800_u64)),
        ("sub", json!("")),
    ] {
        let mut wrong = claims("ann");
        wrong[name] = value;
        assert_eq!(threads(&scene, &token(scene.stand_ins.url(), &wrong)), refused, "{name}");
    }
}

#[test]
fn where_the_keys_cannot_be_had_a_token_is_not_called_bad_and_sessions_go_on() {
    let scene = scene();
    scene.stand_ins.fail("jwks", "500", 1000);
    let ann = token(scene.stand_ins.url(), &claims("ann"));
    let sentence = "Your token cannot be checked right now; try again in 5 seconds.";
    let refused = refusal(503, "upstream_unavailable", sentence, &[("retry-after", "5")]);
    assert_eq!(threads(&scene, &ann), refused);
    let problem = scene.caller.get("/api/threads").bearer_auth(&ann);
    let more = json!({
        "type": "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
        "retryAfterMs": 5000,
    });
    let problem = get(problem.header("accept", "application/problem+json"));
    assert_problem(&problem, &refused, "Temporary reduced capacity", &more);
    assert_eq!(threads(&scene, &scene.token).status, 200);
    assert_eq!(threads(&scene, "garbage"), of(ErrorCode::Unauthorized, &[CHALLENGE]));
    assert_eq!(scene.stand_ins.count("jwks", "requests"), 1);
}

#[test]
fn only_configured_algorithms_are_good() {
    let scene = Scene::with(&[("AUTH_JWKS_ALGORITHMS", "RS256")]);
    let ann = token(scene.stand_ins.url(), &claims("ann"));
    assert_eq!(threads(&scene, &ann), of(ErrorCode::Unauthorized, &[CHALLENGE]));
    assert_eq!(scene.stand_ins.count("jwks", "requests"), 0, "no key is looked for");
    let (code, log) = Setup::bare().with("AUTH_JWKS_ALGORITHMS", "none,RS256").refused();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("AUTH_JWKS_ALGORITHMS"), "{log}");
    assert!(log.contains("one or more of RS256, ES256, separated by commas"), "{log}");
}

#[test]
fn a_token_of_the_sandbox_is_good_after_a_kill() {
    let mut server = Setup::sandbox().start();
    let signed = token(server.banner("sandbox"), &claims("ann"));
    let asks = |server: &Server| get(Caller::of(server).get("/api/threads").bearer_auth(&signed));
    assert_eq!(asks(&server).status, 200);
    server.kill_and_restart();
    assert_eq!(asks(&server).status, 200);
}
