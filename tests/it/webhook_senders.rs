//! The limit after the signature: each verified sender has its own, whatever address it sends from.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::client::{Caller, answer, run};
use crate::support::server::Setup;
use crate::support::webhook::{SECRET, accepted, forbidden, message, push_of, receiver, replayed};

/// Two of each verified sender a minute, and as many as they like of an address.
fn two_each() -> Setup {
    receiver().with("RATE_LIMIT_WEBHOOK_SENDER_MAX", 2).with("RATE_LIMIT_WEBHOOK_MAX", 100_000)
}

#[track_caller]
fn assert_limited(answer: &Answer) {
    assert_eq!((answer.status, answer.code()), (429, Some("rate_limited")), "{answer:?}");
    let seconds: u64 = answer.header("retry-after").expect("a wait").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    // What is left is told to nobody.
    assert_eq!(answer.header("ratelimit"), None);
}

/// A delivery with one message to each of these numbers of ours.
fn to_numbers(id: &str, numbers: &[&str]) -> String {
    let entries = numbers.iter().enumerate().map(|(at, number)| {
        let value = json!({"messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "1", "phone_number_id": number},
            "messages": [message(&format!("{id}-{at}"), "hello")]});
        json!({"id": "account", "changes": [{"value": value, "field": "messages"}]})
    });
    let entries: Vec<Value> = entries.collect();
    json!({"object": "whatsapp_business_account", "entry": entries}).to_string()
}

/// A delivery about an account, which names no number.
fn about_account(account: &str, time: u64) -> String {
    let change = json!({"field": "account_update", "value": {"event": "x"}});
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": account, "time": time, "changes": [change]}]})
    .to_string()
}

#[test]
fn whatsapp_is_counted_by_the_number_or_the_account_that_it_is_about() {
    let server = two_each().start();
    let caller = Caller::of(&server);
    let sends = |body: String| answer(caller.delivers(body));
    run(async {
        for id in ["a", "b"] {
            assert_eq!(sends(to_numbers(id, &["1"])).await, accepted());
        }
        assert_limited(&sends(to_numbers("c", &["1"])).await);
        // Wherever it comes from, it is the same sender.
        let elsewhere = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
        let elsewhere = Caller::from_address(&server, elsewhere);
        assert_limited(&answer(elsewhere.delivers(to_numbers("c", &["1"]))).await);
        // Another number is not held up, unless it comes together with that one.
        assert_limited(&sends(to_numbers("d", &["2", "1"])).await);
        assert_limited(&sends(to_numbers("d", &["1", "2"])).await);
        for id in ["e", "f"] {
            assert_eq!(sends(to_numbers(id, &["2"])).await, accepted());
        }
        assert_limited(&sends(to_numbers("g", &["2"])).await);
        for time in [1, 2] {
            assert_eq!(sends(about_account("account", time)).await, accepted());
        }
        assert_limited(&sends(about_account("account", 3)).await);
        // What was refused was not claimed: it is taken when there is room, and was lost nowhere.
        assert_eq!(sends(to_numbers("c", &["3"])).await, accepted());
    });
}

#[test]
fn a_number_that_stands_behind_others_in_a_batch_is_counted_as_well() {
    let server = two_each().start();
    let caller = Caller::of(&server);
    run(async {
        for (id, first) in [("a", "8"), ("b", "9")] {
            let batch = to_numbers(id, &[first, "1"]);
            assert_eq!(answer(caller.delivers(batch)).await, accepted());
        }
        assert_limited(&answer(caller.delivers(to_numbers("c", &["1"]))).await);
    });
}

#[test]
fn gmail_is_counted_by_who_has_signed_and_not_by_what_he_says() {
    let server = two_each().start();
    let caller = Caller::of(&server);
    let push = |subscription: &str, history: u64| {
        let mut body: Value = serde_json::from_str(&push_of("a@b.example", history)).unwrap();
        body["subscription"] = json!(subscription);
        answer(caller.pushes(body.to_string()))
    };
    run(async {
        assert_eq!(push("one", 1).await, accepted());
        assert_eq!(push("one", 1).await, replayed());
        // Another subscription's name makes nobody another sender: the token does not sign it.
        assert_limited(&push("two", 2).await);
        // Who is nobody is told that first, and is counted as nobody.
        let stranger = caller.post_json("/api/gmail/push?token=x", push_of("a@b.example", 3));
        assert_eq!(answer(stranger).await, forbidden());
    });
}

#[test]
fn a_generic_sender_is_counted_by_its_source() {
    let setup = two_each()
        .with("WEBHOOK_SOURCES", "a=github,b=github")
        .with("WEBHOOK_SECRET_A", SECRET)
        .with("WEBHOOK_SECRET_B", SECRET);
    let server = setup.start();
    let caller = Caller::of(&server);
    let sends = |source: &str, number: u64| {
        let body = json!({ "number": number }).to_string();
        let signed = sendcat::contract::signature::sign_meta(SECRET.as_bytes(), body.as_bytes());
        let request = caller.post_json(&format!("/api/webhooks/{source}"), body);
        answer(request.header("x-hub-signature-256", signed))
    };
    run(async {
        // Whoever signs nothing uses up nobody's limit.
        for _ in 0..5 {
            assert_eq!(answer(caller.post_json("/api/webhooks/a", "{}")).await, forbidden());
        }
        for number in [1, 2] {
            assert_eq!(sends("a", number).await, accepted());
        }
        assert_limited(&sends("a", 3).await);
        assert_eq!(sends("b", 1).await, accepted());
    });
}
