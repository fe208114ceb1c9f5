//! `POST /api/webhooks/{source}`: three schemes, whole answers, each delivery once.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::RequestBuilder;
use sendcat::contract::signature::sign_meta;
use sendcat::contract::webhook::{sign_standard, sign_stripe, standard_secret};
use serde_json::json;

use crate::support::client::{Caller, answer, run};
use crate::support::exchange;
use crate::support::server::Setup;
use crate::support::webhook::{SOON, accepted, forbidden, receiver, refused, replayed};
use crate::whatsapp::too_large;

const STANDARD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
const GITHUB: &str = "It's a Secret to Everybody";
const STRIPE: &str = "whsec_stripe";

fn sources() -> Setup {
    receiver()
        .with("WEBHOOK_SOURCES", "mail=standard,ci=github,shop-eu=stripe")
        .with("WEBHOOK_SECRET_MAIL", format!("{STANDARD},{OLD}"))
        .with("WEBHOOK_SECRET_CI", GITHUB)
        .with("WEBHOOK_SECRET_SHOP_EU", STRIPE)
        .with("RATE_LIMIT_WEBHOOK_MAX", 100_000)
}

#[expect(clippy::disallowed_methods, reason = "senders sign by the wall's time")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Caller {
    fn sends_mail(&self, secret: &str, id: &str, at: u64, body: &str) -> RequestBuilder {
        let key = standard_secret(secret.as_bytes()).unwrap();
        self.post_json("/api/webhooks/mail", body)
            .header("webhook-id", id)
            .header("webhook-timestamp", at)
            .header("webhook-signature", sign_standard(&key, id, at, body.as_bytes()))
    }

    fn sends_ci(&self, delivery: &str, body: &str) -> RequestBuilder {
        self.post_json("/api/webhooks/ci", body)
            .header("x-hub-signature-256", sign_meta(GITHUB.as_bytes(), body.as_bytes()))
            .header("x-github-event", "push")
            .header("x-github-delivery", delivery)
    }

    fn sends_shop(&self, at: u64, body: &str) -> RequestBuilder {
        let signature = sign_stripe(STRIPE.as_bytes(), at, body.as_bytes());
        self.post_json("/api/webhooks/shop-eu", body).header("stripe-signature", signature)
    }
}

