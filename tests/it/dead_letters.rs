//! `GET /ops/dead-letters`, `POST /ops/dead-letters/{id}/redeliver`, and pages of `/ops/inbox`.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::client::{Caller, answer, run};
use crate::support::webhook::{accepted, delivery, delivery_of, receiver, refused};

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
