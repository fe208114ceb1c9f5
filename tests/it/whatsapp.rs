//! `GET` and `POST /api/whatsapp/webhook`: what Meta is told, and what becomes of what it sends.

use futures_util::future::join_all;
use sendcat::contract::signature::sign_meta;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::client::{Caller, answer, run};
use crate::support::exchange;
use crate::support::webhook::{
    SECRET, WHATSAPP, accepted, delivery, delivery_of, forbidden, keys, message, receiver, refused,
    replayed, sandboxed_receiver, whole,
};

#[test]
fn metas_question_is_answered_as_the_samples_say() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let samples: Value =
        serde_json::from_str(include_str!("samples/whatsapp_verify_get.json")).unwrap();
    let cases = samples["cases"].as_array().unwrap();
    run(async {
        for case in cases {
            let path = format!("{WHATSAPP}?{}", case["query"].as_str().unwrap());
            let expected = match case["body"].as_str() {
                Some(challenge) => echoed(challenge),
                None => forbidden(),
            };
            assert_eq!(expected.status, case["status"]);
            assert_eq!(answer(caller.get(&path)).await, expected, "{case}");
        }
    });
}

fn echoed(challenge: &str) -> Answer {
    let fields = [
        ("cache-control", "no-store"),
        ("content-type", "text/plain; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
    ];
    whole(200, &fields, challenge)
}

/// A sample, and the keys of the events it brings with the status they come to.
const SAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        include_str!("samples/whatsapp_text.json"),
        &[(
            "whatsapp_message/wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQTRBNjU5OUFFRTAzODEwMTQ0RgA=",
            "done",
        )],
    ),
    (
        include_str!("samples/whatsapp_interactive_button_reply.json"),
        &[(
            "whatsapp_message/wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQTZBQzg0MzQ4QjRCM0NGNkVGOAA=",
            "done",
        )],
    ),
    (
        include_str!("samples/whatsapp_status_sent.json"),
        &[(
            "whatsapp_status/wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQUFERjg0NDEzNDdFODU3MUMxMAA=:sent",
            "done",
        )],
    ),
    (
        include_str!("samples/whatsapp_batch3_one_duplicate.json"),
        &[
            ("whatsapp_message/wamid.BATCH0001", "done"),
            ("whatsapp_message/wamid.BATCH0002", "done"),
        ],
    ),
];

#[test]
fn every_sample_is_accepted_worked_off_once_and_replayed_after() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let mut expected: Vec<(String, String)> = Vec::new();
        for (body, events) in SAMPLES {
            assert_eq!(answer(caller.delivers(*body)).await, accepted(), "{body}");
            assert_eq!(answer(caller.delivers(*body)).await, replayed(), "{body}");
            expected.extend(events.iter().map(|(key, status)| ((*key).into(), (*status).into())));
        }
        let rows = caller.worked_off(expected.len()).await;
        let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        let mut seen: Vec<_> =
            rows.iter().map(|row| (text(row, "key"), text(row, "status"))).collect();
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected);
        assert!(rows.iter().all(|row| row["attempts"] == 1), "{rows:?}");
    });
}

#[test]
fn an_image_of_a_texts_id_is_the_same_message_again() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let text = include_str!("samples/whatsapp_text.json");
        let image = include_str!("samples/whatsapp_image.json");
        assert_eq!(answer(caller.delivers(image)).await, accepted());
        assert_eq!(answer(caller.delivers(text)).await, replayed());
        assert_eq!(caller.worked_off(1).await[0]["status"], "done");
    });
}

#[test]
fn two_statuses_of_one_message_are_two_events() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let sent = include_str!("samples/whatsapp_status_sent.json");
        let delivered = include_str!("samples/whatsapp_status_delivered.json");
        assert_eq!(answer(caller.delivers(sent)).await, accepted());
        assert_eq!(answer(caller.delivers(delivered)).await, accepted());
        assert_eq!(answer(caller.delivers(sent)).await, replayed());
        let rows = caller.worked_off(2).await;
        assert!(rows.iter().all(|row| row["status"] == "done"), "{rows:?}");
    });
}

#[test]
fn a_delivery_of_nothing_is_accepted_and_is_no_replay() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let nothing = r#"{"object":"whatsapp_business_account","entry":[]}"#;
        assert_eq!(answer(caller.delivers(nothing)).await, accepted());
        assert_eq!(answer(caller.delivers(nothing)).await, accepted());
        assert_eq!(caller.inbox("").await, Vec::<Value>::new());
    });
}