#[test]
fn a_delivery_of_each_scheme_is_accepted_once_and_kept() {
    let server = sources().start();
    let caller = Caller::of(&server);
    let (at, mail, push, paid) =
        (now(), r#"{"type":"sent"}"#, r#"{"ref":"main"}"#, r#"{"id":"evt_1","type":"paid"}"#);
    run(async {
        assert_eq!(answer(caller.sends_mail(STANDARD, "msg_1", at, mail)).await, accepted());
        // A redelivery is signed anew, by the other secret of a rotation as well as by this one.
        assert_eq!(answer(caller.sends_mail(OLD, "msg_1", at + 1, mail)).await, replayed());
        assert_eq!(answer(caller.sends_ci("d-1", push)).await, accepted());
        // What is not signed does not make another delivery of it.
        assert_eq!(answer(caller.sends_ci("d-2", push)).await, replayed());
        assert_eq!(answer(caller.sends_shop(at, paid)).await, accepted());
        assert_eq!(answer(caller.sends_shop(at - 1, paid)).await, replayed());
        // The same identifier with another body is not thrown away as a duplicate.
        let other = r#"{"type":"bounced"}"#;
        assert_eq!(answer(caller.sends_mail(STANDARD, "msg_1", at, other)).await, accepted());
        let rows = caller.worked_off(4).await;
        for row in &rows {
            assert_eq!((&row["status"], &row["source"]), (&json!("done"), &json!("generic")));
        }
        let of = |start: &str| {
            rows.iter().filter(|row| row["key"].as_str().unwrap().starts_with(start)).count()
        };
        assert_eq!(of("webhook:mail/msg_1#"), 2);
        assert_eq!((of("webhook:ci/"), of("webhook:shop-eu/evt_1#")), (1, 1));
    });
}

#[test]
fn svixs_own_names_of_the_fields_are_read_as_well() {
    let server = sources().start();
    let caller = Caller::of(&server);
    let (at, body) = (now(), r#"{"a":1}"#);
    let key = standard_secret(STANDARD.as_bytes()).unwrap();
    let signature = sign_standard(&key, "msg_svix", at, body.as_bytes());
    run(async {
        let request = caller
            .post_json("/api/webhooks/mail", body)
            .header("svix-id", "msg_svix")
            .header("svix-timestamp", at)
            .header("svix-signature", signature);
        assert_eq!(answer(request).await, accepted());
        let again = caller.sends_mail(STANDARD, "msg_svix", at, body);
        assert_eq!(answer(again).await, replayed());
    });
}

#[test]
fn whatever_is_not_signed_right_is_forbidden_and_written_nowhere() {
    let server = sources().start();
    let caller = Caller::of(&server);
    let (at, body) = (now(), r#"{"a":1}"#);
    let key = standard_secret(STANDARD.as_bytes()).unwrap();
    let signature = sign_standard(&key, "m", at, body.as_bytes());
    let mail = || caller.post_json("/api/webhooks/mail", body);
    let signed = || mail().header("webhook-id", "m").header("webhook-timestamp", at);
    let wrong = [
        mail(),
        signed(),
        signed().header("webhook-signature", "v1,"),
        signed().header("webhook-signature", signature.replace("v1,", "v2,")),
        signed().header("webhook-signature", &signature).header("webhook-id", "n"),
        mail()
            .header("webhook-id", "n")
            .header("webhook-timestamp", at)
            .header("webhook-signature", &signature),
        caller.sends_mail(STANDARD, "m", at - 400, body),
        caller.sends_mail(STANDARD, "m", at + 400, body),
        caller.sends_mail("whsec_b3RoZXIgc2VjcmV0IG90aGVyIHNlY3JldA==", "m", at, body),
        caller.post_json("/api/webhooks/ci", body),
        caller
            .post_json("/api/webhooks/ci", body)
            .header("x-hub-signature-256", sign_meta(b"other", body.as_bytes())),
        caller.post_json("/api/webhooks/shop-eu", body),
        caller.sends_shop(at - 400, body),
        caller
            .post_json("/api/webhooks/shop-eu", body)
            .header("stripe-signature", sign_stripe(b"other", at, body.as_bytes())),
        // A signature of another source's secret is none.
        caller
            .post_json("/api/webhooks/shop-eu", body)
            .header("x-hub-signature-256", sign_meta(GITHUB.as_bytes(), body.as_bytes())),
    ];
    run(async {
        for (at, request) in wrong.into_iter().enumerate() {
            assert_eq!(answer(request).await, forbidden(), "{at}");
        }
        assert_eq!(caller.inbox("").await, Vec::<serde_json::Value>::new());
    });
}

#[test]
fn what_declares_no_length_is_counted_as_it_comes_and_refused_in_its_middle() {
    let server = sources().start();
    for path in ["/api/webhooks/ci", "/api/webhooks/mail", "/api/gmail/push"] {
        let head = exchange::head(path, 0, "transfer-encoding: chunked\r\n")
            .replace("content-length: 0\r\n", "");
        // Neither the rest of the chunk nor another one is waited for.
        let begun = format!("{head}{:x}\r\n{}", 1_000_000, " ".repeat(262_145));
        assert_eq!(exchange::exchange(&server, begun.as_bytes()), too_large(), "{path}");
        let declared = exchange::head(path, 262_145, "");
        assert_eq!(exchange::exchange(&server, declared.as_bytes()), too_large(), "{path}");
    }
}

#[test]
fn many_signatures_of_a_large_body_cost_no_more_than_one() {
    let server = sources().start();
    let caller = Caller::of(&server);
    let body = format!("{}{}", r#"{"a":1}"#, " ".repeat(262_000));
    let at = now();
    let wrong = ["v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; 1300].join(" ");
    let mail = caller
        .post_json("/api/webhooks/mail", body.as_str())
        .header("webhook-id", "m")
        .header("webhook-timestamp", at)
        .header("webhook-signature", wrong);
    let wrong = format!("t={at}{}", format!(",v1={}", "0".repeat(64)).repeat(800));
    let shop =
        caller.post_json("/api/webhooks/shop-eu", body.as_str()).header("stripe-signature", wrong);
    run(async {
        for request in [mail, shop] {
            // A signature of each would be some hundred megabytes: minutes in a debug build.
            let refused = tokio::time::timeout(SOON / 4, answer(request)).await;
            assert_eq!(refused.expect("nobody is kept busy by what anybody sends"), forbidden());
        }
    });
}

#[test]
fn each_guard_refuses_in_its_order() {
    let server = sources().with("RATE_LIMIT_WEBHOOK_SENDER_MAX", 2).start();
    let caller = Caller::of(&server);
    let unknown = "There is nothing here; check the address.";
    run(async {
        let answered = answer(caller.post_json("/api/webhooks/nobody", "{}")).await;
        assert_eq!((answered.status, answered.body.as_str()), (404, unknown));
        let get = answer(caller.get("/api/webhooks/ci")).await;
        assert_eq!((get.status, get.headers.get("allow").map(String::as_str)), (405, Some("POST")));
        let text = caller.post("/api/webhooks/ci").header("content-type", "text/plain").body("{}");
        assert_eq!(answer(text).await.status, 415);
        let large = caller.sends_ci("d", &" ".repeat(262_145));
        let large = answer(large).await;
        assert_eq!((large.status, large.body), (413, too_large().body));
        let sentence = "The request body is not valid JSON: expected value at line 1 column 1.";
        let expected = refused(400, "invalid_json", sentence, &[]);
        assert_eq!(answer(caller.sends_ci("d", "garbage")).await, expected);
        let sentence = "The request is not valid: $: expected a JSON object.";
        let expected = refused(400, "invalid_request", sentence, &[]);
        assert_eq!(answer(caller.sends_ci("d", "[]")).await, expected);
        // That was the second signed one of this sender; another sender is not held up.
        let limited = answer(caller.sends_ci("d", "{}")).await;
        assert_eq!((limited.status, limited.headers.contains_key("retry-after")), (429, true));
        assert_eq!(answer(caller.sends_shop(now(), r#"{"id":"e"}"#)).await, accepted());
    });
}
