//! `POST /api/gmail/push`: what Pub/Sub is told, and what becomes of what it sends.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::client::{Caller, answer, run};
use crate::support::webhook::{PUSH_TOKEN, accepted, forbidden, keys, receiver, refused, replayed};

fn envelope(data: &str) -> String {
    json!({"message": {"data": data, "messageId": "1"}, "subscription": "s"}).to_string()
}

#[test]
fn both_spellings_of_the_sample_are_one_event() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let wrapped = include_str!("samples/gmail_push_wrapped.json");
        let minimal = include_str!("samples/gmail_push_minimal_snake_case.json");
        assert_eq!(answer(caller.pushes(wrapped)).await, accepted());
        assert_eq!(answer(caller.pushes(minimal)).await, replayed());
        assert_eq!(answer(caller.pushes(wrapped)).await, replayed());
        let rows = caller.worked_off(1).await;
        assert_eq!(rows[0]["key"], "gmail_push_history/user@example.com:1234567890");
        assert_eq!(rows[0]["source"], "gmail");
        assert_eq!(rows[0]["status"], "done");
        assert_eq!(rows[0]["attempts"], 1);
    });
}

#[test]
fn every_encoder_and_both_kinds_of_history_id_are_read() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    // The letters of this address give `+`, `/`, `-` and `_` in the alphabets, and need padding.
    let notice = |history: Value| {
        json!({"emailAddress": "ÿþ>>??~~@example.com", "historyId": history}).to_string()
    };
    run(async {
        let text = notice(json!("77"));
        let encoded = [
            STANDARD.encode(&text),
            STANDARD_NO_PAD.encode(&text),
            URL_SAFE.encode(&text),
            URL_SAFE_NO_PAD.encode(&text),
            STANDARD.encode(notice(json!(77))),
            URL_SAFE_NO_PAD.encode(notice(json!("0077"))),
        ];
        assert_ne!(encoded[0], encoded[2], "the alphabets differ");
        assert_ne!(encoded[0], encoded[1], "the padding differs");
        assert_eq!(answer(caller.pushes(envelope(&encoded[0]))).await, accepted());
        for data in &encoded[1..] {
            assert_eq!(answer(caller.pushes(envelope(data))).await, replayed(), "{data}");
        }
        let other = envelope(&STANDARD.encode(notice(json!(18_446_744_073_709_551_615_u64))));
        assert_eq!(answer(caller.pushes(other)).await, accepted());
        let rows = caller.worked_off(2).await;
        let expected = [
            "gmail_push_history/ÿþ>>??~~@example.com:18446744073709551615",
            "gmail_push_history/ÿþ>>??~~@example.com:77",
        ];
        assert_eq!(keys(&rows), expected);
    });
}

#[test]
fn only_the_shared_token_opens_the_door() {
    let server = receiver().with("GMAIL_PUSH_TOKEN", "token-new,token-old+1").start();
    let caller = Caller::of(&server);
    let body = include_str!("samples/gmail_push_wrapped.json");
    run(async {
        let wrong = [
            "",
            "?token",
            "?token=",
            "?token=wrong",
            "?token=token-ne",
            "?token=token-newer",
            "?token=token-new,token-old%2B1",
            "?Token=token-new",
            "?token=wrong&token=token-new",
        ];
        for query in wrong {
            let request = caller.post_json(&format!("/api/gmail/push{query}"), body);
            assert_eq!(answer(request).await, forbidden(), "{query}");
        }
        assert_eq!(caller.inbox("").await, Vec::<Value>::new());
        let new = caller.post_json("/api/gmail/push?x=1&token=token-new", body);
        assert_eq!(answer(new).await, accepted());
        let old = caller.post_json("/api/gmail/push?token=token-old%2B1", body);
        assert_eq!(answer(old).await, replayed());
    });
}

#[test]
fn without_a_token_set_nothing_opens_the_door() {
    let server = crate::support::server::Setup::bare().start();
    let caller = Caller::of(&server);
    let body = include_str!("samples/gmail_push_wrapped.json");
    run(async {
        for query in ["", "?token=", "?token=x"] {
            let request = caller.post_json(&format!("/api/gmail/push{query}"), body);
            assert_eq!(answer(request).await, forbidden(), "{query}");
        }
    });
}

#[test]
fn what_a_push_has_wrong_is_named() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let shape = |sentence: &str| refused(400, "invalid_request", sentence, &[]);
    let data = |inner: Value| envelope(&STANDARD.encode(inner.to_string()));
    let no_data = "The request is not valid: message.data: expected a JSON object in base64.";
    let no_address =
        "The request is not valid: message.data.emailAddress: expected a mail address.";
    let no_history = "The request is not valid: message.data.historyId: expected a history id of \
                      decimal digits.";
    let no_message = "The request is not valid: message: expected a Pub/Sub message object.";
    let table = [
        (include_str!("samples/gmail_push_malformed_no_data.json").to_owned(), no_data),
        (envelope("%%%"), no_data),
        (envelope(&STANDARD.encode("not json")), no_data),
        (data(json!([1])), no_data),
        (data(json!({"historyId": 1})), no_address),
        (data(json!({"emailAddress": "a@b", "historyId": -1})), no_history),
        (data(json!({"emailAddress": "a@b", "historyId": "1e3"})), no_history),
        (json!({"subscription": "s"}).to_string(), no_message),
        ("[]".to_owned(), "The request is not valid: $: expected a JSON object."),
    ];
    run(async {
        for (body, sentence) in table {
            assert_eq!(answer(caller.pushes(body.clone())).await, shape(sentence), "{body}");
        }
        let cut = include_str!("samples/gmail_push_malformed_not_json.json");
        let refusal = answer(caller.pushes(cut)).await;
        let sentence = "The request body is not valid JSON: EOF while parsing a string at line 1 \
                        column 23.";
        assert_eq!(refusal, refused(400, "invalid_json", sentence, &[]));
        assert_eq!(caller.inbox("").await, Vec::<Value>::new());
    });
    assert!(!server.end_by("TERM").1.contains(PUSH_TOKEN));
}
