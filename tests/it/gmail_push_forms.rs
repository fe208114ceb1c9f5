//! Pushes that Pub/Sub has unwrapped, whose subscription they are of, and pushes about mailboxes
//! that nobody has connected.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::client::{Caller, answer, run};
use crate::support::ledger::Ledger;
use crate::support::webhook::{
    PUSH_TOKEN, accepted, forbidden, keys, push_of, receiver, refused, replayed,
};

const SUBSCRIPTION: &str = "projects/p/subscriptions/gmail";
const NAME: &str = "x-goog-pubsub-subscription-name";
const NOTICE: &str = r#"{"emailAddress":"user@example.com","historyId":"77"}"#;

/// A push that says no more than what is in its data.
fn unwrapped(caller: &Caller, body: &str) -> RequestBuilder {
    caller.post(&format!("/api/gmail/push?token={PUSH_TOKEN}")).body(body.to_owned())
}

/// The same, as a subscription that writes metadata sends it.
fn described(caller: &Caller, body: &str) -> RequestBuilder {
    unwrapped(caller, body)
        .header(NAME, SUBSCRIPTION)
        .header("x-goog-pubsub-message-id", "2070443601311540")
        .header("x-goog-pubsub-publish-time", "2021-02-26T19:13:55.749Z")
}

#[test]
fn a_push_is_read_wrapped_or_not_and_is_one_event() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        assert_eq!(answer(described(&caller, NOTICE)).await, accepted());
        let bytes = described(&caller, NOTICE).header("content-type", "application/octet-stream");
        assert_eq!(answer(bytes).await, replayed());
        let json = unwrapped(&caller, NOTICE).header("content-type", "application/json");
        assert_eq!(answer(json).await, replayed());
        assert_eq!(answer(caller.pushes(push_of("user@example.com", 77))).await, replayed());
        let number = r#"{"emailAddress":"user@example.com","historyId":78}"#;
        assert_eq!(answer(described(&caller, number)).await, accepted());
        let rows = caller.worked_off(2).await;
        let known =
            ["gmail_push_history/user@example.com:77", "gmail_push_history/user@example.com:78"];
        assert_eq!(keys(&rows), known);
    });
}

#[test]
fn what_has_no_type_must_say_that_it_is_a_push_and_who_sends_it_must_know_the_token() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let sentence = "The request body must be JSON; send it with content-type application/json.";
        let unsupported = refused(415, "unsupported_media_type", sentence, &[]);
        assert_eq!(answer(unwrapped(&caller, NOTICE)).await, unsupported);
        let twice = described(&caller, NOTICE).header(NAME, SUBSCRIPTION);
        assert_eq!(answer(twice).await, unsupported);
        for kind in ["text/plain", "application/x-www-form-urlencoded"] {
            let typed = described(&caller, NOTICE).header("content-type", kind);
            assert_eq!(answer(typed).await, unsupported, "{kind}");
        }
        // What stands in such headers is anybody's word.
        let stranger = caller.post("/api/gmail/push").header(NAME, SUBSCRIPTION).body(NOTICE);
        assert_eq!(answer(stranger).await, forbidden());
        let elsewhere = caller.post("/api/webhooks/x").header(NAME, SUBSCRIPTION).body("{}");
        assert_eq!(answer(elsewhere).await.status, 415);
        assert_eq!(caller.inbox("").await, Vec::<Value>::new());
    });
}

#[test]
fn what_an_unwrapped_push_has_wrong_is_named() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let shape = |path: &str, expected: &str| {
            let sentence = format!("The request is not valid: {path}: expected {expected}.");
            refused(400, "invalid_request", &sentence, &[])
        };
        let table = [
            (json!({"historyId": "1"}), shape("emailAddress", "a mail address")),
            (json!({"emailAddress": "a@b"}), shape("historyId", "a history id of decimal digits")),
            (json!({"emailAddress": 7, "historyId": 1}), shape("emailAddress", "a mail address")),
            (json!({}), shape("message", "a Pub/Sub message object")),
            (json!([]), shape("$", "a JSON object")),
        ];
        for (body, expected) in table {
            assert_eq!(answer(described(&caller, &body.to_string())).await, expected, "{body}");
        }
        let no_json = answer(described(&caller, "{")).await;
        assert_eq!((no_json.status, no_json.code()), (400, Some("invalid_json")));
    });
}

#[test]
fn where_subscriptions_are_listed_a_push_of_another_is_forbidden() {
    let listed = format!("projects/p/subscriptions/old,{SUBSCRIPTION}");
    let server = receiver().with("GMAIL_PUSH_SUBSCRIPTIONS", listed).start();
    let caller = Caller::of(&server);
    let of = |subscription: Value| {
        let mut body: Value = serde_json::from_str(&push_of("a@b.example", 1)).unwrap();
        body["subscription"] = subscription;
        caller.pushes(body.to_string())
    };
    run(async {
        let others = [
            json!("projects/p/subscriptions/other"),
            json!("projects/p/subscriptions/gmail2"),
            json!(""),
            json!([SUBSCRIPTION]),
            Value::Null,
        ];
        for other in others {
            assert_eq!(answer(of(other.clone())).await, forbidden(), "{other}");
            // A header says nothing of a push that is wrapped.
            let helped = of(other.clone()).header(NAME, SUBSCRIPTION);
            assert_eq!(answer(helped).await, forbidden(), "{other}");
        }
        let json = unwrapped(&caller, NOTICE).header("content-type", "application/json");
        assert_eq!(answer(json).await, forbidden());
        // Nor does one that cannot be read become a dead letter, however often it comes.
        for _ in 0..6 {
            let bad = json!({"message": {"data": "%%%"}, "subscription": "other"}).to_string();
            assert_eq!(answer(caller.pushes(bad)).await.code(), Some("invalid_request"));
        }
        assert_eq!(caller.inbox("").await, Vec::<Value>::new());
        assert_eq!(answer(of(json!(SUBSCRIPTION))).await, accepted());
        assert_eq!(answer(of(json!("projects/p/subscriptions/old"))).await, replayed());
        assert_eq!(answer(described(&caller, NOTICE)).await, accepted());
    });
}

#[test]
fn pushes_about_mailboxes_that_nobody_has_connected_leave_nothing_behind() {
    let mut server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let all = (0..60).map(|it| answer(caller.pushes(push_of(&format!("{it}@b.example"), it))));
        for pushed in futures_util::future::join_all(all).await {
            assert_eq!(pushed, accepted());
        }
        for row in caller.worked_off(60).await {
            assert_eq!((&row["status"], &row["attempts"]), (&json!("done"), &json!(1)), "{row}");
        }
    });
    let (code, log) = server.end("TERM");
    assert_eq!(code, Some(0));
    let ledger = Ledger::of(server.data());
    assert_eq!((ledger.events.len(), ledger.effects.len()), (60, 0));
    // Told at the first and the tenth, not sixty times.
    let told = log.matches("a push is about a mailbox that nobody has connected").count();
    assert_eq!(told, 2, "{log}");
}