#[test]
fn what_is_new_of_a_delivery_goes_on_and_the_rest_is_left_out() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let ids = |all: &[&str]| delivery_of(all.iter().map(|id| (*id).to_owned()));
    run(async {
        assert_eq!(answer(caller.delivers(ids(&["a", "b", "a"]))).await, accepted());
        assert_eq!(answer(caller.delivers(ids(&["b", "c", "a"]))).await, accepted());
        assert_eq!(answer(caller.delivers(ids(&["c", "b"]))).await, replayed());
        let rows = caller.worked_off(3).await;
        let expected = ["whatsapp_message/a", "whatsapp_message/b", "whatsapp_message/c"];
        assert_eq!(keys(&rows), expected);
    });
}

#[test]
fn an_odd_element_is_a_dead_letter_and_its_neighbours_are_done() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let without_id = include_str!("samples/whatsapp_malformed_message_without_id.json");
        assert_eq!(answer(caller.delivers(without_id)).await, accepted());
        assert_eq!(answer(caller.delivers(without_id)).await, replayed());
        let mixed = delivery(&[message("good", "hello"), json!("odd"), message("fine", "hello")]);
        assert_eq!(answer(caller.delivers(mixed)).await, accepted());
        caller.worked_off(4).await;
        assert_eq!(caller.inbox("?status=dead").await.len(), 2);
        let done = caller.inbox("?status=done").await;
        assert_eq!(keys(&done), ["whatsapp_message/fine", "whatsapp_message/good"]);
    });
}

#[test]
fn types_and_notices_of_tomorrow_are_kept() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let hologram = json!({"id": "h1", "type": "hologram", "from_user_id": "US.1"});
        assert_eq!(answer(caller.delivers(delivery(&[hologram]))).await, accepted());
        let notice = json!({"object": "whatsapp_business_account", "entry": [{"id": "1",
            "time": 1, "changes": [{"field": "account_update", "value": {"event": "X"}}]}]});
        assert_eq!(answer(caller.delivers(notice.to_string())).await, accepted());
        assert_eq!(answer(caller.delivers(notice.to_string())).await, replayed());
        let rows = caller.worked_off(2).await;
        assert!(rows.iter().all(|row| row["status"] == "done"), "{rows:?}");
    });
}

#[test]
fn only_a_signature_of_the_raw_bytes_opens_the_door() {
    let server = receiver().with("WHATSAPP_APP_SECRET", "secret-new,secret-old").start();
    let caller = Caller::of(&server);
    let body = delivery_of(["m1".to_owned()]);
    let signed_by = |secret: &str| sign_meta(secret.as_bytes(), body.as_bytes());
    let good = signed_by("secret-new");
    let digits = good.trim_start_matches("sha256=").to_owned();
    let wrong = [
        signed_by("other"),
        signed_by("secret-new,secret-old"),
        signed_by(""),
        sign_meta(b"secret-new", format!("{body} ").as_bytes()),
        format!("sha1={}", &digits[..40]),
        digits.clone(),
        format!("sha256={}", &digits[..62]),
        format!("sha256={digits}00"),
        format!("sha256={}", "0".repeat(64)),
        "sha256=".to_owned(),
        String::new(),
    ];
    run(async {
        assert_eq!(answer(caller.post_json(WHATSAPP, body.clone())).await, forbidden());
        let with = |signature: &str| {
            caller.post_json(WHATSAPP, body.clone()).header("x-hub-signature-256", signature)
        };
        for signature in wrong {
            assert_eq!(answer(with(&signature)).await, forbidden(), "{signature:?}");
        }
        let mut flipped = body.clone();
        flipped.replace_range(2..3, "O");
        let flipped = caller.post_json(WHATSAPP, flipped).header("x-hub-signature-256", &good);
        assert_eq!(answer(flipped).await, forbidden());
        assert_eq!(caller.inbox("").await, Vec::<Value>::new());
        assert_eq!(answer(with(&good)).await, accepted());
        assert_eq!(answer(with(&signed_by("secret-old"))).await, replayed());
    });
}

#[test]
fn without_a_secret_nothing_opens_the_door() {
    let server = crate::support::server::Setup::bare().start();
    let caller = Caller::of(&server);
    let body = delivery_of(["m1".to_owned()]);
    run(async {
        assert_eq!(answer(caller.delivers(body.clone())).await, forbidden());
        let by_nothing = sign_meta(b"", body.as_bytes());
        let request = caller.post_json(WHATSAPP, body).header("x-hub-signature-256", by_nothing);
        assert_eq!(answer(request).await, forbidden());
        let empty = "?hub.mode=subscribe&hub.challenge=1&hub.verify_token=";
        assert_eq!(answer(caller.get(&format!("{WHATSAPP}{empty}"))).await, forbidden());
    });
}

