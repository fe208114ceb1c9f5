//! `GET /ops/dead-letters`, `POST /ops/dead-letters/{id}/redeliver`, and pages of `/ops/inbox`.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::client::{Caller, answer, run};
use crate::support::mailbox::{ADDRESS, CLIENT_SECRET, connected};
use crate::support::server::{Server, Setup};
use crate::support::webhook::{
    accepted, delivery, delivery_of, eventually, push_of, receiver, refused,
};

/// A server that takes one event of Gmail at a time, and cannot reach Google.
pub(crate) fn narrow() -> Setup {
    receiver()
        .with("WEBHOOK_BACKLOG_MAX", 1)
        .with("GOOGLE_CLIENT_ID", "client")
        .with("GOOGLE_CLIENT_SECRET", CLIENT_SECRET)
        .with("GOOGLE_TOKEN_URL", "http://127.0.0.1:1/token")
        .with_records(connected("ada", "1//0sandbox", 1))
}

/// Has a dead letter lie there, and an event of its kind wait that fails again and again: the path
/// by which the former is redelivered.
pub(crate) async fn with_a_full_backlog(server: &Server) -> String {
    let caller = Caller::of(server);
    for _ in 0..5 {
        answer(caller.pushes("{")).await;
    }
    let row = caller.worked_off(1).await.remove(0);
    assert_eq!(row["status"], "dead", "{row}");
    assert_eq!(answer(caller.pushes(push_of(ADDRESS, 2))).await, accepted());
    eventually("the other has failed and waits", async || {
        let rows = caller.inbox("?status=pending").await;
        (rows.first()?["attempts"].as_u64()? > 0).then_some(())
    })
    .await;
    format!("/ops/dead-letters/{}/redeliver", row["id"].as_str().unwrap())
}

#[test]
fn while_the_backlog_is_full_a_dead_letter_waits_and_a_sender_comes_again() {
    let server = narrow().start();
    let caller = Caller::of(&server);
    run(async {
        let path = with_a_full_backlog(&server).await;
        let wait = [("retry-after", "30")];
        let sentence = "The backlog of this event's kind is full; try again when it is shorter.";
        let full = refused(503, "overloaded", sentence, &wait);
        // For the moment of an attempt there is room.
        let meets = async |request: &dyn Fn() -> reqwest::RequestBuilder, expected: &Answer| {
            let met = async || (answer(request()).await == *expected).then_some(());
            eventually("the backlog is full", met).await;
        };
        meets(&|| caller.operates("POST", &path), &full).await;
        let sentence = "The request cannot be stored right now; try again in 30 seconds.";
        let unavailable = refused(503, "storage_unavailable", sentence, &wait);
        let numbers = std::cell::Cell::new(10);
        let another = || {
            numbers.set(numbers.get() + 1);
            caller.pushes(push_of(ADDRESS, numbers.get()))
        };
        meets(&another, &unavailable).await;
        // Another kind has a backlog of its own.
        assert_eq!(answer(caller.delivers(delivery_of(["m1".into()]))).await, accepted());
    });
}

#[test]
fn a_dead_letter_is_told_with_its_reason_and_redelivered_by_one_of_many_who_ask() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        assert_eq!(caller.sees("/ops/dead-letters").await["items"], json!([]));
        assert_eq!(answer(caller.delivers(delivery(&[json!({"x": 1})]))).await, accepted());
        assert_eq!(answer(caller.delivers(delivery_of(["m1".into()]))).await, accepted());
        caller.worked_off(2).await;
        let letters = caller.sees("/ops/dead-letters").await;
        let row = letters["items"][0].clone();
        let expected = json!({"id": row["id"], "source": "whatsapp", "key": row["key"],
            "attempts": 1, "acceptedAt": row["acceptedAt"], "givenUpAt": row["givenUpAt"],
            "error": "[invalid_function_args:whatsapp.processWebhook] \
                entry[0].changes[0].value.messages[0].id: expected a message id"});
        assert_eq!(letters["items"], json!([expected]));
        assert_eq!(letters["nextCursor"], Value::Null);
        let path = format!("/ops/dead-letters/{}/redeliver", row["id"].as_str().unwrap());
        let asked = (0..8).map(|_| answer(caller.operates("POST", &path)));
        let told = join_all(asked).await;
        // Each of these was worked off and given up again before the next one was asked.
        let queued = told.iter().filter(|told| told.status == 204).count();
        let refused = told.iter().filter(|told| told.status == 409).count();
        assert!(queued >= 1 && queued + refused == 8, "{told:?}");
        let rows = caller.worked_off(2).await;
        let row = rows.iter().find(|row| row["status"] == "dead").unwrap();
        assert_eq!(row["attempts"], 1, "its attempts were forgotten");
    });
}

#[test]
fn only_dead_letters_are_redelivered_and_only_by_operators() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        assert_eq!(answer(caller.delivers(delivery_of(["m1".into()]))).await, accepted());
        let row = caller.worked_off(1).await.remove(0);
        let path = |id: &str| format!("/ops/dead-letters/{id}/redeliver");
        let done = path(row["id"].as_str().unwrap());
        let sentence = "This event is no dead letter: it waits, runs, or is done.";
        let expected = refused(409, "conflict", sentence, &[]);
        assert_eq!(answer(caller.operates("POST", &done)).await, expected);
        for unknown in ["0".repeat(32).as_str(), "nonsense"] {
            assert_eq!(answer(caller.operates("POST", &path(unknown))).await.status, 404);
        }
        assert_eq!(answer(caller.post(&done)).await.status, 401);
        let reader = crate::support::webhook::OPS_READ_TOKEN;
        assert_eq!(answer(caller.post(&done).bearer_auth(reader)).await.status, 401);
        assert_eq!(answer(caller.get(&done).bearer_auth(reader)).await.status, 405);
    });
}

#[test]
fn pages_of_the_inbox_name_every_event_once() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let ids = (0..25).map(|number| format!("m{number}"));
        assert_eq!(answer(caller.delivers(delivery_of(ids))).await, accepted());
        let all = caller.worked_off(25).await;
        let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = caller.sees(&format!("/ops/inbox?limit=10{cursor}")).await;
            seen.extend(page["items"].as_array().unwrap().iter().cloned());
            pages += 1;
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!((pages, seen), (3, all));
        let request = caller.operates("GET", "/ops/inbox?cursor=x");
        let sentence = "The parameter cursor must be the nextCursor of the page before.";
        assert_eq!(answer(request).await, refused(400, "invalid_request", sentence, &[]));
    });
}
