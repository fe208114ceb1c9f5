//! `GET /ops/inbox`: accepted events, newest first, as few as asked for.

use serde_json::{Value, json};

use crate::support::client::{Caller, answer, run};
use crate::support::webhook::{accepted, delivery, delivery_of, keys, receiver, refused, whole};

#[test]
fn an_event_is_told_whole() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let empty = answer(caller.operates("GET", "/ops/inbox")).await;
        let fields = [("cache-control", "no-store"), ("content-type", "application/json")];
        assert_eq!(empty, whole(200, &fields, &empty.body));
        assert_eq!(empty.json()["items"], json!([]));
        assert_eq!(answer(caller.delivers(delivery_of(["m1".into()]))).await, accepted());
        let row = caller.worked_off(1).await.remove(0);
        let time = |name: &str| row[name].as_str().unwrap().to_owned();
        assert!(time("acceptedAt") <= time("doneAt"), "{row}");
        assert!(time("doneAt").ends_with('Z'), "{row}");
        assert_eq!(row["id"].as_str().unwrap().len(), 32);
        let expected = json!({"id": row["id"], "source": "whatsapp", "status": "done",
            "key": "whatsapp_message/m1", "attempts": 1,
            "acceptedAt": row["acceptedAt"], "doneAt": row["doneAt"]});
        assert_eq!(row, expected);
    });
}

#[test]
fn events_are_told_by_source_and_status_newest_first_and_no_more_than_asked_for() {
    let server = receiver().with("OPS_MAX_ROWS_PER_SECTION", 3).start();
    let caller = Caller::of(&server);
    run(async {
        for number in 0..5 {
            let body = delivery_of([format!("m{number}")]);
            assert_eq!(answer(caller.delivers(body)).await, accepted());
        }
        assert_eq!(answer(caller.delivers(delivery(&[json!({})]))).await, accepted());
        let push = include_str!("samples/gmail_push_wrapped.json");
        assert_eq!(answer(caller.pushes(push)).await, accepted());
        caller.worked_off(7).await;
        let told = async |query: &str| caller.inbox(query).await;
        assert_eq!(told("").await.len(), 3);
        let all = told("?limit=1000").await;
        let times: Vec<_> = all.iter().map(|row| row["acceptedAt"].as_str().unwrap()).collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
        assert_eq!(all[0]["source"], "gmail");
        assert_eq!(told("?limit=1").await, all[..1]);
        assert_eq!(told("?source=gmail").await, all[..1]);
        assert_eq!(told("?source=generic").await, Vec::<Value>::new());
        assert_eq!(told("?status=dead").await, all[1..2]);
        assert_eq!(told("?status=pending").await, Vec::<Value>::new());
        assert_eq!(told("?status=running").await, Vec::<Value>::new());
        let done = told("?source=whatsapp&status=done&limit=2").await;
        assert_eq!(keys(&done), ["whatsapp_message/m3", "whatsapp_message/m4"]);
        assert_eq!(told("?source=gmail&status=dead").await, Vec::<Value>::new());
    });
}

#[test]
fn a_filter_that_says_nothing_is_refused_by_name() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let table = [
        ("limit=0", "The parameter limit must be a number from 1 to 1000."),
        ("limit=1001", "The parameter limit must be a number from 1 to 1000."),
        ("limit=ten", "The parameter limit must be a number from 1 to 1000."),
        ("limit=", "The parameter limit must be a number from 1 to 1000."),
        ("source=fax", "The parameter source must be whatsapp, gmail or generic."),
        ("status=lost", "The parameter status must be pending, running, done or dead."),
    ];
    run(async {
        for (query, sentence) in table {
            let request = caller.operates("GET", &format!("/ops/inbox?{query}"));
            assert_eq!(answer(request).await, refused(400, "invalid_request", sentence, &[]));
        }
    });
}