#[test]
fn escaped_and_plain_letters_are_each_signed_as_they_are_sent() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let escaped = delivery(&[message("e1", "X")])
        .replace("\"X\"", r#""\u00e4\u00f6\u00fc \ud83d\ude00 \u003C\u0040\/""#);
    let plain = delivery(&[message("p1", "äöü 😀 <@/")]);
    run(async {
        assert_eq!(answer(caller.delivers(escaped)).await, accepted());
        assert_eq!(answer(caller.delivers(plain)).await, accepted());
        assert_eq!(caller.worked_off(2).await.len(), 2);
    });
}

const LIMIT: usize = 262_144;

fn padded(id: &str, bytes: usize) -> String {
    let body = delivery_of([id.to_owned()]);
    format!("{body}{}", " ".repeat(bytes - body.len()))
}

fn chunked(body: &str) -> reqwest::Body {
    let chunks: Vec<_> = body.as_bytes().chunks(10_000).map(<[u8]>::to_vec).collect();
    let chunks = chunks.into_iter().map(Ok::<_, std::io::Error>);
    reqwest::Body::wrap_stream(futures_util::stream::iter(chunks))
}

pub(crate) fn too_large() -> Answer {
    let sentence = "The request body is too large; send less, for example only the last message.";
    refused(413, "payload_too_large", sentence, &[("connection", "close")])
}

#[test]
fn the_limit_of_a_body_is_inclusive_declared_or_not() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        assert_eq!(answer(caller.delivers(padded("declared", LIMIT))).await, accepted());
        let body = padded("chunked", LIMIT);
        let signature = sign_meta(SECRET.as_bytes(), body.as_bytes());
        let request = caller.post(WHATSAPP).header("content-type", "application/json");
        let request = request.header("x-hub-signature-256", signature).body(chunked(&body));
        assert_eq!(answer(request).await, accepted());
        assert_eq!(caller.worked_off(2).await.len(), 2);
    });
    // Refused by its declaration: not a byte of it is waited for.
    let declared = exchange::head(WHATSAPP, LIMIT + 1, "");
    assert_eq!(exchange::exchange(&server, declared.as_bytes()), too_large());
    let head = exchange::head(WHATSAPP, 0, "transfer-encoding: chunked\r\n")
        .replace("content-length: 0\r\n", "");
    let body = format!("{:x}\r\n{}\r\n", LIMIT + 1, " ".repeat(LIMIT + 1));
    assert_eq!(exchange::exchange(&server, format!("{head}{body}").as_bytes()), too_large());
}

#[test]
fn a_knob_lets_larger_deliveries_in() {
    let server = receiver().with("WHATSAPP_MAX_BYTES", 3_145_728).start();
    let caller = Caller::of(&server);
    run(async {
        let ids = (0..1000).map(|number| format!("wamid.{number}"));
        let messages: Vec<_> = ids.map(|id| message(&id, &"x".repeat(1500))).collect();
        let body = delivery(&messages);
        assert!(body.len() > 1_500_000);
        assert_eq!(answer(caller.delivers(body.clone())).await, accepted());
        assert_eq!(answer(caller.delivers(body)).await, replayed());
        let rows = caller.worked_off(1000).await;
        assert!(rows.iter().all(|row| row["status"] == "done"));
    });
}

#[test]
fn sixty_four_copies_at_once_are_one_event() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let body = delivery_of(["m1".to_owned()]);
    run(async {
        let copies = (0..64).map(|_| answer(caller.delivers(body.clone())));
        let answers = join_all(copies).await;
        let first = answers.iter().filter(|answer| **answer == accepted()).count();
        let again = answers.iter().filter(|answer| **answer == replayed()).count();
        assert_eq!((first, again), (1, 63), "{answers:?}");
        let rows = caller.worked_off(1).await;
        assert_eq!((&rows[0]["status"], &rows[0]["attempts"]), (&json!("done"), &json!(1)));
    });
}

#[test]
fn an_event_taken_up_before_its_commit_is_written_is_done_all_the_same() {
    let server = sandboxed_receiver().start();
    let caller = Caller::of(&server);
    let token = server.banner("chat token");
    run(async {
        let deliver = async |sender: u32| {
            for nth in 0..40 {
                let ids = (0..3).map(|part| format!("{sender}-{nth}-{part}"));
                assert_eq!(answer(caller.delivers(delivery_of(ids))).await, accepted());
            }
        };
        // Answers keep the writer at work, so that events are taken up before it comes to them.
        let chat = async |sender: u32| {
            for nth in 0.. {
                let thread = format!("t-{sender}-{nth}");
                answer(caller.chat(token, &thread, "slow 20 10")).await;
            }
        };
        tokio::select! {
            _ = join_all((0..6).map(deliver)) => {}
            _ = join_all((0..3).map(chat)) => {}
        }
        let rows = caller.worked_off(720).await;
        let dead: Vec<_> = rows.iter().filter(|row| row["status"] != "done").collect();
        assert!(dead.is_empty(), "{dead:?}");
    });
}
